//! Asking people, without showing what they paste.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use openclaw_auth::{Code, SecretText};

use super::super::output::Failed;

/// Most bytes of standard input that are read for one secret.
const MAX_INPUT: u64 = 64 * 1024;

/// Whether a person sits at standard input.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// A secret: asked for without echo on a terminal, otherwise the first line with something in it.
///
/// # Errors
///
/// `usage_error` when there is nothing.
pub(super) fn secret(question: &str) -> Result<SecretText, Failed> {
    let text = if is_terminal() {
        rpassword::prompt_password(format!("{question}: ")).map_err(|error| unreadable(&error))?
    } else {
        from_stdin()?
    };
    Ok(SecretText::new(text))
}

/// Everything up to the end, because wrapped tokens have several lines.
fn from_stdin() -> Result<String, Failed> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text);
    read.map_err(|error| unreadable(&error))?;
    Ok(text)
}

/// A line of a person, shown as it is typed.
pub(super) fn line(question: &str) -> Result<String, Failed> {
    let mut out = io::stderr().lock();
    let asked = write!(out, "{question}: ").and_then(|()| out.flush());
    asked.map_err(|error| unreadable(&error))?;
    let mut text = String::new();
    io::stdin()
        .lock()
        .read_line(&mut text)
        .map_err(|error| unreadable(&error))?;
    Ok(text.trim().to_owned())
}

/// Whether a person agrees; only `y` and `yes` do.
pub(super) fn agrees(question: &str) -> Result<bool, Failed> {
    let answer = line(&format!("{question} [y/N]"))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn unreadable(error: &io::Error) -> Failed {
    let mut failed = Failed::usage(
        Code::UsageError,
        &format!("cannot read input: {}", error.kind()),
    );
    failed.exit = 1;
    failed
}
