//! What reports look at: the settings of one generation, the store of one agent, and what stands
//! around them. Looking changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::routes::{Router, Routes};
use crate::config::{Routing, agent_dirs, normalise_agent_id, provider_entry};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::json::{Path, lookup};
use crate::profiles::{AgentProfiles, Kind, View};
use crate::secrets::shown;
use crate::sessions::Models;
use crate::snapshot::Snapshot;
use crate::text::suggestions;

/// One agent of one generation.
pub(crate) struct Scene<'a> {
    engine: &'a Engine,
    routes: Arc<Routes>,
    pub(crate) agent: Arc<AgentProfiles>,
    pub(crate) view: Arc<View>,
}

/// A credential of a provider that is no profile.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) source: KeySource,
    /// Shortened; `None` for what needs or shows no secret.
    pub(crate) masked: Option<String>,
}

/// Where such a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// What the AWS libraries find.
    Aws(String),
    /// A configuration path.
    Config(String),
    /// The name of a variable.
    Env(String),
    /// No credential is needed.
    Nothing,
}

impl Engine {
    /// Ids of the configured agents, the main one first.
    pub fn agents(&self) -> Vec<String> {
        known_agents(&self.router.routes())
    }

    /// The scene of an agent; of the default agent when none is named.
    ///
    /// # Errors
    ///
    /// `unknown_agent` with the known ones, or a `store_*` code.
    pub(crate) fn scene(&self, agent: Option<&str>) -> Result<Scene<'_>> {
        let (routes, agent) = self.agent_of(agent)?;
        let view = self.router.peek(&routes, &agent)?;
        Ok(Scene {
            engine: self,
            routes,
            agent,
            view,
        })
    }

    /// The store of an agent; of the default agent when none is named.
    ///
    /// # Errors
    ///
    /// `unknown_agent` with the known ones.
    pub(super) fn agent_of(
        &self,
        agent: Option<&str>,
    ) -> Result<(Arc<Routes>, Arc<AgentProfiles>)> {
        let routes = self.router.routes();
        let agent =
            self.router
                .agent(&routes, agent)
                .map_err(|error| match (error.code(), agent) {
                    (Code::UnknownAgent, Some(agent)) => {
                        unknown_agent(agent, &known_agents(&routes))
                    }
                    _ => error,
                })?;
        Ok((routes, agent))
    }
}

impl Router {
    /// What an agent sees, for reports: nothing is imported.
    fn peek(&self, routes: &Routes, agent: &AgentProfiles) -> Result<Arc<View>> {
        let own = agent.peek(&routes.routing)?;
        let inherit = routes.routing.inherit;
        if inherit == crate::config::Inherit::None || agent.agent == super::routes::MAIN {
            return Ok(own);
        }
        let main = self.agent(routes, Some(super::routes::MAIN))?;
        let main = main.peek(&routes.routing)?;
        Ok(Arc::new(own.inheriting(&main, inherit)))
    }
}

impl Scene<'_> {
    pub(crate) fn host(&self) -> &Host {
        &self.engine.host
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.routes.snapshot
    }

    pub(crate) fn routing(&self) -> &Routing {
        &self.routes.routing
    }

    pub(crate) fn models(&self) -> &Models {
        &self.routes.models
    }

    /// Normal form of a provider.
    pub(crate) fn normal(&self, provider: &str) -> String {
        self.routes.normal(provider).into_owned()
    }

    /// A setting of the configuration.
    pub(crate) fn setting(&self, path: &[&str]) -> Option<&Value> {
        lookup(&self.routes.snapshot.tree, path)
    }

    /// Where the store of the main agent is.
    pub(crate) fn main_store(&self) -> Result<PathBuf> {
        let main = self.engine.router.agent(&self.routes, Some("main"))?;
        Ok(main.path().to_owned())
    }

    /// Changes the store of the agent, in one write.
    ///
    /// # Errors
    ///
    /// A `store_*` code; nothing has changed then.
    pub(crate) fn edit(
        &self,
        change: &mut dyn FnMut(&mut crate::profiles::Document) -> Result<()>,
    ) -> Result<()> {
        self.agent.edit(&self.routes.routing, change)
    }

    /// The credentials of a provider beyond its profiles, in the order they are tried.
    pub(crate) fn keys(&self, provider: &str) -> Vec<Key> {
        let extras = self.engine.router.extras(&self.routes, provider);
        let key = |extra: &super::routes::Extra| Key {
            source: match (extra.kind, extra.id.split_once(':')) {
                (Kind::AwsSdk, _) => KeySource::Aws(extra.source.clone()),
                (Kind::None, _) => KeySource::Nothing,
                (_, Some(("config", path))) => KeySource::Config(path.to_owned()),
                (_, Some((_, name))) => {
                    KeySource::Env(name.split('#').next().unwrap_or(name).to_owned())
                }
                (_, None) => KeySource::Env(extra.id.clone()),
            },
            masked: extra.slot.as_ref().map(|slot| shown(slot.value.expose())),
        };
        extras.list.iter().map(key).collect()
    }

    /// The path of the key that the configuration holds for a provider, whether or not it
    /// resolved.
    pub(crate) fn config_key(&self, provider: &str) -> Option<String> {
        let providers = self.setting(&["models", "providers"])?.as_object()?;
        let entries = providers
            .iter()
            .map(|(key, value)| (key.as_str(), (key, value)));
        let (key, value) = provider_entry(&entries, provider, &self.routing().aliases)?;
        value.get("apiKey")?;
        Some(Path::new(["models", "providers", key.as_str(), "apiKey"]).to_string())
    }

    /// When the login of another program ends, `None` when it has none.
    pub(crate) fn external(&self, program: &str) -> Option<u64> {
        self.engine.external_expiry(program)
    }
}

fn known_agents(routes: &Routes) -> Vec<String> {
    let snapshot = &routes.snapshot;
    let dirs = agent_dirs(&snapshot.places, &snapshot.env, &snapshot.tree);
    dirs.into_iter().map(|(id, _)| id).collect()
}

fn unknown_agent(agent: &str, known: &[String]) -> Error {
    let near = suggestions(&normalise_agent_id(agent), known.iter().map(String::as_str));
    let message = format!(
        "Unknown agent id \"{agent}\". Known agents: {}.",
        known.join(", ")
    );
    let error = Error::new(Code::UnknownAgent, message).with("agentId", agent);
    match near.first() {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}
