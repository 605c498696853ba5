//! The `exec` provider: running the program.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::answer::{self, AnswerMode};
use super::failure::Fault;
use super::hints;
use super::path_policy::{PathKind, PathPolicy};
use super::provider::{ExecSettings, Limits};
use super::resolve::{GroupResult, Stop};
use crate::config::EnvView;
use crate::error::Code;
use crate::host::{ExitState, Host, RunError, RunOutput, RunRequest};
use crate::text::SecretText;

/// Environment of a child when `passEnv` does not say: what programs need to find their own
/// settings, none of it a credential. From the process environment only.
#[cfg(not(windows))]
const BASELINE: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
];
#[cfg(windows)]
const BASELINE: &[&str] = &[
    "SystemRoot",
    "SystemDrive",
    "windir",
    "USERPROFILE",
    "USERNAME",
    "APPDATA",
    "LOCALAPPDATA",
    "TEMP",
    "TMP",
    "PATH",
    "PATHEXT",
    "ComSpec",
];

/// Most runs of one provider in one activation.
const MAX_CHUNKS: usize = 64;

/// One exec provider with what it runs in.
pub(super) struct ExecProvider<'a> {
    pub(super) host: &'a Host,
    pub(super) env: &'a EnvView,
    pub(super) home: &'a Path,
    pub(super) alias: &'a str,
    pub(super) settings: &'a ExecSettings,
    pub(super) limits: Limits,
    pub(super) stop: &'a Stop,
}

impl ExecProvider<'_> {
    /// Resolves all ids, in as many runs as the limits demand.
    pub(super) fn resolve(&self, ids: &[&str]) -> Result<GroupResult, Fault> {
        let chunks = self.chunks(ids)?;
        let kind = PathKind::Exec;
        let Self {
            host, home, alias, ..
        } = *self;
        let policy = PathPolicy {
            host,
            home,
            alias,
            kind,
            settings: &self.settings.path,
        };
        let mut result = GroupResult::default();
        let (environment, missing) = self.environment();
        for (index, chunk) in chunks.iter().enumerate() {
            let numbered = |fault: Fault| {
                fault
                    .detail("chunk", index + 1)
                    .detail("chunks", chunks.len())
            };
            // Checked again before every run: time passes between them.
            let checked = policy.check()?;
            result.bypassed |= checked.bypassed;
            let request = RunRequest {
                arg0: self.settings.path.path.trim().to_owned(),
                args: self.settings.args.clone(),
                env: environment.clone(),
                current_dir: checked
                    .effective
                    .parent()
                    .unwrap_or(Path::new("/"))
                    .to_owned(),
                program: checked.effective,
                stdin: self.request(chunk),
                timeout: Duration::from_millis(self.settings.timeout_ms),
                silence: Duration::from_millis(self.settings.silence_ms),
                max_output: self.settings.max_output,
                cancel: self.stop.cancel.clone(),
            };
            let values = self
                .run(request, chunk, &missing, &mut result)
                .map_err(numbered)?;
            result.values.extend(values);
        }
        result.missing_env = missing;
        Ok(result)
    }

    /// One chunk, with retries of failures that may go away.
    fn run(
        &self,
        mut request: RunRequest,
        ids: &[&str],
        missing: &[String],
        result: &mut GroupResult,
    ) -> Result<BTreeMap<String, super::resolve::IdResult>, Fault> {
        let mut backoff = Duration::from_millis(self.settings.backoff_ms);
        let own = request.timeout;
        for attempt in 1.. {
            let budget = self.stop.remaining(self.host);
            request.timeout = budget.map_or(own, |budget| budget.min(own));
            request.silence = request.silence.min(request.timeout);
            result.runs += 1;
            let outcome = match self.host.processes.run(&request) {
                Ok(output) => self.interpret(&output, ids, result).map_err(|mut fault| {
                    fault.program_output = written(&output.stderr);
                    fault
                }),
                Err(error) => Err(self.run_fault(&error, own)),
            };
            let fault = match outcome {
                Ok(values) => return Ok(values),
                Err(fault) => fault,
            };
            let out_of_time = self
                .stop
                .remaining(self.host)
                .is_some_and(|left| left <= backoff);
            if attempt >= self.settings.attempts
                || !fault.retryable
                || out_of_time
                || self.stop.cancel.is_cancelled()
            {
                return Err(hints::add(fault, missing));
            }
            self.host.clock.sleep(backoff);
            backoff *= 2;
        }
        Err(Fault::new(Code::InternalError, "no attempt was made"))
    }

    fn interpret(
        &self,
        output: &RunOutput,
        ids: &[&str],
        result: &mut GroupResult,
    ) -> Result<BTreeMap<String, super::resolve::IdResult>, Fault> {
        let alias = self.alias;
        match output.exit {
            ExitState::Code(0) => {
                let mode = match self.settings.json_only {
                    Some(true) => AnswerMode::Json,
                    None => AnswerMode::Auto,
                    Some(false) => AnswerMode::Plain,
                };
                let answer = answer::interpret(alias, mode, &output.stdout, ids)?;
                result.plain_assumed |= answer.plain_assumed;
                Ok(answer.values)
            }
            ExitState::Code(code) => {
                let fault = Fault::new(
                    Code::SecretProviderExit,
                    format!("exec provider \"{alias}\" exited with code {code}"),
                )
                .detail("exitCode", code)
                .retryable();
                Err(hints::from_output(
                    fault,
                    &self.settings.path.path,
                    &output.stderr,
                    Some(code),
                ))
            }
            ExitState::Signal(signal) => {
                let name = signal_name(signal);
                let fault = Fault::new(
                    Code::SecretProviderSignal,
                    format!("exec provider \"{alias}\" was killed by {name}"),
                )
                .detail("signal", name)
                .retryable();
                Err(hints::from_output(
                    fault,
                    &self.settings.path.path,
                    &output.stderr,
                    None,
                ))
            }
            ExitState::Lost => Err(Fault::new(
                Code::SecretProviderExit,
                format!("the exit status of exec provider \"{alias}\" was lost"),
            )
            .reason("status_lost")
            .detail("exitCode", serde_json::Value::Null)
            .hint("the surrounding program ignores SIGCHLD; it must not")
            .retryable()),
        }
    }

    fn run_fault(&self, error: &RunError, own: Duration) -> Fault {
        let alias = self.alias;
        match error {
            RunError::Spawn(errno) => Fault::new(
                Code::SecretProviderSpawnFailed,
                format!("secrets.providers.{alias}.command: cannot start ({errno})"),
            )
            .reason(errno.clone())
            .hint("check the command; for a script, check that its interpreter exists")
            .retryable(),
            // The deadline of the activation cut the provider's own limit short.
            RunError::Timeout
                if self
                    .stop
                    .remaining(self.host)
                    .is_some_and(|left| left.is_zero()) =>
            {
                self.stop.fault(alias)
            }
            RunError::Timeout => super::timeout_fault("exec", alias, own),
            RunError::Silent => {
                let limit = self.settings.silence_ms;
                Fault::new(
                    Code::SecretProviderNoOutput,
                    format!("exec provider \"{alias}\" printed nothing for {limit} ms"),
                )
                .detail("noOutputTimeoutMs", limit)
                .hint(format!(
                    "raise secrets.providers.{alias}.noOutputTimeoutMs or check the backend"
                ))
                .retryable()
            }
            RunError::OutputLimit => {
                let limit = self.settings.max_output;
                Fault::new(
                    Code::SecretProviderOutputLimit,
                    format!("exec provider \"{alias}\" printed more than maxOutputBytes ({limit})"),
                )
                .detail("maxOutputBytes", limit)
                .hint(format!(
                    "raise secrets.providers.{alias}.maxOutputBytes (at most 20971520)"
                ))
            }
            RunError::Cancelled => self.stop.fault(alias),
        }
    }

    /// The ids in runs that keep both limits.
    fn chunks<'b>(&self, ids: &[&'b str]) -> Result<Vec<Vec<&'b str>>, Fault> {
        let limit = |reason: &str, message: String| {
            Err(Fault::new(Code::SecretProviderLimit, message).reason(reason))
        };
        let frame = self.request(&[]).len();
        let mut chunks: Vec<Vec<&str>> = Vec::new();
        let mut bytes = 0;
        for id in ids {
            // Quotes and comma; ids need no escaping.
            let size = id.len() + 3;
            if frame + size > self.limits.batch_bytes {
                let message = format!(
                    "exec provider \"{}\": one id alone is larger than secrets.resolution.maxBatchBytes ({})",
                    self.alias, self.limits.batch_bytes
                );
                return limit("batch_bytes", message);
            }
            match chunks.last_mut() {
                Some(chunk)
                    if chunk.len() < self.limits.refs_per_provider
                        && bytes + size <= self.limits.batch_bytes =>
                {
                    chunk.push(id);
                    bytes += size;
                }
                _ => {
                    chunks.push(vec![id]);
                    bytes = frame + size;
                }
            }
        }
        if chunks.len() > MAX_CHUNKS {
            let message = format!(
                "exec provider \"{}\" would have to run {} times, at most {MAX_CHUNKS} are allowed",
                self.alias,
                chunks.len()
            );
            return limit("chunks", message);
        }
        Ok(chunks)
    }

    /// Protocol version 1: one line of JSON.
    fn request(&self, ids: &[&str]) -> Vec<u8> {
        let mut line = json!({"protocolVersion": 1, "provider": self.alias, "ids": ids})
            .to_string()
            .into_bytes();
        line.push(b'\n');
        line
    }

    /// The child's environment, and the names in `passEnv` that are not set.
    fn environment(&self) -> (BTreeMap<String, Zeroizing<String>>, Vec<String>) {
        let mut environment = BTreeMap::new();
        let mut missing = Vec::new();
        let mut put = |name: &str, value: &str| {
            environment.insert(name.to_owned(), Zeroizing::new(value.to_owned()));
        };
        match &self.settings.pass_env {
            Some(names) => {
                for name in names {
                    match self.env.get(name) {
                        Some(value) => put(name, value),
                        None => missing.push(name.clone()),
                    }
                }
            }
            None => {
                for name in BASELINE {
                    if let Some(value) = self.env.process(name) {
                        put(name, value);
                    }
                }
            }
        }
        for (name, value) in &self.settings.env {
            put(name, value);
        }
        missing.sort();
        (environment, missing)
    }
}

/// The name of a signal; numbers are those of Linux and, for these, of every Unix.
/// What a program wrote to its standard error, if anything.
fn written(stderr: &[u8]) -> Option<SecretText> {
    let text = Zeroizing::new(String::from_utf8_lossy(stderr).into_owned());
    (!text.trim().is_empty()).then(|| SecretText::from_zeroizing(text))
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
