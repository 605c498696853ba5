//! A process that needs a fresh token: `oauth-worker STATE AGENT PROFILE`.
//!
//! With `OAUTH_KILL_AT=n` it kills itself, as `kill -9` would, right before its n-th change of
//! the outside world: a write, a rename, a removal, a request. With `OAUTH_KILL_AFTER_ANSWER_US`
//! it does so that many microseconds after the answer to a request has arrived.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "this program is part of the tests"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openclaw_auth::host::{
    FileMeta, Files, Host, Http, HttpAnswer, HttpFailure, HttpRequest, Liveness, Locks, OpenFile,
    Overwrite, ProcessFacts,
};
use openclaw_auth::{Engine, Options};
use openclaw_auth_oauth_tests::digest;
use serde_json::json;

fn main() {
    let mut args = std::env::args().skip(1);
    let state = args.next().expect("a state folder");
    let agent = args.next().expect("an agent");
    let profile = args.next().expect("a profile");
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let mut host = Host::real();
    let steps = Arc::new(Steps {
        left: AtomicU64::new(number("OAUTH_KILL_AT").unwrap_or(u64::MAX)),
        after_answer_us: number("OAUTH_KILL_AFTER_ANSWER_US"),
    });
    host.files = Arc::new(Killing {
        inner: Arc::clone(&host.files),
        steps: Arc::clone(&steps),
    });
    host.locks = Arc::new(Killing {
        inner: Arc::clone(&host.locks),
        steps: Arc::clone(&steps),
    });
    host.http = Arc::new(Killing {
        inner: Arc::clone(&host.http),
        steps,
    });
    let config = json!({"agents": {"list": [{"id": "main"}]}});
    let options = Options::new()
        .config_value(config)
        .state_dir(state)
        .with_host(host);
    let engine = Engine::open(options).expect("the engine opens");
    let start = std::time::Instant::now();
    let result = match engine.oauth_token(Some(&agent), &profile, 60_000, false) {
        Ok(token) => json!({
            "token": digest(token.access.expose()),
            "source": token.source,
            "warning": token.warning.map(|error| error.code().as_str()),
            "ms": start.elapsed().as_millis() as u64,
        }),
        Err(error) => json!({"error": error.to_json()}),
    };
    println!("{result}");
}

struct Steps {
    left: AtomicU64,
    after_answer_us: Option<u64>,
}

impl Steps {
    /// Another change of the world is about to happen.
    fn step(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die();
        }
    }
}

/// Ends this process without any chance to tidy up.
fn die() -> ! {
    let this = rustix::process::getpid();
    let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

struct Killing<T: ?Sized> {
    inner: Arc<T>,
    steps: Arc<Steps>,
}

impl Files for Killing<dyn Files> {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.inner.lstat(path)
    }
    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.inner.stat(path)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.inner.open(path)
    }
    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        self.steps.step();
        let steps = Arc::clone(&self.steps);
        self.inner.write_atomic_if(path, content, mode, &mut || {
            // Everything is on disk, but has not got its name.
            steps.step();
            ready()
        })
    }
    fn create_private(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<Box<dyn Overwrite>> {
        self.steps.step();
        let inner = self.inner.create_private(path, content, mode)?;
        Ok(Box::new(KillingFile {
            inner,
            steps: Arc::clone(&self.steps),
        }))
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        self.inner.names(folder)
    }
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.steps.step();
        self.inner.create_dir_all(path, mode)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.steps.step();
        self.inner.remove_file(path)
    }
}

struct KillingFile {
    inner: Box<dyn Overwrite>,
    steps: Arc<Steps>,
}

impl Overwrite for KillingFile {
    fn overwrite(&self, content: &[u8]) -> io::Result<()> {
        // The answer of the provider is written: nothing can come between its arrival and this,
        // so the step is after it.
        self.inner.overwrite(content)?;
        self.steps.step();
        Ok(())
    }
}

impl Locks for Killing<dyn Locks> {
    fn create_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.steps.step();
        self.inner.create_new(path, content)
    }
    fn open_to_overwrite(&self, path: &Path) -> io::Result<Box<dyn Overwrite>> {
        self.inner.open_to_overwrite(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.steps.step();
        self.inner.rename(from, to)
    }
    fn hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        self.steps.step();
        self.inner.hard_link(existing, path)
    }
    fn try_folder(&self, folder: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.inner.try_folder(folder)
    }
    fn this_process(&self) -> &ProcessFacts {
        self.inner.this_process()
    }
    fn liveness(&self, pid: u32) -> Liveness {
        self.inner.liveness(pid)
    }
}

impl Http for Killing<dyn Http> {
    fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpFailure> {
        self.steps.step();
        let answer = self.inner.send(request);
        if let Some(us) = self.steps.after_answer_us {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(us));
                die();
            });
        }
        answer
    }
}
