//! Trusted proxies: entries as written, and a compiled form that is quick to search.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::error::Code;

/// More entries than this are refused.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// One understood entry of `gateway.trustedProxies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProxyEntry {
    /// The range it covers, canonical: an IPv4-mapped range is an IPv4 range.
    pub(super) net: IpNet,
    /// The address had bits set behind the prefix, which were dropped.
    pub(super) host_bits: bool,
}

/// Why an entry is not understood: the code, and what to tell the reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryFault {
    pub(super) code: Code,
    pub(super) advice: String,
}

impl ProxyEntry {
    /// Reads a trimmed entry.
    ///
    /// `ipnet`'s own parser is not used: it accepts leading zeros in addresses and prefixes.
    pub(super) fn parse(text: &str) -> Result<Self, EntryFault> {
        if text.is_empty() {
            return Err(fault(Code::TrustedProxiesBlankEntry, "the entry is blank"));
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = parse_address(address)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => None,
            Some(prefix) => Some(parse_prefix(prefix, width)?),
        };
        let (address, prefix) = unmap(address, prefix.unwrap_or(width))?;
        let single = prefix == if address.is_ipv4() { 32 } else { 128 };
        if single && address.is_unspecified() {
            return Err(fault(
                Code::TrustedProxiesUnspecified,
                "nobody connects from there",
            ));
        }
        let Ok(net) = IpNet::new(address, prefix) else {
            return Err(fault(
                Code::TrustedProxiesBadPrefix,
                "the prefix is out of range",
            ));
        };
        Ok(Self {
            net: net.trunc(),
            host_bits: net.addr() != net.network(),
        })
    }

    /// Whether it covers every address of its family.
    pub(super) fn is_any(&self) -> bool {
        self.net.prefix_len() == 0
    }

    fn is_loopback(&self) -> bool {
        self.net.network().is_loopback() && self.net.broadcast().is_loopback()
    }

    fn is_single(&self) -> bool {
        self.net.prefix_len() == self.net.max_prefix_len()
    }
}

fn parse_address(text: &str) -> Result<IpAddr, EntryFault> {
    let bare = match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inside) if inside.contains(':') => inside,
        _ => text,
    };
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    if bare
        .split_once('%')
        .is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
    {
        return Err(fault(Code::TrustedProxiesZoneId, "zones are not supported"));
    }
    let is_name = text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains(':');
    Err(fault(
        Code::TrustedProxiesNotAnIp,
        if is_name {
            "names are not resolved; write the address or subnet of the proxy's network"
        } else {
            "write an address or a subnet such as 10.0.0.0/24"
        },
    ))
}

fn parse_prefix(text: &str, width: u8) -> Result<u8, EntryFault> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    match text.parse::<u8>() {
        Ok(prefix) if plain && prefix <= width => Ok(prefix),
        _ => Err(fault(
            Code::TrustedProxiesBadPrefix,
            &format!("the prefix is a plain number from 0 to {width}"),
        )),
    }
}

/// An IPv4-mapped range as the IPv4 range it stands for.
fn unmap(address: IpAddr, prefix: u8) -> Result<(IpAddr, u8), EntryFault> {
    let IpAddr::V6(v6) = address else {
        return Ok((address, prefix));
    };
    let Some(v4) = v6.to_ipv4_mapped() else {
        return Ok((address, prefix));
    };
    match prefix.checked_sub(96) {
        Some(prefix) => Ok((v4.into(), prefix)),
        None => Err(fault(
            Code::TrustedProxiesMappedPrefix,
            &format!("write {v4}/{} if the IPv4 range is meant", prefix.min(32)),
        )),
    }
}

fn fault(code: Code, advice: &str) -> EntryFault {
    EntryFault {
        code,
        advice: advice.to_owned(),
    }
}

/// All trusted proxies, compiled.
#[derive(Debug, Default)]
pub(super) struct ProxyRanges {
    all: Ranges,
    /// Entries that lie wholly inside loopback space.
    loopback: Ranges,
    /// Entries that are one address.
    singles: Ranges,
}

impl ProxyRanges {
    pub(super) fn new(entries: &[ProxyEntry]) -> Self {
        Self {
            all: entries.iter().copied().collect(),
            loopback: entries
                .iter()
                .copied()
                .filter(ProxyEntry::is_loopback)
                .collect(),
            singles: entries
                .iter()
                .copied()
                .filter(ProxyEntry::is_single)
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the address lies in an entry.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.all.contains(address)
    }

    /// Whether the address lies in an entry that covers nothing but loopback.
    pub(super) fn names_loopback(&self, address: IpAddr) -> bool {
        self.loopback.contains(address)
    }

    /// Whether an entry is exactly this address.
    pub(super) fn names_single(&self, address: IpAddr) -> bool {
        self.singles.contains(address)
    }

    /// Whether an entry covers at least one loopback address.
    pub(super) fn reaches_loopback(&self) -> bool {
        let v4 = self
            .all
            .v4
            .iter()
            .any(|&(first, last)| first <= 0x7fff_ffff && last >= 0x7f00_0000);
        v4 || self.all.contains(Ipv6Addr::LOCALHOST.into())
    }
}

/// Address ranges, sorted and merged: inclusive, disjoint, not adjacent.
#[derive(Debug, Default)]
struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => covers(&self.v4, u32::from(address)),
            IpAddr::V6(address) => covers(&self.v6, u128::from(address)),
        }
    }
}

impl FromIterator<ProxyEntry> for Ranges {
    fn from_iter<I: IntoIterator<Item = ProxyEntry>>(entries: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.net {
                IpNet::V4(net) => v4.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => v6.push((net.network().into(), net.broadcast().into())),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }
}

fn covers<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let next = ranges.partition_point(|&(first, _)| first <= address);
    next.checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|&(_, last)| address <= last)
}

/// Subnets overlap only by containing one another, so one look back is enough; merging ranges
/// that merely touch would save nothing that matters.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut result: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match result.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => result.push((first, last)),
        }
    }
    result.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn ranges(entries: &[&str]) -> ProxyRanges {
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| ProxyEntry::parse(entry).unwrap())
            .collect();
        ProxyRanges::new(&entries)
    }

    #[test]
    fn faults_of_entries() {
        for (entry, code) in [
            ("", "trusted_proxies_blank_entry"),
            ("[10.0.0.1]", "trusted_proxies_not_an_ip"),
            ("fe80::1%eth0/64", "trusted_proxies_zone_id"),
            ("10.0.0.0/256", "trusted_proxies_bad_prefix"),
            ("10.0.0.0/+8", "trusted_proxies_bad_prefix"),
            ("2001:db8::/129", "trusted_proxies_bad_prefix"),
            ("::ffff:0.0.0.0", "trusted_proxies_unspecified"),
            ("::ffff:10.0.0.0/95", "trusted_proxies_mapped_prefix"),
        ] {
            assert_eq!(
                ProxyEntry::parse(entry).unwrap_err().code.as_str(),
                code,
                "{entry}"
            );
        }
        let fault = ProxyEntry::parse("::ffff:10.0.0.0/8").unwrap_err();
        assert!(fault.advice.contains("10.0.0.0/8"), "{}", fault.advice);
        let fault = ProxyEntry::parse("proxy.internal").unwrap_err();
        assert!(fault.advice.contains("not resolved"), "{}", fault.advice);
    }

    #[test]
    fn prefix_zero_is_recognised_in_every_form() {
        for entry in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
            assert!(ProxyEntry::parse(entry).unwrap().is_any(), "{entry}");
        }
    }

    #[test]
    fn host_bits_are_dropped_and_reported() {
        let entry = ProxyEntry::parse("10.0.0.7/24").unwrap();
        assert!(entry.host_bits);
        assert_eq!(entry.net.to_string(), "10.0.0.0/24");
        assert!(!ProxyEntry::parse("10.0.0.0/24").unwrap().host_bits);
    }

    #[test]
    fn naming_is_narrower_than_covering() {
        let ranges = ranges(&["64.0.0.0/2", "127.0.0.2", "10.0.0.1", "::/16"]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(ranges.contains(address("127.0.0.1")));
        assert!(!ranges.names_loopback(address("127.0.0.1")));
        assert!(ranges.names_loopback(address("127.0.0.2")));
        assert!(ranges.names_single(address("10.0.0.1")));
        assert!(!ranges.names_single(address("64.0.0.0")));
        assert!(ranges.contains(address("::1")) && !ranges.names_loopback(address("::1")));
        assert!(ranges.reaches_loopback());
    }

    #[test]
    fn loopback_is_reached_by_any_overlap() {
        for (entry, reached) in [
            ("127.9.0.0/16", true),
            ("64.0.0.0/2", true),
            ("126.0.0.0/8", false),
            ("128.0.0.0/8", false),
            ("::/16", true),
            ("::2", false),
        ] {
            assert_eq!(ranges(&[entry]).reaches_loopback(), reached, "{entry}");
        }
    }

    proptest! {
        #[test]
        fn search_agrees_with_a_plain_scan(
            nets in prop::collection::vec((any::<u32>(), 1u8..=32), 0..40),
            wide in prop::collection::vec((any::<u128>(), 1u8..=128), 0..40),
            probes in prop::collection::vec(any::<u32>(), 0..40),
        ) {
            let mut entries = Vec::new();
            let v4 = nets.iter().map(|&(a, p)| (IpAddr::from(Ipv4Addr::from(a)), p));
            let v6 = wide.iter().map(|&(a, p)| (IpAddr::from(Ipv6Addr::from(a)), p));
            for (address, prefix) in v4.chain(v6) {
                let net = IpNet::new(address, prefix).unwrap().trunc();
                entries.push(ProxyEntry { net, host_bits: false });
            }
            let ranges = ProxyRanges::new(&entries);
            let edges = entries.iter().flat_map(|e| [e.net.network(), e.net.broadcast()]);
            let beside = entries.iter().filter_map(|e| match e.net.broadcast() {
                IpAddr::V4(last) => u32::from(last).checked_add(1).map(|a| Ipv4Addr::from(a).into()),
                IpAddr::V6(last) => u128::from(last).checked_add(1).map(|a| Ipv6Addr::from(a).into()),
            });
            let probes = probes.iter().map(|&a| IpAddr::from(Ipv4Addr::from(a)));
            for probe in edges.chain(beside).chain(probes) {
                let naive = entries.iter().any(|entry| entry.net.contains(&probe));
                prop_assert_eq!(ranges.contains(probe), naive, "{}", probe);
            }
        }
    }
}
