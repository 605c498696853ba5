//! Writing several files as one: all of them, or none.

use std::time::Duration;

use zeroize::Zeroizing;

use super::project::Change;
use crate::error::{Code, Error, Result};
use crate::host::{Host, remove_leftovers};

/// Files with secrets get this mode, or a stricter one that they have already.
const MODE: u32 = 0o600;

/// Writes every change in order. Each file is replaced as one; when a later one fails, the earlier
/// ones are put back from memory.
pub(super) fn write_all(host: &Host, changes: &[Change]) -> Result<()> {
    for change in changes {
        unchanged(host, change)?;
        // Whoever was killed here before us, under the lock that we hold now.
        remove_leftovers(host, &change.real, Duration::ZERO);
    }
    let mut written: Vec<&Change> = Vec::new();
    for change in changes {
        let result = unchanged(host, change).and_then(|()| write(host, change));
        if let Err(error) = result {
            return Err(put_back(host, &written, error));
        }
        written.push(change);
    }
    Ok(())
}

fn write(host: &Host, change: &Change) -> Result<()> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot write {}: {}", change.shown.display(), error.kind());
        Error::new(Code::PlanWriteFailed, message).with("file", change.shown.display().to_string())
    };
    if let (None, Some(folder)) = (&change.original, change.real.parent()) {
        host.files.create_dir_all(folder, 0o700).map_err(failed)?;
    }
    let mode = change.meta.map_or(MODE, |meta| meta.mode & MODE);
    host.files
        .write_atomic(&change.real, &change.content, mode)
        .map_err(failed)
}

/// Whether the file is still the one that was read.
fn unchanged(host: &Host, change: &Change) -> Result<()> {
    let meta = host.files.stat(&change.real).ok();
    let content: Option<Zeroizing<Vec<u8>>> = host
        .files
        .open(&change.real)
        .and_then(|mut open| open.read_to_limit(u64::MAX - 1))
        .ok()
        .flatten();
    let original = change.original.as_ref();
    // A byte order mark is not part of the text that was edited.
    let body = content.as_ref().map(|content| {
        let bytes: &[u8] = content;
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    });
    let same = body == original.map(|original| original.as_slice())
        || content.as_deref() == original.map(|original| &**original);
    if meta == change.meta && same {
        return Ok(());
    }
    let message = format!("{} was changed meanwhile", change.shown.display());
    Err(Error::new(Code::PlanConflict, message)
        .with("file", change.shown.display().to_string())
        .retryable(true))
}

/// Undoes what was written; the error says what could not be undone.
fn put_back(host: &Host, written: &[&Change], error: Error) -> Error {
    let mut not_restored = Vec::new();
    for change in written.iter().rev() {
        let result = match (&change.original, change.meta) {
            (Some(original), Some(meta)) => {
                host.files.write_atomic(&change.real, original, meta.mode)
            }
            _ => host.files.remove_file(&change.real),
        };
        if result.is_err() {
            not_restored.push(change.shown.display().to_string());
        }
    }
    error.with("notRestored", not_restored)
}
