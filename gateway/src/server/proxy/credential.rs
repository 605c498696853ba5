//! How a credential is sent.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use openclaw_auth::{CredentialKind, SecretText};

use super::super::failure::Failure;
use super::super::lending::Lent;
use super::provider::{Provider, sensitive};

/// A credential, the header it goes into, and what its kind needs beside.
#[derive(Debug)]
pub(super) struct Credential {
    secret: SecretText,
    header: HeaderName,
    scheme: &'static str,
    /// A word that this list of features must contain.
    feature: Option<(HeaderName, &'static str)>,
    account: Option<(HeaderName, String)>,
}

impl Credential {
    /// The credential of a lease for a provider; `None` when the provider needs none.
    pub(super) fn of_lease(lease: &dyn Lent, provider: &Provider<'_>) -> Option<Self> {
        if lease.credential().is_empty() {
            return None;
        }
        let api = provider.text("api");
        let is_key = lease.kind() == CredentialKind::ApiKey;
        let (header, scheme) = placement(api, provider.is_on("authHeader") || !is_key);
        let account = lease
            .account_id()
            .filter(|_| !is_key && api == Some(CODEX))
            .map(|id| (HeaderName::from_static("chatgpt-account-id"), id.to_owned()));
        let feature = (!is_key && api == Some(ANTHROPIC)).then_some((BETA, BETA_OAUTH));
        Some(Self {
            secret: lease.credential().clone(),
            header,
            scheme,
            feature,
            account,
        })
    }

    /// Puts the credential into the headers, in place of everything of the same name.
    ///
    /// # Errors
    ///
    /// `credential_invalid` when it contains what no header can carry.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let value = sensitive(self.scheme, self.secret.expose())?;
        headers.insert(self.header.clone(), value);
        if let Some((name, id)) = &self.account {
            headers.insert(name.clone(), sensitive("", id)?);
        }
        if let Some((name, word)) = &self.feature {
            let lines = headers.get_all(name).iter();
            let has_word = lines
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .any(|known| known.trim() == *word);
            if !has_word {
                headers.append(name.clone(), HeaderValue::from_static(word));
            }
        }
        Ok(())
    }

    /// A text with every occurrence of the credential taken out.
    pub(super) fn remove_from(&self, text: &str) -> String {
        if self.secret.is_empty() {
            return text.to_owned();
        }
        text.replace(self.secret.expose(), "[redacted]")
    }
}

fn placement(api: Option<&str>, forced_bearer: bool) -> (HeaderName, &'static str) {
    let own = OWN_HEADERS.into_iter().find(|(name, _)| api == Some(*name));
    match own {
        Some((_, header)) if !forced_bearer => (header, ""),
        _ => (header::AUTHORIZATION, "Bearer "),
    }
}

/// APIs that take a key in a header of their own; all others take `Authorization: Bearer`.
const OWN_HEADERS: [(&str, HeaderName); 3] = [
    (ANTHROPIC, HeaderName::from_static("x-api-key")),
    (
        "google-generative-ai",
        HeaderName::from_static("x-goog-api-key"),
    ),
    ("azure-openai-responses", HeaderName::from_static("api-key")),
];

const ANTHROPIC: &str = "anthropic-messages";
const CODEX: &str = "openai-codex-responses";
/// What tokens of a login need at Anthropic.
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const BETA_OAUTH: &str = "oauth-2025-04-20";

#[cfg(test)]
mod tests {
    use openclaw_auth::Code;

    use super::*;

    fn credential(secret: &str, place: (HeaderName, &'static str)) -> Credential {
        Credential {
            secret: SecretText::new(secret.to_owned()),
            header: place.0,
            scheme: place.1,
            feature: None,
            account: None,
        }
    }

    #[test]
    fn each_api_has_its_place_for_keys() {
        for (api, bearer, header, value) in [
            (Some("anthropic-messages"), false, "x-api-key", "k"),
            (Some("google-generative-ai"), false, "x-goog-api-key", "k"),
            (Some("azure-openai-responses"), false, "api-key", "k"),
            (
                Some("anthropic-messages"),
                true,
                "authorization",
                "Bearer k",
            ),
            (
                Some("openai-completions"),
                false,
                "authorization",
                "Bearer k",
            ),
            (
                Some("openai-codex-responses"),
                false,
                "authorization",
                "Bearer k",
            ),
            (Some("ollama"), false, "authorization", "Bearer k"),
            (None, false, "authorization", "Bearer k"),
        ] {
            let credential = credential("k", placement(api, bearer));
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(header), "stale".parse().unwrap());
            credential.add_to(&mut headers).unwrap();
            assert_eq!(headers.len(), 1, "{api:?}");
            assert_eq!(headers[header], value, "{api:?}");
            assert!(headers[header].is_sensitive());
        }
    }

    #[test]
    fn tokens_bring_what_they_need() {
        for (given, lines) in [
            (None, vec!["oauth-2025-04-20"]),
            (Some("a, oauth-2025-04-20"), vec!["a, oauth-2025-04-20"]),
            (Some("a"), vec!["a", "oauth-2025-04-20"]),
        ] {
            let token = Credential {
                feature: Some((BETA, BETA_OAUTH)),
                account: Some((
                    HeaderName::from_static("chatgpt-account-id"),
                    "acc".to_owned(),
                )),
                ..credential("t", (header::AUTHORIZATION, "Bearer "))
            };
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(BETA, given.parse().unwrap());
            }
            token.add_to(&mut headers).unwrap();
            let found: Vec<_> = headers.get_all(BETA).iter().collect();
            assert_eq!(found, lines, "{given:?}");
            assert_eq!(headers["authorization"], "Bearer t");
            assert_eq!(headers["chatgpt-account-id"], "acc");
        }
    }

    #[test]
    fn a_key_that_is_no_header_value_is_refused_unprinted() {
        for key in ["a\nb", "a\rX-Evil: 1", "a\0"] {
            let credential = credential(key, (header::AUTHORIZATION, "Bearer "));
            let failure = credential.add_to(&mut HeaderMap::new()).unwrap_err();
            assert_eq!(failure.code(), Code::CredentialInvalid);
            assert!(!format!("{failure:?} {credential:?}").contains(key));
        }
    }

    #[test]
    fn the_key_is_taken_out_of_foreign_texts() {
        let credential = credential("sk-1234", (header::AUTHORIZATION, "Bearer "));
        assert_eq!(
            credential.remove_from("wrong key sk-1234, really sk-1234"),
            "wrong key [redacted], really [redacted]"
        );
    }
}
