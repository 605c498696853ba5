//! Findings for people: every state also as a word.

use openclaw_auth::access::{AuditFinding, AuditSeverity, ChecklistLine};
use openclaw_auth::report::Verdict;

use super::super::output::Layout;
use super::super::style::{Role, Style};

/// `1 critical, 2 warn, 1 info`.
pub(super) fn summary(findings: &[AuditFinding]) -> String {
    let count = |severity: AuditSeverity| {
        let all = findings.iter();
        let count = all.filter(|finding| finding.severity == severity).count();
        format!("{count} {}", severity.as_str())
    };
    SEVERITIES.map(count).join(", ")
}

const SEVERITIES: [AuditSeverity; 3] = [
    AuditSeverity::Critical,
    AuditSeverity::Warn,
    AuditSeverity::Info,
];

/// One finding in a few lines.
pub(super) fn finding(finding: &AuditFinding) -> String {
    let layout = Layout::of_stdout();
    let role = match finding.severity {
        AuditSeverity::Critical => Role::Error,
        AuditSeverity::Warn => Role::Warning,
        _ => Role::Muted,
    };
    let severity = Style::stdout().paint(role, finding.severity.as_str());
    let mut text = format!("{severity}  {}\n", finding.check_id);
    let mut add = |line: String, indent: &str| {
        text.push_str(&layout.wrap(&line, indent));
        text.push('\n');
    };
    for part in [finding.title, finding.detail.as_str()] {
        add(format!("  {part}"), "  ");
    }
    let place = finding.path.as_str();
    if !place.is_empty() && !finding.detail.contains(place) {
        add(format!("  at {place}"), "     ");
    }
    add(format!("  fix: {}", finding.remediation), "       ");
    text
}

/// The checklist of the trusted-proxy mode.
pub(super) fn checklist(lines: &[(ChecklistLine, Verdict, String)]) -> String {
    let (layout, style) = (Layout::of_stdout(), Style::stdout());
    let mut text = style.paint(Role::Heading, "Trusted-proxy checklist");
    text.push('\n');
    for (line, verdict, ground) in lines {
        let (word, role) = match verdict {
            Verdict::Holds => ("ok  ", Role::Ok),
            Verdict::Fails => ("no  ", Role::Error),
            _ => ("?   ", Role::Warning),
        };
        text.push_str(&format!("  {}{}\n", style.paint(role, word), line.as_str()));
        text.push_str(&layout.wrap(&format!("      {ground}"), "      "));
        text.push('\n');
    }
    let unknown = |(_, verdict, _): &(_, Verdict, _)| *verdict == Verdict::Unknown;
    if lines.iter().any(unknown) {
        text.push_str("  To find out: openclaw-auth security probe --url URL --direct URL\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_from_top_to_bottom() {
        let found = AuditFinding::new(
            "gateway.x",
            AuditSeverity::Warn,
            "A title",
            "A detail.".to_owned(),
            "A remedy.",
        )
        .at("gateway.y".to_owned());
        assert_eq!(
            finding(&found),
            "warn  gateway.x\n  A title\n  A detail.\n  at gateway.y\n  fix: A remedy.\n"
        );
        assert_eq!(summary(&[found]), "0 critical, 1 warn, 0 info");
    }
}
