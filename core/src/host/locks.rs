//! What lock files are made of, on a Unix machine.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the access that the lint points to"
)]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::Pid;
use sha2::{Digest as _, Sha256};

use super::{Liveness, Locks, Overwrite, ProcessFacts};

/// Lock files and processes of the machine.
pub(super) struct RealLocks {
    this: ProcessFacts,
}

impl Default for RealLocks {
    fn default() -> Self {
        let pid = std::process::id();
        let start_ticks = stat_of(pid).map(|(_, ticks)| ticks);
        Self {
            this: ProcessFacts {
                pid,
                start_ticks,
                started_ms: started_ms(start_ticks),
                machine: machine(),
            },
        }
    }
}

impl Locks for RealLocks {
    fn create_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match create_whole(path, content) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Some file systems have neither a rename that spares what exists nor links.
                let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
                file.write_all(content)
            }
            result => result,
        }
    }

    fn open_to_overwrite(&self, path: &Path) -> io::Result<Box<dyn Overwrite>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        fs::hard_link(existing, path)
    }

    fn try_folder(&self, folder: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let folder = File::open(folder)?;
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(folder))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn this_process(&self) -> &ProcessFacts {
        &self.this
    }

    fn liveness(&self, pid: u32) -> Liveness {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(id) = id else {
            return Liveness::Dead;
        };
        match rustix::process::test_kill_process(id) {
            // A process of another user is there all the same.
            Ok(()) | Err(Errno::PERM) => match stat_of(pid) {
                Some(('Z' | 'X', _)) => Liveness::Dead,
                stat => Liveness::Alive(stat.map(|(_, ticks)| ticks)),
            },
            Err(_) => Liveness::Dead,
        }
    }
}

/// Creates a file that has its content from the first moment: a process that is killed on the way
/// leaves no empty lock, which others could judge by its age only.
fn create_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(format!(".{}.", std::process::id()));
    let mut temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .rand_bytes(12)
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    temporary.write_all(content)?;
    let persisted = temporary.persist_noclobber(path);
    persisted.map(drop).map_err(|error| error.error)
}

/// State and start of a process, from `/proc` (proc(5), fields 3 and 22).
fn stat_of(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Unit of times in `/proc`: Linux gives them in hundredths of a second, whatever the kernel's own
/// clock does. Asking for it would read memory of the loader that not every tool maps.
const TICKS_PER_SECOND: u64 = 100;

/// When this process started. Where the system does not say: now, which is later.
fn started_ms(start_ticks: Option<u64>) -> u64 {
    let from_proc = || {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        let boot_ms = boot.trim().parse::<u64>().ok()?.checked_mul(1_000)?;
        let since_boot_ms = start_ticks?.checked_mul(1_000)? / TICKS_PER_SECOND;
        // The boot time is given in whole seconds.
        (boot_ms + since_boot_ms).checked_sub(1_000)
    };
    let now = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
    };
    from_proc().unwrap_or_else(now)
}

/// Process ids mean something only within one boot of one machine, and within one container.
fn machine() -> String {
    let mut hash = Sha256::new();
    hash.update(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    hash.update(space.as_os_str().as_encoded_bytes());
    hash.update(rustix::system::uname().nodename().to_bytes());
    let hex = hash.finalize();
    hex.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_and_alive() {
        let locks = RealLocks::default();
        let this = locks.this_process();
        assert_eq!(this.machine.len(), 16);
        assert_eq!(locks.liveness(this.pid), Liveness::Alive(this.start_ticks));
        assert_eq!(locks.liveness(0), Liveness::Dead);
        assert_eq!(locks.liveness(u32::MAX), Liveness::Dead);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let age = now.as_millis() as i128 - i128::from(this.started_ms);
        assert!((0..600_000).contains(&age), "{age}");
    }

    #[test]
    fn a_new_file_is_whole_and_spares_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.lock");
        let locks = RealLocks::default();
        locks.create_new(&path, b"one").unwrap();
        for result in [locks.create_new(&path, b"two"), create_whole(&path, b"two")] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let no = locks.create_new(&folder.path().join("no/s.lock"), b"x");
        assert_eq!(no.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_folder_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let locks = RealLocks::default();
        let held = locks.try_folder(folder.path()).unwrap().expect("free");
        assert!(locks.try_folder(folder.path()).unwrap().is_none());
        drop(held);
        assert!(locks.try_folder(folder.path()).unwrap().is_some());
        assert!(locks.try_folder(&folder.path().join("no")).is_err());
    }
}
