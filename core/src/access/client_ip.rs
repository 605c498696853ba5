//! The address of the client behind the proxies.
//!
//! The chain is walked from the right, because that end was written by the nearest proxy, and
//! only while the hops are trusted. The result never grants access.

use std::net::IpAddr;

use super::Headers;
use super::address::parse_peer_bytes;
use super::headers::{Slot, Slots};
use super::ranges::ProxyRanges;
use super::user::trim_blanks;

/// Most hops that are looked at.
const MAX_HOPS: usize = 64;

/// Where a trusted proxy writes the client address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientIpSource {
    /// `Forwarded`, RFC 7239.
    Forwarded,
    /// `X-Forwarded-For`; with the switch, a single `X-Real-IP` when there is no such line.
    ForwardedFor { real_ip_fallback: bool },
    /// A header that holds one address.
    Single(Slot),
}

impl ClientIpSource {
    /// The client of a request that came from a trusted proxy.
    pub(super) fn client(
        self,
        slots: &Slots<'_>,
        headers: &dyn Headers,
        proxies: &ProxyRanges,
    ) -> Option<IpAddr> {
        match self {
            Self::Single(slot) => single(slots, slot),
            Self::Forwarded if slots.line(Slot::Forwarded).count == 0 => None,
            Self::Forwarded => {
                let mut hops = LastHops::new();
                hops.add(headers, "forwarded", |line| split_unquoted(line, b','));
                walk(hops.rightmost_first().map(forwarded_node), proxies)
            }
            Self::ForwardedFor { real_ip_fallback } => {
                let line = slots.line(Slot::ForwardedFor);
                match line.count {
                    0 if real_ip_fallback => single(slots, Slot::RealIp),
                    0 => None,
                    1 => walk(
                        line.value.rsplit(|b| *b == b',').map(parse_peer_bytes),
                        proxies,
                    ),
                    _ => {
                        let mut hops = LastHops::new();
                        hops.add(headers, "x-forwarded-for", |line| {
                            line.split(|b| *b == b',')
                        });
                        walk(hops.rightmost_first().map(parse_peer_bytes), proxies)
                    }
                }
            }
        }
    }
}

/// The only line of a header that holds one address. Loopback is a hop inside a proxy's own host.
fn single(slots: &Slots<'_>, slot: Slot) -> Option<IpAddr> {
    parse_peer_bytes(slots.line(slot).single()?).filter(|address| !address.is_loopback())
}

/// The first hop that is neither trusted nor inside a proxy's own host. A hop that is no address
/// ends the walk: what stands to its left was written by somebody unknown.
fn walk(
    hops_from_the_right: impl Iterator<Item = Option<IpAddr>>,
    proxies: &ProxyRanges,
) -> Option<IpAddr> {
    for hop in hops_from_the_right.take(MAX_HOPS) {
        let hop = hop?;
        if !hop.is_loopback() && !proxies.contains(hop) {
            return Some(hop);
        }
    }
    None
}

/// The last elements of a list that may be spread over several lines.
struct LastHops<'h> {
    ring: [&'h [u8]; MAX_HOPS],
    pushed: usize,
}

impl<'h> LastHops<'h> {
    fn new() -> Self {
        Self {
            ring: [&[]; MAX_HOPS],
            pushed: 0,
        }
    }

    fn add<I: Iterator<Item = &'h [u8]>>(
        &mut self,
        headers: &'h dyn Headers,
        wanted: &str,
        split: impl Fn(&'h [u8]) -> I,
    ) {
        headers.each(&mut |name, value| {
            if name.eq_ignore_ascii_case(wanted) {
                split(value).for_each(|hop| self.push(hop));
            }
        });
    }

    fn push(&mut self, hop: &'h [u8]) {
        if let Some(place) = self.ring.get_mut(self.pushed % MAX_HOPS) {
            *place = hop;
        }
        self.pushed += 1;
    }

    fn rightmost_first(&self) -> impl Iterator<Item = &'h [u8]> {
        let first = self.pushed.saturating_sub(MAX_HOPS);
        (first..self.pushed)
            .rev()
            .filter_map(|at| self.ring.get(at % MAX_HOPS).copied())
    }
}

/// The address of the `for` parameter of an element of `Forwarded`.
fn forwarded_node(element: &[u8]) -> Option<IpAddr> {
    let mut node = None;
    for parameter in split_unquoted(element, b';') {
        let at = parameter.iter().position(|b| *b == b'=')?;
        let (name, value) = parameter.split_at_checked(at)?;
        if trim_blanks(name).eq_ignore_ascii_case(b"for") {
            let value = value.strip_prefix(b"=")?;
            if node.replace(node_address(trim_blanks(value))?).is_some() {
                return None;
            }
        }
    }
    node
}

fn node_address(value: &[u8]) -> Option<IpAddr> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        return parse_peer_bytes(value);
    };
    let quoted = rest.strip_suffix(b"\"")?;
    let mut buffer = [0; LONGEST_NODE];
    let mut length = 0;
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => bytes.next()?,
            b'"' => return None,
            byte => byte,
        };
        *buffer.get_mut(length)? = *byte;
        length += 1;
    }
    parse_peer_bytes(buffer.get(..length)?)
}

/// Longer than any address with zone and port.
const LONGEST_NODE: usize = 96;

/// Splits at separators outside quoted strings (RFC 9110, section 5.6.4).
fn split_unquoted(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = bytes.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                byte => return *byte == separator && !quoted,
            }
            false
        });
        let Some(end) = end else { return rest.take() };
        rest = bytes.get(end + 1..);
        bytes.get(..end)
    })
}

#[cfg(test)]
mod tests {
    use super::super::headers::{HeaderPlan, PlanNames};
    use super::super::ranges::ProxyEntry;
    use super::*;

    const FOR: ClientIpSource = ClientIpSource::ForwardedFor {
        real_ip_fallback: true,
    };

    fn client(source: ClientIpSource, headers: &[(&str, &str)]) -> Option<String> {
        let proxies = ProxyRanges::new(&[ProxyEntry::parse("10.0.0.0/8").unwrap()]);
        let slots = HeaderPlan::new(&PlanNames::default()).scan(&headers);
        source
            .client(&slots, &headers, &proxies)
            .map(|address| address.to_string())
    }

    #[test]
    fn chain_over_several_lines_is_one_list() {
        let far = "203.0.113.7";
        let lines = [
            ("X-Forwarded-For", "6.6.6.6, 203.0.113.7"),
            ("x-forwarded-for", "10.0.0.2"),
        ];
        assert_eq!(client(FOR, &lines).as_deref(), Some(far));
        let lines = [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-For", "junk"),
        ];
        assert_eq!(client(FOR, &lines), None);
    }

    #[test]
    fn hops_are_counted_from_the_right() {
        for (trusted, found) in [(63, true), (64, false)] {
            let hops = vec!["10.0.0.1"; trusted].join(",");
            let one = format!("203.0.113.7,{hops}");
            assert_eq!(
                client(FOR, &[("X-Forwarded-For", &one)]).is_some(),
                found,
                "{trusted}"
            );
            let two = [
                ("X-Forwarded-For", "203.0.113.7"),
                ("X-Forwarded-For", hops.as_str()),
            ];
            assert_eq!(client(FOR, &two).is_some(), found, "{trusted} in two lines");
        }
        let long = format!("{}203.0.113.7", "junk,".repeat(500));
        assert_eq!(
            client(FOR, &[("X-Forwarded-For", &long)]).as_deref(),
            Some("203.0.113.7")
        );
    }

    #[test]
    fn real_ip_helps_only_without_a_chain() {
        assert!(client(FOR, &[("X-Real-IP", "203.0.113.7")]).is_some());
        assert!(client(FOR, &[("X-Real-IP", "127.0.0.1")]).is_none());
        assert!(client(FOR, &[("X-Real-IP", "1.1.1.1"), ("X-Forwarded-For", "")]).is_none());
    }

    #[test]
    fn forwarded_elements() {
        for (line, found) in [
            ("for=203.0.113.7", Some("203.0.113.7")),
            ("For=\"203.0.113.7:80\" ; proto=https", Some("203.0.113.7")),
            (
                "for=\"[2001:db8::7]:4711\", for=10.0.0.9",
                Some("2001:db8::7"),
            ),
            ("for=\"203\\.0.113.7\"", Some("203.0.113.7")),
            (
                "by=\"a,b;for=1.1.1.1\";for=203.0.113.7",
                Some("203.0.113.7"),
            ),
            ("for=203.0.113.7, proto=https", None),
            ("for=203.0.113.7;for=203.0.113.8", None),
            ("for=203.0.113.7, for=_hidden", None),
            ("for=203.0.113.7, for=unknown", None),
            ("for=203.0.113.7,", None),
            ("for=\"6.6.6.6, for=203.0.113.7", None),
            ("for", None),
            ("", None),
        ] {
            let result = client(ClientIpSource::Forwarded, &[("Forwarded", line)]);
            assert_eq!(result.as_deref(), found, "{line}");
        }
        assert_eq!(client(ClientIpSource::Forwarded, &[]), None);
    }
}
