//! Agents: each with its own store, workspace and sessions.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{ConfigEdit, Engine};
use crate::config::{self, expand_home, normalise_agent_id};
use crate::error::{Code, Error, Result};
use crate::json::lookup;
use crate::profiles::{Document, Kind};
use crate::text::suggestions;

const FOLDER_MODE: u32 = 0o700;
const STORE_MODE: u32 = 0o600;
const MAIN: &str = "main";

/// What is copied into the store of a new agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CopyAuth {
    /// Nothing: agents are isolated.
    #[default]
    None,
    /// Keys and tokens that do not change.
    Static,
    /// OAuth logins too. Two agents that share a refresh token log each other out.
    All,
}

impl CopyAuth {
    /// Reads the stable text: `none`, `static` or `all`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "static" => Self::Static,
            "all" => Self::All,
            _ => return None,
        })
    }
}

/// A new agent.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NewAgent {
    /// What it is called; its id is made from that.
    pub name: String,
    /// Its workspace (default: `workspace-<id>` in the state directory).
    pub workspace: Option<PathBuf>,
    /// The folder of its store (default: `agents/<id>/agent` in the state directory).
    pub agent_dir: Option<PathBuf>,
    /// Its own default model.
    pub model: Option<String>,
    /// Which credentials it gets.
    pub copy: CopyAuth,
    /// Whose credentials (default: the default agent's).
    pub from: Option<String>,
    /// Channels whose messages it answers: `channel` or `channel:account`.
    pub bindings: Vec<String>,
}

/// What became of a new agent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AddedAgent {
    /// Its id.
    pub id: String,
    /// The JSON object of every language.
    pub document: Value,
    /// What became of the configuration file.
    pub edit: ConfigEdit,
}

/// What became of an agent that was deleted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeletedAgent {
    /// The JSON object of every language.
    pub document: Value,
    /// What became of the configuration file.
    pub edit: ConfigEdit,
    /// Folders that were left where they are, with the reason.
    pub kept: Vec<(PathBuf, &'static str)>,
}

impl Engine {
    /// Every agent, as the JSON array of every language: `id`, `name`, `workspace`, `agentDir`,
    /// `model`, `isDefault`, `profiles`, `inherit`.
    pub fn agents_json(&self) -> Value {
        let routes = self.router.routes();
        let tree = &routes.snapshot.tree;
        let default = routes.models.default_agent();
        let agents = routes.agents.iter().filter(|(id, _)| {
            // The main agent is there when it is named, when it is the default, or has a store.
            id != MAIN || default == MAIN || entry(tree, id).is_some() || self.count(id).is_some()
        });
        let agents = agents.map(|(id, folder)| {
            let entry = entry(tree, id);
            let text = |key: &str| entry.and_then(|entry| entry.get(key));
            let bindings = lookup(tree, &["bindings"]).and_then(Value::as_array);
            let bindings = bindings.into_iter().flatten().filter(|binding| {
                let agent = binding.get("agentId").and_then(Value::as_str);
                agent.is_some_and(|agent| normalise_agent_id(agent) == *id)
            });
            json!({
                "id": id,
                "name": text("name"),
                "workspace": self.workspace(tree, id).to_string_lossy(),
                "agentDir": folder.to_string_lossy(),
                "model": text("model"),
                "bindings": bindings.count(),
                "isDefault": id == default,
                "profiles": self.count(id),
                "inherit": routes.routing.inherit.as_str(),
            })
        });
        agents.collect()
    }

    /// Adds an agent: its folders, an empty store of its own, and its entry in the configuration
    /// file. The store keeps OpenClaw from copying the credentials of `main` into it.
    ///
    /// # Errors
    ///
    /// `agent_reserved`, `agent_exists`, `unknown_agent` for `from`, `invalid_argument`,
    /// `config_write_failed`, or a `store_*` code.
    pub fn add_agent(&self, new: &NewAgent) -> Result<AddedAgent> {
        let routes = self.router.routes();
        let (tree, places) = (&routes.snapshot.tree, &routes.snapshot.places);
        if new.name.trim().is_empty() {
            return Err(Error::new(Code::InvalidArgument, "name: must not be blank"));
        }
        let id = normalise_agent_id(&new.name);
        if id == MAIN {
            let message = "\"main\" is reserved. Choose another name.";
            return Err(Error::new(Code::AgentReserved, message));
        }
        let exists = || {
            let message = format!("Agent \"{id}\" already exists.");
            Error::new(Code::AgentExists, message).with("agentId", id.clone())
        };
        if entry(tree, &id).is_some() {
            return Err(exists());
        }
        let home = places.state.join("agents").join(&id);
        let agent_dir = new
            .agent_dir
            .as_deref()
            .map(|dir| expand(dir, &places.home));
        let agent_dir = agent_dir.unwrap_or_else(|| home.join("agent"));
        let workspace = new
            .workspace
            .as_deref()
            .map(|dir| expand(dir, &places.home));
        let workspace = workspace.unwrap_or_else(|| places.state.join(format!("workspace-{id}")));
        let store = agent_dir.join("auth-profiles.json");
        if self.host.files.stat(&store).is_ok() && !self.is_empty_store(&store) {
            return Err(exists().with_hint(format!("{} is not empty", store.display())));
        }
        let (copied, skipped, document) = self.copies(new)?;
        for folder in [&agent_dir, &home.join("sessions"), &workspace] {
            self.make_folder(folder)?;
        }
        let text = document.to_text();
        let written = self
            .host
            .files
            .write_atomic(&store, text.as_bytes(), STORE_MODE);
        written.map_err(|error| cannot(&store, &error))?;

        let mut named = Map::new();
        named.insert("id".to_owned(), id.clone().into());
        if id != new.name.trim() {
            named.insert("name".to_owned(), new.name.trim().into());
        }
        named.insert("workspace".to_owned(), shown(&workspace));
        if new.agent_dir.is_some() {
            named.insert("agentDir".to_owned(), shown(&agent_dir));
        }
        if let Some(model) = &new.model {
            named.insert("model".to_owned(), model.clone().into());
        }
        let named = Value::Object(named);
        let bindings: Vec<Value> = new
            .bindings
            .iter()
            .map(|bound| {
                let (channel, account) = match bound.split_once(':') {
                    Some((channel, account)) => (channel, Some(account)),
                    None => (bound.as_str(), None),
                };
                let mut matched = json!({"channel": channel});
                if let (Some(account), Value::Object(matched)) = (account, &mut matched) {
                    matched.insert("accountId".to_owned(), account.into());
                }
                json!({"agentId": id, "match": matched})
            })
            .collect();
        let mut change = |tree: &mut Value| {
            config::add_agent(tree, &named);
            config::add_bindings(tree, &bindings);
        };
        let snippet = json!({"agents": {"list": [named]}});
        let (edit, _) = self.edit_config_file(&mut change, &snippet, false)?;
        let mut document = json!({
            "agentId": id,
            "name": new.name.trim(),
            "workspace": shown(&workspace),
            "agentDir": shown(&agent_dir),
        });
        if let Value::Object(map) = &mut document {
            if let Some(model) = &new.model {
                map.insert("model".to_owned(), model.clone().into());
            }
            map.insert("copied".to_owned(), copied.into());
            map.insert("skipped".to_owned(), skipped.into());
            let bound =
                json!({"added": new.bindings, "updated": [], "skipped": [], "conflicts": []});
            map.insert("bindings".to_owned(), bound);
        }
        Ok(AddedAgent { id, document, edit })
    }

    /// Deletes an agent: its entry, bindings and allowances go from the configuration file, and
    /// unless `keep_files` is set its folders move to `trash/<id>-<ms>` in the state directory.
    /// Folders that others use, and workspaces elsewhere that hold files, stay.
    ///
    /// # Errors
    ///
    /// `agent_reserved` for `main`, `unknown_agent`, `config_write_failed`, `store_write_failed`
    /// when a folder cannot be moved.
    pub fn delete_agent(&self, agent: &str, keep_files: bool) -> Result<DeletedAgent> {
        let routes = self.router.routes();
        let (tree, places) = (&routes.snapshot.tree, &routes.snapshot.places);
        let id = normalise_agent_id(agent);
        if id == MAIN {
            let message = "\"main\" cannot be deleted.";
            return Err(Error::new(Code::AgentReserved, message));
        }
        let home = places.state.join("agents").join(&id);
        let listed = routes.agents.iter().find(|(known, _)| *known == id);
        if listed.is_none() && self.host.files.stat(&home).is_err() {
            let known = routes.agents.iter().map(|(known, _)| known.as_str());
            let near = suggestions(&id, known);
            let error = Error::new(Code::UnknownAgent, format!("Agent \"{agent}\" not found."));
            return Err(match near.first() {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error,
            });
        }
        let agent_dir = listed.map_or_else(|| home.join("agent"), |(_, folder)| folder.clone());
        let workspace = self.workspace(tree, &id);
        let sessions = home.join("sessions");
        let mut removed = (0, 0);
        let mut change = |tree: &mut Value| removed = config::remove_agent(tree, &id);
        let snippet = json!({"agents": {"list": []}});
        let (edit, _) = self.edit_config_file(&mut change, &snippet, false)?;

        let now = self.host.clock.now_ms();
        let trash = places.state.join("trash").join(format!("{id}-{now}"));
        let mut kept = Vec::new();
        let mut moved = false;
        if !keep_files {
            let parts = [
                ("agent", agent_dir.as_path()),
                ("sessions", &sessions),
                ("workspace", &workspace),
            ];
            for (name, folder) in parts {
                if self.host.files.stat(folder).is_err() {
                    continue;
                }
                if let Some(reason) = self.keeps(tree, &id, folder, &places.state) {
                    kept.push((folder.to_path_buf(), reason));
                    continue;
                }
                self.make_folder(&trash)?;
                let to = trash.join(name);
                let done = self.host.locks.rename(folder, &to);
                done.map_err(|error| cannot(folder, &error))?;
                moved = true;
            }
        }
        let document = json!({
            "agentId": id,
            "workspace": shown(&workspace),
            "agentDir": shown(&agent_dir),
            "sessionsDir": shown(&sessions),
            "removedBindings": removed.0,
            "removedAllow": removed.1,
            "trash": moved.then(|| shown(&trash)),
            "kept": kept.iter().map(|(folder, _)| shown(folder)).collect::<Vec<_>>(),
        });
        Ok(DeletedAgent {
            document,
            edit,
            kept,
        })
    }

    /// Why a folder of an agent is not moved.
    fn keeps(&self, tree: &Value, id: &str, folder: &Path, state: &Path) -> Option<&'static str> {
        let routes = self.router.routes();
        let is_used = routes.agents.iter().any(|(other, dir)| {
            other != id
                && (dir.starts_with(folder)
                    || folder.starts_with(dir)
                    || self.workspace(tree, other).starts_with(folder)
                    || folder.starts_with(self.workspace(tree, other)))
        });
        if is_used || state.starts_with(folder) {
            return Some("another agent uses it");
        }
        let has_files = self
            .host
            .files
            .names(folder)
            .is_ok_and(|names| !names.is_empty());
        (!folder.starts_with(state) && has_files).then_some("it is not in the state directory")
    }

    /// Number of profiles in the store of an agent; `None` when there is no store.
    fn count(&self, id: &str) -> Option<usize> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, Some(id)).ok()?;
        let document = profiles.store().load().ok()?.document?;
        Some(document.profiles().count())
    }

    fn workspace(&self, tree: &Value, id: &str) -> PathBuf {
        let routes = self.router.routes();
        let places = &routes.snapshot.places;
        let own = entry(tree, id).and_then(|entry| entry.get("workspace")?.as_str());
        let common = || {
            let main = id == routes.models.default_agent();
            let setting = lookup(tree, &["agents", "defaults", "workspace"])?;
            setting.as_str().filter(|_| main)
        };
        match own.or_else(common).filter(|text| !text.trim().is_empty()) {
            Some(text) => expand_home(text, &places.home),
            None if id == MAIN => places.state.join("workspace"),
            None => places.state.join(format!("workspace-{id}")),
        }
    }

    fn is_empty_store(&self, path: &Path) -> bool {
        let read = self
            .host
            .files
            .open(path)
            .and_then(|mut file| file.read_to_limit(4_096));
        let Ok(Some(bytes)) = read else { return false };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Document::parse(text).is_ok_and(|document| document.profiles().next().is_none())
    }

    /// The store of a new agent, with what is copied into it and what is not.
    fn copies(&self, new: &NewAgent) -> Result<(Vec<String>, Vec<String>, Document)> {
        let mut store = Document::empty();
        if new.copy == CopyAuth::None {
            return Ok((Vec::new(), Vec::new(), store));
        }
        let (_, profiles, view) = self.view(new.from.as_deref())?;
        let Some(from) = profiles.store().load()?.document else {
            return Ok((Vec::new(), Vec::new(), store));
        };
        let (mut copied, mut skipped) = (Vec::new(), Vec::new());
        for profile in view.profiles.iter().filter(|profile| !profile.inherited) {
            let Some(value) = from.profile(&profile.id) else {
                continue;
            };
            let wish = value.get("copyToAgents").and_then(Value::as_bool);
            let fits = match (profile.credential.kind, new.copy) {
                (Kind::OAuth, CopyAuth::All) => wish != Some(false),
                (Kind::OAuth, _) => wish == Some(true),
                _ => wish != Some(false),
            };
            if fits {
                store.edit("profiles", |all| {
                    all.insert(profile.id.clone(), value.clone())
                });
                copied.push(profile.id.clone());
            } else {
                skipped.push(profile.id.clone());
            }
        }
        for (provider, ids) in view.stored_order() {
            let ids: Vec<&String> = ids.iter().filter(|id| copied.contains(id)).collect();
            if !ids.is_empty() {
                store.edit("order", |order| order.insert(provider.clone(), json!(ids)));
            }
        }
        Ok((copied, skipped, store))
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        let made = self.host.files.create_dir_all(folder, FOLDER_MODE);
        made.map_err(|error| cannot(folder, &error))
    }
}

/// The entry of an agent in `agents.list`.
fn entry<'t>(tree: &'t Value, id: &str) -> Option<&'t Value> {
    let list = lookup(tree, &["agents", "list"])?.as_array()?;
    list.iter().find(|entry| {
        let named = entry.get("id").and_then(Value::as_str);
        named.is_some_and(|named| normalise_agent_id(named) == id)
    })
}

fn expand(path: &Path, home: &Path) -> PathBuf {
    path.to_str()
        .map_or_else(|| path.to_owned(), |text| expand_home(text, home))
}

fn shown(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{}: cannot be written: {}", path.display(), error.kind());
    Error::new(Code::StoreWriteFailed, message).with("path", path.display().to_string())
}
