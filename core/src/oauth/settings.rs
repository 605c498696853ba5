//! Settings of this part, from the section `oauth` of `openclaw-auth.json5`.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;

use super::expiry::MARGIN_MS;
use super::provider::Providers;
use super::tokens::Transport;
use crate::config::{EnvView, Locations, agent_dirs};
use crate::host::Host;
use crate::json::{Fields, Mismatch, Path, lookup};
use crate::text::SecretText;

/// Most stores of other agents that are looked into.
const MAX_PEERS: usize = 64;
/// Lets refresh tokens go to another endpoint than the one that issued them.
const ALLOW_ENDPOINT_CHANGE: &str = "OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE";

/// All settings. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) refresh_margin_ms: u64,
    pub(crate) callback_timeout_ms: u64,
    pub(crate) lock_store_during_refresh: bool,
    pub(crate) refresh_budget_ms: u64,
    /// Whether a refresh token that another program holds too may be spent.
    pub(crate) allow_shared_refresh: bool,
    /// Programs whose login may be linked.
    pub(crate) links: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_margin_ms: MARGIN_MS,
            callback_timeout_ms: 300_000,
            lock_store_during_refresh: true,
            refresh_budget_ms: 40_000,
            allow_shared_refresh: false,
            links: BTreeSet::new(),
        }
    }
}

impl Settings {
    /// Reads the settings; what does not fit keeps its default and is returned.
    pub(crate) fn read(tree: &Value) -> (Self, Vec<Mismatch>) {
        let mut settings = Self::default();
        let Some(map) = lookup(tree, &["oauth"]).and_then(Value::as_object) else {
            return (settings, Vec::new());
        };
        let path = Path::new(["oauth"]);
        let mut fields = Fields::new(map, &path);
        fields.object("providers");
        let mut ms = |key, range, slot: &mut u64| {
            if let Some(ms) = fields.integer(key, range) {
                *slot = ms;
            }
        };
        ms("refreshMarginMs", 0..=3_600_000, &mut settings.refresh_margin_ms);
        ms("callbackTimeoutMs", 30_000..=1_800_000, &mut settings.callback_timeout_ms);
        ms("refreshBudgetMs", 5_000..=60_000, &mut settings.refresh_budget_ms);
        if let Some(lock) = fields.boolean("lockStoreDuringRefresh") {
            settings.lock_store_during_refresh = lock;
        }
        match fields.string("sharedRefresh") {
            None | Some("refuse") => {}
            Some("allow") => settings.allow_shared_refresh = true,
            Some(_) => {
                fields.wrong::<()>("sharedRefresh", "must be \"refuse\" or \"allow\"");
            }
        }
        for (id, mode) in fields.object("externalCli").into_iter().flatten() {
            match mode.as_str() {
                Some("off") => {}
                Some("link") if super::external::program(id).is_some() => {
                    settings.links.insert(id.clone());
                }
                _ => {
                    let wanted = "maps claude-cli, codex-cli or minimax-cli to \"off\" or \"link\"";
                    fields.wrong::<()>("externalCli", wanted);
                }
            }
        }
        (settings, fields.finish())
    }
}

/// One generation of everything that signing in and refreshing work with.
pub(crate) struct Scene {
    pub(crate) providers: Providers,
    pub(crate) settings: Settings,
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
            settings: Settings::read(tree).0,
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
        let found = names.into_iter().map(|name| agents.join(name).join("agent"));
        let mut seen = BTreeSet::new();
        let all = self.folders.iter().cloned().chain(found);
        all.filter(|folder| folder != except && seen.insert(folder.clone()))
            .take(MAX_PEERS)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_have_ranges_and_names() {
        let (settings, problems) = Settings::read(&json!({"oauth": {
            "refreshMarginMs": 0, "callbackTimeoutMs": 1, "sharedRefresh": "allow",
            "externalCli": {"codex-cli": "link", "claude-cli": "off"}, "providers": {},
        }}));
        assert_eq!(settings.refresh_margin_ms, 0);
        assert_eq!(settings.callback_timeout_ms, 300_000);
        assert!(settings.allow_shared_refresh && settings.links.contains("codex-cli"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        for odd in [
            json!({"externalCli": {"codex": "link"}}),
            json!({"externalCli": {"codex-cli": true}}),
            json!({"sharedRefresh": true}),
            json!({"typo": 1}),
        ] {
            let (_, problems) = Settings::read(&json!({ "oauth": odd.clone() }));
            assert_eq!(problems.len(), 1, "{odd}");
        }
    }
}
