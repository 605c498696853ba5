//! `models auth order`: which profiles of a provider an agent uses, and in which order.

use std::path::Path;

use clap::{Arg, ArgAction};
use openclaw_auth::Engine;
use serde_json::Value;

use super::super::args::json;
use super::super::output::{Failed, note, print, print_json};
use super::super::tree::{Node, plain};
use super::{Call, Outcome, failed, provider};

pub(super) const NODE: Node = Node {
    name: "order",
    about: "Which profiles of a provider are used, in which order",
    build: plain,
    run: None,
    below: &[
        Node {
            name: "get",
            about: "Show the order",
            build: |command| command.args([provider().required(true), json()]),
            run: Some(get),
            below: &[],
        },
        Node {
            name: "set",
            about: "Lock rotation to these profiles",
            build: |command| {
                let ids = Arg::new("ids")
                    .value_name("PROFILE")
                    .help("Profile ids, the first choice first")
                    .required(true)
                    .action(ArgAction::Append);
                // The usage that clap makes is wider than 80 columns.
                command
                    .override_usage(
                        "openclaw-auth models auth order set --provider <ID> <PROFILE>...",
                    )
                    .args([provider().required(true), ids, json()])
            },
            run: Some(set),
            below: &[],
        },
        Node {
            name: "clear",
            about: "Go back to the order of the configuration",
            build: |command| command.args([provider().required(true), json()]),
            run: Some(clear),
            below: &[],
        },
    ],
};

fn get(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let document = document(call, &engine)?;
    if call.json() {
        print_json(&document);
        return Ok(0);
    }
    let text = |key: &str| {
        document
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    print(&format!("Agent: {}", text("agentId")));
    print(&format!("Provider: {}", text("provider")));
    print(&format!(
        "Auth file: {}",
        call.shown(Path::new(text("authStorePath")))
    ));
    print(&order(call, &document));
    Ok(0)
}

fn set(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let provider = call.text("provider").unwrap_or_default();
    let ids: Vec<String> = call
        .matches()
        .get_many("ids")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    engine
        .set_order(call.agent(), provider, Some(&ids))
        .map_err(failed)?;
    let document = document(call, &engine)?;
    for problem in problems(call, &engine, &document, &ids)? {
        note(&format!("warning: {problem}"));
    }
    if call.json() {
        print_json(&document);
        return Ok(0);
    }
    let text = |key: &str| {
        document
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    print(&format!("Agent: {}", text("agentId")));
    print(&format!("Provider: {}", text("provider")));
    print(&order(call, &document));
    Ok(0)
}

fn clear(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let provider = call.text("provider").unwrap_or_default();
    let had_one = document(call, &engine)?
        .get("order")
        .is_some_and(Value::is_array);
    if had_one {
        engine
            .set_order(call.agent(), provider, None)
            .map_err(failed)?;
    }
    match (call.json(), had_one) {
        (true, _) => print_json(&document(call, &engine)?),
        (false, true) => print("Cleared per-agent order override."),
        (false, false) => print(&format!("No order override for {provider}.")),
    }
    Ok(0)
}

fn document(call: &Call<'_>, engine: &Engine) -> Result<Value, Failed> {
    let provider = call.text("provider").unwrap_or_default();
    engine.order_json(call.agent(), provider).map_err(failed)
}

fn order(call: &Call<'_>, document: &Value) -> String {
    let ids = document.get("order").and_then(Value::as_array);
    let ids = ids.map(|ids| ids.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let ids = ids.map_or_else(|| "(none)".to_owned(), |ids| ids.join(", "));
    call.layout().wrap(&format!("Order override: {ids}"), "  ")
}

/// What somebody may not have meant: profiles that cannot be used, and profiles left out.
fn problems(
    call: &Call<'_>,
    engine: &Engine,
    document: &Value,
    ids: &[String],
) -> Result<Vec<String>, Failed> {
    let provider = document
        .get("provider")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut problems = Vec::new();
    for id in ids {
        let code = engine
            .eligibility(call.agent(), id, provider)
            .map_err(failed)?;
        if code != openclaw_auth::Eligibility::Ok {
            problems.push(format!("{id} cannot be used now: {}", code.as_str()));
        }
    }
    let stored = engine
        .profiles_json(call.agent(), Some(provider))
        .map_err(failed)?;
    let stored = stored.get("profiles").and_then(Value::as_array);
    let stored = stored.into_iter().flatten();
    let left: Vec<&str> = stored
        .filter_map(|profile| profile.get("id")?.as_str())
        .filter(|id| !ids.iter().any(|known| known == id))
        .collect();
    if !left.is_empty() {
        problems.push(format!(
            "not in the order, so never used: {}",
            left.join(", ")
        ));
    }
    Ok(problems)
}
