//! The lock file shared with OpenClaw 2026.4: `<store>.lock`, created exclusively, holding
//! `{pid, createdAt}`.
//!
//! Whoever of our own processes contends for it holds the operating system's lock on the folder
//! while doing so. That lock goes away with its owner, makes "stale" and its removal one step
//! among us, and lets the next in line get the file before the last holder can take it again.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::date::{iso_date, rfc3339_ms};
use crate::host::{FileMeta, Host, Liveness, Overwrite, random};

/// Age at which OpenClaw takes a lock away from its holder, in milliseconds.
const STALE_MS: u64 = 30_000;
/// Tells our locks from those of OpenClaw.
const OWNER: &str = "openclaw-auth";
/// Longest lock file that is read; ours has about 250 bytes.
const MAX_CONTENT: u64 = 64 * 1024;
/// First and longest wait between two attempts.
const FIRST_WAIT: Duration = Duration::from_micros(500);
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// Why the lock could not be had.
#[derive(Debug)]
pub(crate) enum LockFailure {
    /// Another process had it for the whole budget.
    Busy {
        pid: Option<u64>,
        age_ms: Option<u64>,
    },
    /// Another part of this very process has it; waiting could block the one who must let go.
    SameProcess,
    /// The file system refused.
    Io(io::Error),
}

/// The lock, held until it is dropped.
pub(crate) struct LockFile {
    host: Host,
    path: PathBuf,
    nonce: String,
}

impl LockFile {
    /// Takes the lock of a store, waiting at most `budget`.
    pub(crate) fn acquire(host: &Host, path: &Path, budget: Duration) -> Result<Self, LockFailure> {
        let mut contender = Contender::new(host, path, budget);
        let _turn = contender.turn()?;
        contender.acquire()
    }

    /// Like [`LockFile::acquire`], for a folder that holds locks of several things: who waits for
    /// one does not keep others from another. `meanwhile` is asked before every wait, and ends it
    /// with `Ok(None)`.
    pub(crate) fn acquire_unless(
        host: &Host,
        path: &Path,
        budget: Duration,
        meanwhile: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, LockFailure> {
        let mut contender = Contender::new(host, path, budget);
        loop {
            contender.budget = Duration::ZERO;
            match contender.acquire() {
                Ok(lock) => return Ok(Some(lock)),
                Err(LockFailure::Busy { .. }) => {}
                Err(failure) => return Err(failure),
            }
            if meanwhile() {
                return Ok(None);
            }
            contender.budget = budget;
            contender.wait()?;
        }
    }

    /// What keeps the lock looking young while it is held for longer than usual. `None` when it
    /// has been taken away.
    pub(crate) fn pulse(&self) -> Option<Pulse> {
        let file = self.host.locks.open_to_overwrite(&self.path).ok()?;
        // Opened first, so that what is looked at now is the file that was opened, or younger.
        self.is_ours().then(|| Pulse {
            host: self.host.clone(),
            file,
            nonce: self.nonce.clone(),
        })
    }

    /// Whether the lock file is still the one that was made here.
    pub(crate) fn is_ours(&self) -> bool {
        let found = read(&self.host, &self.path).ok();
        found.is_some_and(|found| found.nonce() == Some(&self.nonce))
    }
}

/// Whether a lock file was left behind, by the rule that contenders follow.
pub(crate) fn is_stale_lock(host: &Host, path: &Path) -> bool {
    let contender = Contender::new(host, path, Duration::ZERO);
    let found = read(host, path);
    found.is_ok_and(|found| matches!(contender.judge(&found), Judgement::Stale))
}

/// Rewrites `createdAt` in place, so that neither test of staleness fires.
pub(crate) struct Pulse {
    host: Host,
    file: Box<dyn Overwrite>,
    nonce: String,
}

impl Pulse {
    /// Rewrites the content. Harmless when the lock has been taken away: the file of the old lock
    /// is written, which nobody sees any more.
    pub(crate) fn beat(&self) -> io::Result<()> {
        let content = content(&self.host, &self.nonce);
        self.file.overwrite(content.as_bytes())
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = self.host.files.remove_file(&self.path)
        {
            log::debug!(target: "openclaw_auth::profiles", "cannot remove a lock: {}", error.kind());
        }
    }
}

struct Contender<'a> {
    host: &'a Host,
    path: &'a Path,
    started: Duration,
    budget: Duration,
    wait: Duration,
    /// Who had the lock when it was looked at last.
    holder: Option<Found>,
}

impl<'a> Contender<'a> {
    fn new(host: &'a Host, path: &'a Path, budget: Duration) -> Self {
        Self {
            host,
            path,
            started: host.clock.monotonic(),
            budget,
            wait: FIRST_WAIT,
            holder: None,
        }
    }

    /// The right to contend, when the system has such a thing.
    fn turn(&mut self) -> Result<Option<Box<dyn Send>>, LockFailure> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        loop {
            match self.host.locks.try_folder(folder) {
                Ok(Some(turn)) => return Ok(Some(turn)),
                Ok(None) => self.wait()?,
                // Some network file systems have no such lock; the lock file works without.
                Err(_) => return Ok(None),
            }
        }
    }

    fn acquire(&mut self) -> Result<LockFile, LockFailure> {
        let nonce = nonce().map_err(LockFailure::Io)?;
        loop {
            let content = content(self.host, &nonce);
            match self.host.locks.create_new(self.path, content.as_bytes()) {
                Ok(()) => {
                    let (host, path) = (self.host.clone(), self.path.to_owned());
                    return Ok(LockFile { host, path, nonce });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(LockFailure::Io(error)),
            }
            let found = match read(self.host, self.path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LockFailure::Io(error)),
            };
            match self.judge(&found) {
                Judgement::Stale => self.break_lock(&found, &nonce),
                Judgement::SameProcess => return Err(LockFailure::SameProcess),
                Judgement::Live => {
                    self.holder = Some(found);
                    self.wait()?;
                }
            }
        }
    }

    /// Waits for the next attempt, or gives up.
    fn wait(&mut self) -> Result<(), LockFailure> {
        let elapsed = self.host.clock.monotonic().saturating_sub(self.started);
        if elapsed >= self.budget {
            let now = self.host.clock.now_ms();
            let holder = self.holder.as_ref();
            return Err(LockFailure::Busy {
                pid: holder.and_then(Found::pid),
                age_ms: holder.and_then(|found| Some(now.saturating_sub(found.created_ms()?))),
            });
        }
        self.host.clock.sleep(self.wait.min(self.budget - elapsed));
        self.wait = self.wait.mul_f64(1.6).min(LONGEST_WAIT);
        Ok(())
    }

    fn judge(&self, found: &Found) -> Judgement {
        let now = self.host.clock.now_ms();
        let old = |ms: u64| now.saturating_sub(ms) > STALE_MS;
        if old(found.modified_ms()) {
            return Judgement::Stale;
        }
        // Just created and still empty: only the age of the file counts.
        if found.json.is_none() {
            return Judgement::Live;
        }
        let Some(created) = found.created_ms() else {
            return Judgement::Stale;
        };
        if old(created) {
            return Judgement::Stale;
        }
        let this = self.host.locks.this_process();
        if found.text("host").is_some_and(|host| host != this.machine) {
            // Another machine or container: its process ids mean nothing here.
            return Judgement::Live;
        }
        let Some(pid) = found.pid().filter(|pid| *pid != 0) else {
            return Judgement::Live;
        };
        let ticks = found
            .json
            .as_ref()
            .and_then(|json| json.get("starttime")?.as_u64());
        if pid == u64::from(this.pid) {
            let before = ticks.is_some() && ticks != this.start_ticks;
            return if before || created < this.started_ms {
                Judgement::Stale
            } else if found.text("owner") == Some(OWNER) {
                // Another thread of this library, which never needs the one that waits.
                Judgement::Live
            } else {
                Judgement::SameProcess
            };
        }
        match self.host.locks.liveness(u32::try_from(pid).unwrap_or(0)) {
            Liveness::Dead => Judgement::Stale,
            Liveness::Alive(running)
                if ticks.is_some() && running.is_some() && running != ticks =>
            {
                Judgement::Stale
            }
            Liveness::Alive(_) => Judgement::Live,
        }
    }

    /// Takes a stale lock out of the way. Others may have replaced it since it was looked at, so
    /// it is moved aside and looked at again; a live one is put back.
    fn break_lock(&self, judged: &Found, nonce: &str) {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".stale.{nonce}"));
        let aside = self.path.with_file_name(name);
        if self.host.locks.rename(self.path, &aside).is_err() {
            return;
        }
        let same = read(self.host, &aside).is_ok_and(|found| {
            (found.meta.inode, &found.content) == (judged.meta.inode, &judged.content)
        });
        if !same {
            // When a new lock exists already, the one moved aside has lost.
            let _ = self.host.locks.hard_link(&aside, self.path);
        }
        let _ = self.host.files.remove_file(&aside);
    }
}

/// The first two keys are those of OpenClaw; the others are ours and invisible to it.
fn content(host: &Host, nonce: &str) -> String {
    let this = host.locks.this_process();
    let mut content = json!({
        "pid": this.pid,
        "createdAt": iso_date(host.clock.now_ms()),
        "host": this.machine,
        "owner": OWNER,
        "nonce": nonce,
    });
    if let (Some(ticks), Value::Object(map)) = (this.start_ticks, &mut content) {
        map.insert("starttime".to_owned(), ticks.into());
    }
    format!("{content:#}")
}

enum Judgement {
    Live,
    SameProcess,
    Stale,
}

/// A lock file as it was found.
struct Found {
    meta: FileMeta,
    content: Vec<u8>,
    json: Option<Value>,
}

impl Found {
    fn text(&self, key: &str) -> Option<&str> {
        self.json.as_ref()?.get(key)?.as_str()
    }

    fn nonce(&self) -> Option<&str> {
        self.text("nonce")
    }

    fn pid(&self) -> Option<u64> {
        self.json.as_ref()?.get("pid")?.as_u64()
    }

    fn created_ms(&self) -> Option<u64> {
        // Dates before 1970 and beyond any clock are as good as unreadable.
        let ms = rfc3339_ms(self.text("createdAt")?)?;
        (0.0..1e15).contains(&ms).then_some(ms as u64)
    }

    fn modified_ms(&self) -> u64 {
        u64::try_from(self.meta.modified_ns / 1_000_000).unwrap_or(0)
    }
}

fn read(host: &Host, path: &Path) -> io::Result<Found> {
    let mut file = host.files.open(path)?;
    let meta = file.meta()?;
    let content = file
        .read_to_limit(MAX_CONTENT)?
        .unwrap_or_default()
        .to_vec();
    let json = serde_json::from_slice(&content).ok();
    Ok(Found {
        meta,
        content,
        json,
    })
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sim::{MACHINE, PID, START_MS, START_TICKS, Sim};

    const LOCK: &str = "/s/auth-profiles.json.lock";

    fn machine() -> Sim {
        let sim = Sim::new();
        sim.dir("/s", 0o700).advance(Duration::from_secs(3_600));
        sim
    }

    fn lock_text(sim: &Sim, pid: u32, age_s: u64, more: &str) -> String {
        let created = iso_date(sim.host().clock.now_ms() - age_s * 1_000);
        format!("{{\n  \"pid\": {pid},\n  \"createdAt\": \"{created}\"{more}\n}}")
    }

    fn acquire(sim: &Sim, budget_ms: u64) -> Result<LockFile, LockFailure> {
        LockFile::acquire(
            &sim.host(),
            Path::new(LOCK),
            Duration::from_millis(budget_ms),
        )
    }

    /// Whether a lock that others left is taken over at once.
    fn breaks(sim: &Sim, content: &str) -> bool {
        sim.file(LOCK, content, 0o644);
        let before = sim.host().clock.monotonic();
        let taken = acquire(sim, 200).is_ok();
        assert!(
            !taken || sim.host().clock.monotonic() == before,
            "taken only after waiting"
        );
        sim.remove(LOCK);
        taken
    }

    #[test]
    fn lk_1_content_begins_as_openclaw_writes_it_and_goes_with_the_holder() {
        let sim = machine();
        let lock = acquire(&sim, 0).unwrap();
        let text = sim.text(LOCK).unwrap();
        let start =
            format!("{{\n  \"pid\": {PID},\n  \"createdAt\": \"2026-01-01T01:00:00.000Z\",\n");
        assert!(text.starts_with(&start) && text.ends_with('}'), "{text}");
        assert!(lock.is_ours());
        drop(lock);
        assert_eq!(sim.text(LOCK), None);
    }

    #[test]
    fn xd_4_to_9_stale_and_live_locks() {
        let sim = machine();
        sim.running(77, 5);
        for (name, stale, content) in [
            ("dead pid", true, lock_text(&sim, 99, 5, "")),
            ("live pid, 29 s", false, lock_text(&sim, 77, 29, "")),
            ("live pid, 31 s", true, lock_text(&sim, 77, 31, "")),
            ("empty, new", false, String::new()),
            (
                "reused pid",
                true,
                lock_text(&sim, 77, 5, ", \"starttime\": 4"),
            ),
            (
                "same start",
                false,
                lock_text(&sim, 77, 5, ", \"starttime\": 5"),
            ),
            (
                "other host, dead pid here",
                false,
                lock_text(&sim, 99, 5, ", \"host\": \"other\""),
            ),
            (
                "other host, old",
                true,
                lock_text(&sim, 99, 31, ", \"host\": \"other\""),
            ),
            (
                "our pid, before our start",
                true,
                lock_text(&sim, PID, 29, ", \"starttime\": 1"),
            ),
            (
                "bad date",
                true,
                "{\"pid\": 77, \"createdAt\": \"x\"}".to_owned(),
            ),
            ("no pid", false, lock_text(&sim, 0, 5, "")),
        ] {
            assert_eq!(breaks(&sim, &content), stale, "{name}");
        }
        // An empty lock is judged by the age of the file.
        sim.file(LOCK, "", 0o644).advance(Duration::from_secs(31));
        assert!(acquire(&sim, 0).is_ok());
    }

    #[test]
    fn xd_7_a_lock_from_before_our_start_is_broken() {
        let sim = Sim::new();
        sim.dir("/s", 0o700).set_now_ms(START_MS + 10_000);
        assert!(breaks(&sim, &lock_text(&sim, PID, 20, "")));
    }

    #[test]
    fn xd_8_our_own_process_is_never_waited_for() {
        let sim = machine();
        let more = format!(", \"host\": \"{MACHINE}\", \"starttime\": {START_TICKS}");
        sim.file(LOCK, lock_text(&sim, PID, 1, &more), 0o644);
        let before = sim.host().clock.monotonic();
        assert!(matches!(
            acquire(&sim, 10_000),
            Err(LockFailure::SameProcess)
        ));
        assert_eq!(sim.host().clock.monotonic(), before);
    }

    #[test]
    fn a_busy_lock_names_its_holder_after_the_budget() {
        let sim = machine();
        sim.running(77, 5)
            .file(LOCK, lock_text(&sim, 77, 2, ""), 0o644);
        let before = sim.host().clock.monotonic();
        let Err(LockFailure::Busy { pid, age_ms }) = acquire(&sim, 250) else {
            panic!("free")
        };
        assert_eq!(pid, Some(77));
        assert!(age_ms.is_some_and(|age| (2_000..3_000).contains(&age)));
        let waited = sim.host().clock.monotonic() - before;
        assert_eq!(waited, Duration::from_millis(250));
    }

    #[test]
    fn a_lock_replaced_by_another_is_not_removed() {
        let sim = machine();
        let lock = acquire(&sim, 0).unwrap();
        sim.file(LOCK, lock_text(&sim, 77, 0, ""), 0o644);
        assert!(!lock.is_ours());
        drop(lock);
        assert!(sim.text(LOCK).is_some());
    }

    #[test]
    fn a_folder_that_refuses_is_an_error() {
        let sim = machine();
        sim.mode("/s", 0o500);
        assert!(matches!(acquire(&sim, 0), Err(LockFailure::Io(_))));
    }
}
