//! The command line: parsing in one table, deciding and printing apart.

mod agents;
mod args;
mod call;
mod codes;
mod completion;
mod doctor;
mod edits;
mod gateway;
mod interrupt;
mod logger;
mod model;
mod models;
mod models_auth;
mod models_config;
mod output;
mod prompt;
mod secrets;
mod security;
mod status;
mod store;
mod style;
mod table;
mod tree;
mod usage;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};
use openclaw_auth::host::Host;

use self::args::{flag, option};
use self::call::Call;
use self::logger::LogFormat;
use self::output::{print, print_error};
use self::tree::{Node, Outcome, find};

/// Every command.
const TREE: &[Node] = &[
    models::NODE,
    doctor::NODE,
    model::NODE,
    agents::NODE,
    secrets::NODE,
    security::NODE,
    store::NODE,
    gateway::NODE,
    codes::NODE,
    completion::NODE,
    completion::MAN,
    completion::VALUES,
];

/// Runs the command line of the process.
pub(crate) fn main() -> ExitCode {
    logger::quiet_panics();
    let host = Host::real();
    let line: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let exit = run(&line, host).unwrap_or_else(|failed| {
        print_error(&failed);
        failed.exit
    });
    ExitCode::from(exit)
}

/// Runs one line; its first word is the name of the program.
fn run(line: &[String], host: Host) -> Outcome {
    let words = line.get(1..).unwrap_or_default();
    let given = |option: &str| words.iter().any(|word| word == option);
    style::decide(host.env.vars(), given("--no-color"));
    let matches = match command().try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => {
            return refuse(&error, words).map_err(|failed| match given("--json") {
                true => failed.in_json(),
                false => failed,
            });
        }
    };
    output::be_quiet(matches.get_flag("quiet"));
    let found = find(TREE, &matches);
    let Some(run) = found.node.and_then(|node| node.run) else {
        print(&help_of(&found.words));
        return Ok(0);
    };
    let call = Call::new(&found, host);
    if !found.words.starts_with(&[gateway::NODE.name]) {
        start_log(call.matches(), log::LevelFilter::Warn, LogFormat::Text);
    }
    run(&call).map_err(|failed| match call.json() {
        true => failed.in_json(),
        false => failed,
    })
}

/// What clap did not accept, as a usage error; help and version are not errors.
fn refuse(error: &clap::Error, words: &[String]) -> Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(error.render().to_string().trim_end());
            Ok(0)
        }
        _ => Err(usage::failure(error, &command(), words)),
    }
}

/// The help of the deepest of these words.
fn help_of(words: &[&str]) -> String {
    let mut root = command();
    root.build();
    let mut command = &mut root;
    for word in words {
        match command.find_subcommand_mut(word) {
            Some(below) => command = below,
            None => return String::new(),
        }
    }
    command.render_help().to_string().trim_end().to_owned()
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
        .infer_long_args(false)
        .args_override_self(true)
        .term_width(output::width())
        .next_help_heading("Global options")
        .args(global_options())
        .next_help_heading(None)
        .subcommands(TREE.iter().map(Node::command))
}

fn global_options() -> Vec<clap::Arg> {
    let options = [
        option(
            "state-dir",
            "DIR",
            "State folder; wins over OPENCLAW_STATE_DIR",
        ),
        option(
            "config",
            "FILE",
            "Configuration file; wins over OPENCLAW_CONFIG_PATH",
        ),
        option(
            "profile",
            "NAME",
            "Named installation: the state folder ~/.openclaw-NAME",
        ),
        flag("dev", "The same as --profile dev"),
        flag("no-color", "No colour"),
        option(
            "log-level",
            "LEVEL",
            "silent, error, warn, info, debug or trace",
        )
        .value_parser(["silent", "error", "warn", "info", "debug", "trace"])
        .hide_possible_values(true),
        flag("quiet", "No notices, hints and progress").short('q'),
        flag("no-input", "Never ask; fail instead"),
    ];
    options.into_iter().map(|arg| arg.global(true)).collect()
}

/// Sets the log up as the options say.
fn start_log(matches: &ArgMatches, default: log::LevelFilter, format: LogFormat) {
    let level = matches.get_one::<String>("log-level").map(String::as_str);
    logger::start(level.map_or(default, logger::level), format);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_line(line: &[&str]) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from([&["openclaw-auth"], line].concat())
    }

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
            let error = try_line(line).expect_err("must not be accepted");
            let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
            let exit = refuse(&error, &words).unwrap_or_else(|failed| failed.exit);
            assert_eq!(exit, expected, "{line:?}");
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
            let matches = try_line(line).unwrap();
            let found = find(TREE, &matches);
            let config = found.matches.get_one::<String>("config");
            assert_eq!(config.unwrap(), "x", "{line:?}");
        }
    }

    #[test]
    fn options_of_a_word_hold_below_it() {
        for line in [
            &["models", "--agent", "work", "auth", "refresh", "--all"][..],
            &["models", "auth", "refresh", "--all", "--agent=work"],
        ] {
            let matches = try_line(line).unwrap();
            let found = find(TREE, &matches);
            assert_eq!(found.words, ["models", "auth", "refresh"]);
            assert_eq!(found.matches.get_one::<String>("agent").unwrap(), "work");
        }
    }

    #[test]
    fn every_word_has_help_and_every_option_a_line_in_it() {
        fn look(command: &mut Command) {
            let help = command.render_help().to_string();
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let name = arg.get_long().unwrap_or(arg.get_id().as_str());
                assert!(arg.get_help().is_some(), "{} {name}", command.get_name());
                assert!(
                    arg.get_long().is_none() || help.contains(&format!("--{name}")),
                    "{} {name}",
                    command.get_name()
                );
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(
                help.lines().all(|line| line.chars().count() <= 80),
                "{help}"
            );
            command.get_subcommands_mut().for_each(look);
        }
        let mut root = command();
        root.build();
        look(&mut root);
    }
}
