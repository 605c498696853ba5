//! `openclaw-auth secrets` as scripts and people use it: the real program, real files.
#![cfg(unix)]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Home {
    _folder: TempDir,
    path: PathBuf,
    env: BTreeMap<String, String>,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().canonicalize().unwrap(),
            _folder: folder,
            env: BTreeMap::new(),
        }
    }

    fn with(config: &str) -> Self {
        let home = Self::new();
        home.write(CONFIG, config, 0o600);
        home
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        write(&self.path.join(name), text, mode);
    }

    /// A program that takes these seconds and then has a secret.
    fn slow(seconds: u32) -> Self {
        let home = Self::new();
        let script = format!("#!/bin/sh\nsleep {seconds}\necho sk-CANARY-slow\n");
        home.write("slow", &script, 0o700);
        let config = SLOW.replace("HOME", home.path.to_str().unwrap());
        home.write(CONFIG, &config, 0o600);
        home
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-auth"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &self.path)
            .env("PATH", "/usr/bin:/bin")
            .envs(&self.env)
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let ended = Ended::of(&self.command(arguments).output().unwrap());
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!shown.contains("CANARY"), "a secret was shown: {shown}");
        ended
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Every file below the folder.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

#[test]
fn what_a_program_says_is_shown_on_request_only() {
    let home = Home::new();
    let script = "#!/bin/sh\nprintf 'token hvs.CANARY \\033[31mrefused\\n' >&2\nexit 2\n";
    home.write("resolver", script, 0o700);
    let config = SLOW.replace("HOME/slow", home.path.join("resolver").to_str().unwrap());
    home.write(CONFIG, &config, 0o600);
    let what = "models.providers.p.apiKey";
    let quiet = home.run(&["secrets", "test", what]);
    assert_eq!(quiet.code, Some(1), "{quiet:?}");

    let line = ["secrets", "test", what, "--show-stderr"];
    let shown = Ended::of(&home.command(&line).output().unwrap());
    assert_eq!(shown.code, Some(1));
    assert!(
        shown
            .stderr
            .contains("The program wrote to standard error:\ntoken hvs.CANARY  [31mrefused\n"),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains("CANARY"));
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// The one document on standard output.
    fn json(&self) -> Value {
        assert!(self.stdout.ends_with("}\n"), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The one line about a failure on standard error.
    fn error(&self) -> Value {
        assert_eq!(self.stdout, "", "{self:?}");
        let document: Value = serde_json::from_str(&self.stderr).unwrap();
        document["error"].clone()
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn examples_of_audits_and_plans() {
    let mut ran = 0;
    for line in include_str!("../../tests/vectors/secrets.jsonl").lines() {
        let kind: Value = serde_json::from_str(line).unwrap();
        let op = kind["op"].as_str().unwrap();
        if !["audit", "plan-check", "apply"].contains(&op) {
            continue;
        }
        ran += 1;
        let mut home = Home::new();
        let line = line.replace("%H%", home.path.to_str().unwrap());
        let example: Value = serde_json::from_str(&line).unwrap();
        for (path, file) in map(&example["files"]) {
            write(Path::new(path), file["text"].as_str().unwrap(), 0o600);
        }
        for (path, program) in map(&example["exec"]) {
            let script = format!("#!/bin/sh\n{}\n", program["sh"].as_str().unwrap());
            write(Path::new(path), &script, 0o700);
        }
        for (name, value) in map(&example["env"]) {
            home.env
                .insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        if let Some(config) = example.get("config") {
            home.write(CONFIG, &config.to_string(), 0o600);
        }
        match op {
            "audit" => audited(&home, &example),
            _ => planned(&home, &example),
        }
    }
    assert_eq!(ran, 23, "examples Q01 to Q12 and Z01 to Z11");
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn arguments(example: &Value) -> impl Iterator<Item = &str> {
    let list = example["args"].as_array();
    list.into_iter()
        .flatten()
        .map(|item| item.as_str().unwrap())
}

fn audited(home: &Home, example: &Value) {
    let command: Vec<&str> = ["secrets", "audit", "--json"]
        .into_iter()
        .chain(arguments(example))
        .collect();
    let before = home.contents();
    let ended = home.run(&command);
    assert_eq!(home.contents(), before, "{example}: an audit only reads");
    let report = ended.json();
    let found: Vec<Value> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            assert_eq!(finding["path"], finding["jsonPath"]);
            json!([finding["code"], finding["path"]])
        })
        .collect();
    for (key, expected) in map(&example["then"]) {
        let actual = match key.as_str() {
            "findings" => json!(found),
            "exit" => json!(ended.code),
            "skippedExecRefs" => report["resolution"][key].clone(),
            "absent" => expected.clone(),
            _ => report[key].clone(),
        };
        assert_eq!(actual, *expected, "{key} of {example}: {ended:?}");
    }
}

fn planned(home: &Home, example: &Value) {
    home.write("plan.json", &example["plan"].to_string(), 0o600);
    let mut command = vec!["secrets", "apply", "--json", "--from", "plan.json"];
    command.extend(arguments(example));
    let is_check = example["op"] == "plan-check";
    if is_check {
        // Whether a plan is accepted does not depend on the installation.
        command.push("--dry-run");
    }
    let before = home.contents();
    let ended = home.run(&command);
    let then = &example["then"];
    if let Some(code) = then["error"].as_str() {
        assert_eq!(ended.code, Some(1), "{example}: {ended:?}");
        let error = ended.error();
        assert_eq!(error["code"], code.to_lowercase(), "{example}");
        if let Some(reason) = then.get("reason") {
            assert_eq!(error["details"]["reason"], *reason, "{example}");
        }
    } else if is_check {
        // The variable is not set, so the plan is refused, but not as a plan.
        assert_eq!(ended.error()["code"], "plan_preflight_failed", "{ended:?}");
    } else {
        assert_eq!(ended.code, Some(0), "{example}: {ended:?}");
        let report = ended.json();
        for key in ["changed", "changedFiles"] {
            if let Some(expected) = then.get(key) {
                assert_eq!(report[key], *expected, "{key} of {example}");
            }
        }
    }
    if then["unchangedOnDisk"] == true || is_check {
        assert_eq!(home.contents(), before, "{example}");
    }
    for (path, text) in map(&then["fileText"]) {
        assert_eq!(fs::read_to_string(path).unwrap(), text.as_str().unwrap());
    }
}

#[test]
fn people_see_what_to_do_in_80_columns() {
    let mut entries = String::new();
    for number in 0..25 {
        entries.push_str(&format!("p{number}: {{ apiKey: 'sk-CANARY-{number}' }},\n"));
    }
    let home = Home::with(&format!("{{ models: {{ providers: {{ {entries} }} }} }}"));
    let ended = home.run(&["secrets", "audit", "--check"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let first = "Secrets audit: findings. plaintext=25, unresolved=0, shadowed=0, legacy=0.\n";
    assert!(ended.stdout.starts_with(first), "{}", ended.stdout);
    for part in [
        "- [PLAINTEXT_FOUND]",
        "~/.openclaw/openclaw.json:",
        "\n... 5 more finding(s); --all shows them.\n",
        "`openclaw-auth secrets configure`",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let all = home.run(&["secrets", "audit", "--all"]);
    assert_eq!(all.stdout.matches("[PLAINTEXT_FOUND]").count(), 25);
    assert_eq!(all.code, Some(0));
    let targets = home.run(&["secrets", "targets", "--all"]);
    let plan = home.run(&[
        "secrets",
        "plan",
        "--set",
        "models.providers.p1.apiKey=env:default:SOME_RATHER_LONG_NAME_OF_A_VARIABLE_FOR_A_KEY",
        "--out",
        "plan.json",
    ]);
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), ""));
    let mode = fs::metadata(home.path.join("plan.json"))
        .unwrap()
        .mode_bits();
    assert_eq!(mode, 0o600);
    let mut home = home;
    let name = "SOME_RATHER_LONG_NAME_OF_A_VARIABLE_FOR_A_KEY";
    home.env.insert(name.to_owned(), "sk-CANARY-1".to_owned());
    let apply = home.run(&["secrets", "apply", "--from", "plan.json", "--dry-run"]);
    assert!(
        apply.stdout.contains("would make 1 change(s) in 1 file(s)"),
        "{apply:?}"
    );
    for text in [ended.stdout, all.stdout, targets.stdout, apply.stdout] {
        for line in text.lines() {
            let is_one_word = line.split_whitespace().count() == 1;
            assert!(line.chars().count() <= 80 || is_one_word, "{line}");
        }
    }
}

trait ModeBits {
    fn mode_bits(&self) -> u32;
}

impl ModeBits for fs::Metadata {
    fn mode_bits(&self) -> u32 {
        self.permissions().mode() & 0o777
    }
}

#[test]
fn from_plain_secrets_to_none_without_a_terminal() {
    let home = Home::with(
        "{\n  // keep me\n  talk: { apiKey: 'sk-CANARY-talk' },\n  models: { providers: { openai: { \
         apiKey: 'sk-CANARY-openai' } } },\n}\n",
    );
    let store = json!({"version": 1, "profiles": {
        "xai:work": {"type": "api_key", "provider": "xai", "key": "sk-CANARY-xai"},
    }});
    let profiles = ".openclaw/agents/main/agent/auth-profiles.json";
    home.write(profiles, &store.to_string(), 0o600);
    let values = json!({
        "talk": "sk-CANARY-talk", "openai": "sk-CANARY-openai", "xai": "sk-CANARY-xai",
    });
    home.write("keys.json", &values.to_string(), 0o600);
    let settings = format!(
        "{{source: 'file', path: '{}/keys.json'}}",
        home.path.display()
    );
    home.write("vault.json5", &settings, 0o600);

    // Without answers it names what it would ask for.
    let asked = home.run(&["secrets", "configure"]);
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(1), ""));
    for part in ["talk.apiKey plaintext", "needs_terminal", "--set PATH="] {
        assert!(asked.stderr.contains(part), "{part}: {asked:?}");
    }

    let planned = home.run(&[
        "secrets",
        "configure",
        "--provider",
        "vault=@vault.json5",
        "--set",
        "talk.apiKey=file:vault:/talk",
        "--set=models.providers.openai.apiKey=file:vault:/openai",
        "--set-profile",
        "main/xai:work.key=file:vault:/xai",
        "--out",
        "plan.json",
    ]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let applied = home.run(&["secrets", "apply", "--from", "plan.json", "--json"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let audit = home.run(&["secrets", "audit", "--check", "--json"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
    assert_eq!(audit.json()["summary"]["plaintextCount"], 0);
    assert!(home.text(CONFIG).contains("// keep me"));
    assert!(!home.text(CONFIG).contains("CANARY"));
    assert!(!home.text(profiles).contains("CANARY"));
    for path in ["talk.apiKey", "models.providers.openai.apiKey"] {
        let tested = home.run(&["secrets", "test", path]);
        assert_eq!(tested.code, Some(0), "{tested:?}");
        assert!(tested.stdout.starts_with("ok ("), "{tested:?}");
    }
    let nothing = home.run(&["secrets", "configure"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
}

#[test]
fn mistakes_on_the_command_line_write_nothing() {
    let home = Home::with("{ talk: { apiKey: 'sk-CANARY' } }");
    home.write("broken.json", "{", 0o600);
    let before = home.contents();
    for (arguments, code, word) in [
        (&["plan"][..], 64, "nothing to plan"),
        (&["plan", "--set", "talk.apiKey"], 64, "NAME=VALUE"),
        (
            &["plan", "--set", "talk.apiKey=nonsense"],
            1,
            "plan_invalid",
        ),
        (
            &["plan", "--set", "talk.voice=env:default:K"],
            1,
            "plan_invalid",
        ),
        (&["plan", "--provider", "x={"], 1, "plan_invalid"),
        (&["plan", "--provider", "x=@none"], 1, "gateway_file_failed"),
        (
            &["plan", "--set-profile", "main=env:default:K"],
            64,
            "needs AGENT/ID.FIELD=REF",
        ),
        (&["apply"], 64, "--from"),
        (&["apply", "--from", "none.json"], 1, "gateway_file_failed"),
        (&["apply", "--from", "broken.json"], 1, "plan_invalid"),
        (&["audit", "--chek"], 64, "--check"),
        (&["test"], 64, "PATH|REF"),
        (&["test", "talk.voice"], 1, "secret_path_unknown"),
        (&["reload", "--url", "gw.example"], 64, "http://HOST:PORT"),
        (
            &["reload", "--url", "http://127.0.0.1:1"],
            3,
            "gateway_not_running",
        ),
        (&["reload"], 3, "gateway_not_running"),
    ] {
        let command: Vec<&str> = ["secrets"].iter().chain(arguments).copied().collect();
        let ended = home.run(&command);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    assert_eq!(home.contents(), before);
    let help = home.run(&["secrets"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "apply",
        "audit",
        "configure",
        "plan",
        "reload",
        "targets",
        "test",
    ] {
        assert!(help.stdout.contains(word), "{word}: {help:?}");
    }
}

/// A gateway that is stopped with its test.
struct Gateway {
    child: Child,
    address: String,
}

impl Gateway {
    fn start(home: &Home, options: &[&str]) -> Self {
        let command: Vec<&str> = ["gateway", "run", "--port", "0"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let mut child = home
            .command(&command)
            .stdout(Stdio::piped())
            .stderr(File::create(home.path.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address = address.unwrap_or_else(|| home.text("log"));
        Self { child, address }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_running_gateway_is_asked_and_its_answer_shown() {
    let home = Home::new();
    home.write("key", "sk-CANARY-1", 0o600);
    let config = TOKEN.replace("HOME", home.path.to_str().unwrap());
    home.write(CONFIG, &config, 0o600);
    home.write("token", "gw-CANARY\n", 0o600);
    let mut gateway = Gateway::start(&home, &["--token-file", "token"]);

    home.write("key", "sk-CANARY-2", 0o600);
    let done = home.run(&["secrets", "reload"]);
    assert_eq!(done.code, Some(0), "{done:?}\n{}", home.text("log"));
    assert_eq!(
        done.stdout,
        "Reloaded: snapshot 2.\nChanged: provider:openai.\n"
    );
    let same = home.run(&["secrets", "reload", "--json"]);
    assert_eq!(same.json()["snapshot"], 2, "nothing has changed");

    // Through the front door, with and without the token.
    home.write("key", "sk-CANARY-3", 0o600);
    let url = gateway.address.clone();
    let door = ["secrets", "reload", "--json", "--url", &url];
    let refused = home.run(&door);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("token_missing"), "{refused:?}");
    let done = home.run(&[&door[..], &["--token-file", "token"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.json()["snapshot"], 3);
    assert_eq!(done.json()["changedOwners"], json!(["provider:openai"]));

    home.write(CONFIG, "{ gateway: ", 0o600);
    let refused = home.run(&["secrets", "reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("last good settings"), "{refused:?}");
    assert!(
        refused.stdout.contains("[config_parse_error]"),
        "{refused:?}"
    );
    let refused = home.run(&["secrets", "reload", "--json"]);
    assert_eq!(
        (refused.code, &refused.json()["reloaded"]),
        (Some(1), &json!(false))
    );

    // Killed, it leaves its files behind; they must not be believed.
    home.write(CONFIG, &config, 0o600);
    gateway.child.kill().unwrap();
    gateway.child.wait().unwrap();
    assert!(home.path.join(".openclaw/gateway/gateway.pid").exists());
    let gone = home.run(&["secrets", "reload"]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
    // Nor may a signal reach a process that got the number.
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = format!("{}\n", other.id());
    home.write(".openclaw/gateway/gateway.pid", &pid, 0o600);
    let gone = home.run(&["secrets", "reload"]);
    let is_alive = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert!(is_alive, "a stranger was signalled");
}

#[test]
fn plain_lines_tell_who_is_waited_for() {
    let home = Home::slow(6);
    for command in [
        &["secrets", "audit", "--allow-exec"][..],
        &["gateway", "run", "--check"],
    ] {
        let ended = home.run(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended
            .stderr
            .matches("waiting for slow (exec) 5 s\n")
            .count();
        assert_eq!(lines, 1, "{ended:?}");
        assert!(!ended.stdout.contains("waiting"), "{ended:?}");
    }
}

/// Runs a command on a terminal, types, and returns the exit code and everything that the
/// terminal got.
fn on_terminal(home: &Home, arguments: &[&str], typed: &str) -> (Option<i32>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let open = || File::options().read(true).write(true).open(name).unwrap();
    let mut child = {
        let mut command = home.command(arguments);
        command.stdin(open()).stdout(open()).stderr(open());
        command.env("LANG", "C.UTF-8").spawn().unwrap()
    };
    let mut master = File::from(master);
    master.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    // Reading ends with an error when the last program has let go of the terminal.
    let _ = master.read_to_end(&mut shown);
    let code = child.wait().unwrap().code();
    (code, String::from_utf8(shown).unwrap())
}

#[test]
fn one_line_on_a_terminal_changes_and_goes_away() {
    let home = Home::slow(2);
    let start = Instant::now();
    let (code, shown) = on_terminal(&home, &["secrets", "audit", "--allow-exec"], "");
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\r⠋ slow (exec) 0 s\x1b[K"), "{shown:?}");
    assert!(shown.contains(" slow (exec) 1 s\x1b[K"), "{shown:?}");
    let (before, after) = shown.rsplit_once("\r\x1b[K").unwrap();
    assert!(after.starts_with("Secrets audit: clean."), "{shown:?}");
    assert!(!before.contains("Secrets audit"), "{shown:?}");
    assert!(
        !shown.contains('\u{1b}') || shown.matches("\x1b[K").count() <= 30,
        "{shown:?}"
    );
}

#[test]
fn configure_asks_until_answers_make_sense() {
    let home = Home::with(
        "{ talk: { apiKey: 'sk-CANARY-talk' }, models: { providers: { openai: { apiKey: \
         'sk-CANARY-openai' } } } }",
    );
    home.write("keys.json", r#"{"openai": "sk-CANARY-openai"}"#, 0o600);
    let typed = [
        "nonsense",
        "file:vault:/openai",
        "",
        "{ source: ",
        "{ source: 'file', path: 'HOME/keys.json' }",
        "my-plan.json",
    ];
    let typed = typed
        .join("\n")
        .replace("HOME", home.path.to_str().unwrap());
    let (code, shown) = on_terminal(&home, &["secrets", "configure"], &format!("{typed}\n"));
    assert_eq!(code, Some(0), "{shown}");
    for part in [
        "2 plain secret(s) can be moved",
        "references are source:provider:id",
        "Settings of the file provider vault",
        "secrets apply --from my-plan.json",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("CANARY"), "{shown}");
    let plan: Value = serde_json::from_str(&home.text("my-plan.json")).unwrap();
    assert_eq!(plan["targets"].as_array().unwrap().len(), 1);
    let applied = home.run(&["secrets", "apply", "--from", "my-plan.json"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let report = home.run(&["secrets", "audit", "--json"]).json();
    assert_eq!(
        report["summary"]["plaintextCount"], 1,
        "talk was left alone"
    );

    // Ctrl-D in the middle.
    let (code, shown) = on_terminal(
        &home,
        &["secrets", "configure", "--out", "no.json"],
        "\u{4}",
    );
    assert_eq!(code, Some(1), "{shown}");
    assert!(!home.path.join("no.json").exists());
}

const CONFIG: &str = ".openclaw/openclaw.json";
const SLOW: &str = r#"{
  gateway: { auth: { mode: "none" } },
  secrets: { providers: {
    slow: { source: "exec", command: "HOME/slow", jsonOnly: false, timeoutMs: 60000 },
  } },
  models: { providers: { p: { apiKey: { source: "exec", provider: "slow", id: "value" } } } },
}"#;
const TOKEN: &str = r#"{
  gateway: {
    bind: "loopback", reload: { mode: "off" }, auth: { mode: "token", },
  },
  secrets: { providers: { f: { source: "file", path: "HOME/key", mode: "singleValue" } } },
  models: { providers: { openai: {
    baseUrl: "https://api.example/v1",
    apiKey: { source: "file", provider: "f", id: "value" },
  } } },
}"#;
