//! Settings of signing in and refreshing: the section `oauth` of `openclaw-auth.json5`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json::{Fields, Mismatch, Path, lookup};

/// Programs whose login can be linked.
const PROGRAMS: [&str; 3] = ["claude-cli", "codex-cli", "minimax-cli"];

/// All settings. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OauthSettings {
    pub(crate) refresh_margin_ms: u64,
    pub(crate) callback_timeout_ms: u64,
    pub(crate) lock_store_during_refresh: bool,
    pub(crate) refresh_budget_ms: u64,
    /// Whether a refresh token that another program holds too may be spent.
    pub(crate) allow_shared_refresh: bool,
    /// Programs whose login may be linked.
    pub(crate) links: BTreeSet<String>,
}

impl Default for OauthSettings {
    fn default() -> Self {
        Self {
            refresh_margin_ms: 300_000,
            callback_timeout_ms: 300_000,
            lock_store_during_refresh: true,
            refresh_budget_ms: 40_000,
            allow_shared_refresh: false,
            links: BTreeSet::new(),
        }
    }
}

impl OauthSettings {
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
        ms(
            "refreshMarginMs",
            0..=3_600_000,
            &mut settings.refresh_margin_ms,
        );
        ms(
            "callbackTimeoutMs",
            30_000..=1_800_000,
            &mut settings.callback_timeout_ms,
        );
        ms(
            "refreshBudgetMs",
            5_000..=60_000,
            &mut settings.refresh_budget_ms,
        );
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
                Some("link") if PROGRAMS.contains(&id.as_str()) => {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_have_ranges_and_names() {
        let (settings, problems) = OauthSettings::read(&json!({"oauth": {
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
            let (_, problems) = OauthSettings::read(&json!({ "oauth": odd.clone() }));
            assert_eq!(problems.len(), 1, "{odd}");
        }
    }
}
