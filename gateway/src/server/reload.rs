//! Reloads: never two at a time. Whoever asks while one is reading shares the next one, because
//! what they have changed may have been read already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_auth::{Code, Error};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::bind::Listening;
use super::core_api::{Core, Reloaded};
use super::metrics::Metrics;
use super::readiness::Readiness;

/// How a reload ended.
pub(crate) type Outcome = Arc<Result<Reloaded, Error>>;

/// Runs reloads.
pub(crate) struct Reloader {
    core: Arc<dyn Core>,
    listening: Arc<Listening>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    degraded: AtomicBool,
    /// Number of the snapshot of the last reload that worked.
    generation: watch::Sender<u64>,
    runs: Mutex<Runs>,
}

/// The reload that is running, and the one after it.
#[derive(Default)]
struct Runs {
    current: Option<Run>,
    next: Option<Run>,
}

struct Run {
    ended: watch::Sender<Option<Outcome>>,
    /// Whether it may have read something.
    has_begun: bool,
}

impl Run {
    fn new() -> Self {
        Self {
            ended: watch::Sender::new(None),
            has_begun: false,
        }
    }
}

impl Reloader {
    /// For this engine, in a server that listens there.
    pub(crate) fn new(
        core: Arc<dyn Core>,
        listening: Arc<Listening>,
        readiness: Arc<Readiness>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            generation: watch::Sender::new(core.snapshot().generation()),
            core,
            listening,
            readiness,
            metrics,
            degraded: AtomicBool::new(false),
            runs: Mutex::default(),
        }
    }

    /// Whether the last reload failed, so that older settings and secrets are in use.
    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Tells about every snapshot that a reload brings.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Reloads, or waits for a reload that has not begun to read.
    ///
    /// The reload goes on when the caller goes away.
    pub(crate) async fn reload(self: &Arc<Self>) -> Outcome {
        let mut running = self.join();
        let ended = running
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ended| ended.clone());
        ended.unwrap_or_else(|| {
            Arc::new(Err(Error::new(
                Code::InternalError,
                "the reload ended without a result",
            )))
        })
    }

    fn join(self: &Arc<Self>) -> watch::Receiver<Option<Outcome>> {
        let mut runs = self.runs.lock();
        let run = match &runs.current {
            Some(current) if !current.has_begun => &mut runs.current,
            Some(_) => &mut runs.next,
            None => {
                tokio::spawn(Arc::clone(self).work());
                &mut runs.current
            }
        };
        run.get_or_insert_with(Run::new).ended.subscribe()
    }

    /// Runs until nobody asks any more.
    async fn work(self: Arc<Self>) {
        loop {
            let that = Arc::clone(&self);
            let outcome = tokio::task::spawn_blocking(move || that.read()).await;
            let outcome = outcome
                .unwrap_or_else(|_| Err(Error::new(Code::InternalError, "the reload broke off")));
            self.degraded.store(outcome.is_err(), Ordering::Relaxed);
            self.readiness.changed();
            self.metrics.reloaded(outcome.is_ok());
            if let Ok(reloaded) = &outcome {
                self.generation.send_replace(reloaded.generation);
            }
            log_outcome(&*self.core, &outcome);
            let (done, goes_on) = {
                let mut runs = self.runs.lock();
                let next = runs.next.take();
                let done = std::mem::replace(&mut runs.current, next);
                (done, runs.current.is_some())
            };
            if let Some(done) = done {
                done.ended.send_replace(Some(Arc::new(outcome)));
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Blocks: runs programs and reads files.
    fn read(&self) -> Result<Reloaded, Error> {
        if let Some(current) = &mut self.runs.lock().current {
            current.has_begun = true;
        }
        let mut reloaded = self.core.reload()?;
        reloaded.warnings.extend(self.restart_required());
        reloaded.warnings.extend(self.renew_tls());
        Ok(reloaded)
    }

    /// Reads certificates and keys again; what is wrong with them leaves the old ones in use.
    fn renew_tls(&self) -> Vec<Value> {
        let Some(tls) = &self.listening.tls else {
            return Vec::new();
        };
        match tls.reload(&*self.core.snapshot()) {
            Ok(notices) => notices
                .iter()
                .map(|notice| json!({"code": notice.code.as_str(), "message": notice.message}))
                .collect(),
            Err(error) => vec![error.to_json()],
        }
    }

    /// A warning when the settings ask for a listener other than the one there is.
    fn restart_required(&self) -> Option<Value> {
        let is_current = self.listening.is_wanted_by(&*self.core.snapshot());
        (!is_current).then(|| {
            json!({
                "code": Code::RestartRequired.as_str(),
                "message": "address, port and TLS of the listener change with a restart only",
            })
        })
    }
}

/// How a reload ended, for programs.
pub(crate) fn document(outcome: &Result<Reloaded, Error>) -> Value {
    match outcome {
        Ok(reloaded) => json!({
            "reloaded": true,
            "snapshot": reloaded.generation,
            "changedOwners": reloaded.changed_owners,
            "warnings": reloaded.warnings,
        }),
        Err(error) => json!({"reloaded": false, "errors": errors(error)}),
    }
}

/// Writes the engine's events to the log.
pub(crate) fn log_events(core: &dyn Core) {
    for event in core.events() {
        log::info!(
            "{} (generation {}): {}",
            event.code(),
            event.generation(),
            event.message()
        );
    }
}

/// The failures of an error, one by one, as values for people and scripts.
fn errors(error: &Error) -> Vec<Value> {
    match error.details().get("failures").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => list.clone(),
        _ => vec![error.to_json()],
    }
}

fn log_outcome(core: &dyn Core, outcome: &Result<Reloaded, Error>) {
    log_events(core);
    match outcome {
        Ok(reloaded) => {
            log::info!("reloaded, generation {}", reloaded.generation);
            for warning in &reloaded.warnings {
                log::warn!("{warning}");
            }
        }
        Err(error) => {
            log::error!(
                "reload refused, the last good settings stay: {}",
                error.message()
            );
            for failure in errors(error) {
                log::error!("{failure}");
            }
        }
    }
}
