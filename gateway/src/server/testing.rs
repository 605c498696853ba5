//! An engine under the control of the tests, a running server, and a client without manners.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openclaw_auth::host::Host;
use openclaw_auth::{
    ChatReply, Classification, Code, CredentialKind, Error, Event, ModelRef, SecretText,
    SessionEntry, Signal, WatchStep, Watcher,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::access_log::AccessLog;
use super::bind::{BindOptions, Listening, Machine, Plan, Wanted};
use super::connection::Surroundings;
use super::core_api::{
    self, Core, CredentialInfo, Denied, Facts, Identity, OpenRequest, Reloaded, Snapshot,
};
use super::lending::{Lent, Next, Trouble, Wish};
use super::limits::Limits;
use super::state::State;
use super::tls::Tls;

/// A snapshot made of plain values.
pub(super) struct FakeSnapshot {
    generation: u64,
    values: Value,
    secrets: BTreeMap<String, SecretText>,
    mode: &'static str,
}

impl FakeSnapshot {
    pub(super) fn new(values: Value) -> Self {
        Self {
            generation: 1,
            values,
            secrets: BTreeMap::new(),
            mode: "token",
        }
    }

    pub(super) fn mode(mut self, mode: &'static str) -> Self {
        self.mode = mode;
        self
    }

    pub(super) fn generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    pub(super) fn secret(mut self, path: &str, secret: &str) -> Self {
        self.secrets
            .insert(path.to_owned(), SecretText::new(secret.to_owned()));
        self
    }
}

impl Snapshot for FakeSnapshot {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn activated_at_ms(&self) -> u64 {
        0
    }

    fn limited(&self) -> (usize, usize) {
        (0, 0)
    }

    fn state_dir(&self) -> &Path {
        Path::new("")
    }

    fn home_dir(&self) -> &Path {
        Path::new("/home/nobody")
    }

    fn secret(&self, path: &str) -> Result<&SecretText, Error> {
        let secret = self.secrets.get(path);
        secret.ok_or_else(|| Error::new(Code::SecretPathUnknown, "no such secret"))
    }

    fn value(&self, path: &str) -> Result<Option<&Value>, Error> {
        Ok(self.values.pointer(path))
    }

    fn credentials(&self) -> Vec<CredentialInfo> {
        Vec::new()
    }

    /// `Authorization: Bearer good` is let in, as the user in `x-user` if there is one; with
    /// `Bearer panic` the rules themselves break down.
    fn authorize(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>> {
        let header = |name| {
            facts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match header("authorization") {
            Some("Bearer good") => {
                let user = header("x-user").map(str::to_owned);
                Ok(Identity {
                    method: "token",
                    client_ip: None,
                    peer_ip: None,
                    local_direct: false,
                    is_admin: user.as_deref() != Some("guest"),
                    user,
                })
            }
            Some("Bearer panic") => panic!("canary-in-a-panic"),
            other => Err(Box::new(Denied {
                code: if other.is_some() {
                    Code::SecretRefInvalid
                } else {
                    Code::InvalidArgument
                },
                status: 401,
                body: json!({"error": {"code": "token_missing", "message": "a gateway token is required", "type": "unauthorized"}}),
                challenge: Some("Bearer realm=\"openclaw\""),
                retry_after_ms: None,
                penalty_ms: 0,
            })),
        }
    }

    fn authorize_again(&self, facts: &Facts<'_>) -> Result<Identity, Box<Denied>> {
        self.authorize(facts)
    }

    fn auth_mode(&self) -> &'static str {
        self.mode
    }

    fn is_trusted_proxy(&self, _peer: IpAddr) -> bool {
        false
    }

    fn is_local_direct(&self, facts: &Facts<'_>) -> bool {
        facts.remote.starts_with("127.")
            && facts.local.starts_with("127.")
            && !facts.websocket
            && !facts.headers.contains_key("x-forwarded-for")
    }

    fn strict_transport_security(&self, facts: &Facts<'_>) -> Option<&str> {
        let is_secure = facts.tls || facts.headers.contains_key("x-forwarded-proto");
        is_secure.then_some("max-age=300")
    }
}

/// An engine whose reloads take 500 ms and install the next snapshot, or fail.
pub(super) struct FakeCore {
    current: Mutex<Arc<FakeSnapshot>>,
    pub(super) next: Mutex<Option<FakeSnapshot>>,
    pub(super) reloads: AtomicU64,
    /// Whether a watcher sees something new.
    pub(super) is_changed: AtomicBool,
}

impl FakeCore {
    pub(super) fn new(snapshot: FakeSnapshot) -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::new(Arc::new(snapshot)),
            next: Mutex::new(None),
            reloads: AtomicU64::new(0),
            is_changed: AtomicBool::new(false),
        })
    }
}

impl Core for FakeCore {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::clone(&*self.current.lock()) as Arc<dyn Snapshot>
    }

    fn reload(&self) -> Result<Reloaded, Error> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Host::real().clock.sleep(Duration::from_millis(500));
        let Some(next) = self.next.lock().take() else {
            return Err(
                Error::new(Code::SecretUnresolved, "one secret is missing").with(
                    "failures",
                    json!([{"code": "secret_ref_not_found", "path": "a.b"}]),
                ),
            );
        };
        let generation = next.generation;
        *self.current.lock() = Arc::new(next);
        Ok(Reloaded {
            generation,
            changed_owners: Vec::new(),
            warnings: Vec::new(),
        })
    }

    fn events(&self) -> Vec<Event> {
        Vec::new()
    }

    fn watch_step(&self, _: &mut Watcher) -> WatchStep {
        match self.is_changed.swap(false, Ordering::Relaxed) {
            true => WatchStep::Reload,
            false => WatchStep::Idle,
        }
    }

    fn cancel(&self) {}

    /// The key at `/models/providers/<id>/apiKey`.
    fn lease(&self, wish: &Wish) -> Result<Box<dyn Lent>, Error> {
        let path = format!("/models/providers/{}/apiKey", wish.provider);
        let snapshot = Arc::clone(&*self.current.lock());
        let secret = Snapshot::secret(&*snapshot, &path);
        let none = |_| Error::new(Code::NoCredentials, "no such secret");
        Ok(Box::new(FakeLent {
            secret: secret.map_err(none)?.clone(),
            generation: snapshot.generation,
        }))
    }

    fn command(&self, _: &str, _: &str, _: Option<&str>) -> Result<Option<ChatReply>, Error> {
        Ok(None)
    }

    fn session(&self, _: &str) -> SessionEntry {
        SessionEntry::default()
    }

    fn forget_session(&self, _: &str) {}

    fn resolve_model(&self, _: &str) -> Option<ModelRef> {
        None
    }

    fn default_model(&self) -> Option<ModelRef> {
        None
    }

    fn profiles(&self, _: &str) -> Result<Value, Error> {
        Ok(json!({"profiles": [], "env": []}))
    }

    fn refreshes(&self) -> Vec<(String, u64, u64)> {
        Vec::new()
    }

    fn leases_out(&self) -> usize {
        0
    }

    fn flush(&self, _: bool) {}
}

/// The only key that there is.
struct FakeLent {
    secret: SecretText,
    generation: u64,
}

impl Lent for FakeLent {
    fn credential(&self) -> &SecretText {
        &self.secret
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn candidate(&self) -> &str {
        "config:fake"
    }

    fn kind(&self) -> CredentialKind {
        CredentialKind::ApiKey
    }

    fn account_id(&self) -> Option<&str> {
        None
    }

    fn classify(&self, trouble: &Trouble) -> Classification {
        let signal = Signal {
            status: trouble.status,
            body: trouble.body.as_deref(),
            ..Signal::default()
        };
        Classification::of(&signal, 0)
    }

    fn succeed(&self, _: &[(String, String)]) {}

    fn fail(&self, _: &Trouble) -> Next {
        Next::Over(None)
    }

    fn give_up(&self, _: &Trouble) {}
}

/// The real engine on settings given as text, with an environment of its own.
pub(super) fn real_core(settings: &Value, env: &[(&str, &str)]) -> Arc<dyn Core> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    core_api::open(OpenRequest {
        source_text: Some(settings.to_string()),
        env: Some(env.collect()),
        ..OpenRequest::default()
    })
    .unwrap()
}

/// A server on a free loopback port.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<State>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) ended: mpsc::Receiver<Infallible>,
}

impl Server {
    pub(super) async fn start(core: Arc<FakeCore>, limits: Limits) -> Self {
        Self::launch(core, limits, None).await
    }

    /// A server with any engine, perhaps with TLS.
    pub(super) async fn launch(core: Arc<dyn Core>, limits: Limits, tls: Option<Tls>) -> Self {
        let log = Arc::new(AccessLog::in_memory(Host::real().clock));
        let listening = Listening {
            options: BindOptions {
                port: Some(0),
                ..BindOptions::default()
            },
            machine: Machine {
                is_container: false,
                tailnet: None,
            },
            plan: Plan {
                addresses: vec![
                    Wanted::Required(Ipv4Addr::LOCALHOST.into()),
                    Wanted::IfThere(Ipv6Addr::LOCALHOST.into()),
                ],
                port: 0,
                metrics: None,
            },
            tls,
        };
        let state = State::new(core, limits, log, listening).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let (running, ended) = mpsc::channel(1);
        let around = Surroundings {
            state: Arc::clone(&state),
            stop: stopping,
            running,
        };
        tokio::spawn(super::accept(listener, around));
        tokio::spawn(super::keep_log(Arc::clone(&state.log)));
        state.readiness.listening();
        Self {
            address,
            state,
            stop,
            ended,
        }
    }

    /// A server with default limits and these settings.
    pub(super) async fn with(values: Value) -> Self {
        Self::start(FakeCore::new(FakeSnapshot::new(values)), Limits::default()).await
    }

    /// Sends bytes on a new connection and reads to its end.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse and close before everything is written.
        let _ = stream.write_all(bytes.as_ref()).await;
        read_to_end(&mut stream).await
    }

    /// Sends one request with good credentials and reads the answer.
    pub(super) async fn get(&self, path: &str, lines: &str) -> Answer {
        self.request(
            "GET",
            path,
            &format!("authorization: Bearer good\r\n{lines}"),
            "",
        )
        .await
    }

    /// Sends one request and reads the answer.
    pub(super) async fn request(
        &self,
        method: &str,
        path: &str,
        lines: &str,
        body: &str,
    ) -> Answer {
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let text = self
            .raw(format!(
                "{method} {path} HTTP/1.1\r\nhost: gw.example\r\nconnection: close\r\n{lines}{length}\r\n{body}"
            ))
            .await;
        Answer::parse(&text)
    }

    /// Waits until every connection has ended and given its place back.
    pub(super) async fn has_no_connections(&self) {
        for _ in 0..300 {
            if self.state.connections.open() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} connections stay open", self.state.connections.open());
    }

    /// The access log, once it has this many lines.
    pub(super) async fn log_lines(&self, count: usize) -> Vec<Value> {
        for _ in 0..200 {
            let text = self.state.log.text();
            if text.lines().count() >= count {
                return text
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "the access log has no {count} lines: {}",
            self.state.log.text()
        );
    }
}

/// Reads until the peer closes; panics when it does not.
pub(super) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(read.is_ok(), "the connection stayed open after: {text}");
    text
}

/// One answer, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        Self {
            status: status
                .unwrap_or_else(|| panic!("no answer: {text}"))
                .parse()
                .unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// A provider that records one request per connection and answers with fixed bytes.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
    ended: mpsc::UnboundedReceiver<()>,
}

impl Provider {
    /// Answers with the parts, one after the other, 20 ms apart; then closes, or stays silent.
    pub(super) async fn start(parts: Vec<String>, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, requests) = mpsc::unbounded_channel();
        let (gone, ended) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (parts, received, gone) = (parts.clone(), received.clone(), gone.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    received.send(request).unwrap();
                    for part in parts {
                        stream.write_all(part.as_bytes()).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    if !closes {
                        // Ends when the gateway closes the connection.
                        let _ = stream.read(&mut [0; 1]).await;
                        let _ = gone.send(());
                    }
                });
            }
        });
        Self {
            address,
            requests,
            ended,
        }
    }

    /// A provider with one whole answer.
    pub(super) async fn answering(head: &str, body: &str) -> Self {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Self::start(vec![answer], true).await
    }

    /// Settings that contain this provider under the name `mock`.
    pub(super) fn settings(&self) -> Value {
        let base = format!("http://{}/v1", self.address);
        json!({"models": {"providers": {"mock": {"baseUrl": base}}}})
    }

    /// A gateway in front of this provider, with the key `sk-canary-0123456789`.
    pub(super) async fn gateway(&self, limits: Limits) -> Server {
        let snapshot = FakeSnapshot::new(self.settings())
            .secret("/models/providers/mock/apiKey", "sk-canary-0123456789");
        Server::start(FakeCore::new(snapshot), limits).await
    }

    /// The next request that arrived.
    pub(super) async fn request(&mut self) -> String {
        timeout(Duration::from_secs(5), self.requests.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// Whether no request arrived.
    pub(super) fn is_untouched(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// Waits until the gateway closes a connection.
    pub(super) async fn left(&mut self) {
        timeout(Duration::from_secs(1), self.ended.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Reads a head, and a body when its length is announced or it is chunked.
pub(super) async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let is_whole = match length {
                Some(length) => body.len() >= length.parse::<usize>().unwrap(),
                None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if is_whole {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(size) => text.push_str(&String::from_utf8_lossy(&buffer[..size])),
        }
    }
}
