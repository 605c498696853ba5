//! `secrets apply`: does what a plan says.

use std::path::Path;

use openclaw_auth::{ApplyOptions, Code, Error, Plan, Registry};
use serde_json::Value;

use super::{Call, Failed, Node, file_of, print};
use crate::cli::args::json;
use crate::cli::args::{flag, path};
use crate::cli::output::{Layout, print_json, print_to_stderr};
use crate::cli::tree::Outcome;

pub(super) const NODE: Node = Node {
    name: "apply",
    about: "Move secrets to references as a plan says",
    build: |command| {
        command
            .after_help(
                "Everything is tried before anything is written: every file is written, or none. \
             Comments and layout stay.",
            )
            .args([
                path("from", "FILE", "The plan").required(true),
                flag("dry-run", "Do everything except writing"),
                flag("allow-exec", "Run the programs that the plan names"),
                json(),
            ])
    },
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let from = file_of(call, "from").unwrap_or_default();
    let text = call.read(&from, MAX_PLAN)?;
    let document: Value = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!(
            "{}: is not JSON (line {line}, column {column})",
            from.display()
        );
        Failed::of_command(Error::new(Code::PlanInvalid, message))
    })?;
    let plan = Plan::parse(&document, &Registry::new()).map_err(Failed::of_command)?;
    let mut options = ApplyOptions::default();
    options.dry_run = matches.get_flag("dry-run");
    options.allow_exec = matches.get_flag("allow-exec");
    let report = {
        let _waiting = call.waiting();
        call.options.apply(&plan, options)
    };
    let report = report.map_err(Failed::of_command)?;
    if matches.get_flag("json") {
        print_json(&report.to_json());
        return Ok(0);
    }
    let layout = Layout::of_stdout();
    for warning in report.warnings() {
        print_to_stderr(&layout.wrap(&format!("warning: {warning}"), "  "));
    }
    let shown = |file: &str| call.shown(Path::new(file));
    print(&text_of(&report.to_json(), &layout, &shown));
    Ok(0)
}

fn text_of(report: &Value, layout: &Layout, file: &dyn Fn(&str) -> String) -> String {
    let list = |name: &str| report.get(name).and_then(Value::as_array);
    let edits = list("edits").map_or(&[][..], Vec::as_slice);
    let files = list("changedFiles").map_or(0, Vec::len);
    let is_dry = report.get("mode").and_then(Value::as_str) == Some("dry-run");
    let count = edits.len();
    let head = match (is_dry, count) {
        (_, 0) => "Secrets apply: nothing to change.".to_owned(),
        (true, _) => format!(
            "Secrets apply: would make {count} change(s) in {files} file(s). Nothing was written."
        ),
        (false, _) => format!("Secrets apply: made {count} change(s) in {files} file(s)."),
    };
    let mut lines = vec![layout.wrap(&head, "  ")];
    for edit in edits {
        let text = |name: &str| edit.get(name).and_then(Value::as_str).unwrap_or_default();
        let line = format!(
            "- {} {}: {}",
            text("action"),
            file(text("file")),
            text("path")
        );
        lines.push(layout.wrap(&line, "  "));
    }
    let skipped = report.get("skippedExecRefs").and_then(Value::as_u64);
    if let Some(count) = skipped.filter(|count| *count > 0) {
        let line =
            format!("{count} exec ref(s) were not resolved; --allow-exec runs the programs.");
        lines.push(layout.wrap(&line, "  "));
    }
    lines.join("\n")
}

/// Most bytes of a plan.
const MAX_PLAN: u64 = 16 << 20;
