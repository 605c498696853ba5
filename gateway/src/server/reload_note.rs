//! The file that answers a SIGHUP: who sent it cannot see the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_auth::Error;
use openclaw_auth::host::Files;
use parking_lot::Mutex;
use serde_json::json;

use super::core_api::Reloaded;
use super::reload;

/// `<state>/gateway/reload.json`: how the last reload by signal ended, as `POST /_auth/reload`
/// says it, with the process id and the number of such reloads so far. Removed on drop.
pub(crate) struct ReloadNote {
    files: Arc<dyn Files>,
    path: PathBuf,
    count: Mutex<u64>,
}

impl ReloadNote {
    /// A file that is not there yet; one of an earlier process counts for nothing.
    pub(crate) fn new(files: &Arc<dyn Files>, state_dir: &Path) -> Self {
        Self {
            files: Arc::clone(files),
            path: path(state_dir),
            count: Mutex::new(0),
        }
    }

    /// Writes the file with mode 0600.
    pub(crate) fn write(&self, outcome: &Result<Reloaded, Error>) {
        // Held while writing, so that the numbers in the file only grow.
        let mut count = self.count.lock();
        *count += 1;
        let mut note = json!({"pid": std::process::id(), "count": *count});
        if let (Some(note), Some(more)) = (
            note.as_object_mut(),
            reload::document(outcome).as_object_mut(),
        ) {
            note.append(more);
        }
        let text = format!("{note}\n");
        if let Err(error) = self.files.write_atomic(&self.path, text.as_bytes(), 0o600) {
            log::warn!("{}: {}", self.path.display(), error.kind());
        }
    }
}

impl Drop for ReloadNote {
    fn drop(&mut self) {
        if *self.count.lock() > 0
            && let Err(error) = self.files.remove_file(&self.path)
        {
            log::debug!("{} stays behind: {}", self.path.display(), error.kind());
        }
    }
}

/// Where the file is.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("gateway").join("reload.json")
}
