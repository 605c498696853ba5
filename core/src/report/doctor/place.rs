//! What the checks look at.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::DoctorOptions;
use crate::config::{Input, Issue, Locations};
use crate::engine::{Engine, Options, Scene};
use crate::error::Error;
use crate::host::{FileMeta, Host};
use crate::report::status::Survey;

/// An installation that is being examined.
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) options: Options,
    pub(super) places: Locations,
    /// Opened as far as it goes; with empty settings when the configuration is invalid.
    engine: Option<Engine>,
    error: Option<Error>,
    agent: Option<String>,
}

/// One agent.
pub(super) struct Look<'a> {
    pub(super) id: String,
    pub(super) scene: Result<Scene<'a>, Error>,
}

impl Place {
    pub(super) fn of(options: &Options, examine: &DoctorOptions) -> Self {
        let host = options.host();
        let lenient = options
            .clone()
            .tolerate_unresolved(true)
            .run_exec_always(true)
            .without_exec(!examine.allow_exec);
        let (engine, error) = match Engine::open(lenient.clone()) {
            Ok(engine) => (Some(engine), None),
            // Files and stores can be examined without the settings.
            Err(error) => (Engine::open(lenient.config_text("{}")).ok(), Some(error)),
        };
        Self {
            places: options.locations(),
            host,
            options: options.clone(),
            engine,
            error,
            agent: examine.agent.clone(),
        }
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Why the configuration cannot be used.
    pub(super) fn config_error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Whether the configuration comes from files.
    pub(super) fn is_from_files(&self) -> bool {
        matches!(
            self.options.read_options().input,
            Input::DefaultFile | Input::File(_)
        )
    }

    /// The agents to examine.
    pub(super) fn looks(&self) -> Vec<Look<'_>> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        let ids = match &self.agent {
            Some(id) => vec![id.clone()],
            None => engine.agents(),
        };
        let look = |id: String| Look {
            scene: engine.scene(Some(&id)),
            id,
        };
        ids.into_iter().map(look).collect()
    }

    /// The agents whose store can be read, with their health.
    pub(super) fn surveys(&self) -> Vec<(Scene<'_>, Survey)> {
        let scenes = self.looks().into_iter().filter_map(|look| look.scene.ok());
        scenes
            .map(|scene| {
                let survey = Survey::of(&scene, crate::report::status::DAY_MS);
                (scene, survey)
            })
            .collect()
    }

    /// A setting of the configuration.
    pub(super) fn setting(&self, path: &[&str]) -> Option<Value> {
        let snapshot = self.engine.as_ref()?.snapshot();
        crate::json::lookup(&snapshot.tree, path).cloned()
    }

    /// What the configuration files were warned about.
    pub(super) fn issues(&self) -> Vec<Issue> {
        let snapshot = self.engine.as_ref().map(Engine::snapshot);
        snapshot.map_or_else(Vec::new, |snapshot| snapshot.issues().to_vec())
    }

    /// A variable of the process or of the `.env` file.
    pub(super) fn variable(&self, name: &str) -> bool {
        let vars = self.host.env.vars();
        vars.get(name).is_some_and(|value| !value.trim().is_empty())
    }

    /// Files of the state folder that hold credentials, which exist.
    pub(super) fn credential_files(&self) -> Vec<(PathBuf, FileMeta)> {
        let state = &self.places.state;
        let mut files = vec![state.join(".env")];
        let credentials = state.join("credentials");
        files.extend(self.inside(&credentials, |name| name.ends_with(".json")));
        for look in self.looks() {
            let Ok(scene) = look.scene else { continue };
            let Some(folder) = scene.agent.path().parent() else {
                continue;
            };
            files.extend(self.inside(folder, |name| {
                name.starts_with("auth-profiles.json")
                    || name.starts_with(".auth-profiles.json")
                    || name == "auth.json"
            }));
        }
        let meta = |file: PathBuf| Some((file.clone(), self.host.files.stat(&file).ok()?));
        files.into_iter().filter_map(meta).collect()
    }

    /// Files in a folder whose names fit, sorted.
    pub(super) fn inside(&self, folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let names = self.host.files.names(folder).unwrap_or_default();
        let mut files: Vec<PathBuf> = names
            .into_iter()
            .filter(|name| name.to_str().is_some_and(&fits))
            .map(|name| folder.join(name))
            .collect();
        files.sort();
        files
    }

    /// A path as people write it.
    pub(super) fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.places.home) {
            Ok(rest) if self.places.home.parent().is_some() => format!("~/{}", rest.display()),
            _ => path.display().to_string(),
        }
    }
}
