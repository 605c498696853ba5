//! Texts of providers, made fit for messages: no secrets, no control characters, one line.

use oauth2::url::Url;

/// Longest text that is kept, in characters.
const MAX_CHARS: usize = 500;
/// More than this is not even looked at, in bytes.
const MAX_LOOK: usize = 16 * 1024;
const STAND_IN: &str = "[redacted]";
/// Shortest known secret that is searched for; shorter ones would hit ordinary words.
const MIN_SECRET: usize = 6;
/// Names whose value is never shown.
const NAMES: &[&str] = &[
    "access_token",
    "refresh_token",
    "id_token",
    "code",
    "code_verifier",
    "client_secret",
    "token",
    "password",
    "api_key",
];

/// A text of a provider as it may be shown. `secrets` are those of the request in question.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> String {
    let end = (0..=MAX_LOOK.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let mut text = without_escapes(text.get(..end.unwrap_or(0)).unwrap_or_default());
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_SECRET) {
        text = text.replace(secret, STAND_IN);
    }
    let mut shown: Vec<String> = Vec::new();
    let mut after_bearer = false;
    for word in text.split_whitespace() {
        shown.push(if after_bearer {
            STAND_IN.to_owned()
        } else {
            redact_word(word)
        });
        after_bearer = word
            .trim_matches(|c: char| !c.is_alphanumeric())
            .eq_ignore_ascii_case("bearer");
    }
    shown.join(" ").chars().take(MAX_CHARS).collect()
}

/// Control characters become spaces; terminal sequences go.
fn without_escapes(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // `ESC [ parameters letter`; other sequences are two characters.
            if rest.next() == Some('[') {
                rest.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            shown.push(' ');
        } else {
            shown.push(c);
        }
    }
    shown
}

fn redact_word(word: &str) -> String {
    let word = without_url_secrets(word);
    let is_value = |c: char| c.is_ascii_alphanumeric() || "-_.~+/%".contains(c);
    let mut shown = String::new();
    let mut name_before = false;
    let mut rest = word.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_value(c)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        if !run.is_empty() {
            let secret = name_before || looks_secret(run);
            shown.push_str(if secret { STAND_IN } else { run });
        }
        let end = tail.find(is_value).unwrap_or(tail.len());
        let (between, next) = tail.split_at(end);
        let named = NAMES.iter().any(|name| run.eq_ignore_ascii_case(name));
        name_before = named && between.contains(['=', ':']);
        shown.push_str(between);
        rest = next;
    }
    shown
}

fn looks_secret(run: &str) -> bool {
    let key = run.strip_prefix("sk-").is_some_and(|rest| rest.len() >= 8);
    let jwt = run.starts_with("eyJ") && run.len() >= 16;
    key || jwt
}

/// User name, password and fragment of an address go.
fn without_url_secrets(word: &str) -> String {
    let Some(at) = word.find("http://").or_else(|| word.find("https://")) else {
        return word.to_owned();
    };
    let (before, address) = word.split_at(at);
    let Ok(mut url) = Url::parse(address) else {
        return word.to_owned();
    };
    if url.username().is_empty() && url.password().is_none() && url.fragment().is_none() {
        return word.to_owned();
    }
    // Only addresses that cannot have users refuse this.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_fragment(None);
    format!("{before}{url}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_remains() {
        for (text, shown) in [
            ("grant request is invalid", "grant request is invalid"),
            ("a\u{1b}[31mred\u{1b}[0m\r\nb\u{7}", "ared b"),
            ("token r-s3cret-1 was used", "token [redacted] was used"),
            ("Bearer abcdefghij rejected", "Bearer [redacted] rejected"),
            (
                "{\"refresh_token\":\"xyz\",\"a\":1}",
                "{\"refresh_token\":\"[redacted]\",\"a\":1}",
            ),
            ("code=abc&state=S1", "code=[redacted]&state=S1"),
            ("key sk-ant-oat01-xxxxxxxx.", "key [redacted]"),
            ("eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.x", "[redacted]"),
            (
                "see https://me:pw@h.test/p?code=abc#frag",
                "see https://h.test/p?code=[redacted]",
            ),
            (
                "error code: 400 is not shown",
                "error code: 400 is not shown",
            ),
        ] {
            assert_eq!(redact(text, &["r-s3cret-1", "ab"]), shown);
        }
        assert_eq!(redact(&"ä".repeat(20_000), &[]).chars().count(), MAX_CHARS);
    }
}
