//! The settings of one provider, as forwarding needs them.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use openclaw_auth::{Code, SecretText};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::super::core_api::Snapshot;
use super::super::failure::Failure;
use super::super::settings::value;
use super::headers::may_be_configured;
use super::target::BaseUrl;

/// One entry of `models.providers`.
pub(super) struct Provider<'a> {
    /// Its id.
    pub(super) id: String,
    /// Where it is.
    pub(super) base: BaseUrl,
    settings: &'a Map<String, Value>,
}

impl<'a> Provider<'a> {
    /// Reads the entry.
    ///
    /// # Errors
    ///
    /// `provider_unknown` when there is none or it is switched off, `provider_invalid` when its
    /// settings cannot be used.
    pub(super) fn read(snapshot: &'a dyn Snapshot, id: &str) -> Result<Self, Failure> {
        let settings = value(snapshot, &pointer(id, ""))
            .and_then(Value::as_object)
            .filter(|settings| settings.get("enabled") != Some(&Value::Bool(false)))
            .ok_or(Code::ProviderUnknown)?;
        let base = match settings.get("baseUrl").and_then(Value::as_str) {
            Some(text) => BaseUrl::parse(text),
            None => Err("is missing"),
        };
        let base = base.map_err(|reason| {
            log::error!("models.providers.{}.baseUrl {reason}", id);
            Failure::new(Code::ProviderInvalid)
                .with_message(format!("the provider's baseUrl {reason}"))
        })?;
        Ok(Self {
            id: id.to_owned(),
            base,
            settings,
        })
    }

    /// A setting that is a text.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.settings.get(key).and_then(Value::as_str)
    }

    /// A setting that is on or off; absent is off.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.settings
            .get(key)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// Whether it can be asked without a credential: a server on this machine or in the private
    /// network, or one whose configured headers do the job.
    pub(super) fn works_bare(&self) -> bool {
        self.base.is_plain() || self.headers().next().is_some()
    }

    /// Refuses providers whose requests carry a signature instead of a credential.
    ///
    /// # Errors
    ///
    /// `provider_auth_unsupported`.
    pub(super) fn check_signing(&self) -> Result<(), Failure> {
        match self.text("api") == Some(SIGNED_API) || self.text("auth") == Some(SIGNED_AUTH) {
            true => Err(Code::ProviderAuthUnsupported.into()),
            false => Ok(()),
        }
    }

    /// The secret at a key of the entry, when there is one.
    fn secret(&self, snapshot: &dyn Snapshot, key: &str) -> Result<Option<SecretText>, Failure> {
        match snapshot.secret(&pointer(&self.id, key)) {
            Ok(secret) => Ok(Some(secret.clone())),
            Err(error) if error.code() == Code::SecretPathUnknown => Ok(None),
            Err(error) => {
                log::error!("models.providers.{}: {}", self.id, error.message());
                Err(error.code().into())
            }
        }
    }

    /// Adds the configured headers; they win over forwarded ones.
    ///
    /// # Errors
    ///
    /// `credential_invalid` when a value cannot be a header.
    pub(super) fn add_headers(
        &self,
        snapshot: &dyn Snapshot,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        for (name, plain) in self.headers() {
            let key = format!("/headers/{}", escaped(name));
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let Some(header) = header.filter(may_be_configured) else {
                log::error!(
                    "models.providers.{}.headers: {} cannot be set",
                    self.id,
                    name
                );
                return Err(Failure::new(Code::ProviderInvalid)
                    .with_message("the provider's headers name one that cannot be set"));
            };
            let secret = self.secret(snapshot, &key)?;
            let text = match (&secret, plain.as_str()) {
                (Some(secret), _) => secret.expose(),
                (None, Some(plain)) => plain,
                (None, None) => return Err(Code::CredentialMissing.into()),
            };
            headers.insert(header, sensitive("", text)?);
        }
        Ok(())
    }

    fn headers(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.settings
            .get("headers")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }
}

/// A secret as a header value that never shows itself, and whose memory is wiped with the last
/// copy of it.
///
/// # Errors
///
/// `credential_invalid` when it contains what no header can carry.
pub(super) fn sensitive(scheme: &str, secret: &str) -> Result<HeaderValue, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(scheme.len() + secret.len()));
    text.extend_from_slice(scheme.as_bytes());
    text.extend_from_slice(secret.as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .map_err(|_| Failure::new(Code::CredentialInvalid))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Requests that carry a signature over themselves instead of a credential.
const SIGNED_API: &str = "bedrock-converse-stream";
const SIGNED_AUTH: &str = "aws-sdk";

/// The place of a provider's setting as a JSON Pointer (RFC 6901): ids may contain dots.
fn pointer(id: &str, key: &str) -> String {
    format!("/models/providers/{}{key}", escaped(id))
}

fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}
