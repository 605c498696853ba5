//! Runs programs on a Unix machine: one poll loop per run, no thread, no shell.
//!
//! `std::process::Command` is used in such a way that it takes its `posix_spawn` path (no hook
//! between fork and exec, program path absolute), so starting a program costs the same in a host
//! with a large heap.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the access that the lint points to"
)]

use std::fs::File;
use std::io::{self, PipeReader, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::buffer::WipedBuffer;
use super::{ExitState, Processes, RunError, RunOutput, RunRequest};

/// How long output is still awaited after the program itself has ended.
const DRAIN: Duration = Duration::from_millis(250);
/// Longest wait for a killed program to be gone; within the second that callers are promised.
const REAP_LIMIT: Duration = Duration::from_millis(900);
/// Longest wait without a look at the cancel flag, or at the program where no descriptor tells
/// of its end.
const TICK: Duration = Duration::from_millis(20);
/// How long a program that is being written is tried again.
const BUSY_PATIENCE: Duration = Duration::from_millis(100);
/// The tick when no descriptor tells anything: usually the program is about to end.
const SHORT_TICK: Duration = Duration::from_millis(1);

/// The programs of the machine.
#[derive(Default)]
pub(super) struct RealProcesses {
    /// Killed, but not gone in time (stuck in the kernel, or running as another user).
    unreaped: Mutex<Vec<Child>>,
}

impl Processes for RealProcesses {
    fn run(&self, request: &RunRequest) -> Result<RunOutput, RunError> {
        self.reap_late_ones();
        if request.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let mut run = Run::spawn(request)
            .map_err(|error| RunError::Spawn(errno_name(error.raw_os_error())))?;
        match run.wait(request) {
            Ok(()) => Ok(run.finish()),
            Err(stop) => {
                self.unreaped.lock().extend(run.kill());
                Err(stop)
            }
        }
    }
}

impl RealProcesses {
    fn reap_late_ones(&self) {
        self.unreaped
            .lock()
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

/// One program on its way. Points in time are durations since `start`.
struct Run {
    child: Child,
    pid: Pid,
    /// Becomes readable when the program ends, so that `poll` returns at once. Without it the
    /// end is noticed at the next tick.
    end_signal: Option<OwnedFd>,
    stdout: Stream,
    stderr: Stream,
    start: Instant,
    last_byte: Duration,
    ended: Option<Duration>,
}

impl Run {
    fn spawn(request: &RunRequest) -> io::Result<Self> {
        let start = Instant::now();
        let stdin = input(&request.stdin)?;
        let (stdout, stdout_end) = Stream::open()?;
        let (stderr, stderr_end) = Stream::open()?;
        // The command holds our copies of the child's ends; they close when it is dropped here.
        let mut command = Command::new(&request.program);
        command
            .arg0(&request.arg0)
            .args(&request.args)
            .env_clear()
            .envs(
                request
                    .env
                    .iter()
                    .map(|(name, value)| (name, value.as_str())),
            )
            .current_dir(&request.current_dir)
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout_end)
            .stderr(stderr_end);
        let child = loop {
            match command.spawn() {
                Err(error) if is_busy(&error) && start.elapsed() < BUSY_PATIENCE => {
                    thread::sleep(SHORT_TICK);
                }
                result => break result?,
            }
        };
        let pid = Pid::from_child(&child);
        let end_signal = end_signal(pid);
        let last_byte = Duration::ZERO;
        Ok(Self {
            child,
            pid,
            end_signal,
            stdout,
            stderr,
            start,
            last_byte,
            ended: None,
        })
    }

    /// Serves the pipes until the program has ended and its output is complete or given up.
    fn wait(&mut self, request: &RunRequest) -> Result<(), RunError> {
        loop {
            let now = self.start.elapsed();
            if self.received() > request.max_output {
                return Err(RunError::OutputLimit);
            }
            if self.ended.is_some() && self.stdout.is_closed() && self.stderr.is_closed() {
                return Ok(());
            }
            if now >= request.timeout {
                return Err(RunError::Timeout);
            }
            let quiet_until = match self.ended {
                Some(ended) => ended + DRAIN,
                None => self.last_byte.saturating_add(request.silence),
            };
            if now >= quiet_until {
                return if self.ended.is_some() {
                    Ok(())
                } else {
                    Err(RunError::Silent)
                };
            }
            if request.cancel.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            self.sleep(request.timeout.min(quiet_until) - now);
            self.look(request.max_output);
        }
    }

    /// Waits until there is something to do, for one tick at most.
    fn sleep(&self, longest: Duration) {
        let descriptors = [
            self.stdout.pipe.as_ref().map(PipeReader::as_fd),
            self.stderr.pipe.as_ref().map(PipeReader::as_fd),
            self.end_signal.as_ref().map(OwnedFd::as_fd),
        ];
        let mut polled: Vec<PollFd<'_>> = descriptors
            .into_iter()
            .flatten()
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let longest = longest.min(if polled.is_empty() { SHORT_TICK } else { TICK });
        let timeout = Timespec::try_from(longest).unwrap_or_default();
        // A signal is a wake-up like any other. The one other failure is a lack of kernel memory;
        // then this becomes a plain pause.
        if rustix::event::poll(&mut polled, Some(&timeout)).is_err_and(|e| e != Errno::INTR) {
            thread::sleep(longest.min(SHORT_TICK));
        }
    }

    /// Takes what the pipes hold and sees whether the program has ended.
    fn look(&mut self, max_output: u64) {
        let room = max_output.saturating_sub(self.received()).saturating_add(1);
        if self.stdout.take(room) | self.stderr.take(room) {
            self.last_byte = self.start.elapsed();
        }
        if self.ended.is_none() && self.leader() != Leader::Running {
            self.ended = Some(self.start.elapsed());
            self.end_signal = None;
        }
    }

    /// Bytes on both streams so far.
    fn received(&self) -> u64 {
        self.stdout
            .bytes
            .len()
            .saturating_add(self.stderr.bytes.len())
    }

    /// The state of the program itself, which is left unreaped.
    fn leader(&self) -> Leader {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(self.pid), options) {
            Ok(Some(_)) => Leader::Ended,
            // ECHILD: the host ignores SIGCHLD or reaps children that are not its own.
            Err(Errno::CHILD) => Leader::Gone,
            Ok(None) | Err(_) => Leader::Running,
        }
    }

    /// Collects the result of a program that has ended.
    fn finish(mut self) -> RunOutput {
        let exit = match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => ExitState::Code(code),
                (None, Some(signal)) => ExitState::Signal(signal),
                (None, None) => ExitState::Lost,
            },
            Err(_) => ExitState::Lost,
        };
        RunOutput {
            exit,
            stdout: self.stdout.bytes.into_bytes(),
            stderr: self.stderr.bytes.into_bytes(),
            elapsed: self.start.elapsed(),
        }
    }

    /// Kills the whole process group and reaps its leader. Gives the child back when it is not
    /// gone in time.
    fn kill(mut self) -> Option<Child> {
        // The unreaped leader keeps the group's number from being used again. Without it the
        // number may already belong to strangers.
        if self.leader() != Leader::Gone {
            // The only failure is EPERM, for programs that changed their user.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
        self.stdout.pipe = None;
        self.stderr.pipe = None;
        let killed = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            let Some(remaining) = REAP_LIMIT.checked_sub(killed.elapsed()) else {
                return Some(self.child);
            };
            self.sleep(remaining);
        }
        None
    }
}

/// What can be said about the program itself, as opposed to its descendants.
#[derive(PartialEq, Eq)]
enum Leader {
    Running,
    /// Ended, its status not yet fetched.
    Ended,
    /// Ended, its status lost.
    Gone,
}

/// Our end of one output pipe, and what came out of it.
struct Stream {
    /// `None` after the end of the stream.
    pipe: Option<PipeReader>,
    bytes: WipedBuffer,
}

impl Stream {
    fn open() -> io::Result<(Self, Stdio)> {
        let (reader, writer) = io::pipe()?;
        // Of our end only: the two ends do not share the flag.
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok((
            Self {
                pipe: Some(reader),
                bytes: WipedBuffer::default(),
            },
            Stdio::from(writer),
        ))
    }

    /// Reads once; true when there was something. `room` bounds the growth of the buffer.
    fn take(&mut self, room: u64) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        match self.bytes.read_from(pipe, room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(0) | Err(_) => {
                self.pipe = None;
                false
            }
            Ok(_) => true,
        }
    }

    fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }
}

/// Whether the program is open for writing somewhere. That passes: an installer is at work, or
/// another thread's child has inherited the descriptor of a file this program has just written,
/// and is about to close it.
fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error())
}

/// Standard input that already holds everything: an anonymous file, so nobody has to feed a pipe.
fn input(content: &[u8]) -> io::Result<Stdio> {
    if content.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = anonymous_file()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

/// A file without a name: in memory where the system has that, else in the temporary folder.
fn anonymous_file() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    if let Ok(file) = rustix::fs::memfd_create("request", rustix::fs::MemfdFlags::CLOEXEC) {
        return Ok(File::from(file));
    }
    tempfile::tempfile()
}

/// A descriptor that becomes readable when the process ends, where the system has that.
#[cfg(target_os = "linux")]
fn end_signal(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// A descriptor that becomes readable when the process ends: none here.
#[cfg(not(target_os = "linux"))]
fn end_signal(_pid: Pid) -> Option<OwnedFd> {
    None
}

/// The symbolic name of an error number. No number is a fault in the request, such as a NUL
/// byte in an argument.
fn errno_name(number: Option<i32>) -> String {
    let Some(number) = number else {
        return "EINVAL".to_owned();
    };
    let known = ERRNO_NAMES
        .iter()
        .find(|(errno, _)| errno.raw_os_error() == number);
    known.map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}

/// What `pipe`, `posix_spawn`, `execve` and `memfd_create` fail with, by POSIX name.
const ERRNO_NAMES: [(Errno, &str); 22] = [
    (Errno::TOOBIG, "E2BIG"),
    (Errno::ACCESS, "EACCES"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::FAULT, "EFAULT"),
    (Errno::INVAL, "EINVAL"),
    (Errno::IO, "EIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::LOOP, "ELOOP"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOEXEC, "ENOEXEC"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::PERM, "EPERM"),
    (Errno::ROFS, "EROFS"),
    (Errno::STALE, "ESTALE"),
    (Errno::TXTBSY, "ETXTBSY"),
];

#[cfg(test)]
mod tests;
