//! Texts that need care: secrets, and small rules for showing names.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The stand-in for a secret in every output of this library; never accepted as data.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// A secret text.
///
/// Never prints itself, compares in constant time, and wipes its memory when the last clone is
/// dropped; clones share one buffer. [`SecretText::expose`] is the only way to the text.
#[derive(Clone)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Takes over a text. The buffer itself is kept, so no copy stays behind.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// Takes over a text that is already wiped on drop.
    pub fn from_zeroizing(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }

    /// The secret itself. Every use of this method is a place to audit.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText([redacted])")
    }
}

impl PartialEq for SecretText {
    /// Constant time in the content; the length is not hidden.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

/// A secret shortened for display: its first and last `k` characters around `...`, with
/// `k = min(8, len / 8)`, so at most a quarter is ever shown. Shorter than eight characters,
/// JSON objects and texts of several lines (keys in PEM form) show nothing: `***`. Blank is
/// `missing`.
pub fn mask(secret: &str) -> String {
    let secret = secret.trim();
    if secret.is_empty() {
        return "missing".to_owned();
    }
    let chars: Vec<char> = secret.chars().collect();
    let shown = (chars.len() / 8).min(8);
    if shown == 0 || secret.contains(['\n', '\r']) || secret.starts_with('{') {
        return "***".to_owned();
    }
    let head: String = chars.iter().take(shown).collect();
    let tail: String = chars.iter().skip(chars.len() - shown).collect();
    format!("{head}...{tail}")
}

/// A key name as it may be shown in messages: odd names are not echoed.
pub(crate) fn printable_key(name: &str) -> &str {
    let fine = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.$:@/-".contains(&b));
    if fine { name } else { "<unprintable key>" }
}

/// The candidate closest to a misspelled word, if one is near enough to be meant
/// (Damerau-Levenshtein distance of at most two).
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_text_never_prints_itself() {
        let secret = SecretText::new("sk-canary-0123456789".to_owned());
        assert_eq!(format!("{secret:?}"), "SecretText([redacted])");
        assert_eq!(secret, secret.clone());
        assert_ne!(secret, SecretText::new("sk-canary-0123456780".to_owned()));
        assert_eq!(secret.expose(), "sk-canary-0123456789");
    }

    #[test]
    fn mask_shows_at_most_a_quarter() {
        for (secret, shown) in [
            ("", "missing"),
            ("short", "***"),
            ("-----BEGIN KEY-----\nabcdef\n", "***"),
            ("{\"type\":\"service_account\"}", "***"),
            ("12345678", "1...8"),
            ("0123456789abcdef", "01...ef"),
            (&"x".repeat(200), "xxxxxxxx...xxxxxxxx"),
        ] {
            assert_eq!(mask(secret), shown, "{secret}");
        }
    }

    #[test]
    fn odd_key_names_are_not_echoed() {
        assert_eq!(printable_key("models.providers"), "models.providers");
        assert_eq!(printable_key(""), "<unprintable key>");
        assert_eq!(printable_key("a b"), "<unprintable key>");
        assert_eq!(printable_key(&"a".repeat(65)), "<unprintable key>");
    }

    #[test]
    fn closest_finds_small_slips_only() {
        assert_eq!(
            closest("allowlst", ["allowlist", "source"]),
            Some("allowlist")
        );
        assert_eq!(closest("timeoutMS", ["timeoutMs"]), Some("timeoutMs"));
        assert_eq!(closest("whatever", ["allowlist", "source"]), None);
        assert_eq!(closest("ab", ["cd"]), None);
    }
}
