//! Loading configurations: every issue in one pass, each with its place, and every limit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{Engine, Error, Options};
use serde_json::Value;

const HOME: &str = "/home/u/.openclaw";

fn world(config: &str) -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    sim.file(format!("{HOME}/openclaw.json"), config, 0o600);
    sim
}

fn open(sim: &Sim) -> Result<Engine, Error> {
    Engine::open(Options::new().with_host(sim.host()))
}

/// `file:line:column code path` of every issue, the home directory left out.
fn issues(error: &Error) -> Vec<String> {
    let list = error.details()["issues"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.iter()
        .map(|issue| {
            let text = |key: &str| match &issue[key] {
                Value::String(text) => text.replace(&format!("{HOME}/"), ""),
                Value::Null => "-".to_owned(),
                other => other.to_string(),
            };
            format!(
                "{}:{}:{} {} {}",
                text("file"),
                text("line"),
                text("column"),
                text("code"),
                text("path")
            )
        })
        .collect()
}

fn refused(sim: &Sim) -> Vec<String> {
    issues(&open(sim).unwrap_err())
}

#[test]
fn every_issue_of_every_file_in_one_pass() {
    let sim = world(
        r#"{
  secrets: {
    providers: {
      a: { source: "env", allowlst: ["X"] },
      b: { source: "exec", command: "bin/x", timeoutMs: 0 },
      Bad: { source: "env" },
    },
    resolution: { maxProviderConcurrency: 99, maxRefs: 1 },
    defaults: { env: "Upper" },
    extra: 1,
  },
  models: { $include: "models.json5" },
  more: { $include: ["missing.json5", 5] },
  gateway: { token: "x", auth: { token: "t", password: "p" } },
  ui: { title: "${NOBODY}", other: "${lower}" },
  ui2: 1, ui2: 2,
}"#,
    );
    sim.file(
        format!("{HOME}/models.json5"),
        "{\n  providers: {\n    p: { apiKey: { source: 'exec', provider: 'b', id: 'x' } },\n    q: { apiKey: '__OPENCLAW_REDACTED__' },\n  },\n}",
        0o600,
    );
    sim.file(
        format!("{HOME}/openclaw-auth.json5"),
        "{\n  access: { alowedHosts: [] },\n  nothing: {},\n}",
        0o600,
    );
    assert_eq!(
        refused(&sim),
        [
            "openclaw.json:4:27 config_unknown_key secrets.providers.a.allowlst",
            "openclaw.json:5:28 config_invalid_value secrets.providers.b.command",
            "openclaw.json:5:46 config_invalid_value secrets.providers.b.timeoutMs",
            "openclaw.json:6:7 config_invalid_value secrets.providers.Bad",
            "openclaw.json:8:19 config_invalid_value secrets.resolution.maxProviderConcurrency",
            "openclaw.json:8:47 config_unknown_key secrets.resolution.maxRefs",
            "openclaw.json:9:17 config_invalid_value secrets.defaults.env",
            "openclaw.json:10:5 config_unknown_key secrets.extra",
            "openclaw.json:13:11 config_include_invalid more.$include",
            "openclaw.json:13:11 config_include_not_found more.$include",
            "openclaw.json:14:14 CONFIG_MISPLACED_KEY gateway.token",
            "openclaw.json:14:26 gateway_auth_mode_ambiguous gateway.auth",
            "openclaw.json:15:9 config_env_var_missing ui.title",
            "openclaw.json:15:29 CONFIG_ENV_REF_MALFORMED ui.other",
            "openclaw.json:16:11 CONFIG_DUPLICATE_KEY ui2",
            "models.json5:4:10 config_redacted_value models.providers.q.apiKey",
            "openclaw-auth.json5:2:13 config_unknown_key access.alowedHosts",
            "openclaw-auth.json5:3:3 config_unknown_key nothing",
        ]
    );
}

#[test]
fn an_issue_renders_as_one_line_with_its_remedy() {
    let error = open(&world(
        "{\n  secrets: { providers: { v: { source: 'env', allowlst: [] } } },\n}",
    ))
    .unwrap_err();
    assert_eq!(
        error.message(),
        "/home/u/.openclaw/openclaw.json:2:47: unknown key \"allowlst\" (at secrets.providers.v.allowlst)"
    );
    assert_eq!(error.hint(), Some("did you mean \"allowlist\"?"));
}

#[test]
fn limits_of_files_strings_and_numbers_of_files() {
    let long = "x".repeat((1 << 20) + 1);
    for (config, expected) in [
        (
            format!("{{ a: '{long}' }}"),
            "openclaw.json:1:3 config_too_large a",
        ),
        (
            format!("{{ a: '{}' }}", " ".repeat(8 << 20)),
            "openclaw.json:-:- config_too_large ",
        ),
        (
            "{ a: [NaN, 1e400] }".to_owned(),
            "openclaw.json:1:7 config_number_not_finite a.0",
        ),
        (
            "{ a: { constructor: 1 } }".to_owned(),
            "openclaw.json:1:8 config_forbidden_key a.constructor",
        ),
        (
            "[1]".to_owned(),
            "openclaw.json:1:1 config_root_not_object ",
        ),
        (
            "{ a: '\u{fffd}".replace('\u{fffd}', "x"),
            "openclaw.json:1:8 config_parse_error ",
        ),
    ] {
        assert_eq!(refused(&world(&config))[0], expected);
    }
    let sim = world("{ a: { $include: 'big.json5' } }");
    sim.file(
        format!("{HOME}/big.json5"),
        format!("{{ a: 1 }}{}", " ".repeat(2 << 20)),
        0o600,
    );
    assert_eq!(
        refused(&sim),
        ["openclaw.json:1:8 config_include_unsafe_file a.$include"]
    );

    let list: String = (0..300).map(|n| format!("'f{n}.json5',")).collect();
    let sim = world(&format!("{{ a: {{ $include: [{list}] }} }}"));
    for n in 0..300 {
        sim.file(format!("{HOME}/f{n}.json5"), "{}", 0o600);
    }
    assert_eq!(
        refused(&sim),
        ["openclaw.json:1:8 config_include_limit a.$include"]
    );
}

#[test]
fn bytes_that_are_not_text_have_a_place() {
    let sim = world("");
    sim.file(
        format!("{HOME}/openclaw.json"),
        b"{\n  a: '\xff' }".as_slice(),
        0o600,
    );
    assert_eq!(refused(&sim), ["openclaw.json:2:7 config_parse_error "]);
}

#[test]
fn unsafe_includes_are_refused() {
    let sim = world("{ a: { $include: 'linked.json5' }, b: { $include: 'folder' } }");
    sim.file(format!("{HOME}/linked.json5"), "{}", 0o622);
    sim.hard_link(format!("{HOME}/linked.json5"), format!("{HOME}/other-name"))
        .unwrap();
    sim.dir(format!("{HOME}/folder"), 0o700);
    assert_eq!(
        refused(&sim),
        [
            "openclaw.json:1:8 config_include_unsafe_file a.$include",
            "openclaw.json:1:41 config_include_unsafe_file b.$include",
        ]
    );
}

#[test]
fn readable_files_with_secrets_are_reported() {
    let codes = |config: &str, mode: u32| {
        let sim = world(config);
        sim.mode(format!("{HOME}/openclaw.json"), mode);
        let snapshot = open(&sim).unwrap().snapshot();
        snapshot
            .issues()
            .iter()
            .map(|issue| issue.code().as_str())
            .collect::<Vec<_>>()
    };
    let literal = "{ models: { providers: { p: { apiKey: 'sk-literal' } } } }";
    assert_eq!(codes(literal, 0o644), ["CONFIG_FILE_PERMISSIONS"]);
    assert_eq!(codes(literal, 0o600), [""; 0]);
    assert_eq!(codes("{ ui: { title: 'x' } }", 0o644), [""; 0]);
}

#[test]
fn files_of_older_releases_are_found_and_named() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    sim.file("/home/u/.clawdbot/clawdbot.json", "{ ui: { a: 1 } }", 0o600);
    let snapshot = open(&sim).unwrap().snapshot();
    assert_eq!(snapshot.value("ui.a").unwrap(), Some(&1.into()));
    let codes: Vec<_> = snapshot
        .issues()
        .iter()
        .map(|issue| issue.code().as_str())
        .collect();
    assert_eq!(codes, ["CONFIG_LEGACY_LOCATION"]);
}

#[test]
fn a_text_instead_of_files() {
    let nobody: [(&str, &str); 0] = [];
    let options = |text: &str| {
        Options::new()
            .config_text(text)
            .state_dir("/nonexistent")
            .env(nobody)
    };
    let engine = Engine::open(options("{ ui: { title: 'x' } }")).unwrap();
    assert_eq!(
        engine.snapshot().value("ui.title").unwrap(),
        Some(&"x".into())
    );
    // There is no folder that an include could come from.
    let error = Engine::open(options("{ a: { $include: 'x.json5' } }")).unwrap_err();
    assert_eq!(error.code().as_str(), "config_include_outside_root");
}

#[test]
fn strict_variables_are_errors() {
    let sim = world("{ ui: { title: '${NOBODY}' } }");
    assert!(open(&sim).is_ok());
    let error = Engine::open(Options::new().with_host(sim.host()).strict_env(true)).unwrap_err();
    assert_eq!(
        issues(&error),
        ["openclaw.json:1:9 config_env_var_missing ui.title"]
    );
}
