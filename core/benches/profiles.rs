//! What choosing, reporting, classifying and storing cost, beside the necessary work.
//!
//! `h` is one look-up of a short text in a hash map with a copy of the value; it is the unit of
//! the floors.
#![expect(clippy::disallowed_methods, reason = "the floors do the bare work")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a benchmark that cannot set itself up has to stop"
)]

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use openclaw_auth::bench::{Keys, Profiles, Store};
use openclaw_auth::{Classification, Engine, LeaseRequest, Options, Signal, Verdict};
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000_000;

fn store(profiles: usize) -> String {
    let mut store = json!({"version": 1, "profiles": {}, "usageStats": {}});
    for n in 0..profiles {
        let id = format!("a:{n:03}");
        store["profiles"][&id] =
            json!({"type": "api_key", "provider": "a", "key": format!("key-{n}")});
        let mut record = json!({"lastUsed": NOW - 1_000 * ((n as u64 * 7_919) % 1_000)});
        if n % 4 == 3 {
            record["cooldownUntil"] = json!(NOW + 60_000 + n as u64);
            record["cooldownReason"] = json!("rate_limit");
        }
        store["usageStats"][&id] = record;
    }
    store.to_string()
}

fn floor(criterion: &mut Criterion) {
    let map: HashMap<String, String> = (0..100)
        .map(|n| (format!("profile:{n}"), format!("value-{n}")))
        .collect();
    criterion.bench_function("floor/h", |b| {
        b.iter(|| black_box(&map).get(black_box("profile:42")).cloned())
    });
}

fn orders(criterion: &mut Criterion) {
    for n in [5, 100] {
        let profiles = Profiles::new(&store(n)).expect("a store");
        criterion.bench_function(&format!("order/{n}"), |b| {
            b.iter(|| profiles.order(black_box("a"), Some("m"), NOW));
        });
    }
    let profiles = Profiles::new(&store(100)).expect("a store");
    criterion.bench_function("cooling", |b| {
        b.iter(|| profiles.is_cooling(black_box("a:003"), Some("m"), NOW))
    });
    criterion.bench_function("after-failure", |b| {
        b.iter(|| profiles.after_failure(black_box("a:003"), NOW))
    });
}

fn leases(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = folder.path().join("agents/main/agent");
    fs::create_dir_all(&agent).expect("a folder");
    fs::write(
        agent.join("auth-profiles.json"),
        store(100).replace(&NOW.to_string()[..6], "100000"),
    )
    .expect("a file");
    let keys = (0..20).map(|n| (format!("OPENAI_API_KEY_{n}"), format!("key-{n}")));
    let options = Options::new()
        .state_dir(folder.path())
        .config_value(json!({}))
        .env(keys);
    let engine = Engine::open(options).expect("an engine");
    let request = LeaseRequest {
        provider: Some("a"),
        model: Some("m"),
        ..LeaseRequest::default()
    };
    criterion.bench_function("lease/100 profiles, release", |b| {
        b.iter(|| {
            engine
                .lease(black_box(&request))
                .expect("a lease")
                .release()
        });
    });
    criterion.bench_function("lease/100 profiles, success", |b| {
        b.iter(|| {
            engine
                .lease(black_box(&request))
                .expect("a lease")
                .succeed(&[])
        });
    });
    let request = LeaseRequest {
        provider: Some("openai"),
        ..LeaseRequest::default()
    };
    criterion.bench_function("keys/first works", |b| {
        b.iter(|| {
            engine
                .lease(black_box(&request))
                .expect("a lease")
                .succeed(&[])
        });
    });
    let limited = Signal {
        status: Some(400),
        ..Signal::default()
    };
    criterion.bench_function("keys/one rejected", |b| {
        b.iter(|| {
            let lease = engine.lease(black_box(&request)).expect("a lease");
            matches!(lease.fail(&limited), Ok(Verdict::Exhausted(_)))
        });
    });
}

fn keys(criterion: &mut Criterion) {
    let vars = (0..100).map(|n| match n {
        0 => ("OPENAI_API_KEYS".to_owned(), "k1,k2;k3 k4 k5".to_owned()),
        1..16 => (format!("OPENAI_API_KEY_{n}"), format!("key-{n}")),
        n => (format!("OTHER_{n}"), "x".to_owned()),
    });
    let keys = Keys::new(vars);
    assert_eq!(keys.collect("openai"), 20);
    criterion.bench_function("keys/collect 20 of 100", |b| {
        b.iter(|| keys.collect(black_box("openai")))
    });
}

fn classification(criterion: &mut Criterion) {
    let words = |bytes: usize| {
        "lorem ipsum dolor sit amet consectetur ".repeat(bytes / 39 + 1)[..bytes].to_owned()
    };
    let body = format!(
        r#"{{"error":{{"type":"x","code":"y","message":"{}"}}}}"#,
        words(8_000)
    );
    let texts = [
        ("429 ...", "429 too fast".to_owned()),
        ("90 B, nothing", words(90)),
        ("2 KiB, nothing", words(2_048)),
        ("8 KiB body", body),
        ("64 KiB, nothing", words(65_536)),
        ("64 KiB, hostile", "input token count ".repeat(3_640)),
        ("16 KiB, hostile", "input token count ".repeat(910)),
        (
            "64 KiB, hostile JSON",
            format!("{{\"a\":{}", "{\"error\":".repeat(7_000)),
        ),
    ];
    for (name, text) in &texts {
        criterion.bench_function(&format!("classify/{name}"), |b| {
            let signal = Signal {
                body: Some(text),
                ..Signal::default()
            };
            b.iter(|| Classification::of(black_box(&signal), NOW));
        });
    }
}

/// Lock, read, parse, edit, write, sync, rename, sync, unlock: nothing else.
fn bare_update(folder: &Path, n: u64) {
    let (path, lock, new) = (
        folder.join("s.json"),
        folder.join("s.json.lock"),
        folder.join("s.tmp"),
    );
    fs::File::create_new(&lock)
        .expect("free")
        .write_all(b"{}")
        .expect("written");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    value["bench"] = json!({"n": n});
    let mut file = fs::File::create(&new).expect("made");
    file.write_all(&serde_json::to_vec_pretty(&value).expect("JSON"))
        .expect("written");
    file.sync_all().expect("synced");
    fs::rename(&new, &path).expect("renamed");
    fs::File::open(folder)
        .expect("open")
        .sync_all()
        .expect("synced");
    fs::remove_file(&lock).expect("removed");
}

fn disk(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("s.json"), store(100)).expect("a file");
    fs::write(folder.path().join("auth-profiles.json"), store(100)).expect("a file");
    let store = Store::new(folder.path().to_owned());
    let mut n = 0;
    criterion.bench_function("floor/durable update", |b| {
        b.iter(|| {
            n += 1;
            bare_update(folder.path(), n);
        });
    });
    criterion.bench_function("store/durable update", |b| {
        b.iter(|| {
            n += 1;
            store.update(n).expect("written");
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = floor, orders, leases, keys, classification, disk
}
criterion_main!(benches);
