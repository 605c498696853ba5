//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openclaw_auth::Error;
use openclaw_auth::host;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::access_log::AccessLog;
use super::bind::Listening;
use super::core_api::Core;
use super::limits::{Connections, Forwarded, Limits};
use super::metrics::Metrics;
use super::probe::Nonces;
use super::proxy::{Budget, UpstreamClient};
use super::readiness::Readiness;
use super::reload::Reloader;
use super::settings::{Current, Settings};
use super::tls::Tls;

/// The running server.
pub(crate) struct State {
    /// The engine.
    pub(crate) core: Arc<dyn Core>,
    /// What is bounded.
    pub(crate) limits: Arc<Limits>,
    /// The access log.
    pub(crate) log: Arc<AccessLog>,
    /// The open connections.
    pub(crate) connections: Arc<Connections>,
    /// The requests being forwarded.
    pub(crate) forwarded: Arc<Forwarded>,
    /// What may be kept of request bodies.
    pub(crate) replay: Arc<Budget>,
    /// Connections to providers.
    pub(crate) upstream: UpstreamClient,
    /// Runs reloads, one at a time.
    pub(crate) reloader: Arc<Reloader>,
    /// The probes that run now.
    pub(crate) nonces: Nonces,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the server is ready.
    pub(crate) readiness: Arc<Readiness>,
    /// When the server was made.
    pub(crate) started: Instant,
    place: Arc<Listening>,
    current: RwLock<Arc<Current>>,
    ids: RequestIds,
}

impl State {
    /// The state of a server that does not listen yet.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness for request ids.
    pub(crate) fn new(
        core: Arc<dyn Core>,
        limits: Limits,
        log: Arc<AccessLog>,
        listening: Listening,
    ) -> Result<Arc<Self>, Error> {
        let place = Arc::new(listening);
        let current = RwLock::new(Arc::new(read(&*core, &place)));
        let readiness = Arc::new(Readiness::default());
        let metrics = Arc::new(Metrics::default());
        Ok(Arc::new(Self {
            connections: Arc::default(),
            forwarded: Arc::default(),
            replay: Arc::new(Budget::new(limits.replay)),
            upstream: UpstreamClient::new(limits.connect),
            reloader: Arc::new(Reloader::new(
                Arc::clone(&core),
                Arc::clone(&place),
                Arc::clone(&readiness),
                Arc::clone(&metrics),
            )),
            metrics,
            nonces: Nonces::default(),
            started: Instant::now(),
            readiness,
            ids: RequestIds::new()?,
            core,
            limits: Arc::new(limits),
            log,
            place,
            current,
        }))
    }

    /// The current snapshot with the settings from it.
    pub(crate) fn current(&self) -> Arc<Current> {
        let generation = self.core.snapshot().generation();
        {
            let current = self.current.read();
            if current.snapshot.generation() == generation {
                return Arc::clone(&current);
            }
        }
        let fresh = Arc::new(read(&*self.core, &self.place));
        *self.current.write() = Arc::clone(&fresh);
        fresh
    }

    /// An id for a request.
    pub(crate) fn request_id(&self) -> String {
        self.ids.next()
    }

    /// TLS of the listener, unless it is off.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.place.tls.as_ref()
    }

    /// Why the server is not ready; empty when it is.
    pub(crate) fn failing(&self) -> Vec<&'static str> {
        self.readiness.failing(|| {
            vec![
                ("secrets", self.reloader.is_degraded()),
                ("tls", self.tls().is_some_and(Tls::is_failing)),
            ]
        })
    }
}

fn read(core: &dyn Core, place: &Listening) -> Current {
    let snapshot = core.snapshot();
    let settings = Settings::read(&*snapshot, place);
    Current { snapshot, settings }
}

/// Ids that do not repeat: a random start of the process, and a counter.
struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Result<Self, Error> {
        let mut bytes = [0_u8; 4];
        host::random(&mut bytes).map_err(|error| {
            Error::new(
                openclaw_auth::Code::InternalError,
                format!("no random numbers: {}", error.kind()),
            )
        })?;
        Ok(Self {
            process: u32::from_ne_bytes(bytes),
            next: AtomicU64::new(1),
        })
    }

    fn next(&self) -> String {
        format!(
            "{:08x}-{:06x}",
            self.process,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}
