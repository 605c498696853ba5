//! Reloads that change nothing, trials, files that are watched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::host::sim::{self, Sim};
use openclaw_auth::{Engine, Options, Progress, Proposal, WatchStep, Watcher};
use serde_json::json;

const CONFIG: &str = "/home/u/.openclaw/openclaw.json";
const TEXT: &str = r#"{
  $include: "models.json5",
  secrets: { providers: {
    f: { source: "file", path: "/s/keys.json" },
    x: { source: "exec", command: "/s/x" },
  } },
  talk: { apiKey: { source: "exec", provider: "x", id: "k" } },
  cron: { enabled: false, webhookToken: "${NOT_SET}" },
}"#;

fn world() -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    sim.file(CONFIG, TEXT, 0o600);
    sim.file(
        "/home/u/.openclaw/models.json5",
        "{ models: { providers: { p: { apiKey: { source: 'file', provider: 'f', id: '/k' } } } } }",
        0o600,
    );
    sim.file("/home/u/.openclaw/.env", "A=1", 0o600);
    sim.file("/s/keys.json", r#"{"k":"one"}"#, 0o600);
    sim.file("/s/x", "", 0o700);
    sim.program("/s/x", |_| sim::exited(0, "from-program", ""));
    sim
}

fn open(sim: &Sim) -> Engine {
    Engine::open(Options::new().with_host(sim.host())).unwrap()
}

fn codes(engine: &Engine) -> Vec<String> {
    let events = engine.events();
    events
        .iter()
        .map(|event| event.code().to_string())
        .collect()
}

#[test]
fn a_reload_that_changes_nothing_keeps_the_snapshot() {
    let sim = world();
    let engine = open(&sim);
    engine.events();
    let before = engine.snapshot();
    // Written again with the same content.
    sim.file("/s/keys.json", r#"{"k":"one"}"#, 0o600);
    let report = engine.reload().unwrap();
    assert!(report.is_unchanged());
    assert_eq!(report.to_json()["unchanged"], true);
    assert!(Arc::ptr_eq(&before, &engine.snapshot()));
    assert_eq!(engine.snapshot().generation(), 1);
    assert!(codes(&engine).is_empty());

    // It still ends an outage.
    sim.file("/s/keys.json", "{", 0o600);
    engine.reload().unwrap_err();
    assert!(engine.is_degraded());
    sim.file("/s/keys.json", r#"{"k":"one"}"#, 0o600);
    assert!(engine.reload().unwrap().is_unchanged());
    assert!(!engine.is_degraded());
    assert_eq!(
        codes(&engine),
        ["SECRETS_RELOADER_DEGRADED", "SECRETS_RELOADER_RECOVERED"]
    );

    // Anything that a reader could see is a change: values, settings, variables, reasons.
    let mut generation = 1;
    let mut changed = |what: &str| {
        generation += 1;
        let report = engine.reload().unwrap();
        assert!(!report.is_unchanged(), "{what}");
        assert_eq!(report.generation(), generation);
    };
    sim.file("/s/keys.json", r#"{"k":"two"}"#, 0o600);
    changed("a value");
    sim.file(CONFIG, TEXT.replace("cron:", "other: 1, cron:"), 0o600);
    changed("a setting");
    sim.file("/home/u/.openclaw/.env", "A=2", 0o600);
    changed("a variable");
}

#[test]
fn a_trial_leaves_no_trace() {
    let sim = world();
    let engine = open(&sim);
    engine.events();
    let (before, runs) = (engine.snapshot(), sim.runs().len());
    let report = engine.preflight(&Proposal::current());
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(
        report.active_paths(),
        ["models.providers.p.apiKey", "talk.apiKey"]
    );
    let (path, reason) = &report.inactive_paths()[0];
    assert_eq!(
        (path.as_str(), reason.as_str()),
        ("cron.webhookToken", "cron.enabled is false")
    );
    let skipped: Vec<&str> = report.skipped_exec_refs().collect();
    assert_eq!(skipped, ["exec:x:k"]);
    assert_eq!(sim.runs().len(), runs, "a program was run without consent");
    assert!(
        engine
            .preflight(&Proposal::current().allow_exec(true))
            .is_ok()
    );
    assert_eq!(sim.runs().len(), runs + 1);

    // A proposed text keeps the includes of the file whose place it takes.
    let proposed = TEXT.replace("enabled: false", "enabled: true");
    let report = engine.preflight(&Proposal::text(&proposed));
    let json = report.to_json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["failures"][0]["paths"], json!(["cron.webhookToken"]));
    assert!(
        report
            .active_paths()
            .contains(&"models.providers.p.apiKey".to_owned())
    );
    let limited = Proposal::text(&proposed).paths(["talk.apiKey"]);
    assert!(engine.preflight(&limited).is_ok());

    // The static check of a program looks at its path.
    sim.mode("/s/x", 0o777);
    let report = engine.preflight(&Proposal::current());
    let json = report.to_json();
    assert_eq!(json["failures"][0]["code"], "secret_provider_path_insecure");
    assert_eq!(json["failures"][0]["paths"], json!(["talk.apiKey"]));
    // A proposal that cannot be read at all.
    let report = engine.preflight(&Proposal::text("{"));
    assert_eq!(
        report.error().unwrap().code().as_str(),
        "config_parse_error"
    );
    assert!(engine.preflight(&Proposal::value(&json!({}))).is_ok());

    assert!(Arc::ptr_eq(&before, &engine.snapshot()));
    assert!(!engine.is_degraded());
    assert!(codes(&engine).is_empty());
    assert_eq!(sim.text(CONFIG).unwrap(), TEXT);
}

#[test]
fn every_file_that_matters_is_watched() {
    let sim = world();
    let store = "/home/u/.openclaw/agents/main/agent/auth-profiles.json";
    let engine = open(&sim);
    let settled = |what: &str| {
        engine.reload().unwrap();
        assert!(!engine.watched_changed(), "{what}");
    };
    settled("nothing has happened");
    let models = sim.text("/home/u/.openclaw/models.json5").unwrap();
    for (path, text) in [
        (CONFIG, TEXT),
        ("/home/u/.openclaw/models.json5", models.as_str()),
        ("/home/u/.openclaw/.env", "A=1"),
        ("/home/u/.openclaw/openclaw-auth.json5", "{}"),
        (store, "{}"),
        ("/s/keys.json", r#"{"k":"one"}"#),
    ] {
        sim.file(path, text, 0o600);
        assert!(engine.watched_changed(), "{path}");
        settled(path);
    }
    sim.remove(store);
    assert!(engine.watched_changed(), "a file that goes away");
    settled("removed");
    let listed = engine.watch_stamp();
    assert_eq!(listed.paths().count(), 6);

    // A failed reload is not repeated until something changes.
    sim.file("/s/keys.json", "{", 0o600);
    engine.reload().unwrap_err();
    assert!(!engine.watched_changed());
    sim.file("/s/keys.json", r#"{"k":"two"}"#, 0o600);
    assert!(engine.watched_changed());
}

#[test]
fn a_watcher_reloads_within_a_second() {
    let sim = world();
    let engine = open(&sim);
    let mut watcher = Watcher::new(Duration::from_millis(300));
    assert_eq!(engine.watch_step(&mut watcher), WatchStep::Idle);
    sim.file("/s/keys.json", r#"{"k":"rotated"}"#, 0o600);
    let mut waited = Duration::ZERO;
    loop {
        match engine.watch_step(&mut watcher) {
            WatchStep::Reload => break,
            WatchStep::Wait(time) => {
                sim.advance(time);
                waited += time;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let report = engine.reload().unwrap();
    let owners: Vec<&str> = report.changed_owners().collect();
    assert_eq!(owners, ["provider:p"]);
    assert_eq!(engine.watch_step(&mut watcher), WatchStep::Idle);
}

#[test]
fn single_references_are_resolved_for_tools() {
    let sim = world();
    sim.env("K", "v");
    // What else is wrong does not matter.
    sim.file(
        CONFIG,
        TEXT.replace("enabled: false", "enabled: true"),
        0o600,
    );
    let resolver = Options::new().with_host(sim.host()).resolver().unwrap();
    let label = resolver.label_at("talk.apiKey").unwrap();
    let labels = [
        label.as_str(),
        "env:default:K",
        "file:f:/none",
        "env:nobody:K",
        "nonsense",
    ];
    let results = resolver.resolve(&labels);
    let shown: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(value) => value.text().expose().to_owned(),
            Err(error) => match error.details().get("failures") {
                Some(failures) => failures[0]["code"].as_str().unwrap().to_owned(),
                None => error.code().to_string(),
            },
        })
        .collect();
    assert_eq!(
        shown,
        [
            "from-program",
            "v",
            "secret_ref_not_found",
            "secret_provider_not_configured",
            "secret_ref_invalid",
        ]
    );
}

#[test]
fn another_thread_sees_who_is_waited_for() {
    let sim = world();
    let progress = Progress::new();
    let seen = progress.clone();
    sim.program("/s/x", move |_| {
        let running = seen.running();
        assert_eq!(running.len(), 1);
        assert_eq!(running[0].provider, "x");
        assert_eq!(seen.counts(), (1, 2));
        sim::exited(0, "v", "")
    });
    let options = Options::new()
        .with_host(sim.host())
        .progress(progress.clone());
    Engine::open(options).unwrap();
    assert!(progress.running().is_empty());
    assert_eq!(progress.counts(), (2, 2));
}
