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
    let name = name.to_ascii_lowercase();
    name.ends_with("_key")
        || name.ends_with("token")
        || ["api_key", "apikey", "password", "secret", "credential"]
            .iter()
            .any(|part| name.contains(part))
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
    }
}
