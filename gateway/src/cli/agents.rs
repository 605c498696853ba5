//! `openclaw-auth agents`: isolated agents.

use std::path::Path;

use clap::Arg;
use openclaw_auth::{CopyAuth, NewAgent};
use serde_json::Value;

use super::args::{flag, json, option, path, several};
use super::call::Call;
use super::edits::report_edit;
use super::output::{Failed, note, print, print_json};
use super::store;
use super::style::{Role, Style};
use super::table::{Cell, table};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "agents",
    about: "Agents, each with credentials of its own",
    build: |command| command,
    run: None,
    below: &[
        Node {
            name: "add",
            about: "Add an agent with an empty store of its own",
            build: |command| {
                command.args([
                    Arg::new("name")
                        .value_name("NAME")
                        .help("What it is called")
                        .required(true),
                    path(
                        "workspace",
                        "DIR",
                        "Workspace [default: workspace-<id> in the state folder]",
                    ),
                    path("agent-dir", "DIR", "Folder of its store"),
                    option("model", "MODEL", "Its own default model"),
                    option(
                        "copy-auth",
                        "WHAT",
                        "Credentials it gets: none, static or all [default: none]",
                    )
                    .value_parser(["none", "static", "all"])
                    .hide_possible_values(true),
                    option(
                        "from",
                        "AGENT",
                        "Whose credentials [default: the default agent's]",
                    ),
                    several(
                        "bind",
                        "CHANNEL",
                        "Channel it answers, as channel or channel:account",
                    ),
                    flag("non-interactive", "Accepted; nothing is ever asked"),
                    json(),
                ])
            },
            run: Some(add),
            below: &[],
        },
        Node {
            name: "list",
            about: "List the agents",
            build: |command| command.arg(json()),
            run: Some(list),
            below: &[],
        },
        Node {
            name: "delete",
            about: "Delete an agent; its folders move to the trash folder",
            build: |command| {
                command.args([
                    Arg::new("id")
                        .value_name("AGENT")
                        .help("Its id")
                        .required(true),
                    flag("force", "Do not ask for confirmation").visible_alias("yes"),
                    flag("keep-files", "Leave its folders where they are"),
                    json(),
                ])
            },
            run: Some(delete),
            below: &[],
        },
    ],
};

/// `agents add`.
fn add(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let name = call.text("name").unwrap_or_default();
    let copy = call
        .text("copy-auth")
        .and_then(CopyAuth::parse)
        .unwrap_or_default();
    if copy == CopyAuth::All {
        note("warning: two agents that share a refresh token log each other out");
    }
    let mut new = NewAgent::default();
    new.name = name.to_owned();
    new.workspace = call.path("workspace");
    new.agent_dir = call.path("agent-dir");
    new.model = call.text("model").map(str::to_owned);
    new.copy = copy;
    new.from = call.text("from").map(str::to_owned);
    new.bindings = call.list("bind").into_iter().map(str::to_owned).collect();
    let added = engine.add_agent(&new).map_err(Failed::of_command)?;
    if added.id != name {
        note(&format!("Normalized agent id to \"{}\".", added.id));
    }
    report_edit(Ok(added.edit));
    if call.json() {
        print_json(&added.document);
        return Ok(0);
    }
    let folder = |key: &str| {
        let text = added.document.get(key).and_then(Value::as_str);
        call.shown(Path::new(text.unwrap_or_default()))
    };
    print(&format!("Agent: {}", added.id));
    print(&format!("Workspace: {}", folder("workspace")));
    print(&format!("Agent dir: {}", folder("agentDir")));
    for (key, word) in [("copied", "Copied"), ("skipped", "Not copied")] {
        let ids: Vec<&str> = strings(&added.document, key).collect();
        if !ids.is_empty() {
            print(
                &call
                    .layout()
                    .wrap(&format!("{word}: {}", ids.join(", ")), "  "),
            );
        }
    }
    let words = format!("models auth add --agent {}", added.id);
    note(&format!("Next: {}", call.command_line(&words)));
    Ok(0)
}

/// `agents list`.
fn list(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let agents = engine.agents_json();
    if call.json() {
        print_json(&agents);
        return Ok(0);
    }
    let rows: Vec<Vec<Cell>> = agents
        .as_array()
        .into_iter()
        .flatten()
        .map(|agent| {
            let text = |key: &str| agent.get(key).and_then(Value::as_str).unwrap_or_default();
            let is_default = agent.get("isDefault") == Some(&Value::Bool(true));
            let profiles = agent.get("profiles").and_then(Value::as_u64);
            let profiles = profiles.map_or_else(
                || "no store".to_owned(),
                |n| store::profiles(usize::try_from(n).unwrap_or_default()),
            );
            vec![
                Cell::new(text("id")),
                Cell::of(Role::Muted, if is_default { "default" } else { "" }),
                Cell::new(profiles),
                Cell::new(text("model")),
                Cell::of(Role::Muted, call.shown(Path::new(text("agentDir")))),
            ]
        })
        .collect();
    print(table(&rows, "", call.layout(), Style::stdout()).trim_end());
    Ok(0)
}

/// `agents delete`.
fn delete(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let id = call.text("id").unwrap_or_default();
    if !call.flag("force") {
        if !call.is_interactive() {
            let message = "Non-interactive. Re-run with --force.";
            let error = openclaw_auth::Error::new(openclaw_auth::Code::NeedsTerminal, message);
            return Err(Failed::of_command(error));
        }
        if !call.agrees(&format!("Delete agent {id}?"), false)? {
            note("Nothing was deleted.");
            return Ok(1);
        }
    }
    let done = engine
        .delete_agent(id, call.flag("keep-files"))
        .map_err(Failed::of_command)?;
    for (folder, reason) in &done.kept {
        note(&format!("kept: {} ({reason})", call.shown(folder)));
    }
    report_edit(Ok(done.edit));
    if call.json() {
        print_json(&done.document);
        return Ok(0);
    }
    let text = |key: &str| done.document.get(key).and_then(Value::as_str);
    print(&format!(
        "Deleted agent: {}",
        text("agentId").unwrap_or_default()
    ));
    if let Some(trash) = text("trash") {
        print(&format!("Moved to: {}", call.shown(Path::new(trash))));
    }
    Ok(0)
}

fn strings<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    let items = value.get(key).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str)
}
