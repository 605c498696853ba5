//! `$include`: reading, boundaries, merging.

use std::path::{Component, Path as FilePath, PathBuf};

use serde_json::{Map, Value};

use super::issue::{Issue, Issues};
use super::locate::expand_home;
use super::read::{SourceFile, load_text, parse_text};
use crate::error::Code;
use crate::host::{FileKind, Host};
use crate::json::{MAX_DEPTH, Path, type_name};

/// The directive's key.
pub(super) const KEY: &str = "$include";

const MAX_FILE: u64 = 2 << 20;
const MAX_FILES: usize = 256;
/// Files nested below the main one.
const MAX_NESTING: usize = 10;
const MAX_PATH: usize = 4096;

/// Expands the directives of one document.
pub(super) struct Includes<'a> {
    pub(super) host: &'a Host,
    pub(super) home: &'a FilePath,
    /// Folders that includes may come from; the main file's first.
    pub(super) roots: Vec<PathBuf>,
    pub(super) files: &'a mut Vec<SourceFile>,
    pub(super) issues: &'a mut Issues,
    /// Real paths of the files that are open on the way to here, the main file first.
    pub(super) chain: Vec<PathBuf>,
    /// Where in the merged tree we are.
    pub(super) path: Path,
}

impl Includes<'_> {
    /// Replaces every directive below a value by what it includes. `file` is the file that the
    /// value was read from.
    pub(super) fn expand(&mut self, value: &mut Value, file: &FilePath) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(index.to_string());
                    self.expand(item, file);
                    self.path.pop();
                }
            }
            Value::Object(map) => match map.remove(KEY) {
                Some(directive) => {
                    let siblings = std::mem::take(map);
                    if let Some(included) = self.directive(&directive, siblings, file) {
                        *value = included;
                    }
                }
                None => self.expand_entries(map, file),
            },
            _ => {}
        }
    }

    fn expand_entries(&mut self, map: &mut Map<String, Value>, file: &FilePath) {
        for (key, item) in map.iter_mut() {
            self.path.push(key.as_str());
            self.expand(item, file);
            self.path.pop();
        }
    }

    fn directive(
        &mut self,
        directive: &Value,
        mut siblings: Map<String, Value>,
        file: &FilePath,
    ) -> Option<Value> {
        let included = match directive {
            Value::String(text) => self.load(text, file),
            Value::Array(items) => {
                let mut merged = Some(Value::Object(Map::new()));
                for item in items {
                    let Value::String(text) = item else {
                        let message = format!("items must be paths, not {}", type_name(item));
                        self.invalid(message, "bad_item", file);
                        merged = None;
                        continue;
                    };
                    let loaded = self.load(text, file);
                    merged = merged
                        .zip(loaded)
                        .map(|(base, over)| deep_merge(base, over));
                }
                merged
            }
            other => {
                let message = format!(
                    "must be a path or a list of paths, not {}",
                    type_name(other)
                );
                self.invalid(message, "bad_value", file);
                None
            }
        };
        self.expand_entries(&mut siblings, file);
        let included = included?;
        if siblings.is_empty() {
            return Some(included);
        }
        if !included.is_object() {
            let message = format!(
                "has keys beside it, so the included value must be an object, not {}",
                type_name(&included)
            );
            self.invalid(message, "siblings_need_object", file);
            return None;
        }
        Some(deep_merge(included, Value::Object(siblings)))
    }

    /// Reads one included file, its own includes expanded.
    fn load(&mut self, text: &str, from: &FilePath) -> Option<Value> {
        let path = self.checked_path(text, from)?;
        if self.chain.contains(&path) {
            let mut chain: Vec<String> = self
                .chain
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            chain.push(path.display().to_string());
            let message = format!("files include each other: {}", chain.join(" -> "));
            self.problem(Code::ConfigIncludeCircular, message, None, from);
            return None;
        }
        if self.chain.len() > MAX_NESTING {
            let message = format!("more than {MAX_NESTING} files are nested");
            self.problem(Code::ConfigIncludeTooDeep, message, None, from);
            return None;
        }
        if self.files.len() > MAX_FILES {
            // Reported once: every later directive would say the same.
            if !self
                .issues
                .iter()
                .any(|issue| issue.code == Code::ConfigIncludeLimit)
            {
                let message = format!("more than {MAX_FILES} files are included");
                self.problem(Code::ConfigIncludeLimit, message, None, from);
            }
            return None;
        }
        let file = self.read(&path, from)?;
        let parsed = parse_text(&file, &self.path, self.issues);
        let shown = file.path.clone();
        self.files.push(file);
        let mut value = parsed?;
        if self.path.segments().len() + depth_of(&value) > MAX_DEPTH {
            let message =
                format!("values are nested deeper than {MAX_DEPTH} levels after including");
            self.problem(Code::ConfigTooDeep, message, None, from);
            return None;
        }
        self.chain.push(path);
        self.expand(&mut value, &shown);
        self.chain.pop();
        Some(value)
    }

    /// The real path of an included file, if it may be included.
    fn checked_path(&mut self, text: &str, from: &FilePath) -> Option<PathBuf> {
        if text.contains('\0') || text.len() >= MAX_PATH || text.trim().is_empty() {
            self.invalid("is not a usable path".to_owned(), "bad_value", from);
            return None;
        }
        let folder = from.parent().unwrap_or(FilePath::new("/"));
        let lexical = normalise(&folder.join(expand_home(text, self.home)));
        if !self.roots.iter().any(|root| lexical.starts_with(root)) {
            self.outside(&lexical, "lexical", from);
            return None;
        }
        let real = match self.host.files.canonical(&lexical) {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("{} does not exist", lexical.display());
                self.problem(Code::ConfigIncludeNotFound, message, None, from);
                return None;
            }
            Err(error) => {
                let message = format!("cannot read {}: {}", lexical.display(), error.kind());
                self.problem(
                    Code::ConfigIncludeUnsafeFile,
                    message,
                    Some("unreadable"),
                    from,
                );
                return None;
            }
        };
        let inside = |root: &PathBuf| {
            self.host
                .files
                .canonical(root)
                .is_ok_and(|root| real.starts_with(root))
        };
        if !self.roots.iter().any(inside) {
            self.outside(&real, "symlink", from);
            return None;
        }
        Some(real)
    }

    fn read(&mut self, path: &FilePath, from: &FilePath) -> Option<SourceFile> {
        let unsafe_file = |includes: &mut Self, what: String, reason| {
            includes.problem(Code::ConfigIncludeUnsafeFile, what, Some(reason), from);
        };
        let mut open = match self.host.files.open(path) {
            Ok(open) => open,
            Err(error) => {
                let what = format!("cannot read {}: {}", path.display(), error.kind());
                unsafe_file(self, what, "unreadable");
                return None;
            }
        };
        let meta = open.meta().ok()?;
        if meta.kind != FileKind::Regular {
            unsafe_file(
                self,
                format!("{} is not a regular file", path.display()),
                "not_regular_file",
            );
            return None;
        }
        let foreign = meta.uid != 0 && meta.uid != self.host.env.effective_uid();
        if meta.links > 1 && (foreign || meta.mode & 0o022 != 0) {
            let what = format!(
                "{} has another name that other users can write to",
                path.display()
            );
            unsafe_file(self, what, "hard_link");
            return None;
        }
        if meta.len > MAX_FILE {
            unsafe_file(
                self,
                format!("{} is larger than 2 MiB", path.display()),
                "too_large",
            );
            return None;
        }
        let mount = self.path.clone();
        match load_text(open.as_mut(), path, MAX_FILE, meta, mount, self.issues) {
            Ok(mut file) => {
                file.chain.clone_from(&self.chain);
                Some(file)
            }
            Err(true) => {
                unsafe_file(
                    self,
                    format!("{} is larger than 2 MiB", path.display()),
                    "too_large",
                );
                None
            }
            Err(false) => None,
        }
    }

    fn outside(&mut self, path: &FilePath, reason: &'static str, from: &FilePath) {
        let message = format!("{} is outside the folder of the main file", path.display());
        self.problem(Code::ConfigIncludeOutsideRoot, message, Some(reason), from);
    }

    fn invalid(&mut self, message: String, reason: &'static str, from: &FilePath) {
        self.problem(Code::ConfigIncludeInvalid, message, Some(reason), from);
    }

    fn problem(
        &mut self,
        code: Code,
        message: String,
        reason: Option<&'static str>,
        from: &FilePath,
    ) {
        let mut issue = Issue::error(code, &self.path.child(KEY), message).in_file(from, None);
        issue.reason = reason;
        issue.include_chain.clone_from(&self.chain);
        self.issues.push(issue);
    }
}

/// Objects merge key by key, lists are joined, otherwise the later value wins.
pub(super) fn deep_merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let merged = match base.get_mut(&key).map(Value::take) {
                    Some(existing) => deep_merge(existing, value),
                    None => value,
                };
                base.insert(key, merged);
            }
            Value::Object(base)
        }
        (Value::Array(mut base), Value::Array(over)) => {
            base.extend(over);
            Value::Array(base)
        }
        (_, over) => over,
    }
}

/// The path with `.` and `..` taken out, links not looked at.
fn normalise(path: &FilePath) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// Levels of nesting; a scalar is 1, as the root of a file is.
fn depth_of(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_joins_lists_and_prefers_the_later_value() {
        let base = json!({"x": 1, "list": [1], "n": {"p": 1, "q": 1}, "kind": {"a": 1}});
        let over = json!({"x": 2, "list": [2], "n": {"q": 2}, "kind": "text"});
        let merged = json!({"x": 2, "list": [1, 2], "n": {"p": 1, "q": 2}, "kind": "text"});
        assert_eq!(deep_merge(base, over), merged);
    }

    #[test]
    fn dots_are_taken_out_lexically() {
        for (path, clean) in [("/a/./b/../c", "/a/c"), ("/../x", "/x"), ("/a/..", "/")] {
            assert_eq!(normalise(FilePath::new(path)), FilePath::new(clean));
        }
    }
}
