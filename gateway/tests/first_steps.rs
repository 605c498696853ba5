//! `docs/first-steps.md` works as printed: its blocks are run one after the other in one shell.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and run a shell as users do"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Ended, Home};

const PAGE: &str = include_str!("../../docs/first-steps.md");

/// The blocks of shell commands.
fn blocks() -> Vec<&'static str> {
    let parts = PAGE.split("```sh\n").skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_block_of_the_page_works() {
    let home = Home::new();
    let program = Path::new(env!("CARGO_BIN_EXE_openclaw-auth"));
    let folder = program.parent().unwrap().display();
    let blocks = blocks();
    assert_eq!(blocks.len(), 6);
    let script: Vec<String> = blocks
        .iter()
        .enumerate()
        .map(|(number, block)| format!("echo \"== {}\"\n{block}", number + 1))
        .collect();
    let output = Command::new("sh")
        .args(["-euc", &script.join("\n")])
        .env_clear()
        .env("HOME", &home.path)
        .env("PATH", format!("{folder}:/usr/bin:/bin"))
        .current_dir(&home.path)
        .output()
        .unwrap();
    let ended = Ended::of(&output);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of_block = |number: usize| {
        let start = format!("== {number}\n");
        let text = ended.stdout.split(start.as_str()).nth(1).unwrap();
        text.split("\n== ").next().unwrap().to_owned()
    };
    for (number, expected) in [
        (1, "Usage: openclaw-auth [OPTIONS] [COMMAND]"),
        (2, "env ANTHROPIC_API_KEY put...ace"),
        (3, "anthropic:work"),
        (4, "Auth profile: anthropic:work (pinned by user)"),
        (6, "0 errors, 0 warnings"),
    ] {
        let text = of_block(number);
        assert!(
            text.contains(expected),
            "block {number}: {text}\n{}",
            ended.stderr
        );
    }
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!shown.contains("put-your-own-key-in-this-place"), "{shown}");
}
