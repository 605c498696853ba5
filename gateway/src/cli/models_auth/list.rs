//! `models auth list`: stored profiles, and keys of the environment.

use openclaw_auth::report::short;
use serde_json::Value;

use super::super::args::json;
use super::super::output::{print, print_json};
use super::super::style::{Role, Style};
use super::super::table::{Cell, table};
use super::{Call, Outcome, failed, provider};

pub(super) fn arguments() -> Vec<clap::Arg> {
    vec![provider(), json()]
}

/// `models auth list`.
pub(super) fn run(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let document = engine.profiles_json(call.agent(), call.text("provider"));
    let document = document.map_err(failed)?;
    if call.json() {
        print_json(&document);
        return Ok(0);
    }
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let items = |key: &str| {
        let items = document.get(key).and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    let (style, layout) = (Style::stdout(), call.layout());
    let path = text(&document, "authStorePath");
    let agent = text(&document, "agentId");
    print(&format!(
        "Agent {agent}: {}",
        call.shown(std::path::Path::new(&path))
    ));
    let profiles: Vec<Vec<Cell>> = items("profiles")
        .iter()
        .map(|profile| {
            let label = text(profile, "label");
            let id = text(profile, "id");
            let id = match label.is_empty() {
                true => id,
                false => format!("{id} ({label})"),
            };
            vec![
                Cell::new(id),
                Cell::new(text(profile, "type").replace('_', " ")),
                Cell::new(text(profile, "masked")),
                state(profile, call.now_ms()),
            ]
        })
        .collect();
    let keys: Vec<Vec<Cell>> = items("env")
        .iter()
        .map(|key| {
            vec![
                Cell::new(text(key, "id")),
                Cell::new(text(key, "provider")),
                Cell::new(text(key, "masked")),
                Cell::new(""),
            ]
        })
        .collect();
    let rejected: Vec<Vec<Cell>> = items("rejected")
        .iter()
        .map(|entry| {
            let reason = text(entry, "reason");
            vec![
                Cell::new(text(entry, "id")),
                Cell::of(Role::Error, format!("ignored: {reason}")),
            ]
        })
        .collect();
    for (title, rows) in [
        ("Profiles", profiles),
        ("Environment", keys),
        ("Unusable", rejected),
    ] {
        if !rows.is_empty() {
            print(&style.paint(Role::Heading, title));
            print(table(&rows, "  ", layout, style).trim_end());
        }
    }
    if items("profiles").is_empty() && items("env").is_empty() {
        print("No credentials.");
        print(&format!(
            "Add one: {}",
            call.command_line("models auth add --provider <id>")
        ));
    }
    Ok(0)
}

/// What can be said about a profile: whether it can be used, until when not, and when it ends.
fn state(profile: &Value, now: u64) -> Cell {
    let text = |key: &str| profile.get(key).and_then(Value::as_str);
    let number = |key: &str| profile.get(key).and_then(Value::as_u64);
    let left = |at: u64| {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        short(signed(at).saturating_sub(signed(now)))
    };
    let mut parts = Vec::new();
    let code = text("reasonCode").unwrap_or("ok");
    let mut role = match code {
        "ok" => Role::Ok,
        _ => Role::Error,
    };
    match (code, number("unavailableUntil")) {
        ("ok", Some(until)) => {
            role = Role::Warning;
            let reason = text("reason").unwrap_or("unknown");
            let word = match reason {
                "billing" | "auth_permanent" => "disabled",
                _ => "cooldown",
            };
            parts.push(format!("{word} {} ({reason})", left(until)));
        }
        _ => parts.push(code.to_owned()),
    }
    if let Some(at) = number("expiresAt").filter(|at| *at > now) {
        parts.push(format!("expires in {}", left(at)));
    }
    if profile.get("lastGood") == Some(&Value::Bool(true)) {
        parts.push("last good".to_owned());
    }
    if text("owner") == Some("main") {
        parts.push("of main".to_owned());
    }
    Cell::of(role, parts.join(", "))
}
