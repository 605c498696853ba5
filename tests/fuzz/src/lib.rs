//! Everything that reads bytes from outside, as functions of bytes. Each must return, whatever
//! the bytes are: no panic, no hang. `tests/replay.rs` runs them on a corpus and on mutations of
//! it; `fuzz_targets/` hands them to a fuzzer.
#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};

use openclaw_auth::access::OwnedRequest;
use openclaw_auth::host::sim::{self, Sim};
use openclaw_auth::{Engine, Error, Options, Path, Snapshot};

/// A target: its name, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("config", config),
    ("dotenv", dotenv),
    ("extension", extension),
    ("include", include),
    ("secrets_file", secrets_file),
    ("exec_answer", exec_answer),
    ("path", path),
    ("access_request", access_request),
    ("header_lines", header_lines),
];

const HOME: &str = "/home/u/.openclaw";

fn world() -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    sim.env("KEY", "value-of-key");
    sim
}

/// Opens what the world holds and looks at everything that came of it.
fn open(sim: &Sim) -> Option<Arc<Snapshot>> {
    match Engine::open(Options::new().with_host(sim.host())) {
        Ok(engine) => {
            let snapshot = engine.snapshot();
            show(&snapshot);
            Some(snapshot)
        }
        Err(error) => {
            show_error(&error);
            None
        }
    }
}

fn show(snapshot: &Snapshot) {
    let _ = snapshot.config_json().to_string();
    for surface in snapshot.surfaces() {
        let _ = surface.to_json();
        let _ = snapshot
            .secret(surface.path())
            .map_err(|error| show_error(&error));
    }
    for issue in snapshot.issues() {
        let _ = (issue.render(), issue.to_json());
    }
    for diagnostic in snapshot.diagnostics() {
        let _ = diagnostic.to_json();
    }
}

fn show_error(error: &Error) {
    let _ = format!("{error} {error:?} {}", error.to_json());
}

/// `openclaw.json`.
pub fn config(data: &[u8]) {
    let sim = world();
    sim.file(format!("{HOME}/openclaw.json"), data, 0o600);
    open(&sim);
}

/// `.env` of the state directory.
pub fn dotenv(data: &[u8]) {
    let sim = world();
    sim.file(format!("{HOME}/.env"), data, 0o600);
    open(&sim);
}

/// `openclaw-auth.json5`.
pub fn extension(data: &[u8]) {
    let sim = world();
    sim.file(format!("{HOME}/openclaw-auth.json5"), data, 0o600);
    open(&sim);
}

/// An included file.
pub fn include(data: &[u8]) {
    let sim = world();
    sim.file(
        format!("{HOME}/openclaw.json"),
        "{ a: { $include: 'x.json5', b: 1 } }",
        0o600,
    );
    sim.file(format!("{HOME}/x.json5"), data, 0o600);
    open(&sim);
}

const PROVIDERS: &str = r#"{
  secrets: { providers: {
    f: { source: "file", path: "/s/file.json" },
    x: { source: "exec", command: "/s/program" },
  } },
  models: { providers: { p: { apiKey: { source: "SOURCE", provider: "ALIAS", id: "ID" } } } },
}"#;

fn provider(source: &str, alias: &str, id: &str) -> Sim {
    let sim = world();
    let text = PROVIDERS
        .replace("SOURCE", source)
        .replace("ALIAS", alias)
        .replace("ID", id);
    sim.file(format!("{HOME}/openclaw.json"), text, 0o600);
    sim
}

/// A file of a `file` provider.
pub fn secrets_file(data: &[u8]) {
    let sim = provider("file", "f", "/a/b");
    sim.file("/s/file.json", data, 0o600);
    open(&sim);
}

/// The output of an `exec` provider.
pub fn exec_answer(data: &[u8]) {
    let sim = provider("exec", "x", "a");
    sim.file("/s/program", "", 0o700);
    let output = String::from_utf8_lossy(data).into_owned();
    sim.program("/s/program", move |_| sim::exited(0, &output, &output));
    open(&sim);
}

/// A path as callers give it.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(path) = Path::parse(&text) {
        assert_eq!(
            Path::parse(&path.to_string()),
            Some(path),
            "a path changed on the way"
        );
    }
}

const ACCESS: &str = r#"{
  gateway: {
    bind: "lan",
    trustedProxies: ["10.0.0.0/8", "127.0.0.1", "::1"],
    auth: { mode: "trusted-proxy", trustedProxy: {
      userHeader: "x-forwarded-user", requiredHeaders: ["x-forwarded-proto"], allowUsers: ["nick@example.com"],
    } },
  },
}"#;

fn gateway() -> Option<Arc<Snapshot>> {
    static SNAPSHOT: OnceLock<Option<Arc<Snapshot>>> = OnceLock::new();
    let open = || {
        let sim = world();
        sim.file(format!("{HOME}/openclaw.json"), ACCESS, 0o600);
        open(&sim)
    };
    SNAPSHOT.get_or_init(open).clone()
}

/// A request as the bindings give it, in JSON.
pub fn access_request(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    let (Ok(request), Some(snapshot)) = (OwnedRequest::from_json(&value), gateway()) else {
        return;
    };
    let facts = request.as_ref().map(OwnedRequest::as_request);
    let _ = snapshot.access().authorize(facts.as_ref());
}

/// Header lines of a request from a trusted proxy: the name and the value at the first colon.
pub fn header_lines(data: &[u8]) {
    let Some(snapshot) = gateway() else { return };
    let lines: Vec<(String, Vec<u8>)> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((
                String::from_utf8_lossy(name).into_owned(),
                value.get(1..)?.to_vec(),
            ))
        })
        .collect();
    let request = openclaw_auth::access::AccessRequest {
        remote: Some("10.1.2.3:4"),
        local: Some("10.0.0.1:18789"),
        headers: &lines,
        kind: openclaw_auth::access::ConnectionKind::Http,
        tls: false,
        credentials: None,
    };
    let decision = snapshot.access().authorize(Some(&request));
    if let Ok(identity) = decision {
        assert_eq!(
            identity.user.as_deref(),
            Some("nick@example.com"),
            "somebody else was let in"
        );
    }
}
