//! Checks of which proxies are trusted.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::AuditSeverity::{Critical, Info, Warn};
use super::facts::{Entry, Facts};
use super::{AuditSeverity, Hits};
use crate::error::Code;

/// More entries, or more IPv4 addresses in all of them together, are too many proxies.
const MANY_ENTRIES: usize = 16;
const MANY_ADDRESSES: u64 = 256;

pub(super) fn boundary(facts: &Facts<'_>, hits: &mut Hits) {
    if !facts.by_proxy() {
        return;
    }
    let guarded = !facts.users.is_empty() || !facts.required.is_empty() || facts.has_proxy_secret();
    let detail = "gateway.auth.mode is trusted-proxy.";
    match guarded {
        true => hits.add(detail),
        false => hits.add_as(
            Critical,
            format!("{detail} No allowUsers, requiredHeaders or proxySecret narrow it."),
        ),
    }
}

pub(super) fn none(facts: &Facts<'_>, hits: &mut Hits) {
    for problem in facts.problems(&[Code::TrustedProxyNoProxiesConfigured]) {
        hits.add(sentence(&problem.message));
    }
}

pub(super) fn allow_loopback(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && allow(facts) == Some(true) && !facts.has_proxy_secret() {
        hits.add(
            "Every program on this host can send identity headers, and no proxySecret is set.",
        );
    }
}

pub(super) fn loopback_by_name(facts: &Facts<'_>, hits: &mut Hits) {
    if !facts.by_proxy() || allow(facts).is_some() {
        return;
    }
    let severity = by_secret(facts, Warn);
    for entry in facts.entries.iter().filter(|entry| entry.is_loopback()) {
        let detail = format!(
            "{} names loopback, and allowLoopback is not set.",
            entry.net
        );
        hits.push(Some(severity), Some(&entry.path), detail);
    }
}

pub(super) fn loopback_rejected(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && allow(facts) == Some(false) {
        for entry in facts.entries.iter().filter(|entry| entry.is_loopback()) {
            let detail = format!("allowLoopback is false, so {} is refused.", entry.net);
            hits.add_at(&entry.path, detail);
        }
    }
}

pub(super) fn unreachable(facts: &Facts<'_>, hits: &mut Hits) {
    let reached = facts
        .policy
        .as_ref()
        .is_some_and(|policy| policy.proxies.reaches_loopback());
    if facts.by_proxy() && !facts.is_exposed() && !facts.entries.is_empty() && !reached {
        hits.add(
            "The gateway listens on loopback only, and no entry contains a loopback address: \
             every request will be refused.",
        );
    }
}

pub(super) fn any(facts: &Facts<'_>, hits: &mut Hits) {
    for entry in facts.entries.iter().filter(|entry| entry.is_any()) {
        hits.add_at(
            &entry.path,
            format!("{} is the whole address space.", entry.net),
        );
    }
}

/// A range of loopback is one host however wide it is written.
pub(super) fn wide(facts: &Facts<'_>, hits: &mut Hits) {
    let ranges = facts
        .entries
        .iter()
        .filter(|entry| !entry.is_single() && !entry.is_any());
    for entry in ranges {
        let (critical, warn) = match entry.net {
            IpNet::V4(_) => (16, 24),
            IpNet::V6(_) => (48, 64),
        };
        let severity = match entry.net.prefix_len() {
            _ if entry.is_loopback() => Info,
            prefix if prefix < critical => Critical,
            prefix if prefix < warn => Warn,
            _ => Info,
        };
        let detail = format!("{} covers {}.", entry.net, size(entry.net));
        hits.push(Some(severity), Some(&entry.path), detail);
    }
}

fn size(net: IpNet) -> String {
    let bits = net.max_prefix_len() - net.prefix_len();
    match bits {
        0..=32 => format!("{} addresses", 1_u64 << bits),
        _ => format!("2^{bits} addresses"),
    }
}

pub(super) fn many(facts: &Facts<'_>, hits: &mut Hits) {
    let v4: Vec<Ipv4Net> = facts
        .entries
        .iter()
        .filter(|entry| !entry.is_loopback())
        .filter_map(|entry| match entry.net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
        .collect();
    let addresses: u64 = Ipv4Net::aggregate(&v4)
        .iter()
        .map(|net| 1_u64 << (32 - net.prefix_len()))
        .sum();
    let entries = facts.entries.len();
    if entries > MANY_ENTRIES || addresses > MANY_ADDRESSES {
        hits.add(format!(
            "{entries} entries with {addresses} IPv4 addresses in all."
        ));
    }
}

pub(super) fn public(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.client_certificates() || facts.has_proxy_secret() {
        return;
    }
    let found = |entry: &&Entry| {
        !entry.is_any() && is_public(entry.net.network()) && is_public(entry.net.broadcast())
    };
    for entry in facts.entries.iter().filter(found) {
        let detail = format!("{} is reached over the public Internet.", entry.net);
        hits.add_at(&entry.path, detail);
    }
}

/// Whether an address is meant to be reached from everywhere (the IANA special-purpose registries,
/// as far as proxies are concerned).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = matches!(v4.octets(), [100, 64..=127, ..]);
            let tests = v4.is_documentation() || matches!(v4.octets(), [198, 18..=19, ..]);
            let nowhere = v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast();
            let local = v4.is_private() || v4.is_loopback() || v4.is_link_local();
            !(shared || tests || nowhere || local)
        }
        IpAddr::V6(v6) => {
            let documentation = matches!(v6.segments(), [0x2001, 0x0db8, ..]);
            matches!(v6.segments(), [0x2000..=0x3fff, ..]) && !documentation
        }
    }
}

pub(super) fn own_address(facts: &Facts<'_>, hits: &mut Hits) {
    let own = facts.own.as_deref().unwrap_or_default();
    for entry in facts.entries.iter().filter(|entry| entry.is_single()) {
        let address = entry.net.addr();
        if own.contains(&address) && !address.is_loopback() {
            let detail = format!("{address} is an address of this host itself.");
            hits.add_at(&entry.path, detail);
        }
    }
}

pub(super) fn own_addresses_unknown(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && facts.own.is_none() {
        hits.add("The system does not tell this host's own addresses.");
    }
}

pub(super) fn link_local(facts: &Facts<'_>, hits: &mut Hits) {
    let is_link_local = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    for entry in &facts.entries {
        if is_link_local(entry.net.network()) && is_link_local(entry.net.broadcast()) {
            hits.add_at(&entry.path, format!("{} is link-local.", entry.net));
        }
    }
}

pub(super) fn missing(facts: &Facts<'_>, hits: &mut Hits) {
    let other_mode = facts.mode().is_some() && !facts.by_proxy();
    if other_mode && !facts.is_exposed() && facts.entries.is_empty() {
        hits.add("gateway.trustedProxies is empty.");
    }
}

/// What the settings say about loopback sources.
fn allow(facts: &Facts<'_>) -> Option<bool> {
    let value = facts.value("gateway.auth.trustedProxy.allowLoopback")?;
    value.as_bool()
}

/// A secret of the proxy's own turns a risk into a remark.
pub(super) fn by_secret(facts: &Facts<'_>, otherwise: AuditSeverity) -> AuditSeverity {
    match facts.has_proxy_secret() {
        true => Info,
        false => otherwise,
    }
}

/// A problem's message as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
