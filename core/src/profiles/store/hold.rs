//! A store file whose lock is held for more than one step.

use std::time::Duration;

use parking_lot::MutexGuard;

use super::file::{FileStore, MAX_CONFLICTS, MAX_REPAIRS, VERIFY_WAIT, Writer};
use super::lock::{LockFile, Pulse};
use super::{Change, Durability, HeldStore, ProfileStore as _, Stored};
use crate::error::{Code, Result};

/// How long a lock that was taken away is waited for. What is to be written then is worth it.
const RELOCK_BUDGET: Duration = Duration::from_secs(10);

/// The lock of the file, and that of this process.
pub(super) struct HeldFile<'a> {
    store: &'a FileStore,
    writer: MutexGuard<'a, Writer>,
    lock: Option<LockFile>,
}

impl<'a> HeldFile<'a> {
    pub(super) fn new(store: &'a FileStore, budget: Duration) -> Result<Self> {
        store.check_writable()?;
        store.make_folder()?;
        let busy = || {
            store
                .error(Code::StoreLocked, "is being written")
                .retryable(true)
        };
        let writer = store
            .writer
            .try_lock_for(budget.max(Duration::from_millis(1)));
        let writer = writer.ok_or_else(busy)?;
        let lock = Some(store.lock(budget)?);
        Ok(Self {
            store,
            writer,
            lock,
        })
    }

    fn write(&mut self, change: Change<'_>) -> Result<(Stored, bool)> {
        for _ in 0..MAX_CONFLICTS {
            let lock = match self.lock.take().filter(LockFile::is_ours) {
                Some(lock) => lock,
                None => {
                    self.store.make_folder()?;
                    self.store.lock(RELOCK_BUDGET)?
                }
            };
            let done = self.store.attempt(&mut self.writer, &lock, change);
            self.lock = Some(lock);
            if let Some(done) = done? {
                return Ok(done);
            }
        }
        let error = self
            .store
            .error(Code::StoreConflict, "keeps being changed by others");
        Err(error.retryable(true))
    }
}

impl HeldStore for HeldFile<'_> {
    fn pulse(&self) -> Option<Pulse> {
        self.lock.as_ref()?.pulse()
    }

    fn update(&mut self, durability: Durability, change: Change<'_>) -> Result<Stored> {
        let (mut stored, mut wrote) = self.write(change)?;
        if durability == Durability::Plain {
            return Ok(stored);
        }
        for _ in 0..MAX_REPAIRS {
            if !wrote {
                return Ok(stored);
            }
            self.store.host.clock.sleep(VERIFY_WAIT);
            if self.store.version() == stored.version {
                return Ok(stored);
            }
            (stored, wrote) = self.write(change)?;
        }
        if wrote {
            let problem = "the change is undone by another program";
            return Err(self.store.error(Code::StoreConflict, problem));
        }
        Ok(stored)
    }
}
