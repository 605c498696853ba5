//! `openclaw-auth.json5`: the settings that OpenClaw's own schema would refuse.

use serde_json::{Map, Value};

use super::issue::{Issue, Issues, Severity};
use crate::error::Code;
use crate::json::{Path, lookup, type_name, unknown_key};

/// Name of the file in the state directory.
pub(super) const FILE_NAME: &str = "openclaw-auth.json5";

/// Sections of the file. A section without rows belongs to a part that has no settings yet.
const SECTIONS: [&str; 5] = ["secrets", "routing", "oauth", "access", "gateway"];

/// Where each setting of the file goes in the tree of `openclaw.json`.
const ROWS: &[(&str, &str)] = &[
    ("secrets.retry", "secrets.retry"),
    ("access.adminUsers", "gateway.auth.adminUsers"),
    ("access.allowedHosts", "gateway.allowedHosts"),
    ("access.clientIpHeader", "gateway.clientIpHeader"),
    ("access.rateLimit.enabled", "gateway.auth.rateLimit.enabled"),
    (
        "access.rateLimit.globalMaxAttempts",
        "gateway.auth.rateLimit.globalMaxAttempts",
    ),
    (
        "access.rateLimit.maxEntries",
        "gateway.auth.rateLimit.maxEntries",
    ),
    (
        "access.trustedProxy.allowLoopback",
        "gateway.auth.trustedProxy.allowLoopback",
    ),
    (
        "access.trustedProxy.allowUsersMatch",
        "gateway.auth.trustedProxy.allowUsersMatch",
    ),
    (
        "access.trustedProxy.localPasswordFallback",
        "gateway.auth.trustedProxy.localPasswordFallback",
    ),
    (
        "access.trustedProxy.proxySecret",
        "gateway.auth.trustedProxy.proxySecret",
    ),
    (
        "access.trustedProxy.requireClientIp",
        "gateway.auth.trustedProxy.requireClientIp",
    ),
    (
        "gateway.http.hideAuthReasons",
        "gateway.http.hideAuthReasons",
    ),
    ("gateway.http.maxBodyBytes", "gateway.http.maxBodyBytes"),
    ("gateway.http.maxReplayBytes", "gateway.http.maxReplayBytes"),
    (
        "gateway.http.proxy.allowRequestHeaders",
        "gateway.http.proxy.allowRequestHeaders",
    ),
    ("gateway.metrics.bind", "gateway.metrics.bind"),
    ("gateway.shutdownGraceMs", "gateway.shutdownGraceMs"),
    ("gateway.tls.clientAuth", "gateway.tls.clientAuth"),
    ("gateway.tls.minVersion", "gateway.tls.minVersion"),
    ("routing.advance_on_format", "routing.advance_on_format"),
    ("routing.allow_beside_sqlite", "routing.allow_beside_sqlite"),
    ("routing.cooldown_exempt", "routing.cooldown_exempt"),
    ("routing.cooldown_jitter", "routing.cooldown_jitter"),
    ("routing.cooldown_ladder_ms", "routing.cooldown_ladder_ms"),
    ("routing.env_candidates", "routing.env_candidates"),
    ("routing.env_table", "routing.env_table"),
    ("routing.env_when_corrupt", "routing.env_when_corrupt"),
    ("routing.extra_codes", "routing.extra_codes"),
    ("routing.hint_max_ms", "routing.hint_max_ms"),
    ("routing.import_legacy", "routing.import_legacy"),
    ("routing.inherit", "routing.inherit"),
    ("routing.lease_ttl_ms", "routing.lease_ttl_ms"),
    ("routing.live_override", "routing.live_override"),
    ("routing.lock_timeout_ms", "routing.lock_timeout_ms"),
    ("routing.max_attempts", "routing.max_attempts"),
    ("routing.min_valid_ms", "routing.min_valid_ms"),
    ("routing.pin_capacity", "routing.pin_capacity"),
    ("routing.prepaid_providers", "routing.prepaid_providers"),
    ("routing.proactive_demotion", "routing.proactive_demotion"),
    ("routing.probe", "routing.probe"),
    ("routing.probe_gap_ms", "routing.probe_gap_ms"),
    ("routing.provider_aliases", "routing.provider_aliases"),
    ("routing.read_only", "routing.read_only"),
    ("routing.refresh_wait_ms", "routing.refresh_wait_ms"),
    ("routing.rotate_env_on", "routing.rotate_env_on"),
    (
        "routing.rotate_on_compaction",
        "routing.rotate_on_compaction",
    ),
    ("routing.strict_permissions", "routing.strict_permissions"),
    ("routing.usage_flush_ms", "routing.usage_flush_ms"),
];

/// Moves the settings of the file into the tree, over what is there.
pub(super) fn apply(tree: &mut Value, extension: Value, issues: &mut Issues) {
    let Value::Object(sections) = extension else {
        return;
    };
    for (name, section) in sections {
        let path = Path::new([name.as_str()]);
        if SECTIONS.contains(&name.as_str()) {
            walk(tree, section, &path, issues);
        } else {
            let mismatch = unknown_key(&Path::root(), &name, &SECTIONS);
            issues.push(Issue::mismatch(Severity::Error, mismatch));
        }
    }
}

fn walk(tree: &mut Value, value: Value, path: &Path, issues: &mut Issues) {
    let text = path.to_string();
    if let Some((_, target)) = ROWS.iter().find(|(from, _)| *from == text) {
        insert(tree, target, value);
        return;
    }
    let prefix = format!("{text}.");
    let below: Vec<&str> = ROWS
        .iter()
        .filter_map(|(from, _)| from.strip_prefix(&prefix)?.split('.').next())
        .collect();
    if below.is_empty() && path.segments().len() > 1 {
        let (parent, key) = split(path);
        let prefix = format!("{parent}.");
        let known: Vec<&str> = ROWS
            .iter()
            .filter_map(|(from, _)| from.strip_prefix(&prefix)?.split('.').next())
            .collect();
        issues.push(Issue::mismatch(
            Severity::Error,
            unknown_key(&parent, key, &known),
        ));
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                walk(tree, value, &path.child(key), issues);
            }
        }
        other => {
            let message = format!("must be an object, not {}", type_name(&other));
            issues.push(Issue::error(Code::ConfigInvalidValue, path, message));
        }
    }
}

fn split(path: &Path) -> (Path, &str) {
    match path.segments().split_last() {
        Some((key, parent)) => (Path::new(parent.iter().map(String::as_str)), key),
        None => (Path::root(), ""),
    }
}

/// Puts a value at a dotted path, making objects on the way.
fn insert(tree: &mut Value, dotted: &str, value: Value) {
    let mut slot = tree;
    for key in dotted.split('.') {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        let Value::Object(map) = slot else { return };
        slot = map.entry(key).or_insert(Value::Null);
    }
    *slot = value;
}

/// Reports, once, settings of ours that stand in `openclaw.json` itself.
pub(super) fn report_unportable(tree: &Value, issues: &mut Issues) {
    let found: Vec<&str> = ROWS
        .iter()
        .map(|(_, target)| *target)
        .filter(|target| lookup(tree, &target.split('.').collect::<Vec<_>>()).is_some())
        .collect();
    if let Some(first) = found.first() {
        let path = Path::new(first.split('.'));
        let message = format!("only this library understands {}", found.join(", "));
        let mut issue = Issue::warning(Code::ConfigNotPortable, &path, message).hint(format!(
            "move it to {FILE_NAME} if OpenClaw must read the same file"
        ));
        issue.severity = Severity::Info;
        issues.push(issue);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_move_to_their_places_and_typos_are_errors() {
        let mut tree = json!({"gateway": {"port": 1, "auth": {"mode": "none"}}});
        let mut issues = Issues::new();
        let extension = json!({
            "access": {"allowedHosts": ["a"], "trustedProxy": {"proxySecret": {"value": "x"}, "requireClientIP": true}},
            "gateway": {"shutdownGraceMs": 5, "http": 3},
            "acces": {},
            "routing": {},
        });
        apply(&mut tree, extension, &mut issues);
        let expected = json!({"gateway": {
            "port": 1,
            "auth": {"mode": "none", "trustedProxy": {"proxySecret": {"value": "x"}}},
            "allowedHosts": ["a"],
            "shutdownGraceMs": 5,
        }});
        assert_eq!(tree, expected);
        let shown: Vec<String> = issues
            .iter()
            .map(|i| format!("{} {} {}", i.path, i.code, i.hint.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            shown,
            [
                "access.trustedProxy.requireClientIP config_unknown_key did you mean \"requireClientIp\"?",
                "gateway.http config_invalid_value -",
                "acces config_unknown_key did you mean \"access\"?",
            ]
        );
    }
}
