//! Reading a secret, against the unit of all floors: a look-up of one short string in a hash map
//! with a copy of the value.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use openclaw_auth::{Engine, Options};

#[expect(
    clippy::expect_used,
    reason = "a benchmark stops when its world is broken"
)]
fn engine(count: usize) -> Engine {
    let providers: String = (0..count)
        .map(|n| format!("p{n}: {{ apiKey: 'sk-{n:040}' }},"))
        .collect();
    let text = format!("{{ models: {{ providers: {{ {providers} }} }} }}");
    let nobody: [(&str, &str); 0] = [];
    Engine::open(
        Options::new()
            .config_text(text)
            .state_dir("/nonexistent")
            .env(nobody),
    )
    .expect("opens")
}

fn benches(c: &mut Criterion) {
    let map: HashMap<String, String> = (0..1000)
        .map(|n| (format!("KEY_{n}"), format!("sk-{n:040}")))
        .collect();
    c.bench_function("floor: hash look-up with copy (h)", |b| {
        b.iter(|| map.get(black_box("KEY_500")).cloned());
    });
    for count in [10, 10_000] {
        let engine = engine(count);
        let snapshot = engine.snapshot();
        let path = format!("models.providers.p{}.apiKey", count / 2);
        c.bench_function(
            &format!("read a secret among {count}, snapshot held"),
            |b| {
                b.iter(|| {
                    snapshot
                        .secret(black_box(&path))
                        .map(|secret| secret.len())
                        .ok()
                });
            },
        );
        c.bench_function(
            &format!("read a secret among {count}, through the engine"),
            |b| {
                b.iter(|| {
                    engine
                        .snapshot()
                        .secret(black_box(&path))
                        .map(|secret| secret.len())
                        .ok()
                });
            },
        );
    }
    let engine = engine(10);
    c.bench_function("take the current snapshot", |b| {
        b.iter(|| engine.snapshot())
    });
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = engine.reload();
            }
        });
        c.bench_function(
            "take the current snapshot while reloading without pause",
            |b| {
                b.iter(|| engine.snapshot());
            },
        );
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

criterion_group!(all, benches);
criterion_main!(all);
