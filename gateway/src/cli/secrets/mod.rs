//! `openclaw-auth secrets`: references, their audit, and moving plain secrets to them.

mod apply;
mod audit;
mod configure;
mod reload;
mod targets;
mod test;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use openclaw_auth::host::Host;
use openclaw_auth::{Code, Error, Options, Progress};
use zeroize::Zeroizing;

use super::output::{Failed, print};
use super::{flag, start_log};
use crate::cli::logger::LogFormat;
use crate::waiting::Waiting;

/// The words and options of the commands.
pub(super) fn command() -> Command {
    Command::new("secrets")
        .about("Look after secret references")
        .subcommand(apply::command())
        .subcommand(audit::command())
        .subcommand(configure::command())
        .subcommand(configure::plan_command())
        .subcommand(reload::command())
        .subcommand(targets::command())
        .subcommand(test::command())
}

/// Runs one of them. The answer is an exit code.
///
/// # Errors
///
/// Why it could not be done.
pub(super) fn run(matches: &ArgMatches) -> Result<u8, Failed> {
    let Some((name, matches)) = matches.subcommand() else {
        print(&command().render_help().to_string());
        return Ok(0);
    };
    start_log(matches, log::LevelFilter::Warn, LogFormat::Text);
    let place = Place::of(matches);
    let outcome = match name {
        "apply" => apply::run(matches, &place),
        "audit" => audit::run(matches, &place),
        "plan" => configure::run_plan(matches, &place),
        "reload" => reload::run(matches, &place),
        "targets" => targets::run(matches, &place),
        "test" => test::run(matches, &place),
        _ => configure::run(matches, &place),
    };
    outcome.map_err(|failed| match matches.try_get_one::<bool>("json") {
        Ok(Some(true)) => failed.in_json(),
        _ => failed,
    })
}

/// The installation that a command works on.
struct Place {
    host: Host,
    options: Options,
    progress: Progress,
}

impl Place {
    fn of(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name);
        let host = Host::real();
        let progress = Progress::new();
        let mut options = Options::new()
            .with_host(host.clone())
            .progress(progress.clone());
        if let Some(path) = text("config") {
            options = options.config_path(path);
        }
        if let Some(path) = text("state-dir") {
            options = options.state_dir(path);
        }
        Self {
            host,
            options,
            progress,
        }
    }

    /// Shows who is being waited for until the answer is dropped.
    fn waiting(&self) -> Waiting {
        Waiting::start(self.progress.clone(), &self.host)
    }

    /// A path as people write it.
    fn shown(&self, path: &Path) -> String {
        let home = self.options.locations().home;
        match path.strip_prefix(&home) {
            Ok(rest) if home.parent().is_some() => format!("~/{}", rest.display()),
            _ => path.display().to_string(),
        }
    }

    /// The text of a file that an option names.
    fn read(&self, path: &Path, limit: u64) -> Result<Zeroizing<String>, Failed> {
        let failed = |reason: &str| {
            let message = format!("{}: {reason}", path.display());
            Failed::of_command(Error::new(Code::GatewayFileFailed, message))
        };
        let files = &self.host.files;
        let bytes = files
            .canonical(path)
            .and_then(|path| files.open(&path))
            .and_then(|mut file| file.read_to_limit(limit))
            .map_err(|error| failed(&error.kind().to_string()))?
            .ok_or_else(|| failed("is too large"))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(failed("is not UTF-8")),
        }
    }

    /// Writes a file that only its owner reads.
    fn write(&self, path: &Path, text: &str) -> Result<(), Failed> {
        let written = self.host.files.write_atomic(path, text.as_bytes(), 0o600);
        written.map_err(|error| {
            let message = format!("{}: {}", path.display(), error.kind());
            Failed::of_command(Error::new(Code::GatewayFileFailed, message))
        })
    }
}

fn file_of(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(name).cloned()
}

fn json_flag() -> clap::Arg {
    flag("json", "Print one JSON document")
}
