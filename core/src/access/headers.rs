//! One pass over the header lines, from which every rule takes what it needs.

use std::sync::Arc;

use super::Headers;
use super::user::trim_blanks;

/// Longest header name that can be configured.
pub(super) const MAX_NAME: usize = 128;

/// Most required headers that can be configured.
pub(super) const MAX_REQUIRED: usize = 64;

/// A header that some rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Authorization,
    /// The header that `gateway.clientIpHeader` names when it is neither list form.
    ClientIp,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    Host,
    Origin,
    RealIp,
    /// The proxy secret.
    Secret,
    User,
    WebSocketProtocol,
}

const SLOTS: usize = 12;

/// The lines of one header: how many there were, and the value of the last one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Line<'h> {
    pub(super) count: u32,
    pub(super) value: &'h [u8],
}

impl<'h> Line<'h> {
    /// The value without blanks around it, if there was exactly one line.
    pub(super) fn single(&self) -> Option<&'h [u8]> {
        (self.count == 1).then(|| trim_blanks(self.value))
    }
}

/// What one pass over the header lines found.
#[derive(Debug, Default)]
pub(super) struct Slots<'h> {
    lines: [Line<'h>; SLOTS],
    /// There was at least one line.
    pub(super) any: bool,
    /// A line says that somebody else is behind the peer (`x-forwarded-*`, `forwarded`,
    /// `x-real-ip`).
    pub(super) evidence: bool,
    /// One bit for each required header that has a line which is not blank.
    pub(super) required: u64,
    /// Faults of the user header and of the proxy secret header.
    user: Faults,
    secret: Faults,
}

/// What makes a security header ambiguous, besides its repetition.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    alias: bool,
    hop_by_hop: bool,
}

impl<'h> Slots<'h> {
    pub(super) fn line(&self, slot: Slot) -> Line<'h> {
        self.lines.get(slot as usize).copied().unwrap_or_default()
    }

    /// Why a security header ([`Slot::User`] or [`Slot::Secret`]) cannot be believed.
    pub(super) fn ambiguity(&self, slot: Slot) -> Option<&'static str> {
        let faults = if slot == Slot::User {
            self.user
        } else {
            self.secret
        };
        match (self.line(slot).count > 1, faults) {
            (true, _) => Some("repeated"),
            (_, Faults { alias: true, .. }) => Some("alias"),
            (
                _,
                Faults {
                    hop_by_hop: true, ..
                },
            ) => Some("hop_by_hop"),
            _ => None,
        }
    }

    fn faults(&mut self, slot: Slot) -> &mut Faults {
        if slot == Slot::User {
            &mut self.user
        } else {
            &mut self.secret
        }
    }
}

/// Which headers to look for; made once for each policy.
#[derive(Debug)]
pub(super) struct HeaderPlan {
    /// Sorted by the length of the name.
    names: Box<[Name]>,
    /// Names of length `n` start at `first[n]` and end at `first[n + 1]`.
    first: [u8; MAX_NAME + 2],
}

#[derive(Debug)]
struct Name {
    lower: Box<[u8]>,
    slot: Option<Slot>,
    /// A bit of [`Slots::required`], or 0.
    required: u64,
    /// The slot again, if the value decides about access: then look-alike names and `Connection`
    /// matter.
    security: Option<Slot>,
    connection: bool,
}

/// The configured names that a plan is made from; all are valid header names.
#[derive(Debug, Default)]
pub(super) struct PlanNames<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) secret: Option<&'a str>,
    pub(super) client_ip: Option<&'a str>,
    /// At most [`MAX_REQUIRED`], distinct without regard to letter case.
    pub(super) required: &'a [Arc<str>],
}

impl HeaderPlan {
    pub(super) fn new(configured: &PlanNames<'_>) -> Self {
        let mut names = Vec::new();
        for (name, slot) in FIXED {
            name_entry(&mut names, name).slot = Some(*slot);
        }
        name_entry(&mut names, "connection").connection = true;
        if let Some(name) = configured.client_ip {
            // A fixed header keeps its slot: `line_of` finds it there.
            name_entry(&mut names, name)
                .slot
                .get_or_insert(Slot::ClientIp);
        }
        for (name, slot) in [
            (configured.user, Slot::User),
            (configured.secret, Slot::Secret),
        ] {
            if let Some(name) = name {
                let entry = name_entry(&mut names, name);
                entry.slot = Some(slot);
                entry.security = Some(slot);
            }
        }
        for (bit, name) in configured.required.iter().enumerate().take(MAX_REQUIRED) {
            name_entry(&mut names, name).required = 1 << bit;
        }
        names.sort_by_key(|name| name.lower.len());
        let mut first = [0; MAX_NAME + 2];
        for (length, first) in first.iter_mut().enumerate() {
            let before = names.partition_point(|name| name.lower.len() < length);
            *first = u8::try_from(before).unwrap_or(u8::MAX);
        }
        Self {
            names: names.into_boxed_slice(),
            first,
        }
    }

    /// The slot in which the lines of a configured name are found.
    pub(super) fn slot_of(&self, name: &str) -> Option<Slot> {
        self.of_length(name.len())
            .iter()
            .find(|entry| entry.lower.eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|entry| entry.slot)
    }

    /// The folded names of all lines that [`HeaderPlan::scan`] or the walk over forwarded hops
    /// can notice, sorted, with commas between.
    pub(super) fn wanted(&self) -> String {
        let folded = |name: &Name| -> String {
            let bytes = name.lower.iter();
            bytes.map(|byte| char::from(fold(*byte))).collect()
        };
        let mut names: Vec<String> = self
            .names
            .iter()
            .map(folded)
            .filter(|name| !name.starts_with(FORWARDED_EXTENSION))
            .collect();
        names.push(format!("{FORWARDED_EXTENSION}*"));
        names.sort_unstable();
        names.dedup();
        names.join(",")
    }

    /// Looks at every line once.
    pub(super) fn scan<'h>(&self, headers: &'h dyn Headers) -> Slots<'h> {
        let mut slots = Slots::default();
        headers.each(&mut |name, value| self.take(&mut slots, name.as_bytes(), value));
        slots
    }

    fn take<'h>(&self, slots: &mut Slots<'h>, name: &[u8], value: &'h [u8]) {
        slots.any = true;
        if !slots.evidence && is_forwarded_extension(name) {
            slots.evidence = true;
        }
        let Some(last) = name.last() else { return };
        let last = fold(*last);
        for entry in self.of_length(name.len()) {
            // Names of one length often begin alike, so the last byte tells them apart first.
            if entry.lower.last().is_none_or(|own| fold(*own) != last) {
                continue;
            }
            if name.eq_ignore_ascii_case(&entry.lower) {
                self.found(slots, entry, value);
            } else if let Some(slot) = entry.security
                && is_alias(name, &entry.lower)
            {
                slots.faults(slot).alias = true;
            }
        }
    }

    fn found<'h>(&self, slots: &mut Slots<'h>, entry: &Name, value: &'h [u8]) {
        if entry.required & !slots.required != 0 && !trim_blanks(value).is_empty() {
            slots.required |= entry.required;
        }
        if entry.connection {
            self.connection(slots, value);
        }
        let Some(slot) = entry.slot else { return };
        slots.evidence |= matches!(slot, Slot::Forwarded | Slot::RealIp);
        if let Some(line) = slots.lines.get_mut(slot as usize) {
            line.count = line.count.saturating_add(1);
            line.value = value;
        }
    }

    /// A header named in `Connection` belongs to one hop: a proxy may have removed the real one.
    fn connection(&self, slots: &mut Slots<'_>, value: &[u8]) {
        for token in value.split(|b| *b == b',').map(trim_blanks) {
            for entry in self.of_length(token.len()) {
                if let Some(slot) = entry.security
                    && token.eq_ignore_ascii_case(&entry.lower)
                {
                    slots.faults(slot).hop_by_hop = true;
                }
            }
        }
    }

    fn of_length(&self, length: usize) -> &[Name] {
        match (self.first.get(length), self.first.get(length + 1)) {
            (Some(from), Some(to)) => self
                .names
                .get(usize::from(*from)..usize::from(*to))
                .unwrap_or_default(),
            _ => &[],
        }
    }
}

/// The entry for a name, which may already be there for another reason.
fn name_entry<'n>(names: &'n mut Vec<Name>, name: &str) -> &'n mut Name {
    let lower = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
    let at = names
        .iter()
        .position(|entry| entry.lower == lower)
        .unwrap_or(names.len());
    if at == names.len() {
        names.push(Name {
            lower,
            slot: None,
            required: 0,
            security: None,
            connection: false,
        });
    }
    #[expect(
        clippy::indexing_slicing,
        reason = "`at` is a position, or the one just pushed"
    )]
    &mut names[at]
}

/// Whether a configured header name is one by RFC 9110, section 5.1, and not overlong.
pub(super) fn is_header_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether two names become one where special characters are not told apart, as in CGI: same
/// letters and digits, any special character beside any other.
pub(super) fn is_alias(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len() && name.iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
}

/// What the names of most forwarding headers begin with.
const FORWARDED_EXTENSION: &str = "x-forwarded-";

fn is_forwarded_extension(name: &[u8]) -> bool {
    let Some(start) = name.get(..FORWARDED_EXTENSION.len()) else {
        return false;
    };
    matches!(start, [b'x' | b'X', ..]) && start.eq_ignore_ascii_case(FORWARDED_EXTENSION.as_bytes())
}

fn fold(byte: u8) -> u8 {
    FOLD.get(usize::from(byte)).copied().unwrap_or(b'-')
}

/// Lower case for letters, digits as they are, `-` for everything else.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, within bounds"
)]
const FOLD: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

const FIXED: &[(&str, Slot)] = &[
    ("authorization", Slot::Authorization),
    ("forwarded", Slot::Forwarded),
    ("x-forwarded-for", Slot::ForwardedFor),
    ("x-forwarded-host", Slot::ForwardedHost),
    ("x-forwarded-proto", Slot::ForwardedProto),
    ("host", Slot::Host),
    ("origin", Slot::Origin),
    ("x-real-ip", Slot::RealIp),
    ("sec-websocket-protocol", Slot::WebSocketProtocol),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> HeaderPlan {
        HeaderPlan::new(&PlanNames {
            user: Some("X-Forwarded-User"),
            secret: Some("x-proxy-secret"),
            client_ip: Some("cf-connecting-ip"),
            required: &["x-forwarded-proto".into(), "X-Forwarded-User".into()],
        })
    }

    #[test]
    fn lines_are_counted_whatever_their_case() {
        let headers = [
            ("X-FORWARDED-USER", "a"),
            ("x-forwarded-user", "b"),
            ("Host", " h "),
        ];
        let plan = plan();
        let slots = plan.scan(&headers);
        assert_eq!(slots.line(Slot::User).count, 2);
        assert_eq!(slots.line(Slot::User).value, b"b");
        assert_eq!(slots.line(Slot::User).single(), None);
        assert_eq!(slots.line(Slot::Host).single(), Some(&b"h"[..]));
        assert_eq!(slots.ambiguity(Slot::User), Some("repeated"));
        assert_eq!(slots.ambiguity(Slot::Secret), None);
        assert!(slots.evidence && slots.any);
    }

    #[test]
    fn aliases_and_connection_make_a_header_ambiguous() {
        for (line, reason) in [
            (("X_Forwarded_User", ""), Some("alias")),
            (("x.forwarded~user", ""), Some("alias")),
            (("X-Forwarded-Users", ""), None),
            (("XXForwarded-User", ""), None),
            (
                ("Connection", "close, x-forwarded-USER"),
                Some("hop_by_hop"),
            ),
            (("Connection", "x-forwarded-user-id"), None),
            (("X-Forwarded-User", ""), None),
        ] {
            let headers = [line];
            assert_eq!(
                plan().scan(&headers).ambiguity(Slot::User),
                reason,
                "{line:?}"
            );
        }
        let headers = [("x_proxy_secret", "")];
        assert_eq!(plan().scan(&headers).ambiguity(Slot::Secret), Some("alias"));
    }

    #[test]
    fn required_headers_need_a_line_that_is_not_blank() {
        let headers = [("X-Forwarded-Proto", " "), ("x_forwarded_user", "nick")];
        assert_eq!(plan().scan(&headers).required, 0);
        let headers = [("X-Forwarded-Proto", " "), ("X-Forwarded-Proto", "http")];
        assert_eq!(plan().scan(&headers).required, 1);
        let headers = [("X-Forwarded-User", "nick")];
        assert_eq!(plan().scan(&headers).required, 2);
    }

    #[test]
    fn evidence_is_any_forwarding_header() {
        for (name, evidence) in [
            ("Forwarded", true),
            ("X-Real-IP", true),
            ("x-forwarded-", true),
            ("X-Forwarded-Anything", true),
            ("x-forwarded", false),
            ("x_forwarded_for", false),
        ] {
            let headers = [(name, "")];
            assert_eq!(plan().scan(&headers).evidence, evidence, "{name}");
        }
    }

    #[test]
    fn wanted_names_are_folded_and_sorted() {
        assert_eq!(
            plan().wanted(),
            "authorization,cf-connecting-ip,connection,forwarded,host,origin,\
             sec-websocket-protocol,x-forwarded-*,x-proxy-secret,x-real-ip"
        );
        let odd = HeaderPlan::new(&PlanNames {
            user: Some("X_Auth.User"),
            ..PlanNames::default()
        });
        assert!(odd.wanted().contains(",x-auth-user,"), "{}", odd.wanted());
    }

    #[test]
    fn configured_client_header_finds_its_slot() {
        assert_eq!(plan().slot_of("CF-Connecting-IP"), Some(Slot::ClientIp));
        assert_eq!(plan().slot_of("X-Real-Ip"), Some(Slot::RealIp));
        assert_eq!(plan().slot_of("x-other"), None);
    }

    #[test]
    fn names_of_any_length_are_looked_up_safely() {
        for length in 0..300 {
            let headers = [("x".repeat(length), "")];
            assert_eq!(plan().scan(&headers).required, 0);
        }
    }
}
