//! Under which id a sign-in is stored.

use super::claims::{Identity, Match, base64url};
use super::login::Login;
use super::provider::Provider;
use crate::error::{Code, Error, Result};
use crate::profiles::Document;

const MAX_ID: usize = 200;
/// Digits of the account id that tell two accounts with one address apart.
const ACCOUNT_CHARS: usize = 8;

/// Who signed in, and what the person asked for.
pub(crate) struct Newcomer<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) subject: Option<&'a str>,
    /// The id that was asked for.
    pub(crate) wanted: Option<&'a str>,
    /// Whether a key or token under the id may be replaced.
    pub(crate) replace: bool,
}

/// Chooses the id: the one asked for, that of the same person's profile, or a new one.
///
/// # Errors
///
/// `profile_exists` when a credential of another kind has the id, `invalid_argument` for an id
/// that is none.
pub(crate) fn choose(
    document: &Document,
    provider: &Provider,
    newcomer: &Newcomer<'_>,
) -> Result<String> {
    if let Some(id) = newcomer.wanted {
        check_id(id)?;
        return taken_by_other_kind(document, id, newcomer).map(|()| id.to_owned());
    }
    let same_person = document.profiles().find(|(_, value)| {
        Login::read(value).is_some_and(|login| {
            login.provider == provider.id
                && login.external.is_none()
                && login.identity.matches(newcomer.identity) == Match::Same
        })
    });
    if let Some((id, _)) = same_person {
        return Ok(id.clone());
    }
    let prefix = &provider.profile_prefix;
    let base = match (&newcomer.identity.email, newcomer.subject) {
        (Some(email), _) => format!("{prefix}:{email}"),
        (None, Some(subject)) => format!("{prefix}:id-{}", base64url(subject.as_bytes())),
        (None, None) => format!("{prefix}:{}", provider.default_profile_name),
    };
    let account = newcomer.identity.account_id.as_deref().map(|account| {
        let plain = account.chars().filter(char::is_ascii_alphanumeric);
        plain.take(ACCOUNT_CHARS).collect::<String>()
    });
    let by_account = account
        .filter(|text| !text.is_empty())
        .map(|text| format!("{base}-{text}"));
    let numbered = (2u32..).map(|number| format!("{base}-{number}"));
    let mut candidates = std::iter::once(base.clone())
        .chain(by_account)
        .chain(numbered);
    let free = candidates.find(|id| !belongs_to_somebody_else(document, id, newcomer.identity));
    let id = free.unwrap_or(base);
    // A spelling in other letters is the same id.
    let known = document.profiles().map(|(known, _)| known);
    let id = known
        .into_iter()
        .find(|known| known.to_lowercase() == id.to_lowercase())
        .cloned()
        .unwrap_or(id);
    taken_by_other_kind(document, &id, newcomer).map(|()| id)
}

fn belongs_to_somebody_else(document: &Document, id: &str, identity: &Identity) -> bool {
    let lower = id.to_lowercase();
    let taken = document
        .profiles()
        .find(|(known, _)| known.to_lowercase() == lower);
    let login = taken.and_then(|(_, value)| Login::read(value));
    login.is_some_and(|login| login.identity.matches(identity) == Match::Different)
}

fn taken_by_other_kind(document: &Document, id: &str, newcomer: &Newcomer<'_>) -> Result<()> {
    let other = document
        .profile(id)
        .is_some_and(|value| Login::read(value).is_none());
    if other && !newcomer.replace {
        let message = format!("Auth profile \"{id}\" exists already and is no sign-in.");
        return Err(Error::new(Code::ProfileExists, message).with("profileId", id));
    }
    Ok(())
}

/// Checks an id that a person gives: `name:rest`.
///
/// # Errors
///
/// `invalid_argument`.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let parts = id.split_once(':');
    let complete = parts.is_some_and(|(name, rest)| !name.is_empty() && !rest.is_empty());
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@:+-".contains(c);
    if complete && id.len() <= MAX_ID && id.chars().all(fine) {
        return Ok(());
    }
    let message = "profile id: must look like provider:name, of letters, digits and ._@:+-";
    Err(Error::new(Code::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oauth::provider::Providers;

    fn document(profiles: &Value) -> Document {
        Document::parse(&json!({"profiles": profiles}).to_string()).unwrap()
    }

    fn id(account: &str, email: &str) -> Identity {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Identity {
            account_id: text(account),
            email: text(email),
        }
    }

    fn pick(profiles: &Value, identity: &Identity, subject: Option<&str>) -> String {
        let providers = Providers::built_in();
        let codex = providers.get("openai-codex").unwrap();
        let newcomer = Newcomer {
            identity,
            subject,
            wanted: None,
            replace: false,
        };
        choose(&document(profiles), codex, &newcomer).unwrap()
    }

    #[test]
    fn ids_follow_the_person() {
        let oauth = |account: &str, email: &str| json!({"type": "oauth", "provider": "openai-codex", "access": "A", "accountId": account, "email": email});
        let ana = id("acct-1234-5678-9", "Ana@Example.com");
        assert_eq!(
            pick(&json!({}), &ana, Some("s")),
            "openai-codex:Ana@Example.com"
        );
        assert_eq!(
            pick(&json!({}), &id("a", ""), Some("user-9")),
            "openai-codex:id-dXNlci05"
        );
        assert_eq!(
            pick(&json!({}), &id("", ""), Some("u?>~")),
            "openai-codex:id-dT8-fg"
        );
        assert_eq!(
            pick(
                &json!({}),
                &id("", ""),
                Some("http://127.0.0.1:44510|alice")
            ),
            "openai-codex:id-aHR0cDovLzEyNy4wLjAuMTo0NDUxMHxhbGljZQ"
        );
        assert_eq!(pick(&json!({}), &id("", ""), None), "openai-codex:default");
        // The same person keeps the id.
        let known = json!({"openai-codex:mine": oauth("acct-1234-5678-9", "other@x")});
        assert_eq!(pick(&known, &ana, None), "openai-codex:mine");
        // Another account with the same address gets its own.
        let known = json!({"openai-codex:ana@example.com": oauth("acct-9", "ana@example.com")});
        assert_eq!(
            pick(&known, &ana, None),
            "openai-codex:Ana@Example.com-acct1234"
        );
        let known = json!({"openai-codex:default": oauth("acct-9", "x@y")});
        assert_eq!(pick(&known, &id("", ""), None), "openai-codex:default-2");
        // Another spelling is the same id.
        let known = json!({"openai-codex:ANA@example.com": {"type": "oauth", "provider": "openai-codex", "access": "A"}});
        assert_eq!(pick(&known, &ana, None), "openai-codex:ANA@example.com");
    }

    #[test]
    fn keys_are_not_replaced_unasked() {
        let providers = Providers::built_in();
        let codex = providers.get("openai-codex").unwrap();
        let stored = document(
            &json!({"openai-codex:k": {"type": "api_key", "provider": "openai-codex", "key": "k"}}),
        );
        let identity = id("a", "");
        let newcomer = |replace| Newcomer {
            identity: &identity,
            subject: None,
            wanted: Some("openai-codex:k"),
            replace,
        };
        let error = choose(&stored, codex, &newcomer(false)).unwrap_err();
        assert_eq!(error.code(), Code::ProfileExists);
        assert!(choose(&stored, codex, &newcomer(true)).is_ok());
        for odd in [
            "x",
            "x:",
            ":x",
            "a:b c",
            &format!("a:{}", "x".repeat(MAX_ID)),
        ] {
            assert!(check_id(odd).is_err(), "{odd}");
        }
    }
}
