//! The same sign-ins and refreshes through the other languages. `tests/run logins` builds the
//! programs and names the interpreters in `OPENCLAW_AUTH_WORKER_C`, `_GO`, `_NODE`, `_PYTHON`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files and programs as users do"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use openclaw_auth_oauth_tests::{Home, Idp, digest, note, result_of, visit_address};
use serde_json::{Value, json};

const ID: &str = "openai-codex:alice@example.com";
const THREADS: usize = 32;

/// A program in a language: what a variable names, with a script when it is an interpreter.
#[derive(Clone, Copy)]
struct Worker {
    variable: &'static str,
    script: Option<&'static str>,
}

impl Worker {
    fn command(self, home: &Home, words: &[&str]) -> Command {
        let program = std::env::var_os(self.variable)
            .unwrap_or_else(|| panic!("{} is not set: use `tests/run logins`", self.variable));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("languages");
        let mut command = Command::new(program);
        command
            .args(self.script.map(|script| folder.join(script)))
            .args(words);
        surroundings(&mut command, home);
        command
    }

    /// T1: the page that the browser sees at the end says that it worked.
    fn sign_in(self) -> (Idp, Home) {
        let idp = Idp::start();
        let home = Home::new(&idp);
        let mut child = self.command(&home, &["login"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else {
            panic!("{:?}", child.wait_with_output());
        };
        note(first.as_str());
        let address: Value = serde_json::from_str(&first).unwrap();
        let page = visit_address(address["url"].as_str().unwrap());
        assert_eq!(page.status, 200, "{}", page.body);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        note(said.as_str());
        rest.iter().for_each(|line| note(line.as_str()));
        assert!(output.status.success(), "{said}");
        let done: Value = serde_json::from_str(&rest.concat()).unwrap();
        assert_eq!(done, json!({"profileId": ID}));
        (idp, home)
    }

    fn tokens(self, home: &Home, threads: usize) -> Vec<Value> {
        let command = self.command(home, &["tokens", ID, &threads.to_string()]);
        answers(command, threads)
    }
}

fn surroundings(command: &mut Command, home: &Home) {
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(&home.env)
        .env("OPENCLAW_STATE_DIR", home.state())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// What a program says about each of its threads.
fn answers(mut command: Command, threads: usize) -> Vec<Value> {
    let output = command.output().unwrap();
    let answers = result_of(&output).as_array().unwrap().clone();
    assert!(output.status.success() && answers.len() == threads);
    answers
}

fn stored(home: &Home) -> String {
    digest(home.profile("main", ID)["access"].as_str().unwrap())
}

fn t1(worker: Worker) {
    let (idp, home) = worker.sign_in();
    let profile = home.profile("main", ID);
    assert_eq!(profile["type"], "oauth");
    assert_eq!(profile["accountId"], "acct-alice");
    assert_eq!(profile["email"], "alice@example.com");
    assert!(profile["access"].is_string() && profile["refresh"].is_string());
    assert!(profile["expires"].is_u64());
    assert_eq!(idp.stats()["code"], 1);
    assert_eq!(home.traces("main"), [""; 0]);
}

fn t9(worker: Worker) {
    let (idp, home) = worker.sign_in();
    let before = stored(&home);
    home.expire("main", ID);
    let answers = worker.tokens(&home, THREADS);
    let tokens: BTreeSet<&str> = answers
        .iter()
        .map(|answer| {
            answer["token"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"))
        })
        .collect();
    assert_eq!(tokens, BTreeSet::from([stored(&home).as_str()]));
    assert!(!tokens.contains(before.as_str()));
    assert_eq!((idp.refreshes(), idp.revocations()), (1, 0));
}

fn t20(worker: Worker) {
    let (idp, home) = worker.sign_in();
    idp.revoke(home.profile("main", ID)["refresh"].as_str().unwrap());
    home.end_soon("main", ID);
    for answer in worker.tokens(&home, 4) {
        assert_eq!(answer, json!({"token": stored(&home), "source": "stored"}));
    }
    home.expire("main", ID);
    for answer in worker.tokens(&home, 4) {
        assert_eq!(answer["error"], "oauth_reauth_required", "{answer}");
        assert_eq!(answer["details"]["reason"], "invalid_grant", "{answer}");
    }
    let refused = idp.stats()["errors"].as_u64().unwrap();
    assert!(refused <= 2, "{refused} requests with a dead token");
    assert_eq!(idp.refreshes(), 0);
}

macro_rules! languages {
    ($($name:ident: $variable:literal, $script:expr;)*) => {$(
        mod $name {
            pub(super) const WORKER: super::Worker = super::Worker {
                variable: $variable,
                script: $script,
            };

            #[test]
            #[ignore = "needs the program of `tests/run logins`"]
            fn t1_login_through_the_browser() {
                super::t1(WORKER);
            }

            #[test]
            #[ignore = "needs the program of `tests/run logins`"]
            fn t9_threads_share_one_refresh() {
                super::t9(WORKER);
            }

            #[test]
            #[ignore = "needs the program of `tests/run logins`"]
            fn t20_a_revoked_login_serves_to_its_end() {
                super::t20(WORKER);
            }
        }
    )*};
}

languages! {
    in_c: "OPENCLAW_AUTH_WORKER_C", None;
    in_go: "OPENCLAW_AUTH_WORKER_GO", None;
    in_node: "OPENCLAW_AUTH_WORKER_NODE", Some("worker.mjs");
    in_python: "OPENCLAW_AUTH_WORKER_PYTHON", Some("worker.py");
}

/// T10: the command line and Python wait for each other too.
#[test]
#[ignore = "needs the program of `tests/run logins`"]
fn with_python_t10_eight_processes_cause_one_refresh() {
    let (idp, home) = in_python::WORKER.sign_in();
    home.expire("main", ID);
    // Long enough for all eight to find the token expired.
    idp.config(&json!({"delayMs": 1500}));
    let program = Path::new(env!("CARGO_BIN_EXE_oauth-worker")).with_file_name("openclaw-auth");
    let commands = (0..4).map(|_| {
        let mut command = Command::new(&program);
        command.args(["models", "auth", "refresh", ID, "--json"]);
        surroundings(&mut command, &home);
        command
    });
    let workers = (0..4).map(|_| in_python::WORKER.command(&home, &["tokens", ID, "1"]));
    let children: Vec<_> = workers
        .chain(commands)
        .map(|mut command| command.spawn().unwrap())
        .collect();
    let results: Vec<Value> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .map(|output| {
            let result = result_of(&output);
            assert!(output.status.success(), "{result}");
            result
        })
        .collect();
    let (python, commands) = results.split_at(4);
    for result in python {
        assert_eq!(result[0]["token"], stored(&home), "{result}");
    }
    for result in commands {
        assert_eq!(result["results"][0]["refreshed"], true, "{result}");
    }
    assert_eq!((idp.refreshes(), idp.revocations()), (1, 0));
}
