//! Browser origins and `Host` headers: what keeps foreign web pages out.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::parse_peer;

/// A serialised origin (RFC 6454): scheme, host, and port unless it is the scheme's default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'t> {
    pub(super) scheme: &'t str,
    pub(super) authority: Authority<'t>,
}

impl<'t> Origin<'t> {
    /// Reads `scheme://host[:port]`; anything more, and `null`, is not an origin.
    pub(super) fn parse(bytes: &'t [u8]) -> Option<Self> {
        let (scheme, rest) = str::from_utf8(bytes).ok()?.split_once("://")?;
        let fine = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let authority = Authority::parse(rest)?.without_default_port(scheme);
        fine.then_some(Self { scheme, authority })
    }

    pub(super) fn same_as(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme) && self.authority.same_as(&other.authority)
    }

    /// Whether the page was served by this host itself.
    pub(super) fn is_local(&self) -> bool {
        let host = self.authority.host;
        is_localhost(host) || parse_peer(host).is_some_and(|address| address.is_loopback())
    }
}

/// Host and optional port, as in `Host` headers and origins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authority<'t> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub(super) host: &'t str,
    pub(super) port: Option<u16>,
}

impl<'t> Authority<'t> {
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        let fine = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        fine.then_some(Self { host, port })
    }

    pub(super) fn same_as(&self, other: &Authority<'_>) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }

    pub(super) fn without_default_port(self, scheme: &str) -> Self {
        let default = DEFAULT_PORTS
            .iter()
            .find(|(name, _)| scheme.eq_ignore_ascii_case(name))
            .map(|(_, port)| *port);
        Self {
            port: self.port.filter(|port| Some(*port) != default),
            ..self
        }
    }

    fn is_literal(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

const DEFAULT_PORTS: &[(&str, u16)] = &[("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

fn parse_port(text: &str) -> Option<u16> {
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// Names that browsers never ask the network about.
fn is_localhost(name: &str) -> bool {
    let suffix = name
        .len()
        .checked_sub(".localhost".len())
        .and_then(|at| name.get(at..));
    name.eq_ignore_ascii_case("localhost")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(".localhost"))
}

/// The origins that may use the gateway from a browser.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// `*` is listed.
    pub(super) any: bool,
    /// An origin whose host and port equal the `Host` header is accepted.
    pub(super) host_fallback: bool,
    listed: Vec<String>,
}

/// What the origin rule looks at besides its settings.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct OriginFacts<'h> {
    /// Number of `Origin` lines, and the trimmed value of the last one.
    pub(super) count: u32,
    pub(super) origin: &'h [u8],
    /// The single `Host` line.
    pub(super) host: Option<&'h [u8]>,
    /// `X-Forwarded-Host` of a trusted proxy that also says `https`, if that is to count.
    pub(super) proxy_host: Option<&'h [u8]>,
    /// Pages served by this host itself may come in.
    pub(super) local_pages: bool,
}

impl Origins {
    /// Adds a trimmed entry: `scheme://host[:port]` with an optional final slash, or `*`.
    pub(super) fn add(&mut self, entry: &str) -> bool {
        if entry == "*" {
            self.any = true;
            return true;
        }
        let entry = entry.strip_suffix('/').unwrap_or(entry);
        let fine = Origin::parse(entry.as_bytes()).is_some();
        if fine {
            self.listed.push(entry.to_owned());
        }
        fine
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.listed.is_empty()
    }

    /// Why a page may not make this request; `None` when it may, or when no page made it.
    pub(super) fn refusal(&self, facts: &OriginFacts<'_>) -> Option<&'static str> {
        if facts.count == 0 || (facts.count == 1 && facts.origin.is_empty()) {
            return None;
        }
        let origin = match Origin::parse(facts.origin) {
            Some(origin) if facts.count == 1 => origin,
            _ => return Some("invalid"),
        };
        let accepted = self.any
            || self.listed().any(|listed| listed.same_as(&origin))
            || (self.host_fallback && self.is_host(&origin, facts.host))
            || (self.is_empty() && is_proxy_host(&origin, facts.proxy_host))
            || (facts.local_pages && origin.is_local());
        (!accepted).then_some("not_listed")
    }

    fn listed(&self) -> impl Iterator<Item = Origin<'_>> {
        self.listed
            .iter()
            .filter_map(|listed| Origin::parse(listed.as_bytes()))
    }

    fn is_host(&self, origin: &Origin<'_>, host: Option<&[u8]>) -> bool {
        parse_bytes(host).is_some_and(|h| {
            h.without_default_port(origin.scheme)
                .same_as(&origin.authority)
        })
    }
}

/// Without a list, the origin that the proxy itself serves is accepted. A foreign page cannot set
/// these headers without a preflight, which is refused, and a re-bound name has no certificate.
fn is_proxy_host(origin: &Origin<'_>, host: Option<&[u8]>) -> bool {
    origin.scheme.eq_ignore_ascii_case("https")
        && parse_bytes(host)
            .is_some_and(|h| h.without_default_port("https").same_as(&origin.authority))
}

fn parse_bytes(bytes: Option<&[u8]>) -> Option<Authority<'_>> {
    Authority::parse(str::from_utf8(bytes?).ok()?)
}

/// The `Host` values accepted on loopback connections.
///
/// A web page can point its own name at 127.0.0.1, but cannot change the `Host` header that the
/// browser then sends: its name, and the port unless that is 80 or 443.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// `gateway.allowedHosts`, in lower case.
    allowed: Vec<String>,
    /// The gateway listens on 80 or 443, so that a re-bound name comes without a port too.
    pub(super) default_port: bool,
}

impl Hosts {
    /// Adds a trimmed entry: a host with or without port.
    pub(super) fn add(&mut self, entry: &str) -> bool {
        let fine = Authority::parse(entry).is_some();
        if fine {
            self.allowed.push(entry.to_ascii_lowercase());
        }
        fine
    }

    /// Whether the single `Host` line is acceptable.
    pub(super) fn accepts(&self, host: Option<&[u8]>, origins: &Origins) -> bool {
        let Some(text) = host.and_then(|host| str::from_utf8(host).ok()) else {
            return false;
        };
        let Some(host) = Authority::parse(text) else {
            return false;
        };
        let listed = |name: &str| self.allowed.iter().any(|a| a.eq_ignore_ascii_case(name));
        host.is_literal()
            || is_localhost(host.host)
            || (host.port.is_none() && !self.default_port)
            || listed(text)
            || listed(host.host)
            || origins
                .listed()
                .any(|o| o.authority.host.eq_ignore_ascii_case(host.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_origin() {
        for (text, is_origin) in [
            ("https://a.example", true),
            ("http://[::1]:8080", true),
            ("chrome-extension://abcdef", true),
            ("null", false),
            ("https://", false),
            ("https://a.example/", false),
            ("https://a.example?x", false),
            ("https://a@b", false),
            ("https://a.example:", false),
            ("https://a.example:99999", false),
            ("https://a b", false),
            ("https://ä.example", false),
            ("https://[::1", false),
            ("1https://a", false),
            ("", false),
        ] {
            assert_eq!(
                Origin::parse(text.as_bytes()).is_some(),
                is_origin,
                "{text}"
            );
        }
    }

    fn refusal(origins: &Origins, origin: &str, facts: OriginFacts<'_>) -> Option<&'static str> {
        origins.refusal(&OriginFacts {
            count: 1,
            origin: origin.as_bytes(),
            ..facts
        })
    }

    #[test]
    fn proxy_host_counts_only_without_a_list() {
        let facts = OriginFacts {
            proxy_host: Some(b"Claw.example:443"),
            ..Default::default()
        };
        let mut origins = Origins::default();
        assert_eq!(refusal(&origins, "https://claw.example", facts), None);
        assert_eq!(
            refusal(&origins, "http://claw.example", facts),
            Some("not_listed")
        );
        assert_eq!(
            refusal(&origins, "https://claw.example:444", facts),
            Some("not_listed")
        );
        assert!(origins.add("https://other.example/"));
        assert_eq!(
            refusal(&origins, "https://claw.example", facts),
            Some("not_listed")
        );
        assert_eq!(refusal(&origins, "https://OTHER.example:443", facts), None);
    }

    #[test]
    fn local_pages_and_host_fallback() {
        let local = OriginFacts {
            local_pages: true,
            ..Default::default()
        };
        let mut origins = Origins::default();
        for origin in [
            "http://localhost:1",
            "http://a.localhost",
            "http://127.0.0.9",
            "http://[::1]:5",
        ] {
            assert_eq!(refusal(&origins, origin, local), None, "{origin}");
            assert!(
                refusal(&origins, origin, OriginFacts::default()).is_some(),
                "{origin}"
            );
        }
        assert!(refusal(&origins, "http://xlocalhost", local).is_some());
        origins.host_fallback = true;
        let host = OriginFacts {
            host: Some(b"claw.example:80"),
            ..Default::default()
        };
        assert_eq!(refusal(&origins, "http://claw.example", host), None);
        assert!(refusal(&origins, "https://claw.example", host).is_some());
    }

    #[test]
    fn host_rule() {
        let mut hosts = Hosts::default();
        assert!(hosts.add("claw.example:8443") && hosts.add("Plain.example"));
        assert!(!hosts.add("a/b"));
        let mut origins = Origins::default();
        assert!(origins.add("https://listed.example"));
        for (host, accepted) in [
            ("claw.example:8443", true),
            ("claw.example:8444", false),
            ("plain.EXAMPLE:1", true),
            ("listed.example:9", true),
            ("10.0.0.1:9", true),
            ("[::1]:9", true),
            ("x.localhost:9", true),
            ("evil.example", true),
            ("evil.example:9", false),
            ("evil.example:", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(
                hosts.accepts(Some(host.as_bytes()), &origins),
                accepted,
                "{host}"
            );
        }
        assert!(!hosts.accepts(None, &origins));
        hosts.default_port = true;
        assert!(!hosts.accepts(Some(b"evil.example"), &origins));
        assert!(hosts.accepts(Some(b"plain.example"), &origins));
    }
}
