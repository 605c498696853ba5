//! One generation of everything that this part works with.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;

use super::provider::Providers;
use super::tokens::Transport;
use crate::config::{EnvView, Locations, OauthSettings, agent_dirs};
use crate::host::Host;
use crate::text::SecretText;

/// Most stores of other agents that are looked into.
const MAX_PEERS: usize = 64;
/// Lets refresh tokens go to another endpoint than the one that issued them.
const ALLOW_ENDPOINT_CHANGE: &str = "OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE";

/// One generation of everything that signing in and refreshing work with.
pub(crate) struct Scene {
    pub(crate) providers: Providers,
    pub(crate) settings: OauthSettings,
    pub(crate) transport: Transport,
    pub(crate) env: EnvView,
    pub(crate) state: PathBuf,
    /// Folders of the stores of all configured agents.
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) allow_endpoint_change: bool,
}

impl Scene {
    /// Takes what is needed out of a configuration. `secret` gives the resolved client secret of
    /// a provider.
    pub(crate) fn read(
        tree: &Value,
        env: &EnvView,
        places: &Locations,
        secret: &dyn Fn(&str) -> Option<SecretText>,
    ) -> Self {
        let folders = agent_dirs(places, env, tree).into_iter();
        Self {
            providers: Providers::layered(tree, env, secret),
            settings: OauthSettings::read(tree).0,
            transport: Transport::of(env),
            state: places.state.clone(),
            folders: folders.map(|(_, folder)| folder).collect(),
            allow_endpoint_change: env.process(ALLOW_ENDPOINT_CHANGE).map(str::trim) == Some("1"),
            env: env.clone(),
        }
    }

    /// Folders of all stores that may hold a copy of a credential, except one.
    pub(crate) fn peers(&self, host: &Host, except: &FilePath) -> Vec<PathBuf> {
        let agents = self.state.join("agents");
        let mut names = host.files.names(&agents).unwrap_or_default();
        names.sort();
        let found = names
            .into_iter()
            .map(|name| agents.join(name).join("agent"));
        let mut seen = BTreeSet::new();
        let all = self.folders.iter().cloned().chain(found);
        all.filter(|folder| folder != except && seen.insert(folder.clone()))
            .take(MAX_PEERS)
            .collect()
    }
}
