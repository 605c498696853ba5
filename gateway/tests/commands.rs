//! Credentials, orders, models, agents and stores as people and scripts change them: exit codes,
//! streams, documents, and what the files hold afterwards.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and run the program as its users do"
)]

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "sk-ant-api03-canary-0123456789-canary-0123456789";
const ENV_KEY: &str = "sk-env-canary-0123456789-canary-0123456789";
const CONFIG: &str = r#"{
  // our models
  agents: {
    defaults: {
      model: { primary: "Opus", fallbacks: ["openai/gpt-5.2"] }, // the best
      models: {
        "anthropic/claude-opus-4-6": { alias: "Opus" },
        "openai/gpt-5.2": {},
      },
    },
  },
}
"#;

/// A home with a configuration, in which the program is run.
struct Home(TempDir);

struct Done {
    exit: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.state()).unwrap();
        fs::set_permissions(home.state(), Permissions::from_mode(0o700)).unwrap();
        fs::write(home.config(), CONFIG).unwrap();
        fs::set_permissions(home.config(), Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn state(&self) -> PathBuf {
        self.0.path().join(".openclaw")
    }

    fn config(&self) -> PathBuf {
        self.state().join("openclaw.json")
    }

    fn store(&self) -> PathBuf {
        self.state().join("agents/main/agent/auth-profiles.json")
    }

    fn stored(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.store()).unwrap()).unwrap()
    }

    fn run_with(&self, line: &[&str], input: &str) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw-auth"))
            .args(line)
            .env_clear()
            .env("HOME", self.0.path())
            .env("OPENAI_API_KEY", ENV_KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who does not read its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let done = Done {
            exit: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        for stream in [&done.out, &done.err] {
            assert!(
                !stream.contains("canary-0123456789-canary"),
                "{line:?}: {stream}"
            );
            assert!(!stream.contains('\u{1b}'), "{line:?}: {stream}");
        }
        for line in done.out.lines().filter(|_| !line.contains(&"--json")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        done
    }

    fn run(&self, line: &[&str]) -> Done {
        self.run_with(line, "")
    }

    /// Runs a command that has to end with 0.
    fn fine(&self, line: &[&str]) -> String {
        let done = self.run(line);
        assert_eq!(done.exit, 0, "{line:?}: {}{}", done.out, done.err);
        done.out
    }

    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.fine(line)).unwrap()
    }

    fn with_profiles() -> Self {
        let home = Self::new();
        let add = ["models", "auth", "add", "--provider", "anthropic"];
        let done = home.run_with(
            &[&add[..], &["--profile-id", "anthropic:work"]].concat(),
            KEY,
        );
        assert_eq!(
            done.out,
            "Auth profile: anthropic:work (anthropic/api_key)\n"
        );
        let token = [
            "--type",
            "token",
            "--expires-in",
            "10d",
            "--email",
            "me@example.com",
        ];
        let done = home.run_with(&[&add[..], &token].concat(), "tok-canary-0123456789-canary");
        assert_eq!(done.exit, 0, "{}", done.err);
        home
    }
}

#[test]
fn keys_come_from_everywhere_but_the_command_line() {
    let home = Home::with_profiles();
    let file = home.0.path().join("key");
    fs::write(&file, "file-canary-0123456789-canary\n").unwrap();
    let add = ["models", "auth", "add", "--provider", "x", "--profile-id"];
    let file = file.to_str().unwrap();
    for (id, from) in [
        ("x:file", &["--from-file", file][..]),
        ("x:env", &["--from-env", "OPENAI_API_KEY"]),
        ("x:ref", &["--ref", "env:default:OPENAI_API_KEY"]),
    ] {
        home.fine(&[&add[..], &[id], from].concat());
    }
    let profiles = &home.stored()["profiles"];
    assert_eq!(profiles["x:file"]["key"], "file-canary-0123456789-canary");
    assert_eq!(profiles["x:env"]["key"], ENV_KEY);
    assert_eq!(profiles["x:ref"]["keyRef"]["id"], "OPENAI_API_KEY");
    assert_eq!(profiles["x:ref"].get("key"), None);
    for (more, exit, part) in [
        (
            &["x:file", "--from-env", "OPENAI_API_KEY"][..],
            1,
            "--replace",
        ),
        (&["x:new", "--from-env", "NO_SUCH"], 1, "NO_SUCH is not set"),
        (
            &["x:new", "--ref", "nonsense"],
            64,
            "is not source:provider:id",
        ),
        (
            &["x:new", "--stdin", "--ref", "env:default:A"],
            64,
            "cannot be used with",
        ),
        (&["x:new", "--expires-in", "3d"], 64, "--type token"),
        (&["x:new"], 1, "empty_input"),
    ] {
        let done = home.run(&[&add[..], more].concat());
        assert_eq!(done.exit, exit, "{more:?}: {}", done.err);
        assert!(done.err.contains(part), "{more:?}: {}", done.err);
        assert_eq!(done.out, "");
    }
    assert!(home.stored()["profiles"].get("x:new").is_none());
}

#[test]
fn profiles_are_listed_and_removed() {
    let home = Home::with_profiles();
    let text = home.fine(&["models", "auth", "list"]);
    for part in [
        "anthropic:work",
        "sk-ant...456789",
        "expires in 10d",
        "me@example.com",
        "env:OPENAI_API_KEY",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let list = home.json(&[
        "models",
        "auth",
        "list",
        "--provider",
        "anthropic",
        "--json",
    ]);
    assert_eq!(list["profiles"].as_array().unwrap().len(), 2);
    assert_eq!(list["env"], json!([]));
    let all = home.json(&["models", "auth", "list", "--json"]);
    assert_eq!(all["env"][0]["variable"], "OPENAI_API_KEY");

    let done = home.run(&["models", "auth", "remove", "anthropic:wrok", "--yes"]);
    assert_eq!(done.exit, 1);
    assert!(
        done.err.contains("did you mean anthropic:work"),
        "{}",
        done.err
    );
    let done = home.run(&["models", "auth", "remove", "anthropic:work"]);
    assert_eq!(
        (done.exit, done.err.contains("--yes")),
        (1, true),
        "{}",
        done.err
    );
    home.fine(&[
        "models",
        "auth",
        "order",
        "set",
        "--provider",
        "anthropic",
        "anthropic:work",
    ]);
    home.fine(&["models", "auth", "logout", "anthropic:work", "--yes"]);
    let store = home.stored();
    assert!(store["profiles"].get("anthropic:work").is_none() && store.get("order").is_none());
}

#[test]
fn orders_are_set_shown_and_cleared() {
    let home = Home::with_profiles();
    let order = ["models", "auth", "order"];
    let anthropic = ["--provider", "anthropic"];
    let line = |word: &'static str, more: &[&'static str]| {
        [&order[..], &[word], &anthropic, more].concat()
    };
    assert!(
        home.fine(&line("get", &[]))
            .ends_with("Order override: (none)\n")
    );
    let done = home.run(&line("set", &["anthropic:work", "anthropic:work"]));
    assert_eq!(
        done.out,
        "Agent: main\nProvider: anthropic\nOrder override: anthropic:work\n"
    );
    assert!(
        done.err.contains("never used: anthropic:default"),
        "{}",
        done.err
    );
    let document = home.json(&line("get", &["--json"]));
    assert_eq!(document["order"], json!(["anthropic:work"]));
    assert_eq!(document["source"], "stored");
    for (more, exit, part) in [
        (&["nope:x"][..], 1, "Auth profile \"nope:x\" not found in "),
        (&[], 64, "missing <PROFILE>"),
    ] {
        let done = home.run(&line("set", more));
        assert_eq!(done.exit, exit, "{}", done.err);
        assert!(done.err.contains(part), "{}", done.err);
    }
    let done = home.run(&[
        "models",
        "auth",
        "order",
        "set",
        "--provider",
        "openai",
        "anthropic:work",
    ]);
    assert!(
        done.err.contains("is for anthropic, not openai."),
        "{}",
        done.err
    );
    assert_eq!(
        home.fine(&line("clear", &[])),
        "Cleared per-agent order override.\n"
    );
    assert_eq!(
        home.fine(&line("clear", &[])),
        "No order override for anthropic.\n"
    );
    assert!(home.stored().get("order").is_none());
}

#[test]
fn cooldowns_are_ended() {
    let home = Home::with_profiles();
    let clear = ["models", "auth", "cooldown", "clear"];
    let mut store = home.stored();
    let far = 4_000_000_000_000u64.min(now_ms() + 3_600_000);
    store["usageStats"] = json!({"anthropic:work": {"lastUsed": 5, "disabledUntil": far, "disabledReason": "billing", "errorCount": 3}});
    fs::write(home.store(), store.to_string()).unwrap();
    let text = home.fine(&["models", "auth", "list"]);
    assert!(text.contains("disabled 1h (billing)"), "{text}");
    assert_eq!(home.run(&clear).exit, 64);
    assert_eq!(home.run(&[&clear[..], &["nope:x"]].concat()).exit, 1);
    let done = home.fine(&[&clear[..], &["--provider", "anthropic"]].concat());
    assert_eq!(done, "Cleared: anthropic:work\n");
    assert_eq!(
        home.stored()["usageStats"]["anthropic:work"],
        json!({"lastUsed": 5, "errorCount": 0})
    );
    assert_eq!(
        home.json(&[&clear[..], &["--all", "--json"]].concat()),
        json!({"cleared": []})
    );
}

#[test]
fn models_aliases_and_fallbacks_keep_the_layout_of_the_configuration() {
    let home = Home::with_profiles();
    assert_eq!(
        home.fine(&["models", "list", "--plain"]),
        "anthropic/claude-opus-4-6\nopenai/gpt-5.2\n"
    );
    let list = home.json(&["models", "list", "--json"]);
    assert_eq!(list["count"], 2);
    assert_eq!(
        list["models"][0]["tags"],
        json!(["default", "configured", "alias:Opus"])
    );
    for (line, out) in [
        (
            &["models", "set", "openai/gpt-6"][..],
            "Default model: openai/gpt-6\n",
        ),
        (
            &["models", "aliases", "add", "Six", "openai/gpt-6"],
            "Alias Six -> openai/gpt-6\n",
        ),
        (
            &["models", "aliases", "list", "--plain"],
            "Opus anthropic/claude-opus-4-6\nSix openai/gpt-6\n",
        ),
        (
            &["models", "fallbacks", "add", "Opus"],
            "Fallback: anthropic/claude-opus-4-6\n",
        ),
        (
            &["models", "fallbacks", "add", "Opus"],
            "Fallback: anthropic/claude-opus-4-6\n",
        ),
        (
            &["models", "fallbacks", "remove", "openai/gpt-5.2"],
            "Removed fallback: openai/gpt-5.2\n",
        ),
        (
            &["models", "image-fallbacks", "add", "google/gemini"],
            "Fallback: google/gemini\n",
        ),
        (
            &["models", "aliases", "remove", "opus"],
            "Removed alias: opus\n",
        ),
    ] {
        assert_eq!(home.fine(line), out, "{line:?}");
    }
    let expected = CONFIG
        .replace(
            "\"Opus\", fallbacks: [\"openai/gpt-5.2\"]",
            "\"openai/gpt-6\", fallbacks: [\"anthropic/claude-opus-4-6\"]",
        )
        .replace("{ alias: \"Opus\" }", "{}")
        .replace(
            "        \"openai/gpt-5.2\": {},\n",
            "        \"openai/gpt-5.2\": {},\n        \"openai/gpt-6\": { alias: \"Six\" },\n",
        )
        .replace(
            "      },\n    },\n  },",
            "      },\n      imageModel: { fallbacks: [\"google/gemini\"] },\n    },\n  },",
        );
    let text = fs::read_to_string(home.config()).unwrap();
    assert_eq!(text, expected);
    for (line, code) in [
        (&["models", "set", "nope"][..], "model_unrecognized"),
        (&["models", "aliases", "add", "Six", "a/b"], "alias_exists"),
        (
            &["models", "aliases", "add", "a b", "a/b"],
            "invalid_argument",
        ),
        (&["models", "aliases", "remove", "zzz"], "alias_not_found"),
        (
            &["models", "fallbacks", "remove", "foo/bar"],
            "fallback_not_found",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.exit, 1, "{line:?}");
        assert!(done.err.contains(code), "{line:?}: {}", done.err);
    }
    assert_eq!(fs::read_to_string(home.config()).unwrap(), expected);
    assert_eq!(
        home.fine(&["models", "fallbacks", "clear"]),
        "Fallback list cleared.\n"
    );
    assert_eq!(
        home.json(&["models", "fallbacks", "list", "--json"]),
        json!({"fallbacks": []})
    );
}

#[test]
fn a_session_chooses_its_model_and_profile() {
    let home = Home::with_profiles();
    let select = [
        "model",
        "Opus@anthropic:work",
        "--session",
        "s1",
        "--offline",
    ];
    let text = home.fine(&select).replace("\n ", "");
    assert_eq!(
        text,
        "Model set to Opus (anthropic/claude-opus-4-6). Auth profile set to anthropic:work.\n"
    );
    let shown = home.json(&["model", "--session", "s1", "--json"]);
    assert_eq!(shown["selection"]["profile"], "anthropic:work");
    assert_eq!(shown["selection"]["source"], "user");
    let sessions = home.state().join("openclaw-auth/sessions.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(&sessions).unwrap()).unwrap();
    assert_eq!(
        kept["sessions"]["main/s1"]["authProfileOverride"],
        "anthropic:work"
    );
    assert_eq!(
        fs::metadata(&sessions).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let list = home.json(&["model", "list", "--session", "s1", "--json"]);
    assert_eq!(list["list"][0]["key"], "anthropic/claude-opus-4-6");
    let stale = home.run(&[
        "model",
        "2",
        "--session",
        "s1",
        "--fingerprint",
        "000000000000",
    ]);
    assert!(stale.err.contains("model_list_changed"), "{}", stale.err);
    let fingerprint = list["fingerprint"].as_str().unwrap();
    let picked = home.json(&[
        "model",
        "2",
        "--session",
        "s1",
        "--fingerprint",
        fingerprint,
        "--json",
    ]);
    assert_eq!(picked["selection"]["model"], "gpt-5.2");
    assert!(home.fine(&["model", "status"]).contains("sk-ant...456789"));
    let reset = home.json(&["model", "default", "--session", "s1", "--json"]);
    assert_eq!(
        (&reset["action"], &reset["selection"]["isDefault"]),
        (&json!("reset"), &json!(true))
    );

    let done = home.run(&["model", "Opus@nope:x"]);
    assert_eq!(done.exit, 1);
    assert!(
        done.err.contains("Auth profile \"nope:x\" not found."),
        "{}",
        done.err
    );
    let done = home.run(&["model", "x/y", "--json"]);
    assert_eq!(done.exit, 1);
    let refused: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&refused["ok"], &refused["error"]["code"]),
        (&json!(false), &json!("model_not_allowed"))
    );
    assert_eq!(home.run(&["model", "--session", "a b"]).exit, 64);
    assert_eq!(home.run(&["model", "--bogus"]).exit, 64);
}

#[test]
fn an_entry_of_a_session_store_of_openclaw_is_changed_in_place() {
    let home = Home::with_profiles();
    let file = home.0.path().join("sessions.json");
    fs::write(
        &file,
        "{\"agent:main:main\": {\"sessionId\": \"x\", \"updatedAt\": 1}, \"other\": {\"y\": 2}}",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let line = [
        "model",
        "Opus@anthropic:work",
        "--sessions-file",
        path,
        "--session",
    ];
    home.fine(&[&line[..], &["agent:main:main"]].concat());
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let entry = &kept["agent:main:main"];
    assert_eq!(
        (&entry["sessionId"], &entry["authProfileOverride"]),
        (&json!("x"), &json!("anthropic:work"))
    );
    assert_eq!(kept["other"], json!({"y": 2}));
    assert_eq!(home.run(&[&line[..], &["missing"]].concat()).exit, 1);
}

#[test]
fn xd_25_agents_are_added_listed_and_deleted() {
    let home = Home::with_profiles();
    let done = home.run(&["agents", "add", "Work Agent!", "--bind", "slack:team"]);
    assert_eq!(done.exit, 0, "{}", done.err);
    assert!(
        done.err.contains("Normalized agent id to \"work-agent\"."),
        "{}",
        done.err
    );
    let store = home
        .state()
        .join("agents/work-agent/agent/auth-profiles.json");
    assert_eq!(
        fs::read_to_string(&store).unwrap(),
        "{\n  \"version\": 1,\n  \"profiles\": {}\n}\n",
        "an empty store keeps OpenClaw from copying the credentials of main"
    );
    assert_eq!(
        fs::metadata(&store).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(
        text.contains("// our models") && text.contains("// the best"),
        "{text}"
    );
    for (name, code) in [("work-agent", "agent_exists"), ("Main", "agent_reserved")] {
        let done = home.run(&["agents", "add", name]);
        assert_eq!(
            (done.exit, done.err.contains(code)),
            (1, true),
            "{}",
            done.err
        );
    }
    assert_eq!(home.run(&["agents", "add"]).exit, 64);
    let copied = home.json(&["agents", "add", "copy", "--copy-auth", "static", "--json"]);
    assert_eq!(
        copied["copied"],
        json!(["anthropic:work", "anthropic:default"])
    );
    let agents = home.json(&["agents", "list", "--json"]);
    let ids: Vec<&str> = agents
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["main", "work-agent", "copy"]);
    assert_eq!(
        (
            &agents[0]["isDefault"],
            &agents[1]["bindings"],
            &agents[2]["profiles"]
        ),
        (&json!(true), &json!(1), &json!(2))
    );
    assert!(home.fine(&["agents", "list"]).contains("no store") || agents[1]["profiles"] == 0);

    for (line, part) in [
        (
            &["agents", "delete", "main", "--force"][..],
            "\"main\" cannot be deleted.",
        ),
        (
            &["agents", "delete", "nope", "--force"],
            "Agent \"nope\" not found.",
        ),
        (
            &["agents", "delete", "copy"],
            "Non-interactive. Re-run with --force.",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(
            (done.exit, done.err.contains(part)),
            (1, true),
            "{}",
            done.err
        );
    }
    let gone = home.json(&["agents", "delete", "work-agent", "--force", "--json"]);
    assert_eq!(gone["removedBindings"], 1);
    let trash = PathBuf::from(gone["trash"].as_str().unwrap());
    assert!(trash.join("agent/auth-profiles.json").exists() && !store.exists());
    assert!(!fs::read_to_string(home.config()).unwrap().contains("slack"));
}

#[test]
fn a_damaged_store_is_shown_mended_and_kept() {
    let home = Home::with_profiles();
    assert_eq!(home.json(&["store", "check", "--json"])["ok"], true);
    let whole = fs::read_to_string(home.store()).unwrap();
    let cut = whole
        .get(..whole.find("anthropic:default").unwrap() + 30)
        .unwrap();
    fs::write(home.store(), cut).unwrap();
    let done = home.run(&["store", "check", "--json"]);
    let found: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (done.exit, &found["findings"][0]["code"]),
        (1, &json!("store_corrupt"))
    );
    let done = home.run(&["store", "repair"]);
    assert_eq!(
        (
            done.exit,
            done.err.contains("What can be saved: anthropic:work")
        ),
        (1, true),
        "{}",
        done.err
    );
    assert_eq!(fs::read_to_string(home.store()).unwrap(), cut);
    let done = home.json(&["store", "repair", "--yes", "--json"]);
    assert_eq!(done["profiles"], json!(["anthropic:work"]));
    assert_eq!(
        fs::read_to_string(done["copy"].as_str().unwrap()).unwrap(),
        cut
    );
    assert_eq!(home.stored()["profiles"]["anthropic:work"]["key"], KEY);
    assert!(home.fine(&["store", "repair"]).contains("is in order"));

    let mut store = home.stored();
    store["order"] = json!({"anthropic": ["anthropic:gone"]});
    store["profiles"]["odd"] = json!({"type": "zzz"});
    fs::write(home.store(), store.to_string()).unwrap();
    let done = home.run(&["store", "check"]);
    assert_eq!(done.exit, 3, "{}", done.out);
    assert!(
        done.out.contains("anthropic:gone") && done.out.contains("\"odd\""),
        "{}",
        done.out
    );

    fs::write(home.store(), "{\"openrouter\": {\"apiKey\": \"k\"}}").unwrap();
    assert_eq!(home.run(&["models", "auth", "list"]).exit, 1);
    let done = home.json(&["store", "migrate", "--json"]);
    assert_eq!(done["profiles"], json!(["openrouter:default"]));
    assert!(
        home.fine(&["store", "migrate"])
            .contains("nothing to take over")
    );
    fs::remove_file(home.store()).unwrap();
    fs::write(
        home.store().with_file_name("auth.json"),
        "{\"x\": {\"apiKey\": \"k\"}}",
    )
    .unwrap();
    assert!(home.fine(&["store", "migrate"]).contains("x:default"));
}

#[test]
fn unknown_agents_and_options_are_refused_everywhere() {
    let home = Home::new();
    for line in [
        &["models", "auth", "list"][..],
        &["models", "auth", "order", "get", "--provider", "a"],
        &["models", "auth", "cooldown", "clear", "--all"],
        &["models", "list"],
        &["model"],
        &["store", "check"],
        &["store", "repair"],
        &["store", "migrate"],
    ] {
        let done = home.run(&[line, &["--agent", "nope"]].concat());
        assert_eq!((done.exit, done.out.as_str()), (1, ""), "{line:?}");
        assert!(
            done.err.contains("Unknown agent id \"nope\"."),
            "{line:?}: {}",
            done.err
        );
        assert_eq!(
            home.run(&[line, &["--bogus"]].concat()).exit,
            64,
            "{line:?}"
        );
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}
