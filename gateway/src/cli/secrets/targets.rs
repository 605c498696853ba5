//! `secrets targets`: every call that holds a secret.

use openclaw_auth::Target;
use serde_json::{Value, json};

use super::{Call, Failed, Node, print};
use crate::cli::args::flag;
use crate::cli::args::json;
use crate::cli::output::{Layout, print_json};
use crate::cli::tree::Outcome;

pub(super) const NODE: Node = Node {
    name: "targets",
    about: "List every call that holds a secret",
    build: |command| command.args([flag("all", "Also list places that could hold one"), json()]),
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let targets = call.options.targets(matches.get_flag("all"));
    let targets = targets.map_err(Failed::of_command)?;
    if matches.get_flag("json") {
        let targets: Vec<Value> = targets.iter().map(Target::to_json).collect();
        print_json(&json!({"version": 1, "targets": targets}));
        return Ok(0);
    }
    if targets.is_empty() {
        print("There is no call for a secret in this configuration.");
    }
    let layout = Layout::of_stdout();
    for target in &targets {
        print(&layout.wrap(&line_of(target), "    "));
    }
    Ok(0)
}

/// One target in one line.
pub(super) fn line_of(target: &Target) -> String {
    let mut line = format!("{} {}", target.path(), target.kind().as_str());
    for reference in target.references() {
        line.push(' ');
        line.push_str(reference);
    }
    match target.inactive_reason() {
        Some(reason) => format!("{line} (inactive: {reason})"),
        None => line,
    }
}
