//! The outside world behind traits: clock, environment, files, programs, randomness.
//!
//! Nothing else in this crate touches the operating system. [`Host::real`] is the machine;
//! `host::sim` (feature `testing`) is a simulated one for tests.

#[cfg(unix)]
mod buffer;
mod clock;
mod env;
#[cfg(unix)]
mod files;
mod http;
mod interfaces;
mod leftovers;
#[cfg(unix)]
mod locks;
mod network;
mod overlay;
#[cfg(unix)]
mod process;
mod sockets;
#[cfg(not(unix))]
mod unsupported;
#[cfg(not(unix))]
use self::unsupported::{self as files, self as locks, self as process};
#[cfg(any(test, feature = "testing"))]
pub mod sim;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

pub(crate) use self::leftovers::remove_leftovers;
pub(crate) use self::overlay::Overlay;

pub use interfaces::{Interfaces, RealInterfaces};
pub use network::{
    Connection, Http, HttpAnswer, HttpFailure, HttpFailureKind, HttpRequest, Listener, Sockets,
};

/// The outside world as one bundle; cheap to clone, shared between threads.
#[derive(Clone)]
#[non_exhaustive]
pub struct Host {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The captured process environment and the places of the user.
    pub env: Arc<dyn Environment>,
    /// Files and folders.
    pub files: Arc<dyn Files>,
    /// Other programs.
    pub processes: Arc<dyn Processes>,
    /// This machine's own network addresses.
    pub interfaces: Arc<dyn Interfaces>,
    /// What is needed to exclude other processes from a file.
    pub locks: Arc<dyn Locks>,
    /// Requests to other machines.
    pub http: Arc<dyn Http>,
    /// Listening sockets.
    pub sockets: Arc<dyn Sockets>,
}

impl Host {
    /// The machine this program runs on. The environment is captured now.
    pub fn real() -> Self {
        Self::in_environment(env::RealEnvironment::capture())
    }

    /// The machine this program runs on, with exactly these variables: the environment of the
    /// process is not read.
    pub fn with_vars(vars: BTreeMap<String, Zeroizing<String>>) -> Self {
        Self::in_environment(env::RealEnvironment::with_vars(vars))
    }

    fn in_environment(environment: env::RealEnvironment) -> Self {
        Self {
            clock: Arc::new(clock::RealClock::default()),
            env: Arc::new(environment),
            files: Arc::new(files::RealFiles),
            processes: Arc::new(process::RealProcesses::default()),
            interfaces: Arc::new(RealInterfaces),
            locks: Arc::new(locks::RealLocks::default()),
            http: Arc::new(http::RealHttp),
            sockets: Arc::new(sockets::RealSockets),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// Time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> u64;
    /// Time since an arbitrary fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits. In simulations it moves the clock instead.
    fn sleep(&self, duration: Duration);
}

/// The captured environment of the process.
pub trait Environment: Send + Sync {
    /// All variables whose names and values are UTF-8, as they were when the host was made.
    fn vars(&self) -> &BTreeMap<String, Zeroizing<String>>;
    /// Home directory by the account database, when `HOME` does not say.
    fn account_home(&self) -> Option<PathBuf>;
    /// Working directory.
    fn current_dir(&self) -> PathBuf;
    /// Effective user id. On systems without user ids: 0.
    fn effective_uid(&self) -> u32;
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A block or character device.
    Device,
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file.
    Regular,
    /// A socket.
    Socket,
    /// A symbolic link (only from [`Files::lstat`]).
    Symlink,
}

/// What the file system says about a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// Kind of the file.
    pub kind: FileKind,
    /// Permission bits, the lower twelve (`0o7777`).
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Number of hard links.
    pub links: u64,
    /// Size in bytes.
    pub len: u64,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Last change of the content.
    pub modified_ns: i128,
    /// Last change of content or attributes.
    pub changed_ns: i128,
}

/// Files and folders.
pub trait Files: Send + Sync {
    /// Facts about the path itself, links not followed.
    fn lstat(&self, path: &Path) -> io::Result<FileMeta>;
    /// Facts about what the path leads to.
    fn stat(&self, path: &Path) -> io::Result<FileMeta>;
    /// The path with every symbolic link in every component resolved.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Where a symbolic link points, as written in it.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Opens for reading without blocking and without following a link in the last component
    /// (`O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY`).
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;
    /// Replaces or creates a file so that readers see the old or the new content, never part of
    /// it: temporary file in the same folder with `mode`, `fsync`, rename, `fsync` of the folder.
    fn write_atomic(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        self.write_atomic_if(path, content, mode, &mut || true)
            .map(drop)
    }
    /// Like [`Files::write_atomic`], with a last question before the rename, when everything is
    /// on disk already. `Ok(None)`: the answer was no, and nothing has changed. Otherwise the
    /// facts about the new file; only `changed_ns` may differ from what is found at the path.
    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>>;
    /// Creates a file with this mode and content, on disk when the call returns, and keeps it
    /// open; fails with `AlreadyExists`.
    fn create_private(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<Box<dyn Overwrite>>;
    /// The names in a folder, in no particular order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a folder and its parents with `mode`; existing ones are left as they are.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Sets the permission bits of a file or folder. Links are not followed.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _ = (path, mode);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An open file. The facts are those of the open descriptor, not of the path.
pub trait OpenFile: Send {
    /// Facts about the open file.
    fn meta(&self) -> io::Result<FileMeta>;
    /// Reads everything, at most `limit` bytes. `Ok(None)` when there is more than that.
    fn read_to_limit(&mut self, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>>;
}

/// A file open for writing over its beginning. What follows stays, so that readers never see it
/// empty and the space for it is never given back.
pub trait Overwrite: Send + Sync {
    /// Writes from the beginning of the file.
    fn overwrite(&self, content: &[u8]) -> io::Result<()>;
}

/// What a protocol of lock files is made of.
pub trait Locks: Send + Sync {
    /// Creates a file with this content in one step, so that nobody sees it empty; fails with
    /// `AlreadyExists`.
    fn create_new(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Opens an existing file for writing over it.
    fn open_to_overwrite(&self, path: &Path) -> io::Result<Box<dyn Overwrite>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; fails with `AlreadyExists`.
    fn hard_link(&self, existing: &Path, path: &Path) -> io::Result<()>;
    /// Takes the operating system's lock on a folder without waiting, until the result is
    /// dropped or this process ends. `Ok(None)`: another process has it.
    fn try_folder(&self, folder: &Path) -> io::Result<Option<Box<dyn Send>>>;
    /// This process.
    fn this_process(&self) -> &ProcessFacts;
    /// Whether a process runs. A zombie does not.
    fn liveness(&self, pid: u32) -> Liveness;
}

/// What tells a process from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// Start of the process in ticks of the system's own clock, where it can be known.
    pub start_ticks: Option<u64>,
    /// Start of the process, in milliseconds since 1970; at most two seconds too early.
    pub started_ms: u64,
    /// Names the machine, its boot and the space of process ids: 16 hex digits.
    pub machine: String,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Liveness {
    /// It runs; its start in ticks where it can be known.
    Alive(Option<u64>),
    /// It does not.
    Dead,
}

/// Other programs.
pub trait Processes: Send + Sync {
    /// Runs a program to its end, within the limits of the request. Blocks.
    ///
    /// The bound holds whatever the program or its descendants do: the call returns at most
    /// one second after `timeout`.
    fn run(&self, request: &RunRequest) -> Result<RunOutput, RunError>;
}

/// What to run, and its limits. No shell is involved.
#[derive(Clone)]
pub struct RunRequest {
    /// The executable file, absolute.
    pub program: PathBuf,
    /// `argv[0]`.
    pub arg0: String,
    /// The other arguments.
    pub args: Vec<String>,
    /// The complete environment of the child; nothing is inherited.
    pub env: BTreeMap<String, Zeroizing<String>>,
    /// Working directory of the child.
    pub current_dir: PathBuf,
    /// What the child finds on standard input, then end of file.
    pub stdin: Vec<u8>,
    /// Longest duration from start to end.
    pub timeout: Duration,
    /// Longest silence on standard output and standard error together. When it equals
    /// `timeout`, running out of it counts as [`RunError::Timeout`].
    pub silence: Duration,
    /// Most bytes on standard output and standard error together.
    pub max_output: u64,
    /// Kills the child when set.
    pub cancel: Cancel,
}

impl fmt::Debug for RunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunRequest")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// A shared flag that asks running work to stop.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop. Cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether stopping was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitState {
    /// It returned this exit code.
    Code(i32),
    /// It was killed by this signal number.
    Signal(i32),
    /// The status is lost, because the surrounding program ignores `SIGCHLD`.
    Lost,
}

/// The output of a child that ended by itself. Both streams are wiped on drop.
pub struct RunOutput {
    /// How it ended.
    pub exit: ExitState,
    /// Standard output.
    pub stdout: Zeroizing<Vec<u8>>,
    /// Standard error. May contain credentials; never show it.
    pub stderr: Zeroizing<Vec<u8>>,
    /// From start to end.
    pub elapsed: Duration,
}

impl fmt::Debug for RunOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOutput")
            .field("exit", &self.exit)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}

/// Why a child gave no result. In every case but the first its whole process group was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started; the symbolic name of the error number, such as `ENOENT`.
    Spawn(String),
    /// It did not finish in time.
    Timeout,
    /// It was silent for too long.
    Silent,
    /// It printed more than allowed.
    OutputLimit,
    /// The caller cancelled.
    Cancelled,
}

/// Fills a buffer with random bytes from the operating system.
///
/// # Errors
///
/// When the operating system has no randomness to give.
pub fn random(buffer: &mut [u8]) -> io::Result<()> {
    getrandom::fill(buffer).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests;
