//! References in the stores of auth profiles. Only the fields that can hold one are looked at;
//! the stores themselves belong to `profiles`.

use std::path::{Path as FilePath, PathBuf};

use serde_json::{Map, Value};

use super::collect::{Content, Surface};
use super::condition::{Activity, Context, is_enabled};
use super::failure::Diagnostic;
use super::reference::{Classified, Defaults, classify_object, classify_text};
use super::value::wipe;
use crate::config::{EnvView, Locations, Severity, agent_dirs, normalise_agent_id};
use crate::error::Code;
use crate::host::{FileMeta, Host};
use crate::json::{Path, lookup, parse};

/// The name of a store in an agent's folder.
pub(super) const STORE_NAME: &str = "auth-profiles.json";
const MAX_STORE: u64 = 16 << 20;

/// The store of one agent.
pub(super) struct Store {
    pub(super) agent: String,
    pub(super) file: PathBuf,
    pub(super) meta: Option<FileMeta>,
    /// `Ok(None)`: there is no such file. Errors are one sentence.
    pub(super) document: Result<Option<Value>, String>,
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Ok(Some(document)) = &mut self.document {
            wipe(document.take());
        }
    }
}

/// Reads the stores of all agents.
pub(super) fn read_stores(
    host: &Host,
    places: &Locations,
    env: &EnvView,
    tree: &Value,
) -> Vec<Store> {
    let agents = agent_dirs(places, env, tree).into_iter();
    agents
        .map(|(agent, folder)| {
            let file = folder.join(STORE_NAME);
            let (meta, document) = read_json(host, &file, MAX_STORE);
            Store {
                agent,
                file,
                meta,
                document,
            }
        })
        .collect()
}

/// Reads a JSON file that may be missing. Links are followed.
pub(super) fn read_json(
    host: &Host,
    file: &FilePath,
    limit: u64,
) -> (Option<FileMeta>, Result<Option<Value>, String>) {
    let opened = host
        .files
        .canonical(file)
        .and_then(|real| host.files.open(&real))
        .and_then(|open| Ok((open.meta()?, open)));
    let (meta, mut open) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (None, Ok(None)),
        Err(error) => return (None, Err(format!("cannot be read ({})", error.kind()))),
    };
    let document = match open.read_to_limit(limit) {
        Ok(Some(bytes)) => match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text.strip_prefix('\u{feff}').unwrap_or(text))
                .map(|parsed| Some(parsed.value))
                .map_err(|problem| {
                    let place = problem.place;
                    format!("is not JSON (line {}, column {})", place.line, place.column)
                }),
            Err(_) => Err("is not UTF-8".to_owned()),
        },
        Ok(None) => Err(format!("is larger than {} MiB", limit >> 20)),
        Err(error) => Err(format!("cannot be read ({})", error.kind())),
    };
    (Some(meta), document)
}

/// What decides whether a profile's reference is needed.
#[derive(Debug)]
pub(crate) struct ProfileFacts {
    pub(super) agent: String,
    pub(super) id: String,
    provider: String,
    /// Of a token profile that states one.
    expires: Option<Value>,
}

/// The two kinds of profile that hold a static credential: type, its key, its reference's key.
pub(super) const KINDS: [(&str, &str, &str); 2] =
    [("api_key", "key", "keyRef"), ("token", "token", "tokenRef")];
/// Every field of an OAuth profile that could be mistaken for a place for references.
const OAUTH_FIELDS: [&str; 6] = ["access", "refresh", "token", "tokenRef", "key", "keyRef"];

/// The profiles of a store: id and object.
pub(super) fn profiles(document: &Value) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let map = document.get("profiles").and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(id, profile)| Some((id, profile.as_object()?)))
}

/// The path of a field of a profile.
pub(super) fn field_path(agent: &str, id: &str, key: &str) -> Path {
    let store = format!("auth-profiles[{agent}]");
    Path::new([store.as_str(), "profiles", id, key])
}

/// Finds the references of one store. Literal credentials are not surfaces of the snapshot: they
/// change while the program runs and are read from the store itself.
pub(super) fn collect_store(
    store: &Store,
    tree: &Value,
    defaults: &Defaults,
    surfaces: &mut Vec<Surface>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let document = match &store.document {
        Ok(Some(document)) => document,
        Ok(None) => return,
        Err(problem) => {
            let path = Path::new([format!("auth-profiles[{}]", store.agent)]);
            let message = format!(
                "{} {problem}; its references are not read",
                store.file.display()
            );
            diagnostics.push(Diagnostic::new(
                Code::SecretsStoreSkipped,
                Severity::Warning,
                &path,
                message,
            ));
            return;
        }
    };
    for (id, profile) in profiles(document) {
        let text = |key: &str| profile.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type");
        let facts = |expires: Option<&Value>| ProfileFacts {
            agent: store.agent.clone(),
            id: id.clone(),
            provider: text("provider").trim().to_lowercase(),
            expires: expires.cloned(),
        };
        if kind == "oauth" {
            for key in OAUTH_FIELDS
                .iter()
                .filter(|key| is_reference(profile.get(**key), defaults))
            {
                let path = field_path(&store.agent, id, key);
                surfaces.push(Surface::of_profile(path, Content::OauthPolicy, facts(None)));
            }
            continue;
        }
        let Some((_, key, reference_key)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
            continue;
        };
        let path = field_path(&store.agent, id, key);
        let sibling = profile.get(*reference_key).and_then(Value::as_object);
        let sibling = sibling.and_then(|map| classify_object(map, defaults));
        let inline = match profile.get(*key) {
            Some(Value::Object(map)) => classify_object(map, defaults),
            Some(Value::String(text)) if !text.trim().is_empty() => {
                Some(classify_text(text, defaults))
            }
            _ => None,
        };
        if sibling.is_some() && matches!(inline, Some(Classified::Literal(_))) {
            let message = format!("{path}: {reference_key} is set, the plain value is ignored");
            diagnostics.push(Diagnostic::new(
                Code::SecretsRefOverridesPlaintext,
                Severity::Warning,
                &path,
                message,
            ));
        }
        let content = match sibling.or(inline) {
            None | Some(Classified::Literal(_)) => continue,
            Some(Classified::Reference(reference, legacy)) => {
                if legacy {
                    let message =
                        format!("{path}: the reference has no provider; {reference} is used");
                    let code = Code::SecretsLegacyRefForm;
                    diagnostics.push(Diagnostic::new(code, Severity::Info, &path, message));
                }
                Content::Reference(reference)
            }
            Some(Classified::Template(parts)) => Content::Template(parts),
            Some(Classified::Invalid(invalid)) => Content::Invalid(invalid),
        };
        let mode = lookup(tree, &["auth", "profiles", id, "mode"]).and_then(Value::as_str);
        let content = match mode {
            Some("oauth") => Content::OauthPolicy,
            _ => content,
        };
        let expires = profile.get("expires").filter(|_| kind == "token");
        surfaces.push(Surface::of_profile(path, content, facts(expires)));
    }
}

fn is_reference(value: Option<&Value>, defaults: &Defaults) -> bool {
    match value {
        Some(Value::Object(map)) => classify_object(map, defaults).is_some(),
        Some(Value::String(text)) => matches!(
            classify_text(text, defaults),
            Classified::Reference(..) | Classified::Template(_)
        ),
        _ => false,
    }
}

impl ProfileFacts {
    /// Who needs the credential.
    pub(super) fn owner(&self) -> String {
        format!("auth-profile:{}/{}", self.agent, self.id)
    }

    /// Whether the profile may be used at all. Which one is used is decided per request, so every
    /// usable one is needed.
    pub(super) fn activity(&self, context: &Context<'_>, now_ms: u64) -> Activity {
        let providers = context
            .dotted("models.providers")
            .and_then(Value::as_object);
        let off = providers.into_iter().flatten().find(|(name, value)| {
            name.trim().to_lowercase() == self.provider && !is_enabled(Some(value))
        });
        if let Some((name, _)) = off {
            let path = Path::new(["models", "providers", name, "enabled"]);
            return Err(format!("{path} is false"));
        }
        let agents = context.dotted("agents.list").and_then(Value::as_array);
        for (index, agent) in agents.into_iter().flatten().enumerate() {
            let id = agent.get("id").and_then(Value::as_str).unwrap_or_default();
            if normalise_agent_id(id) == self.agent && !is_enabled(Some(agent)) {
                return Err(format!("agents.list.{index}.enabled is false"));
            }
        }
        match &self.expires {
            None => Ok(()),
            Some(expires) => match expires.as_f64() {
                #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
                Some(at) if at > now_ms as f64 => Ok(()),
                Some(at) if at > 0.0 => {
                    Err("the token has expired (expires is in the past)".to_owned())
                }
                _ => Err("expires is not a point in time".to_owned()),
            },
        }
    }
}
