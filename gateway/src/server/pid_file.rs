//! The file that tells other commands which process is the gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_auth::Error;
use openclaw_auth::host::Files;

use super::file_failed;

/// `<state>/gateway/gateway.pid`; removed on drop, unless another gateway has written its own.
pub(crate) struct PidFile {
    files: Arc<dyn Files>,
    path: PathBuf,
    content: Vec<u8>,
}

impl PidFile {
    /// Writes the file with mode 0600.
    ///
    /// # Errors
    ///
    /// `gateway_file_failed` when it or its folder cannot be written.
    pub(crate) fn write(files: &Arc<dyn Files>, state_dir: &Path) -> Result<Self, Error> {
        let path = path(state_dir);
        let folder = path.parent().unwrap_or(state_dir);
        let content = format!("{}\n", std::process::id()).into_bytes();
        files
            .create_dir_all(folder, 0o700)
            .and_then(|()| files.write_atomic(&path, &content, 0o600))
            .map_err(|error| file_failed(&path.display().to_string(), &error))?;
        Ok(Self {
            files: Arc::clone(files),
            path,
            content,
        })
    }

    fn is_ours(&self) -> bool {
        let read = self
            .files
            .open(&self.path)
            .and_then(|mut file| file.read_to_limit(64));
        matches!(read, Ok(Some(found)) if *found == self.content)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = self.files.remove_file(&self.path)
        {
            log::warn!("{} stays behind: {}", self.path.display(), error.kind());
        }
    }
}

/// Where the file is.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("gateway").join("gateway.pid")
}
