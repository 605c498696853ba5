//! When the sandbox's SSH material is needed.

use serde_json::Value;

use super::condition::{Activity, Context, is_enabled};
use crate::json::{Path, lookup};

/// A setting of a sandbox and the path that decides it: the agent's own, else the defaults', else
/// `fallback`.
fn setting(
    context: &Context<'_>,
    agent: Option<(&str, &Value)>,
    key: &str,
    fallback: &str,
) -> (String, String) {
    let own = agent.and_then(|(place, agent)| {
        let text = lookup(agent, &["sandbox", key])?.as_str()?;
        Some((format!("{place}.sandbox.{key}"), text.trim().to_lowercase()))
    });
    own.unwrap_or_else(|| {
        let path = format!("agents.defaults.sandbox.{key}");
        let text = context.folded(&path, fallback);
        (path, text)
    })
}

/// Whether sandboxes run over SSH, for an agent or by the defaults.
fn runs_over_ssh(context: &Context<'_>, agent: Option<(&str, &Value)>) -> Activity {
    let (path, backend) = setting(context, agent, "backend", "docker");
    if backend != "ssh" {
        return Err(format!("{path} is \"{backend}\", not \"ssh\""));
    }
    let (path, mode) = setting(context, agent, "mode", "off");
    if mode == "off" {
        return Err(format!("{path} is \"off\""));
    }
    Ok(())
}

/// `agents.list[i].sandbox.ssh.*`
pub(super) fn agent(context: &Context<'_>, index: &str) -> Activity {
    let place = format!("agents.list.{index}");
    let agent = context.at(&["agents", "list", index]);
    runs_over_ssh(context, agent.map(|agent| (place.as_str(), agent)))
}

/// `agents.defaults.sandbox.ssh.*`: used by the defaults themselves or by an agent that does not
/// bring its own value.
pub(super) fn defaults(context: &Context<'_>, path: &Path) -> Activity {
    let own = runs_over_ssh(context, None);
    let key = path
        .segments()
        .last()
        .map(String::as_str)
        .unwrap_or_default();
    let agents = context.dotted("agents.list").and_then(Value::as_array);
    let inherits = |agent: &Value| {
        is_enabled(Some(agent))
            && runs_over_ssh(context, Some(("", agent))).is_ok()
            && lookup(agent, &["sandbox", "ssh", key]).is_none()
    };
    if own.is_err() && agents.into_iter().flatten().any(inherits) {
        return Ok(());
    }
    own
}
