//! Which credential a request to a provider gets, and how it is sent.

use hyper::header::{self, HeaderMap, HeaderName};
use openclaw_auth::{Code, SecretText};

use super::super::core_api::Snapshot;
use super::super::failure::Failure;
use super::provider::{Provider, sensitive};

/// A credential and the header it goes into.
#[derive(Debug)]
pub(super) struct Credential {
    secret: SecretText,
    header: HeaderName,
    scheme: &'static str,
}

impl Credential {
    /// The credential for one request to this provider.
    ///
    /// `None` when the provider works without: a server on this machine or in the private
    /// network, or one whose configured headers do the job.
    ///
    /// # Errors
    ///
    /// `provider_auth_unsupported`, `credential_missing`, or the code of a secret that is not
    /// readable.
    pub(super) fn of_provider(
        snapshot: &dyn Snapshot,
        provider: &Provider<'_>,
    ) -> Result<Option<Self>, Failure> {
        let api = provider.text("api");
        if api == Some(SIGNED_API) || provider.text("auth") == Some(SIGNED_AUTH) {
            return Err(Code::ProviderAuthUnsupported.into());
        }
        let Some(secret) = provider.secret(snapshot, "/apiKey")? else {
            let is_optional = provider.base.is_plain() || provider.has_headers();
            return if is_optional {
                Ok(None)
            } else {
                Err(Code::CredentialMissing.into())
            };
        };
        let (header, scheme) = placement(api, provider.is_on("authHeader"));
        Ok(Some(Self {
            secret,
            header,
            scheme,
        }))
    }

    /// Puts the credential into the headers, in place of everything of the same name.
    ///
    /// # Errors
    ///
    /// `credential_invalid` when it contains what no header can carry.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let value = if self.scheme.is_empty() {
            sensitive(self.secret.expose())?
        } else {
            sensitive(&format!("{}{}", self.scheme, self.secret.expose()))?
        };
        headers.insert(self.header.clone(), value);
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
    ("anthropic-messages", HeaderName::from_static("x-api-key")),
    (
        "google-generative-ai",
        HeaderName::from_static("x-goog-api-key"),
    ),
    ("azure-openai-responses", HeaderName::from_static("api-key")),
];

/// Requests that carry a signature over themselves instead of a credential.
const SIGNED_API: &str = "bedrock-converse-stream";
const SIGNED_AUTH: &str = "aws-sdk";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_its_place_for_keys() {
        for (api, forced, header, value) in [
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
            let (name, scheme) = placement(api, forced);
            let credential = Credential {
                secret: SecretText::new("k".to_owned()),
                header: name,
                scheme,
            };
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(header), "stale".parse().unwrap());
            credential.add_to(&mut headers).unwrap();
            assert_eq!(headers.len(), 1, "{api:?}");
            assert_eq!(headers[header], value, "{api:?}");
            assert!(headers[header].is_sensitive());
        }
    }

    #[test]
    fn a_key_that_is_no_header_value_is_refused_unprinted() {
        for key in ["a\nb", "a\rX-Evil: 1", "a\0"] {
            let secret = SecretText::new(key.to_owned());
            let credential = Credential {
                secret,
                header: header::AUTHORIZATION,
                scheme: "Bearer ",
            };
            let failure = credential.add_to(&mut HeaderMap::new()).unwrap_err();
            assert_eq!(failure.code(), Code::CredentialInvalid);
            assert!(!format!("{failure:?} {credential:?}").contains(key));
        }
    }

    #[test]
    fn the_key_is_taken_out_of_foreign_texts() {
        let secret = SecretText::new("sk-1234".to_owned());
        let credential = Credential {
            secret,
            header: header::AUTHORIZATION,
            scheme: "Bearer ",
        };
        assert_eq!(
            credential.remove_from("wrong key sk-1234, really sk-1234"),
            "wrong key [redacted], really [redacted]"
        );
    }
}
