//! Asking people, without showing what they paste.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use openclaw_auth::{Code, Error, SecretText, mask};

use super::call::Call;
use super::interrupt;
use super::output::{Failed, note};

impl Call<'_> {
    /// Whether somebody is there to answer.
    pub(super) fn is_interactive(&self) -> bool {
        !self.no_input && io::stdin().is_terminal()
    }

    /// A secret: asked for without echo on a terminal, otherwise everything on standard input,
    /// because wrapped tokens have several lines.
    ///
    /// # Errors
    ///
    /// `empty_input` when there is nothing, `needs_terminal` when nobody may be asked.
    pub(super) fn ask_secret(&self, question: &str) -> Result<SecretText, Failed> {
        let text = if !io::stdin().is_terminal() {
            let mut text = String::new();
            let read = io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text);
            read.map_err(|error| unreadable(&error))?;
            text
        } else if self.no_input {
            return Err(needs_terminal("send the value to standard input"));
        } else {
            interrupt::watch();
            let hidden = interrupt::hide();
            let text = rpassword::prompt_password(format!("{question}: "));
            drop(hidden);
            let text = text.map_err(|error| unreadable(&error))?;
            let count = text.trim().chars().count();
            if count > 0 {
                note(&format!("received {count} characters ({})", mask(&text)));
            }
            text
        };
        match text.trim().is_empty() {
            true => Err(Failed::of_command(Error::new(
                Code::EmptyInput,
                "no token was given",
            ))),
            false => Ok(SecretText::new(text)),
        }
    }

    /// A line of a person, shown as it is typed.
    ///
    /// # Errors
    ///
    /// `needs_terminal`, when nobody may be asked.
    pub(super) fn ask(&self, question: &str) -> Result<String, Failed> {
        if !self.is_interactive() {
            return Err(needs_terminal("give the answer as an option"));
        }
        interrupt::watch();
        read_line(question)
    }

    /// Whether a person agrees; `--yes` agrees for them. An empty answer is the default.
    ///
    /// # Errors
    ///
    /// `needs_terminal`, when nobody may be asked and there is no `--yes`.
    pub(super) fn agrees(&self, question: &str, default: bool) -> Result<bool, Failed> {
        if self.flag("yes") {
            return Ok(true);
        }
        if !self.is_interactive() {
            return Err(needs_terminal("add --yes"));
        }
        interrupt::watch();
        let choice = if default { "[Y/n]" } else { "[y/N]" };
        let answer = read_line(&format!("{question} {choice}"))?;
        Ok(match answer.to_ascii_lowercase().as_str() {
            "" => default,
            "y" | "yes" => true,
            _ => false,
        })
    }

    /// One of several, by number or name; `None` when nobody may be asked. An empty answer is the
    /// first.
    ///
    /// # Errors
    ///
    /// The input cannot be read.
    pub(super) fn choose<'a>(
        &self,
        question: &str,
        choices: &'a [(String, String)],
    ) -> Result<Option<&'a str>, Failed> {
        if !self.is_interactive() {
            return Ok(None);
        }
        interrupt::watch();
        let width = choices.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or_default();
        let mut err = io::stderr().lock();
        for (number, (name, about)) in choices.iter().enumerate() {
            let line = format!("{:>3}. {name:width$}  {about}", number + 1);
            let written = writeln!(err, "{}", line.trim_end());
            written.map_err(|error| unreadable(&error))?;
        }
        drop(err);
        loop {
            let answer = read_line(&format!("{question} [1]"))?;
            let answer = if answer.is_empty() {
                "1"
            } else {
                answer.as_str()
            };
            let number = answer.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            let by_number = number.and_then(|number| choices.get(number));
            let chosen = by_number.or_else(|| choices.iter().find(|(name, _)| name == answer));
            match chosen {
                Some((name, _)) => return Ok(Some(name)),
                None => note(&format!("'{answer}' is none of them.")),
            }
        }
    }
}

/// A line from standard input; its end is the end of the command.
fn read_line(question: &str) -> Result<String, Failed> {
    let mut err = io::stderr().lock();
    let asked = write!(err, "{question}: ").and_then(|()| err.flush());
    asked.map_err(|error| unreadable(&error))?;
    drop(err);
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_INPUT).read_line(&mut text);
    match read {
        Ok(0) => Err(Failed::of_command(Error::new(
            Code::Cancelled,
            "cancelled; nothing was written",
        ))),
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Nobody can be asked.
pub(super) fn needs_terminal(instead: &str) -> Failed {
    let message = format!("this needs an answer; re-run on a terminal or {instead}");
    Failed::of_command(Error::new(Code::NeedsTerminal, message))
}

fn unreadable(error: &io::Error) -> Failed {
    // Ctrl-C: whoever watches for it ends the program in a moment.
    if error.kind() == io::ErrorKind::Interrupted {
        std::thread::park_timeout(Duration::from_secs(2));
        let message = "cancelled; nothing was written";
        return Failed::of_command(Error::new(Code::Cancelled, message));
    }
    let message = format!("cannot read input: {}", error.kind());
    Failed::of_command(Error::new(Code::EmptyInput, message))
}

/// Most bytes of one answer.
const MAX_INPUT: u64 = 64 * 1024;
