//! The facade: open a configuration, read secrets, decide about requests, reload.

mod chain;
mod chat;
mod events;
mod lease;
mod material;
mod options;
mod profiles;
mod refresh;
mod report;
mod routes;
mod trial;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::config::{self, Issue};
use crate::error::{Error, Result};
use crate::host::{Cancel, Host};
use crate::secrets::{self, ActivateOptions, Diagnostic, ProviderReport, Rules, Stop, deadline};
use crate::snapshot::{Changes, Snapshot};

pub use chat::{ChatReply, ModelChoice};
pub use events::Event;
use events::EventQueue;
pub use lease::{Attempt, Exhausted, Lease, LeaseRequest, Verdict};
pub use options::Options;
pub use refresh::{RefreshFailure, RefreshRequest, Refreshed, Refresher};
use routes::Router;

/// The credentials of one configuration, kept current.
///
/// `Send + Sync`; share it as `Arc<Engine>`. Reads ([`Engine::snapshot`]) never wait, not even
/// for a running reload. [`Engine::open`] and [`Engine::reload`] may block for seconds, because
/// they run programs: call them off an event loop.
pub struct Engine {
    host: Host,
    options: Options,
    current: ArcSwap<Snapshot>,
    /// One activation at a time; the state of the reload machine with it.
    activation: Mutex<ReloadState>,
    events: Mutex<EventQueue>,
    cancel: Cancel,
    router: Arc<Router>,
}

/// Whether the last reload succeeded.
#[derive(Debug, Default)]
struct ReloadState {
    degraded: bool,
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
        let snapshot = Arc::new(activate(&host, &options, &cancel, 1)?);
        let engine = Self {
            router: Router::new(host.clone(), &snapshot),
            current: ArcSwap::new(snapshot),
            activation: Mutex::default(),
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

    /// Reads and resolves everything again and swaps it in as one. Concurrent calls wait for each
    /// other. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`]; the last good snapshot stays in use.
    pub fn reload(&self) -> Result<ReloadReport> {
        let mut state = self.activation.lock();
        let start = self.host.clock.monotonic();
        let previous = self.current.load_full();
        let generation = previous.generation() + 1;
        let result = activate(&self.host, &self.options, &self.cancel, generation);
        let now = self.host.clock.now_ms();
        let mut events = self.events.lock();
        match result {
            Err(error) => {
                if !state.degraded {
                    state.degraded = true;
                    events.push(Event::degraded(now, previous.generation(), &error));
                }
                Err(error)
            }
            Ok(snapshot) => {
                let changes = snapshot.changes_since(&previous);
                let snapshot = Arc::new(snapshot);
                self.current.store(Arc::clone(&snapshot));
                self.router.replace(&snapshot);
                if state.degraded {
                    state.degraded = false;
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
        self.activation.lock().degraded
    }

    /// Takes the queued events, oldest first. At most 256 are kept.
    pub fn events(&self) -> Vec<Event> {
        let (now, generation) = (self.host.clock.now_ms(), self.current.load().generation());
        let mut notices = std::mem::take(&mut *self.router.notices.lock());
        for agent in self.router.opened_agents() {
            notices.append(&mut agent.take_notices());
        }
        let mut events = self.events.lock();
        for notice in notices {
            events.push(Event::noticed(now, generation, notice));
        }
        events.drain()
    }

    /// Ends running programs of an activation and makes later ones fail. For shutting down.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Load, resolve, build.
fn activate(host: &Host, options: &Options, cancel: &Cancel, generation: u64) -> Result<Snapshot> {
    let source = config::read(host, &options.read_options());
    let loaded = secrets::load(source, Rules::built_in())?;
    let stop = Stop {
        deadline: deadline(host, options.deadline_ms()),
        cancel: cancel.clone(),
    };
    let activate = ActivateOptions {
        exec_gate: options.exec_gate(),
        stop: stop.clone(),
    };
    let mut activated = loaded
        .activate(host, &activate)
        .map_err(|failure| failure.into_error())?;
    let mut further = routes::profile_refs(host, &loaded.source);
    further.retain(|reference| !activated.by_ref.contains_key(&reference.to_string()));
    activated
        .by_ref
        .extend(loaded.resolve_further(host, stop, &further));
    Ok(Snapshot::build(
        generation,
        host.clock.now_ms(),
        loaded,
        activated,
    ))
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
