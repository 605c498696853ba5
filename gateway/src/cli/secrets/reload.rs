//! `secrets reload`: asks the running gateway to read everything again, and says how it went.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::value_parser;
use openclaw_auth::{Code, Error, SecretText};
use serde_json::Value;

use self::http::Endpoint;
use super::{Call, Failed, Node, file_of, print};
use crate::cli::args::json;
use crate::cli::args::{option, path};
use crate::cli::output::{Layout, print_json};
use crate::cli::tree::Outcome;
use crate::server::{pid_path, reload_note_path};

mod http;

pub(super) const NODE: Node = Node {
    name: "reload",
    about: "Ask the running gateway to reload",
    build: |command| {
        command
            .after_help(
                "Without --url the gateway of the state folder is asked by SIGHUP. Exit code 0: it \
             has reloaded. 1: it refused, the last good settings stay. 3: none is running, or \
             it did not say how it went.",
            )
            .args([
                option(
                    "url",
                    "URL",
                    "Ask the gateway at this address, such as http://127.0.0.1:18789",
                ),
                path(
                    "token-file",
                    "FILE",
                    "File that holds the gateway's token, for --url",
                )
                .requires("url"),
                option("timeout", "MS", "How long to wait for the outcome")
                    .value_parser(value_parser!(u64).range(1..=600_000)),
                json(),
            ])
    },
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let timeout = matches.get_one::<u64>("timeout").copied();
    let timeout = timeout.map_or(PATIENCE, Duration::from_millis);
    let outcome = match matches.get_one::<String>("url") {
        Some(url) => {
            let token = file_of(call, "token-file").map(|file| token(call, &file));
            let endpoint = Endpoint::parse(url).ok_or_else(|| {
                let message = "--url must be http://HOST:PORT or https://HOST:PORT";
                Failed::usage(Code::UsageError, message)
            })?;
            http::post(&endpoint, token.transpose()?.as_ref(), timeout)
        }
        None => Running::find(call).and_then(|running| running.reload(timeout)),
    };
    let outcome = outcome.map_err(Failed::undecided)?;
    let is_done = outcome.get("reloaded").and_then(Value::as_bool) == Some(true);
    if matches.get_flag("json") {
        print_json(&outcome);
    } else {
        print(&text_of(&outcome, &Layout::of_stdout()));
    }
    Ok(u8::from(!is_done))
}

/// The outcome for people.
fn text_of(outcome: &Value, layout: &Layout) -> String {
    let list = |name: &str| {
        let list = outcome.get(name).and_then(Value::as_array);
        list.map_or(&[][..], Vec::as_slice)
    };
    let mut lines = Vec::new();
    if outcome.get("reloaded").and_then(Value::as_bool) == Some(true) {
        let generation = outcome.get("snapshot").and_then(Value::as_u64);
        let generation = generation.unwrap_or_default();
        lines.push(format!("Reloaded: snapshot {generation}."));
        let owners: Vec<&str> = list("changedOwners")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        if !owners.is_empty() {
            lines.push(format!("Changed: {}.", owners.join(", ")));
        }
    } else {
        lines.push("Reload refused; the last good settings and secrets stay in use.".to_owned());
    }
    for (word, item) in list("errors")
        .iter()
        .map(|item| ("error", item))
        .chain(list("warnings").iter().map(|item| ("warning", item)))
    {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let code = text("code").unwrap_or(word);
        let message = text("message").unwrap_or("without a message");
        lines.push(format!("- [{code}] {message}"));
        if let Some(hint) = text("hint") {
            lines.push(format!("  hint: {hint}"));
        }
    }
    let lines = lines.iter().map(|line| layout.wrap(line, "  "));
    lines.collect::<Vec<_>>().join("\n")
}

fn token(call: &Call<'_>, file: &Path) -> Result<SecretText, Failed> {
    let text = call.read(file, MAX_FILE)?;
    Ok(SecretText::new(text.trim().to_owned()))
}

/// The gateway of a state folder.
struct Running<'a> {
    call: &'a Call<'a>,
    state: PathBuf,
    pid: u32,
}

impl<'a> Running<'a> {
    fn find(call: &'a Call<'a>) -> Result<Self, Error> {
        let state = call.options.locations().state;
        let not_running = |why: &str| {
            let message = format!(
                "no gateway is running: {}: {why}",
                pid_path(&state).display()
            );
            let hint = "Nothing had to be reloaded; a gateway reads everything when it starts.";
            Error::new(Code::GatewayNotRunning, message).with_hint(hint)
        };
        let text = read(call, &pid_path(&state)).ok_or_else(|| not_running("there is none"))?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
        let pid: u32 = pid.ok_or_else(|| not_running("does not name a process"))?;
        if !is_gateway(call, pid) {
            return Err(not_running("left behind by a gateway that has ended"));
        }
        Ok(Self { call, state, pid })
    }

    /// Sends the signal and waits for the note that answers it.
    fn reload(&self, timeout: Duration) -> Result<Value, Error> {
        let before = self.note().map_or(0, |(count, _)| count);
        hang_up(self.pid).map_err(|reason| {
            let message = format!("process {} cannot be asked: {reason}", self.pid);
            Error::new(Code::GatewayNotRunning, message)
        })?;
        let clock = &self.call.host.clock;
        let deadline = clock.monotonic() + timeout;
        while clock.monotonic() < deadline {
            if let Some((_, note)) = self.note().filter(|(count, _)| *count > before) {
                return Ok(note);
            }
            if !is_gateway(self.call, self.pid) {
                let message = format!("the gateway (process {}) has ended meanwhile", self.pid);
                return Err(Error::new(Code::GatewayNotRunning, message));
            }
            clock.sleep(LOOK_AGAIN);
        }
        let ms = timeout.as_millis();
        let message = format!("the gateway has not said within {ms} ms how its reload went");
        Err(Error::new(Code::GatewayNoAnswer, message)
            .with_hint("It goes on; its log says how it ends."))
    }

    /// How the last reload by signal went, and the number of such reloads.
    fn note(&self) -> Option<(u64, Value)> {
        let text = read(self.call, &reload_note_path(&self.state))?;
        let mut note: Value = serde_json::from_str(&text).ok()?;
        let map = note.as_object_mut()?;
        if map.remove("pid")?.as_u64()? != u64::from(self.pid) {
            return None;
        }
        let count = map.remove("count")?.as_u64()?;
        Some((count, note))
    }
}

fn read(call: &Call<'_>, path: &Path) -> Option<String> {
    let file = call.host.files.open(path);
    let bytes = file.and_then(|mut file| file.read_to_limit(MAX_FILE));
    String::from_utf8(bytes.ok()??.to_vec()).ok()
}

/// Whether the process exists and, as far as the system tells it, runs this program: the number
/// in the file of a gateway that was killed may belong to something else by now.
fn is_gateway(call: &Call<'_>, pid: u32) -> bool {
    let name = |pid: &str| read(call, Path::new(&format!("/proc/{pid}/comm")));
    match (name("self"), name(&pid.to_string())) {
        (Some(own), Some(other)) => own == other,
        (Some(_), None) => false,
        (None, _) => exists(pid),
    }
}

#[cfg(unix)]
fn process(pid: u32) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(unix)]
fn exists(pid: u32) -> bool {
    process(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

#[cfg(unix)]
fn hang_up(pid: u32) -> Result<(), String> {
    use rustix::process::{Signal, kill_process};
    let pid = process(pid).ok_or("no process number")?;
    kill_process(pid, Signal::HUP).map_err(|error| error.kind().to_string())
}

#[cfg(not(unix))]
fn exists(_: u32) -> bool {
    false
}

#[cfg(not(unix))]
fn hang_up(_: u32) -> Result<(), String> {
    Err("this system has no SIGHUP; use --url".to_owned())
}

/// Slow programs may take two minutes.
const PATIENCE: Duration = Duration::from_secs(150);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const MAX_FILE: u64 = 4 << 20;
