//! `openclaw-auth models auth`: signing in, pasting credentials, refreshing.

mod login;
mod paste;
mod prompt;
mod refresh;

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use openclaw_auth::{Code, ConfigEdit, ConfigUpdate, Engine, Error, Options, parse_duration};

use super::logger::LogFormat;
use super::output::{Failed, print_to_stderr};
use super::{flag, option, start_log};

/// What every command here ends with.
type Outcome = Result<u8, Failed>;

/// A command: its name, what it is for, its options, and what it does.
struct Row {
    name: &'static str,
    about: &'static str,
    arguments: fn() -> Vec<Arg>,
    run: fn(&ArgMatches) -> Outcome,
}

const ROWS: &[Row] = &[
    Row {
        name: "login",
        about: "Sign in to a model provider",
        arguments: login::arguments,
        run: login::run,
    },
    Row {
        name: "setup-token",
        about: "Store a setup-token of Anthropic",
        arguments: paste::setup_token_arguments,
        run: paste::setup_token,
    },
    Row {
        name: "paste-token",
        about: "Store a bearer token",
        arguments: paste::token_arguments,
        run: paste::token,
    },
    Row {
        name: "paste-api-key",
        about: "Store an API key",
        arguments: paste::api_key_arguments,
        run: paste::api_key,
    },
    Row {
        name: "refresh",
        about: "Refresh OAuth profiles",
        arguments: refresh::arguments,
        run: refresh::run,
    },
];

/// The words and options of the group.
pub(super) fn command() -> Command {
    let auth = ROWS.iter().fold(
        Command::new("auth").about("Credentials of model providers"),
        |auth, row| {
            let arguments = (row.arguments)();
            auth.subcommand(Command::new(row.name).about(row.about).args(arguments))
        },
    );
    Command::new("models")
        .about("Model providers and their credentials")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            option(
                "agent",
                "ID",
                "Agent whose store is meant (default: the default agent)",
            )
            .global(true),
        )
        .subcommand(auth.subcommand_required(true).arg_required_else_help(true))
}

/// Runs a command of the group.
///
/// # Errors
///
/// Why it failed.
pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let chosen = matches
        .subcommand_matches("auth")
        .and_then(|auth| auth.subcommand())
        .and_then(|(name, matches)| Some((ROWS.iter().find(|row| row.name == name)?, matches)));
    let Some((row, matches)) = chosen else {
        return Err(Failed::usage(Code::UsageError, "a command is missing"));
    };
    start_log(matches, log::LevelFilter::Warn, LogFormat::Text);
    let in_json = matches.try_get_one::<bool>("json").ok().flatten() == Some(&true);
    (row.run)(matches).map_err(|failed| match in_json {
        true => failed.in_json(),
        false => failed,
    })
}

fn provider() -> Arg {
    option("provider", "ID", "Model provider")
}

fn profile_id() -> Arg {
    option("profile-id", "ID", "Profile id, such as anthropic:work")
}

fn replace() -> Arg {
    flag("replace", "Replace a profile of another kind")
}

fn json() -> Arg {
    flag("json", "Print one JSON document")
}

fn expires_in() -> Arg {
    option(
        "expires-in",
        "DURATION",
        "How long it works, such as 365d, 12h, 90m",
    )
    .value_parser(|text: &str| parse_duration(text).map_err(|error| error.message().to_owned()))
}

fn config_update() -> Arg {
    option(
        "config-update",
        "WHEN",
        "Whether the profile is named in openclaw.json",
    )
    .value_parser(["auto", "always", "never"])
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// Opens the configuration that the options name.
fn open(matches: &ArgMatches) -> Result<Engine, Failed> {
    let mut options = Options::new();
    if let Some(path) = text(matches, "config") {
        options = options.config_path(PathBuf::from(path));
    }
    if let Some(path) = text(matches, "state-dir") {
        options = options.state_dir(PathBuf::from(path));
    }
    let engine = Engine::open(options).map_err(failed)?;
    for (name, origin) in engine.oauth_ignored_variables() {
        print_to_stderr(&format!(
            "warning: {name} is ignored because it comes from {origin}; set it in the environment of the process"
        ));
    }
    Ok(engine)
}

fn failed(error: Error) -> Failed {
    Failed::of_command(error)
}

/// Names a stored profile in the configuration where that is needed. Never fails: the credential
/// is stored already.
fn name_in_config(
    matches: &ArgMatches,
    engine: &Engine,
    profile: (&str, &str, &str),
    email: Option<&str>,
) -> bool {
    let update = match text(matches, "config-update") {
        Some("always") => ConfigUpdate::Always,
        Some("never") => ConfigUpdate::Never,
        _ => ConfigUpdate::Auto,
    };
    report_edit(engine.name_profile_in_config(profile, email, update))
}

/// Says what a person has to do about the configuration. Whether it was changed.
fn report_edit(edit: openclaw_auth::Result<ConfigEdit>) -> bool {
    match edit {
        Ok(ConfigEdit::Written) => true,
        Ok(ConfigEdit::ByHand { reason, snippet }) => {
            print_to_stderr(&format!(
                "warning: openclaw.json was left alone ({reason}); add this to it:\n{snippet}"
            ));
            false
        }
        Ok(_) => false,
        Err(error) => {
            print_to_stderr(&format!("warning: {} ({})", error.message(), error.code()));
            false
        }
    }
}

/// A time until then, for people: `10d`, `3h`, `25m`, `40s`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        172_800.. => format!("{}d", seconds / 86_400),
        7_200.. => format!("{}h", seconds / 3_600),
        120.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn now_ms() -> u64 {
    openclaw_auth::Host::real().clock.now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_consistent_and_checks_its_values() {
        command().debug_assert();
        for (line, fine) in [
            (&["models", "auth", "refresh", "--all"][..], true),
            (
                &["models", "--agent", "work", "auth", "refresh", "--all"],
                true,
            ),
            (
                &["models", "auth", "setup-token", "--expires-in", "1d12h"],
                true,
            ),
            (
                &[
                    "models",
                    "auth",
                    "paste-token",
                    "--provider",
                    "a",
                    "--expires-in",
                    "1d 2h",
                ],
                false,
            ),
            (&["models", "auth", "paste-token"], false),
            (&["models", "auth", "login", "--bogus"], false),
            (
                &["models", "auth", "login", "--browser", "--no-browser"],
                false,
            ),
        ] {
            assert_eq!(
                command().try_get_matches_from(line).is_ok(),
                fine,
                "{line:?}"
            );
        }
    }

    #[test]
    fn spans_are_short() {
        for (ms, shown) in [
            (0, "0s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (864_000_000, "10d"),
        ] {
            assert_eq!(span(ms), shown);
        }
    }
}
