//! One stored credential, read from the store without changing it.

use std::fmt;

use serde_json::{Map, Value};

use crate::config::{Aliases, auth_provider, normalise_provider};
use crate::secrets::{Classified, Defaults, SecretRef, SecretSource, classify_object, is_env_id};
use crate::text::{SecretText, clean_secret};

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// OAuth tokens that are refreshed.
    OAuth,
    /// A bearer token that is not.
    Token,
    /// An API key.
    ApiKey,
    /// Whatever the AWS libraries find by themselves.
    AwsSdk,
    /// No credential is needed.
    None,
}

impl Kind {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::AwsSdk => "aws_sdk",
            Self::None => "none",
        }
    }

    /// Reads the type of a stored credential, in every spelling that is in use.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "oauth" => Self::OAuth,
            "token" => Self::Token,
            "api_key" | "apikey" | "apiKey" | "api-key" => Self::ApiKey,
            _ => return None,
        })
    }
}

/// Where the secret of a key or token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Material {
    Inline(SecretText),
    Missing,
    Reference(SecretRef),
}

/// When a credential ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Milliseconds since 1970.
    At(u64),
    Invalid,
    Never,
}

/// A stored credential.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) kind: Kind,
    /// Normal form of the provider.
    pub(crate) provider: String,
    /// The provider whose credentials are used.
    pub(crate) auth_provider: String,
    /// Of keys and tokens; of OAuth the access token.
    pub(crate) material: Material,
    pub(crate) refresh: Option<SecretText>,
    pub(crate) expiry: Expiry,
    pub(crate) email: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) enterprise_url: Option<String>,
    /// When the access token was asked for, in milliseconds since 1970.
    pub(crate) issued_at: Option<u64>,
    /// The login is another program's, and read from there.
    pub(crate) linked: bool,
    /// That program, such as `codex-cli`.
    pub(crate) external: Option<String>,
    /// Fields of OAuth that hold references, which is not allowed.
    pub(crate) forbidden_refs: Vec<&'static str>,
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    InvalidType,
    MissingProvider,
    NonObject,
}

impl Rejected {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidType => "invalid_type",
            Self::MissingProvider => "missing_provider",
            Self::NonObject => "non_object",
        }
    }
}

/// The latest point in time that JavaScript knows.
const MAX_MS: f64 = 8_640_000_000_000_000.0;
/// Fields in which OAuth must not hold references.
const OAUTH_FIELDS: [&str; 6] = ["access", "refresh", "token", "tokenRef", "key", "keyRef"];

/// The type of a credential that does not say it, by the secrets it holds.
pub(crate) fn inferred_kind(entry: &Map<String, Value>) -> Option<Kind> {
    const HINTS: [(&str, Kind); 7] = [
        ("access", Kind::OAuth),
        ("refresh", Kind::OAuth),
        ("token", Kind::Token),
        ("tokenRef", Kind::Token),
        ("key", Kind::ApiKey),
        ("apiKey", Kind::ApiKey),
        ("keyRef", Kind::ApiKey),
    ];
    match entry.get("type").or_else(|| entry.get("mode")) {
        Some(stated) => Kind::parse(stated.as_str()?),
        None => {
            let has = |key: &str| entry.get(key).is_some_and(|value| !value.is_null());
            HINTS
                .iter()
                .find(|(key, _)| has(key))
                .map(|(_, kind)| *kind)
        }
    }
}

impl Credential {
    pub(crate) fn read(
        value: &Value,
        defaults: &Defaults,
        aliases: &Aliases,
    ) -> Result<Self, Rejected> {
        let entry = value.as_object().ok_or(Rejected::NonObject)?;
        let kind = inferred_kind(entry).ok_or(Rejected::InvalidType)?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let owned = |key: &str| text(key).map(str::to_owned);
        let provider = text("provider").filter(|text| !text.trim().is_empty());
        let provider = provider.ok_or(Rejected::MissingProvider)?;
        let secret = |key: &str| {
            let text = clean_secret(text(key)?);
            (!text.is_empty()).then(|| SecretText::new(text.into_owned()))
        };
        let material = match kind {
            Kind::ApiKey if entry.contains_key("key") => material(entry, "key", "keyRef", defaults),
            Kind::ApiKey => material(entry, "apiKey", "keyRef", defaults),
            Kind::Token => material(entry, "token", "tokenRef", defaults),
            _ => secret("access").map_or(Material::Missing, Material::Inline),
        };
        let ours = |key: &str| entry.get("oa").and_then(|ours| ours.get(key));
        let is_ref = |key: &&&str| {
            entry
                .get(**key)
                .is_some_and(|v| reference(v, defaults).is_some())
        };
        Ok(Self {
            kind,
            provider: normalise_provider(provider, aliases).into_owned(),
            auth_provider: auth_provider(provider, aliases).into_owned(),
            material,
            refresh: secret("refresh").filter(|_| kind == Kind::OAuth),
            expiry: entry.get("expires").map_or(Expiry::Never, expiry),
            email: owned("email"),
            display_name: owned("displayName"),
            account_id: owned("accountId"),
            project_id: owned("projectId"),
            enterprise_url: owned("enterpriseUrl"),
            issued_at: ours("issuedAt").and_then(Value::as_u64),
            linked: kind == Kind::OAuth && ours("external").is_some_and(Value::is_object),
            external: ours("external")
                .and_then(|external| external.get("cli")?.as_str())
                .filter(|_| kind == Kind::OAuth)
                .map(str::to_owned),
            forbidden_refs: match kind {
                Kind::OAuth => OAUTH_FIELDS.iter().filter(is_ref).copied().collect(),
                _ => Vec::new(),
            },
        })
    }

    /// The reference that supplies the secret.
    pub(crate) fn reference(&self) -> Option<&SecretRef> {
        match &self.material {
            Material::Reference(reference) => Some(reference),
            _ => None,
        }
    }

    /// Whether the access token of an OAuth credential has run out.
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        matches!(self.expiry, Expiry::At(at) if now_ms >= at)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("kind", &self.kind)
            .field("provider", &self.provider)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A reference wins over an inline value beside it. A text of the form `${NAME}` is a reference.
fn material(
    entry: &Map<String, Value>,
    inline: &str,
    sibling: &str,
    defaults: &Defaults,
) -> Material {
    let found = [sibling, inline]
        .into_iter()
        .filter_map(|key| entry.get(key));
    if let Some(reference) = found
        .into_iter()
        .find_map(|value| reference(value, defaults))
    {
        return Material::Reference(reference);
    }
    let text = entry
        .get(inline)
        .and_then(Value::as_str)
        .map(clean_secret)
        .unwrap_or_default();
    if text.is_empty() {
        Material::Missing
    } else {
        Material::Inline(SecretText::new(text.into_owned()))
    }
}

fn reference(value: &Value, defaults: &Defaults) -> Option<SecretRef> {
    match value {
        Value::Object(map) => match classify_object(map, defaults)? {
            Classified::Reference(reference, _) => Some(reference),
            _ => None,
        },
        Value::String(text) => {
            let name = text.trim().strip_prefix("${")?.strip_suffix('}')?;
            let source = SecretSource::Env;
            is_env_id(name).then(|| SecretRef::new(source, defaults.alias(source), name))
        }
        _ => None,
    }
}

fn expiry(value: &Value) -> Expiry {
    let at = value.as_number().and_then(serde_json::Number::as_f64);
    match at.filter(|at| *at > 0.0 && *at <= MAX_MS) {
        // Inside the exact range of both types.
        Some(at) => Expiry::At(at as u64),
        None => Expiry::Invalid,
    }
}
