//! Findings for people: 80 columns, every state also as a word.

use openclaw_auth::access::{AuditFinding, AuditSeverity, ChecklistLine};
use openclaw_auth::report::Verdict;

/// Columns of a line.
const WIDTH: usize = 80;

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
    let mut text = format!("{}  {}\n", finding.severity.as_str(), finding.check_id);
    for part in [finding.title, finding.detail.as_str()] {
        text.push_str(&wrapped(part, "  ", "  "));
    }
    let place = finding.path.as_str();
    if !place.is_empty() && !finding.detail.contains(place) {
        text.push_str(&wrapped(place, "  at ", "     "));
    }
    text.push_str(&wrapped(finding.remediation, "  fix: ", "       "));
    text
}

/// The checklist of the trusted-proxy mode.
pub(super) fn checklist(lines: &[(ChecklistLine, Verdict, String)]) -> String {
    let mut text = String::from("Trusted-proxy checklist\n");
    for (line, verdict, ground) in lines {
        let word = match verdict {
            Verdict::Holds => "ok",
            Verdict::Fails => "no",
            _ => "?",
        };
        text.push_str(&format!("  {word:<4}{}\n", line.as_str()));
        text.push_str(&wrapped(ground, "      ", "      "));
    }
    let unknown = |(_, verdict, _): &(_, Verdict, _)| *verdict == Verdict::Unknown;
    if lines.iter().any(unknown) {
        text.push_str("  To find out: openclaw-auth security probe --url URL --direct URL\n");
    }
    text
}

/// A text in lines, the first and the others begun with these.
pub(super) fn wrapped(text: &str, first: &str, other: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let width = line.chars().count() + word.chars().count() + usize::from(!is_empty);
        if width > WIDTH && !is_empty {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = other.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_words_are_never_cut() {
        let long = "word ".repeat(60);
        let text = wrapped(&long, "  fix: ", "       ");
        assert!(text.lines().count() > 3);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let id = "x".repeat(100);
        assert!(wrapped(&id, "  ", "  ").contains(&id));
    }

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
