//! One load: locate, read, include, environment, then hand over to the later steps.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::env::{EnvView, PendingEnv, wants_shell_env};
use super::include::Includes;
use super::issue::{Issue, Issues, Severity};
use super::locate::{Locations, expand_home};
use super::substitute::substitute_tree;
use super::{extension, issue};
use crate::error::{Code, Error};
use crate::host::{FileMeta, Host, OpenFile};
use crate::json::{Finding, Path, Place, ProblemKind, find_places, lookup, parse_json5, place_at};

/// Most bytes in the main file.
const MAX_MAIN: u64 = 8 << 20;

/// Where the main document comes from.
#[derive(Clone, Default)]
#[non_exhaustive]
pub(crate) enum Input {
    /// The file found by the default rules.
    #[default]
    DefaultFile,
    /// This file.
    File(PathBuf),
    /// This JSON5 text; no file is read.
    Text(Zeroizing<String>),
    /// This value; no file is read, no positions are known.
    Value(Value),
}

/// What a load starts from.
#[derive(Clone, Default)]
pub(crate) struct ReadOptions {
    pub(crate) input: Input,
    pub(crate) state_dir: Option<PathBuf>,
    /// Replaces the captured environment; then `.env` is not read.
    pub(crate) env: Option<BTreeMap<String, Zeroizing<String>>>,
    /// A missing `${VAR}` in a setting is an error instead of a warning.
    pub(crate) strict_env: bool,
    /// Leaves the `env` block in the tree as it was written; its variables are then not set.
    pub(crate) as_written: bool,
}

/// Files and their identities when they were read; `None` where there was none.
pub(crate) type Watched = Vec<(PathBuf, Option<FileMeta>)>;

/// A file that was read, kept until places in it are no longer needed.
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) meta: Option<FileMeta>,
    pub(crate) text: Zeroizing<String>,
    /// Where in the merged tree its content was put.
    pub(crate) mount: Path,
    /// The files that led here by `$include`.
    pub(crate) chain: Vec<PathBuf>,
}

/// A configuration on its way: the merged tree, the environment, and everything noticed so far.
pub(crate) struct Source {
    pub(crate) tree: Value,
    pub(crate) env: EnvView,
    pub(crate) places: Locations,
    pub(crate) issues: Issues,
    /// Everything that was read or looked for, for the watcher.
    pub(crate) watched: Watched,
    files: Vec<SourceFile>,
    pending_env: Vec<PendingEnv>,
    strict_env: bool,
}

/// Reads everything that a configuration is made of. Problems are collected, not returned: the
/// later steps add theirs, and [`Source::finish`] decides.
pub(crate) fn read(host: &Host, options: &ReadOptions) -> Source {
    let mut issues = Issues::new();
    let process = options
        .env
        .clone()
        .unwrap_or_else(|| host.env.vars().clone());
    let mut env = EnvView::new(process);
    let named = match &options.input {
        Input::File(path) => Some(path.as_path()),
        _ => None,
    };
    let places = Locations::find(host, &env, named, options.state_dir.as_deref(), &mut issues);

    let mut reader = Reader {
        host,
        places: &places,
        issues: &mut issues,
        files: Vec::new(),
    };
    let mut watched = Watched::new();
    let mut tree = match &options.input {
        Input::DefaultFile | Input::File(_) => reader.main_file(&mut watched),
        Input::Text(text) => reader.text(text),
        Input::Value(value) => value.clone(),
    };
    let from_files = matches!(options.input, Input::DefaultFile | Input::File(_));
    extension::report_unportable(&tree, reader.issues);
    if from_files {
        reader.extension_file(&mut tree, &mut watched);
    }
    let files = reader.files;
    watched.extend(
        files
            .iter()
            .skip(1)
            .map(|file| (file.path.clone(), file.meta)),
    );

    if options.env.is_none() {
        let dotenv = places.state.join(".env");
        let meta = env.read_dotenv(host, &dotenv, &mut issues);
        watched.push((dotenv, meta));
    }
    let pending_env = match options.as_written {
        true => Vec::new(),
        false => env.add_config_block(&mut tree, &mut issues),
    };
    if wants_shell_env(&tree) {
        let mut note = Issue::warning(
            Code::ConfigNotPortable,
            &Path::new(["env", "shellEnv"]),
            "the login shell's environment is not imported",
        )
        .hint("set the variables for the service, or put them into the .env file");
        note.severity = Severity::Info;
        issues.push(note);
    }
    Source {
        tree,
        env,
        places,
        issues,
        watched,
        files,
        pending_env,
        strict_env: options.strict_env,
    }
}

impl Source {
    /// Fills in `${VAR}` everywhere except at the places that hold secrets.
    pub(crate) fn substitute(&mut self, is_secret: &dyn Fn(&Path) -> bool) {
        let skip = |path: &Path| {
            path.segments().first().is_some_and(|first| first == "env") || is_secret(path)
        };
        substitute_tree(
            &mut self.tree,
            &self.env,
            self.strict_env,
            &skip,
            &mut self.issues,
        );
        self.env
            .add_substituted(&self.pending_env, self.strict_env, &mut self.issues);
        self.pending_env.clear();
    }

    /// Whether other users can read a file that the configuration came from.
    pub(crate) fn open_to_others(&self) -> Option<(&FilePath, u32)> {
        let mut files = self
            .files
            .iter()
            .filter_map(|file| Some((file.path.as_path(), file.meta?.mode)));
        files.find(|(_, mode)| mode & 0o077 != 0)
    }

    /// Whether the main document was read from a file.
    pub(crate) fn is_from_files(&self) -> bool {
        self.files
            .iter()
            .any(|file| file.path == self.places.config)
    }

    /// The main file and what it includes, in the order in which they were read.
    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Adds an issue of a later step.
    pub(crate) fn push(&mut self, issue: Issue) {
        self.issues.push(issue);
    }

    /// The file and place of a path of the merged tree, found by reading the texts again.
    pub(crate) fn locate(&self, path: &Path) -> Option<(PathBuf, Place)> {
        let (file, place) = self.locate_all(&[path]).pop()??;
        Some((file.path.clone(), place))
    }

    /// The same for many paths, with one pass over each text.
    fn locate_all(&self, paths: &[&Path]) -> Vec<Option<(&SourceFile, Place)>> {
        let mut best: Vec<Option<(&SourceFile, Place)>> = vec![None; paths.len()];
        for file in &self.files {
            let below: Vec<(usize, &[String])> = paths
                .iter()
                .enumerate()
                .filter_map(|(index, path)| Some((index, strip_prefix(path, &file.mount)?)))
                .collect();
            let wanted: Vec<&[String]> = below.iter().map(|(_, below)| *below).collect();
            for ((index, _), place) in below.iter().zip(find_places(&file.text, &wanted)) {
                let (Some(place), Some(best)) = (place, best.get_mut(*index)) else {
                    continue;
                };
                // The deepest mount is the file that holds the value; at one mount the including
                // file's own keys win, and it comes first.
                let deeper =
                    |known: &SourceFile| file.mount.segments().len() > known.mount.segments().len();
                if best.is_none_or(|(known, _)| deeper(known)) {
                    *best = Some((file, place));
                }
            }
        }
        best
    }

    /// Puts the issues in order (file, line, column, code) with places for all of them, and
    /// fails if there is an error among them.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let mut issues = std::mem::take(&mut self.issues);
        self.place_includes(&mut issues);
        self.place_nearest(&mut issues);
        let rank = |file: &Option<PathBuf>| {
            let file = file.as_ref();
            let known = self
                .files
                .iter()
                .position(|known| Some(&known.path) == file);
            known.unwrap_or(usize::MAX)
        };
        issues.sort_by_cached_key(|issue| {
            let place = issue.place;
            (
                rank(&issue.file),
                place,
                issue.code.as_str(),
                issue.path.clone(),
            )
        });
        issues.dedup();
        self.issues = issues;
        issue::into_error(&self.issues).map_or(Ok(()), Err)
    }

    /// Issues about include directives know their file; the directive is looked for there.
    fn place_includes(&self, issues: &mut [Issue]) {
        for issue in issues.iter_mut().filter(|issue| issue.place.is_none()) {
            let Some(file) = self
                .files
                .iter()
                .find(|f| Some(&f.path) == issue.file.as_ref())
            else {
                continue;
            };
            if let Some(below) = strip_prefix(&issue.path, &file.mount) {
                issue.place = find_places(&file.text, &[below]).pop().flatten();
            }
        }
    }

    /// The other issues get the place of their path, or of the closest place above it that is
    /// written down.
    fn place_nearest(&self, issues: &mut [Issue]) {
        let mut open: Vec<(usize, Path)> = issues
            .iter()
            .enumerate()
            .filter(|(_, issue)| issue.place.is_none() && issue.file.is_none())
            .map(|(index, issue)| (index, issue.path.clone()))
            .collect();
        loop {
            open.retain(|(_, path)| !path.segments().is_empty());
            if open.is_empty() {
                return;
            }
            let paths: Vec<&Path> = open.iter().map(|(_, path)| path).collect();
            let found = self.locate_all(&paths);
            let mut found = found.into_iter();
            open.retain_mut(|(index, path)| {
                let Some((Some((file, place)), issue)) = found.next().zip(issues.get_mut(*index))
                else {
                    path.pop();
                    return true;
                };
                issue.include_chain = self.chain_of(&file.path);
                issue.file = Some(file.path.clone());
                issue.place = Some(place);
                false
            });
        }
    }

    fn chain_of(&self, file: &FilePath) -> Vec<PathBuf> {
        let found = self.files.iter().find(|known| known.path == file);
        found.map(|file| file.chain.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

fn strip_prefix<'a>(path: &'a Path, prefix: &Path) -> Option<&'a [String]> {
    path.segments().strip_prefix(prefix.segments())
}

struct Reader<'a> {
    host: &'a Host,
    places: &'a Locations,
    issues: &'a mut Issues,
    files: Vec<SourceFile>,
}

impl Reader<'_> {
    fn main_file(&mut self, watched: &mut Watched) -> Value {
        let empty = || Value::Object(Map::new());
        let path = &self.places.config;
        let real = match self.host.files.canonical(path) {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                watched.push((path.clone(), None));
                if self.places.explicit {
                    let message = format!("{} does not exist", path.display());
                    self.problem(Code::ConfigNotFound, message);
                }
                return empty();
            }
            Err(error) => {
                watched.push((path.clone(), None));
                let message = format!("cannot read {}: {}", path.display(), error.kind());
                self.problem(Code::ConfigReadFailed, message);
                return empty();
            }
        };
        let Some(file) = self.read(path, &real, MAX_MAIN) else {
            watched.push((path.clone(), None));
            return empty();
        };
        watched.push((path.clone(), file.meta));
        let parsed = parse_text(&file, &Path::root(), self.issues);
        self.files.push(file);
        let Some(mut tree) = parsed else {
            return empty();
        };
        let roots = self.include_roots();
        self.expand_includes(&mut tree, &self.places.config, &real, roots);
        self.object(tree)
    }

    fn text(&mut self, text: &str) -> Value {
        let file = SourceFile {
            path: PathBuf::from("<text>"),
            meta: None,
            text: Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
            mount: Path::root(),
            chain: Vec::new(),
        };
        let parsed = parse_text(&file, &Path::root(), self.issues);
        let shown = file.path.clone();
        self.files.push(file);
        let Some(mut tree) = parsed else {
            return Value::Object(Map::new());
        };
        // There is no folder to include from, so every directive is refused.
        self.expand_includes(&mut tree, &shown, &shown, Vec::new());
        self.object(tree)
    }

    fn extension_file(&mut self, tree: &mut Value, watched: &mut Watched) {
        let path = self.places.state.join(extension::FILE_NAME);
        let Ok(real) = self.host.files.canonical(&path) else {
            watched.push((path, None));
            return;
        };
        let Some(file) = self.read(&path, &real, MAX_MAIN) else {
            return;
        };
        let before = self.issues.len();
        let parsed = parse_text(&file, &Path::root(), self.issues);
        if let Some(value) = parsed {
            if value.is_object() {
                extension::apply(tree, value, self.issues);
            } else {
                let message = "the top level must be an object";
                self.issues.push(Issue::error(
                    Code::ConfigRootNotObject,
                    &Path::root(),
                    message,
                ));
            }
        }
        // Its paths are its own, so the places are looked up here and not in the merged tree.
        for issue in self
            .issues
            .iter_mut()
            .skip(before)
            .filter(|issue| issue.place.is_none())
        {
            issue.file = Some(path.clone());
            issue.place = find_places(&file.text, &[issue.path.segments()])
                .pop()
                .flatten();
        }
        watched.push((path, file.meta));
    }

    /// Folders that the main file may include from: its own, and those that the environment
    /// names.
    fn include_roots(&self) -> Vec<PathBuf> {
        let own = self.places.config.parent().unwrap_or(FilePath::new("/"));
        let named = self.host.env.vars().get("OPENCLAW_INCLUDE_ROOTS");
        let named = named
            .into_iter()
            .flat_map(|list| std::env::split_paths(list.as_str()));
        let named = named
            .map(|root| expand_home(&root.to_string_lossy(), &self.places.home))
            .filter(|root| root.is_absolute());
        std::iter::once(own.to_owned()).chain(named).collect()
    }

    fn expand_includes(
        &mut self,
        tree: &mut Value,
        file: &FilePath,
        real: &FilePath,
        roots: Vec<PathBuf>,
    ) {
        Includes {
            host: self.host,
            home: &self.places.home,
            roots,
            files: &mut self.files,
            issues: self.issues,
            chain: vec![real.to_owned()],
            path: Path::root(),
        }
        .expand(tree, file);
    }

    fn read(&mut self, path: &FilePath, real: &FilePath, limit: u64) -> Option<SourceFile> {
        let opened = self
            .host
            .files
            .open(real)
            .and_then(|open| Ok((open.meta()?, open)));
        let (meta, mut open) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let message = format!("cannot read {}: {}", path.display(), error.kind());
                self.problem(Code::ConfigReadFailed, message);
                return None;
            }
        };
        match load_text(open.as_mut(), path, limit, meta, Path::root(), self.issues) {
            Ok(file) => Some(file),
            Err(too_large) => {
                if too_large {
                    let message = format!("{} is larger than {} MiB", path.display(), limit >> 20);
                    self.problem(Code::ConfigTooLarge, message);
                }
                None
            }
        }
    }

    fn object(&mut self, tree: Value) -> Value {
        if tree.is_object() {
            return tree;
        }
        self.problem(
            Code::ConfigRootNotObject,
            "the top level must be an object".to_owned(),
        );
        Value::Object(Map::new())
    }

    fn problem(&mut self, code: Code, message: String) {
        let issue = Issue::error(code, &Path::root(), message);
        self.issues.push(issue.in_file(&self.places.config, None));
    }
}

/// Reads an open file as text. On failure the issue is recorded, except when the file is larger
/// than the limit: `Err(true)`, which callers report each in their own way.
pub(super) fn load_text(
    open: &mut dyn OpenFile,
    path: &FilePath,
    limit: u64,
    meta: FileMeta,
    mount: Path,
    issues: &mut Issues,
) -> Result<SourceFile, bool> {
    let root = Path::root();
    let bytes = match open.read_to_limit(limit) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(true),
        Err(error) => {
            let message = format!("cannot read {}: {}", path.display(), error.kind());
            issues.push(Issue::error(Code::ConfigReadFailed, &root, message).in_file(path, None));
            return Err(false);
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(SourceFile {
            path: path.to_owned(),
            meta: Some(meta),
            text: Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
            mount,
            chain: Vec::new(),
        }),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = std::str::from_utf8(valid).unwrap_or_default();
            let place = Some(place_at(valid, valid.len()));
            issues.push(
                Issue::error(Code::ConfigParseError, &root, "the text is not UTF-8")
                    .in_file(path, place),
            );
            Err(false)
        }
    }
}

/// Parses a file; what is wrong with it is recorded with its place.
pub(super) fn parse_text(file: &SourceFile, mount: &Path, issues: &mut Issues) -> Option<Value> {
    let parsed = match parse_json5(&file.text) {
        Ok(parsed) => parsed,
        Err(problem) => {
            let code = match problem.kind {
                ProblemKind::Syntax => Code::ConfigParseError,
                ProblemKind::TooDeep => Code::ConfigTooDeep,
            };
            let mut issue = Issue::error(code, mount, problem.message);
            issue.include_chain.clone_from(&file.chain);
            issues.push(issue.in_file(&file.path, Some(problem.place)));
            return None;
        }
    };
    if parsed.findings.is_empty() {
        return Some(parsed.value);
    }
    let wanted: Vec<&[String]> = parsed
        .findings
        .iter()
        .map(|(path, _)| path.segments())
        .collect();
    let places = find_places(&file.text, &wanted);
    let mut usable = true;
    for ((path, finding), place) in parsed.findings.iter().zip(places) {
        let at = Path::new(
            mount
                .segments()
                .iter()
                .chain(path.segments())
                .map(String::as_str),
        );
        let (code, message) = match finding {
            Finding::DuplicateKey => (
                Code::ConfigDuplicateKey,
                "the key occurs more than once; the last one counts",
            ),
            Finding::ForbiddenKey => (Code::ConfigForbiddenKey, "this key is not allowed"),
            Finding::NotFinite => (Code::ConfigNumberNotFinite, "numbers must be finite"),
            Finding::StringTooLong => (Code::ConfigTooLarge, "the string is longer than 1 MiB"),
            Finding::TooManyValues => (
                Code::ConfigTooLarge,
                "the file has more than 1000000 values",
            ),
        };
        let issue = match finding {
            Finding::DuplicateKey => Issue::warning(code, &at, message),
            _ => Issue::error(code, &at, message),
        };
        usable &= issue.severity != Severity::Error;
        issues.push(issue.in_file(&file.path, place));
    }
    usable.then_some(parsed.value)
}

/// Reports keys that stand where nothing reads them.
pub(crate) fn report_misplaced(source: &mut Source) {
    for (wrong, right) in [
        (["gateway", "token"], "gateway.auth.token"),
        (["gateway", "password"], "gateway.auth.password"),
    ] {
        if lookup(&source.tree, &wrong).is_some() {
            let message = format!("{} is not read", wrong.join("."));
            let issue = Issue::warning(Code::ConfigMisplacedKey, &Path::new(wrong), message);
            source.push(issue.hint(format!("move it to {right}")));
        }
    }
}
