//! The value of the user header.

/// Longest user name in bytes.
pub(super) const MAX_USER_BYTES: usize = 512;

/// What stands in a user header, before the allow list is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UserValue<'h> {
    /// Nothing but blanks.
    Blank,
    /// Something that is no name, and why.
    Invalid(&'static str),
    /// A name whose characters are fine.
    Text(&'h str),
}

/// Reads the bytes of the header line.
pub(super) fn read_user(bytes: &[u8]) -> UserValue<'_> {
    let bytes = trim_blanks(bytes);
    if bytes.is_empty() {
        return UserValue::Blank;
    }
    if bytes.len() > MAX_USER_BYTES {
        return UserValue::Invalid("too_long");
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return UserValue::Invalid("not_utf8");
    };
    let plain = bytes.iter().all(|b| (b' '..=b'~').contains(b));
    if !plain && let Some(reason) = text.chars().find_map(unusable) {
        return UserValue::Invalid(reason);
    }
    UserValue::Text(text)
}

/// Whether the value is what a proxy sends when a template of its configuration was not filled:
/// then every visitor would become one common user.
pub(super) fn is_placeholder(user: &str) -> bool {
    let wrapped = |open: char, close: char| user.starts_with(open) && user.ends_with(close);
    let variable = user.strip_prefix('$').and_then(|rest| rest.chars().next());
    PLACEHOLDERS
        .iter()
        .any(|word| user.eq_ignore_ascii_case(word))
        || (user.len() > 1 && (wrapped('{', '}') || wrapped('<', '>')))
        || user.starts_with("%{")
        || variable.is_some_and(|c| c == '{' || c == '_' || c.is_ascii_alphabetic())
}

/// The bytes without blanks and tabs around them.
pub(super) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn unusable(c: char) -> Option<&'static str> {
    if c.is_ascii() && !c.is_ascii_control() {
        return None;
    }
    let code = u32::from(c);
    if code & 0xfffe == 0xfffe {
        return Some("noncharacter");
    }
    UNUSABLE
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&code))
        .map(|row| row.2)
}

const PLACEHOLDERS: &[&str] = &[
    "(null)",
    "null",
    "undefined",
    "nil",
    "none",
    "-",
    "\"\"",
    "''",
];

/// First and last code point, and what is wrong with them. Controls would forge log lines;
/// unusual spaces and invisible characters make two names look like one.
const UNUSABLE: &[(u32, u32, &str)] = &[
    (0x0000, 0x001f, "control"),
    (0x007f, 0x009f, "control"),
    (0x00a0, 0x00a0, "whitespace"),
    (0x00ad, 0x00ad, "invisible"),
    (0x0600, 0x0605, "invisible"),
    (0x061c, 0x061c, "invisible"),
    (0x06dd, 0x06dd, "invisible"),
    (0x070f, 0x070f, "invisible"),
    (0x08e2, 0x08e2, "invisible"),
    (0x115f, 0x1160, "whitespace"),
    (0x1680, 0x1680, "whitespace"),
    (0x180e, 0x180e, "invisible"),
    (0x2000, 0x200a, "whitespace"),
    (0x200b, 0x200f, "invisible"),
    (0x2028, 0x202e, "invisible"),
    (0x202f, 0x202f, "whitespace"),
    (0x205f, 0x205f, "whitespace"),
    (0x2060, 0x206f, "invisible"),
    (0x3000, 0x3000, "whitespace"),
    (0x3164, 0x3164, "whitespace"),
    (0xfdd0, 0xfdef, "noncharacter"),
    (0xfeff, 0xfeff, "invisible"),
    (0xffa0, 0xffa0, "whitespace"),
    (0xfff9, 0xfffb, "invisible"),
    (0x110bd, 0x110bd, "invisible"),
    (0x13430, 0x1343f, "invisible"),
    (0x1bca0, 0x1bca3, "invisible"),
    (0x1d173, 0x1d17a, "invisible"),
    (0xe0000, 0xe007f, "invisible"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_their_characters() {
        for (bytes, value) in [
            (&b" \t nick\t "[..], UserValue::Text("nick")),
            (b"Nick Smith", UserValue::Text("Nick Smith")),
            ("jürgen".as_bytes(), UserValue::Text("jürgen")),
            ("日本語🦀".as_bytes(), UserValue::Text("日本語🦀")),
            (b"\t  ", UserValue::Blank),
            (b"", UserValue::Blank),
            (b"j\xfcrgen", UserValue::Invalid("not_utf8")),
            (b"a\x7f", UserValue::Invalid("control")),
            ("a\u{85}".as_bytes(), UserValue::Invalid("control")),
            ("\u{a0}a".as_bytes(), UserValue::Invalid("whitespace")),
            ("a\u{3164}".as_bytes(), UserValue::Invalid("whitespace")),
            ("a\u{feff}".as_bytes(), UserValue::Invalid("invisible")),
            ("a\u{e0041}".as_bytes(), UserValue::Invalid("invisible")),
            ("a\u{fdd0}".as_bytes(), UserValue::Invalid("noncharacter")),
            ("a\u{ffff}".as_bytes(), UserValue::Invalid("noncharacter")),
            ("a\u{10fffe}".as_bytes(), UserValue::Invalid("noncharacter")),
        ] {
            assert_eq!(read_user(bytes), value, "{bytes:?}");
        }
        assert_eq!(read_user(&[b'a'; 513]), UserValue::Invalid("too_long"));
    }

    #[test]
    fn unfilled_templates_are_no_users() {
        for text in [
            "(NULL)",
            "none",
            "-",
            "''",
            "{user}",
            "<user>",
            "${X}",
            "%{REMOTE_USER}e",
            "$user",
            "$a@b",
            "{}",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["nick", "nobody", "$", "$1", "{", "a{b}", "null@example.com"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(UNUSABLE.is_sorted_by(|a, b| a.0 <= a.1 && a.1 < b.0));
    }
}
