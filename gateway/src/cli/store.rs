//! `openclaw-auth store`: the file that holds the credentials.

use openclaw_auth::{Engine, Severity, StoreRepair};

use super::args::{agent, json, yes};
use super::call::Call;
use super::output::{Failed, note, print, print_json};
use super::style::{Role, Style};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "store",
    about: "The file that holds the credentials",
    build: |command| command.arg(agent()),
    run: None,
    below: &[
        Node {
            name: "check",
            about: "Look for damage and leftovers; changes nothing",
            build: |command| {
                command.arg(json()).after_help(
                    "Exit codes: 0 nothing is wrong, 1 the store cannot be used, 3 warnings only.",
                )
            },
            run: Some(check),
            below: &[],
        },
        Node {
            name: "migrate",
            about: "Take over credentials that older releases left",
            build: |command| command.arg(json()),
            run: Some(migrate),
            below: &[],
        },
        Node {
            name: "repair",
            about: "Save what can be read of a damaged store; the old file is kept",
            build: |command| command.args([yes(), json()]),
            run: Some(repair),
            below: &[],
        },
    ],
};

/// `store check`.
fn check(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let check = engine.store_check(call.agent()).map_err(failed)?;
    if call.json() {
        print_json(&check.to_json());
        return Ok(check.exit_code());
    }
    let (style, layout) = (Style::stdout(), call.layout());
    let state = match check.exists {
        true => profiles(check.profiles),
        false => "no store yet".to_owned(),
    };
    print(&layout.wrap(&format!("{}: {state}", call.shown(&check.path)), "  "));
    for finding in &check.findings {
        let role = match finding.severity {
            Severity::Error => Role::Error,
            _ => Role::Warning,
        };
        let line = format!("{} ({})", finding.message, finding.code);
        let text = format!("{} {}", style.mark(role), layout.wrap(&line, "  "));
        print(&text);
        if let Some(hint) = &finding.hint {
            print(&layout.wrap(&format!("  hint: {hint}"), "    "));
        }
    }
    if check.findings.is_empty() {
        print(&format!("{} nothing is wrong", style.mark(Role::Ok)));
    }
    Ok(check.exit_code())
}

/// `store migrate`.
fn migrate(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let done = engine.store_migrate(call.agent()).map_err(failed)?;
    if call.json() {
        print_json(&done.to_json());
        return Ok(0);
    }
    match done.needed {
        true => show(call, &done, "Taken over"),
        false => print("There is nothing to take over."),
    }
    Ok(0)
}

/// `store repair`: shows what would be left, and writes it when somebody agrees.
fn repair(call: &Call<'_>) -> Outcome {
    let engine: Engine = call.open()?;
    let shown = engine.store_repair(call.agent(), false).map_err(failed)?;
    if !shown.needed {
        match call.json() {
            true => print_json(&shown.to_json()),
            false => print(&format!("{} is in order.", call.shown(&shown.path))),
        }
        return Ok(0);
    }
    let saved = shown.profiles.join(", ");
    note(&format!(
        "{} is damaged. What can be saved: {saved}",
        call.shown(&shown.path)
    ));
    if !call.agrees(
        "Write a store of these profiles, and keep the old file beside it?",
        false,
    )? {
        note("Nothing was written.");
        return Ok(1);
    }
    let done = engine.store_repair(call.agent(), true).map_err(failed)?;
    match call.json() {
        true => print_json(&done.to_json()),
        false => show(call, &done, "Saved"),
    }
    Ok(0)
}

fn show(call: &Call<'_>, done: &StoreRepair, word: &str) {
    let line = format!("{word}: {}", done.profiles.join(", "));
    print(&call.layout().wrap(&line, "  "));
    print(&format!("Store: {}", call.shown(&done.path)));
    if let Some(copy) = &done.copy {
        print(&format!("Old file: {}", call.shown(copy)));
    }
}

/// A number of profiles in words.
pub(super) fn profiles(count: usize) -> String {
    match count {
        1 => "1 profile".to_owned(),
        count => format!("{count} profiles"),
    }
}

fn failed(error: openclaw_auth::Error) -> Failed {
    Failed::of_command(error)
}
