//! Temporary files of processes that were killed while they wrote.

use std::path::Path;
use std::time::Duration;

use super::{Host, Liveness};

/// Removes the temporary files of `target` whose process is gone and that are older than `age`.
///
/// What cannot be removed stays: it is private, and the next writer tries again.
pub(crate) fn remove_leftovers(host: &Host, target: &Path, age: Duration) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let Ok(names) = host.files.names(folder) else {
        return;
    };
    let now_ns = i128::from(host.clock.now_ms()) * 1_000_000;
    let age_ns = i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
    let prefix = format!(".{}.", name.to_string_lossy());
    for name in names {
        let pid = name.to_str().and_then(|name| {
            let middle = name.strip_prefix(&prefix)?.strip_suffix(".tmp")?;
            middle.split('.').next()?.parse::<u32>().ok()
        });
        let Some(pid) = pid else { continue };
        let path = folder.join(&name);
        let meta = host.files.lstat(&path);
        let old = meta.is_ok_and(|meta| now_ns - meta.modified_ns >= age_ns);
        if old && host.locks.liveness(pid) == Liveness::Dead {
            let _ = host.files.remove_file(&path);
        }
    }
}
