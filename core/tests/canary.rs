//! Unique secrets go into every source; then every output is searched for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use openclaw_auth::{Engine, Error, Options};
use serde_json::{Value, json};

/// Every line that the library logs, at every level.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_clean(what: &str, text: &str) {
    let at = text.find("CANARY");
    assert!(
        at.is_none(),
        "{what} shows a secret: {}",
        &text[at.unwrap().saturating_sub(60)..]
    );
}

fn error_texts(error: &Error) -> String {
    let source = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error} {error:?} {error:#?} {} {source}", error.to_json())
}

fn engine_texts(engine: &Engine) -> String {
    let snapshot = engine.snapshot();
    let mut text = format!("{engine:?} {snapshot:?} {}", snapshot.config_json());
    for surface in snapshot.surfaces() {
        text += &format!("{surface:?} {}", surface.to_json());
        text += &snapshot.secret_value(surface.path()).map_or_else(
            |error| error_texts(&error),
            |value| format!("{value:?} {:?}", value.text()),
        );
    }
    for issue in snapshot.issues() {
        text += &format!("{issue:?} {} {}", issue.render(), issue.to_json());
    }
    for diagnostic in snapshot.diagnostics() {
        text += &format!("{diagnostic:?} {}", diagnostic.to_json());
    }
    for event in engine.events() {
        text += &format!("{event:?} {}", event.to_json());
    }
    text += &format!("{:?}", snapshot.providers());
    text
}

/// A configuration that takes secrets from everywhere.
fn config(home: &str) -> Value {
    let exec = |name: &str| json!({"source": "exec", "command": format!("{home}/{name}")});
    let reference = |source: &str, provider: &str, id: &str| json!({"source": source, "provider": provider, "id": id});
    json!({
        "env": {"BLOCK_KEY": "CANARY-block-0001", "vars": {"VARS_KEY": "CANARY-vars-0002"}},
        "secrets": {"providers": {
            "f": {"source": "file", "path": format!("{home}/secrets.json")},
            "s": {"source": "file", "path": format!("{home}/single"), "mode": "singleValue"},
            "x": exec("good"),
        }},
        "models": {"providers": {
            "literal": {"apiKey": "CANARY-literal-0003", "headers": {"X-Api-Key": "CANARY-header-0004"}},
            "env": {"apiKey": "${PROCESS_KEY}", "headers": {"Authorization": "Bearer ${DOTENV_KEY}"}},
            "block": {"apiKey": "$BLOCK_KEY"},
            "vars": {"apiKey": reference("env", "default", "VARS_KEY")},
            "file": {"apiKey": reference("file", "f", "/a/b")},
            "single": {"apiKey": reference("file", "s", "value")},
            "exec": {"apiKey": reference("exec", "x", "id")},
            "off": {"enabled": false, "apiKey": "CANARY-off-0005"},
        }},
        "channels": {"googlechat": {"serviceAccount": {"private_key": "CANARY-object-0006"}}},
        "gateway": {"auth": {"mode": "token", "token": "CANARY-gateway-token-000000007"}},
    })
}

struct Place {
    _folder: tempfile::TempDir,
    home: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder
            .path()
            .canonicalize()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let place = Self {
            _folder: folder,
            home,
        };
        place.file(
            "secrets.json",
            r#"{"a":{"b":"CANARY-file-0008"},"n":5}"#,
            0o600,
        );
        place.file("single", "CANARY-single-0009\n", 0o600);
        place.file(".openclaw/.env", "DOTENV_KEY=CANARY-dotenv-0010\n", 0o600);
        place.script("good", "echo CANARY-stderr-0011 >&2; echo CANARY-exec-0012");
        place
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        write(&Path::new(&self.home).join(name), text, mode);
    }

    fn script(&self, name: &str, body: &str) {
        self.file(name, &format!("#!/bin/sh\n{body}\n"), 0o700);
    }

    fn open(&self, text: &str) -> Result<Engine, Error> {
        self.file(".openclaw/openclaw.json", text, 0o600);
        let mut host = openclaw_auth::Host::real();
        host.env = std::sync::Arc::new(Env([
            ("HOME", self.home.as_str()),
            ("PATH", "/usr/bin:/bin"),
            ("PROCESS_KEY", "CANARY-process-0013"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned().into()))
        .collect()));
        Engine::open(Options::new().with_host(host))
    }
}

struct Env(std::collections::BTreeMap<String, zeroize::Zeroizing<String>>);

impl openclaw_auth::host::Environment for Env {
    fn vars(&self) -> &std::collections::BTreeMap<String, zeroize::Zeroizing<String>> {
        &self.0
    }

    fn account_home(&self) -> Option<std::path::PathBuf> {
        None
    }

    fn current_dir(&self) -> std::path::PathBuf {
        "/".into()
    }

    fn effective_uid(&self) -> u32 {
        openclaw_auth::Host::real().env.effective_uid()
    }
}

/// Changes that break the configuration in as many ways as there are sources.
fn broken(place: &Place, good: &Value) -> Vec<(&'static str, String)> {
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let key = |provider: &str| format!("/models/providers/{provider}/apiKey");
    let command = |name: &str| {
        with(
            "/secrets/providers/x/command",
            json!(format!("{}/{name}", place.home)),
        )
    };
    place.script("fails", "echo CANARY-out; echo CANARY-err >&2; exit 3");
    place.script("killed", "echo CANARY-out; kill -9 $$");
    place.script("talks", r#"echo '{"protocolVersion":1,"values":{},"errors":{"id":{"code":"CANARY","message":"CANARY"}}}'"#);
    place.script(
        "wrong",
        r#"echo '{"protocolVersion":2,"values":{"id":"CANARY"}}'"#,
    );
    place.script("number", "echo '[\"CANARY\"]'");
    place.script(
        "floods",
        "while :; do echo CANARY-CANARY-CANARY-CANARY-CANARY-CANARY; done",
    );
    place.script("binary", "printf 'CANARY\\377'");
    place.file("broken.json", "{\"a\":{\"b\":\"CANARY-file\" oops}", 0o600);
    place.file("list.json", "[\"CANARY\"]", 0o600);
    place.file("object.json", "{\"a\":{\"b\":{\"k\":\"CANARY\"}}}", 0o600);
    place.file("open.json", "{\"a\":{\"b\":\"CANARY\"}}", 0o644);
    let path = |name: &str| {
        with(
            "/secrets/providers/f/path",
            json!(format!("{}/{name}", place.home)),
        )
    };
    vec![
        ("program fails", command("fails")),
        ("program is killed", command("killed")),
        ("program reports", command("talks")),
        ("wrong protocol", command("wrong")),
        ("not protocol", command("number")),
        ("flood", command("floods")),
        ("not text", command("binary")),
        ("broken file", path("broken.json")),
        ("list file", path("list.json")),
        ("object instead of text", path("object.json")),
        ("readable file", path("open.json")),
        (
            "missing pointer",
            with(
                &key("file"),
                json!({"source": "file", "provider": "f", "id": "/a/no such"}),
            ),
        ),
        (
            "secret as id",
            with(
                &key("vars"),
                json!({"source": "env", "provider": "default", "id": "sk-CANARY"}),
            ),
        ),
        (
            "secret as provider",
            with(
                &key("vars"),
                json!({"source": "env", "provider": "CANARY", "id": "K"}),
            ),
        ),
        (
            "secret as extra key",
            with(
                &key("vars"),
                json!({"source": "env", "id": "K", "CANARY secret!": 1}),
            ),
        ),
        (
            "secret as type",
            with(
                &key("vars"),
                json!({"source": "env", "provider": ["CANARY"], "id": "K"}),
            ),
        ),
        (
            "marker",
            with(&key("vars"), json!("secretref-env:sk-CANARY")),
        ),
        (
            "bad env block",
            with("/env/vars", json!({"X": {"source": "CANARY"}})),
        ),
        ("syntax error", format!("{{ token: 'CANARY-x', {}", good)),
        ("unterminated", "{ token: 'CANARY-x".to_owned()),
        ("not an object", "['CANARY']".to_owned()),
        (
            "reference to nothing",
            with(&key("vars"), json!("${NOBODY_SET_THIS}")),
        ),
    ]
}

#[test]
fn no_output_ever_shows_a_secret() {
    log::set_logger(&Recorder).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let place = Place::new();
    let good = config(&place.home);

    let engine = place.open(&good.to_string()).unwrap();
    let snapshot = engine.snapshot();
    assert_eq!(
        snapshot
            .secret("models.providers.exec.apiKey")
            .unwrap()
            .expose(),
        "CANARY-exec-0012"
    );
    assert_eq!(
        snapshot
            .secret("models.providers.env.headers.Authorization")
            .unwrap()
            .expose(),
        "Bearer CANARY-dotenv-0010"
    );
    assert_eq!(snapshot.surfaces().len(), 12);
    assert_eq!(snapshot.redaction_hits(), 0);
    assert_clean("a good engine", &engine_texts(&engine));
    let report = engine.reload().unwrap();
    assert_clean("a reload", &format!("{report:?} {}", report.to_json()));

    for (what, text) in broken(&place, &good) {
        let opened = place.open(&text);
        let shown = match &opened {
            Ok(engine) => engine_texts(engine),
            Err(error) => error_texts(error),
        };
        assert!(opened.is_err(), "{what} was accepted");
        assert_clean(what, &shown);
        let error = engine_reload_error(&place, &engine, &text);
        assert_clean(what, &error);
    }
    assert_clean("the events", &engine_texts(&engine));
    let log = LOG.lock().unwrap();
    assert!(
        log.iter()
            .any(|line| line.contains("SECRETS_RELOADER_DEGRADED")),
        "{log:?}"
    );
    assert_clean("the log", &log.join("\n"));
}

/// The same break as a reload of a running engine.
fn engine_reload_error(place: &Place, engine: &Engine, text: &str) -> String {
    place.file(".openclaw/openclaw.json", text, 0o600);
    let before = engine.snapshot();
    let error = engine.reload().unwrap_err();
    assert!(std::sync::Arc::ptr_eq(&before, &engine.snapshot()));
    error_texts(&error)
}

#[test]
fn panics_show_no_secret() {
    let secret = openclaw_auth::SecretText::new("CANARY-panic".to_owned());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| LOG.lock().unwrap().push(info.to_string())));
    let caught = std::panic::catch_unwind(|| panic!("while holding {secret:?}"));
    std::panic::set_hook(hook);
    let text = caught.unwrap_err().downcast::<String>().unwrap();
    assert_clean("a panic", &text);
}
