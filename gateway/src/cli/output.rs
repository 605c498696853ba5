//! What reaches the terminal, and with which exit code the program ends.

use std::io::{self, Write as _};

use openclaw_auth::{Class, Code, Error};
use serde_json::Value;

/// Exit code of a usage error.
pub(super) const USAGE: u8 = 64;

/// A command that failed: what to say, and how to end.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) exit: u8,
}

impl Failed {
    /// A wrong command line.
    pub(super) fn usage(code: Code, message: &str) -> Self {
        Self {
            error: Error::new(code, message),
            exit: USAGE,
        }
    }

    /// What every other command ends with when it fails.
    pub(super) fn of_command(error: Error) -> Self {
        let exit = match error.code() {
            Code::UsageError | Code::SecretOnCommandLine => USAGE,
            _ => 1,
        };
        Self { error, exit }
    }

    /// Why the gateway did not start or stopped.
    pub(super) fn of_gateway(error: Error) -> Self {
        let exit = match (error.code(), error.class()) {
            (Code::UsageError | Code::SecretOnCommandLine, _) => USAGE,
            (Code::BindFailed, _) => 5,
            (Code::TlsUnsupported, _) => 6,
            (_, Class::Config | Class::Access) => 3,
            (_, Class::Secret) => 4,
            _ => 1,
        };
        Self { error, exit }
    }
}

/// Prints to standard output. A closed pipe is not an error.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints to standard error.
pub(super) fn print_to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a failure: one sentence, every collected problem when there are several, and what to
/// do.
pub(super) fn print_error(failed: &Failed) {
    let error = &failed.error;
    print_to_stderr(&format!("error: {} ({})", error.message(), error.code()));
    for key in ["issues", "failures"] {
        let problems = error.details().get(key).and_then(Value::as_array);
        for problem in problems.into_iter().flatten() {
            print_to_stderr(&format!("  {}", line_of(problem)));
        }
    }
    if let Some(hint) = error.hint() {
        print_to_stderr(&format!("hint: {hint}"));
    }
}

/// One problem of a list in one line.
fn line_of(problem: &Value) -> String {
    let text = |key: &str| problem.get(key).and_then(Value::as_str);
    match (text("code"), text("message")) {
        (Some(code), Some(message)) => {
            let path = text("path").filter(|path| !path.is_empty() && !message.contains(path));
            let place = path.map(|path| format!("{path}: ")).unwrap_or_default();
            format!("{place}{message} ({code})")
        }
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_the_gateway() {
        for (code, exit) in [
            (Code::ConfigParseError, 3),
            (Code::GatewayAuthModeAmbiguous, 3),
            (Code::SecretUnresolved, 4),
            (Code::BindFailed, 5),
            (Code::TlsUnsupported, 6),
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
