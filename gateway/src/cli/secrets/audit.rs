//! `secrets audit`: plain secrets, references that do not resolve, leftovers.

use openclaw_auth::{AuditOptions, AuditReport, Code, Finding, Severity};

use super::{Call, Node, print};
use crate::cli::args::flag;
use crate::cli::args::json;
use crate::cli::output::{Layout, print_json};
use crate::cli::tree::Outcome;

pub(super) const NODE: Node = Node {
    name: "audit",
    about: "Find plain secrets and references that do not resolve",
    build: |command| {
        command
            .after_help(
                "Exit code 2: a reference does not resolve. 1: findings, with --check. 3: programs \
             were not run, with --require-complete. 0: else. Nothing is changed.",
            )
            .args([
                flag("check", "Findings end with exit code 1"),
                json(),
                flag("allow-exec", "Run the programs of exec providers"),
                flag(
                    "strict",
                    "With --check, count suspected plain secrets as well",
                ),
                flag(
                    "require-complete",
                    "End with exit code 3 when programs were not run",
                ),
                flag("all", "Show every finding, not only the first 20"),
            ])
    },
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let is_set = |name: &str| matches.get_flag(name);
    let mut options = AuditOptions::default();
    options.allow_exec = is_set("allow-exec");
    let report = {
        let _waiting = call.waiting();
        call.options.audit(options)
    };
    if is_set("json") {
        print_json(&report.to_json());
    } else {
        let limit = if is_set("all") { usize::MAX } else { MOST };
        let shown = |finding: &Finding| call.shown(finding.file());
        print(&text_of(&report, limit, &Layout::of_stdout(), &shown));
    }
    Ok(report.exit_code(
        is_set("check"),
        is_set("strict"),
        is_set("require-complete"),
    ))
}

fn text_of(
    report: &AuditReport,
    limit: usize,
    layout: &Layout,
    file: &dyn Fn(&Finding) -> String,
) -> String {
    let mut lines = vec![layout.wrap(&report.summary_line(), "  ")];
    // What must be fixed is not to be hidden by the limit.
    let mut findings: Vec<&Finding> = report.findings().iter().collect();
    findings.sort_by_key(|finding| rank(finding.severity()));
    for finding in findings.iter().take(limit) {
        let path = finding.path();
        let at = match finding.line_column() {
            Some((line, column)) => format!("{}:{line}:{column}", file(finding)),
            None => file(finding),
        };
        // Many messages begin with the path.
        let message = finding.message().strip_prefix(path);
        let message = message.map_or(finding.message(), |rest| {
            rest.trim_start_matches([':', ' '])
        });
        let text = format!("- [{}] {at}:{path} {message}", finding.code());
        lines.push(layout.wrap(&text, "  "));
    }
    if findings.len() > limit {
        let more = findings.len() - limit;
        lines.push(format!("... {more} more finding(s); --all shows them."));
    }
    if findings.iter().any(|f| f.code() == Code::PlaintextFound) {
        let advice = "Move them to references: `openclaw-auth secrets configure`";
        lines.push(layout.wrap(advice, "  "));
    }
    lines.join("\n")
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        _ => 2,
    }
}

/// Most findings that are shown without being asked for all.
const MOST: usize = 20;
