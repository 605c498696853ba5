//! Every test and example that `docs/guarantees.md` names exists.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and read files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

#[test]
fn what_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = BTreeSet::new();
    for folder in ["core", "gateway", "tests"] {
        functions(&root.join(folder), &mut known);
    }
    for line in include_str!("../../tests/vectors/secrets.jsonl").lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        known.insert(example["id"].as_str().unwrap().to_owned());
    }
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let (mut checked, mut missing) = (0, Vec::new());
    for row in rows {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if shown == "shown by" {
            continue;
        }
        checked += 1;
        if names.is_empty() {
            missing.push(format!("nothing shows: {row}"));
        }
        let unknown = names.into_iter().filter(|name| !known.contains(*name));
        missing.extend(unknown.map(|name| format!("there is no {name}: {row}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(checked > 40, "only {checked} rows were checked");
}

/// Names of the test functions in Rust files below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", "node_modules", ".cache"].contains(&name) {
                functions(&path, names);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ")
                    && std::mem::take(&mut is_test)
                {
                    names.insert(rest.split('(').next().unwrap().to_owned());
                }
            }
        }
    }
}
