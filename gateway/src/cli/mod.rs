//! The command line: parsing in one table, deciding and printing apart.

mod gateway;
mod logger;
mod output;
mod secrets;
mod security;

use std::process::ExitCode;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use self::logger::LogFormat;
use self::output::{Failed, print, print_error};

/// Runs the command line of the process.
pub(crate) fn main() -> ExitCode {
    logger::quiet_panics();
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    let outcome = match matches.subcommand() {
        Some(("gateway", matches)) => {
            let inner = matches.subcommand_matches("run").unwrap_or(matches);
            gateway::run(inner)
        }
        Some(("secrets", matches)) => secrets::run(matches),
        Some(("security", matches)) => security::run(matches),
        _ => {
            print(&command().render_help().to_string());
            Ok(0)
        }
    };
    ExitCode::from(outcome.unwrap_or_else(|failed: Failed| {
        print_error(&failed);
        failed.exit
    }))
}

/// What clap did not accept, as a usage error; help and version are not errors.
fn refuse(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(text.trim_end());
            0
        }
        _ => {
            output::print_to_stderr(text.trim_end());
            output::USAGE
        }
    }
}

fn command() -> Command {
    Command::new("openclaw-auth")
        .about("Credentials for AI-agent gateways: secrets, profiles, tokens and access.")
        .version(concat!(
            env!("CARGO_PKG_VERSION"),
            " (core ",
            env!("CARGO_PKG_VERSION"),
            ", compat OpenClaw 2026.4)"
        ))
        .disable_help_subcommand(true)
        .args([
            option(
                "state-dir",
                "DIR",
                "State folder; wins over OPENCLAW_STATE_DIR",
            )
            .global(true),
            option(
                "config",
                "FILE",
                "Configuration file; wins over OPENCLAW_CONFIG_PATH",
            )
            .global(true),
            option("log-level", "LEVEL", "What is written to standard error")
                .value_parser(["silent", "error", "warn", "info", "debug", "trace"])
                .global(true),
        ])
        .subcommand(gateway::command())
        .subcommand(secrets::command())
        .subcommand(security::command())
}

/// An option with a value.
fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .overrides_with(name)
}

/// An option without a value.
fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
        .overrides_with(name)
}

/// An option whose value is a path.
fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    option(name, value, help).value_parser(ValueParser::path_buf())
}

/// Sets the log up as the options say.
fn start_log(matches: &ArgMatches, default: log::LevelFilter, format: LogFormat) {
    let level = matches.get_one::<String>("log-level").map(String::as_str);
    logger::start(level.map_or(default, logger::level), format);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn usage_errors_end_with_64_and_help_with_0() {
        for (line, expected) in [
            (&["--help"][..], 0),
            (&["--version"], 0),
            (&["gateway", "run", "--help"], 0),
            (&["--bogus"], 64),
            (&["bogus"], 64),
            (&["gateway", "--bogus"], 64),
            (&["gateway", "run", "--bind", "everywhere"], 64),
            (&["gateway", "run", "--port", "70000"], 64),
            (&["gateway", "run", "--host", "gw.example"], 64),
            (&["gateway", "run", "extra"], 64),
            (&["secrets", "audit", "--help"], 0),
            (&["secrets", "audit", "--chek"], 64),
            (&["secrets", "apply"], 64),
            (&["secrets", "reload", "--timeout", "abc"], 64),
            (&["secrets", "reload", "--token-file", "f"], 64),
        ] {
            let error = command()
                .try_get_matches_from([&["openclaw-auth"], line].concat())
                .expect_err("must not be accepted");
            assert_eq!(refuse(&error), expected, "{line:?}");
        }
    }

    #[test]
    fn global_options_stand_anywhere_and_the_last_one_wins() {
        for line in [
            &["--config", "x", "gateway", "run"][..],
            &["gateway", "--config", "x"],
            &["gateway", "run", "--config=x"],
            &["gateway", "run", "--config", "y", "--config", "x"],
        ] {
            let matches = command()
                .try_get_matches_from([&["openclaw-auth"], line].concat())
                .unwrap();
            let matches = matches.subcommand_matches("gateway").unwrap();
            let matches = matches.subcommand_matches("run").unwrap_or(matches);
            assert_eq!(
                matches.get_one::<String>("config").unwrap(),
                "x",
                "{line:?}"
            );
        }
    }
}
