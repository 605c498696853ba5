//! When the sandbox's SSH material is needed.

use serde_json::Value;

use super::condition::{Activity, Context, is_enabled};
use crate::json::{Path, lookup};

/// A setting of an agent's sandbox: the agent's own, else the defaults', else `fallback`.
fn setting(context: &Context<'_>, agent: Option<&Value>, key: &str, fallback: &str) -> String {
    let own = agent
        .and_then(|agent| lookup(agent, &["sandbox", key]))
        .and_then(Value::as_str);
    match own {
        Some(text) => text.trim().to_lowercase(),
        None => context.folded(&format!("agents.defaults.sandbox.{key}"), fallback),
    }
}

/// Whether sandboxes run over SSH, for an agent or by the defaults.
fn runs_over_ssh(context: &Context<'_>, agent: Option<&Value>, place: &str) -> Activity {
    let backend = setting(context, agent, "backend", "docker");
    if backend != "ssh" {
        return Err(format!(
            "the sandbox backend of {place} is \"{backend}\", not \"ssh\""
        ));
    }
    if setting(context, agent, "mode", "off") == "off" {
        return Err(format!("the sandbox mode of {place} is \"off\""));
    }
    Ok(())
}

/// `agents.list[i].sandbox.ssh.*`
pub(super) fn agent(context: &Context<'_>, index: &str) -> Activity {
    runs_over_ssh(
        context,
        context.at(&["agents", "list", index]),
        &format!("agents.list.{index}"),
    )
}

/// `agents.defaults.sandbox.ssh.*`: used by the defaults themselves or by an agent that does not
/// bring its own value.
pub(super) fn defaults(context: &Context<'_>, path: &Path) -> Activity {
    let own = runs_over_ssh(context, None, "agents.defaults");
    let key = path
        .segments()
        .last()
        .map(String::as_str)
        .unwrap_or_default();
    let agents = context.dotted("agents.list").and_then(Value::as_array);
    let inherits = |agent: &Value| {
        is_enabled(Some(agent))
            && runs_over_ssh(context, Some(agent), "").is_ok()
            && lookup(agent, &["sandbox", "ssh", key]).is_none()
    };
    if own.is_err() && agents.into_iter().flatten().any(inherits) {
        return Ok(());
    }
    own
}
