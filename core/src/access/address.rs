//! Peer addresses as texts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address in a peer text, in canonical form: IPv4-mapped IPv6 becomes IPv4.
///
/// Accepts an IPv4 or IPv6 address with an optional port (`10.0.0.1:443`, `[2001:db8::1]:443`),
/// an optional zone on IPv6, and blanks or tabs around it. Strict (RFC 6943): no leading zeros,
/// no hexadecimal or short IPv4 forms, no names.
pub fn parse_peer(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        if !after.is_empty() && !after.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        return ipv6_with_zone(inside);
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((address, port)) if !port.contains(':') => {
            is_port(port).then_some(())?;
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        Some(_) => ipv6_with_zone(text),
    }
}

/// [`parse_peer`] for bytes as they stand in a header.
pub(super) fn parse_peer_bytes(bytes: &[u8]) -> Option<IpAddr> {
    parse_peer(str::from_utf8(bytes).ok()?)
}

fn ipv6_with_zone(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((address, zone)) => is_zone(zone).then_some(address)?,
        None => text,
    };
    address
        .parse::<Ipv6Addr>()
        .ok()
        .map(|address| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

fn is_zone(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_of_peers() {
        for (text, parsed) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:0", Some("10.0.0.1")),
            ("10.0.0.1:65535", Some("10.0.0.1")),
            ("10.0.0.1:65536", None),
            ("10.0.0.1:+80", None),
            ("\t::1 ", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1]:", None),
            ("[::1]80", None),
            ("[::1", None),
            ("[10.0.0.1]", None),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("::10.0.0.1", Some("::a00:1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("fe80::1%", None),
            ("fe80::1%a b", None),
            ("10.0.0.1%eth0", None),
            ("010.0.0.1", None),
            ("unix:", None),
            ("", None),
        ] {
            let expected = parsed.map(|parsed| parsed.parse::<IpAddr>().unwrap());
            assert_eq!(parse_peer(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_address_survives_being_written(v4: u32, v6: u128, port: u16) {
            let v4 = Ipv4Addr::from(v4);
            let v6 = Ipv6Addr::from(v6);
            prop_assert_eq!(parse_peer(&v4.to_string()), Some(IpAddr::V4(v4)));
            prop_assert_eq!(parse_peer(&format!("{v4}:{port}")), Some(IpAddr::V4(v4)));
            prop_assert_eq!(parse_peer(&v4.to_ipv6_mapped().to_string()), Some(IpAddr::V4(v4)));
            prop_assert_eq!(parse_peer(&v6.to_string()), Some(v6.to_canonical()));
            prop_assert_eq!(parse_peer(&format!("[{v6}%en0]:{port}")), Some(v6.to_canonical()));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse_peer(&text);
        }
    }
}
