//! The store file: read without a lock, replaced as a whole under the lock.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use super::document::{Document, MAX_BYTES, NotAStore};
use super::hold::HeldFile;
use super::lock::{LockFailure, LockFile};
use super::{
    Change, Durability, HeldStore, Identity, ProfileStore, Repaired, StoreVersion, Stored,
};
use crate::error::{Code, Error, Result};
use crate::host::{FileMeta, Host, remove_leftovers};

pub(super) const FILE_NAME: &str = "auth-profiles.json";
/// Says that a newer OpenClaw has moved the credentials elsewhere.
const SQLITE_NAME: &str = "openclaw-agent.sqlite";
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// A reader may catch OpenClaw between emptying and writing the file: how often and how long it
/// looks again.
const TORN_READS: u32 = 10;
const TORN_WAIT: Duration = Duration::from_millis(25);
const TORN_LIMIT: Duration = Duration::from_secs(2);
/// How often a write starts over because somebody else wrote meanwhile.
pub(super) const MAX_CONFLICTS: u32 = 5;
/// When a credential that was written is looked for again, and how often it is repaired.
pub(super) const VERIFY_WAIT: Duration = Duration::from_millis(50);
pub(super) const MAX_REPAIRS: u32 = 3;
/// Age of temporary files that are taken for leftovers: the process may live in another container.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// What is fixed about a store while it is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreOptions {
    pub(crate) read_only: bool,
    pub(crate) strict_permissions: bool,
    pub(crate) allow_beside_sqlite: bool,
    /// The folder of `oauth.json` of older releases.
    pub(crate) legacy_oauth: PathBuf,
}

/// The file `auth-profiles.json` of one agent.
pub(crate) struct FileStore {
    pub(super) host: Host,
    pub(super) folder: PathBuf,
    path: PathBuf,
    agent: String,
    pub(super) options: StoreOptions,
    /// One writer of this process at a time, with what it wrote or read last.
    pub(super) writer: Mutex<Writer>,
}

#[derive(Default)]
pub(super) struct Writer {
    known: Option<(StoreVersion, Document)>,
    cleaned: bool,
}

impl FileStore {
    pub(crate) fn new(host: Host, agent: &str, folder: PathBuf, options: StoreOptions) -> Self {
        Self {
            path: folder.join(FILE_NAME),
            agent: agent.to_owned(),
            host,
            folder,
            options,
            writer: Mutex::default(),
        }
    }

    pub(super) fn error(&self, code: Code, cause: &str) -> Error {
        let path = self.path.display();
        Error::new(code, format!("{path}: {cause}")).with("path", path.to_string())
    }

    /// The lock is named after the folder without links, but after the store's own name.
    fn lock_path(&self) -> PathBuf {
        let folder = self.host.files.canonical(&self.folder);
        let folder = folder.unwrap_or_else(|_| self.folder.clone());
        folder.join(format!("{FILE_NAME}.lock"))
    }

    pub(super) fn read(&self) -> Result<Stored> {
        let started = self.host.clock.monotonic();
        let mut tries = 0;
        let mut last = StoreVersion::default();
        loop {
            let (version, stored) = self.read_once()?;
            let problem = match stored {
                Ok(stored) => return Ok(stored),
                Err(problem) => problem,
            };
            let elapsed = self.host.clock.monotonic().saturating_sub(started);
            tries = if version == last { tries + 1 } else { 1 };
            last = version;
            if tries > TORN_READS || elapsed > TORN_LIMIT {
                return Err(self.not_a_store(problem));
            }
            self.host.clock.sleep(TORN_WAIT);
        }
    }

    fn read_once(&self) -> Result<(StoreVersion, std::result::Result<Stored, NotAStore>)> {
        let unreadable = |error: &io::Error| {
            self.error(
                Code::StoreUnreadable,
                &format!("cannot be read: {}", error.kind()),
            )
        };
        let opened = self.host.files.canonical(&self.path).and_then(|real| {
            let file = self.host.files.open(&real)?;
            Ok((file.meta()?, file))
        });
        let (meta, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((StoreVersion::default(), Ok(self.absent()?)));
            }
            Err(error) => return Err(unreadable(&error)),
        };
        let version = version_of(&meta);
        let Some(bytes) = file
            .read_to_limit(MAX_BYTES)
            .map_err(|error| unreadable(&error))?
        else {
            return Err(self.error(Code::StoreTooLarge, "is larger than 16 MiB"));
        };
        let open_to_others = (meta.mode & 0o077 != 0).then_some(meta.mode);
        if let (Some(mode), true) = (open_to_others, self.options.strict_permissions) {
            let cause = format!("can be read by other users (mode {mode:04o})");
            return Err(self
                .error(Code::StorePermissions, &cause)
                .with("mode", format!("{mode:04o}")));
        }
        let document = match std::str::from_utf8(&bytes) {
            Ok(text) => Document::parse(text),
            Err(_) => {
                let message = "not UTF-8".to_owned();
                Err(NotAStore::Corrupt {
                    message,
                    line: 1,
                    column: 1,
                })
            }
        };
        let stored = document.map(|document| Stored {
            version,
            document: Some(document),
            open_to_others,
        });
        Ok((version, stored))
    }

    fn absent(&self) -> Result<Stored> {
        let sqlite = self.folder.join(SQLITE_NAME);
        if !self.options.allow_beside_sqlite && self.host.files.lstat(&sqlite).is_ok() {
            let message = format!(
                "The credentials of agent \"{}\" live in {} (OpenClaw 2026.6 or newer). \
                 openclaw-auth reads {FILE_NAME}; export the profiles or use a separate state \
                 directory.",
                self.agent,
                sqlite.display()
            );
            return Err(Error::new(Code::StoreSqliteMigrated, message));
        }
        Ok(Stored {
            version: StoreVersion::default(),
            document: None,
            open_to_others: None,
        })
    }

    fn not_a_store(&self, problem: NotAStore) -> Error {
        match problem {
            NotAStore::Corrupt {
                message,
                line,
                column,
            } => self
                .error(
                    Code::StoreCorrupt,
                    &format!("{message} (line {line}, column {column})"),
                )
                .with("line", line)
                .with("column", column)
                .with_hint("run: openclaw-auth store repair"),
            NotAStore::LegacyShape => self
                .error(
                    Code::StoreLegacyShape,
                    "has the shape of a very old release",
                )
                .with_hint("run: openclaw-auth store migrate"),
        }
    }

    fn read_only(&self) -> Error {
        self.error(Code::StoreReadOnly, "cannot be written")
    }

    pub(super) fn write_failure(&self, error: &io::Error) -> Error {
        use io::ErrorKind as K;
        match error.kind() {
            K::PermissionDenied | K::ReadOnlyFilesystem => self.read_only(),
            K::ResourceBusy | K::CrossesDevices => self
                .error(Code::StoreNotReplaceable, "cannot be replaced")
                .with_hint("mount the directory, not the file"),
            kind => self.error(
                Code::StoreWriteFailed,
                &format!("cannot be written: {kind}"),
            ),
        }
    }

    pub(super) fn lock(&self, budget: Duration) -> Result<LockFile> {
        LockFile::acquire(&self.host, &self.lock_path(), budget).map_err(|failure| match failure {
            LockFailure::Io(error) => self.write_failure(&error),
            LockFailure::SameProcess => self
                .error(
                    Code::StoreLocked,
                    "is locked by another part of this process",
                )
                .with("holder", "same_process")
                .retryable(true),
            LockFailure::Busy { pid, age_ms } => {
                let holder = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
                self.error(Code::StoreLocked, &format!("is locked{holder}"))
                    .with("pid", pid)
                    .with("ageMs", age_ms)
                    .retryable(true)
            }
        })
    }

    /// One turn under the lock: whether something was written, and what is stored now. `None`:
    /// somebody else wrote meanwhile.
    pub(super) fn attempt(
        &self,
        writer: &mut Writer,
        lock: &LockFile,
        change: Change<'_>,
    ) -> Result<Option<(Stored, bool)>> {
        if !writer.cleaned {
            writer.cleaned = true;
            remove_leftovers(&self.host, &self.path, LEFTOVER);
            remove_leftovers(&self.host, &self.lock_path(), LEFTOVER);
        }
        let known = writer
            .known
            .take()
            .filter(|(version, _)| version.exists() && *version == self.version());
        let current = match known {
            Some((version, document)) => Stored {
                version,
                document: Some(document),
                open_to_others: None,
            },
            None => self.read()?,
        };
        let mut next = current.document.clone().unwrap_or_else(Document::empty);
        change(&mut next)?;
        let same = match &current.document {
            Some(document) => *document == next,
            // A change that leaves nothing in an empty store makes no file.
            None => next == Document::empty(),
        };
        if same {
            if let Some(document) = &current.document {
                writer.known = Some((current.version, document.clone()));
            }
            return Ok(Some((current, false)));
        }
        let text = next.to_text();
        if text.len() as u64 > MAX_BYTES {
            return Err(self.error(Code::StoreTooLarge, "would be larger than 16 MiB"));
        }
        let mut ready = || lock.is_ours() && self.version() == current.version;
        let written = self
            .host
            .files
            .write_atomic_if(&self.path, text.as_bytes(), FILE_MODE, &mut ready)
            .map_err(|error| self.write_failure(&error))?;
        let Some(meta) = written else {
            return Ok(None);
        };
        let version = version_of(&meta);
        writer.known = Some((version, next.clone()));
        Ok(Some((
            Stored {
                version,
                document: Some(next),
                open_to_others: None,
            },
            true,
        )))
    }

    pub(super) fn make_folder(&self) -> Result<()> {
        if self.folder_exists() {
            return Ok(());
        }
        let made = self.host.files.create_dir_all(&self.folder, FOLDER_MODE);
        made.map_err(|error| self.write_failure(&error))
    }

    /// Whether something keeps every write from happening.
    pub(super) fn check_writable(&self) -> Result<()> {
        let by_env = self.host.env.vars().get("OPENCLAW_AUTH_STORE_READONLY");
        if self.options.read_only || by_env.is_some_and(|value| value.trim() == "1") {
            return Err(self.read_only());
        }
        Ok(())
    }

    fn update_once(&self, budget: Duration, change: Change<'_>) -> Result<(Stored, bool)> {
        let Some(mut writer) = self
            .writer
            .try_lock_for(budget.max(Duration::from_millis(1)))
        else {
            return Err(self
                .error(Code::StoreLocked, "is being written")
                .retryable(true));
        };
        for _ in 0..MAX_CONFLICTS {
            self.make_folder()?;
            let lock = self.lock(budget)?;
            if let Some(done) = self.attempt(&mut writer, &lock, change)? {
                return Ok(done);
            }
        }
        Err(self
            .error(Code::StoreConflict, "keeps being changed by others")
            .retryable(true))
    }

    pub(super) fn folder_exists(&self) -> bool {
        self.host.files.stat(&self.folder).is_ok()
    }
}

impl ProfileStore for FileStore {
    fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> StoreVersion {
        self.host
            .files
            .stat(&self.path)
            .map_or_else(|_| StoreVersion::default(), |meta| version_of(&meta))
    }

    fn load(&self) -> Result<Stored> {
        self.read()
    }

    fn update(
        &self,
        budget: Duration,
        durability: Durability,
        change: Change<'_>,
    ) -> Result<Stored> {
        self.check_writable()?;
        let (mut stored, mut wrote) = self.update_once(budget, change)?;
        if durability == Durability::Plain {
            return Ok(stored);
        }
        for _ in 0..MAX_REPAIRS {
            if !wrote {
                return Ok(stored);
            }
            self.host.clock.sleep(VERIFY_WAIT);
            if self.version() == stored.version {
                return Ok(stored);
            }
            (stored, wrote) = self.update_once(budget, change)?;
        }
        if wrote {
            return Err(self.error(
                Code::StoreConflict,
                "the change is undone by another program",
            ));
        }
        Ok(stored)
    }

    fn hold(&self, budget: Duration) -> Result<Box<dyn HeldStore + '_>> {
        Ok(Box::new(HeldFile::new(self, budget)?))
    }

    fn import_legacy(&self) -> Result<bool> {
        super::legacy::import(self)
    }

    fn repair(&self, write: bool) -> Result<Option<Repaired>> {
        self.repair_file(write)
    }
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The change time is left out, because a rename sets it; inodes are not reused while the file
/// exists, and a rewrite in place sets the modification time.
fn version_of(meta: &FileMeta) -> StoreVersion {
    StoreVersion(Some(Identity {
        device: meta.device,
        inode: meta.inode,
        len: meta.len,
        modified_ns: meta.modified_ns,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::date::iso_date;
    use crate::host::sim::Sim;

    const FOLDER: &str = "/s";
    const STORE: &str = "/s/auth-profiles.json";
    const LOCK: &str = "/s/auth-profiles.json.lock";

    fn store(sim: &Sim) -> FileStore {
        FileStore::new(
            sim.host(),
            "main",
            PathBuf::from(FOLDER),
            StoreOptions::default(),
        )
    }

    fn machine() -> Sim {
        let sim = Sim::new();
        sim.advance(Duration::from_secs(3_600)).file(
            STORE,
            Document::empty().to_text().as_str(),
            0o600,
        );
        sim
    }

    fn put(document: &mut Document, key: &str) -> Result<()> {
        document.edit("profiles", |profiles| {
            profiles.insert(key.to_owned(), json!(1))
        });
        Ok(())
    }

    #[test]
    fn xd_10_a_lock_that_was_taken_away_stops_the_write() {
        let sim = machine();
        let mut robbed = false;
        let stored =
            store(&sim).update(Duration::from_secs(1), Durability::Plain, &mut |document| {
                if !robbed {
                    robbed = true;
                    // Another program took our lock for stale, wrote, and ended without its own.
                    let created = iso_date(sim.host().clock.now_ms());
                    let lock = format!("{{\"pid\": 99, \"createdAt\": \"{created}\"}}");
                    sim.file(LOCK, lock, 0o644);
                    sim.file(
                        STORE,
                        "{\"version\": 1, \"profiles\": {\"theirs\": 1}}",
                        0o600,
                    );
                }
                put(document, "ours")
            });
        assert!(robbed && stored.is_ok());
        let text = sim.text(STORE).unwrap();
        assert!(text.contains("theirs") && text.contains("ours"), "{text}");
        assert_eq!(sim.text(LOCK), None);
    }

    #[test]
    fn lk_2_writes_without_the_lock_are_seen_before_the_rename() {
        let sim = machine();
        let mut turns = 0;
        let change = &mut |document: &mut Document| {
            turns += 1;
            if turns < 3 {
                let text = format!("{{\"version\": 1, \"profiles\": {{\"t{turns}\": 1}}}}");
                sim.file(STORE, text, 0o600);
            }
            put(document, "ours")
        };
        store(&sim)
            .update(Duration::ZERO, Durability::Plain, change)
            .unwrap();
        let text = sim.text(STORE).unwrap();
        assert!(
            text.contains("t2") && text.contains("ours") && turns == 3,
            "{text}"
        );
        let mut n = 0;
        let restless = &mut |document: &mut Document| {
            n += 1;
            sim.file(
                STORE,
                format!("{{\"version\": {n}, \"profiles\": {{}}}}"),
                0o600,
            );
            put(document, "again")
        };
        let error = store(&sim)
            .update(Duration::ZERO, Durability::Plain, restless)
            .unwrap_err();
        assert_eq!((error.code(), n), (Code::StoreConflict, 5));
        assert_eq!(sim.text(LOCK), None);
    }

    #[test]
    fn a_refused_change_leaves_file_and_lock_alone() {
        let sim = machine();
        let before = sim.meta(STORE);
        let refused = &mut |document: &mut Document| {
            put(document, "x")?;
            Err(Error::new(Code::InvalidArgument, "no"))
        };
        assert!(
            store(&sim)
                .update(Duration::ZERO, Durability::Verified, refused)
                .is_err()
        );
        assert_eq!((sim.meta(STORE), sim.text(LOCK)), (before, None));
    }

    #[test]
    fn the_version_follows_the_content() {
        let sim = machine();
        let store = store(&sim);
        let first = store.version();
        assert_eq!(store.load().unwrap().version, first);
        let written = store
            .update(Duration::ZERO, Durability::Plain, &mut |d| put(d, "x"))
            .unwrap();
        assert_ne!(written.version, first);
        assert_eq!(written.version, store.version());
        sim.remove(STORE);
        assert!(!store.version().exists() && store.load().unwrap().document.is_none());
    }
}
