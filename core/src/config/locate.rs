//! Where home, state, configuration and agents are.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::env::EnvView;
use super::issue::{Issue, Issues};
use crate::error::Code;
use crate::host::Host;
use crate::json::{Path as ConfigPath, lookup};

/// The places that everything else is found from. All lookups use the process environment only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations {
    /// Home directory.
    pub home: PathBuf,
    /// State directory (`~/.openclaw` by default).
    pub state: PathBuf,
    /// Main configuration file.
    pub config: PathBuf,
    /// Whether the configuration file was named by the caller or the environment.
    pub explicit: bool,
}

const STATE_NAMES: [&str; 2] = [".openclaw", ".clawdbot"];
const CONFIG_NAMES: [&str; 2] = ["openclaw.json", "clawdbot.json"];

impl Locations {
    /// Finds the places. `config` and `state` given by the caller win over the environment.
    pub(crate) fn find(
        host: &Host,
        env: &EnvView,
        config: Option<&Path>,
        state: Option<&Path>,
        issues: &mut Issues,
    ) -> Self {
        let home = home(host, env, issues);
        let resolve = |text: &str| host.env.current_dir().join(expand_home(text, &home));
        let exists = |path: &Path| host.files.stat(path).is_ok();

        let named_state = state
            .map(|path| resolve(&path.to_string_lossy()))
            .or_else(|| set(env, "OPENCLAW_STATE_DIR").map(resolve));
        let state_is_named = named_state.is_some();
        let candidates = STATE_NAMES.map(|name| home.join(name));
        let state = named_state.unwrap_or_else(|| {
            candidates
                .iter()
                .find(|path| exists(path))
                .unwrap_or(&candidates[0])
                .clone()
        });

        let named_config = config
            .map(|path| resolve(&path.to_string_lossy()))
            .or_else(|| set(env, "OPENCLAW_CONFIG_PATH").map(resolve));
        let explicit = named_config.is_some();
        let config = named_config.unwrap_or_else(|| {
            let mut folders = vec![state.clone()];
            if !state_is_named {
                folders.extend(candidates.iter().filter(|path| **path != state).cloned());
            }
            let files = folders
                .iter()
                .flat_map(|folder| CONFIG_NAMES.map(|name| folder.join(name)));
            files
                .into_iter()
                .find(|path| exists(path))
                .unwrap_or_else(|| state.join(CONFIG_NAMES[0]))
        });
        let legacy = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name == STATE_NAMES[1] || name == CONFIG_NAMES[1])
        };
        if !explicit && (legacy(&config) || config.parent().is_some_and(legacy)) {
            let message = format!("{} is the place of an older release", config.display());
            issues.push(
                Issue::warning(Code::ConfigLegacyLocation, &ConfigPath::root(), message)
                    .in_file(&config, None)
                    .hint(format!(
                        "move it to {}",
                        home.join(".openclaw/openclaw.json").display()
                    )),
            );
        }
        Self {
            home,
            state,
            config,
            explicit,
        }
    }
}

fn home(host: &Host, env: &EnvView, issues: &mut Issues) -> PathBuf {
    let os_home = ["HOME", "USERPROFILE"]
        .into_iter()
        .find_map(|name| set(env, name))
        .map(PathBuf::from)
        .or_else(|| host.env.account_home());
    let chosen = set(env, "OPENCLAW_HOME").filter(|text| !matches!(*text, "undefined" | "null"));
    let home = match (chosen, os_home) {
        (Some(text), Some(base)) => Some(expand_home(text, &base)),
        (Some(text), None) => Some(PathBuf::from(text)),
        (None, base) => base,
    };
    home.unwrap_or_else(|| {
        let folder = host.env.current_dir();
        issues.push(Issue::warning(
            Code::ConfigHomeFallback,
            &ConfigPath::root(),
            format!("no home directory is known; using {}", folder.display()),
        ));
        folder
    })
}

/// A variable of the process environment, trimmed, when it is not blank.
fn set<'a>(env: &'a EnvView, name: &str) -> Option<&'a str> {
    env.process(name)
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// Replaces a leading `~` (alone or before a separator) by the home directory.
pub(crate) fn expand_home(text: &str, home: &Path) -> PathBuf {
    let text = text.trim();
    match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) => match rest.strip_prefix(['/', '\\']) {
            Some(rest) => home.join(rest),
            None => PathBuf::from(text),
        },
        None => PathBuf::from(text),
    }
}

/// Every agent's id and the folder of its auth-profile store, the main agent first.
pub(crate) fn agent_dirs(
    places: &Locations,
    env: &EnvView,
    tree: &Value,
) -> Vec<(String, PathBuf)> {
    let default = |id: &str| places.state.join("agents").join(id).join("agent");
    let main = ["OPENCLAW_AGENT_DIR", "PI_CODING_AGENT_DIR"]
        .into_iter()
        .find_map(|name| set(env, name))
        .map_or_else(|| default("main"), |text| expand_home(text, &places.home));
    let mut agents = vec![("main".to_owned(), main)];
    let list = lookup(tree, &["agents", "list"]).and_then(Value::as_array);
    for entry in list.into_iter().flatten() {
        let id = normalise_agent_id(entry.get("id").and_then(Value::as_str).unwrap_or_default());
        let folder = match entry.get("agentDir").and_then(Value::as_str) {
            Some(text) if !text.trim().is_empty() => expand_home(text, &places.home),
            _ => default(&id),
        };
        match agents.iter_mut().find(|(known, _)| *known == id) {
            // An entry for the main agent only moves its folder when it says so.
            Some(known) if entry.get("agentDir").is_some() => known.1 = folder,
            Some(_) => {}
            None => agents.push((id, folder)),
        }
    }
    agents
}

/// The folder name of an agent id: lower case, odd characters as dashes, at most 64 long.
pub(crate) fn normalise_agent_id(id: &str) -> String {
    let id = id.trim().to_lowercase();
    let plain = id.len() <= 64
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if plain {
        return id;
    }
    let mut cleaned = String::new();
    for c in id.chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' | '-' => cleaned.push(c),
            _ if !cleaned.ends_with('-') => cleaned.push('-'),
            _ => {}
        }
    }
    let cut: String = cleaned.trim_matches('-').chars().take(64).collect();
    if cut.is_empty() {
        "main".to_owned()
    } else {
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilde_is_replaced_only_where_it_means_home() {
        let home = Path::new("/h");
        for (text, expected) in [
            ("~", "/h"),
            ("~/a", "/h/a"),
            (" ~/a ", "/h/a"),
            ("~user/a", "~user/a"),
            ("/x/~", "/x/~"),
            ("rel", "rel"),
        ] {
            assert_eq!(expand_home(text, home), Path::new(expected), "{text}");
        }
    }

    #[test]
    fn st_2_agent_ids_become_folder_names() {
        for (id, expected) in [
            ("Work", "work"),
            ("", "main"),
            ("  ", "main"),
            ("my agent!", "my-agent"),
            ("--", "main"),
            ("a_b-1", "a_b-1"),
            ("\u{e9}t\u{e9}", "t"),
        ] {
            assert_eq!(normalise_agent_id(id), expected, "{id}");
        }
        assert_eq!(normalise_agent_id(&"x".repeat(80)).len(), 64);
    }
}
