//! A plan on copies of the files.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::super::plan::{Problem, TargetPlace, invalid};
use super::super::reference::{Classified, Defaults, SecretRef, classify_object, classify_text};
use super::super::stores::STORE_NAME;
use super::super::wipe;
use super::report::{ApplyReport, Edit};
use super::{Apply, read_text, reference_json};
use crate::config::{self, ReadOptions, agent_dirs};
use crate::error::{Code, Error, Result};
use crate::host::{FileMeta, Overlay};
use crate::json::{Editor, Path, lookup, parse};
use crate::text::SecretText;

/// Most bytes in a store.
const MAX_STORE: u64 = 16 << 20;

/// A file with what it will contain.
pub(super) struct Change {
    /// As it is called by people.
    pub(super) shown: PathBuf,
    /// Without symbolic links.
    pub(super) real: PathBuf,
    /// `None`: the file does not exist yet.
    pub(super) original: Option<Zeroizing<Vec<u8>>>,
    pub(super) meta: Option<FileMeta>,
    pub(super) content: Zeroizing<Vec<u8>>,
}

impl Change {
    pub(super) fn is_real(&self) -> bool {
        self.original.as_ref() != Some(&self.content)
    }
}

/// A configuration file that is being edited.
struct ConfigFile {
    shown: PathBuf,
    mount: Path,
    original: Option<Zeroizing<String>>,
    editor: Editor,
}

/// A JSON file that is being changed.
struct Document {
    file: PathBuf,
    original: Option<Zeroizing<String>>,
    value: Value,
    is_changed: bool,
}

/// Everything that a plan touches, as it would be.
pub(super) struct Projection<'a> {
    pub(super) apply: &'a Apply<'a>,
    /// The configuration as it is written now, includes merged.
    tree: Value,
    pub(super) places: config::Locations,
    files: Vec<ConfigFile>,
    documents: Vec<Document>,
    pub(super) env_files: Vec<(PathBuf, Zeroizing<String>, Zeroizing<String>)>,
    /// Agents and the folders of their stores.
    pub(super) agents: Vec<(String, PathBuf)>,
    /// Plain secrets that the plan replaces.
    pub(super) migrated: Vec<SecretText>,
    /// References of the plan that stand already where they belong.
    pub(super) in_place: Vec<&'a SecretRef>,
    pub(super) edits: Vec<Edit>,
    pub(super) warnings: Vec<String>,
}

impl Drop for Projection<'_> {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.tree));
        for document in &mut self.documents {
            wipe(std::mem::take(&mut document.value));
        }
    }
}

impl<'a> Projection<'a> {
    pub(super) fn new(apply: &'a Apply<'a>) -> Result<Self> {
        let read = ReadOptions {
            as_written: true,
            ..apply.read.clone()
        };
        let mut source = config::read(apply.host, &read);
        source.finish()?;
        let tree = std::mem::take(&mut source.tree);
        let mut files: Vec<ConfigFile> = source
            .files()
            .iter()
            .map(|file| ConfigFile {
                shown: file.path.clone(),
                mount: file.mount.clone(),
                original: Some(file.text.clone()),
                editor: Editor::new(&file.text),
            })
            .collect();
        if files.is_empty() {
            files.push(ConfigFile {
                shown: source.places.config.clone(),
                mount: Path::root(),
                original: None,
                editor: Editor::new("{}\n"),
            });
        }
        Ok(Self {
            agents: agent_dirs(&source.places, &source.env, &tree),
            apply,
            tree,
            places: source.places.clone(),
            files,
            documents: Vec::new(),
            env_files: Vec::new(),
            migrated: Vec::new(),
            in_place: Vec::new(),
            edits: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Providers first, so that targets of the same plan can use them.
    pub(super) fn configuration(&mut self) -> Result<()> {
        let plan = self.apply.plan;
        for (alias, body) in &plan.upserts {
            let path = Path::new(["secrets", "providers", alias]);
            if lookup(&self.tree, path.segments()) != Some(body) {
                let file = self.set(&path, None, body)?;
                self.note(&file, &path, "set-provider");
            }
        }
        for alias in &plan.deletes {
            self.delete_provider(alias)?;
        }
        for target in &plan.targets {
            let TargetPlace::Config { path, sibling, .. } = &target.place else {
                continue;
            };
            let body = reference_json(&target.reference);
            if let Some(current) = lookup(&self.tree, path.segments()) {
                if *current == body {
                    self.in_place.push(&target.reference);
                    continue;
                }
                let secret = plain_secret(current, &Defaults::read(&self.tree));
                self.migrated.extend(secret);
            }
            let file = self.set(path, sibling.as_deref(), &body)?;
            self.note(&file, path, "set-ref");
        }
        Ok(())
    }

    fn delete_provider(&mut self, alias: &str) -> Result<()> {
        let list = Path::new(["secrets", "providers"]);
        let path = list.child(alias);
        let Some(index) = self.holder(&path)? else {
            return Ok(());
        };
        let Some(file) = self.files.get_mut(index) else {
            return Ok(());
        };
        let remove = |editor: &mut Editor, below: &[String]| {
            let result = editor.remove(below);
            result.map_err(|why| not_editable(&path, why.0, std::slice::from_ref(&file.shown)))
        };
        let below = |path: &Path| {
            path.segments()
                .get(file.mount.segments().len()..)
                .map(<[String]>::to_vec)
        };
        remove(&mut file.editor, &below(&path).unwrap_or_default())?;
        let above = below(&list).unwrap_or_default();
        let is_empty = |value: Value| value.as_object().is_some_and(Map::is_empty);
        if !above.is_empty() && file.editor.value(&above).is_some_and(is_empty) {
            remove(&mut file.editor, &above)?;
        }
        let shown = file.shown.clone();
        self.note(&shown, &path, "remove-provider");
        Ok(())
    }

    /// Writes a value into the file that holds its place; which file that was.
    fn set(&mut self, path: &Path, sibling: Option<&str>, value: &Value) -> Result<PathBuf> {
        let sibling = sibling.map(|key| {
            let mut beside = path.clone();
            beside.pop();
            beside.child(key)
        });
        let holder = self.holder(path)?;
        let beside = match &sibling {
            Some(beside) => self.holder(beside)?,
            None => None,
        };
        let index = holder.or(beside).map_or_else(|| self.nearest(path), Ok)?;
        let Some(file) = self.files.get_mut(index) else {
            return Err(not_editable(path, "no file holds it", &[]));
        };
        let from = file.mount.segments().len();
        let below = |path: &Path| {
            path.segments()
                .get(from..)
                .map(<[String]>::to_vec)
                .unwrap_or_default()
        };
        let own = below(path);
        let result = match &sibling {
            None => file.editor.set(&own, value),
            Some(sibling) => {
                let beside = below(sibling);
                let key = beside.last().map(String::as_str).unwrap_or_default();
                match (file.editor.contains(&own), file.editor.contains(&beside)) {
                    (true, false) => file.editor.replace_member(&own, key, value),
                    (true, true) => file
                        .editor
                        .set(&beside, value)
                        .and_then(|()| file.editor.remove(&own)),
                    (false, _) => file.editor.set(&beside, value),
                }
            }
        };
        let shown = file.shown.clone();
        result.map_err(|why| not_editable(path, why.0, std::slice::from_ref(&shown)))?;
        Ok(shown)
    }

    /// The one file whose text holds the value at a path.
    fn holder(&self, path: &Path) -> Result<Option<usize>> {
        let holds = |file: &ConfigFile| {
            let below = path.segments().strip_prefix(file.mount.segments());
            below.is_some_and(|below| file.editor.contains(below))
        };
        let found: Vec<usize> = (0..self.files.len())
            .filter(|index| self.files.get(*index).is_some_and(holds))
            .collect();
        match found.as_slice() {
            [] => Ok(None),
            [one] => {
                let file = self.files.get(*one);
                // Lists of several files are joined, so an index may mean another entry.
                let same = file.is_some_and(|file| {
                    let below = path.segments().strip_prefix(file.mount.segments());
                    let text =
                        below.and_then(|below| Editor::new(file.original_text()).value(below));
                    let merged = lookup(&self.tree, path.segments());
                    text.is_none() || text.as_ref() == merged
                });
                match same {
                    true => Ok(Some(*one)),
                    false => Err(self.merged(path, &found)),
                }
            }
            _ => Err(self.merged(path, &found)),
        }
    }

    fn merged(&self, path: &Path, files: &[usize]) -> Error {
        let shown = |index: &usize| self.files.get(*index).map(|file| file.shown.clone());
        let files: Vec<PathBuf> = files.iter().filter_map(shown).collect();
        not_editable(path, "its value is merged from several files", &files)
    }

    /// The file that has most of what is above a path.
    fn nearest(&self, path: &Path) -> Result<usize> {
        let mut best: Option<(usize, usize)> = None;
        for (index, file) in self.files.iter().enumerate() {
            let mount = file.mount.segments();
            let Some(below) = path.segments().strip_prefix(mount) else {
                continue;
            };
            let depth = mount.len() + file.editor.depth(below);
            if best.is_none_or(|(known, _)| depth > known) {
                best = Some((depth, index));
            }
        }
        match best {
            Some((_, index)) => Ok(index),
            None => Err(not_editable(path, "no file holds it", &[])),
        }
    }

    /// Targets in stores of auth profiles.
    pub(super) fn stores(&mut self) -> Result<()> {
        let plan = self.apply.plan;
        let mut problems = Vec::new();
        for (index, target) in plan.targets.iter().enumerate() {
            let TargetPlace::Profile {
                agent,
                id,
                kind: (kind, key, reference_key),
                provider,
            } = &target.place
            else {
                continue;
            };
            let mut refuse = |reason, message| {
                problems.push(Problem {
                    target: Some(index),
                    reason,
                    message,
                });
            };
            let file = self.store_file(agent);
            let body = reference_json(&target.reference);
            let document = self.document(&file)?;
            if document.value.is_null() {
                document.value = json!({"version": 1, "profiles": {}});
            }
            let Some(profiles) = object_at(&mut document.value, "profiles") else {
                refuse(
                    "profile_type",
                    format!("{} has no profiles", file.display()),
                );
                continue;
            };
            if !profiles.contains_key(id) {
                let Some(provider) = provider else {
                    let message =
                        format!("profile {id} does not exist; authProfileProvider is needed");
                    refuse("profile_provider", message);
                    continue;
                };
                profiles.insert(id.clone(), json!({"type": kind, "provider": provider}));
            }
            let profile = profiles.get_mut(id).and_then(Value::as_object_mut);
            let of_kind = |profile: &&mut Map<String, Value>| {
                profile.get("type").and_then(Value::as_str) == Some(*kind)
            };
            let Some(profile) = profile.filter(of_kind) else {
                refuse(
                    "profile_type",
                    format!("profile {id} is not of type {kind}"),
                );
                continue;
            };
            let plain = profile.remove(*key);
            if plain.is_none() && profile.get(*reference_key) == Some(&body) {
                self.in_place.push(&target.reference);
                continue;
            }
            profile.insert((*reference_key).to_owned(), body);
            document.is_changed = true;
            if let Some(plain) = plain {
                let secret = plain_secret(&plain, &Defaults::read(&self.tree));
                self.migrated.extend(secret);
                wipe(plain);
            }
            let path = Path::new(["profiles", id.as_str(), *key]);
            self.note(&file, &path, "set-ref");
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(invalid(problems)),
        }
    }

    fn store_file(&self, agent: &str) -> PathBuf {
        let known = self.agents.iter().find(|(id, _)| id == agent);
        let folder = known.map_or_else(
            || self.places.state.join("agents").join(agent).join("agent"),
            |(_, folder)| folder.clone(),
        );
        folder.join(STORE_NAME)
    }

    /// A JSON file, read once; null when it does not exist.
    fn document(&mut self, file: &FilePath) -> Result<&mut Document> {
        if !self.documents.iter().any(|document| document.file == file) {
            let original = read_text(self.apply.host, file, MAX_STORE);
            if original.is_none() && self.apply.host.files.stat(file).is_ok() {
                let message = format!("{} cannot be read as text", file.display());
                return Err(Error::new(Code::PlanTargetNotEditable, message));
            }
            let value = match &original {
                None => Value::Null,
                Some(text) => {
                    parse(text.strip_prefix('\u{feff}').unwrap_or(text))
                        .map_err(|problem| {
                            let place = problem.place;
                            let message = format!(
                                "{} is not JSON (line {}, column {})",
                                file.display(),
                                place.line,
                                place.column
                            );
                            Error::new(Code::PlanTargetNotEditable, message)
                        })?
                        .value
                }
            };
            self.documents.push(Document {
                file: file.to_owned(),
                original,
                value,
                is_changed: false,
            });
        }
        let found = self
            .documents
            .iter_mut()
            .find(|document| document.file == file);
        found.ok_or_else(|| Error::new(Code::InternalError, "a document was lost"))
    }

    /// Changes a JSON file that exists. `change` tells the paths of what it removed.
    pub(super) fn rewrite(
        &mut self,
        file: &FilePath,
        action: &'static str,
        change: impl FnOnce(&mut Value) -> Vec<Path>,
    ) -> Result<()> {
        let document = self.document(file)?;
        if document.original.is_none() {
            return Ok(());
        }
        let removed = change(&mut document.value);
        document.is_changed |= !removed.is_empty();
        for path in removed {
            self.note(file, &path, action);
        }
        Ok(())
    }

    pub(super) fn note(&mut self, file: &FilePath, path: &Path, action: &'static str) {
        self.edits.push(Edit {
            file: file.to_owned(),
            path: path.to_string(),
            action,
        });
    }

    /// The contents that would change, for a trial.
    pub(super) fn overlay(&self) -> Overlay {
        let changes = self.changes().into_iter();
        changes
            .map(|change| (change.real.clone(), Arc::new(change.content)))
            .collect()
    }

    /// Everything that changes, in the order in which it is written: a crash in between can leave
    /// old plain text behind, but never a missing credential.
    pub(super) fn changes(&self) -> Vec<Change> {
        let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let files = self.files.iter().map(|file| {
            let original = file.original.as_ref().map(|text| bytes(text));
            (&file.shown, original, bytes(file.editor.text()))
        });
        let rank = |document: &&Document| !document.file.ends_with(STORE_NAME);
        let mut documents: Vec<&Document> = self
            .documents
            .iter()
            .filter(|document| document.is_changed)
            .collect();
        documents.sort_by_key(rank);
        let documents = documents.into_iter().map(|document| {
            let original = document.original.as_ref().map(|text| bytes(text));
            let text = serde_json::to_string_pretty(&document.value).map(Zeroizing::new);
            let mut content = bytes(&text.unwrap_or_default());
            content.push(b'\n');
            (&document.file, original, content)
        });
        let env = self
            .env_files
            .iter()
            .map(|(file, original, text)| (file, Some(bytes(original)), bytes(text)));
        let host = self.apply.host;
        let change = |(shown, original, content): (&PathBuf, _, _)| Change {
            real: host
                .files
                .canonical(shown)
                .unwrap_or_else(|_| shown.clone()),
            meta: host.files.stat(shown).ok(),
            shown: shown.clone(),
            original,
            content,
        };
        files
            .chain(documents)
            .chain(env)
            .map(change)
            .filter(Change::is_real)
            .collect()
    }

    pub(super) fn report(&self) -> ApplyReport {
        let changed = self.changes().into_iter().map(|change| change.shown);
        ApplyReport {
            changed: changed.collect(),
            edits: self.edits.clone(),
            warnings: self.warnings.clone(),
            ..ApplyReport::default()
        }
    }
}

impl ConfigFile {
    fn original_text(&self) -> &str {
        self.original.as_ref().map_or("{}", |text| text.as_str())
    }
}

/// The plain secret that a value is, if it is one.
pub(super) fn plain_secret(value: &Value, defaults: &Defaults) -> Option<SecretText> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => match classify_text(text, defaults) {
            Classified::Literal(Some(undone)) => Some(undone),
            Classified::Literal(None) => Some(SecretText::new(text.clone())),
            _ => None,
        },
        Value::Object(map) if classify_object(map, defaults).is_none() => {
            Some(SecretText::new(value.to_string()))
        }
        _ => None,
    }
}

fn object_at<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Map<String, Value>> {
    let map = value.as_object_mut()?;
    let entry = map.entry(key).or_insert_with(|| json!({}));
    entry.as_object_mut()
}

fn not_editable(path: &Path, why: &str, files: &[PathBuf]) -> Error {
    let shown: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let message = format!("{path} cannot be edited: {why}");
    Error::new(Code::PlanTargetNotEditable, message)
        .with("path", path.to_string())
        .with("files", shown)
}
