//! Names that suggest a secret behind them.

/// Header names that are secrets on their own.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "auth-token",
    "x-access-token",
    "access-token",
    "x-secret-key",
    "secret-key",
];
/// Parts of a header name that make it sensitive.
const HEADER_PARTS: &[&str] = &[
    "api-key",
    "apikey",
    "token",
    "secret",
    "password",
    "credential",
];

/// Whether a header of this name usually carries a secret.
pub(crate) fn is_sensitive_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HEADERS.contains(&name.as_str()) || HEADER_PARTS.iter().any(|part| name.contains(part))
}

/// Whether an environment variable of this name usually carries a secret.
pub(crate) fn is_sensitive_env(name: &str) -> bool {
    is_sensitive_key(name) || name.to_ascii_lowercase().ends_with("_key")
}

/// Ends of keys that are about tokens of text, or about files, and carry no secret.
const HARMLESS_ENDS: &[&str] = &[
    "maxtokens",
    "maxoutputtokens",
    "maxinputtokens",
    "maxcompletiontokens",
    "contexttokens",
    "totaltokens",
    "tokencount",
    "tokenlimit",
    "tokenbudget",
    "passwordfile",
];
const SENSITIVE_PARTS: &[&str] = &["password", "secret"];
/// Two words with at most one character between them.
const SENSITIVE_PAIRS: &[(&str, &str)] = &[("api", "key"), ("encrypt", "key"), ("private", "key")];
const SENSITIVE_ENDS: &[&str] = &["token", "serviceaccount", "serviceaccountref"];

/// Whether a configuration key of this name looks like it holds a secret.
pub(crate) fn is_sensitive_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let pair = |(first, second): &(&str, &str)| {
        key.match_indices(first).any(|(at, _)| {
            let rest = key.get(at + first.len()..).unwrap_or_default();
            let mut after_one = rest.chars();
            after_one.next();
            rest.starts_with(second) || after_one.as_str().starts_with(second)
        })
    };
    !HARMLESS_ENDS.iter().any(|end| key.ends_with(end))
        && (SENSITIVE_ENDS.iter().any(|end| key.ends_with(end))
            || SENSITIVE_PARTS.iter().any(|part| key.contains(part))
            || SENSITIVE_PAIRS.iter().any(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "x-goog-api-key",
            "My-Token-Header",
        ] {
            assert!(is_sensitive_header(name), "{name}");
        }
        for name in ["X-Title", "HTTP-Referer", "anthropic-beta"] {
            assert!(!is_sensitive_header(name), "{name}");
        }
        for name in ["OPENAI_API_KEY", "GH_TOKEN", "FAL_KEY", "DB_PASSWORD"] {
            assert!(is_sensitive_env(name), "{name}");
        }
        assert!(!is_sensitive_env("VAULT_ADDR"));
        for key in [
            "botToken",
            "apiKey",
            "api_key",
            "encryptKey",
            "clientSecret",
            "serviceAccount",
            "PASSWORD",
        ] {
            assert!(is_sensitive_key(key), "{key}");
        }
        for key in [
            "maxTokens",
            "tokenLimit",
            "passwordFile",
            "model",
            "keyboard",
            "tokens",
        ] {
            assert!(!is_sensitive_key(key), "{key}");
        }
    }
}
