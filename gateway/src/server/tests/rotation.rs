//! Which credential a request gets, and when another one takes over. The engine is the real one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::host::Host;
use openclaw_auth::host::sim::Sim;
use openclaw_auth::{Engine, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::core_api::{Core, OpenRequest, open};
use super::super::limits::Limits;
use super::super::testing::{Answer, Server};
use super::vendor::{Vendor, Way};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The real engine on a state folder of its own.
struct Place {
    folder: tempfile::TempDir,
    settings: Value,
    env: Vec<(&'static str, &'static str)>,
}

impl Place {
    fn new(vendor: &Vendor, provider: &Value) -> Self {
        let mut settings = json!({
            "gateway": {"auth": {"mode": "token", "token": TOKEN}},
            "models": {"providers": {"openai": {"models": [{"id": "m"}, {"id": "n"}]}}},
            "agents": {"defaults": {"model": "openai/m"}},
        });
        let entry = &mut settings["models"]["providers"]["openai"];
        entry["baseUrl"] = format!("http://{}/v1", vendor.address).into();
        for (key, value) in provider.as_object().unwrap() {
            entry[key] = value.clone();
        }
        Self {
            folder: tempfile::tempdir().unwrap(),
            settings,
            env: Vec::new(),
        }
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn store(&self, profiles: &Value) -> &Self {
        let folder = self.folder.path().join("agents/main/agent");
        let store = json!({"version": 1, "profiles": profiles});
        let files = Host::real().files;
        files.create_dir_all(&folder, 0o700).unwrap();
        let path = folder.join("auth-profiles.json");
        files
            .write_atomic(&path, store.to_string().as_bytes(), 0o600)
            .unwrap();
        self
    }

    fn read_store(&self) -> Value {
        let path = self
            .folder
            .path()
            .join("agents/main/agent/auth-profiles.json");
        let mut file = Host::real().files.open(Path::new(&path)).unwrap();
        let bytes = file.read_to_limit(1 << 20).unwrap().unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn core(&self) -> Arc<dyn Core> {
        let env = self.env.iter();
        open(OpenRequest {
            source_text: Some(self.settings.to_string()),
            state_dir: Some(self.folder.path().to_owned()),
            env: Some(
                env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            ..OpenRequest::default()
        })
        .unwrap()
    }

    async fn server(&self) -> Server {
        Server::launch(self.core(), Limits::default(), None).await
    }
}

async fn ask(server: &Server, path: &str, lines: &str, body: &str) -> Answer {
    let lines =
        format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n{lines}");
    let method = if body.is_empty() { "GET" } else { "POST" };
    server.request(method, path, &lines, body).await
}

async fn chat(server: &Server) -> Answer {
    ask(server, "/v1/chat/completions", "", "{\"model\":\"m\"}").await
}

/// The last line of the access log about a provider.
async fn log_line(server: &Server, count: usize) -> Value {
    let lines = server.log_lines(count).await;
    lines.last().cloned().unwrap()
}

#[tokio::test]
async fn a_used_up_limit_makes_the_next_key_take_over() {
    for (way, label) in [
        (Way::RateLimit, "429"),
        (Way::Quota, "a 403 about a quota"),
        (Way::Exhausted, "RESOURCE_EXHAUSTED"),
    ] {
        let vendor = Vendor::start([("k1", way), ("k3", Way::RateLimit)]).await;
        let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k3,k2");
        let server = place.server().await;
        let answer = chat(&server).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "{\"by\":\"k2\"}"),
            "{label}"
        );
        assert_eq!(vendor.keys(), ["k1", "k3", "k2"], "{label}");
        let bodies = vendor.bodies();
        assert!(
            bodies.iter().all(|body| body == "{\"model\":\"m\"}"),
            "{bodies:?}"
        );
        let line = log_line(&server, 1).await;
        assert_eq!(
            (&line["attempts"], &line["profile"]),
            (&json!(3), &json!("env:OPENAI_API_KEYS#3"))
        );
        // The others are cooling down now.
        assert_eq!(chat(&server).await.status, 200);
        assert_eq!(vendor.keys(), ["k2"], "{label}");
        let metrics = ask(&server, "/_auth/metrics", "", "").await.body;
        let cooling = "openclaw_auth_keys_in_cooldown{provider=\"openai\"} 2\n";
        assert!(metrics.contains(cooling), "{metrics}");
        assert!(
            metrics.contains("openclaw_auth_rotations_total{provider=\"openai\""),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn nothing_else_makes_a_key_take_over() {
    for (way, status, code) in [
        (Way::Refused, 502, "upstream_auth_failed"),
        (Way::Forbidden, 502, "upstream_auth_failed"),
        (Way::BadRequest, 400, "invalid_request"),
        (Way::NotFound, 404, "model_not_found"),
        (Way::Broken, 500, "server_error"),
        (Way::Busy, 529, "overloaded_error"),
        (Way::HangUp, 502, "upstream_unreachable"),
    ] {
        let vendor = Vendor::start([("k1", way)]).await;
        let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k2");
        let server = place.server().await;
        for _ in 0..2 {
            let answer = chat(&server).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (status, code),
                "{way:?}"
            );
        }
        assert_eq!(vendor.keys(), ["k1", "k1"], "{way:?}");
    }
}

#[tokio::test]
async fn the_last_refusal_is_passed_on_with_the_soonest_end() {
    let vendor = Vendor::start([("k1", Way::RateLimit), ("k2", Way::RateLimit)]).await;
    let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k2");
    let server = place.server().await;
    let answer = chat(&server).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "rate_limit_exceeded")
    );
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(answer.header("retry-after-ms"), None);
    assert_eq!(vendor.keys(), ["k1", "k2"]);
    // Nothing is sent while both are cooling down.
    let answer = chat(&server).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "all_unavailable")
    );
    assert_eq!(answer.json()["error"]["reason"], "rate_limit");
    assert!(answer.header("retry-after").is_some());
    assert!(vendor.keys().is_empty());
    // Limits are counted by model.
    let other = ask(&server, "/v1/x", "", "{\"model\":\"n\"}").await;
    assert_eq!(other.status, 429);
    assert_eq!(vendor.keys(), ["k1", "k2"]);
}

#[tokio::test]
async fn profiles_come_before_keys_and_are_written_back() {
    let vendor = Vendor::start([("p1", Way::RateLimit)]).await;
    let place = Place::new(&vendor, &json!({"apiKey": "c1"})).env("OPENAI_API_KEY", "k1");
    place.store(&json!({
        "openai:one": {"type": "api_key", "provider": "openai", "key": "p1"},
        "openai:two": {"type": "token", "provider": "openai", "token": "p2"},
    }));
    let server = place.server().await;
    let answer = ask(&server, "/proxy/openai/v1/chat", "", "{\"model\":\"m\"}").await;
    assert_eq!(answer.body, "{\"by\":\"p2\"}");
    assert_eq!(
        answer.header("x-openclaw-profile"),
        Some("openai:two"),
        "for an admin"
    );
    assert_eq!(vendor.keys(), ["p2"], "tokens come first");
    // The session stays with it.
    assert_eq!(chat(&server).await.body, "{\"by\":\"p2\"}");
    vendor.limit("p2");
    assert_eq!(chat(&server).await.body, "{\"by\":\"k1\"}");
    assert_eq!(vendor.keys(), ["p2", "p2", "p1", "k1"]);
    let usage = &place.read_store()["usageStats"];
    for id in ["openai:one", "openai:two"] {
        assert!(!usage[id].is_null(), "{usage}");
    }
    let status = ask(&server, "/_auth/status", "", "").await;
    let providers = status.json()["providers"].clone();
    let openai = &providers[0];
    assert_eq!(openai["provider"], "openai");
    assert_eq!(openai["profiles"][0]["id"], "openai:one");
    assert_eq!(openai["profiles"][0]["models"]["m"]["reason"], "rate_limit");
    assert_eq!(openai["keys"][0]["id"], "env:OPENAI_API_KEY");
    for secret in ["p1", "p2", "k1", "c1"] {
        assert!(
            !status.body.contains(&format!("\"{secret}\"")),
            "{}",
            status.body
        );
    }
}

#[tokio::test]
async fn a_chosen_profile_is_never_replaced() {
    let vendor = Vendor::start([]).await;
    let place = Place::new(&vendor, &json!({}));
    place.store(&json!({
        "openai:one": {"type": "api_key", "provider": "openai", "key": "p1"},
        "openai:two": {"type": "api_key", "provider": "openai", "key": "p2"},
    }));
    let server = place.server().await;
    let command = |text: &str| json!({"session": "s", "text": text}).to_string();
    let chosen = ask(
        &server,
        "/_auth/command",
        "",
        &command("/model m@openai:two"),
    )
    .await;
    assert_eq!(chosen.status, 200, "{}", chosen.body);
    let selection = json!({
        "provider": "openai", "model": "m", "profile": "openai:two", "source": "user",
    });
    assert_eq!(chosen.json()["selection"], selection);
    let shown = ask(&server, "/_auth/sessions/s/model", "", "").await;
    assert_eq!(shown.json()["selection"], selection);
    let key = "x-openclaw-session-key: s\r\n";
    for lines in [key, key] {
        let answer = ask(&server, "/v1/chat", lines, "{\"model\":\"m\"}").await;
        assert_eq!(answer.body, "{\"by\":\"p2\"}");
    }
    let elsewhere = ask(&server, "/v1/chat?session=other", "", "{\"model\":\"m\"}").await;
    assert_eq!(elsewhere.body, "{\"by\":\"p1\"}");
    vendor.limit("p2");
    let answer = ask(&server, "/v1/chat?session=s", "", "{\"model\":\"m\"}").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "rate_limit_exceeded")
    );
    let lines = format!("authorization: Bearer {TOKEN}\r\n");
    let gone = server
        .request("DELETE", "/_auth/sessions/s/model", &lines, "")
        .await;
    assert_eq!(gone.json()["selection"]["source"], "default");
    let answer = ask(&server, "/v1/chat", key, "{\"model\":\"m\"}").await;
    assert_eq!(answer.body, "{\"by\":\"p1\"}");

    let list = ask(&server, "/_auth/command", "", &command("/model list")).await;
    let text = list.json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("*1. openai/m - "), "{text}");
    for (text, status, code) in [
        ("hello", 400, "unknown_command"),
        ("/model m@nobody:x", 400, "profile_not_found"),
        ("/model 99", 400, "directive_invalid"),
    ] {
        let answer = ask(&server, "/_auth/command", "", &command(text)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{text}"
        );
    }
    for body in ["{}", "[]", "{\"text\":1}", "{\"text\":\"/model\",\"x\":1}"] {
        let answer = ask(&server, "/_auth/command", "", body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_argument"),
            "{body}"
        );
    }
    let bad = ask(
        &server,
        "/v1/chat",
        "x-openclaw-session-key: a b\r\n",
        "{\"model\":\"m\"}",
    )
    .await;
    assert_eq!(bad.code(), "session_invalid");
}

#[tokio::test]
async fn bodies_too_large_to_keep_are_sent_once() {
    let vendor = Vendor::start([("k1", Way::RateLimit)]).await;
    let mut place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k2");
    place.settings["gateway"]["http"] = json!({"maxReplayBytes": 8});
    let server = place.server().await;
    let answer = ask(
        &server,
        "/proxy/openai/x",
        "content-type: text/plain\r\n",
        "123456789",
    )
    .await;
    assert_eq!(answer.status, 429);
    assert_eq!(vendor.keys(), ["k1"]);
    // The limit counts all the same.
    assert_eq!(
        ask(&server, "/proxy/openai/x", "", "").await.body,
        "{\"by\":\"k2\"}"
    );
    assert_eq!(server.state.replay.used(), 0);
}

#[tokio::test]
async fn a_streamed_body_is_sent_again_too() {
    let vendor = Vendor::start([("k1", Way::RateLimit)]).await;
    let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k2");
    let server = place.server().await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /proxy/openai/x HTTP/1.1\r\nhost: gw\r\nconnection: close\r\n\
         authorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // The refusal comes before the body has ended.
    sleep(Duration::from_millis(100)).await;
    client.write_all(b"3\r\ndef\r\n0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(5), client.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(text.contains("{\"by\":\"k2\"}"), "{text}");
    assert_eq!(vendor.bodies(), ["abcdef", "abcdef"]);
}

#[tokio::test]
async fn a_caller_who_hangs_up_gives_the_credential_back() {
    let vendor = Vendor::start([("k1", Way::Silent)]).await;
    let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEY", "k1");
    let core = place.core();
    let server = Server::launch(Arc::clone(&core), Limits::default(), None).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /proxy/openai/x HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    while vendor.keys().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(core.leases_out(), 1);
    drop(client);
    server.has_no_connections().await;
    assert_eq!(core.leases_out(), 0);
}

#[tokio::test]
async fn an_error_event_inside_a_stream_counts_for_later_requests() {
    let vendor = Vendor::start([("k1", Way::ErrorEvent)]).await;
    let place = Place::new(&vendor, &json!({})).env("OPENAI_API_KEYS", "k1,k2");
    let server = place.server().await;
    let answer = chat(&server).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("event: error"), "{}", answer.body);
    for _ in 0..200 {
        let metrics = ask(&server, "/_auth/metrics", "", "").await.body;
        if metrics.contains("keys_in_cooldown{provider=\"openai\"} 1") {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(chat(&server).await.body, "{\"by\":\"k2\"}");
}

#[tokio::test]
async fn many_successes_are_written_down_rarely() {
    let vendor = Vendor::start([]).await;
    let place = Place::new(&vendor, &json!({}));
    let store = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
    let profiles = json!({
        "version": 1,
        "profiles": {"openai:one": {"type": "api_key", "provider": "openai", "key": "p1"}},
    });
    let sim = Sim::new();
    sim.set_now_ms(1_800_000_000_000)
        .env("HOME", "/home/user")
        .file(store, profiles.to_string(), 0o600);
    let options = Options::new()
        .with_host(sim.host())
        .require_access(true)
        .config_value(place.settings.clone());
    let core: Arc<dyn Core> = Arc::new(Engine::open(options).unwrap());
    let server = Server::launch(Arc::clone(&core), Limits::default(), None).await;
    let mut writes = 0;
    let mut known = sim.meta(store).unwrap();
    // Twenty-five seconds, with the timer of the gateway.
    for _ in 0..1_000 {
        assert_eq!(chat(&server).await.status, 200);
        sim.advance(Duration::from_millis(25));
        core.flush(false);
        let meta = sim.meta(store).unwrap();
        writes += u32::from(meta != known);
        known = meta;
    }
    assert_eq!(writes, 2, "at 10 s and at 20 s");
    // Reports are made beside the requests.
    while core.leases_out() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    core.flush(true);
    let stored: Value = serde_json::from_str(&sim.text(store).unwrap()).unwrap();
    assert!(
        stored["usageStats"]["openai:one"]["lastUsed"].is_u64(),
        "{stored}"
    );
}
