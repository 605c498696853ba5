//! The seam to the engine: everything the server asks of it, and nothing else.
//!
//! The server knows these two traits and [`open`] only, so its tests can put slow reloads,
//! panics and denials of any kind behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::HeaderMap;
use openclaw_auth::access::{self, AccessRequest, ConnectionKind, Headers, Overrides};
use openclaw_auth::host::Host;
use openclaw_auth::{
    ChatReply, Code, Engine, Error, Event, Issue, ModelRef, Options, Progress, SecretText,
    SessionEntry, WatchStep, Watcher, mask,
};
use serde_json::{Value, json};

use super::access_log::Fields;
use super::lending::{self, Lent, Wish};
use crate::waiting::Waiting;

/// The engine: the current snapshot, and what changes it.
pub(crate) trait Core: Send + Sync {
    /// The current snapshot. Never waits.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// Reads and resolves everything again. Blocks; keeps the last good snapshot on failure.
    fn reload(&self) -> Result<Reloaded, Error>;
    /// Takes the events that happened since the last call.
    fn events(&self) -> Vec<Event>;
    /// One look at the files that the settings depend on. Blocks for one `stat` each.
    fn watch_step(&self, watcher: &mut Watcher) -> WatchStep;
    /// Ends a running reload and its programs, for shutting down.
    fn cancel(&self);
    /// Lends a credential. May block.
    fn lease(&self, wish: &Wish) -> Result<Box<dyn Lent>, Error>;
    /// Carries out a `/model` directive; `None` when the text has none. May block.
    fn command(
        &self,
        session: &str,
        text: &str,
        shown: Option<&str>,
    ) -> Result<Option<ChatReply>, Error>;
    /// What is remembered about a session.
    fn session(&self, key: &str) -> SessionEntry;
    /// Forgets what a session has selected.
    fn forget_session(&self, key: &str);
    /// The model that a text names.
    fn resolve_model(&self, text: &str) -> Option<ModelRef>;
    /// The model that is used when nothing else is chosen.
    fn default_model(&self) -> Option<ModelRef>;
    /// The profiles and keys of a provider without secrets. May block.
    fn profiles(&self, provider: &str) -> Result<Value, Error>;
    /// How often tokens were refreshed: provider, worked, failed.
    fn refreshes(&self) -> Vec<(String, u64, u64)>;
    /// How many credentials are lent now.
    #[cfg(test)]
    fn leases_out(&self) -> usize;
    /// Writes usage that waits for the store: what has waited long enough, or everything. Blocks.
    fn flush(&self, everything: bool);
}

/// One generation of settings, secrets and access rules.
pub(crate) trait Snapshot: Send + Sync {
    /// Its number.
    fn generation(&self) -> u64;
    /// When it was activated, in milliseconds since 1970.
    fn activated_at_ms(&self) -> u64;
    /// Callers whose wrong credentials are remembered, and how many of them are locked out.
    fn limited(&self) -> (usize, usize);
    /// The state folder.
    fn state_dir(&self) -> &Path;
    /// The home folder, for `~` in settings.
    fn home_dir(&self) -> &Path;
    /// The resolved secret at a path.
    fn secret(&self, path: &str) -> Result<&SecretText, Error>;
    /// The effective setting at a path; secrets inside it are not readable.
    fn value(&self, path: &str) -> Result<Option<&Value>, Error>;
    /// The credentials of model providers, without their values.
    fn credentials(&self) -> Vec<CredentialInfo>;
    /// Whether this request may use the gateway, and as whom.
    fn authorize(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>>;
    /// The same about somebody whom an earlier snapshot has let in: no attempt is counted.
    fn authorize_again(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>>;
    /// Mode of authentication: `trusted-proxy`, `token`, `password` or `none`.
    fn auth_mode(&self) -> &'static str;
    /// Whether an address is one of `gateway.trustedProxies`.
    fn is_trusted_proxy(&self, peer: IpAddr) -> bool;
    /// Whether the peer is on this machine and no header says that somebody is behind it.
    fn is_local_direct(&self, facts: &Facts<'_>) -> bool;
    /// The `Strict-Transport-Security` header for this connection, if any.
    fn strict_transport_security(&self, facts: &Facts<'_>) -> Option<&str>;
}

/// A credential of a model provider, as it may be shown.
#[derive(Debug, Clone)]
pub(crate) struct CredentialInfo {
    /// Id of the provider.
    pub(crate) provider: String,
    /// Configuration path.
    pub(crate) path: String,
    /// What it is: `api_key` or `header`.
    pub(crate) kind: &'static str,
    /// Where it comes from: `literal`, `env`, `file`, `exec`.
    pub(crate) origin: &'static str,
    /// Label of the reference, such as `env:default:OPENAI_API_KEY`.
    pub(crate) source: Option<String>,
    /// A few of its characters.
    pub(crate) masked: Option<String>,
    /// Why it is not in use.
    pub(crate) inactive: Option<String>,
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
    /// Whether the gateway itself terminates TLS.
    pub(crate) tls: bool,
}

impl<'a> Facts<'a> {
    fn request<'r>(&'r self, lines: &'r Lines<'a>) -> AccessRequest<'r> {
        AccessRequest {
            remote: Some(self.remote),
            local: Some(self.local),
            headers: lines,
            kind: if self.websocket {
                ConnectionKind::WebSocket
            } else {
                ConnectionKind::Http
            },
            tls: self.tls,
            credentials: None,
        }
    }
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
    /// Address of the transport peer.
    pub(crate) peer_ip: Option<IpAddr>,
    /// Whether the peer is on this machine and nobody is behind it.
    pub(crate) local_direct: bool,
    /// Whether the caller may use administrative routes.
    pub(crate) is_admin: bool,
}

impl Identity {
    /// Writes the identity as every language shows it, and more members after it.
    pub(crate) fn write(&self, out: &mut String, more: impl FnOnce(&mut Fields<'_>)) {
        let mut fields = Fields::begin(out);
        fields.flag("ok", true);
        fields.text("method", self.method);
        fields.optional_text("user", self.user.as_deref());
        fields.optional_display("clientIp", self.client_ip.as_ref());
        fields.optional_display("peerIp", self.peer_ip.as_ref());
        fields.flag("localDirect", self.local_direct);
        more(&mut fields);
        fields.close();
    }

    /// The identity as every language shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "ok": true,
            "method": self.method,
            "user": self.user,
            "clientIp": self.client_ip,
            "peerIp": self.peer_ip,
            "localDirect": self.local_direct,
        })
    }
}

/// Why a caller is refused.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    /// Stable code.
    pub(crate) code: Code,
    /// Status of the answer.
    pub(crate) status: u16,
    /// Body of the answer; without the reason when reasons are to be hidden.
    pub(crate) body: Value,
    /// Value of `WWW-Authenticate`, when one belongs into the answer.
    pub(crate) challenge: Option<&'static str>,
    /// When a retry makes sense, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
    /// How long to wait before answering, in milliseconds.
    pub(crate) penalty_ms: u32,
}

/// What a successful reload did.
#[derive(Debug, Clone)]
pub(crate) struct Reloaded {
    /// Number of the new snapshot.
    pub(crate) generation: u64,
    /// Whose secrets have changed; sorted.
    pub(crate) changed_owners: Vec<String>,
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
    /// Settings about access from the command line.
    pub(crate) access: Overrides,
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
    let host = Host::real();
    let progress = Progress::new();
    options = options
        .with_host(host.clone())
        .progress(progress.clone())
        .require_access(true)
        .access_overrides(request.access);
    let _waiting = Waiting::start(progress, &host);
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
            changed_owners: report.changed_owners().map(str::to_owned).collect(),
            warnings: issues.iter().map(Issue::to_json).collect(),
        })
    }

    fn events(&self) -> Vec<Event> {
        Self::events(self)
    }

    fn watch_step(&self, watcher: &mut Watcher) -> WatchStep {
        Self::watch_step(self, watcher)
    }

    fn cancel(&self) {
        Self::cancel(self);
    }

    fn lease(&self, wish: &Wish) -> Result<Box<dyn Lent>, Error> {
        lending::lease(self, wish)
    }

    fn command(
        &self,
        session: &str,
        text: &str,
        shown: Option<&str>,
    ) -> Result<Option<ChatReply>, Error> {
        self.chat(session, None, text, shown)
    }

    fn session(&self, key: &str) -> SessionEntry {
        Self::session(self, key)
    }

    fn forget_session(&self, key: &str) {
        self.set_session(key, SessionEntry::default());
    }

    fn resolve_model(&self, text: &str) -> Option<ModelRef> {
        Self::resolve_model(self, None, text).ok()
    }

    fn default_model(&self) -> Option<ModelRef> {
        Self::default_model(self, None).ok()
    }

    fn profiles(&self, provider: &str) -> Result<Value, Error> {
        self.profiles_json(None, Some(provider))
    }

    fn refreshes(&self) -> Vec<(String, u64, u64)> {
        self.refresh_counts()
    }

    #[cfg(test)]
    fn leases_out(&self) -> usize {
        Self::leases_out(self)
    }

    fn flush(&self, everything: bool) {
        if everything {
            // What could not be written is only about usage, and was logged as an event.
            Self::flush(self);
        } else {
            self.flush_due();
        }
    }
}

impl Snapshot for openclaw_auth::Snapshot {
    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    fn activated_at_ms(&self) -> u64 {
        Self::activated_at_ms(self)
    }

    fn limited(&self) -> (usize, usize) {
        let limiter = self.access().limiter();
        (limiter.keys(), limiter.lockouts())
    }

    fn state_dir(&self) -> &Path {
        &self.locations().state
    }

    fn home_dir(&self) -> &Path {
        &self.locations().home
    }

    fn secret(&self, path: &str) -> Result<&SecretText, Error> {
        Self::secret(self, path)
    }

    fn value(&self, path: &str) -> Result<Option<&Value>, Error> {
        Self::value(self, path)
    }

    fn credentials(&self) -> Vec<CredentialInfo> {
        let surfaces = self.surfaces().into_iter();
        surfaces
            .filter_map(|surface| {
                let path = openclaw_auth::Path::parse(surface.path())?;
                let [models, providers, provider, key, ..] = path.segments() else {
                    return None;
                };
                if models != "models" || providers != "providers" {
                    return None;
                }
                let secret = Self::secret(self, surface.path()).ok();
                Some(CredentialInfo {
                    provider: provider.clone(),
                    path: surface.path().to_owned(),
                    kind: if key == "headers" {
                        "header"
                    } else {
                        "api_key"
                    },
                    origin: surface.origin().as_str(),
                    source: surface.reference().map(ToString::to_string),
                    masked: secret.map(|secret| mask(secret.expose())),
                    inactive: surface.inactive_reason().map(str::to_owned),
                })
            })
            .collect()
    }

    fn authorize(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>> {
        let lines = Lines(facts.headers);
        decided(
            self.access(),
            self.access().authorize(Some(&facts.request(&lines))),
        )
    }

    fn authorize_again(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>> {
        let lines = Lines(facts.headers);
        decided(
            self.access(),
            self.access().authorize_again(&facts.request(&lines)),
        )
    }

    fn auth_mode(&self) -> &'static str {
        self.access().mode().as_str()
    }

    fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.access().is_trusted_proxy(peer)
    }

    fn is_local_direct(&self, facts: &Facts<'_>) -> bool {
        self.access()
            .is_local_direct(&facts.request(&Lines(facts.headers)))
    }

    fn strict_transport_security(&self, facts: &Facts<'_>) -> Option<&str> {
        self.access()
            .strict_transport_security(&facts.request(&Lines(facts.headers)))
    }
}

fn decided(
    access: &access::AccessControl,
    decision: Result<access::Identity, access::Denied>,
) -> Result<Identity, Box<Denied>> {
    match decision {
        Ok(identity) => Ok(Identity {
            method: identity.method.as_str(),
            client_ip: identity.client_ip,
            peer_ip: identity.peer_ip,
            local_direct: identity.local_direct,
            is_admin: access.is_admin(&identity),
            user: identity.user,
        }),
        Err(denied) => Err(Box::new(Denied {
            code: denied.code(),
            status: denied.http_status(),
            body: denied.body(access.hides_reasons()),
            challenge: denied.challenge(),
            retry_after_ms: denied.retry_after_ms(),
            penalty_ms: denied.penalty_ms(),
        })),
    }
}

/// A header map shows every line, repeated ones too, in the order in which names arrived.
struct Lines<'a>(&'a HeaderMap);

impl Headers for Lines<'_> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self.0 {
            visit(name.as_str(), value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_written_as_the_library_shows_it() {
        let config = json!({"gateway": {
            "trustedProxies": ["10.0.0.1"],
            "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-user"}},
        }});
        let sim = openclaw_auth::host::sim::Sim::new();
        let options = Options::new().with_host(sim.host()).config_value(config);
        let engine = Engine::open(options).unwrap();
        for client in ["203.0.113.9", "nobody"] {
            let lines = [
                ("x-user", "a\u{e9}".as_bytes()),
                ("x-forwarded-for", client.as_bytes()),
            ];
            let request = AccessRequest {
                remote: Some("10.0.0.1:1"),
                local: None,
                headers: &lines,
                kind: ConnectionKind::Http,
                tls: false,
                credentials: None,
            };
            let snapshot = engine.snapshot();
            let theirs = snapshot.access().authorize(Some(&request)).unwrap();
            let own = decided(snapshot.access(), Ok(theirs.clone())).unwrap();
            assert_eq!(own.to_json(), theirs.to_json());
            let mut text = String::new();
            own.write(&mut text, |_| {});
            let written: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(written, theirs.to_json(), "{text}");
        }
    }
}
