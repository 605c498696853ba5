//! Checks of the configuration files.

use serde_json::Value;

use super::DoctorFinding as Found;
use super::place::Place;
use super::repair::Repair;
use super::table::Check;
use crate::config::Severity;
use crate::error::{Code, Error};
use crate::json::Path;

/// Codes that say that a file could not be read as a whole.
const PARSE: &[&str] = &[
    "config_not_found",
    "config_read_failed",
    "config_too_large",
    "config_too_deep",
    "config_parse_error",
    "config_root_not_object",
    "config_number_not_finite",
    "config_include_invalid",
    "config_include_not_found",
    "config_include_outside_root",
    "config_include_circular",
    "config_include_too_deep",
    "config_include_unsafe_file",
    "config_include_limit",
];

/// The issues that keep the configuration from being used.
fn errors(place: &Place, fits: impl Fn(&str) -> bool, check: &'static Check) -> Vec<Found> {
    let Some(error) = place.config_error() else {
        return Vec::new();
    };
    let issues = error.details().get("issues").and_then(Value::as_array);
    let Some(issues) = issues else {
        return match fits(error.code().as_str()) {
            true => vec![Found::new(check, error.message())],
            false => Vec::new(),
        };
    };
    let text = |issue: &Value, key: &str| issue.get(key).and_then(Value::as_str).map(str::to_owned);
    let of = |issue: &Value| {
        let severity = text(issue, "severity");
        let code = text(issue, "code").unwrap_or_default();
        if severity.as_deref() != Some("error") || !fits(&code) {
            return None;
        }
        let number = |key: &str| issue.get(key).and_then(Value::as_u64);
        let number = |key: &str| number(key).and_then(|number| usize::try_from(number).ok());
        let message = text(issue, "message").unwrap_or_default();
        let setting = text(issue, "path").unwrap_or_default();
        let message = match setting.is_empty() || message.contains(&setting) {
            true => message,
            false => format!("{setting}: {message}"),
        };
        let file = text(issue, "file").map(|file| place.shown(file.as_ref()));
        let place = number("line").zip(number("column"));
        let message = match (&file, place) {
            (Some(file), Some((line, column))) => format!("{file}:{line}:{column}: {message}"),
            (Some(file), None) => format!("{file}: {message}"),
            (None, _) => message,
        };
        let mut found = Found::new(check, message);
        found.line_column = place;
        if let Some(file) = text(issue, "file") {
            found = found.at(file);
        }
        Some(match text(issue, "hint") {
            Some(hint) => found.hint(hint),
            None => found,
        })
    };
    issues.iter().filter_map(of).collect()
}

pub(super) fn parse(place: &Place, check: &'static Check) -> Vec<Found> {
    errors(place, |code| PARSE.contains(&code), check)
}

pub(super) fn invalid(place: &Place, check: &'static Check) -> Vec<Found> {
    errors(
        place,
        |code| !PARSE.contains(&code) && code != Code::ConfigUnknownKey.as_str(),
        check,
    )
}

pub(super) fn unknown_key(place: &Place, check: &'static Check) -> Vec<Found> {
    let unknown = Code::ConfigUnknownKey;
    let mut found = errors(place, |code| code == unknown.as_str(), check);
    for finding in &mut found {
        // In the extension file an unknown key keeps the program from starting.
        finding.severity = Severity::Error;
    }
    let warned = place.issues().into_iter();
    let warned = warned.filter(|issue| issue.code() == unknown);
    found.extend(warned.map(|issue| {
        let path = issue.path();
        let finding = Found::new(check, issue.message())
            .at(path.to_string())
            .repaired_by(Repair::DropSetting(owned(path)));
        match issue.hint_text() {
            Some(hint) => finding.hint(hint),
            None => finding,
        }
    }));
    found
}

fn owned(path: &Path) -> Vec<String> {
    path.segments()
        .iter()
        .map(|part| (*part).to_owned())
        .collect()
}

pub(super) fn missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let file = &place.places.config;
    match place.host.files.stat(file) {
        Err(_) if place.is_from_files() && place.config_error().is_none() => {
            let message = format!("there is no {}", place.shown(file));
            vec![Found::new(check, message).at(file.display().to_string())]
        }
        _ => Vec::new(),
    }
}

pub(super) fn env_override(place: &Place, check: &'static Check) -> Vec<Found> {
    let set = [
        ("OPENCLAW_CONFIG_PATH", &place.places.config),
        ("OPENCLAW_STATE_DIR", &place.places.state),
    ];
    let set = set.into_iter().filter(|(name, _)| place.variable(name));
    set.map(|(name, path)| {
        let message = format!("{name} is set; {} is used", place.shown(path));
        Found::new(check, message).at(path.display().to_string())
    })
    .collect()
}

pub(super) fn duplicate_default_agent(place: &Place, check: &'static Check) -> Vec<Found> {
    let list = place.setting(&["agents", "list"]);
    let list = list
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let marked = list.filter(|agent| agent.get("default") == Some(&Value::Bool(true)));
    let ids: Vec<&str> = marked
        .filter_map(|agent| agent.get("id").and_then(Value::as_str))
        .collect();
    match ids.as_slice() {
        [first, _, ..] => {
            let message = format!("{} are the default agent; {first} counts", ids.join(", "));
            vec![Found::new(check, message).at("agents.list")]
        }
        _ => Vec::new(),
    }
}

pub(super) fn model_unknown_provider(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (scene, survey) in place.surveys() {
        for provider in survey.providers.iter().filter(|p| p.in_use && p.is_bare()) {
            let known = crate::keys::known_providers().any(|known| known == provider.id);
            let configured = scene
                .setting(&["models", "providers", &provider.id])
                .is_some();
            let told = found
                .iter()
                .any(|it| it.provider.as_ref() == Some(&provider.id));
            if !known && !configured && !told {
                let message = format!("nothing is known of the provider {}", provider.id);
                found.push(Found::new(check, message).about(&provider.id, None));
            }
        }
    }
    found
}

pub(super) fn alias_conflict(place: &Place, check: &'static Check) -> Vec<Found> {
    let models = place.setting(&["agents", "defaults", "models"]);
    let models = models.as_ref().and_then(Value::as_object);
    let mut aliases: Vec<(String, Vec<&str>)> = Vec::new();
    for (key, settings) in models.into_iter().flatten() {
        let alias = settings.get("alias").and_then(Value::as_str).map(str::trim);
        let Some(alias) = alias.filter(|alias| !alias.is_empty()) else {
            continue;
        };
        let lower = alias.to_lowercase();
        match aliases.iter_mut().find(|(known, _)| *known == lower) {
            Some((_, keys)) => keys.push(key),
            None => aliases.push((lower, vec![key])),
        }
    }
    let several = aliases.iter().filter(|(_, keys)| keys.len() > 1);
    several
        .map(|(alias, keys)| {
            let message = format!("the alias {alias} stands for {}", keys.join(" and "));
            Found::new(check, message).at("agents.defaults.models")
        })
        .collect()
}

pub(super) fn plain_shell_substitution(place: &Place, check: &'static Check) -> Vec<Found> {
    let providers = place.setting(&["models", "providers"]);
    let providers = providers.as_ref().and_then(Value::as_object);
    let named = providers.into_iter().flatten().map(|(provider, settings)| {
        let headers = settings.get("headers").and_then(Value::as_object);
        let texts = headers.into_iter().flatten();
        let texts = texts.filter_map(|(name, value)| Some((name, value.as_str()?)));
        let found = texts.filter(|(_, text)| is_bare_variable(text));
        let paths: Vec<String> = found
            .map(|(name, _)| format!("models.providers.{provider}.headers.{name}"))
            .collect();
        paths
    });
    named
        .flatten()
        .map(|path| {
            let message = format!("{path} looks like a variable without braces");
            Found::new(check, message).at(path)
        })
        .collect()
}

/// Whether a text is `$NAME`.
fn is_bare_variable(text: &str) -> bool {
    text.trim()
        .strip_prefix('$')
        .is_some_and(crate::config::is_env_name)
}

/// The message of an error for people, its code behind it.
pub(super) fn told(error: &Error) -> String {
    format!("{} ({})", error.message(), error.code())
}
