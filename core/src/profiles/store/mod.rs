//! Where profiles are kept: one narrow interface, and the file that OpenClaw 2026.4 uses.

mod document;
mod file;
mod hold;
mod legacy;
mod lock;
mod repair;
mod salvage;

use std::path::Path;
use std::time::Duration;

pub(crate) use document::Document;
pub(crate) use file::{FileStore, StoreOptions};
pub(crate) use lock::{LockFailure, LockFile, Pulse, is_stale_lock};
pub(crate) use repair::Repaired;

use crate::error::Result;

/// What a store holds at one moment, and how to tell whether it has changed since.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) version: StoreVersion,
    /// `None`: there is no store yet.
    pub(crate) document: Option<Document>,
    /// Permission bits, when other users may read the file.
    pub(crate) open_to_others: Option<u32>,
}

/// Identity of a stored content. Equal versions mean equal contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreVersion(Option<Identity>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    len: u64,
    modified_ns: i128,
}

impl StoreVersion {
    /// Whether there is a store.
    pub(crate) fn exists(self) -> bool {
        self.0.is_some()
    }
}

/// How important a change is: whether it may be asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A credential or an order: looked at again after the write, because programs that do not
    /// take the lock may have undone it.
    Verified,
    /// Usage.
    Plain,
}

/// A change of the document. Applied again when the store has changed meanwhile, so it must not
/// depend on having been applied before.
pub(crate) type Change<'a> = &'a mut dyn FnMut(&mut Document) -> Result<()>;

/// A place for the profiles of one agent. Another implementation, such as a shared database,
/// has to give the same guarantees: readers see one whole state, changes do not get lost.
pub(crate) trait ProfileStore: Send + Sync {
    /// The file, for messages.
    fn path(&self) -> &Path;
    /// The version of what is stored now. Cheap: called on every choice of a credential.
    fn version(&self) -> StoreVersion;
    /// Reads the store.
    fn load(&self) -> Result<Stored>;
    /// Reads, changes and writes under the store's lock, waiting for it at most `budget`.
    fn update(
        &self,
        budget: Duration,
        durability: Durability,
        change: Change<'_>,
    ) -> Result<Stored>;
    /// Takes the store's lock for more than one step, such as a token refresh, waiting at most
    /// `budget`.
    fn hold(&self, budget: Duration) -> Result<Box<dyn HeldStore + '_>>;
    /// Brings credentials of older releases into a store that does not exist yet. Whether there
    /// were any.
    fn import_legacy(&self) -> Result<bool>;
    /// Saves what can be saved of a store that cannot be read, keeping a copy of it; only shows
    /// what that leaves unless `write` is set. `None`: there is nothing to repair.
    fn repair(&self, write: bool) -> Result<Option<Repaired>>;
}

/// A store whose lock is held until this is dropped.
pub(crate) trait HeldStore {
    /// What keeps the lock while it is held for longer than other programs tolerate.
    fn pulse(&self) -> Option<Pulse>;
    /// Changes and writes the store. A lock that was taken away meanwhile is taken again first.
    fn update(&mut self, durability: Durability, change: Change<'_>) -> Result<Stored>;
}
