//! The facade: open a configuration, read secrets, decide about requests, reload.

mod events;
mod options;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::access::{AccessRequest, Denied, Identity};
use crate::config::{self, Issue};
use crate::error::{Error, Result};
use crate::host::{Cancel, Host};
use crate::secrets::{self, ActivateOptions, Diagnostic, ProviderReport, Rules, Stop, deadline};
use crate::snapshot::{AccessParts, Changes, Snapshot};

pub use events::Event;
use events::EventQueue;
pub use options::Options;

/// The credentials of one configuration, kept current.
///
/// `Send + Sync`; share it as `Arc<Engine>`. Reads ([`Engine::snapshot`]) never wait, not even
/// for a running reload. [`Engine::open`] and [`Engine::reload`] may block for seconds, because
/// they run programs: call them off an event loop.
pub struct Engine {
    host: Host,
    options: Options,
    access: AccessParts,
    current: ArcSwap<Snapshot>,
    /// One activation at a time.
    activation: Mutex<()>,
    /// Whether the last reload failed. Written under `activation`, read freely.
    degraded: AtomicBool,
    events: Mutex<EventQueue>,
    cancel: Cancel,
}

/// What a reload did.
#[derive(Debug, Clone)]
pub struct ReloadReport {
    generation: u64,
    previous_generation: u64,
    changes: Changes,
    elapsed: Duration,
    snapshot: Arc<Snapshot>,
}

impl Engine {
    /// Reads the configuration and resolves every active secret. Blocks.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration (`details.issues`) or every secret that could not be
    /// resolved (code `secret_unresolved`, `details.failures`). Nothing is half open.
    pub fn open(options: Options) -> Result<Self> {
        let host = options.host();
        let cancel = Cancel::default();
        let access = AccessParts {
            overrides: options.overrides(),
            required: options.needs_access(),
            limiter: Arc::default(),
            interfaces: Arc::clone(&host.interfaces),
            clock: Arc::clone(&host.clock),
        };
        let snapshot = activate(&host, &options, &access, &cancel, None)?;
        let engine = Self {
            access,
            current: ArcSwap::from_pointee(snapshot),
            activation: Mutex::default(),
            degraded: AtomicBool::new(false),
            events: Mutex::default(),
            cancel,
            host,
            options,
        };
        let now = engine.host.clock.now_ms();
        engine.events.lock().push(Event::activated(now));
        Ok(engine)
    }

    /// The current generation. Wait-free; hold it for as long as one piece of work needs one
    /// consistent view.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether a request may use the gateway, and as whom, by the current generation. Whoever
    /// also reads secrets for the same request takes one [`Engine::snapshot`] for both.
    ///
    /// # Errors
    ///
    /// Not errors but decisions: a [`Denied`](crate::access::Denied) with its code.
    pub fn authorize(
        &self,
        request: Option<&AccessRequest<'_>>,
    ) -> std::result::Result<Identity, Denied> {
        self.current.load().access().authorize(request)
    }

    /// Reads and resolves everything again and swaps it in as one. Concurrent calls wait for each
    /// other. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`]; the last good snapshot stays in use.
    pub fn reload(&self) -> Result<ReloadReport> {
        self.reload_with(&self.options)
    }

    /// Like [`Engine::reload`], from this JSON5 text instead of where the engine was opened from.
    /// Later calls of [`Engine::reload`] go back to that.
    ///
    /// # Errors
    ///
    /// As [`Engine::reload`].
    pub fn reload_text(&self, text: impl Into<String>) -> Result<ReloadReport> {
        self.reload_with(&self.options.clone().config_text(text))
    }

    fn reload_with(&self, options: &Options) -> Result<ReloadReport> {
        let _one_at_a_time = self.activation.lock();
        let start = self.host.clock.monotonic();
        let previous = self.current.load_full();
        let generation = previous.generation() + 1;
        let result = activate(
            &self.host,
            options,
            &self.access,
            &self.cancel,
            Some(&previous),
        );
        let now = self.host.clock.now_ms();
        let mut events = self.events.lock();
        match result {
            Err(error) => {
                if !self.degraded.swap(true, Ordering::AcqRel) {
                    events.push(Event::degraded(now, previous.generation(), &error));
                }
                Err(error)
            }
            Ok(snapshot) => {
                let changes = snapshot.changes_since(&previous);
                let snapshot = Arc::new(snapshot);
                self.current.store(Arc::clone(&snapshot));
                if self.degraded.swap(false, Ordering::AcqRel) {
                    events.push(Event::recovered(now, generation));
                }
                events.push(Event::reloaded(
                    now,
                    generation,
                    changes.owners.iter().cloned().collect(),
                ));
                Ok(ReloadReport {
                    generation,
                    previous_generation: previous.generation(),
                    changes,
                    elapsed: self.host.clock.monotonic().saturating_sub(start),
                    snapshot,
                })
            }
        }
    }

    /// Whether the last reload failed, so that older secrets are in use.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Acquire)
    }

    /// Whether a file that the current generation was read from, or that was looked for, is no
    /// longer what it was. Asks for the facts of each file, and reads none.
    pub fn files_changed(&self) -> bool {
        let snapshot = self.current.load();
        let mut watched = snapshot.watched.iter();
        watched.any(|(path, known)| self.host.files.stat(path).ok() != *known)
    }

    /// Takes the queued events, oldest first. At most 256 are kept.
    pub fn events(&self) -> Vec<Event> {
        std::iter::from_fn(|| self.next_event()).collect()
    }

    /// Takes the oldest queued event.
    pub fn next_event(&self) -> Option<Event> {
        self.events.lock().take()
    }

    /// Ends running programs of an activation and makes later ones fail. For shutting down.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Load, resolve, build.
fn activate(
    host: &Host,
    options: &Options,
    access: &AccessParts,
    cancel: &Cancel,
    previous: Option<&Snapshot>,
) -> Result<Snapshot> {
    let source = config::read(host, &options.read_options());
    let loaded = secrets::load(source, Rules::built_in())?;
    let stop = Stop {
        deadline: deadline(host, options.deadline_ms()),
        cancel: cancel.clone(),
    };
    let activate = ActivateOptions {
        exec_gate: options.exec_gate(),
        stop,
    };
    let activated = loaded
        .activate(host, &activate)
        .map_err(|failure| failure.into_error())?;
    let generation = previous.map_or(1, |previous| previous.generation() + 1);
    Snapshot::build(generation, loaded, activated, access, previous)
}

impl ReloadReport {
    /// The generation now in use.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation before.
    pub fn previous_generation(&self) -> u64 {
        self.previous_generation
    }

    /// Paths whose secret is new, changed, or became active or inactive; sorted.
    pub fn changed_paths(&self) -> impl Iterator<Item = &str> {
        self.changes.paths.iter().map(String::as_str)
    }

    /// Owners of secrets that changed; sorted.
    pub fn changed_owners(&self) -> impl Iterator<Item = &str> {
        self.changes.owners.iter().map(String::as_str)
    }

    /// Paths that no longer hold a secret; sorted.
    pub fn removed_paths(&self) -> impl Iterator<Item = &str> {
        self.changes.removed.iter().map(String::as_str)
    }

    /// Time the reload took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The new snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        let providers: Vec<Value> = self
            .snapshot
            .providers()
            .iter()
            .map(provider_json)
            .collect();
        json!({
            "generation": self.generation,
            "previousGeneration": self.previous_generation,
            "changedPaths": self.changes.paths,
            "changedOwners": self.changes.owners,
            "removedPaths": self.changes.removed,
            "warningCount": self.snapshot.issues().len(),
            "warnings": self.snapshot.issues().iter().map(Issue::to_json).collect::<Vec<_>>(),
            "diagnostics":
                self.snapshot.diagnostics().iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "elapsedMs": u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
            "providers": providers,
        })
    }
}

fn provider_json(report: &ProviderReport) -> Value {
    json!({
        "source": report.source.as_str(),
        "provider": report.provider,
        "refs": report.refs,
        "runs": report.runs,
        "elapsedMs": report.elapsed_ms,
    })
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("snapshot", &*self.current.load())
            .finish_non_exhaustive()
    }
}

/// The error of an event, in short.
fn primary(error: &Error) -> String {
    error.message().to_owned()
}
