//! `models status` as scripts and people use it: the real program, real files.
#![cfg(unix)]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{Ended, Home};

const HOUR: i64 = 3_600_000;
const CONFIG: &str = ".openclaw/openclaw.json";
const STORE: &str = ".openclaw/agents/main/agent/auth-profiles.json";

/// A situation of the table of edge cases.
#[derive(Default)]
struct Case {
    name: &'static str,
    config: Value,
    profiles: Value,
    usage: Value,
    env: &'static [(&'static str, &'static str)],
    exit: i32,
    /// What the reasons must name.
    reason: &'static str,
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn home(case: &Case) -> Home {
    let mut home = Home::new();
    if !case.config.is_null() {
        home.write(CONFIG, &case.config.to_string(), 0o600);
    }
    if !case.profiles.is_null() {
        let store = json!({"version": 1, "profiles": case.profiles, "usageStats": case.usage});
        home.write(STORE, &store.to_string(), 0o600);
    }
    for (name, value) in case.env {
        home.env.insert((*name).to_owned(), (*value).to_owned());
    }
    home
}

fn model(primary: &str) -> Value {
    json!({"agents": {"defaults": {"model": primary}}})
}

fn token(expires: Value) -> Value {
    let mut token =
        json!({"type": "token", "provider": "anthropic", "token": "tok-CANARY-123456789"});
    if !expires.is_null() {
        token["expires"] = expires;
    }
    token
}

fn key() -> Value {
    json!({"type": "api_key", "provider": "anthropic", "key": "sk-CANARY-0123456789"})
}

fn login(refresh: bool, expires: Value) -> Value {
    let mut login =
        json!({"type": "oauth", "provider": "openai-codex", "access": "acc-CANARY-12345"});
    if refresh {
        login["refresh"] = "ref-CANARY-12345".into();
    }
    if !expires.is_null() {
        login["expires"] = expires;
    }
    login
}

/// The table of edge cases, K1 to K26 without the last three.
fn cases() -> Vec<Case> {
    let now = now();
    let codex = || model("openai-codex/gpt-5.4");
    let case = |name, exit, reason| Case {
        name,
        exit,
        reason,
        usage: json!({}),
        ..Case::default()
    };
    vec![
        case("K1", 1, "anthropic has no credential"),
        Case {
            profiles: json!({"anthropic:default": key()}),
            ..case("K2", 0, "")
        },
        Case {
            profiles: json!({}),
            env: &[("ANTHROPIC_API_KEY", "sk-CANARY-0123456789")],
            ..case("K3", 0, "")
        },
        Case {
            profiles: json!({}),
            env: &[("ANTHROPIC_OAUTH_TOKEN", "sk-CANARY-0123456789")],
            ..case("K4", 0, "")
        },
        Case {
            profiles: json!({"anthropic:a": token(Value::Null)}),
            ..case("K5", 0, "")
        },
        Case {
            profiles: json!({"anthropic:a": token((now + 3 * HOUR).into())}),
            ..case("K6", 2, "expires in 3h")
        },
        Case {
            profiles: json!({"anthropic:a": token((now - 3 * HOUR).into())}),
            ..case("K7", 1, "expired 3h ago")
        },
        Case {
            profiles: json!({"anthropic:a": token(0.into())}),
            ..case("K8", 1, "invalid_expires")
        },
        Case {
            config: codex(),
            profiles: json!({"openai-codex:a": login(true, (now - HOUR).into())}),
            ..case("K9", 0, "")
        },
        Case {
            config: codex(),
            profiles: json!({"openai-codex:a": login(true, (now - HOUR).into())}),
            usage: json!({"openai-codex:a": {"disabledUntil": now + 2 * HOUR, "disabledReason": "auth_permanent"}}),
            ..case("K10", 1, "refresh_failed")
        },
        Case {
            config: codex(),
            profiles: json!({"openai-codex:a": login(false, (now - HOUR).into())}),
            ..case("K11", 1, "expired 1h ago")
        },
        Case {
            config: codex(),
            profiles: json!({"openai-codex:a": login(true, Value::Null)}),
            ..case("K12", 0, "")
        },
        Case {
            config: codex(),
            profiles: json!({"openai-codex:a": login(false, (now + 2 * HOUR).into())}),
            ..case("K13", 2, "expires in 2h")
        },
        Case {
            config: json!({"agents": {"defaults": {"model": {"primary": "anthropic/x", "fallbacks": ["openai/y"]}}}}),
            profiles: json!({"anthropic:a": token((now + 240 * HOUR).into())}),
            ..case("K14", 1, "openai has no credential")
        },
        Case {
            config: json!({"agents": {"defaults": {"model": "anthropic/x", "models": {"openai/y": {}}}}}),
            profiles: json!({"anthropic:a": token((now + 240 * HOUR).into())}),
            ..case("K15", 0, "")
        },
        Case {
            profiles: json!({"anthropic:k": key(), "anthropic:t": token((now - HOUR).into())}),
            ..case("K16", 1, "anthropic:t expired")
        },
        Case {
            config: json!({"auth": {"order": {"anthropic": ["anthropic:k"]}}}),
            profiles: json!({"anthropic:k": key(), "anthropic:t": token((now - HOUR).into())}),
            ..case("K17", 0, "")
        },
        Case {
            profiles: json!({"anthropic:k": key()}),
            usage: json!({"anthropic:k": {"disabledUntil": now + 3 * HOUR, "disabledReason": "billing"}}),
            ..case("K18", 0, "")
        },
        Case {
            profiles: json!({"anthropic:k": {"type": "api_key", "provider": "anthropic",
                "keyRef": {"source": "env", "provider": "default", "id": "NOT_SET"}}}),
            ..case("K19", 1, "unresolved_ref")
        },
        Case {
            config: json!({"secrets": {"providers": {"vault": {"source": "exec", "command": "/bin/echo", "jsonOnly": false}}}}),
            profiles: json!({"anthropic:k": {"type": "api_key", "provider": "anthropic",
                "keyRef": {"source": "exec", "provider": "vault", "id": "key"}}}),
            ..case("K20", 0, "")
        },
        Case {
            config: model("claude-cli/opus"),
            profiles: json!({}),
            ..case("K21", 0, "")
        },
        // Exactly 24 hours are left when the program looks, or a moment less.
        Case {
            profiles: json!({"anthropic:a": token((now + 24 * HOUR).into())}),
            ..case("K22", 2, "expires in 24h")
        },
        Case {
            profiles: json!({"anthropic:a": token((now + HOUR).into()), "anthropic:b": token((now - HOUR).into())}),
            ..case("K23", 1, "anthropic:b expired")
        },
    ]
}

#[test]
fn the_table_of_edge_cases() {
    for case in cases() {
        let home = home(&case);
        let before = home.contents();
        for mode in [&[][..], &["--json"], &["--plain"]] {
            let line = [&["models", "status", "--check"], mode].concat();
            let ended = home.run(&line);
            assert_eq!(
                ended.code,
                Some(case.exit),
                "{} {mode:?}: {ended:?}",
                case.name
            );
            assert!(
                ended.stderr.contains(case.reason),
                "{}: {ended:?}",
                case.name
            );
        }
        let document = home.run(&["models", "status", "--json"]).json();
        assert_eq!(document["check"]["exitCode"], case.exit, "{}", case.name);
        let reasons = document["check"]["reasons"].as_array().unwrap();
        assert_eq!(
            reasons.is_empty(),
            case.exit == 0,
            "{}: {reasons:?}",
            case.name
        );
        assert_eq!(
            home.contents(),
            before,
            "{}: something was written",
            case.name
        );
    }
}

#[test]
fn what_cannot_be_determined_ends_with_1() {
    let corrupt = Home::new();
    corrupt.write(STORE, "{", 0o600);
    let invalid = Home::new();
    invalid.write(CONFIG, "{ gateway: { mode: \"local\", ", 0o600);
    let words = ["models", "status", "--check"];
    for (name, home, line, code, text) in [
        (
            "K24",
            &invalid,
            &words[..],
            1,
            "line 1, column 29: unexpected end of input",
        ),
        ("K25", &corrupt, &words, 1, "store_corrupt"),
        (
            "K26",
            &corrupt,
            &["models", "status", "--chek"],
            64,
            "did you mean '--check'?",
        ),
        (
            "31",
            &Home::new(),
            &["models", "status", "--agent", "nope"],
            1,
            "Unknown agent id \"nope\". Known agents: main.",
        ),
    ] {
        let ended = home.run(line);
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.stderr.contains(text), "{name}: {ended:?}");
        assert_eq!(ended.stdout, "", "{name}");
    }
}

#[test]
fn excluded_profiles_are_ignored_and_named() {
    let case = cases().into_iter().find(|case| case.name == "K17").unwrap();
    let document = home(&case).run(&["models", "status", "--json"]).json();
    assert_eq!(document["check"]["ignored"][0]["profileId"], "anthropic:t");
    let rows = document["auth"]["oauth"]["profiles"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["profileId"] == "anthropic:t")
        .unwrap();
    assert_eq!(
        (&row["excluded"], &row["status"]),
        (&json!(true), &json!("expired"))
    );
    assert!(row["remainingMs"].as_i64().unwrap() < 0);
    assert_eq!(document["hints"][0]["id"], "order_excludes");
}

#[test]
fn exec_references_run_only_when_asked() {
    let mut home = Home::new();
    let marker = home.path.join("ran");
    let script = format!(
        "#!/bin/sh\ntouch {}\necho sk-CANARY-exec\n",
        marker.display()
    );
    home.write("vault", &script, 0o700);
    let config = json!({"secrets": {"providers": {"vault": {
        "source": "exec", "command": home.path.join("vault"), "jsonOnly": false}}}});
    home.write(CONFIG, &config.to_string(), 0o600);
    let store = json!({"version": 1, "profiles": {"anthropic:k": {"type": "api_key",
        "provider": "anthropic", "keyRef": {"source": "exec", "provider": "vault", "id": "key"}}}});
    home.write(STORE, &store.to_string(), 0o600);
    home.env
        .insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let ended = home.run(&["models", "status", "--check", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let document = ended.json();
    let told = document["diagnostics"].as_array().unwrap();
    assert!(
        told.iter().any(|row| row["code"] == "SECRETS_EXEC_NOT_RUN"),
        "{told:?}"
    );
    assert!(!marker.exists());
    let ended = home.run(&["models", "status", "--check", "--allow-exec"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(marker.exists());
}

/// The document that scripts of OpenClaw read.
#[test]
fn the_document_has_the_members_of_openclaw() {
    let case = cases().into_iter().find(|case| case.name == "K6").unwrap();
    let document = home(&case).run(&["models", "status", "--json"]).json();
    for (pointer, kind) in [
        ("/configPath", "string"),
        ("/agentDir", "string"),
        ("/defaultModel", "string"),
        ("/resolvedDefault", "string"),
        ("/fallbacks", "array"),
        ("/imageModel", "null"),
        ("/imageFallbacks", "array"),
        ("/aliases", "object"),
        ("/allowed", "array"),
        ("/auth/storePath", "string"),
        ("/auth/shellEnvFallback/enabled", "bool"),
        ("/auth/shellEnvFallback/appliedKeys", "array"),
        ("/auth/providersWithOAuth/0", "string"),
        ("/auth/missingProvidersInUse", "array"),
        ("/auth/providers/0/provider", "string"),
        ("/auth/providers/0/effective/kind", "string"),
        ("/auth/providers/0/effective/detail", "string"),
        ("/auth/providers/0/profiles/count", "number"),
        ("/auth/providers/0/profiles/apiKey", "number"),
        ("/auth/providers/0/profiles/labels/0", "string"),
        ("/auth/unusableProfiles", "array"),
        ("/auth/oauth/warnAfterMs", "number"),
        ("/auth/oauth/profiles/0/profileId", "string"),
        ("/auth/oauth/profiles/0/provider", "string"),
        ("/auth/oauth/profiles/0/type", "string"),
        ("/auth/oauth/profiles/0/status", "string"),
        ("/auth/oauth/profiles/0/expiresAt", "number"),
        ("/auth/oauth/profiles/0/remainingMs", "number"),
        ("/auth/oauth/profiles/0/source", "string"),
        ("/auth/oauth/profiles/0/label", "string"),
        ("/auth/oauth/providers/0/provider", "string"),
        ("/auth/oauth/providers/0/profiles", "array"),
    ] {
        let value = document.pointer(pointer);
        let found = value.map(|value| match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        });
        assert_eq!(found, Some(kind), "{pointer} in {document:#}");
    }
    assert_eq!(document["schemaVersion"], 1);
    assert_eq!(document["resolvedDefault"], "anthropic/claude-opus-4-6");
    let labels = &document["auth"]["providers"][0]["profiles"]["labels"];
    assert_eq!(labels[0], "anthropic:a=token:to...89");
}

#[test]
fn ways_to_call_it() {
    let home = Home::new();
    home.write(
        CONFIG,
        r#"{agents: {list: [{id: "main"}, {id: "work"}]}}"#,
        0o600,
    );
    let plain = home.run(&["models", "status", "--plain"]);
    assert_eq!(plain.stdout, "anthropic/claude-opus-4-6\n");
    assert_eq!(home.run(&["models", "--status-plain"]).stdout, plain.stdout);
    let full = home.run(&["models", "status"]);
    assert_eq!(home.run(&["models"]).stdout, full.stdout);
    assert_eq!(
        home.run(&["models", "--status-json"]).json()["agentId"],
        "main"
    );
    // Examples 12, 13 and 29.
    let work = home.run(&["models", "--agent", "work", "status", "--json"]);
    assert_eq!(work.json()["agentId"], "work");
    assert!(work.json()["modelConfig"].is_object());
    assert!(!home.path.join(".openclaw/agents").exists());
    for line in [
        &["models", "status", "--json", "--plain"][..],
        &["models", "status", "--warn-within", "soon"],
        &["models", "status", "--token", "sk-CANARY"],
        &["models", "statuss"],
        &["modelz", "status"],
    ] {
        let ended = home.run(line);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(64), ""),
            "{line:?}"
        );
    }
    let unknown = home.run(&["models", "status", "--provider", "antropic"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("did you mean 'anthropic'?"),
        "{unknown:?}"
    );
}

#[test]
fn windows_and_warnings_can_be_narrowed() {
    let now = now();
    let case = Case {
        profiles: json!({
            "anthropic:a": token((now + 3 * HOUR).into()),
            "openai:b": {"type": "token", "provider": "openai", "token": "t-CANARY-1",
                "expires": now - HOUR},
        }),
        usage: json!({}),
        ..Case::default()
    };
    let home = home(&case);
    for (line, exit) in [
        (&["--check"][..], 1),
        (&["--check", "--provider", "anthropic"], 2),
        (
            &["--check", "--provider=anthropic", "--warn-within", "2h"],
            0,
        ),
        (
            &["--check", "--provider", "anthropic", "--warn-within", "2"],
            0,
        ),
        (
            &["--check", "--provider", "anthropic", "--warn-within", "0"],
            0,
        ),
        (&["--check", "--provider", "anthropic,openai"], 1),
        (&[], 0),
    ] {
        let line = [&["models", "status"], line].concat();
        assert_eq!(home.run(&line).code, Some(exit), "{line:?}");
    }
}

#[test]
fn the_screen_fits_and_is_as_it_was() {
    let now = now();
    let case = Case {
        config: json!({"agents": {"defaults": {
            "model": {"primary": "Opus", "fallbacks": ["openai/gpt-5.2", "google/gemini-2.5-pro"]},
            "models": {"anthropic/claude-opus-4-6": {"alias": "Opus"}},
        }}}),
        profiles: json!({
            "anthropic:work": {"type": "token", "provider": "anthropic", "email": "w@x.co",
                "token": format!("sk-ant-oat01-{}", "x".repeat(80)),
                "expires": now + 240 * HOUR},
            "openai:default": {"type": "api_key", "provider": "openai",
                "key": "sk-proj-0123456789012345"},
            "openai-codex:a@b.co": {"type": "oauth", "provider": "openai-codex", "access": "a",
                "refresh": "r", "expires": now - 5 * HOUR, "email": "a@b.co"},
        }),
        usage: json!({
            "openai:default": {"cooldownUntil": now + 3 * HOUR, "cooldownReason": "rate_limit"},
        }),
        env: &[("OPENROUTER_API_KEY", "sk-or-v1-0123456789abcdef0123456")],
        ..Case::default()
    };
    let mut home = home(&case);
    let plain = home.run(&["models", "status", "--check"]);
    assert_eq!(plain.stdout, include_str!("screens/status.txt"));
    assert_eq!(plain.stderr, "check: exit 1 - google has no credential\n");
    assert!(plain.stdout.lines().all(|line| line.chars().count() <= 80));
    // The same with colour, once the colour is taken away.
    home.env.insert("FORCE_COLOR".to_owned(), "1".to_owned());
    home.env.insert("NO_COLOR".to_owned(), "1".to_owned());
    let rich = home.run(&["models", "status"]).stdout;
    assert!(rich.contains("\u{1b}[1mCredentials\u{1b}[0m"), "{rich}");
    assert_eq!(support::without_colour(&rich), plain.stdout);
    home.env.remove("FORCE_COLOR");
    assert_eq!(home.run(&["models", "status"]).stdout, plain.stdout);
}

#[test]
fn a_closed_pipe_is_no_news() {
    let home = Home::new();
    let program = env!("CARGO_BIN_EXE_openclaw-auth");
    let line = format!("{program} models status --json | head -c 1");
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", &line]).env("HOME", &home.path);
    let ended = Ended::of(&shell.output().unwrap());
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("{", ""));
}
