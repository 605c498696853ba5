//! Parts of the outside world that an engine does not get, or gets from a test.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::host::{
    Clock, FileMeta, Files, Http, HttpAnswer, HttpFailure, HttpFailureKind, HttpRequest,
    Interfaces, Liveness, Locks, OpenFile, Overwrite, ProcessFacts, Processes, RunError, RunOutput,
    RunRequest,
};

/// A clock that stands still until it is moved.
pub(crate) struct ManualClock {
    start_ms: u64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new(start_ms: u64) -> Self {
        Self {
            start_ms,
            passed_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.start_ms
            .saturating_add(self.passed_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) {
        self.advance(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Runs nothing.
pub(crate) struct NoPrograms;

impl Processes for NoPrograms {
    fn run(&self, _: &RunRequest) -> Result<RunOutput, RunError> {
        Err(RunError::Spawn("EPERM".to_owned()))
    }
}

/// Sends nothing.
pub(crate) struct NoNetwork;

impl Http for NoNetwork {
    fn send(&self, _: &HttpRequest) -> Result<HttpAnswer, HttpFailure> {
        let reason = "the engine was opened without OCA_FLAG_ALLOW_NETWORK";
        Err(HttpFailure::new(HttpFailureKind::NotSent, reason))
    }
}

/// Addresses of this host as a test gives them; `None` when they cannot be found out.
#[derive(Clone)]
pub(crate) struct OwnAddresses(pub(crate) Option<Vec<IpAddr>>);

impl Interfaces for OwnAddresses {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0
            .clone()
            .ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}

/// Files and locks that can be read but not changed.
pub(crate) struct ReadOnly<T: ?Sized>(pub(crate) Arc<T>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Files for ReadOnly<dyn Files> {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.0.lstat(path)
    }

    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.0.stat(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.canonical(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.read_link(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.0.open(path)
    }

    fn write_atomic_if(
        &self,
        _: &Path,
        _: &[u8],
        _: u32,
        _: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        refused()
    }

    fn create_private(&self, _: &Path, _: &[u8], _: u32) -> io::Result<Box<dyn Overwrite>> {
        refused()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        self.0.names(folder)
    }

    fn create_dir_all(&self, _: &Path, _: u32) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }
}

impl Locks for ReadOnly<dyn Locks> {
    fn create_new(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn open_to_overwrite(&self, _: &Path) -> io::Result<Box<dyn Overwrite>> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn try_folder(&self, _: &Path) -> io::Result<Option<Box<dyn Send>>> {
        refused()
    }

    fn this_process(&self) -> &ProcessFacts {
        self.0.this_process()
    }

    fn liveness(&self, pid: u32) -> Liveness {
        self.0.liveness(pid)
    }
}
