//! The seam to the engine: everything the server asks of it, and nothing else.
//!
//! The server knows these two traits and [`open`] only, so its tests can put slow reloads,
//! panics and denials of any kind behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::HeaderMap;
use openclaw_auth::{Code, Engine, Error, Event, Issue, Options, SecretText};
use serde_json::{Value, json};

/// The engine: the current snapshot, and what changes it.
pub(crate) trait Core: Send + Sync {
    /// The current snapshot. Never waits.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// Reads and resolves everything again. Blocks; keeps the last good snapshot on failure.
    fn reload(&self) -> Result<Reloaded, Error>;
    /// Takes the events that happened since the last call.
    fn events(&self) -> Vec<Event>;
    /// Ends a running reload and its programs, for shutting down.
    fn cancel(&self);
}

/// One generation of settings, secrets and access rules.
pub(crate) trait Snapshot: Send + Sync {
    /// Its number.
    fn generation(&self) -> u64;
    /// The state folder.
    fn state_dir(&self) -> &Path;
    /// The resolved secret at a path.
    fn secret(&self, path: &str) -> Result<&SecretText, Error>;
    /// The effective setting at a path; secrets inside it are not readable.
    fn value(&self, path: &str) -> Result<Option<&Value>, Error>;
    /// Whether this request may use the gateway, and as whom.
    fn authorize(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>>;
    /// Mode of authentication: `trusted-proxy`, `token`, `password` or `none`.
    fn auth_mode(&self) -> &str;
    /// Whether an address is one of `gateway.trustedProxies`.
    fn is_trusted_proxy(&self, peer: IpAddr) -> bool;
    /// Whether the peer is on this machine and no header says that somebody is behind it.
    fn is_local_direct(&self, facts: &Facts<'_>) -> bool;
    /// Whether a caller may use administrative routes.
    fn is_admin(&self, identity: &Identity) -> bool;
    /// Whether answers keep the reason of a denial to themselves.
    fn hides_reasons(&self) -> bool;
    /// The `Strict-Transport-Security` header for this connection, if any.
    fn strict_transport_security(&self, facts: &Facts<'_>) -> Option<&str>;
}

/// What is known about a request when access is decided.
pub(crate) struct Facts<'a> {
    /// Peer address and port.
    pub(crate) remote: &'a str,
    /// Own address and port of the connection.
    pub(crate) local: &'a str,
    /// Every header line in arrival order.
    pub(crate) headers: &'a HeaderMap,
    /// Whether the request asks for a WebSocket.
    pub(crate) websocket: bool,
}

/// Who the caller is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// How the caller was recognised.
    pub(crate) method: &'static str,
    /// Name of the user, in trusted-proxy mode.
    pub(crate) user: Option<String>,
    /// Address of the client behind the proxies.
    pub(crate) client_ip: Option<IpAddr>,
    /// The whole identity as every language shows it.
    pub(crate) json: Value,
}

/// Why a caller is refused.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    /// Stable code.
    pub(crate) code: Code,
    /// Status of the answer.
    pub(crate) status: u16,
    /// Body of the answer.
    pub(crate) body: Value,
    /// Value of `WWW-Authenticate`, when one belongs into the answer.
    pub(crate) challenge: Option<&'static str>,
    /// When a retry makes sense, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
    /// How long to wait before answering, in milliseconds.
    pub(crate) penalty_ms: u32,
}

impl Denied {
    /// The body, with the reason left out when reasons are to be hidden.
    pub(crate) fn to_error_body(&self, hide: bool) -> Value {
        if hide && matches!(self.status, 401 | 403) {
            json!({"error": {"message": "Unauthorized", "type": "unauthorized"}})
        } else {
            self.body.clone()
        }
    }
}

/// What a successful reload did.
#[derive(Debug, Clone)]
pub(crate) struct Reloaded {
    /// Number of the new snapshot.
    pub(crate) generation: u64,
    /// What a person should look at.
    pub(crate) warnings: Vec<Value>,
}

/// How to open the engine.
#[derive(Default)]
pub(crate) struct OpenRequest {
    /// Configuration file, when not the default one.
    pub(crate) config: Option<PathBuf>,
    /// State folder, when not the default one.
    pub(crate) state_dir: Option<PathBuf>,
    /// The whole configuration as text, instead of a file.
    pub(crate) source_text: Option<String>,
    /// The whole environment, instead of the process's.
    pub(crate) env: Option<BTreeMap<String, String>>,
    /// Replaces `gateway.auth.mode`.
    pub(crate) auth_mode: Option<String>,
    /// Replaces `gateway.auth.token`.
    pub(crate) token: Option<SecretText>,
    /// Replaces `gateway.auth.password`.
    pub(crate) password: Option<SecretText>,
}

/// Opens the engine.
///
/// # Errors
///
/// Whatever keeps the first snapshot from being built.
pub(crate) fn open(request: OpenRequest) -> Result<Arc<dyn Core>, Error> {
    let mut options = Options::new();
    if let Some(path) = request.config {
        options = options.config_path(path);
    }
    if let Some(text) = request.source_text {
        options = options.config_text(text);
    }
    if let Some(path) = request.state_dir {
        options = options.state_dir(path);
    }
    if let Some(env) = request.env {
        options = options.env(env);
    }
    // WIRING: hand auth_mode, token and password over as access overrides.
    Ok(Arc::new(Engine::open(options)?))
}

impl Core for Engine {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Self::snapshot(self)
    }

    fn reload(&self) -> Result<Reloaded, Error> {
        let report = Self::reload(self)?;
        let issues = report.snapshot().issues();
        Ok(Reloaded {
            generation: report.generation(),
            warnings: issues.iter().map(Issue::to_json).collect(),
        })
    }

    fn events(&self) -> Vec<Event> {
        Self::events(self)
    }

    fn cancel(&self) {
        Self::cancel(self);
    }
}

// WIRING: the methods about access ask `self.access()` once snapshots carry the access policy.
// Until then everybody is refused.
impl Snapshot for openclaw_auth::Snapshot {
    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    fn state_dir(&self) -> &Path {
        &self.locations().state
    }

    fn secret(&self, path: &str) -> Result<&SecretText, Error> {
        Self::secret(self, path)
    }

    fn value(&self, path: &str) -> Result<Option<&Value>, Error> {
        Self::value(self, path)
    }

    fn authorize(&self, _facts: &Facts<'_>) -> Result<Identity, Box<Denied>> {
        Err(Box::new(Denied {
            code: Code::InternalError,
            status: 500,
            body: json!({"error": {"code": "internal_error", "message": "internal error", "type": "server_error"}}),
            challenge: None,
            retry_after_ms: None,
            penalty_ms: 0,
        }))
    }

    fn auth_mode(&self) -> &str {
        "token"
    }

    fn is_trusted_proxy(&self, _peer: IpAddr) -> bool {
        false
    }

    fn is_local_direct(&self, _facts: &Facts<'_>) -> bool {
        false
    }

    fn is_admin(&self, _identity: &Identity) -> bool {
        false
    }

    fn hides_reasons(&self) -> bool {
        false
    }

    fn strict_transport_security(&self, _facts: &Facts<'_>) -> Option<&str> {
        None
    }
}
