//! The tests, by topic, and what they share.

mod killed;
mod move_away;
mod recipes;
mod watch;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Gateway, Place, Request, Upstream};

/// The key with which the gateway speaks to a provider.
fn key_of(provider: &str, gateway: &Gateway, upstream: &Upstream) -> String {
    let answer = Request::post(&format!("/proxy/{provider}/v1/chat"), "{}")
        .line("x-forwarded-user", "nick@example.com")
        .line("x-forwarded-proto", "https")
        .send(gateway.way());
    assert_eq!(answer.status, 200, "{provider}: {answer:?}");
    let arrived = upstream.take_one();
    let header = arrived.header("authorization").unwrap();
    header.strip_prefix("Bearer ").unwrap().to_owned()
}

/// Where a program of this machine is.
fn find(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Runs a program to prepare a place; what it writes to standard output.
fn run(place: &Place, env: &[(&str, &str)], line: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let (program, arguments) = line.split_first().unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .env("HOME", place.path("home"))
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs one of our commands on a place.
fn secrets(place: &Place, arguments: &[&str]) -> Output {
    Gateway::command(place)
        .arg("secrets")
        .args(arguments)
        .output()
        .unwrap()
}
