//! Provider messages without the secrets that some providers repeat in them.

/// Longest message that is kept, in characters.
const MAX_CHARS: usize = 500;
/// Shortest credential that is searched for; shorter ones would hit ordinary words.
const MIN_SECRET: usize = 6;
const STAND_IN: &str = "[redacted]";
/// How keys and tokens of known vendors begin.
const PREFIXES: &[&str] = &[
    "sk-", "AIza", "gsk_", "xai-", "ghp_", "gho_", "eyJ", "sess-",
];
/// Shortest text after a prefix that is taken for a key.
const MIN_TAIL: usize = 8;

/// A message fit for errors and logs: the credential in use and everything that looks like a key
/// replaced, control characters and repeated white space gone, cut to 500 characters.
pub(super) fn redact(message: &str, secret: Option<&str>) -> String {
    // What is cut off later need not be looked at, but a key must not be cut in two before.
    let message = super::extract::cut(message, 8 * MAX_CHARS);
    let known = secret.filter(|secret| secret.len() >= MIN_SECRET);
    let known = known.map(|secret| message.replace(secret, STAND_IN));
    let mut shown = String::with_capacity(MAX_CHARS.min(message.len()));
    let mut after_bearer = false;
    for word in known
        .as_deref()
        .unwrap_or(message)
        .split(|c: char| c.is_whitespace() || c.is_control())
    {
        if word.is_empty() {
            continue;
        }
        // At most four bytes a character: this is enough to fill the message.
        if shown.len() > 4 * MAX_CHARS || (shown.len() > MAX_CHARS && shown.is_ascii()) {
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        push_word(&mut shown, word, after_bearer);
        after_bearer = word.eq_ignore_ascii_case("bearer");
    }
    match shown.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => super::extract::cut(&shown, end).to_owned(),
        None => shown,
    }
}

/// A word may hold a key between quotes and brackets: every run of key characters is looked at.
fn push_word(shown: &mut String, word: &str, after_bearer: bool) {
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_key_char(c)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        let is_key = PREFIXES.iter().any(|prefix| {
            run.strip_prefix(prefix)
                .is_some_and(|tail| tail.len() >= MIN_TAIL)
        });
        if is_key || (after_bearer && run.len() >= MIN_TAIL) {
            shown.push_str(STAND_IN);
        } else {
            shown.push_str(run);
        }
        let end = tail.find(is_key_char).unwrap_or(tail.len());
        let (other, next) = tail.split_at(end);
        shown.push_str(other);
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_survive() {
        for (message, shown) in [
            ("bad key sk-ant-api03-abcdefgh!", "bad key [redacted]!"),
            (
                "Authorization: Bearer abcdefghij",
                "Authorization: Bearer [redacted]",
            ),
            ("key='AIzaSyA1234567'", "key='[redacted]'"),
            ("x secret-1 y", "x [redacted] y"),
            ("a\n\tb\u{7}  c", "a b c"),
            ("sk-short", "sk-short"),
        ] {
            assert_eq!(redact(message, Some("secret-1")), shown);
        }
        assert_eq!(redact(&"é".repeat(900), None).chars().count(), MAX_CHARS);
    }
}
