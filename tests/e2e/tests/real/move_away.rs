//! Plain secrets go away while the gateway runs, and no request notices.

use std::time::Duration;

use serde_json::{Value, json};

use super::{key_of, secrets};
use crate::support::{Gateway, Place, Upstream, wait_for};

const SECTIONS: &str = r#"
  // Of the team; do not touch.
  models: {
    providers: {
      openai: { baseUrl: "UPSTREAM", apiKey: "sk-plain-openai" }, // the main one
      other: { baseUrl: "UPSTREAM", apiKey: 'sk-plain-other', },
    },
  },
  talk: { apiKey: "sk-plain-talk" },
  channels: { telegram: { botToken: "plain-telegram" } },
"#;

/// Place and id in the new file.
const MOVED: [(&str, &str, &str); 4] = [
    (
        "models.providers.openai.apiKey",
        "openai",
        "sk-plain-openai",
    ),
    ("models.providers.other.apiKey", "other", "sk-plain-other"),
    ("talk.apiKey", "talk", "sk-plain-talk"),
    ("channels.telegram.botToken", "telegram", "plain-telegram"),
];

#[test]
fn an_installation_is_cleaned_under_a_running_gateway() {
    let (place, upstream) = (Place::new(), Upstream::start());
    place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
    let text = place.text(Place::CONFIG);
    place.write(
        Place::CONFIG,
        &text.replace(r#"reload: { mode: "off" },"#, ""),
    );
    place.write(
        "home/.openclaw/.env",
        "# keys\nOPENAI_API_KEY=sk-plain-openai\nX=1\n",
    );
    let values: Value = MOVED
        .iter()
        .map(|(_, id, value)| (*id, json!(value)))
        .collect();
    place.write("vault.json", &values.to_string());
    let gateway = Gateway::start(&place, &[]);
    let keys = || ["openai", "other"].map(|name| key_of(name, &gateway, &upstream));
    assert_eq!(keys(), ["sk-plain-openai", "sk-plain-other"]);

    let before = audit(&place);
    assert_eq!(before["summary"]["plaintextCount"], 5, "{before}");
    let provider = format!(
        "vault={{source: 'file', path: '{}'}}",
        place.path("vault.json").display()
    );
    let plan = place.path("plan.json");
    let mut line = vec![
        "configure",
        "--provider",
        &provider,
        "--out",
        plan.to_str().unwrap(),
    ];
    let sets: Vec<String> = MOVED
        .iter()
        .map(|(path, id, _)| format!("--set={path}=file:vault:/{id}"))
        .collect();
    line.extend(sets.iter().map(String::as_str));
    let planned = secrets(&place, &line);
    assert_eq!(planned.status.code(), Some(0), "{planned:?}");
    let applied = secrets(&place, &["apply", "--from", plan.to_str().unwrap()]);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");

    // The gateway takes it over by itself: other files, the same keys.
    let taken_over = || {
        gateway
            .stderr()
            .contains("reloaded, generation 2\n")
            .then_some(())
    };
    wait_for("the reload", taken_over);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(keys(), ["sk-plain-openai", "sk-plain-other"]);
    let after = audit(&place);
    assert_eq!(after["summary"]["plaintextCount"], 0, "{after}");
    assert_eq!(after["status"], "clean", "{after}");

    let config = place.text(Place::CONFIG);
    for kept in ["// Of the team; do not touch.", "// the main one"] {
        assert!(config.contains(kept), "{config}");
    }
    assert_eq!(place.text("home/.openclaw/.env"), "# keys\nX=1\n");
    for (_, _, value) in MOVED {
        assert!(!config.contains(value), "{config}");
        assert!(!gateway.stderr().contains(value));
    }
}

fn audit(place: &Place) -> Value {
    let output = secrets(place, &["audit", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}
