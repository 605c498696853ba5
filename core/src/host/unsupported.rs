//! Files and programs on systems where the checks that keep credentials safe are missing:
//! everything is refused.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{
    FileMeta, Files, Liveness, Locks, OpenFile, ProcessFacts, Processes, RunError, RunOutput,
    RunRequest,
};

/// Refuses every access.
pub(super) struct RealFiles;

impl Files for RealFiles {
    fn lstat(&self, _path: &Path) -> io::Result<FileMeta> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stat(&self, _path: &Path) -> io::Result<FileMeta> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn canonical(&self, _path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_link(&self, _path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_atomic_if(
        &self,
        _path: &Path,
        _content: &[u8],
        _mode: u32,
        _ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn names(&self, _folder: &Path) -> io::Result<Vec<OsString>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_dir_all(&self, _path: &Path, _mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn names(&self, _folder: &Path) -> io::Result<Vec<OsString>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Refuses every run.
#[derive(Default)]
pub(super) struct RealProcesses {}

impl Processes for RealProcesses {
    fn run(&self, _request: &RunRequest) -> Result<RunOutput, RunError> {
        Err(RunError::Spawn("ENOTSUP".to_owned()))
    }
}

/// Locks nothing.
pub(super) struct RealLocks(ProcessFacts);

impl Default for RealLocks {
    fn default() -> Self {
        Self(ProcessFacts {
            pid: std::process::id(),
            start_ticks: None,
            started_ms: 0,
            machine: String::new(),
        })
    }
}

impl Locks for RealLocks {
    fn create_new(&self, _path: &Path, _content: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn hard_link(&self, _existing: &Path, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_folder(&self, _folder: &Path) -> io::Result<Option<Box<dyn Send>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn this_process(&self) -> &ProcessFacts {
        &self.0
    }

    fn liveness(&self, _pid: u32) -> Liveness {
        Liveness::Alive(None)
    }
}
