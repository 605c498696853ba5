//! A valid OAuth token costs a lease nothing that a key does not cost.
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openclaw_auth::host::sim::Sim;
use openclaw_auth::host::{FileMeta, Files, OpenFile, Overwrite};
use openclaw_auth::{Engine, LeaseRequest, Options};
use serde_json::json;

const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
const T: u64 = 1_800_000_000_000;

/// Counts what is asked of the disk.
struct Counting {
    base: Arc<dyn Files>,
    calls: AtomicUsize,
}

impl Counting {
    fn files(&self) -> &dyn Files {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &*self.base
    }
}

impl Files for Counting {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.files().lstat(path)
    }
    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.files().stat(path)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.files().canonical(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.files().read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.files().open(path)
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.files().names(folder)
    }
    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        self.files().write_atomic_if(path, content, mode, ready)
    }
    fn create_private(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<Box<dyn Overwrite>> {
        self.files().create_private(path, content, mode)
    }
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.files().create_dir_all(path, mode)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files().remove_file(path)
    }
}

#[test]
fn a_lease_of_a_valid_token_adds_no_io() {
    let sim = Sim::new();
    let store = json!({"version": 1, "profiles": {
        "a:1": {"type": "api_key", "provider": "a", "key": "k"},
        "openai-codex:me": {
            "type": "oauth", "provider": "openai-codex", "access": "at", "refresh": "rt",
            "expires": T + 86_400_000, "accountId": "acc",
        },
    }});
    sim.set_now_ms(T)
        .env("HOME", "/home/user")
        .dir("/home/user/.openclaw", 0o700)
        .file(STORE, store.to_string(), 0o600);
    let mut host = sim.host();
    let counting = Arc::new(Counting {
        base: Arc::clone(&host.files),
        calls: AtomicUsize::new(0),
    });
    host.files = Arc::clone(&counting) as Arc<dyn Files>;
    let engine = Engine::open(Options::new().with_host(host).config_value(json!({}))).unwrap();
    let calls = |provider: &str| {
        let before = counting.calls.load(Ordering::SeqCst);
        for _ in 0..100 {
            let request = LeaseRequest {
                provider: Some(provider),
                ..LeaseRequest::default()
            };
            engine.lease(&request).unwrap().release();
        }
        counting.calls.load(Ordering::SeqCst) - before
    };
    calls("a");
    calls("openai-codex");
    let (key, token) = (calls("a"), calls("openai-codex"));
    assert_eq!(key, token);
    // One look at whether the store has changed.
    assert!(token <= 100, "{token} calls for 100 leases");
    assert!(sim.requests().is_empty());
}

#[test]
fn a_lost_default_login_is_replaced_by_that_of_the_same_person_only() {
    for (email, expected) in [
        ("me@example.com", Some("theirs")),
        ("you@example.com", None),
    ] {
        let sim = Sim::new();
        let login = |access: &str, expires: u64, email: &str| {
            json!({
                "type": "oauth", "provider": "openai-codex", "access": access, "refresh": "r",
                "expires": expires, "accountId": "acc", "email": email,
            })
        };
        let store = json!({"version": 1, "profiles": {
            "openai-codex:default": login("old", T - 1, "me@example.com"),
            "openai-codex:new": login("theirs", T + 86_400_000, email),
        }});
        sim.set_now_ms(T)
            .env("HOME", "/home/user")
            .dir("/home/user/.openclaw", 0o700)
            .file(STORE, store.to_string(), 0o600)
            .answer_json(400, r#"{"error":"invalid_grant"}"#);
        let config = json!({"auth": {"profiles": {"openai-codex:default": {
            "provider": "openai-codex", "mode": "oauth", "email": "Me@Example.com",
        }}}});
        let options = Options::new().with_host(sim.host()).config_value(config);
        let engine = Engine::open(options).unwrap();
        let token = engine.oauth_token(None, "openai-codex:default", 0, false);
        let access = token.as_ref().map(|token| token.access.expose());
        assert_eq!(access.ok(), expected, "{token:?}");
    }
}
