//! `doctor`, `codes`, `completion` and `man`: the real program, real files.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};
use support::{Ended, Home};

const CONFIG: &str = ".openclaw/openclaw.json";
const STORE: &str = ".openclaw/agents/main/agent/auth-profiles.json";
const CLEAN: &str = r#"{gateway: {auth: {mode: "token", token: {source: "env", provider: "default",
    id: "GATEWAY"}}}}"#;

/// An installation that nothing is wrong with.
fn clean() -> Home {
    let mut home = Home::new();
    home.write(CONFIG, CLEAN, 0o600);
    let keys = [
        ("GATEWAY", "gw-CANARY-0123456789-0123456789"),
        ("ANTHROPIC_API_KEY", "sk-CANARY-0123456789"),
    ];
    for (name, value) in keys {
        home.env.insert(name.to_owned(), value.to_owned());
    }
    home
}

fn ids(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| finding["checkId"].as_str().unwrap())
        .collect()
}

fn set_mode(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.path.join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_clean_installation_has_no_finding() {
    let ended = clean().run(&["doctor", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let document = ended.json();
    assert_eq!(document["findings"], json!([]), "{document:#}");
    assert_eq!(document["ok"], true);
    assert!(document["checksRun"].as_u64().unwrap() > 80);
    let text = clean().run(&["doctor"]).stdout;
    assert!(text.ends_with("0 errors, 0 warnings, 0 notes.\n"), "{text}");
}

/// Examples 34 to 39.
#[test]
fn modes_are_found_and_repaired() {
    let home = clean();
    set_mode(&home, ".openclaw", 0o755);
    let before = home.contents();
    let document = home.run(&["doctor", "--json"]).json();
    assert_eq!(ids(&document), ["fs.state_dir.perms_readable"]);
    assert_eq!(document["ok"], true);
    for (line, exit) in [
        (&["doctor"][..], 0),
        (&["doctor", "--lint"], 1),
        (&["doctor", "--lint", "--severity-min", "error"], 0),
        (&["doctor", "--fix", "--dry-run"], 0),
    ] {
        assert_eq!(home.run(line).code, Some(exit), "{line:?}");
    }
    assert_eq!((home.mode(".openclaw"), home.contents()), (0o755, before));
    let ended = home.run(&["doctor", "--fix", "--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("set mode 700 on"), "{ended:?}");
    assert_eq!(home.mode(".openclaw"), 0o700);
    assert_eq!(
        home.run(&["doctor", "--json"]).json()["findings"],
        json!([])
    );

    let ended = home.run(&["doctor", "--only", "fs.state_dir.perms_readabl"]);
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.contains("fs.state_dir.perms_readable"),
        "{ended:?}"
    );

    home.write(CONFIG, "{ gateway: { mode: \"local\", ", 0o600);
    let ended = home.run(&["doctor", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let document = ended.json();
    let finding = &document["findings"][0];
    assert_eq!(finding["checkId"], "config.parse");
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&json!(1), &json!(29))
    );
}

/// One situation per check that files can bring about.
#[test]
fn each_check_finds_what_it_is_for() {
    let soon = |ms: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(now.unwrap().as_millis()).unwrap() + ms
    };
    let hour = 3_600_000;
    let store = |profiles: Value, usage: Value, order: Value| {
        json!({"version": 1, "profiles": profiles, "usageStats": usage, "order": order}).to_string()
    };
    let none = || json!({});
    let key = || {
        json!({"type": "api_key", "provider": "anthropic", "keyRef":
        {"source": "env", "provider": "default", "id": "ANTHROPIC_API_KEY"}})
    };
    let token = |expires: Value| {
        json!({"type": "token", "provider": "anthropic",
        "tokenRef": {"source": "env", "provider": "default", "id": "GATEWAY"}, "expires": expires})
    };
    let login = |refresh: bool, expires: i64| {
        let mut login = json!({"type": "oauth", "provider": "openai-codex", "access": "a-CANARY",
            "accountId": "x", "expires": expires});
        if refresh {
            login["refresh"] = "r-CANARY".into();
        }
        login
    };
    for (id, text) in [
        (
            "profile.expired",
            store(json!({"a:t": token(soon(-hour).into())}), none(), none()),
        ),
        (
            "profile.expiring",
            store(json!({"a:t": token(soon(hour).into())}), none(), none()),
        ),
        (
            "profile.missing_credential",
            store(
                json!({"a:t": {"type": "api_key", "provider": "a"}}),
                none(),
                none(),
            ),
        ),
        (
            "profile.invalid_expires",
            store(json!({"a:t": token(0.into())}), none(), none()),
        ),
        (
            "profile.expires_in_seconds",
            store(json!({"a:t": token(1_900_000_000.into())}), none(), none()),
        ),
        (
            "profile.unresolved_ref",
            store(
                json!({"a:k": {"type": "api_key", "provider": "a",
            "keyRef": {"source": "env", "provider": "default", "id": "NOT_SET"}}}),
                none(),
                none(),
            ),
        ),
        (
            "profile.cooldown",
            store(
                json!({"a:k": key()}),
                json!({"a:k": {"cooldownUntil": soon(hour), "cooldownReason": "rate_limit"}}),
                none(),
            ),
        ),
        (
            "profile.disabled",
            store(
                json!({"a:k": key()}),
                json!({"a:k": {"disabledUntil": soon(hour), "disabledReason": "billing"}}),
                none(),
            ),
        ),
        (
            "store.usage_orphan",
            store(
                json!({"a:k": key()}),
                json!({"gone": {"lastUsed": 1}}),
                none(),
            ),
        ),
        (
            "store.usage_implausible",
            store(
                json!({"a:k": key()}),
                json!({"a:k": {"cooldownUntil": soon(9_000 * hour)}}),
                none(),
            ),
        ),
        (
            "store.order_unknown_profile",
            store(json!({"a:k": key()}), none(), json!({"a": ["gone", "a:k"]})),
        ),
        (
            "store.rejected_entries",
            store(json!({"a:k": key(), "b": {"type": "odd"}}), none(), none()),
        ),
        (
            "store.mode_type_alias",
            store(
                json!({"a:k": {"mode": "api_key", "provider": "a",
            "keyRef": {"source": "env", "provider": "default", "id": "GATEWAY"}}}),
                none(),
                none(),
            ),
        ),
        (
            "store.version_newer",
            json!({"version": 9, "profiles": {}}).to_string(),
        ),
        ("store.corrupt", "{".to_owned()),
        (
            "secrets.plaintext",
            store(
                json!({"a:k": {"type": "api_key", "provider": "a", "key": "sk-CANARY-0123456789"}}),
                none(),
                none(),
            ),
        ),
        (
            "auth.oauth.no_refresh",
            store(
                json!({"openai-codex:a": login(false, soon(99 * hour))}),
                none(),
                none(),
            ),
        ),
        (
            "auth.oauth.due",
            store(
                json!({"openai-codex:a": login(true, soon(-hour))}),
                none(),
                none(),
            ),
        ),
        (
            "auth.oauth.refresh_failed",
            store(
                json!({"openai-codex:a": login(true, soon(-hour))}),
                json!({"openai-codex:a": {"disabledUntil": soon(hour), "disabledReason": "auth_permanent"}}),
                none(),
            ),
        ),
        (
            "auth.oauth.deprecated_id",
            store(
                json!({"openai-codex:codex-cli": login(true, soon(hour))}),
                none(),
                none(),
            ),
        ),
        (
            "auth.oauth.unknown_provider",
            store(
                json!({"odd:a": {"type": "oauth", "provider": "odd",
            "access": "a-CANARY", "refresh": "r-CANARY", "expires": soon(hour)}}),
                none(),
                none(),
            ),
        ),
    ] {
        let home = clean();
        home.write(STORE, &text, 0o600);
        let ended = home.run(&["doctor", "--json"]);
        assert_eq!(ended.code, Some(0), "{id}: {ended:?}");
        let document = ended.json();
        assert!(ids(&document).contains(&id), "{id} is not in {document:#}");
        let shown = home.run(&["doctor"]).stdout;
        assert!(shown.contains(&format!("[{id}]")), "{id}: {shown}");
        for line in shown.lines() {
            let words = line.split_whitespace().count();
            assert!(line.chars().count() <= 80 || words <= 2, "{id}: {line}");
        }
    }
    for (id, name, value) in [
        (
            "env.live_override",
            "OPENCLAW_LIVE_OPENAI_KEY",
            "sk-CANARY-1",
        ),
        ("provider.key_whitespace", "OPENAI_API_KEY", "sk-CANARY 1"),
        ("provider.key_placeholder", "OPENAI_API_KEY", "your-api-key"),
        (
            "provider.duplicate_keys",
            "OPENAI_API_KEY",
            "sk-CANARY-0123456789",
        ),
        (
            "gateway.env_override",
            "OPENCLAW_GATEWAY_TOKEN",
            "gw-CANARY-0123456789-0123456789",
        ),
        (
            "config.env_override",
            "OPENCLAW_CONFIG_PATH",
            "~/.openclaw/openclaw.json",
        ),
    ] {
        let mut home = clean();
        home.env.insert(name.to_owned(), value.to_owned());
        let document = home.run(&["doctor", "--json"]).json();
        assert!(ids(&document).contains(&id), "{id} is not in {document:#}");
    }
    for (id, config) in [
        (
            "config.duplicate_default_agent",
            r#"{agents: {list: [{id: "a", default: true}, {id: "b", default: true}]}}"#,
        ),
        (
            "config.alias_conflict",
            r#"{agents: {defaults: {models: {"a/b": {alias: "X"}, "c/d": {alias: "x"}}}}}"#,
        ),
        (
            "config.model_unknown_provider",
            r#"{agents: {defaults: {model: "nobody/x"}}}"#,
        ),
        (
            "store.config_profile_missing",
            r#"{auth: {profiles: {"a:b": {provider: "a", mode: "api_key"}}}}"#,
        ),
        (
            "secrets.provider_missing",
            r#"{models: {providers: {a: {apiKey: {source: "file", provider: "none", id: "/a"}}}}}"#,
        ),
        (
            "secrets.unresolved",
            r#"{models: {providers: {a: {apiKey: "${NOT_SET}"}}}}"#,
        ),
        ("gateway.auth_missing", "{}"),
        (
            "gateway.trusted_proxy_no_allowlist",
            r#"{gateway: {trustedProxies: ["10.0.0.1"], auth: {mode: "trusted-proxy", trustedProxy: {userHeader: "x-u"}}}}"#,
        ),
    ] {
        let home = clean();
        home.write(CONFIG, config, 0o600);
        let document = home.run(&["doctor", "--json"]).json();
        assert!(ids(&document).contains(&id), "{id} is not in {document:#}");
    }
}

#[test]
fn repairs_of_a_store_are_one_write_and_lose_nothing() {
    let home = clean();
    let key = |name: &str| json!({"source": "env", "provider": "default", "id": name});
    let text = json!({
        "version": 1,
        "profiles": {
            "a:k": {"mode": "api_key", "provider": "a", "keyRef": key("GATEWAY"), "note": "kept"},
            "a:t": {"type": "token", "provider": "a", "tokenRef": key("GATEWAY"), "expires": 1_900_000_000},
        },
        "order": {"a": ["gone", "a:k"]},
        "usageStats": {"gone": {"lastUsed": 1}, "a:k": {"lastUsed": 2}},
        "other": true,
    });
    home.write(STORE, &text.to_string(), 0o640);
    // Without consent only what needs none.
    let ended = home.run(&["doctor", "--fix"]);
    assert!(ended.stderr.contains("store.mode_type_alias"), "{ended:?}");
    let stored: Value = serde_json::from_str(&home.text(STORE)).unwrap();
    assert_eq!(stored["usageStats"], json!({"a:k": {"lastUsed": 2}}));
    assert_eq!(stored["profiles"], text["profiles"]);
    assert_eq!(home.mode(STORE), 0o600);
    let document = home.run(&["doctor", "--fix", "--yes", "--json"]).json();
    let fixes = document["fixes"].as_array().unwrap();
    assert!(
        fixes.iter().all(|fix| fix["status"] == "repaired"),
        "{fixes:?}"
    );
    let stored: Value = serde_json::from_str(&home.text(STORE)).unwrap();
    assert_eq!(
        stored["profiles"]["a:k"],
        json!({"provider": "a", "keyRef": key("GATEWAY"),
        "note": "kept", "type": "api_key"})
    );
    assert_eq!(stored["profiles"]["a:t"]["expires"], 1_900_000_000_000_u64);
    assert_eq!(
        (&stored["order"], &stored["other"]),
        (&json!({"a": ["a:k"]}), &json!(true))
    );
}

#[test]
fn repairs_of_the_configuration_keep_a_copy_and_the_comments() {
    let home = clean();
    let before = format!(
        "{{\n  // mine\n  auth: {{ profiles: {{ \"a:b\": {{ provider: \"a\", mode: \"api_key\" }} }} }},\n{}",
        CLEAN.trim_start_matches('{')
    );
    home.write(CONFIG, &before, 0o600);
    let ended = home.run(&["doctor", "--fix", "--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let after = home.text(CONFIG);
    assert!(
        after.contains("// mine") && !after.contains("a:b"),
        "{after}"
    );
    assert_eq!(home.text(".openclaw/openclaw.json.bak"), before);
    assert_eq!(home.mode(".openclaw/openclaw.json.bak"), 0o600);
}

#[test]
fn every_code_is_listed_and_explained() {
    let home = Home::new();
    let document = home.run(&["codes", "--json"]).json();
    let codes = document["codes"].as_array().unwrap();
    let page = include_str!("../../docs/errors.md");
    for code in codes {
        let name = code["code"].as_str().unwrap();
        assert!(page.contains(&format!("`{name}`")), "{name}");
        assert!(code["meaning"].as_str().unwrap().ends_with('.'), "{name}");
    }
    assert!(codes.len() > 200);
    let one = home.run(&["codes", "secret_unresolved"]);
    assert!(
        one.stdout.starts_with("secret\n  secret_unresolved"),
        "{one:?}"
    );
    let none = home.run(&["codes", "secret_unresolvd"]);
    assert_eq!(none.code, Some(64));
    assert!(
        none.stderr.contains("did you mean 'secret_unresolved'"),
        "{none:?}"
    );
}

#[test]
fn scripts_of_shells_can_be_loaded_and_installed_once() {
    let home = Home::new();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")] {
        let script = home.run(&["completion", "--shell", shell]).stdout;
        assert!(
            script.contains("status") && script.contains("warn-within"),
            "{shell}"
        );
        home.write("script", &script, 0o600);
        // A shell that is not there cannot read it.
        let Ok(output) = Command::new(shell)
            .arg(check)
            .arg(home.path.join("script"))
            .output()
        else {
            continue;
        };
        assert_eq!(Ended::of(&output).stderr, "", "{shell}");
    }
    home.write(".bashrc", "alias a=b\n", 0o600);
    for _ in 0..2 {
        let ended = home.run(&["completion", "-s", "bash", "-i", "-y"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let start_up = home.text(".bashrc");
    assert!(
        start_up.starts_with("alias a=b\n\n# openclaw-auth completion\n"),
        "{start_up}"
    );
    assert_eq!(start_up.matches("openclaw-auth completion").count(), 1);
    let loaded = Command::new("bash")
        .args(["-c", ". ~/.bashrc && complete -p openclaw-auth"])
        .env("HOME", &home.path)
        .output()
        .unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
    let ended = home.run(&["completion", "--write-state"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(
        home.path
            .join(".openclaw/completions/openclaw-auth.fish")
            .exists()
    );
}

#[test]
fn values_for_completion_are_plain_and_errors_are_silent() {
    let home = clean();
    home.write(
        STORE,
        &json!({"version": 1, "profiles": {"anthropic:work":
        {"type": "api_key", "provider": "anthropic", "key": "sk-CANARY-0123456789"}}})
        .to_string(),
        0o600,
    );
    for (line, expected) in [
        (&["__complete", "profiles"][..], "anthropic:work\n"),
        (&["__complete", "profiles", "open"], ""),
        (&["__complete", "agents"], "main\n"),
        (&["__complete", "checks", "clock.i"], "clock.implausible\n"),
    ] {
        assert_eq!(home.run(line).stdout, expected, "{line:?}");
    }
    home.write(CONFIG, "{", 0o600);
    let ended = home.run(&["__complete", "profiles"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "", "")
    );
}

#[test]
fn manual_pages_are_made_from_the_same_table() {
    let home = Home::new();
    let page = home.run(&["man", "models", "status"]).stdout;
    assert!(
        page.contains(".TH") && page.contains("warn\\-within"),
        "{page}"
    );
    assert_eq!(home.run(&["man", "bogus"]).code, Some(64));
}
