//! Reloads under load: whole generations, events exactly once, the last good snapshot kept.
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openclaw_auth::host::sim::{self, Sim};
use openclaw_auth::{Engine, Options};

const CONFIG: &str = r#"{
  secrets: { providers: {
    a: { source: "file", path: "/s/a.json" },
    b: { source: "exec", command: "/s/b" },
  } },
  models: { providers: {
    one: { apiKey: { source: "file", provider: "a", id: "/k" } },
    two: { apiKey: { source: "exec", provider: "b", id: "k" } },
  } },
}"#;

/// A world in which both secrets carry the same number, which can be moved.
fn world() -> (Sim, Arc<AtomicU64>, Arc<AtomicBool>) {
    let sim = Sim::new();
    let number = Arc::new(AtomicU64::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    sim.env("HOME", "/home/u");
    sim.file("/home/u/.openclaw/openclaw.json", CONFIG, 0o600);
    sim.file("/s/a.json", r#"{"k":"key-0"}"#, 0o600);
    sim.file("/s/b", "", 0o700);
    let (source, fails) = (Arc::clone(&number), Arc::clone(&broken));
    sim.program("/s/b", move |_| {
        if fails.load(Ordering::SeqCst) {
            return sim::exited(1, "", "");
        }
        sim::exited(0, &format!("key-{}", source.load(Ordering::SeqCst)), "")
    });
    (sim, number, broken)
}

fn open(sim: &Sim) -> Engine {
    Engine::open(Options::new().with_host(sim.host())).unwrap()
}

#[test]
fn readers_see_whole_generations_during_a_reload_storm() {
    let (sim, number, _) = world();
    let engine = open(&sim);
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let snapshot = engine.snapshot();
                    assert!(snapshot.generation() >= last, "generations go back");
                    last = snapshot.generation();
                    let one = snapshot.secret("models.providers.one.apiKey").unwrap();
                    let two = snapshot.secret("models.providers.two.apiKey").unwrap();
                    assert_eq!(one, two, "two generations in one snapshot");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=200 {
            number.store(round, Ordering::SeqCst);
            sim.file("/s/a.json", format!("{{\"k\":\"key-{round}\"}}"), 0o600);
            let report = engine.reload().unwrap();
            let key = report
                .snapshot()
                .secret("models.providers.one.apiKey")
                .unwrap()
                .expose()
                .to_owned();
            assert_eq!(key, format!("key-{round}"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(engine.snapshot().generation(), 201);
    assert!(reads.load(Ordering::Relaxed) > 200);
}

#[test]
fn one_outage_gives_one_degraded_and_one_recovered_event_under_concurrent_reloads() {
    let (sim, number, broken) = world();
    let engine = open(&sim);
    engine.events();
    let before = engine.snapshot();
    broken.store(true, Ordering::SeqCst);
    let reload_from_everywhere = || {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _ = engine.reload();
                });
            }
        });
    };
    reload_from_everywhere();
    assert!(engine.is_degraded());
    assert!(
        Arc::ptr_eq(&before, &engine.snapshot()),
        "a failed reload exchanged the snapshot"
    );
    broken.store(false, Ordering::SeqCst);
    number.store(0, Ordering::SeqCst);
    reload_from_everywhere();
    assert!(!engine.is_degraded());
    let codes: Vec<&str> = engine
        .events()
        .iter()
        .map(|event| event.code().as_str())
        .collect();
    let count = |code: &str| codes.iter().filter(|seen| **seen == code).count();
    assert_eq!(count("SECRETS_RELOADER_DEGRADED"), 1, "{codes:?}");
    assert_eq!(count("SECRETS_RELOADER_RECOVERED"), 1, "{codes:?}");
    assert_eq!(codes[0], "SECRETS_RELOADER_DEGRADED");
    assert_eq!(codes[1], "SECRETS_RELOADER_RECOVERED");
}

#[test]
fn snapshots_are_freed_with_their_last_holder() {
    let (sim, _, _) = world();
    let engine = open(&sim);
    let old = Arc::downgrade(&engine.snapshot());
    let held = engine.snapshot();
    sim.file("/s/a.json", r#"{"k":"key-new"}"#, 0o600);
    engine.reload().unwrap();
    assert!(old.upgrade().is_some());
    drop(held);
    assert!(old.upgrade().is_none(), "an old generation stays in memory");
}

#[test]
fn the_same_failures_whatever_the_timing() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    let providers: String = (0..6)
        .map(|n| format!("p{n}: {{ source: 'exec', command: '/s/p{n}' }},"))
        .collect();
    let models: String = (0..6)
        .map(|n| format!("m{n}: {{ apiKey: {{ source: 'exec', provider: 'p{n}', id: 'k' }} }},"))
        .collect();
    sim.file(
        "/home/u/.openclaw/openclaw.json",
        format!("{{ secrets: {{ providers: {{ {providers} }} }}, models: {{ providers: {{ {models} }} }} }}"),
        0o600,
    );
    let seed = Arc::new(AtomicU64::new(1));
    for n in 0..6u64 {
        sim.file(format!("/s/p{n}"), "", 0o700);
        let seed = Arc::clone(&seed);
        sim.program(format!("/s/p{n}"), move |_| {
            // Different orders of finishing in every run.
            let step = seed
                .fetch_add(0x9E37_79B9, Ordering::Relaxed)
                .wrapping_mul(n + 7);
            std::thread::sleep(Duration::from_micros(step % 300));
            sim::exited(if n % 2 == 0 { 3 } else { 0 }, "value", "")
        });
    }
    let run = || {
        let error = Engine::open(Options::new().with_host(sim.host())).unwrap_err();
        let text = error.to_json().to_string();
        // The only part that depends on time.
        let mut clean = String::new();
        for piece in text.split("\"elapsedMs\":") {
            clean.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        clean
    };
    let first = run();
    assert_eq!(first.matches("secret_provider_exit").count(), 6, "{first}");
    for _ in 0..200 {
        assert_eq!(run(), first);
    }
}

#[test]
fn a_deadline_bounds_the_whole_activation() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap();
    let script = home.join("slow");
    std::fs::write(&script, "#!/bin/sh\nsleep 30\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let text = format!(
        "{{ secrets: {{ providers: {{ x: {{ source: 'exec', command: '{}' }} }} }}, \
         models: {{ providers: {{ p: {{ apiKey: {{ source: 'exec', provider: 'x', id: 'k' }} }} }} }} }}",
        script.display()
    );
    let start = std::time::Instant::now();
    let options = Options::new()
        .config_text(text)
        .state_dir(&home)
        .env([("PATH", "/usr/bin:/bin")])
        .deadline(200);
    let error = Engine::open(options).unwrap_err();
    assert!(
        start.elapsed() < Duration::from_millis(1300),
        "{:?}",
        start.elapsed()
    );
    assert!(
        error
            .to_json()
            .to_string()
            .contains("secrets_activation_deadline"),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

#[test]
fn changes_of_files_are_noticed_until_they_are_loaded() {
    let (sim, _, _) = world();
    let engine = open(&sim);
    assert!(!engine.watched_changed());
    for (path, text) in [
        ("/home/u/.openclaw/openclaw.json", format!("{CONFIG}\n")),
        ("/home/u/.openclaw/openclaw-auth.json5", "{}".to_owned()),
        ("/home/u/.openclaw/.env", "A=1".to_owned()),
    ] {
        sim.file(path, text, 0o600);
        assert!(engine.watched_changed(), "{path}");
        engine.reload().unwrap();
        assert!(!engine.watched_changed(), "{path}");
    }
}

#[test]
fn a_given_text_is_used_once() {
    let (sim, _, _) = world();
    let engine = open(&sim);
    let path = "models.providers.p.apiKey";
    let report = engine
        .reload_text("{ models: { providers: { p: { apiKey: 'key-by-text' } } } }")
        .unwrap();
    assert_eq!(report.generation(), 2);
    let secret = |path: &str| {
        engine
            .snapshot()
            .secret(path)
            .map(|s| s.expose().to_owned())
    };
    assert_eq!(secret(path).unwrap(), "key-by-text");
    assert!(engine.reload_text("{").is_err());
    assert!(engine.is_degraded());
    assert_eq!(secret(path).unwrap(), "key-by-text");
    engine.reload().unwrap();
    assert!(secret(path).is_err() && secret("models.providers.one.apiKey").is_ok());
}
