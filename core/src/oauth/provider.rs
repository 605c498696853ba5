//! Descriptions of sign-in providers. Everything that is special about one is data.

use std::collections::BTreeMap;

use oauth2::url::{Host, Url, form_urlencoded};
use serde_json::{Map, Value, json};

use super::claims::{ClaimPath, Place, TokenKind};
use crate::config::{EnvOrigin, EnvView};
use crate::error::{Code, Error, Result};
use crate::json::{Fields, Path};
use crate::text::{SecretText, closest};

/// The descriptions that come with the library.
const BUILT_IN: &str = include_str!("builtin.json");
/// Parameters that only the protocol sets.
const RESERVED_AUTHORIZE: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];
const RESERVED_TOKEN: &[&str] = &[
    "grant_type",
    "code",
    "redirect_uri",
    "client_id",
    "client_secret",
    "code_verifier",
    "refresh_token",
    "scope",
    "state",
];
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "host",
    "content-length",
    "content-type",
    "accept",
    "cookie",
];
const PREFIX: &str = "OPENCLAW_AUTH_OAUTH_";
/// Variables that belong to this part without being fields of a provider.
const SWITCHES: &[&str] = &["OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE"];

/// How the text of a variable becomes the value of a field.
#[derive(Clone, Copy)]
enum Form {
    Boolean,
    Pairs,
    Ports,
    Text,
    Words,
}

/// Fields that the environment may set: end of the variable, field, form.
const VARIABLES: &[(&str, &str, Form)] = &[
    ("_ISSUER", "issuer", Form::Text),
    ("_DISCOVERY", "discovery", Form::Boolean),
    ("_AUTHORIZE_URL", "authorizeUrl", Form::Text),
    ("_TOKEN_URL", "tokenUrl", Form::Text),
    ("_REVOKE_URL", "revokeUrl", Form::Text),
    ("_CLIENT_ID", "clientId", Form::Text),
    ("_CLIENT_SECRET", "clientSecret", Form::Text),
    ("_CLIENT_AUTH", "clientAuth", Form::Text),
    ("_REDIRECT_URI", "redirectUri", Form::Text),
    ("_REDIRECT_PORTS", "redirectPorts", Form::Ports),
    ("_SCOPES", "scopes", Form::Words),
    ("_AUTHORIZE_PARAMS", "authorizeParams", Form::Pairs),
    ("_TOKEN_FORMAT", "tokenFormat", Form::Text),
];

/// How the client proves itself at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    Body,
    None,
}

/// How token requests are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenFormat {
    Form,
    Json,
}

/// One provider, checked.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) discovery: bool,
    pub(crate) authorize_url: Option<Url>,
    pub(crate) token_url: Option<Url>,
    pub(crate) revoke_url: Option<Url>,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<SecretText>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) redirect_uri: String,
    pub(crate) redirect_ports: Vec<u16>,
    pub(crate) scopes: Vec<String>,
    pub(crate) authorize_params: Vec<(String, String)>,
    pub(crate) exchange_params: Vec<(String, String)>,
    pub(crate) refresh_params: Vec<(String, String)>,
    pub(crate) send_state_in_exchange: bool,
    pub(crate) send_scope_on_refresh: bool,
    pub(crate) token_format: TokenFormat,
    pub(crate) token_headers: Vec<(String, String)>,
    pub(crate) account_id: Vec<ClaimPath>,
    pub(crate) email: Vec<ClaimPath>,
    pub(crate) subject: Vec<ClaimPath>,
    pub(crate) account_id_required: bool,
    pub(crate) userinfo_url: Option<Url>,
    pub(crate) profile_prefix: String,
    pub(crate) default_profile_name: String,
    pub(crate) login: bool,
    pub(crate) timeout_ms: u64,
    pub(crate) ambiguous_retry: bool,
    pub(crate) default_model: Option<String>,
    pub(crate) external_cli: Vec<String>,
    /// Authority of the token endpoint in the description that no override has touched. Refresh
    /// tokens of unknown origin go nowhere else.
    pub(crate) home_authority: Option<String>,
}

impl Provider {
    /// The token endpoint.
    ///
    /// # Errors
    ///
    /// `oauth_provider_invalid` when the description has none and discovery did not find one.
    pub(crate) fn token_endpoint(&self) -> Result<&Url> {
        let missing = || invalid(&self.id, "tokenUrl", "is required");
        self.token_url.as_ref().ok_or_else(missing)
    }

    /// The address where people sign in.
    ///
    /// # Errors
    ///
    /// `oauth_provider_invalid` as above.
    pub(crate) fn authorize_endpoint(&self) -> Result<&Url> {
        let missing = || invalid(&self.id, "authorizeUrl", "is required");
        self.authorize_url.as_ref().ok_or_else(missing)
    }
}

/// All descriptions that are in force: built in, configured, and changed by the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Providers {
    by_id: BTreeMap<String, std::result::Result<Provider, Invalid>>,
    /// Variables that would redirect tokens but do not come from the process environment.
    pub(crate) ignored: Vec<String>,
}

/// Why a description cannot be used.
#[derive(Debug, Clone)]
struct Invalid {
    field: String,
    reason: String,
}

/// Ids of the built-in descriptions.
pub(super) fn built_in_ids() -> Vec<String> {
    let built_in: Map<String, Value> = serde_json::from_str(BUILT_IN).unwrap_or_default();
    built_in.into_iter().map(|(id, _)| id).collect()
}

impl Providers {
    /// The descriptions of the library alone.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        Self::layered(&Value::Null, &EnvView::new(BTreeMap::new()), &|_| None)
    }

    /// Built-in descriptions under the configured ones (`oauth.providers` of the tree) under the
    /// process environment, field by field. `secret` gives the resolved client secret of a
    /// provider.
    pub(crate) fn layered(
        tree: &Value,
        env: &EnvView,
        secret: &dyn Fn(&str) -> Option<SecretText>,
    ) -> Self {
        let built_in: Map<String, Value> = serde_json::from_str(BUILT_IN).unwrap_or_default();
        let configured = tree.get("oauth").and_then(|oauth| oauth.get("providers"));
        let configured = configured.and_then(Value::as_object);
        let mut merged = built_in.clone();
        for (id, layer) in configured.into_iter().flatten() {
            merge(
                merged.entry(id.trim().to_lowercase()).or_insert(json!({})),
                layer,
            );
        }
        let mut by_id = BTreeMap::new();
        for (id, mut description) in merged {
            let home = built_in.get(&id).unwrap_or(&description);
            let home = home
                .get("tokenUrl")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let mut client_secret = secret(&id);
            if let Value::Object(fields) = &mut description {
                fields.remove("clientSecret");
                for (field, value) in overrides(&id, env) {
                    match (field, value) {
                        ("clientSecret", Value::String(text)) => {
                            client_secret = Some(SecretText::new(text));
                        }
                        (field, value) => merge_field(fields, field, &value),
                    }
                }
            }
            let mut read = read(&id, &description, client_secret);
            if let Ok(provider) = &mut read {
                let home = home.and_then(|home| Url::parse(&home).ok());
                let home = home.or_else(|| provider.token_url.clone());
                provider.home_authority = home.as_ref().map(authority);
            }
            by_id.insert(id, read);
        }
        Self {
            by_id,
            ignored: ignored_variables(env),
        }
    }

    /// A provider by id or alias.
    ///
    /// # Errors
    ///
    /// `oauth_unknown_provider`, `oauth_provider_invalid`.
    pub(crate) fn get(&self, name: &str) -> Result<&Provider> {
        let wanted = name.trim().to_lowercase();
        let by_alias = || {
            let mut all = self.by_id.iter();
            all.find(|(_, read)| {
                read.as_ref()
                    .is_ok_and(|provider| provider.aliases.contains(&wanted))
            })
        };
        match self.by_id.get_key_value(&wanted).or_else(by_alias) {
            Some((_, Ok(provider))) => Ok(provider),
            Some((id, Err(problem))) => Err(invalid(id, &problem.field, &problem.reason)),
            None => Err(self.unknown(&wanted)),
        }
    }

    /// Ids of all providers that can be used.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        let usable = self.by_id.iter().filter(|(_, read)| read.is_ok());
        usable.map(|(id, _)| id.as_str())
    }

    fn unknown(&self, name: &str) -> Error {
        let shown = crate::text::printable_key(name);
        let near = closest(name, self.by_id.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        let message = format!("unknown OAuth provider \"{shown}\"{near}");
        Error::new(Code::OauthUnknownProvider, message)
            .with("provider", shown)
            .with_hint(format!(
                "add a description under oauth.providers.{shown} or sign in another way"
            ))
    }
}

/// `oauth_provider_invalid` for one field.
pub(crate) fn invalid(provider: &str, field: &str, reason: &str) -> Error {
    let message = format!("OAuth description of {provider}: {field}: {reason}");
    Error::new(Code::OauthProviderInvalid, message)
        .with("provider", provider)
        .with("field", field)
}

/// Host and port as they stand in an address; the port only when it is not the usual one.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an address leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn merge(base: &mut Value, layer: &Value) {
    let (Value::Object(base), Value::Object(layer)) = (base, layer) else {
        return;
    };
    for (field, value) in layer {
        merge_field(base, field, value);
    }
}

/// Maps are merged key by key, everything else is replaced.
fn merge_field(base: &mut Map<String, Value>, field: &str, value: &Value) {
    match (base.get_mut(field), value) {
        (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
        _ => {
            base.insert(field.to_owned(), value.clone());
        }
    }
}

/// The name of a provider inside a variable.
fn variable_id(id: &str) -> String {
    let upper = id.to_ascii_uppercase();
    let fine = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    upper.chars().map(fine).collect()
}

fn overrides(id: &str, env: &EnvView) -> Vec<(&'static str, Value)> {
    let base = format!("{PREFIX}{}", variable_id(id));
    let set = VARIABLES.iter().filter_map(|(end, field, form)| {
        let text = env.process(&format!("{base}{end}"))?.trim();
        (!text.is_empty()).then(|| (*field, value_of(text, *form)))
    });
    set.collect()
}

fn value_of(text: &str, form: Form) -> Value {
    match form {
        Form::Boolean => json!(matches!(text, "1" | "true")),
        Form::Pairs => {
            let pairs = form_urlencoded::parse(text.trim_start_matches('?').as_bytes());
            let pairs =
                pairs.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned())));
            Value::Object(pairs.collect())
        }
        Form::Ports => {
            // What is no number stays text, so that the check of the field names it.
            let ports = text.split(',').map(|port| {
                let port = port.trim();
                port.parse::<u64>()
                    .map_or_else(|_| port.into(), Value::from)
            });
            Value::Array(ports.collect())
        }
        Form::Text => text.into(),
        Form::Words => text.split_whitespace().collect(),
    }
}

/// A checked-out folder with a `.env` must not be able to send tokens elsewhere.
fn ignored_variables(env: &EnvView) -> Vec<String> {
    let ours = |name: &str| {
        let is_field = VARIABLES.iter().any(|(end, _, _)| name.ends_with(end));
        name.starts_with(PREFIX) && (is_field || SWITCHES.contains(&name))
    };
    env.overlay()
        .filter(|(name, origin)| *origin != EnvOrigin::Process && ours(name))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn read(
    id: &str,
    description: &Value,
    client_secret: Option<SecretText>,
) -> std::result::Result<Provider, Invalid> {
    let root = Path::root();
    let empty = Map::new();
    let fields = Fields::new(description.as_object().unwrap_or(&empty), &root);
    let mut reader = Reader {
        fields,
        map: description.as_object().unwrap_or(&empty),
    };
    if !is_id(id) {
        return Err(Invalid {
            field: "id".to_owned(),
            reason: "must be lower case letters, digits, `.`, `_` and `-`".to_owned(),
        });
    }
    let provider = reader.provider(id, client_secret);
    match reader.fields.finish().into_iter().next() {
        None => Ok(provider),
        Some(problem) => Err(Invalid {
            field: problem.path.to_string(),
            reason: match problem.hint {
                Some(hint) => format!("{}; {hint}", problem.message),
                None => problem.message,
            },
        }),
    }
}

fn is_id(id: &str) -> bool {
    let mut chars = id.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    first && id.len() <= 64 && chars.all(rest)
}

struct Reader<'a> {
    fields: Fields<'a>,
    map: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn provider(&mut self, id: &str, client_secret: Option<SecretText>) -> Provider {
        let discovery = self.fields.boolean("discovery").unwrap_or(false);
        let login = self.fields.boolean("login").unwrap_or(true);
        let issuer = self.url("issuer").map(|_| self.text("issuer"));
        if discovery && issuer.is_none() {
            self.fields
                .wrong::<()>("issuer", "is required for discovery");
        }
        let (authorize_url, token_url) = (self.url("authorizeUrl"), self.url("tokenUrl"));
        for (field, needed) in [
            ("authorizeUrl", login && !discovery),
            ("tokenUrl", !discovery),
        ] {
            if needed && !self.map.contains_key(field) {
                self.fields.wrong::<()>(field, "is required");
            }
        }
        let client_id = self.string("clientId").unwrap_or_default();
        if client_id.is_empty() {
            self.fields.wrong::<()>("clientId", "is required");
        }
        let redirect_uri = self.string("redirectUri").unwrap_or_default();
        let redirect_ports = self.ports(&redirect_uri);
        if login {
            self.check_redirect(&redirect_uri);
        }
        let default_auth = if client_secret.is_some() {
            ClientAuth::Body
        } else {
            ClientAuth::None
        };
        let client_auth = self.choice(
            "clientAuth",
            &[
                ("none", ClientAuth::None),
                ("body", ClientAuth::Body),
                ("basic", ClientAuth::Basic),
            ],
        );
        let claim = |path: &str| {
            vec![ClaimPath {
                token: TokenKind::Id,
                place: Place::Path(vec![path.to_owned()]),
            }]
        };
        let (timeout_ms, ambiguous_retry) = self.refresh();
        Provider {
            id: id.to_owned(),
            label: self.string("label").unwrap_or_else(|| id.to_owned()),
            aliases: self.strings("aliases"),
            issuer,
            discovery,
            authorize_url,
            token_url,
            revoke_url: self.url("revokeUrl"),
            client_id,
            client_secret,
            client_auth: client_auth.unwrap_or(default_auth),
            redirect_uri,
            redirect_ports,
            scopes: self.strings("scopes"),
            authorize_params: self.params("authorizeParams", RESERVED_AUTHORIZE),
            exchange_params: self.params("exchangeParams", RESERVED_TOKEN),
            refresh_params: self.params("refreshParams", RESERVED_TOKEN),
            send_state_in_exchange: self.fields.boolean("sendStateInExchange").unwrap_or(false),
            send_scope_on_refresh: self.fields.boolean("sendScopeOnRefresh").unwrap_or(false),
            token_format: self
                .choice(
                    "tokenFormat",
                    &[("form", TokenFormat::Form), ("json", TokenFormat::Json)],
                )
                .unwrap_or(TokenFormat::Form),
            token_headers: self.params("tokenHeaders", RESERVED_HEADERS),
            account_id: self.claims("accountId").unwrap_or_default(),
            email: self.claims("email").unwrap_or_else(|| claim("email")),
            subject: self.claims("subject").unwrap_or_else(|| claim("sub")),
            account_id_required: self.fields.boolean("accountIdRequired").unwrap_or(false),
            userinfo_url: self.url("userinfoUrl"),
            profile_prefix: self
                .string("profilePrefix")
                .unwrap_or_else(|| id.to_owned()),
            default_profile_name: self
                .string("defaultProfileName")
                .unwrap_or_else(|| "default".to_owned()),
            login,
            timeout_ms,
            ambiguous_retry,
            default_model: self.string("defaultModel"),
            external_cli: self.strings("externalCli"),
            home_authority: None,
        }
    }

    fn string(&mut self, field: &'static str) -> Option<String> {
        self.fields.string(field).map(str::to_owned)
    }

    /// A text that has been asked for already.
    fn text(&self, field: &str) -> String {
        let text = self.map.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    fn strings(&mut self, field: &'static str) -> Vec<String> {
        let list = self.fields.strings(field, 64).unwrap_or_default();
        list.into_iter().map(str::to_owned).collect()
    }

    /// An address that may carry tokens: `https`, or `http` on this machine.
    fn url(&mut self, field: &'static str) -> Option<Url> {
        let text = self.fields.string(field)?;
        let Ok(url) = Url::parse(text) else {
            return self.fields.wrong(field, "must be an absolute address");
        };
        match url.scheme() {
            "https" => Some(url),
            "http" if is_loopback(&url) => Some(url),
            "http" => self
                .fields
                .wrong(field, "must be https; http is for this machine only"),
            _ => self.fields.wrong(field, "must be an https address"),
        }
    }

    fn check_redirect(&mut self, text: &str) {
        let parsed = Url::parse(&text.replace("{port}", "1"));
        let fine = parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if text.is_empty() {
            self.fields.wrong::<()>("redirectUri", "is required");
        } else if !fine {
            self.fields
                .wrong::<()>("redirectUri", "must be an http or https address");
        }
    }

    fn ports(&mut self, redirect_uri: &str) -> Vec<u16> {
        let Some(list) = self.fields.value("redirectPorts") else {
            let port = Url::parse(redirect_uri)
                .ok()
                .and_then(|url| url.port_or_known_default());
            return port.into_iter().collect();
        };
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let ports: Option<Vec<u16>> = list
            .iter()
            .map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok()))
            .collect();
        match ports {
            Some(ports) if !ports.is_empty() => ports,
            _ => self
                .fields
                .wrong("redirectPorts", "must be a list of port numbers")
                .unwrap_or_default(),
        }
    }

    fn choice<T: Copy>(&mut self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.fields.string(field)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.fields
                .wrong(field, format!("must be one of {}", names.join(", ")))
        })
    }

    fn params(&mut self, field: &'static str, reserved: &[&str]) -> Vec<(String, String)> {
        let Some(map) = self.fields.object(field) else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in map {
            let lower = name.to_ascii_lowercase();
            if reserved.contains(&lower.as_str()) {
                self.fields
                    .wrong::<()>(field, format!("{lower} is set by the protocol"));
            }
            match value.as_str() {
                Some(text) if !text.contains(['\r', '\n']) => {
                    pairs.push((name.clone(), text.to_owned()));
                }
                _ => {
                    self.fields
                        .wrong::<()>(field, "values must be texts of one line");
                }
            }
        }
        pairs
    }

    fn claims(&mut self, field: &'static str) -> Option<Vec<ClaimPath>> {
        let list = self.fields.value(field)?.as_array();
        let paths: Option<Vec<ClaimPath>> =
            list.and_then(|list| list.iter().map(claim_path).collect());
        paths.or_else(|| {
            let wanted = "must be a list like [{\"token\": \"id\", \"path\": [\"email\"]}]";
            self.fields.wrong(field, wanted)
        })
    }

    fn refresh(&mut self) -> (u64, bool) {
        let Some(map) = self.fields.object("refresh") else {
            return (30_000, true);
        };
        let path = Path::new(["refresh"]);
        let mut fields = Fields::new(map, &path);
        let rotates = fields.string("rotates").unwrap_or("maybe");
        if !["always", "maybe", "never"].contains(&rotates) {
            fields.wrong::<()>("rotates", "must be always, maybe or never");
        }
        let timeout = fields
            .integer("timeoutMs", 1_000..=60_000)
            .unwrap_or(30_000);
        let retry = fields.boolean("ambiguousRetry").unwrap_or(true);
        if let Some(problem) = fields.finish().into_iter().next() {
            let message = format!("{}: {}", problem.path, problem.message);
            self.fields.wrong::<()>("refresh", message);
        }
        (timeout, retry)
    }
}

fn claim_path(value: &Value) -> Option<ClaimPath> {
    let token = match value.get("token")?.as_str()? {
        "access" => TokenKind::Access,
        "id" => TokenKind::Id,
        _ => return None,
    };
    let texts = |key: &str| {
        let list = value.get(key)?.as_array().filter(|list| !list.is_empty())?;
        let texts = list.iter().map(|text| text.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<String>>>()
    };
    let place = texts("path")
        .map(Place::Path)
        .or_else(|| texts("join").map(Place::Join))?;
    Some(ClaimPath { token, place })
}

#[cfg(test)]
mod tests;
