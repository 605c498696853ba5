//! Several real processes on one profile store: nothing is lost, nobody sees half a file, and a
//! killed process holds nobody up.
//!
//! The processes are this test program again, told by a variable what to do. `OCA_ROUNDS` makes
//! the tests longer.
#![cfg(unix)]
#![expect(
    clippy::disallowed_methods,
    reason = "the machine is prepared and other processes are run"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openclaw_auth::host::{FileMeta, Files, OpenFile, Overwrite};
use openclaw_auth::{
    CredentialKind, Engine, Host, LeaseRequest, NewCredential, Options, ProfileMaterial,
    SecretText, Signal,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const ROLE: &str = "OCA_TEST_ROLE";
const STATE: &str = "OCA_TEST_STATE";
const LIMITED: Option<u16> = Some(429);

fn rounds(default: usize) -> usize {
    std::env::var("OCA_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn state(profiles: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("agents/main/agent");
    fs::create_dir_all(&agent).unwrap();
    let profiles: serde_json::Map<String, Value> = (0..profiles)
        .map(|n| {
            (
                format!("a:{n}"),
                json!({"type": "api_key", "provider": "a", "key": format!("key-{n}")}),
            )
        })
        .collect();
    let path = agent.join("auth-profiles.json");
    fs::write(
        &path,
        json!({"version": 1, "profiles": profiles}).to_string(),
    )
    .unwrap();
    (folder, path)
}

fn engine(state: &Path) -> Engine {
    let options = Options::new()
        .state_dir(state)
        .config_value(json!({}))
        .env([("HOME", "/nonexistent")]);
    Engine::open(options).unwrap()
}

fn spawn(state: &Path, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["role", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(STATE, state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the other processes do; nothing when this is the test itself.
#[test]
fn role() {
    let (Ok(role), Ok(state)) = (std::env::var(ROLE), std::env::var(STATE)) else {
        return;
    };
    let (role, number) = role.split_once(' ').unwrap();
    let number: usize = number.parse().unwrap();
    let engine = match role {
        "die" => mortal_engine(Path::new(&state), number % 3),
        _ => engine(Path::new(&state)),
    };
    match role {
        "die" => add(&engine, &format!("b:{number}")),
        "everything" => {
            add(&engine, &format!("b:{number}"));
            for _ in 0..MARKS {
                let started = Instant::now();
                mark(&engine, "a:0");
                assert!(engine.flush());
                assert!(started.elapsed() < SLOWEST, "{:?}", started.elapsed());
            }
        }
        "mark" => (0..number).for_each(|_| mark(&engine, "a:0")),
        "churn" => (0..usize::MAX).for_each(|n| {
            mark(&engine, &format!("a:{}", n % 5));
            let id = format!("b:{number}");
            if n % 10 == 9 {
                engine.remove_profile(None, &id).unwrap();
            } else if n % 10 == 0 {
                add(&engine, &id);
            }
        }),
        "login" => {
            for n in 0..4 {
                add(&engine, &format!("b:{number}-{n}"));
                for _ in 0..25 {
                    mark(&engine, "a:0");
                }
            }
        }
        other => panic!("unknown role {other}"),
    }
    assert!(engine.flush());
}

/// How often each of four processes marks and writes in one round, and how long one such update
/// may take behind the others.
const MARKS: usize = 8;
const SLOWEST: Duration = Duration::from_secs(5);

/// An engine whose process is killed when it writes: with the new file written but not yet in
/// place (0), before it writes anything (1), or with the new file in place and the lock still
/// held (2).
fn mortal_engine(state: &Path, moment: usize) -> Engine {
    let home = ("HOME".to_owned(), "/nonexistent".to_owned().into());
    let mut host = Host::with_vars(BTreeMap::from([home]));
    host.files = Arc::new(Mortal(Arc::clone(&host.files), moment));
    let options = Options::new().state_dir(state).config_value(json!({}));
    Engine::open(options.with_host(host)).unwrap()
}

struct Mortal(Arc<dyn Files>, usize);

fn die() -> ! {
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    unreachable!("killed")
}

impl Files for Mortal {
    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        if self.1 == 1 {
            die();
        }
        self.0.write_atomic_if(path, content, mode, &mut || {
            assert!(ready());
            if self.1 == 0 {
                die();
            }
            true
        })?;
        die()
    }

    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.0.lstat(path)
    }

    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.0.stat(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.canonical(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.read_link(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.0.open(path)
    }

    fn create_private(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<Box<dyn Overwrite>> {
        self.0.create_private(path, content, mode)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.0.names(folder)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.create_dir_all(path, mode)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
}

fn mark(engine: &Engine, profile: &str) {
    let request = LeaseRequest {
        provider: Some("a"),
        profile: Some(profile),
        ..LeaseRequest::default()
    };
    let lease = engine.lease(&request).unwrap();
    let _ = lease
        .fail(&Signal {
            status: LIMITED,
            ..Signal::default()
        })
        .unwrap();
}

fn add(engine: &Engine, id: &str) {
    let credential = NewCredential {
        id: id.to_owned(),
        provider: "b".to_owned(),
        kind: CredentialKind::ApiKey,
        material: ProfileMaterial::Inline(SecretText::new("k".to_owned())),
        expires: None,
        email: None,
        display_name: None,
        replace: true,
    };
    engine.add_profile(None, &credential).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).expect("a whole file")
}

#[test]
fn xd_2_and_cc_1_no_mark_of_many_processes_is_lost() {
    for (processes, marks) in [(4, 250), (8, 1_000)] {
        let (folder, path) = state(1);
        let role = format!("mark {marks}");
        let children: Vec<Child> = (0..processes)
            .map(|_| spawn(folder.path(), &role))
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let record = &read(&path)["usageStats"]["a:0"];
        let all = processes * marks;
        assert_eq!(record["failureCounts"]["rate_limit"], all, "{record}");
        assert_eq!(record["errorCount"], all);
        assert_eq!(record["oa"]["cd"]["step"], 1);
    }
}

/// What happens elsewhere when four processes update one store, while others read it: increments
/// lost, all credentials lost, all but one lost, files found empty or cut off, and updates that
/// wait for hundreds of times their own duration.
#[test]
fn four_processes_lose_nothing_and_wait_for_nothing_but_each_other() {
    for round in 0..rounds(12) {
        let (folder, path) = state(3);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(read(&path)["profiles"].as_object().unwrap().len() >= 3);
                }
            });
            let children: Vec<Child> = (0..4)
                .map(|n| spawn(folder.path(), &format!("everything {n}")))
                .collect();
            for mut child in children {
                assert!(child.wait().unwrap().success(), "round {round}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let store = read(&path);
        let profiles = store["profiles"].as_object().unwrap();
        let ids: Vec<&str> = profiles.keys().map(String::as_str).collect();
        assert_eq!(ids.len(), 3 + 4, "round {round}: {ids:?}");
        let counts = &store["usageStats"]["a:0"]["failureCounts"];
        assert_eq!(counts["rate_limit"], 4 * MARKS, "round {round}");
    }
}

/// Every process is killed while it writes, and the next one goes on at once.
#[test]
fn xd_3_and_4_and_cc_6_five_hundred_killed_writers_lose_no_credential() {
    let lanes = 4;
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                let (folder, path) = state(5);
                for round in 0..rounds(504) / lanes {
                    let before = fs::read(&path).unwrap();
                    let mut child = spawn(folder.path(), &format!("die {round}"));
                    assert!(!child.wait().unwrap().success());
                    let after = fs::read(&path).unwrap();
                    assert_eq!(before == after, round % 3 != 2, "round {round}");
                }
                let written: Vec<String> = (0..rounds(504) / lanes)
                    .filter(|round| round % 3 == 2)
                    .map(|round| format!("b:{round}"))
                    .collect();
                let started = Instant::now();
                add(&engine(folder.path()), "b:last");
                assert!(started.elapsed() < SLOWEST, "{:?}", started.elapsed());
                let store = read(&path);
                let profiles = store["profiles"].as_object().unwrap();
                let theirs: Vec<&str> = profiles.keys().skip(5).map(String::as_str).collect();
                let mut wanted: Vec<&str> = written.iter().map(String::as_str).collect();
                wanted.push("b:last");
                assert_eq!(theirs, wanted);
                for n in 0..5 {
                    assert_eq!(profiles[&format!("a:{n}")]["key"], format!("key-{n}"));
                }
            });
        }
    });
}

#[test]
fn cc_5_logins_beside_usage_lose_nothing_and_readers_see_whole_files() {
    for _ in 0..rounds(2) {
        let (folder, path) = state(5);
        let done = AtomicBool::new(false);
        let reads = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) {
                    let store = read(&path);
                    assert!(store["profiles"].as_object().unwrap().len() >= 5);
                    reads += 1;
                }
                reads
            });
            let children: Vec<Child> = (0..4)
                .map(|n| spawn(folder.path(), &format!("login {n}")))
                .collect();
            for mut child in children {
                assert!(child.wait().unwrap().success());
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        let store = read(&path);
        assert_eq!(store["profiles"].as_object().unwrap().len(), 5 + 16);
        assert_eq!(
            store["usageStats"]["a:0"]["failureCounts"]["rate_limit"],
            400
        );
        assert!(reads > 100, "{reads} reads");
    }
}

#[test]
fn xd_3_and_4_a_writer_killed_anywhere_loses_no_credential_and_holds_nobody_up() {
    let (folder, path) = state(5);
    let here = engine(folder.path());
    for round in 0..rounds(25) {
        let mut child = spawn(folder.path(), "churn 1");
        // Somewhere in the middle of its work.
        std::thread::sleep(Duration::from_millis(15 + (round as u64 * 7) % 60));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = read(&path);
        for n in 0..5 {
            assert_eq!(
                store["profiles"][format!("a:{n}")]["key"],
                format!("key-{n}")
            );
        }
        let started = Instant::now();
        add(&here, "b:here");
        here.remove_profile(None, "b:here").unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
}

#[test]
fn xd_11_and_st_11_a_file_that_is_being_rewritten_is_read_again() {
    let (folder, path) = state(1);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "").unwrap();
    let engine = engine(folder.path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            fs::write(&path, &whole).unwrap();
        });
        let request = LeaseRequest {
            provider: Some("a"),
            ..LeaseRequest::default()
        };
        assert_eq!(engine.lease(&request).unwrap().candidate_id(), "a:0");
    });
}

/// Some releases of OpenClaw store a login without taking the lock. One that lands right after
/// ours takes ours along; it is written again.
#[test]
fn lk_3_a_credential_that_others_undo_is_written_again() {
    let (folder, path) = state(1);
    let engine = engine(folder.path());
    let old = fs::read(&path).unwrap();
    std::thread::scope(|scope| {
        let undone = scope.spawn(|| {
            let mut undone = 0;
            let started = Instant::now();
            while undone < 2 && started.elapsed() < SLOWEST {
                if fs::read(&path).unwrap() != old {
                    fs::write(&path, &old).unwrap();
                    undone += 1;
                }
            }
            undone
        });
        add(&engine, "b:mine");
        assert_eq!(undone.join().unwrap(), 2);
    });
    assert_eq!(read(&path)["profiles"]["b:mine"]["key"], "k");
}

#[test]
fn threads_share_one_write() {
    let (folder, path) = state(8);
    let engine = engine(folder.path());
    std::thread::scope(|scope| {
        for n in 0..8 {
            let engine = &engine;
            scope.spawn(move || (0..1_000).for_each(|_| mark(engine, &format!("a:{n}"))));
        }
    });
    assert!(engine.flush());
    let store = read(&path);
    for n in 0..8 {
        assert_eq!(
            store["usageStats"][format!("a:{n}")]["failureCounts"]["rate_limit"],
            1_000
        );
    }
}
