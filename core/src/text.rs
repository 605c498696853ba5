//! Texts that need care: secrets, and small rules for showing names.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// The stand-in for a secret in every output of this library; never accepted as data.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// A secret text.
///
/// Never prints itself, compares in constant time, and wipes its memory when the last clone is
/// dropped; clones share one buffer. [`SecretText::expose`] is the only way to the text.
///
/// A NUL byte that does not count lies behind the text, for readers in C.
#[derive(Clone)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Takes over a text. No copy stays behind: the buffer is kept, or wiped where it has no room
    /// for one more byte.
    pub fn new(mut text: String) -> Self {
        if text.len() == text.capacity() {
            let mut roomier = String::with_capacity(text.len() + 1);
            roomier.push_str(&text);
            text.zeroize();
            text = roomier;
        }
        text.push('\0');
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// Takes over a text that is already wiped on drop.
    pub fn from_zeroizing(mut text: Zeroizing<String>) -> Self {
        Self::new(std::mem::take(&mut *text))
    }

    /// The secret itself. Every use of this method is a place to audit.
    pub fn expose(&self) -> &str {
        self.0.strip_suffix('\0').unwrap_or_default()
    }

    /// The secret with the NUL byte behind it. Every use of this method is a place to audit.
    pub fn expose_with_nul(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

/// A text that is not secret, with a NUL byte that does not count behind it, for readers in C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CText(Box<str>);

impl CText {
    /// Copies a text. NUL bytes inside it are left out.
    pub fn new(text: &str) -> Self {
        let kept = text.chars().filter(|c| *c != '\0');
        Self(kept.chain(['\0']).collect::<String>().into_boxed_str())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.strip_suffix('\0').unwrap_or_default()
    }

    /// The same for C.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.0.as_bytes()).unwrap_or_default()
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

/// A secret as it is used: line breaks and characters beyond Latin-1 removed, which copying from
/// terminals and documents leaves behind and no header can carry, then trimmed.
pub(crate) fn clean_secret(text: &str) -> Cow<'_, str> {
    let dirty = |c: char| matches!(c, '\r' | '\n') || u32::from(c) > 0xFF;
    if text.contains(dirty) {
        let kept: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !dirty(*c)).collect());
        Cow::Owned(kept.trim().to_owned())
    } else {
        Cow::Borrowed(text.trim())
    }
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

/// Candidates that a misspelled word may have meant: at most three, the best first.
///
/// A candidate counts when its Damerau-Levenshtein distance is at most two (one for words of at
/// most four characters), or when it shares the first three characters.
pub fn suggestions<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let most = if word.chars().count() <= 4 { 1 } else { 2 };
    let shared = |candidate: &str| {
        let pairs = word.chars().zip(candidate.chars());
        pairs.take_while(|(a, b)| a == b).count()
    };
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let close = *distance <= most && *distance < candidate.chars().count();
            *distance > 0 && (close || shared(candidate) >= 3)
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(3)
        .map(|(_, candidate)| candidate)
        .collect()
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
    fn texts_have_a_nul_behind_them() {
        for text in ["", "a", "with room"] {
            let mut roomy = String::with_capacity(40);
            roomy.push_str(text);
            for secret in [
                SecretText::new(text.to_owned()),
                SecretText::new(roomy),
                SecretText::from_zeroizing(Zeroizing::new(text.to_owned())),
            ] {
                assert_eq!((secret.expose(), secret.len()), (text, text.len()));
                assert_eq!(
                    secret.expose_with_nul().split_last(),
                    Some((&0, text.as_bytes()))
                );
            }
            assert_eq!(CText::new(text).as_str(), text);
            assert_eq!(CText::new(text).as_c_str().to_bytes(), text.as_bytes());
        }
        assert_eq!(SecretText::new("a\0".to_owned()).expose(), "a\0");
        assert_eq!(CText::new("a\0b").as_str(), "ab");
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
    fn secrets_lose_what_copying_added() {
        for (text, clean) in [
            (" k ", "k"),
            ("sk-a\nb", "sk-ab"),
            ("sk\u{2028}\u{201c}-1\u{e9}\r\n", "sk-1\u{e9}"),
            (" \n ", ""),
        ] {
            assert_eq!(clean_secret(text), clean, "{text:?}");
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

    #[test]
    fn suggestions_are_few_and_near() {
        let words = [
            "status",
            "list",
            "set",
            "aliases",
            "auth",
            "fallbacks",
            "statistics",
        ];
        assert_eq!(suggestions("statuss", words), ["status", "statistics"]);
        assert_eq!(suggestions("lits", words), ["list"]);
        assert_eq!(suggestions("sett", words), ["set"]);
        assert_eq!(suggestions("fallbakcs", words), ["fallbacks"]);
        assert!(suggestions("zzz", words).is_empty());
        assert!(
            suggestions("list", ["list"]).is_empty(),
            "the word itself is no suggestion"
        );
    }
}
