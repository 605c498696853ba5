//! `secrets apply` killed with SIGKILL at every step of its writing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{find, secrets};
use crate::support::{Gateway, Place};

const SECTIONS: &str = r#"
  $include: "./more.json5",
  models: { providers: { openai: { baseUrl: "http://127.0.0.1:1", apiKey: "sk-MOVED-openai" } } },
"#;
const MORE: &str = r#"{ talk: { apiKey: "sk-MOVED-talk" }, other: { note: "stays" } }"#;
/// What a step of writing is made of.
const STEPS: [&str; 7] = [
    "/^open", "write", "fsync", "/^rename", "/^fchmod", "/^unlink", "/^mkdir",
];

/// An installation with plain secrets, and a plan that moves them.
fn place() -> Place {
    let place = Place::new();
    place.configure(SECTIONS);
    place.write("home/.openclaw/more.json5", MORE);
    place.write(
        "home/.openclaw/.env",
        "OPENAI_API_KEY=sk-MOVED-openai\nX=1\n",
    );
    let vault = json!({"openai": "sk-MOVED-openai", "talk": "sk-MOVED-talk"});
    place.write("vault.json", &vault.to_string());
    let provider = format!(
        "vault={{source: 'file', path: '{}'}}",
        place.path("vault.json").display()
    );
    let plan = place.path("plan.json");
    let planned = secrets(
        &place,
        &[
            "configure",
            "--provider",
            &provider,
            "--set=models.providers.openai.apiKey=file:vault:/openai",
            "--set=talk.apiKey=file:vault:/talk",
            "--out",
            plan.to_str().unwrap(),
        ],
    );
    assert_eq!(planned.status.code(), Some(0), "{planned:?}");
    place
}

/// The files of the state folder.
fn files(place: &Place) -> BTreeMap<PathBuf, String> {
    let state = place.path("home/.openclaw");
    let entries = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.is_file()).map(|path| {
        let name = path.strip_prefix(&state).unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    texts.collect()
}

fn is_temporary(name: &Path) -> bool {
    name.extension().is_some_and(|end| end == "tmp")
}

fn apply(place: &Place) {
    let plan = place.path("plan.json");
    let applied = secrets(place, &["apply", "--from", plan.to_str().unwrap()]);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
}

#[test]
fn killed_at_every_step_an_apply_leaves_whole_files_and_no_moved_secret_in_a_leftover() {
    let strace = find("strace");
    let first = place();
    let before = files(&first);
    apply(&first);
    let normal = |place: &Place, text: &str| text.replace(place.path("").to_str().unwrap(), "DIR/");
    let after: BTreeMap<_, _> = files(&first)
        .into_iter()
        .map(|(name, text)| (name, normal(&first, &text)))
        .collect();
    let (mut kills, mut leftovers) = (0, 0);
    for step in STEPS {
        let mut turn = 0;
        loop {
            turn += 1;
            let place = place();
            let mut command = Command::new(&strace);
            let ours = Gateway::command(&place);
            command
                .args(["-f", "-qq", "-o", "/dev/null"])
                .args(["-e", &format!("inject={step}:signal=SIGKILL:when={turn}")])
                .arg(ours.get_program())
                .args(["secrets", "apply", "--from"])
                .arg(place.path("plan.json"))
                .env_clear()
                .envs(
                    ours.get_envs()
                        .filter_map(|(name, value)| Some((name, value?))),
                );
            let ended = command.output().unwrap();
            let killed = !ended.status.success();
            kills += usize::from(killed);
            for (name, text) in files(&place) {
                let text = normal(&place, &text);
                if is_temporary(&name) {
                    leftovers += 1;
                    assert!(!text.contains("MOVED"), "{step} {turn}: {name:?} {text}");
                } else {
                    let whole = before.get(&name) == Some(&text) || after.get(&name) == Some(&text);
                    assert!(whole, "{step} {turn}: {name:?} is half done: {text}");
                }
            }
            // Nothing is lost, and the next run finishes and cleans up.
            apply(&place);
            let end: BTreeMap<_, _> = files(&place)
                .into_iter()
                .map(|(name, text)| (name, normal(&place, &text)))
                .collect();
            assert_eq!(end, after, "{step} {turn}");
            if !killed {
                break;
            }
        }
    }
    println!("{kills} kills, {leftovers} leftovers");
    assert!(kills > 20, "only {kills} kills");
    assert!(leftovers > 0, "no kill hit a temporary file");
}
