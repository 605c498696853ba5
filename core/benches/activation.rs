//! From a configuration file to a snapshot: growth with the number of surfaces, and the price of
//! resolving against the floor of the work that cannot be avoided.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark uses the machine itself, prints its table, and may stop when the world is broken"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use openclaw_auth::{Engine, Options};
use serde_json::Value;

/// A folder with a configuration in it, and variables.
struct Place {
    _folder: tempfile::TempDir,
    home: PathBuf,
    vars: Vec<(String, String)>,
}

impl Place {
    fn new(config: &dyn Fn(&str) -> String, variables: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().canonicalize().expect("a real path");
        let place = Self {
            vars: (0..variables)
                .map(|n| (format!("KEY_{n}"), format!("sk-{n:040}")))
                .collect(),
            _folder: folder,
            home,
        };
        let text = config(place.home.to_str().expect("UTF-8"));
        place.file("openclaw.json", &text, 0o600);
        place
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.home.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn options(&self) -> Options {
        Options::new()
            .config_path(self.home.join("openclaw.json"))
            .state_dir(&self.home)
            .env(self.vars.iter().cloned())
    }

    fn open(&self) -> Engine {
        Engine::open(self.options()).expect("opens")
    }
}

fn with_providers(providers: &str, refs: impl Iterator<Item = String>) -> String {
    let mut text =
        format!("{{ secrets: {{ providers: {{ {providers} }} }}, models: {{ providers: {{");
    for (n, reference) in refs.enumerate() {
        let _ = writeln!(
            text,
            "p{n}: {{ baseUrl: 'https://x', apiKey: {reference} }},"
        );
    }
    text.push_str("} } }");
    text
}

fn env_ref(n: usize) -> String {
    format!("{{ source: 'env', provider: 'default', id: 'KEY_{n}' }}")
}

fn file_ref(n: usize) -> String {
    format!("{{ source: 'file', provider: 'f', id: '/providers/p{n}/apiKey' }}")
}

/// About 80 bytes for each secret.
fn secrets_file(count: usize) -> String {
    let entries: Vec<String> = (0..count)
        .map(|n| format!("\"p{n}\":{{\"apiKey\":\"sk-{n:056}\"}}"))
        .collect();
    format!("{{\"providers\":{{{}}}}}", entries.join(","))
}

fn surfaces(count: usize) -> Place {
    Place::new(&|_| with_providers("", (0..count).map(env_ref)), count)
}

fn mixed(env: usize, file: usize) -> Place {
    let config = |home: &str| {
        let provider = format!("f: {{ source: 'file', path: '{home}/secrets.json' }}");
        with_providers(
            &provider,
            (0..env).map(env_ref).chain((0..file).map(file_ref)),
        )
    };
    let place = Place::new(&config, env);
    place.file("secrets.json", &secrets_file(file), 0o600);
    place
}

fn programs(count: usize, concurrency: usize) -> Place {
    let config = |home: &str| {
        let providers: String = (0..count)
            .map(|n| {
                format!("x{n}: {{ source: 'exec', command: '{home}/slow', jsonOnly: false }},")
            })
            .collect();
        let refs = (0..count).map(|n| format!("{{ source: 'exec', provider: 'x{n}', id: 'k' }}"));
        let text = with_providers(&providers, refs);
        let limit = format!("secrets: {{ resolution: {{ maxProviderConcurrency: {concurrency} }},");
        text.replacen("secrets: {", &limit, 1)
    };
    let place = Place::new(&config, 0);
    place.file("slow", "#!/bin/sh\nsleep 0.05\necho secret\n", 0o700);
    place
}

fn activation(c: &mut Criterion) {
    let mut group = c.benchmark_group("activation");
    group.sample_size(10);
    for count in [5_000, 10_000, 20_000] {
        let place = surfaces(count);
        group.bench_with_input(BenchmarkId::new("surfaces", count), &place, |b, place| {
            b.iter_with_large_drop(|| place.open());
        });
    }
    let place = mixed(500, 500);
    group.bench_function("500 env and 500 file references", |b| {
        b.iter_with_large_drop(|| place.open());
    });
    let place = mixed(10, 10);
    group.bench_function("20 references", |b| b.iter_with_large_drop(|| place.open()));
    for concurrency in [4, 8] {
        let place = programs(8, concurrency);
        let name = format!("8 programs of 50 ms, {concurrency} at a time");
        group.bench_function(name, |b| b.iter_with_large_drop(|| place.open()));
    }
    let place = surfaces(10_000);
    let engine = place.open();
    group.bench_function("a reload that changes nothing, 10000 surfaces", |b| {
        b.iter(|| engine.reload().expect("reloads"));
    });
    group.finish();
}

/// The median time of one call.
fn median<T>(rounds: usize, mut call: impl FnMut() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            drop(black_box(call()));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(rounds / 2).copied().unwrap_or_default()
}

/// Small calls are measured in bundles.
fn median_of_small<T>(mut call: impl FnMut() -> T) -> Duration {
    const BUNDLE: u32 = 1000;
    let bundle = || {
        for _ in 0..BUNDLE {
            drop(black_box(call()));
        }
    };
    median(200, bundle) / BUNDLE
}

/// Case, ours, floor, and the ratio that is allowed.
type Row = (&'static str, Duration, Duration, f64);

fn env_rows(map: &HashMap<String, String>) -> Vec<Row> {
    let place = Place::new(&|_| "{}".to_owned(), 512);
    let resolver = place.options().resolver().expect("loads");
    let labels: Vec<String> = (0..512).map(|n| format!("env:default:KEY_{n}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let keys: Vec<String> = (0..512).map(|n| format!("KEY_{n}")).collect();
    vec![
        (
            "1 env reference",
            median_of_small(|| resolver.resolve(&["env:default:KEY_500"])),
            median_of_small(|| map.get(black_box("KEY_500")).cloned()),
            5.0,
        ),
        (
            "512 env references",
            median(500, || resolver.resolve(&labels)),
            median(500, || {
                let found = keys.iter().map(|key| map.get(black_box(key)).cloned());
                found.collect::<Vec<_>>()
            }),
            2.0,
        ),
    ]
}

fn file_rows() -> Vec<Row> {
    let text = secrets_file(512);
    let config = |home: &str| {
        format!(
            "{{ secrets: {{ providers: {{ f: {{ source: 'file', path: '{home}/secrets.json' }} }} }} }}"
        )
    };
    let place = Place::new(&config, 0);
    place.file("secrets.json", &text, 0o600);
    let path = place.home.join("secrets.json");
    let read = || {
        let bytes = fs::read(&path).expect("a file");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")
    };
    let resolver = place.options().resolver().expect("loads");
    let pointers: Vec<String> = (0..512)
        .map(|n| format!("/providers/p{n}/apiKey"))
        .collect();
    let labels: Vec<String> = pointers.iter().map(|p| format!("file:f:{p}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let one = [labels.first().copied().unwrap_or_default()];
    vec![
        (
            "1 file reference in 40 KB",
            median(300, || resolver.resolve(&one)),
            median(300, read),
            1.3,
        ),
        (
            "512 file references in 40 KB",
            median(300, || resolver.resolve(&labels)),
            median(300, || {
                let value = read();
                let found = pointers.iter().map(|p| value.pointer(p).cloned());
                found.collect::<Vec<_>>()
            }),
            1.5,
        ),
    ]
}

fn exec_rows() -> Vec<Row> {
    let config = |home: &str| {
        format!(
            "{{ secrets: {{ providers: {{ x: {{ source: 'exec', command: '{home}/quick', jsonOnly: false }} }} }} }}"
        )
    };
    let place = Place::new(&config, 0);
    place.file("quick", "#!/bin/sh\necho secret\n", 0o700);
    let program = place.home.join("quick");
    let resolver = place.options().resolver().expect("loads");
    let bare = |program: &PathBuf| {
        let mut command = Command::new(program);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command.output().expect("runs")
    };
    let mut rows = vec![(
        "1 program",
        median(100, || resolver.resolve(&["exec:x:k"])),
        median(100, || bare(&program)),
        1.3,
    )];
    for (concurrency, rounds, allowed) in [(4, 2, 1.1), (8, 1, 1.2)] {
        let place = programs(8, concurrency);
        let resolver = place.options().resolver().expect("loads");
        let labels: Vec<String> = (0..8).map(|n| format!("exec:x{n}:k")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let name = match concurrency {
            4 => "8 programs of 50 ms, 4 at a time",
            _ => "8 programs of 50 ms, 8 at a time",
        };
        let floor = Duration::from_millis(50) * rounds;
        rows.push((
            name,
            median(15, || resolver.resolve(&labels)),
            floor,
            allowed,
        ));
    }
    rows
}

/// Prints ours against the floor, measured in the same run.
fn ratios() {
    let map: HashMap<String, String> = (0..512)
        .map(|n| (format!("KEY_{n}"), format!("sk-{n:040}")))
        .collect();
    let rows = env_rows(&map)
        .into_iter()
        .chain(file_rows())
        .chain(exec_rows());
    println!(
        "\n{:<36} {:>12} {:>12} {:>7} {:>8}",
        "case", "ours", "floor", "ratio", "allowed"
    );
    for (name, ours, floor, allowed) in rows {
        let ratio = ours.as_secs_f64() / floor.as_secs_f64().max(1e-9);
        let (ours, floor) = (format!("{ours:.1?}"), format!("{floor:.1?}"));
        println!("{name:<36} {ours:>12} {floor:>12} {ratio:>7.2} {allowed:>8.1}");
    }
}

criterion_group!(benches, activation);

fn main() {
    benches();
    ratios();
    Criterion::default().configure_from_args().final_summary();
}
