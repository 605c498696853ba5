//! What applying a plan did, or would do.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What was changed. Holds no values.
#[derive(Debug, Default)]
pub struct ApplyReport {
    pub(super) dry_run: bool,
    pub(super) changed: Vec<PathBuf>,
    pub(super) edits: Vec<Edit>,
    pub(super) warnings: Vec<String>,
    pub(super) refs_checked: usize,
    pub(super) skipped_exec_refs: usize,
}

/// One change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) file: PathBuf,
    pub(super) path: String,
    pub(super) action: &'static str,
}

impl ApplyReport {
    /// Whether any file changes.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The files that change, in the order in which they are written.
    pub fn changed_files(&self) -> impl Iterator<Item = &Path> {
        self.changed.iter().map(PathBuf::as_path)
    }

    /// Things to know that did not stop the plan.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        let shown = |file: &PathBuf| file.to_string_lossy().into_owned();
        json!({
            "mode": if self.dry_run { "dry-run" } else { "write" },
            "changed": self.is_changed(),
            "changedFiles": self.changed.iter().map(shown).collect::<Vec<_>>(),
            "checks": {
                "resolvability": true,
                "resolvabilityComplete": self.skipped_exec_refs == 0,
            },
            "refsChecked": self.refs_checked,
            "skippedExecRefs": self.skipped_exec_refs,
            "warningCount": self.warnings.len(),
            "warnings": self.warnings,
            "edits": self.edits.iter().map(|edit| json!({
                "file": shown(&edit.file), "path": edit.path, "action": edit.action,
            })).collect::<Vec<_>>(),
        })
    }
}
