//! When a surface is active: conditions as data, and the interpreter that names the first one
//! that fails.

use serde_json::Value;

use super::pattern::fill;
use super::{channels, gateway_auth, sandbox};
use crate::config::EnvView;
use crate::json::{Path, lookup};

/// A condition over the effective configuration. Texts are dotted paths with captures (`{0}`).
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// Nothing beyond the ancestor rule.
    Always,
    /// Some entry of a list satisfies this and does not bring its own value, or there is none.
    Inherited {
        /// The list.
        over: &'static str,
        /// Switches of an entry that must not be `enabled: false`, relative to it.
        enabled: &'static [&'static str],
        /// The value that an inheriting entry does not own, relative to it.
        lacks: &'static str,
    },
    /// A rule that is written as code.
    Native(Native),
}

/// The conditions that are code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Channel,
    GatewayAuth,
    PluginActive,
    SandboxSshAgent,
    SandboxSshDefaults,
}

/// What the conditions look at.
pub(super) struct Context<'a> {
    pub(super) tree: &'a Value,
    pub(super) env: &'a EnvView,
}

impl Context<'_> {
    pub(super) fn at<S: AsRef<str>>(&self, segments: &[S]) -> Option<&Value> {
        lookup(self.tree, segments)
    }

    pub(super) fn dotted(&self, path: &str) -> Option<&Value> {
        lookup(self.tree, &path.split('.').collect::<Vec<_>>())
    }

    /// A setting as trimmed lower-case text; `default` when missing or of another type.
    pub(super) fn folded(&self, path: &str, default: &str) -> String {
        let text = self.dotted(path).and_then(Value::as_str).unwrap_or(default);
        text.trim().to_lowercase()
    }
}

/// Whether a surface is active, or the reason why not.
pub(super) type Activity = Result<(), String>;

/// Whether a value counts as configured: a text that is not blank, or anything else but null.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
    }
}

/// Whether an object is not switched off. Only the boolean `false` switches off.
pub(super) fn is_enabled(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("enabled")) != Some(&Value::Bool(false))
}

/// The ancestor rule: no object on the way, the root excluded, has `enabled: false`.
pub(super) fn ancestors(context: &Context<'_>, segments: &[String]) -> Activity {
    let mut value = context.tree;
    for (depth, segment) in segments.iter().enumerate() {
        let next = match value {
            Value::Object(map) => map.get(segment),
            Value::Array(items) => segment
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else { return Ok(()) };
        if !is_enabled(Some(next)) {
            let above = segments.get(..=depth).unwrap_or_default();
            return Err(format!(
                "{} is false",
                Path::new(above.iter().map(String::as_str)).child("enabled")
            ));
        }
        value = next;
    }
    Ok(())
}

/// Evaluates a condition for one surface.
pub(super) fn evaluate(
    condition: &Condition,
    context: &Context<'_>,
    captures: &[&str],
    path: &Path,
) -> Activity {
    match condition {
        Condition::Always => Ok(()),
        Condition::Inherited {
            over,
            enabled,
            lacks,
        } => {
            let over = fill(over, captures);
            let Some(entries) = context.dotted(&over).and_then(Value::as_array) else {
                return Ok(());
            };
            let lacks: Vec<&str> = lacks.split('.').collect();
            let inherits = |entry: &Value| {
                is_enabled(Some(entry))
                    && enabled.iter().all(|switch| {
                        is_enabled(lookup(entry, &switch.split('.').collect::<Vec<_>>()))
                    })
                    && lookup(entry, &lacks).is_none()
            };
            if entries.is_empty() || entries.iter().any(inherits) {
                return Ok(());
            }
            Err(format!("no enabled entry of {over} uses it"))
        }
        Condition::Native(native) => match native {
            Native::Channel => channels::activity(context, path).active,
            Native::GatewayAuth => gateway_auth::activity(context, path),
            Native::PluginActive => plugin(context, captures.first().copied().unwrap_or_default()),
            Native::SandboxSshAgent => {
                sandbox::agent(context, captures.first().copied().unwrap_or_default())
            }
            Native::SandboxSshDefaults => sandbox::defaults(context, path),
        },
    }
}

/// Whether a plugin is in use.
pub(super) fn plugin(context: &Context<'_>, id: &str) -> Activity {
    let listed = |path: &str| {
        let items = context.dotted(path).and_then(Value::as_array);
        items.is_some_and(|items| items.iter().any(|item| item.as_str() == Some(id)))
    };
    if !is_enabled(context.dotted("plugins")) {
        return Err("plugins are disabled (plugins.enabled is false)".to_owned());
    }
    if listed("plugins.deny") {
        return Err(format!("plugin {id} is in plugins.deny"));
    }
    if !is_enabled(context.at(&["plugins", "entries", id])) {
        return Err(format!(
            "{} is false",
            Path::new(["plugins", "entries", id, "enabled"])
        ));
    }
    let allow = context.dotted("plugins.allow").and_then(Value::as_array);
    let in_slot = context
        .dotted("plugins.slots.memory")
        .and_then(Value::as_str)
        == Some(id);
    if allow.is_some_and(|allow| !allow.is_empty()) && !listed("plugins.allow") && !in_slot {
        return Err(format!("plugin {id} is not in plugins.allow"));
    }
    Ok(())
}
