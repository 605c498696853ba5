//! Plans for moving secrets to references: the same file format as OpenClaw 2026.4.

mod builder;

use serde_json::{Map, Value, json};

use super::Registry;
use super::pattern::{Step, captures, fits, steps};
use super::provider::Providers;
use super::reference::{Classified, Defaults, SecretRef, SecretSource, classify_object, is_alias};
use super::rules::{Role, Rule, Rules};
use super::stores::KINDS;
use crate::error::{Code, Error, Result};
use crate::json::Path;
pub use builder::PlanBuilder;

/// A checked plan.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) upserts: Map<String, Value>,
    pub(super) deletes: Vec<String>,
    pub(super) scrub: ScrubOptions,
    document: Value,
}

/// What else goes when a secret has moved. Everything by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScrubOptions {
    pub(super) env: bool,
    pub(super) profiles: bool,
    pub(super) auth_json: bool,
}

/// One place that gets a reference.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: TargetPlace,
    pub(super) reference: SecretRef,
}

#[derive(Debug, Clone)]
pub(super) enum TargetPlace {
    Config {
        path: Path,
        /// The key beside it that takes the reference.
        sibling: Option<String>,
        /// The model provider whose key it is.
        provider: Option<String>,
    },
    Profile {
        agent: String,
        id: String,
        /// Type, key and key of the reference.
        kind: (&'static str, &'static str, &'static str),
        provider: Option<String>,
    },
}

/// Why a plan is refused.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) target: Option<usize>,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Other names of target types.
const TYPE_ALIASES: &[(&str, &str)] = &[
    ("models.providers.apiKey", "models.providers.*.apiKey"),
    ("models.providers.headers", "models.providers.*.headers.*"),
    ("skills.entries.apiKey", "skills.entries.*.apiKey"),
    (
        "channels.googlechat.serviceAccount",
        "channels.googlechat.accounts.*.serviceAccount",
    ),
];

impl Plan {
    /// Checks a plan document against the surfaces that exist. Whether it fits an installation
    /// is found out when it is applied.
    ///
    /// # Errors
    ///
    /// `plan_invalid`; `details.problems` lists every violation with `targetIndex`, `reason` and
    /// `message`, `details.reason` is the first reason.
    pub fn parse(document: &Value, registry: &Registry) -> Result<Self> {
        let mut problems = Vec::new();
        let mut note = |target, reason, message: String| {
            problems.push(Problem {
                target,
                reason,
                message,
            });
        };
        for key in ["version", "protocolVersion"] {
            if document.get(key).and_then(Value::as_u64) != Some(1) {
                note(None, "version", format!("{key} must be 1"));
            }
        }
        let empty = Vec::new();
        let items = document.get("targets").and_then(Value::as_array);
        if items.is_none() {
            note(None, "version", "targets must be a list".to_owned());
        }
        let rules = Rules::new(registry);
        let mut targets: Vec<Target> = Vec::new();
        let mut places: Vec<String> = Vec::new();
        for (index, item) in items.unwrap_or(&empty).iter().enumerate() {
            match read_target(item, &rules) {
                Ok(target) => {
                    let label = target.place.label();
                    if places.contains(&label) {
                        let message = format!("{label} occurs twice");
                        note(Some(index), "duplicate_target", message);
                    }
                    places.push(label);
                    targets.push(target);
                }
                Err((reason, message)) => note(Some(index), reason, message),
            }
        }
        let upserts = match document.get("providerUpserts") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => {
                let message = "providerUpserts must be an object".to_owned();
                note(None, "provider", message);
                Map::new()
            }
        };
        for problem in provider_problems(&upserts) {
            note(None, "provider", problem);
        }
        let mut deletes = Vec::new();
        for item in document
            .get("providerDeletes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match item.as_str().filter(|alias| is_alias(alias)) {
                Some(alias) if upserts.contains_key(alias) => {
                    let message = format!("provider \"{alias}\" is both written and deleted");
                    note(None, "provider", message);
                }
                Some(alias) => deletes.push(alias.to_owned()),
                None => {
                    let message = "providerDeletes must list aliases".to_owned();
                    note(None, "provider", message);
                }
            }
        }
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let option = |key: &str| {
            let options = document.get("options");
            options.and_then(|options| options.get(key)) != Some(&Value::Bool(false))
        };
        Ok(Self {
            targets,
            upserts,
            deletes,
            scrub: ScrubOptions {
                env: option("scrubEnv"),
                profiles: option("scrubAuthProfilesForProviderTargets"),
                auth_json: option("scrubLegacyAuthJson"),
            },
            document: document.clone(),
        })
    }

    /// The document as it is written to a plan file (mode 0600).
    pub fn to_json(&self) -> &Value {
        &self.document
    }

    /// Whether the plan needs programs.
    pub fn uses_exec(&self) -> bool {
        let by_target = |target: &Target| target.reference.source() == SecretSource::Exec;
        let by_provider = |body: &Value| body.get("source").and_then(Value::as_str) == Some("exec");
        self.targets.iter().any(by_target) || self.upserts.values().any(by_provider)
    }
}

impl TargetPlace {
    /// What tells it from every other place.
    fn label(&self) -> String {
        match self {
            Self::Config { path, .. } => path.to_string(),
            Self::Profile {
                agent, id, kind, ..
            } => super::stores::field_path(agent, id, kind.1).to_string(),
        }
    }
}

/// The error of a plan that is refused.
pub(super) fn invalid(problems: Vec<Problem>) -> Error {
    let list: Vec<Value> = problems
        .iter()
        .map(|problem| {
            json!({
                "targetIndex": problem.target,
                "reason": problem.reason,
                "message": problem.message,
            })
        })
        .collect();
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let first = problems.into_iter().next();
    let (reason, message) = first.map_or(("version", String::new()), |first| {
        (first.reason, first.message)
    });
    Error::new(Code::PlanInvalid, format!("{message}{more}"))
        .with("reason", reason)
        .with("problems", list)
}

fn provider_problems(upserts: &Map<String, Value>) -> Vec<String> {
    let tree = json!({"secrets": {"providers": upserts}});
    let providers = Providers::read(&tree);
    let own = providers.declared.values().flat_map(|p| p.problems.iter());
    own.chain(&providers.problems)
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect()
}

type Refused = (&'static str, String);

fn read_target(item: &Value, rules: &Rules) -> std::result::Result<Target, Refused> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let kinds = TargetType::named(kind, rules);
    if kinds.is_empty() {
        let message = format!(
            "\"{}\" is not a known target type",
            crate::text::printable_key(kind)
        );
        return Err(("unknown_type", message));
    }
    let shown = text("path").unwrap_or_default();
    if shown.is_empty() {
        return Err(("path", "path must not be empty".to_owned()));
    }
    let segments: Vec<String> = match item.get("pathSegments") {
        None | Some(Value::Null) => shown.split('.').map(str::to_owned).collect(),
        Some(Value::Array(items)) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect();
            let texts = texts.unwrap_or_default();
            if texts.join(".") != shown {
                let message = "pathSegments joined by dots must be the path".to_owned();
                return Err(("path", message));
            }
            texts
        }
        Some(_) => return Err(("path", "pathSegments must be a list".to_owned())),
    };
    let forbidden = ["__proto__", "prototype", "constructor"];
    if segments.iter().any(|s| forbidden.contains(&s.as_str())) {
        return Err((
            "forbidden_segment",
            "the path has a forbidden segment".to_owned(),
        ));
    }
    let fitting = |known: &TargetType| fits(&known.steps, &segments);
    let known = kinds.into_iter().find(fitting);
    let Some(known) = known.filter(|_| !segments.iter().any(String::is_empty)) else {
        let message = format!("Invalid plan target path for {kind}: {shown}");
        return Err(("path_mismatch", message));
    };
    let ids = captures(&known.steps, &segments);
    let account = segments
        .iter()
        .position(|segment| segment == "accounts")
        .and_then(|at| segments.get(at + 1));
    let wrong_provider = text("providerId").is_some_and(|id| ids.first() != Some(&id));
    let wrong_account = text("accountId").is_some_and(|id| account.map(String::as_str) != Some(id));
    if wrong_provider || wrong_account {
        let message = format!("providerId or accountId is not what the path {shown} says");
        return Err(("id_mismatch", message));
    }
    let reference = read_reference(item.get("ref"))?;
    let place = match known.profile {
        Some(kind) => {
            let Some(agent) = text("agentId").map(str::trim).filter(|id| !id.is_empty()) else {
                return Err((
                    "agent_id",
                    "targets in auth profiles need an agentId".to_owned(),
                ));
            };
            let provider = text("authProfileProvider").map(str::trim);
            if provider.is_some_and(str::is_empty) {
                let message = "authProfileProvider must not be empty".to_owned();
                return Err(("profile_provider", message));
            }
            TargetPlace::Profile {
                agent: crate::config::normalise_agent_id(agent),
                id: ids.first().copied().unwrap_or_default().to_owned(),
                kind,
                provider: provider.map(str::to_owned),
            }
        }
        None => {
            let is_provider = segments.iter().take(2).eq(["models", "providers"]);
            let is_key = segments.len() == 4 && segments.last().is_some_and(|s| s == "apiKey");
            TargetPlace::Config {
                provider: segments.get(2).filter(|_| is_provider && is_key).cloned(),
                sibling: known.sibling,
                path: Path::new(segments),
            }
        }
    };
    Ok(Target { place, reference })
}

fn read_reference(value: Option<&Value>) -> std::result::Result<SecretRef, Refused> {
    let refused = |message: &str| ("ref", message.to_owned());
    let map = value
        .and_then(Value::as_object)
        .ok_or_else(|| refused("ref must be an object"))?;
    if !map.contains_key("provider") {
        return Err(refused("ref must have a provider"));
    }
    match classify_object(map, &Defaults::read(&Value::Null)) {
        Some(Classified::Reference(reference, _)) => Ok(reference),
        Some(Classified::Invalid(invalid)) => Err(refused(&invalid.message)),
        _ => Err(refused("ref must be {source, provider, id}")),
    }
}

/// The target type of a place in the configuration.
pub(super) fn type_of(path: &Path, rules: &Rules) -> Option<String> {
    TargetType::of(path, rules)
}

/// What a target type stands for.
pub(super) struct TargetType {
    steps: Vec<Step>,
    sibling: Option<String>,
    profile: Option<(&'static str, &'static str, &'static str)>,
}

impl TargetType {
    /// What a name stands for. An alias may also be the name of another type.
    fn named(name: &str, rules: &Rules) -> Vec<Self> {
        let profile = |kind: &(&'static str, &'static str, &'static str)| {
            let is_named = name == format!("auth-profiles.{}.{}", kind.0, kind.1);
            is_named.then(|| Self {
                steps: steps(&format!("profiles.*.{}", kind.1)),
                sibling: None,
                profile: Some(*kind),
            })
        };
        let aliases = TYPE_ALIASES.iter().filter(|(alias, _)| *alias == name);
        let names = std::iter::once(name).chain(aliases.map(|(_, id)| *id));
        let config = names.filter_map(|name| Self::of_rule(name, rules));
        KINDS.iter().filter_map(profile).chain(config).collect()
    }

    fn of_rule(name: &str, rules: &Rules) -> Option<Self> {
        let wanted = steps(name);
        let usable = |rule: &&Rule| rule.role == Role::Secret && rule.flags.plan;
        let rule =
            rules.rows.iter().filter(usable).find(|rule| {
                rule.id == name || (rule.is_channel() && covers(&rule.steps, &wanted))
            })?;
        let steps = if rule.is_channel() {
            wanted
        } else {
            rule.steps.clone()
        };
        Some(Self {
            sibling: sibling_of(rule, rules),
            steps,
            profile: None,
        })
    }

    /// The type of a place in the configuration.
    pub(super) fn of(path: &Path, rules: &Rules) -> Option<String> {
        let segments = path.segments();
        let usable = |rule: &&Rule| {
            rule.role == Role::Secret && rule.flags.plan && fits(&rule.steps, segments)
        };
        let rule = rules.rows.iter().find(usable)?;
        if !rule.is_channel() {
            return Some(rule.id.clone());
        }
        let name = segments.get(1)?;
        Some(rule.pattern.replacen('*', name, 1))
    }
}

/// Whether the rule of all channels is meant, with the channel's name written out.
fn covers(rule: &[Step], wanted: &[Step]) -> bool {
    rule.len() == wanted.len()
        && rule
            .iter()
            .zip(wanted)
            .enumerate()
            .all(|(at, (rule, wanted))| {
                rule == wanted || (at == 1 && matches!(wanted, Step::Literal(_)))
            })
}

/// The key beside a place that takes its reference.
fn sibling_of(rule: &Rule, rules: &Rules) -> Option<String> {
    let (parent, key) = rule.pattern.rsplit_once('.')?;
    rules.rows.iter().find_map(|row| {
        let (beside, name) = row.pattern.rsplit_once('.')?;
        let belongs = matches!(&row.role, Role::ReferenceFor(own) if own == key);
        (belongs && beside == parent).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(target: &Value) -> String {
        let plan = json!({"version": 1, "protocolVersion": 1, "targets": [target]});
        match Plan::parse(&plan, &Registry::new()) {
            Ok(plan) => plan.targets[0].place.label(),
            Err(error) => format!("no: {}", error.details()["reason"].as_str().unwrap()),
        }
    }

    fn target(kind: &str, path: &str, more: &[(&str, Value)]) -> Value {
        let mut target = json!({"type": kind, "path": path,
            "ref": {"source": "env", "provider": "default", "id": "K"}});
        for (key, value) in more {
            target[*key] = value.clone();
        }
        target
    }

    #[test]
    fn targets_are_checked_one_by_one() {
        let model = "models.providers.apiKey";
        for (target, expected) in [
            (
                target(model, "models.providers.a.apiKey", &[]),
                "models.providers.a.apiKey",
            ),
            (
                target(
                    "models.providers.*.apiKey",
                    "models.providers.a.apiKey",
                    &[],
                ),
                "models.providers.a.apiKey",
            ),
            (
                target(
                    model,
                    "models.providers.my.proxy.apiKey",
                    &[(
                        "pathSegments",
                        json!(["models", "providers", "my.proxy", "apiKey"]),
                    )],
                ),
                "models.providers[\"my.proxy\"].apiKey",
            ),
            (
                target(
                    "channels.telegram.accounts.*.botToken",
                    "channels.telegram.accounts.a.botToken",
                    &[("accountId", json!("a"))],
                ),
                "channels.telegram.accounts.a.botToken",
            ),
            (
                target(
                    "channels.telegram.accounts.*.botToken",
                    "channels.telegram.accounts.a.botToken",
                    &[("accountId", json!("b"))],
                ),
                "no: id_mismatch",
            ),
            (
                target(
                    "channels.telegram.accounts.*.botToken",
                    "channels.slack.accounts.a.botToken",
                    &[],
                ),
                "no: path_mismatch",
            ),
            (
                target(
                    "channels.googlechat.serviceAccount",
                    "channels.googlechat.accounts.a.serviceAccount",
                    &[],
                ),
                "channels.googlechat.accounts.a.serviceAccount",
            ),
            (
                target(
                    "models.providers.a.apiKey",
                    "models.providers.a.apiKey",
                    &[],
                ),
                "no: unknown_type",
            ),
            (
                target("hooks.token", "hooks.token", &[]),
                "no: unknown_type",
            ),
            (target(model, "", &[]), "no: path"),
            (
                target(model, "models.providers.__proto__.apiKey", &[]),
                "no: forbidden_segment",
            ),
            (
                target(
                    model,
                    "models.providers.a.apiKey",
                    &[("ref", json!({"source": "env", "id": "K"}))],
                ),
                "no: ref",
            ),
            (
                target(
                    model,
                    "models.providers.a.apiKey",
                    &[("ref", json!("env:default:K"))],
                ),
                "no: ref",
            ),
            (
                target(
                    "auth-profiles.token.token",
                    "profiles.a:b.token",
                    &[("agentId", json!("Main"))],
                ),
                "auth-profiles[main].profiles.a:b.token",
            ),
            (
                target(
                    "auth-profiles.token.token",
                    "profiles.a:b.key",
                    &[("agentId", json!("main"))],
                ),
                "no: path_mismatch",
            ),
            (
                target(
                    "auth-profiles.token.token",
                    "profiles.a:b.token",
                    &[
                        ("agentId", json!("main")),
                        ("authProfileProvider", json!(" ")),
                    ],
                ),
                "no: profile_provider",
            ),
        ] {
            assert_eq!(reason(&target), expected, "{target}");
        }
    }

    #[test]
    fn all_violations_are_listed() {
        let plan = json!({
            "version": 2, "protocolVersion": 1,
            "targets": [
                target("talk.apiKey", "talk.apiKey", &[]),
                target("talk.apiKey", "talk.apiKey", &[]),
                {"type": "x"},
            ],
            "providerUpserts": {"Bad Alias": {}, "v": {"source": "exec", "command": "relative"}},
            "providerDeletes": ["v", 5],
        });
        let error = Plan::parse(&plan, &Registry::new()).unwrap_err();
        let problems = error.details()["problems"].as_array().unwrap();
        let reasons: Vec<&str> = problems
            .iter()
            .map(|p| p["reason"].as_str().unwrap())
            .collect();
        assert_eq!(
            reasons,
            [
                "version",
                "duplicate_target",
                "unknown_type",
                "provider",
                "provider",
                "provider",
                "provider"
            ]
        );
        assert_eq!(problems[1]["targetIndex"], 1);
    }
}
