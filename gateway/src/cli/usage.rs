//! What is wrong with a command line, and what may have been meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use openclaw_auth::{Code, suggestions};

use super::output::Failed;

/// Options of other programs that take a secret; here they would show it to every user.
const SECRET_OPTIONS: &[&str] = &["--token", "--password", "--key", "--api-key"];

/// The failure that clap's error stands for. `line` are the words after the program's name.
pub(super) fn failure(error: &clap::Error, root: &Command, line: &[String]) -> Failed {
    let (path, command, known) = deepest(root, line);
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let argument = given(ContextKind::InvalidArg).unwrap_or_default();
    let option = argument.split(['=', ' ']).next().unwrap_or_default();
    let value = given(ContextKind::InvalidValue).unwrap_or_default();
    let of = match path.as_str() {
        "" => String::new(),
        path => format!(" for '{path}'"),
    };
    let (message, candidates, word) = match error.kind() {
        ErrorKind::UnknownArgument if SECRET_OPTIONS.contains(&option) => return on_the_line(),
        ErrorKind::UnknownArgument if option.starts_with('-') => (
            format!("unknown option '{option}'{of}"),
            options_of(&known),
            option,
        ),
        ErrorKind::UnknownArgument if command.has_subcommands() => (
            format!("unknown command '{argument}'{of}"),
            words_of(command),
            argument,
        ),
        ErrorKind::UnknownArgument => (
            format!("superfluous argument '{argument}'{of}"),
            Vec::new(),
            "",
        ),
        ErrorKind::InvalidSubcommand => {
            let word = given(ContextKind::InvalidSubcommand).unwrap_or_default();
            (
                format!("unknown command '{word}'{of}"),
                words_of(command),
                word,
            )
        }
        ErrorKind::MissingRequiredArgument => {
            let names: Vec<&str> = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) => names.iter().map(String::as_str).collect(),
                _ => vec![argument],
            };
            (format!("missing {}{of}", names.join(", ")), Vec::new(), "")
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            (format!("'{argument}' needs a value{of}"), Vec::new(), "")
        }
        ErrorKind::InvalidValue => {
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(valid)) => valid.as_slice(),
                _ => &[],
            };
            let message = format!(
                "'{value}' is not a value of '{argument}'; choose one of: {}",
                valid.join(", ")
            );
            (message, valid.to_vec(), value)
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| "not understood".to_owned());
            (
                format!("'{value}' is not a value of '{argument}': {why}"),
                Vec::new(),
                "",
            )
        }
        ErrorKind::ArgumentConflict => {
            let other = given(ContextKind::PriorArg).unwrap_or("another option");
            let is_form = |name: &str| name.starts_with("--json") || name.starts_with("--plain");
            let message = match is_form(argument) && is_form(other) {
                true => "choose either --json or --plain".to_owned(),
                false => format!("'{argument}' cannot be used with '{other}'"),
            };
            (message, Vec::new(), "")
        }
        ErrorKind::TooManyValues => (
            format!("'{argument}' takes no further value '{value}'"),
            Vec::new(),
            "",
        ),
        _ => (
            format!("the command line is not understood{of}"),
            Vec::new(),
            "",
        ),
    };
    let near = suggestions(
        word.trim_start_matches('-'),
        candidates.iter().map(|word| word.trim_start_matches('-')),
    );
    let dashes = if word.starts_with('-') { "--" } else { "" };
    let near: Vec<String> = near.iter().map(|near| format!("{dashes}{near}")).collect();
    let mut failed = Failed::usage(Code::UsageError, &message);
    let help = match path.as_str() {
        "" => "Run 'openclaw-auth --help'".to_owned(),
        path => format!("Run 'openclaw-auth {path} --help'"),
    };
    failed.error = failed.error.with_hint(
        match meant(&near.iter().map(String::as_str).collect::<Vec<_>>()) {
            Some(meant) => format!("{meant}\n{help}"),
            None => help,
        },
    );
    failed
}

/// The refusal of a secret among the options.
pub(super) fn on_the_line() -> Failed {
    let message = "secrets are not accepted as option values; use --stdin, --from-file, \
                   --from-env or --ref";
    Failed::usage(Code::SecretOnCommandLine, message)
}

/// `did you mean 'a' or 'b'?`
pub(super) fn meant(near: &[&str]) -> Option<String> {
    let quoted: Vec<String> = near.iter().map(|word| format!("'{word}'")).collect();
    let (last, others) = quoted.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

/// The deepest word of a line that is a command, and the words that lead to it.
/// Also the options that hold there.
fn deepest<'c>(root: &'c Command, line: &[String]) -> (String, &'c Command, Vec<&'c Arg>) {
    let mut command = root;
    let mut path: Vec<&str> = Vec::new();
    // Options of a word hold for the words below it.
    let mut known: Vec<&Arg> = root.get_arguments().collect();
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if let Some(name) = word.strip_prefix("--") {
            let option = known.iter().find(|arg| arg.get_long() == Some(name));
            if option.is_some_and(|arg| arg.get_action().takes_values()) {
                words.next();
            }
        } else if let Some(next) = command.find_subcommand(word) {
            path.push(next.get_name());
            known.extend(next.get_arguments());
            command = next;
        } else if !word.starts_with('-') {
            break;
        }
    }
    (path.join(" "), command, known)
}

fn options_of(known: &[&Arg]) -> Vec<String> {
    let shown = known.iter().filter(|arg| !arg.is_hide_set());
    let names = shown.filter_map(|arg| arg.get_long());
    names.map(|name| format!("--{name}")).collect()
}

fn words_of(command: &Command) -> Vec<String> {
    let shown = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    shown.map(|below| below.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn refused(line: &str) -> Failed {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let words = [&["openclaw-auth".to_owned()], line.as_slice()].concat();
        let error = command().try_get_matches_from(words).unwrap_err();
        failure(&error, &command(), &line)
    }

    #[test]
    fn examples_of_wrong_lines() {
        for (line, message, hint) in [
            (
                "secrets audti",
                "unknown command 'audti' for 'secrets'",
                "did you mean 'audit'?\nRun 'openclaw-auth secrets --help'",
            ),
            (
                "secretz audit",
                "unknown command 'secretz'",
                "did you mean 'secrets' or 'security'?\nRun 'openclaw-auth --help'",
            ),
            (
                "secrets audit --chek",
                "unknown option '--chek' for 'secrets audit'",
                "did you mean '--check'?\nRun 'openclaw-auth secrets audit --help'",
            ),
            (
                "secrets --config x audit --bogus=1",
                "unknown option '--bogus' for 'secrets audit'",
                "Run 'openclaw-auth secrets audit --help'",
            ),
            (
                "gateway run extra",
                "superfluous argument 'extra' for 'gateway run'",
                "Run 'openclaw-auth gateway run --help'",
            ),
            (
                "gateway run --bind everywhere",
                "'everywhere' is not a value of '--bind <MODE>'; choose one of: loopback, lan, \
                 custom, auto, tailnet",
                "Run 'openclaw-auth gateway run --help'",
            ),
            (
                "secrets apply",
                "missing --from <FILE> for 'secrets apply'",
                "Run 'openclaw-auth secrets apply --help'",
            ),
            (
                "secrets apply --from",
                "'--from <FILE>' needs a value for 'secrets apply'",
                "Run 'openclaw-auth secrets apply --help'",
            ),
        ] {
            let failed = refused(line);
            assert_eq!(failed.error.message(), message, "{line}");
            assert_eq!(failed.error.hint(), Some(hint), "{line}");
            assert_eq!(failed.exit, 64, "{line}");
        }
    }

    #[test]
    fn secrets_on_the_line_are_refused_unseen() {
        for line in [
            "secrets audit --token sk-canary",
            "models auth login --key=sk-canary",
        ] {
            let failed = refused(line);
            assert_eq!(failed.error.code(), Code::SecretOnCommandLine, "{line}");
            assert!(!format!("{:?}", failed.error).contains("canary"));
        }
    }
}
