//! `doctor`: everything that can be wrong with an installation, and safe repairs.

use std::collections::BTreeMap;

use openclaw_auth::report::{
    DoctorCheck, DoctorFinding, DoctorOptions, DoctorReport, RepairDone, doctor_checks,
};
use openclaw_auth::{Code, Severity};

use super::args::{flag, json, option, several, yes};
use super::call::Call;
use super::output::{Failed, Layout, note, print, print_json, print_to_stderr};
use super::style::{Role, Style};
use super::table::{Cell, table};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node =
    Node {
        name: "doctor",
        about: "Diagnose an installation, and repair what is safe to repair",
        build: |command| {
            command
            .args([
                json(),
                flag("lint", "Exit with 1 when there is a finding"),
                option("severity-min", "SEVERITY", "Least severity that --lint counts")
                    .value_parser(["info", "warning", "error"])
                    .default_value("warning"),
                flag("fix", "Repair what is safe; each repair is shown first").alias("repair"),
                flag("dry-run", "With --fix, only show the repairs").requires("fix"),
                yes().help("Repair without asking"),
                flag("non-interactive", "Repair only what needs no question"),
                several("only", "CHECK", "Only these checks; may be repeated or a list"),
                several("skip", "CHECK", "Not these checks; may be repeated or a list"),
                flag("deep", "Also contact token endpoints and the gateway"),
                flag("allow-exec", "Also run exec providers"),
                option("agent", "ID", "Only the store of this agent [default: all agents]"),
                flag("list-checks", "List the checks, and end"),
            ])
            .after_help(
                "Exit code 0 once there is a report. With --lint 1 for a finding of that severity. \
                 With --fix 1 when a repair failed or an error is left. Without --fix nothing is \
                 changed.",
            )
        },
        run: Some(run),
        below: &[],
    };

fn run(call: &Call<'_>) -> Outcome {
    if call.flag("list-checks") {
        list_checks(call);
        return Ok(0);
    }
    let mut options = DoctorOptions::default();
    let owned = |name: &str| call.list(name).into_iter().map(str::to_owned).collect();
    options.agent = call.agent().map(str::to_owned);
    options.only = owned("only");
    options.skip = owned("skip");
    options.deep = call.flag("deep");
    options.allow_exec = call.flag("allow-exec");
    let is_fixing = call.flag("fix") && !call.flag("dry-run");
    let report = {
        // Questions and a changing line do not go together.
        let _waiting = (!is_fixing).then(|| call.waiting());
        match is_fixing {
            true => call
                .options
                .doctor_fix(&options, &mut |finding| agrees(call, finding)),
            false => call.options.doctor(&options),
        }
    };
    let report = report.map_err(|error| match error.code() {
        Code::InvalidArgument => {
            let hint = error
                .hint()
                .unwrap_or("--list-checks lists them")
                .to_owned();
            Failed::usage(Code::UsageError, error.message()).with_hint(hint)
        }
        _ => Failed::of_command(error),
    })?;
    if call.json() {
        print_json(&report.to_json());
    } else {
        print(&human(call, &report));
    }
    Ok(exit(call, &report))
}

fn exit(call: &Call<'_>, report: &DoctorReport) -> u8 {
    if let Some(repairs) = report.repairs() {
        let failed = repairs.iter().any(|done| done.status() == "failed");
        return u8::from(failed || !report.is_ok());
    }
    let least = match call.text("severity-min") {
        Some("info") => 0,
        Some("error") => 2,
        _ => 1,
    };
    let counts = |finding: &DoctorFinding| rank(finding.severity()) >= least;
    u8::from(call.flag("lint") && report.findings().iter().any(counts))
}

/// Whether a repair is to be done. It is shown in any case.
fn agrees(call: &Call<'_>, finding: &DoctorFinding) -> bool {
    let repair = finding.repair().unwrap_or_default();
    let line = format!("{}: {repair}", finding.check_id());
    if !finding.asks() || call.flag("yes") {
        note(&line);
        return true;
    }
    if call.flag("non-interactive") || !call.is_interactive() {
        note(&format!("{line} (not done; add --yes)"));
        return false;
    }
    print_to_stderr(&line);
    // An answer that cannot be read is no consent.
    call.agrees("Do it?", false).unwrap_or(false)
}

fn human(call: &Call<'_>, report: &DoctorReport) -> String {
    let (layout, style) = (call.layout(), Style::stdout());
    let mut areas: Vec<(&str, Vec<&DoctorFinding>)> = Vec::new();
    for check in doctor_checks() {
        if !areas.iter().any(|(area, _)| *area == check.area) {
            areas.push((check.area, Vec::new()));
        }
    }
    for finding in report.findings() {
        if let Some((_, list)) = areas.iter_mut().find(|(area, _)| *area == finding.area()) {
            list.push(finding);
        }
    }
    let narrowed = !call.list("only").is_empty();
    let mut blocks = Vec::new();
    for (area, mut findings) in areas {
        let title = style.paint(Role::Heading, area);
        if findings.is_empty() {
            if !narrowed {
                let line = match report.has_examined(area) {
                    true => format!("{} nothing found", style.mark(Role::Ok)),
                    false => format!(
                        "{} not examined, because the configuration cannot be used",
                        style.mark(Role::Muted)
                    ),
                };
                blocks.push(format!("{title}\n  {line}\n"));
            }
            continue;
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding.severity())));
        let lines: String = findings
            .into_iter()
            .map(|finding| lines_of(finding, layout, style))
            .collect();
        blocks.push(format!("{title}\n{lines}"));
    }
    if let Some(repairs) = report.repairs() {
        blocks.push(repaired(repairs, layout, style));
    } else if call.flag("fix") {
        blocks.push(planned(report, layout, style));
    }
    blocks.push(summary(call, report, layout));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n").trim_end().to_owned()
}

fn lines_of(finding: &DoctorFinding, layout: Layout, style: Style) -> String {
    let role = role_of(finding.severity());
    let word = match finding.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        _ => "note",
    };
    let line = format!("  {word}: {} [{}]", finding.message(), finding.check_id());
    let line = layout.wrap(&line, "    ");
    let painted = style.paint(role, word);
    let mut text = line.replacen(word, &painted, 1);
    text.push('\n');
    let hint = finding.fix_hint();
    if !hint.is_empty() {
        text.push_str(&layout.wrap(&format!("    fix: {hint}"), "         "));
        text.push('\n');
    }
    text
}

fn repaired(repairs: &[RepairDone], layout: Layout, style: Style) -> String {
    if repairs.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<Cell>> = repairs
        .iter()
        .map(|done| {
            let role = match done.status() {
                "repaired" => Role::Ok,
                "failed" => Role::Error,
                _ => Role::Muted,
            };
            vec![Cell::of(role, done.status()), Cell::new(done.detail())]
        })
        .collect();
    let title = style.paint(Role::Heading, "Repairs");
    format!("{title}\n{}", table(&rows, "  ", layout, style))
}

fn planned(report: &DoctorReport, layout: Layout, style: Style) -> String {
    let mut text = String::new();
    for finding in report.findings() {
        if let Some(repair) = finding.repair() {
            let asks = if finding.asks() { " (asks first)" } else { "" };
            text.push_str(&layout.wrap(&format!("  would {repair}{asks}"), "    "));
            text.push('\n');
        }
    }
    match text.is_empty() {
        true => String::new(),
        false => format!("{}\n{text}", style.paint(Role::Heading, "Repairs")),
    }
}

fn summary(call: &Call<'_>, report: &DoctorReport, layout: Layout) -> String {
    let count = |severity: Severity, one: &str, many: &str| match report.count(severity) {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let mut line = format!(
        "{}, {}, {}.",
        count(Severity::Error, "error", "errors"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Info, "note", "notes"),
    );
    let repairable = report
        .findings()
        .iter()
        .filter(|it| it.repair().is_some())
        .count();
    if repairable > 0 && !call.flag("fix") {
        let command = call.command_line("doctor --fix");
        line.push_str(&format!(" {repairable} can be repaired: `{command}`"));
    }
    layout.wrap(&line, "  ")
}

fn list_checks(call: &Call<'_>) {
    let checks: Vec<DoctorCheck> = doctor_checks().collect();
    if call.json() {
        let row = |check: &DoctorCheck| {
            serde_json::json!({
                "id": check.id, "area": check.area, "severity": check.severity.as_str(),
                "about": check.about, "fix": check.fix,
            })
        };
        print_json(&checks.iter().map(row).collect());
        return;
    }
    let mut areas: BTreeMap<usize, (&str, Vec<Vec<Cell>>)> = BTreeMap::new();
    for (index, check) in checks.iter().enumerate() {
        let row = vec![
            Cell::new(check.id),
            Cell::of(role_of(check.severity), check.severity.as_str()),
            Cell::new(check.about),
        ];
        match areas.values_mut().find(|(area, _)| *area == check.area) {
            Some((_, rows)) => rows.push(row),
            None => {
                areas.insert(index, (check.area, vec![row]));
            }
        }
    }
    let style = Style::stdout();
    let blocks: Vec<String> = areas
        .values()
        .map(|(area, rows)| {
            let title = style.paint(Role::Heading, area);
            format!("{title}\n{}", table(rows, "  ", call.layout(), style))
        })
        .collect();
    print(blocks.join("\n").trim_end());
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 2,
        Severity::Warning => 1,
        _ => 0,
    }
}

fn role_of(severity: Severity) -> Role {
    match severity {
        Severity::Error => Role::Error,
        Severity::Warning => Role::Warning,
        _ => Role::Muted,
    }
}
