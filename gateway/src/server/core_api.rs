//! The seam to the engine: everything the server asks of it, and nothing else.
//!
//! The server knows these two traits and [`open`] only, so its tests can put slow reloads,
//! panics and denials of any kind behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::HeaderMap;
use openclaw_auth::{Code, Error, SecretText};
use serde_json::{Value, json};

/// The engine: the current snapshot, and what changes it.
pub(crate) trait Core: Send + Sync {
    /// The current snapshot. Never waits.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// Reads and resolves everything again. Blocks; keeps the last good snapshot on failure.
    fn reload(&self) -> Result<Reloaded, Error>;
    /// Takes the events that happened since the last call.
    fn events(&self) -> Vec<Event>;
    /// Whether the last reload failed, so that the snapshot may be out of date.
    fn is_degraded(&self) -> bool;
    /// The state folder.
    fn state_dir(&self) -> PathBuf;
}

/// One generation of settings, secrets and access rules.
pub(crate) trait Snapshot: Send + Sync {
    /// Its number.
    fn generation(&self) -> u64;
    /// The resolved secret at a path.
    fn secret(&self, path: &str) -> Result<SecretText, Error>;
    /// The effective setting at a path; secrets inside it are not readable.
    fn value(&self, path: &str) -> Result<Option<&Value>, Error>;
    /// Whether this request may use the gateway, and as whom.
    fn authorize(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>>;
    /// Mode of authentication: `trusted-proxy`, `token`, `password` or `none`.
    fn auth_mode(&self) -> &str;
    /// Whether an address is one of `gateway.trustedProxies`.
    fn is_trusted_proxy(&self, peer: IpAddr) -> bool;
    /// Whether a caller may use administrative routes.
    fn is_admin(&self, identity: &Identity) -> bool;
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
    /// Method of the request.
    pub(crate) method: &'a str,
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

/// Something worth a line in the log.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Stable code.
    pub(crate) code: Code,
    /// One sentence.
    pub(crate) message: String,
    /// The generation it is about.
    pub(crate) generation: u64,
}

/// What a successful reload did.
#[derive(Debug, Clone)]
pub(crate) struct Reloaded {
    /// Number of the new snapshot.
    pub(crate) generation: u64,
    /// What a person should look at.
    pub(crate) warnings: Vec<String>,
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
// WIRING: build `openclaw_auth::Options` from the request, open the engine, and implement the
// two traits for `Engine` and `Snapshot`; nothing else in the server changes.
pub(crate) fn open(_request: &OpenRequest) -> Result<Arc<dyn Core>, Error> {
    Err(Error::new(
        Code::InternalError,
        "the engine is not part of this build",
    ))
}
