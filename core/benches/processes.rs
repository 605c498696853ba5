//! The profile store under several processes, beside programs that do the bare work.
//!
//! Prints one table; every row is a rate, what the bare program reaches, and their ratio. The
//! other processes are this program again, told by a variable what to do.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the floors do the bare work, and the table goes to the terminal"
)]
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot set itself up has to stop"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use openclaw_auth::bench::Store;
use openclaw_auth::{Engine, LeaseRequest, Options, Signal};
use serde_json::{Value, json};

const ROLE: &str = "OCA_BENCH_ROLE";
const PROCESSES: u32 = 4;
const UPDATES: u32 = 250;
const MARKS: u32 = 5_000;

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return work(&role);
    }
    // Cargo tells benchmarks that they are only to be looked at.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("{:<44}{:>12}{:>12}{:>8}", "", "ours", "floor", "ratio");
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        // In memory, where syncing costs nothing.
        row(
            "update, no sync, per second",
            rate(&memory, "update", 1),
            rate(&memory, "bare", 1),
        );
    }
    let disk = std::env::temp_dir();
    let (one, bare) = (rate(&disk, "update", 1), rate(&disk, "bare", 1));
    row("update, durable, per second", one, bare);
    row(
        "updates of 4 processes / updates of 1",
        rate(&disk, "update", PROCESSES),
        one,
    );
    let (stat, read) = (rate(&disk, "stat", 1), rate(&disk, "read", 1));
    row("reading an unchanged store, per second", read, stat);
    let (marks, synced) = (
        rate(&disk, "mark", PROCESSES),
        rate(&disk, "sync", PROCESSES),
    );
    row("marks of 4 processes / a sync for each", marks, synced);
}

fn row(name: &str, ours: f64, floor: f64) {
    println!("{name:<44}{ours:>12.0}{floor:>12.0}{:>8.2}", ours / floor);
}

/// How often a second something is done by so many processes at once.
fn rate(place: &Path, role: &str, processes: u32) -> f64 {
    let folder = tempfile::tempdir_in(place).expect("a folder");
    let agent = folder.path().join("agents/main/agent");
    fs::create_dir_all(&agent).expect("a folder");
    let mut store = json!({"version": 1, "profiles": {}});
    for n in 0..100 {
        store["profiles"][format!("a:{n:03}")] =
            json!({"type": "api_key", "provider": "a", "key": format!("key-{n}")});
    }
    fs::write(agent.join("auth-profiles.json"), format!("{store:#}")).expect("a file");
    let program = std::env::current_exe().expect("this program");
    let start = Instant::now();
    let children: Vec<Child> = (0..processes)
        .map(|n| {
            Command::new(&program)
                .env(ROLE, format!("{role} {n}"))
                .current_dir(folder.path())
                .spawn()
                .expect("started")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("ended").success());
    }
    // What starting a process takes is small beside what each of them does.
    f64::from(count(role) * processes) / start.elapsed().as_secs_f64()
}

fn count(role: &str) -> u32 {
    match role {
        "mark" => MARKS,
        "stat" | "read" => 200_000,
        _ => UPDATES,
    }
}

fn work(role: &str) {
    let (role, number) = role.split_once(' ').expect("a role and a number");
    let here = std::env::current_dir().expect("a folder");
    let agent = here.join("agents/main/agent");
    let times = 0..count(role);
    match role {
        "update" => {
            let store = Store::new(agent);
            times.for_each(|n| store.update(u64::from(n)).expect("written"));
        }
        "bare" => times.for_each(|n| bare_update(&agent, n)),
        "stat" => times.for_each(|_| {
            fs::metadata(agent.join("auth-profiles.json")).expect("there");
        }),
        "read" => {
            let engine = engine(&here);
            times.for_each(|_| {
                engine
                    .profile_order(None, "nobody", None, None)
                    .expect("an order");
            });
        }
        "mark" => {
            let engine = engine(&here);
            let profile = format!("a:00{number}");
            times.for_each(|_| mark(&engine, &profile));
            assert!(engine.flush());
        }
        "sync" => {
            let mut file = fs::File::create(agent.join(number)).expect("made");
            for n in times {
                writeln!(file, "{n}").expect("written");
                file.sync_all().expect("synced");
            }
        }
        other => panic!("there is no role {other}"),
    }
}

fn engine(state: &Path) -> Engine {
    let options = Options::new()
        .state_dir(state)
        .config_value(json!({}))
        .env([("HOME", "/nonexistent")]);
    Engine::open(options).expect("an engine")
}

/// One failure, acknowledged when this returns and in the store when the engine was flushed.
fn mark(engine: &Engine, profile: &str) {
    let request = LeaseRequest {
        provider: Some("a"),
        profile: Some(profile),
        ..LeaseRequest::default()
    };
    let limited = Signal {
        status: Some(429),
        ..Signal::default()
    };
    let lease = engine.lease(&request).expect("a lease");
    drop(lease.fail(&limited).expect("reported"));
}

/// Lock, read, parse, edit, write, sync, rename, sync, unlock: nothing else.
fn bare_update(folder: &Path, n: u32) {
    let path = folder.join("auth-profiles.json");
    let (lock, new) = (folder.join("s.lock"), folder.join("s.tmp"));
    while fs::File::create_new(&lock).is_err() {
        std::thread::sleep(Duration::from_micros(500));
    }
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
