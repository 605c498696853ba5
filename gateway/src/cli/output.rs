//! What reaches the terminal, and with which exit code the program ends.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_auth::{Class, Code, Error};
use serde_json::{Value, json};

use super::interrupt::INTERRUPTED;
use super::style::{Role, Style};
use crate::waiting;

/// Exit code of a usage error.
pub(super) const USAGE: u8 = 64;
/// Exit code when a question could not be answered.
const UNDECIDED: u8 = 3;

/// A command that failed: what to say, and how to end.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) exit: u8,
    /// Whether a program reads the error.
    json: bool,
}

impl Failed {
    /// A wrong command line.
    pub(super) fn usage(code: Code, message: &str) -> Self {
        Self {
            error: Error::new(code, message),
            exit: USAGE,
            json: false,
        }
    }

    /// Why a command could not be done.
    pub(super) fn of_command(error: Error) -> Self {
        let exit = match error.code() {
            Code::UsageError | Code::SecretOnCommandLine | Code::UnknownMethod => USAGE,
            Code::Cancelled | Code::OauthLoginCancelled => INTERRUPTED,
            _ => 1,
        };
        Self {
            error,
            exit,
            json: false,
        }
    }

    /// Why the answer of a command could not be found out.
    pub(super) fn undecided(error: Error) -> Self {
        match Self::of_command(error) {
            failed if failed.exit == USAGE => failed,
            failed => Self {
                exit: UNDECIDED,
                ..failed
            },
        }
    }

    /// The same with what to do about it.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            error: self.error.with_hint(hint),
            ..self
        }
    }

    /// The same, shown as one JSON document.
    pub(super) fn in_json(self) -> Self {
        Self { json: true, ..self }
    }

    /// Why the gateway did not start or stopped.
    pub(super) fn of_gateway(error: Error) -> Self {
        let exit = match (error.code(), error.class()) {
            (Code::UsageError | Code::SecretOnCommandLine, _) => USAGE,
            (Code::BindFailed, _) => 5,
            (code, _) if code.as_str().starts_with("tls_") => 6,
            (_, Class::Config | Class::Access) => 3,
            (_, Class::Secret) => 4,
            _ => 1,
        };
        Self {
            error,
            exit,
            json: false,
        }
    }
}

/// Prints to standard output. A closed pipe is not an error.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints one JSON document to standard output.
pub(super) fn print_json(document: &Value) {
    print(&format!("{document:#}"));
}

/// Tells something that is no result and no error: a notice, a hint, what comes next.
pub(super) fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        print_to_stderr(text);
    }
}

/// Keeps notices back.
pub(super) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints to standard error, whatever the options say.
pub(super) fn print_to_stderr(text: &str) {
    waiting::erase();
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a failure: one sentence, every collected problem when there are several, and what to
/// do.
pub(super) fn print_error(failed: &Failed) {
    if failed.json {
        print_to_stderr(&json!({"error": failed.error.to_json()}).to_string());
    } else {
        let layout = Layout::of_stderr();
        for line in text_of(&failed.error).lines() {
            let indent = match line.starts_with(' ') {
                true => "    ",
                false => "  ",
            };
            let line = layout.wrap(line, indent);
            print_to_stderr(&coloured(&line));
        }
    }
}

/// How wide text for people may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    width: usize,
}

impl Layout {
    /// As wide as the terminal; 80 columns when there is none, or when it is unbelievably narrow.
    pub(super) fn of_stdout() -> Self {
        Self { width: width() }
    }

    /// So many columns.
    pub(super) fn of(width: usize) -> Self {
        Self { width }
    }

    /// As wide as the terminal; elsewhere, lines of standard error are for searching and stay whole.
    pub(super) fn of_stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self {
            width: if is_terminal { width() } else { usize::MAX },
        }
    }

    /// Columns of a line.
    pub(super) fn width(self) -> usize {
        self.width
    }

    /// Breaks a line at blanks; further lines begin with `indent`. Words are never cut, and
    /// characters that could disturb a terminal become blanks.
    pub(super) fn wrap(self, line: &str, indent: &str) -> String {
        let mut text = String::new();
        let mut used = 0;
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let begin = line.len() - line.trim_start().len();
        text.push_str(line.get(..begin).unwrap_or_default());
        used += begin;
        let mut is_first = true;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if !is_first && used + 1 + length > self.width {
                text.push('\n');
                text.push_str(indent);
                used = indent.len();
            } else if !is_first {
                text.push(' ');
                used += 1;
            }
            text.push_str(word);
            used += length;
            is_first = false;
        }
        text
    }
}

/// Columns of standard output.
pub(super) fn width() -> usize {
    let columns = match io::stdout().is_terminal() {
        true => columns(),
        false => None,
    };
    let columns = columns.filter(|columns| *columns >= NARROWEST);
    columns.unwrap_or(USUAL_WIDTH)
}

#[cfg(unix)]
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn columns() -> Option<usize> {
    None
}

const USUAL_WIDTH: usize = 80;
const NARROWEST: usize = 40;

/// A line of an error with its first word in colour.
fn coloured(line: &str) -> String {
    let style = Style::stderr();
    for (word, role) in [("error:", Role::Error), ("hint:", Role::Accent)] {
        if let Some(rest) = line.strip_prefix(word) {
            return format!("{}{rest}", style.paint(role, word));
        }
    }
    line.to_owned()
}

fn text_of(error: &Error) -> String {
    let code = error.code();
    // The line says it all already, and a code helps nobody to type it right.
    if code == Code::UsageError {
        let hint = error.hint().map(|hint| format!("\n{hint}"));
        return format!("error: {}{}", error.message(), hint.unwrap_or_default());
    }
    // Secrets that did not resolve say themselves which settings need them and what to do.
    let rendered = error.details().get("text").and_then(Value::as_str);
    if let Some((head, failures)) = rendered.and_then(|text| text.split_once('\n')) {
        return format!("error: {head} ({code})\n{failures}");
    }
    if let Some(text) = invalid_configuration(error) {
        return text;
    }
    let mut text = format!("error: {} ({code})", error.message());
    let list = |key: &str| error.details().get(key).and_then(Value::as_array);
    // Of the configuration files, or of the access settings. A single one is what the message says.
    let issues = list("issues").or_else(|| list("problems"));
    for issue in issues
        .filter(|issues| issues.len() > 1)
        .into_iter()
        .flatten()
    {
        text.push_str("\n  ");
        text.push_str(&line_of(issue));
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    text
}

/// What is wrong with a configuration file, line by line; `None` for other errors.
fn invalid_configuration(error: &Error) -> Option<String> {
    let issues = error.details().get("issues")?.as_array()?;
    let text = |issue: &Value, key: &str| Some(issue.get(key)?.as_str()?.to_owned());
    let bad = issues.iter().filter(|issue| {
        let severity = issue.get("severity").and_then(Value::as_str);
        severity.is_none_or(|severity| severity == "error")
    });
    let bad: Vec<&Value> = bad.collect();
    let file = bad.iter().find_map(|issue| text(issue, "file"))?;
    let mut lines = format!("Configuration is invalid: {file}");
    for issue in bad {
        let number = |key: &str| issue.get(key).and_then(Value::as_u64);
        let elsewhere = text(issue, "file").filter(|other| *other != file);
        let elsewhere = elsewhere
            .map(|other| format!("{other}: "))
            .unwrap_or_default();
        let place = match (number("line"), number("column")) {
            (Some(line), Some(column)) => format!("line {line}, column {column}: "),
            _ => String::new(),
        };
        let message = text(issue, "message").unwrap_or_default();
        let path = text(issue, "path").filter(|it| !it.is_empty() && !message.contains(it));
        let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
        let code = text(issue, "code").unwrap_or_default();
        let hint = text(issue, "hint")
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        lines.push_str(&format!(
            "\n  {elsewhere}{place}{path}{message} ({code}){hint}"
        ));
    }
    lines.push_str("\nRun: openclaw-auth doctor");
    Some(lines)
}

/// One issue of the settings in one line.
fn line_of(issue: &Value) -> String {
    let text = |key: &str| issue.get(key).and_then(Value::as_str);
    let (Some(code), Some(message)) = (text("code"), text("message")) else {
        return issue.to_string();
    };
    let number = |key: &str| issue.get(key).and_then(Value::as_u64);
    let place = match (text("file"), number("line"), number("column")) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (Some(file), _, _) => format!("{file}: "),
        _ => String::new(),
    };
    let path = text("path").filter(|path| !path.is_empty() && !message.contains(path));
    let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
    let hint = text("hint")
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    format!("{place}{path}{message} ({code}){hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_that_failed_are_shown_with_their_users_and_hints() {
        let error = Error::new(Code::SecretUnresolved, "secrets: one (and 1 more)")
            .with("failures", json!([{"code": "a"}, {"code": "b"}]))
            .with(
                "text",
                "secrets (2 failures)\n- one\n    used by x\n    hint: y\n- two",
            )
            .with_hint("y");
        assert_eq!(
            text_of(&error),
            "error: secrets (2 failures) (secret_unresolved)\n- one\n    used by x\n    \
             hint: y\n- two"
        );
    }

    #[test]
    fn several_issues_are_shown_with_their_places() {
        let issue = |line: Option<u64>, path: &str, hint: Option<&str>| {
            json!({
                "code": "c", "message": "m", "file": "/f", "line": line, "column": line,
                "path": path, "hint": hint,
            })
        };
        let error =
            |issues: Value| Error::new(Code::ConfigUnknownKey, "one").with("issues", issues);
        let several = json!([issue(Some(7), "a.b", Some("h")), issue(None, "", None)]);
        assert_eq!(
            text_of(&error(several)),
            "Configuration is invalid: /f\n  line 7, column 7: a.b: m (c); h\n  m (c)\n\
             Run: openclaw-auth doctor"
        );
        assert_eq!(
            text_of(&error(json!([issue(Some(7), "a", None)])).with_hint("h")),
            "Configuration is invalid: /f\n  line 7, column 7: a: m (c)\n\
             Run: openclaw-auth doctor"
        );
    }

    #[test]
    fn lines_break_at_blanks_only() {
        let layout = Layout { width: 20 };
        for (line, expected) in [
            ("", ""),
            ("- short", "- short"),
            ("  hint: kept in front", "  hint: kept in\n    front"),
            ("one two three four five", "one two three four\n    five"),
            (
                "a models.providers.openai.apiKey b",
                "a\n    models.providers.openai.apiKey\n    b",
            ),
            ("a\u{1b}[31mb\nc", "a [31mb c"),
        ] {
            assert_eq!(layout.wrap(line, "    "), expected, "{line:?}");
        }
    }

    #[test]
    fn exit_codes_of_the_gateway() {
        for (code, exit) in [
            (Code::ConfigParseError, 3),
            (Code::GatewayAuthModeAmbiguous, 3),
            (Code::SecretUnresolved, 4),
            (Code::BindFailed, 5),
            (Code::TlsKeyMismatch, 6),
            (Code::UsageError, 64),
            (Code::SecretOnCommandLine, 64),
            (Code::GatewayFileFailed, 1),
            (Code::InternalError, 1),
        ] {
            assert_eq!(
                Failed::of_gateway(Error::new(code, "x")).exit,
                exit,
                "{code}"
            );
        }
    }
}
