//! Noticing that files have changed. The thread and its waiting belong to whoever watches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Watched;
use crate::host::{FileMeta, Host};

/// The identities of all files that a configuration depends on, at one moment: configuration,
/// includes, `openclaw-auth.json5`, `.env`, stores of auth profiles, secrets files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchStamp(Vec<(PathBuf, Option<FileMeta>)>);

impl WatchStamp {
    pub(super) fn new(mut watched: Watched) -> Self {
        watched.sort_by(|a, b| a.0.cmp(&b.0));
        watched.dedup_by(|a, b| a.0 == b.0);
        Self(watched)
    }

    /// The identities of the same files now. One `stat` each.
    pub(super) fn again(&self, host: &Host) -> Self {
        let now = |(path, _): &(PathBuf, _)| (path.clone(), host.files.stat(path).ok());
        Self(self.0.iter().map(now).collect())
    }

    /// The files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// Whether a file that was there in `before` is missing.
    fn lost_a_file(&self, before: &Self) -> bool {
        let gone = |(path, meta): &(PathBuf, Option<FileMeta>)| {
            let was = before.0.iter().find(|(known, _)| known == path);
            meta.is_none() && was.is_some_and(|(_, meta)| meta.is_some())
        };
        self.0.iter().any(gone)
    }
}

/// What a watcher should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchStep {
    /// Nothing has changed since the last activation.
    Idle,
    /// Something has changed; look again after this time at the latest.
    Wait(Duration),
    /// The change has settled: reload.
    Reload,
}

/// Waits until changes have settled. A pure state machine: time and identities are its inputs.
///
/// Drive it from a thread: every interval (1 s is usual) call
/// [`Engine::watch_step`](super::Engine::watch_step), wait shorter when it says so, and reload
/// when it says so.
#[derive(Debug)]
pub struct Watcher {
    quiet: Duration,
    pending: Option<Pending>,
    /// What the last reload was asked for. Not again for the same: a file that cannot be read
    /// would be tried for ever.
    acted: Option<WatchStamp>,
}

#[derive(Debug)]
struct Pending {
    stamp: WatchStamp,
    since: Duration,
}

/// Programs that write by rename leave a file missing for a moment; two looks are given to it.
const MISSING_GRACE: Duration = Duration::from_millis(2 * 150);

impl Watcher {
    /// A watcher that acts when nothing has changed for `quiet` (300 ms is usual).
    pub fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            pending: None,
            acted: None,
        }
    }

    /// One look. `now` is any clock that never goes back; `loaded` are the identities at the
    /// last activation, `current` those of this moment.
    pub fn step(&mut self, now: Duration, loaded: &WatchStamp, current: WatchStamp) -> WatchStep {
        if current == *loaded || self.acted.as_ref() == Some(&current) {
            self.pending = None;
            if current == *loaded {
                self.acted = None;
            }
            return WatchStep::Idle;
        }
        let quiet = match current.lost_a_file(loaded) {
            true => self.quiet + MISSING_GRACE,
            false => self.quiet,
        };
        let waited = match &self.pending {
            Some(pending) if pending.stamp == current => now.saturating_sub(pending.since),
            _ => {
                self.pending = Some(Pending {
                    stamp: current.clone(),
                    since: now,
                });
                Duration::ZERO
            }
        };
        if waited < quiet {
            return WatchStep::Wait(quiet.saturating_sub(waited));
        }
        self.pending = None;
        self.acted = Some(current);
        WatchStep::Reload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FileKind;

    fn stamp(files: &[(&str, u64)]) -> WatchStamp {
        let meta = |inode: u64| FileMeta {
            kind: FileKind::Regular,
            mode: 0o600,
            uid: 0,
            links: 1,
            len: 1,
            device: 1,
            inode,
            modified_ns: 0,
            changed_ns: 0,
        };
        let files = files.iter();
        WatchStamp(
            files
                .map(|(path, inode)| (PathBuf::from(path), (*inode > 0).then(|| meta(*inode))))
                .collect(),
        )
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn acts_once_after_things_are_quiet() {
        let loaded = stamp(&[("/a", 1), ("/b", 1)]);
        let mut watcher = Watcher::new(ms(300));
        let mut step =
            |at: u64, a: u64| watcher.step(ms(at), &loaded, stamp(&[("/a", a), ("/b", 1)]));
        assert_eq!(step(0, 1), WatchStep::Idle);
        assert_eq!(step(1000, 2), WatchStep::Wait(ms(300)));
        assert_eq!(
            step(1200, 3),
            WatchStep::Wait(ms(300)),
            "another change starts anew"
        );
        assert_eq!(step(1400, 3), WatchStep::Wait(ms(100)));
        assert_eq!(step(1500, 3), WatchStep::Reload);
        assert_eq!(
            step(1600, 3),
            WatchStep::Idle,
            "the same state is not tried for ever"
        );
        assert_eq!(step(1700, 4), WatchStep::Wait(ms(300)));
        assert_eq!(step(1800, 1), WatchStep::Idle, "changed back");
        assert_eq!(step(1900, 3), WatchStep::Wait(ms(300)));
    }

    #[test]
    fn a_file_that_is_missing_for_a_moment_gets_more_time() {
        let loaded = stamp(&[("/a", 1), ("/b", 0)]);
        let mut watcher = Watcher::new(ms(300));
        let mut step =
            |at: u64, a: u64| watcher.step(ms(at), &loaded, stamp(&[("/a", a), ("/b", 0)]));
        assert_eq!(step(0, 0), WatchStep::Wait(ms(600)));
        assert_eq!(step(400, 0), WatchStep::Wait(ms(200)));
        assert_eq!(step(450, 2), WatchStep::Wait(ms(300)));
        assert_eq!(step(750, 2), WatchStep::Reload);
    }
}
