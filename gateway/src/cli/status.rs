//! `models status`: models, credentials, and how long they last.

mod text;

use clap::Command;
use openclaw_auth::parse_duration;
use openclaw_auth::report::StatusOptions;

use super::args::{flag, json, option, plain, several};
use super::call::Call;
use super::output::{Failed, note, print, print_json};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "status",
    about: "Show models, credentials and how long they last",
    build: |command| arguments(command).after_help(AFTER_HELP),
    run: Some(run),
    below: &[],
};

/// The options; the group `models` has them too.
pub(super) fn arguments(command: Command) -> Command {
    command.args([
        json(),
        plain(),
        flag(
            "check",
            "Exit with 1 for expired or missing, 2 for expiring",
        ),
        several(
            "provider",
            "ID",
            "Only these providers; may be repeated or a list",
        ),
        option(
            "warn-within",
            "DURATION",
            "How soon an end is worth a warning; 0 turns it off [default: 24h]",
        )
        .value_parser(warn_within),
        flag(
            "allow-exec",
            "Also run exec providers to see whether they work",
        ),
    ])
}

/// A duration; a bare number is hours, and 0 turns the warning off.
fn warn_within(text: &str) -> Result<u64, String> {
    let is_bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    match text.chars().all(|c| c == '0') && is_bare {
        true => Ok(0),
        false => {
            let unit = if is_bare { "h" } else { "" };
            let parsed = parse_duration(&format!("{text}{unit}"));
            parsed.map_err(|error| error.message().to_owned())
        }
    }
}

/// `models status`.
pub(super) fn run(call: &Call<'_>) -> Outcome {
    let mut options = StatusOptions::default();
    options.agent = call.agent().map(str::to_owned);
    options.providers = call
        .list("provider")
        .into_iter()
        .map(str::to_owned)
        .collect();
    if let Some(ms) = call.number("warn-within") {
        options.warn_within_ms = ms;
    }
    let engine = call.open_with(
        call.options
            .clone()
            .tolerate_unresolved(true)
            .without_exec(!call.flag("allow-exec"))
            .run_exec_always(true),
    )?;
    let report = engine.status(&options).map_err(Failed::of_command)?;
    let document = report.to_json();
    if call.json() || call.flag("status-json") {
        print_json(&document);
    } else if call.flag("plain") || call.flag("status-plain") {
        print(report.resolved_default());
    } else {
        print(&text::human(call, &document));
    }
    if !call.flag("check") {
        return Ok(0);
    }
    note(&text::verdict(&document));
    Ok(report.exit_code())
}

const AFTER_HELP: &str = "Reads files only: nothing is written, refreshed, asked or run unless an \
     option says so.";
