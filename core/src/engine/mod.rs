//! The facade: open a configuration, read secrets, decide about requests, reload.

mod agents;
mod chain;
mod chat;
mod config_file;
mod events;
mod lease;
mod material;
mod models;
mod oauth;
mod options;
mod preflight;
mod profiles;
mod redact;
mod refresh;
mod report;
mod routes;
mod scene;
mod store;
mod tools;
mod trial;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::access::{AccessRequest, Denied, Identity};
use crate::config::{self, Issue, Watched};
use crate::error::{Error, Result};
use crate::host::{Cancel, Host};
use crate::secrets::{self, ActivateOptions, Diagnostic, ProviderReport, Registry, Rules};
use crate::snapshot::{AccessParts, Changes, Snapshot};

pub use agents::{AddedAgent, CopyAuth, DeletedAgent, NewAgent};
pub use chat::{ChatReply, ModelChoice};
pub use config_file::{ClaudeCliDone, ConfigEdit, ConfigUpdate};
pub use events::Event;
use events::EventQueue;
pub use lease::{Attempt, Exhausted, Lease, LeaseRequest, Verdict};
use oauth::OauthParts;
pub use oauth::{LoginDone, LoginOptions, OauthToken};
pub use options::Options;
use preflight::preflight;
pub use preflight::{PreflightReport, Proposal};
pub use refresh::{RefreshFailure, RefreshRequest, Refreshed, Refresher, TokenLife};
use routes::Router;
pub(crate) use scene::{Key, KeySource, Scene};
pub use store::{StoreCheck, StoreFinding, StoreRepair};
pub use tools::{ApplyOptions, AuditOptions, RefResolver};
pub use watch::{WatchStamp, WatchStep, Watcher};

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
    /// The files of the last attempt to activate, also of a failed one.
    watched: Mutex<WatchStamp>,
    /// What the host has registered, and the table made of it.
    table: Mutex<(Registry, Arc<Rules>)>,
    cancel: Cancel,
    router: Arc<Router>,
    oauth: Arc<OauthParts>,
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
        let registry = options.registry_copy();
        let rules = Arc::new(Rules::new(&registry));
        let mut watched = Watched::new();
        let snapshot = Activation {
            host: &host,
            options: &options,
            access: &access,
            rules: Arc::clone(&rules),
            cancel: &cancel,
        }
        .run(None, &mut watched)?;
        let snapshot = Arc::new(snapshot);
        let engine = Self {
            router: Router::new(host.clone(), &snapshot),
            oauth: OauthParts::new(host.clone(), &snapshot),
            access,
            current: ArcSwap::new(snapshot),
            activation: Mutex::default(),
            degraded: AtomicBool::new(false),
            events: Mutex::default(),
            watched: Mutex::new(WatchStamp::new(watched)),
            table: Mutex::new((registry, rules)),
            cancel,
            host,
            options,
        };
        engine.oauth.serve(&engine.router);
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
    /// When nothing has changed, the snapshot in use stays, with its generation; there is no
    /// event then, unless a failed reload came before.
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
        let mut watched = Watched::new();
        let result = self
            .activation_plan(options)
            .run(Some(&previous), &mut watched);
        *self.watched.lock() = WatchStamp::new(watched);
        let now = self.host.clock.now_ms();
        let mut events = self.events.lock();
        let snapshot = match result {
            Err(error) => {
                if !self.degraded.swap(true, Ordering::AcqRel) {
                    events.push(Event::degraded(now, previous.generation(), &error));
                }
                return Err(error);
            }
            Ok(snapshot) if snapshot.says_the_same(&previous) => Arc::clone(&previous),
            Ok(snapshot) => Arc::new(snapshot),
        };
        let is_new = !Arc::ptr_eq(&snapshot, &previous);
        let changes = match is_new {
            true => snapshot.changes_since(&previous),
            false => Changes::default(),
        };
        let generation = snapshot.generation();
        if is_new {
            self.current.store(Arc::clone(&snapshot));
            self.router.replace(&snapshot);
            self.oauth.replace(&snapshot);
        }
        if self.degraded.swap(false, Ordering::AcqRel) {
            events.push(Event::recovered(now, generation));
        }
        if is_new {
            let owners = changes.owners.iter().cloned().collect();
            events.push(Event::reloaded(now, generation, owners));
        }
        Ok(ReloadReport {
            generation,
            previous_generation: previous.generation(),
            changes,
            elapsed: self.host.clock.monotonic().saturating_sub(start),
            snapshot,
        })
    }

    /// Loads and resolves a configuration as a reload would, and keeps nothing of it: neither
    /// the snapshot, nor the state of reloading, nor events change. Blocks.
    pub fn preflight(&self, proposal: &Proposal) -> PreflightReport {
        let rules = Arc::clone(&self.table.lock().1);
        preflight(&self.host, &self.options, rules, &self.cancel, proposal)
    }

    /// A document printed from this configuration, with every `__OPENCLAW_REDACTED__` replaced by
    /// what the configuration on disk has at the same path, as it was written: a `${NAME}` or a
    /// reference comes back as such, never as its value; a literal secret comes back as itself.
    /// For writing the document to the file, nothing else.
    ///
    /// # Errors
    ///
    /// `config_redacted_value` with `details.paths` when there is nothing to put back.
    pub fn restore_redacted(&self, proposed: &Value) -> Result<Value> {
        self.options.restore_redacted(proposed)
    }

    /// The files that the configuration depends on, as they were at the last attempt to activate.
    pub fn watch_stamp(&self) -> WatchStamp {
        self.watched.lock().clone()
    }

    /// Whether a file that the configuration depends on has changed since the last attempt to
    /// activate. One `stat` for each.
    pub fn watched_changed(&self) -> bool {
        let loaded = self.watch_stamp();
        loaded.again(&self.host) != loaded
    }

    /// One look of a watcher at those files.
    pub fn watch_step(&self, watcher: &mut Watcher) -> WatchStep {
        let loaded = self.watch_stamp();
        let current = loaded.again(&self.host);
        watcher.step(self.host.clock.monotonic(), &loaded, current)
    }

    fn activation_plan<'a>(&'a self, options: &'a Options) -> Activation<'a> {
        Activation {
            host: &self.host,
            options,
            access: &self.access,
            rules: Arc::clone(&self.table.lock().1),
            cancel: &self.cancel,
        }
    }

    /// What the host has registered beyond the built-in table of secret surfaces.
    pub fn registry(&self) -> Registry {
        self.table.lock().0.clone()
    }

    /// Exchanges what the host has registered. Counts from the next activation.
    pub fn set_registry(&self, registry: Registry) {
        let rules = Arc::new(Rules::new(&registry));
        *self.table.lock() = (registry, rules);
    }

    /// The options that open the same installation again.
    pub(crate) fn options_again(&self) -> Options {
        self.options.clone().with_host(self.host.clone())
    }

    /// Whether the last reload failed, so that older secrets are in use.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Acquire)
    }

    /// Takes the queued events, oldest first. At most 256 are kept.
    pub fn events(&self) -> Vec<Event> {
        self.collect_notices();
        std::iter::from_fn(|| self.events.lock().take()).collect()
    }

    /// Takes the oldest queued event.
    pub fn next_event(&self) -> Option<Event> {
        self.collect_notices();
        self.events.lock().take()
    }

    /// Moves what the profile stores and routes noticed into the queue.
    fn collect_notices(&self) {
        let (now, generation) = (self.host.clock.now_ms(), self.current.load().generation());
        let mut notices = std::mem::take(&mut *self.router.notices.lock());
        for agent in self.router.opened_agents() {
            notices.append(&mut agent.take_notices());
        }
        notices.append(&mut self.oauth.take_notices());
        let mut events = self.events.lock();
        for notice in notices {
            events.push(Event::noticed(now, generation, notice));
        }
    }

    /// Ends running programs of an activation and makes later ones fail. For shutting down.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Load, resolve, build.
struct Activation<'a> {
    host: &'a Host,
    options: &'a Options,
    access: &'a AccessParts,
    rules: Arc<Rules>,
    cancel: &'a Cancel,
}

impl Activation<'_> {
    fn run(self, previous: Option<&Snapshot>, watched: &mut Watched) -> Result<Snapshot> {
        let Self { host, options, .. } = self;
        let source = config::read(host, &options.read_options());
        let loaded = secrets::load(host, source, self.rules, watched)?;
        let stop = options.stop(host, self.cancel);
        let activate = ActivateOptions {
            exec: options.exec_mode(),
            stop,
            only: None,
        };
        let attempt = loaded.attempt(host, &activate);
        let attempt = match options.tolerates_unresolved() {
            true => attempt,
            false => attempt
                .into_result()
                .map_err(|failure| failure.into_error())?,
        };
        Snapshot::build(loaded, attempt, self.access, previous)
    }
}

impl ReloadReport {
    /// The generation now in use.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nothing had changed, so that the snapshot stayed.
    pub fn is_unchanged(&self) -> bool {
        self.generation == self.previous_generation
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
            "unchanged": self.is_unchanged(),
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
