//! Holds the code to the table of rooms: what each may import.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room may import these.
const EVERYWHERE: &[&str] = &["error", "text", "json", "host", "date"];

/// Room and what else it may import. The same table as in `docs/architecture.md`.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("text", &[]),
    ("json", &[]),
    ("host", &[]),
    ("date", &[]),
    ("config", &[]),
    ("secrets", &["config"]),
    ("profiles", &["config", "secrets"]),
    ("keys", &["config"]),
    ("oauth", &["config", "secrets", "profiles"]),
    ("sessions", &["config", "profiles"]),
    ("access", &["config"]),
    ("snapshot", &["config", "secrets", "keys", "access"]),
    ("engine", ABOVE),
    ("report", ABOVE),
    // Doors for benchmarks, under the feature `testing` only.
    ("bench", ABOVE),
];

const ABOVE: &[&str] = &[
    "config", "secrets", "profiles", "keys", "oauth", "sessions", "access", "snapshot", "engine",
];

/// Crates that exactly one room imports, so that each can be replaced.
const ONE_PLACE: &[(&str, &str)] = &[
    ("json5", "json"),
    ("jsonptr", "secrets"),
    ("ipnet", "access"),
    ("oauth2", "oauth"),
    ("ureq", "host"),
];

/// Calls that only the host may make.
const WORLD: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::env::var",
    "std::env::current_dir",
    "std::fs::",
    "fs::read",
    "Command::new",
    "thread::sleep",
    "TcpStream",
    "TcpListener",
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let room = |path: &Path| {
        let first = path
            .strip_prefix(&root)
            .unwrap()
            .components()
            .next()
            .unwrap();
        first
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned()
    };
    files
        .into_iter()
        .map(|path| (room(&path), path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The code without its unit tests and comments.
fn code(text: &str) -> String {
    let body = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Names of rooms after `crate::`, in use lines (also grouped ones) and in paths.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let group = rest
            .strip_prefix('{')
            .map(|group| group.split('}').next().unwrap_or_default());
        let list = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
        for item in list {
            let name: String = item
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            names.push(name);
        }
    }
    names
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut broken = Vec::new();
    for (room, path, text) in sources() {
        if room == "lib" {
            continue;
        }
        let Some(allowed) = table.get(room.as_str()) else {
            broken.push(format!("{} is in no room of the table", path.display()));
            continue;
        };
        for import in imports(&code(&text)) {
            let known = table.contains_key(import.as_str());
            let fine = import == room
                || EVERYWHERE.contains(&import.as_str())
                || allowed.contains(&import.as_str());
            if known && !fine {
                broken.push(format!(
                    "{}: {room} may not import {import}",
                    path.display()
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn foundations_do_not_import_each_other_in_circles() {
    for (room, path, text) in sources() {
        let forbidden: &[&str] = match room.as_str() {
            "error" => &["text", "json", "host"],
            "text" => &["json", "host", "error"],
            "json" | "host" => {
                if room == "json" {
                    &["host"]
                } else {
                    &["json"]
                }
            }
            _ => continue,
        };
        for import in imports(&code(&text)) {
            assert!(
                !forbidden.contains(&import.as_str()),
                "{}: {room} imports {import}",
                path.display()
            );
        }
    }
}

#[test]
fn replaceable_crates_are_imported_in_one_room() {
    for (room, path, text) in sources() {
        for (name, home) in ONE_PLACE {
            let used = code(&text).contains(&format!("{name}::"));
            assert!(
                !used || room == *home,
                "{}: only {home} may import {name}",
                path.display()
            );
        }
    }
}

#[test]
fn only_the_host_touches_the_world() {
    for (room, path, text) in sources() {
        if room == "host" || path.ends_with("tests.rs") {
            continue;
        }
        for call in WORLD {
            assert!(
                !code(&text).contains(call),
                "{}: {call} belongs to the host",
                path.display()
            );
        }
    }
}

#[test]
fn the_facade_only_re_exports() {
    let (_, _, text) = sources()
        .into_iter()
        .find(|(room, ..)| room == "lib")
        .unwrap();
    let stray: Vec<String> = code(&text)
        .lines()
        .filter(|line| {
            let line = line.trim();
            !(line.is_empty()
                || line.starts_with("#![")
                || line.starts_with("#[cfg")
                || line.starts_with("#[doc")
                || line.starts_with("mod ")
                || line.starts_with("pub mod ")
                || line.starts_with("pub use ")
                || line.starts_with('}')
                || line.ends_with(',')
                || line.ends_with("};"))
        })
        .map(str::to_owned)
        .collect();
    assert!(
        stray.is_empty(),
        "lib.rs holds more than re-exports: {stray:?}"
    );
}
