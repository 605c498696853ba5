//! `openclaw-auth security`: audit, probe and presets.

mod audit;
mod preset;
mod probe;
mod text;

use clap::{ArgMatches, Command};

use super::output::{Failed, print};

/// The words and options of the command.
pub(super) fn command() -> Command {
    Command::new("security")
        .about("Audit who may use the gateway, probe it, print proxy settings")
        .subcommands([audit::command(), preset::command(), probe::command()])
}

/// Runs it. The answer is an exit code.
///
/// # Errors
///
/// Why the command failed.
pub(super) fn run(matches: &ArgMatches) -> Result<u8, Failed> {
    match matches.subcommand() {
        Some(("audit", matches)) => audit::run(matches),
        Some(("preset", matches)) => preset::run(matches),
        Some(("probe", matches)) => probe::run(matches),
        _ => {
            print(&command().render_help().to_string());
            Ok(0)
        }
    }
}
