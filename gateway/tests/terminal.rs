//! What people see on a terminal: choices, hidden prompts, and the way out.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::Home;

/// Runs a command on a terminal of its own; types each answer once its question is there. The
/// exit code and everything that the terminal got.
fn on_terminal(home: &Home, arguments: &[&str], answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let open = || File::options().read(true).write(true).open(name).unwrap();
    let mut child = {
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_openclaw-auth")])
            .args(arguments)
            .env_clear()
            .env("HOME", &home.path)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&home.path);
        command.stdin(open()).stdout(open()).stderr(open());
        command.spawn().unwrap()
    };
    let mut master = File::from(master);
    let mut shown = Vec::new();
    let mut part = [0; 4096];
    for (question, answer) in answers {
        while !String::from_utf8_lossy(&shown).contains(question) {
            let read = master.read(&mut part).unwrap();
            shown.extend(part.iter().take(read));
        }
        master.write_all(answer.as_bytes()).unwrap();
    }
    // Reading ends with an error when the last program has let go of the terminal.
    let _ = master.read_to_end(&mut shown);
    let code = child.wait().unwrap().code();
    (code, String::from_utf8(shown).unwrap())
}

const STORE: &str = ".openclaw/agents/main/agent/auth-profiles.json";

#[test]
fn a_provider_and_a_method_are_chosen_by_number_and_the_key_stays_hidden() {
    let home = Home::new();
    let answers = [
        ("Provider [1]: ", "7\n"),
        ("'7' is none of them.", "2\n"),
        ("Method [1]: ", "api-key\n"),
        (
            "Paste the API key: ",
            "sk-CANARY-typed-0123456789-0123456789\n",
        ),
    ];
    let (code, shown) = on_terminal(&home, &["models", "auth", "login"], &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("  1. openai-codex"), "{shown}");
    assert!(
        shown.contains("received 37 characters (sk-C...6789)"),
        "{shown}"
    );
    assert!(!shown.contains("CANARY-typed"), "{shown}");
    assert!(home.text(STORE).contains("CANARY-typed"));
}

#[test]
fn ctrl_c_at_a_question_writes_nothing() {
    for (question, before) in [
        ("Provider [1]: ", &[][..]),
        (
            "Paste the API key: ",
            &[("Provider [1]: ", "2\n"), ("Method [1]: ", "1\n")],
        ),
    ] {
        let home = Home::new();
        let answers = [before, &[(question, "\u{3}")]].concat();
        let (code, shown) = on_terminal(&home, &["models", "auth", "login"], &answers);
        assert_eq!(code, Some(130), "{shown}");
        assert!(shown.contains("Cancelled."), "{shown}");
        assert!(home.contents().is_empty(), "{shown}");
    }
}

#[test]
fn nobody_is_asked_without_permission() {
    let home = Home::new();
    let line = ["models", "auth", "login", "--no-input"];
    let (code, shown) = on_terminal(&home, &line, &[]);
    assert_eq!(code, Some(64), "{shown}");
    let line = [
        "models",
        "auth",
        "paste-api-key",
        "--provider",
        "a",
        "--no-input",
    ];
    let (code, shown) = on_terminal(&home, &line, &[]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("needs_terminal"), "{shown}");
}
