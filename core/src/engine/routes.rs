//! What choosing credentials works with: settings of one generation, the stores of the agents,
//! and what only this process knows.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::lease::LeaseTable;
use super::refresh::Refresher;
use crate::config::{Routing, agent_dirs, normalise_agent_id, normalise_provider, provider_entry};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::json::lookup;
use crate::keys::EnvKeys;
use crate::profiles::{
    AgentProfiles, FileStore, Kind, Memory, Notice, Record, StoreOptions, Subject, View,
};
use crate::secrets::Defaults;
use crate::sessions::{Models, Sessions};
use crate::snapshot::Snapshot;
use crate::text::SecretText;

/// Everything that is shared by the leases of one engine.
pub(crate) struct Router {
    pub(super) host: Host,
    routes: ArcSwap<Routes>,
    agents: Mutex<HashMap<(String, PathBuf), Arc<AgentProfiles>>>,
    /// Keys of environment and configuration: their windows live in this process only.
    keys: Mutex<HashMap<KeyId, Arc<KeySlot>, RandomState>>,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) leases: Mutex<LeaseTable>,
    pub(super) refresher: RwLock<Option<Arc<dyn Refresher>>>,
    pub(super) notices: Mutex<Vec<Notice>>,
    /// Refreshes of tokens for leases: by provider, how many worked and how many failed.
    pub(super) refreshes: Mutex<BTreeMap<String, [u64; 2]>>,
}

/// The settings of one generation.
pub(crate) struct Routes {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) routing: Arc<Routing>,
    pub(super) models: Models,
    pub(super) defaults: Defaults,
    pub(super) agents: Vec<(String, PathBuf)>,
    /// Stores by the name they were asked for with.
    opened: RwLock<HashMap<String, Arc<AgentProfiles>, RandomState>>,
    /// The candidates of each provider beyond its profiles.
    extras: RwLock<HashMap<String, Arc<Extras>, RandomState>>,
}

/// A key that is not a profile.
#[derive(Debug)]
pub(crate) struct KeySlot {
    /// Normal form.
    pub(super) provider: String,
    pub(super) value: SecretText,
    pub(super) record: Mutex<Record>,
    pub(super) memory: Memory,
}

/// Provider and digest of the key: changing the value starts fresh, and nothing derived from the
/// key is written anywhere.
type KeyId = (String, [u8; 32]);

/// One candidate beyond the profiles.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) kind: Kind,
    /// `None`: needs no credential.
    pub(super) slot: Option<Arc<KeySlot>>,
}

/// The candidates of a provider beyond its profiles, in order.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(super) list: Vec<Extra>,
    /// They come before the profiles.
    pub(super) first: bool,
    /// Profiles are not used at all for this provider.
    pub(super) only: bool,
}

impl Router {
    pub(super) fn new(host: Host, snapshot: &Arc<Snapshot>) -> Arc<Self> {
        let routes = Routes::new(snapshot);
        let router = Self {
            sessions: Mutex::new(Sessions::new(routes.routing.pin_capacity)),
            routes: ArcSwap::from_pointee(routes),
            host,
            agents: Mutex::default(),
            keys: Mutex::default(),
            leases: Mutex::default(),
            refresher: RwLock::default(),
            notices: Mutex::default(),
            refreshes: Mutex::default(),
        };
        Arc::new(router)
    }

    /// Works with another generation from now on. Leases that are out keep what they have.
    pub(super) fn replace(&self, snapshot: &Arc<Snapshot>) {
        self.routes.store(Arc::new(Routes::new(snapshot)));
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// The store of an agent; the default agent when none is named.
    pub(super) fn agent(&self, routes: &Routes, agent: Option<&str>) -> Result<Arc<AgentProfiles>> {
        let named = agent.unwrap_or_else(|| routes.models.default_agent());
        if let Some(profiles) = routes.opened.read().get(named) {
            return Ok(Arc::clone(profiles));
        }
        let profiles = self.open_agent(routes, &normalise_agent_id(named))?;
        routes
            .opened
            .write()
            .insert(named.to_owned(), Arc::clone(&profiles));
        Ok(profiles)
    }

    fn open_agent(&self, routes: &Routes, id: &str) -> Result<Arc<AgentProfiles>> {
        let known = routes.agents.iter().find(|(known, _)| known == id);
        let folder = match known {
            Some((_, folder)) => folder.clone(),
            None => {
                let home = routes.snapshot.places.state.join("agents").join(id);
                if self.host.files.stat(&home).is_err() && id != routes.models.default_agent() {
                    let message = format!("Unknown agent id \"{id}\".");
                    return Err(Error::new(Code::UnknownAgent, message).with("agentId", id));
                }
                home.join("agent")
            }
        };
        let mut agents = self.agents.lock();
        let entry = agents.entry((id.to_owned(), folder.clone()));
        let profiles = entry.or_insert_with(|| {
            let options = store_options(&routes.routing, &routes.snapshot);
            let store = FileStore::new(self.host.clone(), id, folder, options);
            let defaults = routes.defaults.clone();
            Arc::new(AgentProfiles::new(
                self.host.clone(),
                id,
                Box::new(store),
                defaults,
            ))
        });
        Ok(Arc::clone(profiles))
    }

    /// What an agent sees, inheritance included.
    pub(super) fn view(&self, routes: &Routes, agent: &AgentProfiles) -> Result<Arc<View>> {
        let own = agent.view(&routes.routing)?;
        let inherit = routes.routing.inherit;
        if inherit == crate::config::Inherit::None || agent.agent == MAIN {
            return Ok(own);
        }
        let main = self.agent(routes, Some(MAIN))?.view(&routes.routing)?;
        Ok(Arc::new(own.inheriting(&main, inherit)))
    }

    /// The store that a profile of an agent's view belongs to.
    pub(super) fn owner(
        &self,
        routes: &Routes,
        agent: &Arc<AgentProfiles>,
        inherited: bool,
    ) -> Result<Arc<AgentProfiles>> {
        if inherited {
            self.agent(routes, Some(MAIN))
        } else {
            Ok(Arc::clone(agent))
        }
    }

    /// The candidates of a provider beyond its profiles; collected once per generation.
    pub(super) fn extras(&self, routes: &Routes, provider: &str) -> Arc<Extras> {
        if let Some(extras) = routes.extras.read().get(provider) {
            return Arc::clone(extras);
        }
        let extras = Arc::new(self.collect(routes, provider));
        let mut known = routes.extras.write();
        if known.len() >= 1_000 {
            known.clear();
        }
        known.insert(provider.to_owned(), Arc::clone(&extras));
        extras
    }

    fn collect(&self, routes: &Routes, provider: &str) -> Extras {
        let snapshot = &routes.snapshot;
        let aliases = &routes.routing.aliases;
        let providers = lookup(&snapshot.tree, &["models", "providers"]).and_then(Value::as_object);
        let entries = providers.into_iter().flatten();
        let entries = entries.map(|(key, value)| (key.as_str(), (key.as_str(), value)));
        let entry = provider_entry(&entries, provider, aliases);
        let text = |key: &str| entry.and_then(|(_, value)| value.get(key)?.as_str());

        let keys = EnvKeys::collect(&snapshot.env, provider, &routes.routing);
        for name in &keys.not_keys {
            self.notices.lock().push(Notice {
                code: Code::EnvNotAKey,
                message: format!("{name} is named like a key but is not used as one"),
                details: serde_json::json!({"variable": name}),
            });
        }
        if text("auth") == Some("aws-sdk") {
            return Extras {
                list: vec![aws(snapshot)],
                only: true,
                first: false,
            };
        }
        let slot = |value: &SecretText| Some(self.slot(provider, value));
        let mut list: Vec<Extra> = Vec::new();
        for key in &keys.keys {
            list.push(Extra {
                source: key.id.clone(),
                id: key.id.clone(),
                kind: if key.is_token {
                    Kind::Token
                } else {
                    Kind::ApiKey
                },
                slot: slot(&key.value),
            });
        }
        let path = entry.map(|(key, _)| {
            crate::json::Path::new(["models", "providers", key, "apiKey"]).to_string()
        });
        if let Some((path, value)) = path.and_then(|path| {
            let value = snapshot.secret(&path).ok()?.clone();
            Some((path, value))
        }) {
            let id = format!("config:{path}");
            list.push(Extra {
                source: id.clone(),
                id,
                kind: Kind::ApiKey,
                slot: slot(&value),
            });
        }
        let has_key = entry.is_some_and(|(_, value)| value.get("apiKey").is_some());
        let has_model = entry.is_some_and(|(_, value)| {
            value
                .get("models")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty())
        });
        let local = text("baseUrl").is_some_and(is_loopback);
        if list.is_empty() && !has_key && has_model && local && text("api").is_some() {
            let id = format!("none:{provider}");
            list.push(Extra {
                source: id.clone(),
                id,
                kind: Kind::None,
                slot: None,
            });
        }
        if list.is_empty() && provider == "amazon-bedrock" && text("auth").is_none() {
            list.push(aws(snapshot));
        }
        Extras {
            list,
            first: keys.is_live_override && routes.routing.live_override_all,
            only: false,
        }
    }

    fn slot(&self, provider: &str, value: &SecretText) -> Arc<KeySlot> {
        let digest: [u8; 32] = Sha256::digest(value.expose()).into();
        let mut keys = self.keys.lock();
        let entry = keys.entry((provider.to_owned(), digest));
        let slot = entry.or_insert_with(|| {
            Arc::new(KeySlot {
                provider: provider.to_owned(),
                value: value.clone(),
                record: Mutex::default(),
                memory: Memory::default(),
            })
        });
        Arc::clone(slot)
    }

    /// Every key that was lent, and every credential that is out.
    pub(super) fn each_lent_secret(&self, visit: &mut dyn FnMut(&SecretText)) {
        self.keys
            .lock()
            .values()
            .for_each(|slot| visit(&slot.value));
        self.leases.lock().each_secret(visit);
    }

    pub(super) fn opened_agents(&self) -> Vec<Arc<AgentProfiles>> {
        self.agents.lock().values().cloned().collect()
    }

    /// Writes usage that waits for the store; everything, or what has waited long enough. Whether
    /// nothing is left that should have been written.
    pub(super) fn flush(&self, everything: bool) -> bool {
        let routes = self.routes();
        let mut done = true;
        for agent in self.opened_agents() {
            if everything {
                let budget = Duration::from_millis(routes.routing.lock_timeout_ms);
                done &= agent.write_pending(budget, &routes.routing);
            } else {
                agent.write_due(&routes.routing);
            }
        }
        done
    }
}

pub(super) const MAIN: &str = "main";

impl Routes {
    fn new(snapshot: &Arc<Snapshot>) -> Self {
        let (routing, _) = Routing::read(&snapshot.tree);
        Self {
            models: Models::read(&snapshot.tree, &routing.aliases),
            defaults: Defaults::read(&snapshot.tree),
            agents: agent_dirs(&snapshot.places, &snapshot.env, &snapshot.tree),
            routing: Arc::new(routing),
            snapshot: Arc::clone(snapshot),
            opened: RwLock::default(),
            extras: RwLock::default(),
        }
    }

    pub(super) fn normal<'a>(&'a self, provider: &'a str) -> std::borrow::Cow<'a, str> {
        normalise_provider(provider, &self.routing.aliases)
    }
}

impl KeySlot {
    pub(super) fn subject<'a>(&'a self, id: &'a str, routing: &'a Routing) -> Subject<'a> {
        Subject {
            id,
            provider: &self.provider,
            routing,
        }
    }
}

pub(super) fn store_options(routing: &Routing, snapshot: &Snapshot) -> StoreOptions {
    let oauth = snapshot
        .env
        .process("OPENCLAW_OAUTH_DIR")
        .map(str::trim)
        .filter(|d| !d.is_empty());
    let legacy_oauth = oauth.map_or_else(
        || snapshot.places.state.join("credentials"),
        |text| crate::config::expand_home(text, &snapshot.places.home),
    );
    StoreOptions {
        read_only: routing.read_only,
        strict_permissions: routing.strict_permissions,
        allow_beside_sqlite: routing.allow_beside_sqlite,
        legacy_oauth,
    }
}

fn aws(snapshot: &Snapshot) -> Extra {
    let set = |name: &str| snapshot.env.non_blank(name).is_some();
    let label = if set("AWS_BEARER_TOKEN_BEDROCK") {
        "AWS_BEARER_TOKEN_BEDROCK"
    } else if set("AWS_ACCESS_KEY_ID") && set("AWS_SECRET_ACCESS_KEY") {
        "AWS_ACCESS_KEY_ID + AWS_SECRET_ACCESS_KEY"
    } else if set("AWS_PROFILE") {
        "AWS_PROFILE"
    } else {
        "aws-sdk default chain"
    };
    Extra {
        id: "aws-sdk".to_owned(),
        source: label.to_owned(),
        kind: Kind::AwsSdk,
        slot: None,
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let host = host_of(url).unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The host of a URL, without the brackets of an address.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn urls_of_this_machine() {
        for url in [
            "http://127.0.0.1:11434/v1",
            "http://localhost",
            "http://[::1]:8080",
            "http://u@LOCALHOST:1",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://127.0.0.1.example.com",
            "https://example.com/127.0.0.1",
            "localhost",
            "http://10.0.0.1",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
