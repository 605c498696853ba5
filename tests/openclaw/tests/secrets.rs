//! Every configuration whose references OpenClaw resolves has the same values here.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use openclaw_auth_openclaw_tests::{Home, OpenClaw};
use serde_json::{Value, json};

/// Examples in which we are stricter or kinder on purpose, each with why.
const DIFFERENT: &[(&str, &str)] = &[
    ("F03", "RFC 6901 has no index with a leading zero"),
    ("R05", "a redaction placeholder is no credential"),
    ("X33", "invalid UTF-8 must not be repaired in a secret"),
];

#[test]
fn invariant_10_examples_have_the_values_of_openclaw() {
    let ours = Home::default();
    let mut openclaw = OpenClaw::start(ours.path());
    let (mut compared, mut values, mut wrong) = (0, 0, Vec::new());
    for line in include_str!("../../vectors/secrets.jsonl").lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let (Some(_), "activate" | "load" | "classify" | "read") =
            (example.get("config"), example["op"].as_str().unwrap())
        else {
            continue;
        };
        let id = example["id"].as_str().unwrap();
        // A program that hangs has no value to compare; a time limit of 0 ms, which OpenClaw's own
        // schema refuses, has one at times.
        if example["then"].get("maxElapsedMs").is_some() || id == "F28" {
            continue;
        }
        let (home, example) = place(&example);
        let Ok(theirs) = openclaw.ask(&json!({
            "op": "secrets", "config": example["config"], "env": home.env(),
        })) else {
            continue;
        };
        let mut sites = Vec::new();
        references(&example["config"], &mut Vec::new(), &mut sites);
        sites.retain(|site| at(&theirs, site) != at(&example["config"], site));
        if sites.is_empty() {
            continue;
        }
        compared += 1;
        let engine = home.engine();
        for site in sites {
            values += 1;
            let theirs = at(&theirs, &site);
            let path = spelled(&site);
            let same = engine.as_ref().is_ok_and(|engine| {
                let snapshot = engine.snapshot();
                let ours = snapshot.secret(&path);
                ours.is_ok_and(|ours| theirs.is_some_and(|text| text == ours.expose()))
            });
            if !same {
                let why = engine.as_ref().map_or_else(ToString::to_string, |engine| {
                    format!("{:?}", engine.snapshot().secret(&path).err())
                });
                wrong.push((id.to_owned(), format!("{id} {path}: {why}")));
            }
        }
    }
    println!("{compared} examples with {values} references compared");
    let known = |id: &str| DIFFERENT.iter().any(|(known, _)| *known == id);
    let new: Vec<_> = wrong.iter().filter(|(id, _)| !known(id)).collect();
    assert!(new.is_empty(), "{new:#?}");
    for (id, why) in DIFFERENT {
        assert!(
            wrong.iter().any(|(other, _)| other == id),
            "{id} is the same by now: {why}"
        );
    }
    assert!(compared >= 38, "only {compared} examples were compared");
}

#[test]
fn invariant_10_a_whole_configuration_has_the_values_of_openclaw() {
    let mut home = Home::default();
    let shown = home.path().to_str().unwrap().to_owned();
    let main = include_str!("../files/openclaw.json5").replace("%H%", &shown);
    home.write(".openclaw/openclaw.json", &main, 0o600);
    home.write(
        ".openclaw/more.json5",
        include_str!("../files/more.json5"),
        0o600,
    );
    let file =
        json!({"providers": {"other": {"apiKey": "from-file"}}, "a/b": {"c~d": "odd"}, "irc": "i"});
    home.write(".openclaw/secrets.json", &file.to_string(), 0o600);
    home.write(".openclaw/token.txt", "single-value\n", 0o600);
    home.write(
        "resolver",
        "#!/bin/sh\necho '{\"protocolVersion\": 1, \"values\": {\"team/header\": \"blue\", \
         \"skills/a\": \"skill-key\", \"discord\": \"d-token\"}}'\n",
        0o700,
    );
    for name in [
        "OPENAI_API_KEY",
        "GATEWAY_TOKEN",
        "CRON_TOKEN",
        "TG",
        "SLACK_SIGNING",
        "TTS",
    ] {
        home.set(name, format!("value of {name}"));
    }
    let mut openclaw = OpenClaw::start(home.path());
    let read = json!({"op": "config", "home": home.path(), "env": home.env()});
    let read = openclaw.ask(&read).unwrap();
    assert_eq!(read["valid"], true, "{}", read["issues"]);
    let resolve = json!({"op": "secrets", "config": read["config"], "env": home.env()});
    let theirs = openclaw.ask(&resolve).unwrap();

    let engine = home.engine().unwrap();
    let snapshot = engine.snapshot();
    let mut compared = 0;
    for surface in snapshot.surfaces() {
        let path: Vec<_> = surface.path().split('.').map(str::to_owned).collect();
        let theirs = at(&theirs, &path).and_then(Value::as_str);
        if !surface.is_ready() {
            assert_eq!(theirs, None, "inactive here: {surface:?}");
            continue;
        }
        let ours = snapshot.secret(surface.path()).unwrap();
        assert_eq!(theirs, Some(ours.expose()), "{surface:?}");
        compared += 1;
    }
    assert_eq!(compared, 13);
}

/// A folder with the example's files, programs and variables.
fn place(example: &Value) -> (Home, Value) {
    let mut home = Home::default();
    let text = example
        .to_string()
        .replace("%H%", home.path().to_str().unwrap());
    let example: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in example["env"].as_object().into_iter().flatten() {
        home.set(name, value.as_str().unwrap());
    }
    for (path, file) in example["files"].as_object().into_iter().flatten() {
        if let Some(text) = file["text"].as_str() {
            home.write(path, text, mode(file, 0o600));
        }
    }
    for (path, program) in example["exec"].as_object().into_iter().flatten() {
        let script = format!("#!/bin/sh\n{}\n", program["sh"].as_str().unwrap());
        home.write(path, &script, mode(program, 0o700));
    }
    home.write(
        ".openclaw/openclaw.json",
        &example["config"].to_string(),
        0o600,
    );
    (home, example)
}

fn mode(file: &Value, default: u32) -> u32 {
    let given = file["mode"].as_str();
    given.map_or(default, |mode| u32::from_str_radix(mode, 8).unwrap())
}

/// Where a value stands that is a reference, or a text that names a variable.
fn references(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(map) if map.contains_key("source") && map.contains_key("id") => {
            found.push(path.clone());
        }
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                references(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(index.to_string());
                references(value, path, found);
                path.pop();
            }
        }
        Value::String(text) if text.starts_with('$') => found.push(path.clone()),
        _ => {}
    }
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => value.get(key),
    })
}

/// The path as a configuration path.
fn spelled(path: &[String]) -> String {
    let plain = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    path.iter().fold(String::new(), |mut text, key| {
        match key.parse::<usize>() {
            Ok(index) => text.push_str(&format!(".{index}")),
            Err(_) if plain(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Err(_) => text.push_str(&format!("[{key:?}]")),
        }
        text
    })
}
