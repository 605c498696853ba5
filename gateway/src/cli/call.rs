//! What a command is given: its options, the installation it works on, and how to talk.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use openclaw_auth::host::Host;
use openclaw_auth::{Code, Engine, Error, Options, Progress};
use zeroize::Zeroizing;

use super::output::{Failed, Layout, note};
use super::tree::Found;
use crate::waiting::Waiting;

/// One run of a command.
pub(super) struct Call<'m> {
    matches: &'m ArgMatches,
    pub(super) host: Host,
    /// Where the configuration is.
    pub(super) options: Options,
    state_dir: Option<PathBuf>,
    progress: Progress,
    /// Nobody may be asked.
    pub(super) no_input: bool,
}

impl<'m> Call<'m> {
    /// Reads the global options.
    pub(super) fn new(found: &Found<'m>, host: Host) -> Self {
        let matches = found.matches;
        let progress = Progress::new();
        let mut options = Options::new()
            .with_host(host.clone())
            .progress(progress.clone());
        if let Some(path) = matches.get_one::<String>("config") {
            options = options.config_path(path);
        }
        let named = matches.get_one::<String>("state-dir").map(PathBuf::from);
        let installation = match matches.get_flag("dev") {
            true => Some("dev"),
            false => matches.get_one::<String>("profile").map(String::as_str),
        };
        let home = options.locations().home;
        let of_name = installation.map(|name| home.join(format!(".openclaw-{name}")));
        let state_dir = named.or(of_name);
        if let Some(path) = &state_dir {
            options = options.state_dir(path);
        }
        Self {
            matches,
            host,
            options,
            state_dir,
            progress,
            no_input: matches.get_flag("no-input"),
        }
    }

    /// What clap read for the command.
    pub(super) fn matches(&self) -> &'m ArgMatches {
        self.matches
    }

    /// Whether an option without value was given. An option that the command does not have was
    /// not.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.matches.try_get_one::<bool>(name).ok().flatten() == Some(&true)
    }

    /// The value of an option.
    pub(super) fn text(&self, name: &str) -> Option<&'m str> {
        let value = self.matches.try_get_one::<String>(name).ok().flatten();
        value.map(String::as_str)
    }

    /// The values of an option that may be repeated; each may be a list with commas.
    pub(super) fn list(&self, name: &str) -> Vec<&'m str> {
        let values = self.matches.try_get_many::<String>(name).ok().flatten();
        let values = values.into_iter().flatten();
        let parts = values.flat_map(|value| value.split(',').map(str::trim));
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// The value of an option that is a number or a parsed duration.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.matches
            .try_get_one::<u64>(name)
            .ok()
            .flatten()
            .copied()
    }

    /// The value of an option that is a path.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.matches
            .try_get_one::<PathBuf>(name)
            .ok()
            .flatten()
            .cloned()
    }

    /// The state folder, when the options name one.
    pub(super) fn named_state_dir(&self) -> Option<PathBuf> {
        self.state_dir.clone()
    }

    /// Whether the result is one JSON document.
    pub(super) fn json(&self) -> bool {
        self.flag("json")
    }

    /// The agent that was named.
    pub(super) fn agent(&self) -> Option<&'m str> {
        self.text("agent")
    }

    /// The width that text for people has.
    pub(super) fn layout(&self) -> Layout {
        Layout::of_stdout()
    }

    /// Opens the installation for work on its configuration and stores. References that do not
    /// resolve stand in nobody's way, and no program is run.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration.
    pub(super) fn open(&self) -> Result<Engine, Failed> {
        let options = self
            .options
            .clone()
            .tolerate_unresolved(true)
            .without_exec(true);
        self.open_with(options)
    }

    /// Opens the installation with these options.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration, and of its secrets unless the options say otherwise.
    pub(super) fn open_with(&self, options: Options) -> Result<Engine, Failed> {
        let waiting = self.waiting();
        let engine = Engine::open(options);
        drop(waiting);
        let engine = engine.map_err(Failed::of_command)?;
        for (name, origin) in engine.oauth_ignored_variables() {
            note(&format!(
                "warning: {name} is ignored because it comes from {origin}; set it in the \
                 environment of the process"
            ));
        }
        Ok(engine)
    }

    /// Shows who is being waited for until the answer is dropped.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting::start(self.progress.clone(), &self.host)
    }

    /// The time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.host.clock.now_ms()
    }

    /// A path as people write it.
    pub(super) fn shown(&self, path: &Path) -> String {
        let home = self.options.locations().home;
        match path.strip_prefix(&home) {
            Ok(rest) if home.parent().is_some() => format!("~/{}", rest.display()),
            _ => path.display().to_string(),
        }
    }

    /// Another command, with the options that name the same installation and agent.
    pub(super) fn command_line(&self, words: &str) -> String {
        let mut line = format!("openclaw-auth {words}");
        for (name, agent_only) in [
            ("state-dir", false),
            ("config", false),
            ("profile", false),
            ("agent", true),
        ] {
            let takes_agent = words.starts_with("models") || words.starts_with("model ");
            if let Some(value) = self.text(name)
                && (!agent_only || takes_agent)
            {
                line.push_str(&format!(" --{name} {}", quoted(value)));
            }
        }
        if self.flag("dev") {
            line.push_str(" --dev");
        }
        line
    }

    /// The text of a file that an option names.
    ///
    /// # Errors
    ///
    /// It cannot be read, is too large, or is not UTF-8.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Result<Zeroizing<String>, Failed> {
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
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Failed> {
        let written = self.host.files.write_atomic(path, text.as_bytes(), 0o600);
        written.map_err(|error| {
            let message = format!("{}: {}", path.display(), error.kind());
            Failed::of_command(Error::new(Code::GatewayFileFailed, message))
        })
    }
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+=~".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            ("~/x", "~/x"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
