//! Runs `tests/vectors/secrets.jsonl` through the public interface, with real files and programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use openclaw_auth::host::{Environment, Host};
use openclaw_auth::{
    ApplyOptions, AuditOptions, Engine, Error, Options, Plan, Proposal, Registry, Snapshot,
};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

type Vars = BTreeMap<String, Zeroizing<String>>;

/// Examples of parts that are not built yet, each with the part.
const LATER: &[(&str, &str)] = &[("T08", "isolate policy")];
/// Operations of parts that are not built yet (`dotenv` runs beside the parser).
const LATER_OPS: &[&str] = &["dotenv"];

#[test]
fn every_example() {
    let text = include_str!("../../tests/vectors/secrets.jsonl");
    let mut failures = Vec::new();
    let mut ran = 0;
    let mut later: BTreeSet<&str> = LATER.iter().map(|(id, _)| *id).collect();
    for line in text.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let id = example["id"].as_str().unwrap();
        if later.remove(id) || LATER_OPS.contains(&example["op"].as_str().unwrap()) {
            continue;
        }
        ran += 1;
        let result = std::panic::catch_unwind(|| Bench::new(&example).run());
        match result {
            Ok(Ok(())) => {}
            Ok(Err(why)) => failures.push(format!("{id}: {why}")),
            Err(_) => failures.push(format!("{id}: panicked")),
        }
    }
    assert!(
        later.is_empty(),
        "unknown ids in the list of later examples: {later:?}"
    );
    assert!(ran >= 254, "only {ran} examples ran");
    assert!(
        failures.is_empty(),
        "{} of {ran} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// An environment that a test can exchange between reloads.
struct TestEnv {
    home: PathBuf,
    vars: Mutex<&'static Vars>,
}

impl TestEnv {
    fn set(&self, vars: Vars) {
        *self.vars.lock().unwrap() = Box::leak(Box::new(vars));
    }
}

impl Environment for TestEnv {
    fn vars(&self) -> &Vars {
        *self.vars.lock().unwrap()
    }

    fn account_home(&self) -> Option<PathBuf> {
        Some(self.home.clone())
    }

    fn current_dir(&self) -> PathBuf {
        self.home.clone()
    }

    fn effective_uid(&self) -> u32 {
        Host::real().env.effective_uid()
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    home: PathBuf,
    example: Value,
    env: Arc<TestEnv>,
}

impl Bench {
    fn new(example: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        let shown = home.to_str().unwrap();
        let text = example.to_string().replace("%H%", shown);
        let example: Value = serde_json::from_str(&text).unwrap();
        let env = Arc::new(TestEnv {
            home: home.clone(),
            vars: Mutex::new(Box::leak(Box::default())),
        });
        let bench = Self {
            _folder: folder,
            home,
            example,
            env,
        };
        bench.set_env(&bench.example["env"]);
        bench.write_files(&bench.example["files"]);
        for (path, program) in object(&bench.example["exec"]) {
            let body = format!("#!/bin/sh\n{}\n", program["sh"].as_str().unwrap());
            write(Path::new(&path), &body, mode(&program, 0o700));
        }
        if let Some(config) = bench.example.get("config") {
            let path = bench.home.join(".openclaw/openclaw.json");
            write(&path, &config.to_string(), 0o600);
        }
        if let Some(text) = bench.example.get("workspaceDotenv").and_then(Value::as_str) {
            write(&bench.home.join(".env"), text, 0o600);
        }
        bench
    }

    fn set_env(&self, vars: &Value) {
        let mut map = Vars::new();
        map.insert(
            "HOME".to_owned(),
            Zeroizing::new(self.home.to_str().unwrap().to_owned()),
        );
        // Scripts need their tools; a name that no example looks at.
        map.insert(
            "PATH".to_owned(),
            Zeroizing::new("/usr/bin:/bin".to_owned()),
        );
        for (name, value) in object(vars) {
            map.insert(name, Zeroizing::new(value.as_str().unwrap().to_owned()));
        }
        self.env.set(map);
    }

    fn write_files(&self, files: &Value) {
        // Links last: their targets are among the files.
        for (path, file) in object(files) {
            if let Some(text) = file.get("text") {
                write(Path::new(&path), text.as_str().unwrap(), mode(&file, 0o600));
            } else if file.get("fifo").is_some() {
                let path = Path::new(&path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let done = std::process::Command::new("mkfifo")
                    .arg(path)
                    .status()
                    .unwrap();
                assert!(done.success());
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        for (path, file) in object(files) {
            if let Some(target) = file.get("symlinkTo") {
                let path = Path::new(&path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(target.as_str().unwrap(), path).unwrap();
            }
        }
    }

    fn options(&self) -> Options {
        let mut host = Host::real();
        host.env = Arc::clone(&self.env) as Arc<dyn Environment>;
        Options::new().with_host(host)
    }

    fn run(&self) -> Result<(), String> {
        let then = &self.example["then"];
        match self.example["op"].as_str().unwrap() {
            "audit" => self.audited(then),
            "plan-check" | "apply" => self.planned(then),
            _ => self.opened(),
        }
    }

    fn has(&self, flag: &str) -> bool {
        array(&self.example["args"]).iter().any(|arg| arg == flag)
    }

    fn audited(&self, then: &Value) -> Result<(), String> {
        let mut options = AuditOptions::default();
        options.allow_exec = self.has("--allow-exec");
        let report = self.options().audit(options);
        let json = report.to_json();
        let shown = format!("{report:?} {json}");
        check(!shown.contains("CANARY"), || {
            format!("a secret was shown: {shown}")
        })?;
        for (key, expected) in then.as_object().unwrap() {
            let actual = match key.as_str() {
                "findings" => report
                    .findings()
                    .iter()
                    .map(|finding| json!([finding.code().as_str(), finding.path()]))
                    .collect(),
                "status" | "complete" => json[key].clone(),
                "skippedExecRefs" => json["resolution"][key].clone(),
                "exit" => {
                    let flags = ["--check", "--strict", "--require-complete"];
                    let [check, strict, complete] = flags.map(|flag| self.has(flag));
                    json!(report.exit_code(check, strict, complete))
                }
                "absent" => {
                    let exists = |path: &Value| Path::new(path.as_str().unwrap()).exists();
                    let gone = array(expected).into_iter().filter(|path| !exists(path));
                    gone.collect()
                }
                other => return Err(format!("nobody checks {other}")),
            };
            check(actual == *expected, || {
                format!("{key} is {actual} in {json}")
            })?;
        }
        Ok(())
    }

    fn planned(&self, then: &Value) -> Result<(), String> {
        let before = self.contents();
        let plan = Plan::parse(&self.example["plan"], &Registry::new());
        let result = plan.and_then(|plan| {
            if self.example["op"] == "plan-check" {
                return Ok(json!({"ok": true}));
            }
            let mut options = ApplyOptions::default();
            options.dry_run = self.has("--dry-run");
            options.allow_exec = self.has("--allow-exec");
            Ok(self.options().apply(&plan, options)?.to_json())
        });
        let json = match (&result, then.get("error")) {
            (Ok(json), None) => json.clone(),
            (Err(error), Some(_)) => {
                let code = json!(lower(&json!(error.code().as_str())).to_uppercase());
                json!({"error": code, "reason": error.details().get("reason")})
            }
            _ => return Err(format!("{result:?}")),
        };
        for (key, expected) in then.as_object().unwrap() {
            match key.as_str() {
                "unchangedOnDisk" => check(self.contents() == before, || {
                    "files were changed".to_owned()
                })?,
                "fileText" => {
                    for (path, expected) in expected.as_object().unwrap() {
                        let text = fs::read_to_string(path).unwrap();
                        check(json!(text) == *expected, || format!("{path}: {text}"))?;
                    }
                }
                _ => check(json[key] == *expected, || format!("{key} in {json}"))?,
            }
        }
        Ok(())
    }

    /// Every file below the home directory.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.home, &mut found);
        found
    }

    fn opened(&self) -> Result<(), String> {
        let start = Instant::now();
        let then = self.example["then"].clone();
        let opened = Engine::open(self.options());
        if let Some(limit) = then.get("maxElapsedMs").and_then(Value::as_u64) {
            let ms = u64::try_from(start.elapsed().as_millis()).unwrap();
            check(ms <= limit, || {
                format!("took {ms} ms, at most {limit} are allowed")
            })?;
        }
        let shown = format!(
            "{opened:?} {}",
            opened
                .as_ref()
                .err()
                .map(Error::to_json)
                .unwrap_or_default()
        );
        check(!shown.contains("CANARY"), || {
            format!("a secret was shown: {shown}")
        })?;
        match self.example["op"].as_str().unwrap() {
            "load" | "activate" | "config-json" => self.outcome(&then, &opened),
            "classify" => self.classified(&then, &opened),
            "read" => self.read(
                &then,
                &opened.map_err(|error| format!("{error:?}"))?.snapshot(),
            ),
            "reload" => {
                let engine = opened.map_err(|error| format!("{error:?}"))?;
                if let Some(vars) = self.example.get("changeEnv") {
                    self.set_env(vars);
                }
                self.write_files(&self.example["change"]);
                self.reloaded(&then, &engine)
            }
            "reload-sequence" => self.sequence(&then),
            "preflight-sequence" => self.preflights(&then),
            "restore-redacted" => self.restored(&then),
            other => Err(format!("unknown operation {other}")),
        }
    }

    /// `load` and `activate`: either the values or the error.
    fn outcome(&self, then: &Value, opened: &Result<Engine, Error>) -> Result<(), String> {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let expected_error = then.get("error").is_some() || then.get("failures").is_some();
        if expected_error {
            let Err(error) = opened else {
                return Err("succeeded".to_owned());
            };
            self.error(then, error, &mut known)?;
        } else {
            let engine = opened.as_ref().map_err(|error| format!("{error:?}"))?;
            self.success(then, &engine.snapshot(), &mut known)?;
        }
        known.extend(["maxElapsedMs", "events", "snapshot"]);
        if then.get("noProcessLeft").is_some() {
            known.insert("noProcessLeft");
            let me = self.home.to_str().unwrap();
            let listed = std::process::Command::new("ps")
                .args(["-eo", "args"])
                .output()
                .unwrap();
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            check(!listed.contains(me), || {
                format!("a process is left: {listed}")
            })?;
        }
        for path in array(&then["absent"]) {
            known.insert("absent");
            let path = path.as_str().unwrap();
            check(!Path::new(path).exists(), || format!("{path} exists"))?;
        }
        let unknown: Vec<&String> = then
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| !known.contains(k.as_str()))
            .collect();
        check(unknown.is_empty(), || {
            format!("expectations nobody checks: {unknown:?}")
        })
    }

    fn error<'a>(
        &self,
        then: &'a Value,
        error: &Error,
        known: &mut BTreeSet<&'a str>,
    ) -> Result<(), String> {
        let details = Value::Object(error.details().clone());
        let failures = array(&details["failures"]);
        let issues: Vec<Value> = array(&details["issues"])
            .into_iter()
            .filter(|issue| issue["severity"] == "error")
            .collect();
        let all = if failures.is_empty() {
            issues
        } else {
            failures
        };
        let Some(first) = all.first() else {
            return Err(format!("no details: {error:?}"));
        };
        let shown = format!("{error:?}");
        for (key, expected) in then.as_object().unwrap() {
            let text = expected.as_str().unwrap_or_default();
            let fine = match key.as_str() {
                "error" => lower(&first["code"]) == lower(expected),
                "reason" | "file" | "line" | "column" | "path" => first[key] == *expected,
                "hint" | "hintHas" => first["hint"].as_str().unwrap_or_default().contains(text),
                "messageHas" => first["message"].as_str().unwrap_or_default().contains(text),
                "messageLacks" => !shown.contains(text),
                "actual" | "exitCode" | "signal" => first["details"][key] == *expected,
                "paths" => first["paths"] == *expected,
                "notAttempted" => details["notAttempted"] == *expected,
                "failures" => same_failures(&all, expected),
                "diagnostics" => has_codes(&array(&details["diagnostics"]), expected),
                _ => continue,
            };
            known.insert(key);
            check(fine, || {
                format!("{key}: expected {expected}, got {first} in {shown}")
            })?;
        }
        Ok(())
    }

    fn success<'a>(
        &self,
        then: &'a Value,
        snapshot: &Snapshot,
        known: &mut BTreeSet<&'a str>,
    ) -> Result<(), String> {
        for (key, expected) in then.as_object().unwrap() {
            known.insert(key);
            match key.as_str() {
                "values" => self.values(snapshot, expected)?,
                "value" => {
                    for (path, expected) in expected.as_object().unwrap() {
                        let actual = snapshot.value(path).map_err(|e| format!("{e:?}"))?;
                        check(actual == Some(expected), || format!("{path}: {actual:?}"))?;
                    }
                }
                "config" | "json" => {
                    let actual = snapshot.config_json();
                    check(actual == *expected, || format!("config is {actual}"))?;
                }
                "inactive" => {
                    for (path, reason) in expected.as_object().unwrap() {
                        let error = snapshot
                            .secret(path)
                            .err()
                            .ok_or(format!("{path} is active"))?;
                        let text = reason.as_str().unwrap_or_default();
                        let fine = error.code().as_str() == "secret_inactive"
                            && error.message().contains(text);
                        check(fine, || format!("{path}: {error:?}"))?;
                    }
                }
                "diagnostics" => {
                    let notes = snapshot.diagnostics().iter().map(|d| d.to_json());
                    let all: Vec<Value> = notes
                        .chain(snapshot.issues().iter().map(|i| i.to_json()))
                        .collect();
                    check(has_codes(&all, expected), || {
                        format!("diagnostics: {all:?}")
                    })?;
                }
                "issues" => {
                    let codes: Vec<_> =
                        snapshot.issues().iter().map(|issue| issue.code()).collect();
                    check(codes.is_empty(), || format!("issues: {codes:?}"))?;
                }
                "runs" => {
                    for (provider, runs) in expected.as_object().unwrap() {
                        let report = snapshot
                            .providers()
                            .iter()
                            .find(|p| p.provider == *provider);
                        let actual = report.map(|report| report.runs as u64);
                        check(actual == runs.as_u64(), || {
                            format!("runs of {provider}: {actual:?}")
                        })?;
                    }
                }
                "uniqueRefs" => {
                    let refs: usize = snapshot.providers().iter().map(|p| p.refs).sum();
                    check(Some(refs as u64) == expected.as_u64(), || {
                        format!("{refs} refs")
                    })?;
                }
                "origin" => {
                    for (path, origin) in expected.as_object().unwrap() {
                        let surfaces = snapshot.surfaces();
                        let actual = surfaces
                            .iter()
                            .find(|s| s.path() == path)
                            .map(|s| s.origin().as_str());
                        check(actual == origin.as_str(), || {
                            format!("origin of {path}: {actual:?}")
                        })?;
                    }
                }
                "selection" => {
                    for (group, provider) in expected.as_object().unwrap() {
                        let actual = snapshot.selection(group).map(|s| s.provider());
                        check(actual == provider.as_str(), || {
                            format!("selection of {group}: {actual:?}")
                        })?;
                    }
                }
                _ => {
                    known.remove(key.as_str());
                }
            }
        }
        check(snapshot.redaction_hits() == 0, || {
            "a message held a secret".to_owned()
        })
    }

    fn values(&self, snapshot: &Snapshot, expected: &Value) -> Result<(), String> {
        for (path, expected) in expected.as_object().unwrap() {
            let value = snapshot
                .secret_value(path)
                .map_err(|error| format!("{error:?}"))?;
            let actual = match value.is_json() {
                true => serde_json::from_str(value.text().expose()).unwrap(),
                false => json!(value.text().expose()),
            };
            check(actual == *expected, || format!("{path} is {actual}"))?;
        }
        Ok(())
    }

    fn classified(&self, then: &Value, opened: &Result<Engine, Error>) -> Result<(), String> {
        let path = self.example["path"].as_str().unwrap();
        if let Some(literal) = then.get("literal") {
            let engine = opened.as_ref().map_err(|error| format!("{error:?}"))?;
            return self.values(&engine.snapshot(), &json!({path: literal}));
        }
        // Nothing provides the value, so the failure names the references.
        let Err(error) = opened else {
            return Err("resolved".to_owned());
        };
        let mut known = BTreeSet::new();
        let refs = match (then.get("ref"), then.get("template")) {
            (Some(label), _) => json!([label]),
            (_, Some(labels)) => labels.clone(),
            _ => return self.error(then, error, &mut known),
        };
        let first = &array(&error.details()["failures"])[0];
        check(first["refs"] == refs, || {
            format!("refs are {}", first["refs"])
        })?;
        self.error(then, error, &mut known)
    }

    fn read(&self, then: &Value, snapshot: &Snapshot) -> Result<(), String> {
        let error = match self.example.get("readRef") {
            Some(label) => snapshot.secret_ref(label.as_str().unwrap()).err(),
            None => snapshot
                .secret(self.example["read"].as_str().unwrap())
                .err(),
        };
        let code = error
            .map(|error| json!(error.code().as_str()))
            .unwrap_or_default();
        check(lower(&code) == lower(&then["error"]), || {
            format!("code is {code}")
        })
    }

    fn reloaded(&self, then: &Value, engine: &Engine) -> Result<(), String> {
        let before = engine.snapshot();
        let result = engine.reload();
        let after = engine.snapshot();
        match (then.get("error"), &result) {
            (None, Err(error)) => return Err(format!("{error:?}")),
            (Some(_), Ok(_)) => return Err("succeeded".to_owned()),
            (Some(_), Err(error)) => {
                let only = json!({"error": then["error"]});
                self.error(&only, error, &mut BTreeSet::new())?;
                check(Arc::ptr_eq(&before, &after), || {
                    "the snapshot was exchanged".to_owned()
                })?;
            }
            (None, Ok(report)) => {
                if let Some(expected) = then.get("changedPaths") {
                    let actual: Vec<&str> = report.changed_paths().collect();
                    check(json!(actual) == *expected, || {
                        format!("changed: {actual:?}")
                    })?;
                }
                if let Some(expected) = then.get("changedOwners") {
                    let actual: Vec<&str> = report.changed_owners().collect();
                    check(json!(actual) == *expected, || format!("owners: {actual:?}"))?;
                }
            }
        }
        self.values(&after, &then["values"])?;
        self.state(then, engine)
    }

    fn sequence(&self, then: &Value) -> Result<(), String> {
        let steps = array(&self.example["steps"]);
        self.set_env(&steps[0]);
        let engine = Engine::open(self.options()).map_err(|error| format!("{error:?}"))?;
        for step in &steps[1..] {
            self.set_env(step);
            let _ = engine.reload();
        }
        self.state(then, &engine)
    }

    fn preflights(&self, then: &Value) -> Result<(), String> {
        let steps = array(&self.example["steps"]);
        self.set_env(&steps[0]["activate"]);
        let engine = Engine::open(self.options()).map_err(|error| format!("{error:?}"))?;
        let before = engine.snapshot();
        for step in &steps[1..] {
            self.set_env(&step["preflight"]);
            let report = engine.preflight(&Proposal::current());
            let expected = step["preflight"].get("K").is_some();
            check(report.is_ok() == expected, || format!("{report:?}"))?;
        }
        check(Arc::ptr_eq(&before, &engine.snapshot()), || {
            "the snapshot was exchanged".to_owned()
        })?;
        check(!engine.is_degraded(), || "degraded".to_owned())?;
        self.values(&engine.snapshot(), &then["values"])?;
        self.state(then, &engine)
    }

    fn restored(&self, then: &Value) -> Result<(), String> {
        let options = self.options().config_value(self.example["current"].clone());
        let result = options.restore_redacted(&self.example["proposed"]);
        match (then.get("source"), result) {
            (Some(expected), Ok(actual)) => check(actual == *expected, || format!("{actual}")),
            (None, Err(error)) => {
                let code = json!(error.code().as_str());
                check(lower(&code) == lower(&then["error"]), || {
                    format!("{error:?}")
                })
            }
            (_, result) => Err(format!("{result:?}")),
        }
    }

    fn state(&self, then: &Value, engine: &Engine) -> Result<(), String> {
        if let Some(expected) = then.get("generation") {
            let actual = engine.snapshot().generation();
            check(Some(actual) == expected.as_u64(), || {
                format!("generation {actual}")
            })?;
        }
        if let Some(expected) = then.get("events") {
            let actual: Vec<&str> = engine
                .events()
                .iter()
                .map(|event| event.code().as_str())
                .collect();
            check(json!(actual) == *expected, || format!("events {actual:?}"))?;
        }
        Ok(())
    }
}

fn same_failures(actual: &[Value], expected: &Value) -> bool {
    let expected = array(expected);
    // In any order: the example lists them by path, the fixed order sorts by id first.
    expected.len() == actual.len()
        && expected.iter().zip(actual).all(|(expected, actual)| {
            lower(&actual["code"]) == lower(&expected["code"])
                && actual["refs"] == expected["refs"]
                && actual["paths"] == expected["paths"]
        })
}

fn has_codes(all: &[Value], expected: &Value) -> bool {
    let codes: BTreeSet<String> = all.iter().map(|item| lower(&item["code"])).collect();
    array(expected)
        .iter()
        .all(|code| codes.contains(&lower(code)))
}

fn lower(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_lowercase()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn mode(value: &Value, default: u32) -> u32 {
    let text = value.get("mode").and_then(Value::as_str);
    text.map_or(default, |text| u32::from_str_radix(text, 8).unwrap())
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn check(fine: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if fine { Ok(()) } else { Err(why()) }
}
