//! A simulated machine for tests: a clock that tests move, an environment that is a map, files in
//! memory with owners and modes, programs that are closures.
//!
//! ```
//! use openclaw_auth::host::sim::{self, Sim};
//!
//! let sim = Sim::new();
//! sim.env("HOME", "/home/user").file("/home/user/.openclaw/.env", "A=1", 0o600);
//! sim.program("/usr/bin/vault", |_request| sim::exited(0, "a secret", ""));
//! let host = sim.host();
//! assert_eq!(host.env.vars().get("HOME").map(|home| home.as_str()), Some("/home/user"));
//! ```

mod disk;
mod programs;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use self::disk::{Disk, Node, SimFiles, SimLocks};
use self::programs::{Program, SimProcesses};
use super::{
    Clock, Environment, ExitState, FileKind, FileMeta, Host, Interfaces, ProcessFacts, RunError,
    RunOutput, RunRequest,
};

/// What the clock shows at first: 2026-01-01 00:00 UTC, in milliseconds since 1970.
pub const START_MS: u64 = 1_767_225_600_000;
/// The user that owns everything at first.
pub const START_UID: u32 = 1000;

/// A simulated machine. Clones are the same machine; so are all hosts made from it, except that
/// a host keeps the environment it was made with, like a real process.
///
/// Methods that build return the machine again, so that calls can be chained. Parents of files
/// appear by themselves, with mode 0755. Relative paths start at the working directory.
#[derive(Clone, Default)]
pub struct Sim {
    world: Arc<World>,
}

/// Everything that is shared.
#[derive(Default)]
struct World {
    clock: SimClock,
    process: Mutex<Process>,
    disk: Mutex<Disk>,
    programs: Mutex<BTreeMap<PathBuf, Arc<Program>>>,
    runs: Mutex<Vec<RunRequest>>,
    /// Other processes and when they started.
    running: Mutex<BTreeMap<u32, u64>>,
}

/// Process id of the simulated process.
pub const PID: u32 = 4242;
/// Start of the simulated process in ticks.
pub const START_TICKS: u64 = 1_000;
/// Name of the simulated machine in lock files.
pub const MACHINE: &str = "00112233445566aa";

impl Sim {
    /// A machine with an empty root folder, no variables, user id [`START_UID`], no home and
    /// working directory `/`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine as a host. The environment is captured now.
    pub fn host(&self) -> Host {
        Host {
            clock: Arc::new(SharedClock(Arc::clone(&self.world))),
            env: Arc::new(SimEnvironment(self.world.process.lock().clone())),
            files: Arc::new(SimFiles(Arc::clone(&self.world))),
            processes: Arc::new(SimProcesses(Arc::clone(&self.world))),
            interfaces: Arc::new(SimInterfaces),
            locks: Arc::new(SimLocks(
                Arc::clone(&self.world),
                ProcessFacts {
                    pid: PID,
                    start_ticks: Some(START_TICKS),
                    started_ms: START_MS,
                    machine: MACHINE.to_owned(),
                },
            )),
        }
    }

    /// Lets another process run; it started at this tick.
    pub fn running(&self, pid: u32, start_ticks: u64) -> &Self {
        self.world.running.lock().insert(pid, start_ticks);
        self
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) -> &Self {
        self.world.clock.advance(duration);
        self
    }

    /// Sets the wall clock, in milliseconds since 1970; also backwards, as machines do. Monotonic
    /// time is not touched.
    pub fn set_now_ms(&self, now_ms: u64) -> &Self {
        self.world
            .clock
            .wall_ns
            .store(now_ms.saturating_mul(NANOS_PER_MS), Ordering::Relaxed);
        self
    }

    /// Sets a variable for hosts made afterwards.
    pub fn env(&self, name: &str, value: &str) -> &Self {
        let value = Zeroizing::new(value.to_owned());
        self.world
            .process
            .lock()
            .vars
            .insert(name.to_owned(), value);
        self
    }

    /// Removes a variable for hosts made afterwards.
    pub fn unset_env(&self, name: &str) -> &Self {
        self.world.process.lock().vars.remove(name);
        self
    }

    /// Sets the home directory by the account database, for hosts made afterwards.
    pub fn account_home(&self, home: impl Into<PathBuf>) -> &Self {
        self.world.process.lock().account_home = Some(home.into());
        self
    }

    /// Sets the working directory, which must be absolute, for hosts made afterwards and for
    /// relative paths from now on.
    pub fn current_dir(&self, folder: impl Into<PathBuf>) -> &Self {
        self.world.process.lock().current_dir = folder.into();
        self
    }

    /// Sets the effective user id for hosts made afterwards. What is built from now on belongs to
    /// this user, and access is checked against it at once. Root (0) may read and write
    /// everything.
    pub fn uid(&self, uid: u32) -> &Self {
        self.world.process.lock().uid = uid;
        self
    }

    /// Makes a regular file, or overwrites one in place: inode and other hard links stay, times
    /// and mode change.
    pub fn file(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> &Self {
        self.put(path.as_ref(), Node::file(content.as_ref().to_vec(), mode))
    }

    /// Makes a folder, or sets the mode of one.
    pub fn dir(&self, path: impl AsRef<Path>, mode: u32) -> &Self {
        self.put(path.as_ref(), Node::special(FileKind::Directory, mode))
    }

    /// Makes a symbolic link that says `target`.
    pub fn symlink(&self, path: impl AsRef<Path>, target: impl Into<PathBuf>) -> &Self {
        self.put(path.as_ref(), Node::symlink(target.into()))
    }

    /// Makes a named pipe (always empty), a socket, or a device (endless zeros) with mode 0600.
    pub fn special(&self, path: impl AsRef<Path>, kind: FileKind) -> &Self {
        self.put(path.as_ref(), Node::special(kind, 0o600))
    }

    /// Gives an existing file a second name.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn hard_link(&self, existing: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        let (existing, path) = (
            self.absolute(existing.as_ref()),
            self.absolute(path.as_ref()),
        );
        let mut disk = self.world.disk.lock();
        let inode = disk.inode(&existing).ok_or(io::ErrorKind::NotFound)?;
        disk.link(&path, inode);
        Ok(())
    }

    /// Changes the owner of what is at a path. Nothing happens when nothing is there.
    pub fn owner(&self, path: impl AsRef<Path>, uid: u32) -> &Self {
        self.change(path.as_ref(), |node| node.uid = uid)
    }

    /// Changes the permission bits of what is at a path. Nothing happens when nothing is there.
    pub fn mode(&self, path: impl AsRef<Path>, mode: u32) -> &Self {
        self.change(path.as_ref(), |node| node.mode = mode)
    }

    /// Removes what is at a path, folders with all they hold.
    pub fn remove(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.absolute(path.as_ref());
        self.world.disk.lock().remove_tree(&path);
        self
    }

    /// From now on, every access of a host to exactly this file or folder fails with
    /// this kind of error. Inspection by [`Sim::content`] and the like, and programs, do not.
    pub fn fail(&self, path: impl AsRef<Path>, kind: io::ErrorKind) -> &Self {
        let path = self.absolute(path.as_ref());
        self.world.disk.lock().failures.insert(path, kind);
        self
    }

    /// Ends [`Sim::fail`].
    pub fn heal(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.absolute(path.as_ref());
        self.world.disk.lock().failures.remove(&path);
        self
    }

    /// The content of the regular file that a path leads to, whatever its mode.
    pub fn content(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = self.absolute(path.as_ref());
        let disk = self.world.disk.lock();
        let inode = disk.walk(&path, true, 0).ok()?.inode?;
        disk.node(inode)
            .filter(|node| node.kind == FileKind::Regular)
            .map(Node::content)
    }

    /// Like [`Sim::content`], as text; `None` also when it is not UTF-8.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        String::from_utf8(self.content(path)?).ok()
    }

    /// Facts about what is at a path, links not followed, whatever the modes on the way.
    pub fn meta(&self, path: impl AsRef<Path>) -> Option<FileMeta> {
        let path = self.absolute(path.as_ref());
        let disk = self.world.disk.lock();
        disk.meta(disk.inode(&path)?)
    }

    /// All paths that exist, sorted, without the root.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.disk.lock().paths()
    }

    /// Makes an executable file (mode 0755, unless something is there already) that behaves as
    /// the closure says. A file without a closure fails to start with `ENOEXEC`.
    ///
    /// The simulation holds the limits of the request: an answer beyond `max_output`, a clock
    /// that the closure moved beyond `timeout` or `silence`, and a cancelled request become the
    /// same errors as on a real machine. `elapsed` is what the clock says.
    pub fn program(
        &self,
        path: impl AsRef<Path>,
        behaviour: impl Fn(&RunRequest) -> Result<RunOutput, RunError> + Send + Sync + 'static,
    ) -> &Self {
        let path = self.absolute(path.as_ref());
        if self.meta(&path).is_none() {
            self.file(&path, "", 0o755);
        }
        self.world.programs.lock().insert(path, Arc::new(behaviour));
        self
    }

    /// All requests so far to run a program that exists, in order.
    pub fn runs(&self) -> Vec<RunRequest> {
        self.world.runs.lock().clone()
    }

    fn put(&self, path: &Path, node: Node) -> &Self {
        let path = self.absolute(path);
        let (uid, now_ns) = (self.world.process.lock().uid, self.world.clock.stamp());
        self.world.disk.lock().put(&path, node, uid, now_ns);
        self
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Node)) -> &Self {
        let path = self.absolute(path);
        let now_ns = self.world.clock.stamp();
        let mut disk = self.world.disk.lock();
        if let Some(node) = disk.inode(&path).and_then(|inode| disk.node_mut(inode)) {
            change(node);
            node.changed_ns = now_ns;
        }
        drop(disk);
        self
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.world.process.lock().current_dir.join(path)
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}

/// The answer of a simulated program that ended with an exit code.
///
/// # Errors
///
/// Never; it is a result so that a closure can end with it.
pub fn exited(code: i32, stdout: &str, stderr: &str) -> Result<RunOutput, RunError> {
    Ok(RunOutput {
        exit: ExitState::Code(code),
        stdout: Zeroizing::new(stdout.as_bytes().to_vec()),
        stderr: Zeroizing::new(stderr.as_bytes().to_vec()),
        elapsed: Duration::ZERO,
    })
}

const NANOS_PER_MS: u64 = 1_000_000;

/// Both times in nanoseconds.
struct SimClock {
    wall_ns: AtomicU64,
    monotonic_ns: AtomicU64,
    stamps: AtomicU64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self {
            wall_ns: AtomicU64::new(START_MS * NANOS_PER_MS),
            monotonic_ns: AtomicU64::new(0),
            stamps: AtomicU64::new(0),
        }
    }
}

impl SimClock {
    fn advance(&self, duration: Duration) {
        let step = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.wall_ns.fetch_add(step, Ordering::Relaxed);
        self.monotonic_ns.fetch_add(step, Ordering::Relaxed);
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.load(Ordering::Relaxed))
    }

    /// A time for a change of a file. Two changes never get the same one, even if nobody moves
    /// the clock.
    fn stamp(&self) -> i128 {
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        i128::from(self.wall_ns.load(Ordering::Relaxed)) + i128::from(stamp)
    }
}

struct SharedClock(Arc<World>);

impl Clock for SharedClock {
    fn now_ms(&self) -> u64 {
        self.0.clock.wall_ns.load(Ordering::Relaxed) / NANOS_PER_MS
    }

    fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.0.clock.advance(duration);
    }
}

/// What a process knows about itself.
#[derive(Clone)]
struct Process {
    vars: BTreeMap<String, Zeroizing<String>>,
    account_home: Option<PathBuf>,
    current_dir: PathBuf,
    uid: u32,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            vars: BTreeMap::new(),
            account_home: None,
            current_dir: PathBuf::from("/"),
            uid: START_UID,
        }
    }
}

struct SimEnvironment(Process);

impl Environment for SimEnvironment {
    fn vars(&self) -> &BTreeMap<String, Zeroizing<String>> {
        &self.0.vars
    }

    fn account_home(&self) -> Option<PathBuf> {
        self.0.account_home.clone()
    }

    fn current_dir(&self) -> PathBuf {
        self.0.current_dir.clone()
    }

    fn effective_uid(&self) -> u32 {
        self.0.uid
    }
}

/// A machine with nothing but loopback.
struct SimInterfaces;

impl Interfaces for SimInterfaces {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ])
    }
}

#[cfg(test)]
mod tests;
