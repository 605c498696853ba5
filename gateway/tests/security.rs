//! `openclaw-auth security` as people and scripts call it: exit codes, streams, documents.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and run the program as its users do"
)]

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

const CANARY: &str = "canary-0123456789-0123456789";

/// Runs the program with a configuration that only its owner reads.
fn run(config: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".openclaw");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let file = state.join("openclaw.json");
    fs::write(&file, config).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    program(home.path(), arguments)
}

fn program(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_openclaw-auth"))
        .arg("security")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const CRITICAL: &str = r#"{gateway: {bind: "lan", trustedProxies: ["10.0.0.0/8"], auth: {
    mode: "trusted-proxy", trustedProxy: {userHeader: "x-forwarded-user"}}}}"#;
const WARN: &str = r#"{gateway: {auth: {mode: "none"}, trustedProxies: ["127.0.0.1"]}}"#;
const CLEAN: &str = r#"{gateway: {auth: {mode: "token", token: "canary-0123456789-0123456789"},
    trustedProxies: ["127.0.0.1"]}}"#;

#[test]
fn the_exit_code_of_a_check_is_the_worst_finding() {
    for (config, checked) in [(CRITICAL, 1), (WARN, 2), (CLEAN, 0)] {
        let plain = run(config, &["audit"]);
        assert_eq!(plain.status.code(), Some(0), "{plain:?}");
        for options in [&["audit", "--check"][..], &["audit", "--check", "--json"]] {
            let output = run(config, options);
            assert_eq!(output.status.code(), Some(checked), "{config} {output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
        }
    }
}

#[test]
fn findings_fit_into_80_columns_and_show_no_secret() {
    for config in [CRITICAL, WARN, CLEAN] {
        let text = stdout(&run(config, &["audit"]));
        assert!(text.starts_with("Summary: "), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains(CANARY) && !text.contains('\u{1b}'), "{text}");
    }
    let text = stdout(&run(CRITICAL, &["audit"]));
    assert!(
        text.contains("Trusted-proxy checklist\n  no  the proxy is the only path\n"),
        "{text}"
    );
}

#[test]
fn the_document_is_one_and_ends_with_a_line_feed() {
    let output = run(CRITICAL, &["audit", "--json"]);
    let text = stdout(&output);
    assert!(
        text.starts_with("{\n  \"ts\": ") && text.ends_with("}\n"),
        "{text}"
    );
    let document: Value = serde_json::from_str(&text).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let critical = findings.iter().filter(|f| f["severity"] == "critical");
    assert_eq!(document["summary"]["critical"], critical.count());
    assert!(!stdout(&run(CLEAN, &["audit", "--json"])).contains(CANARY));
}

#[test]
fn a_configuration_that_cannot_be_read_ends_with_1() {
    let output = run("{gateway: ", &["audit", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_command_lines_end_with_64() {
    for line in [
        &["audit", "--bogus"][..],
        &["audit", "extra"],
        &["audit", "--url", "ftp://claw.example.com/"],
        &["audit", "--url", "https://nick:pw@claw.example.com/"],
        &["preset"],
        &["preset", "squid"],
        &["preset", "nginx", "--proxy-ip", "10.0.0.1"],
        &["preset", "cloudflare", "--secret"],
        &["preset", "nginx", "--public-host", "a b"],
        &["probe"],
        &["probe", "--url", "claw"],
        // No user header is configured, and none is named.
        &["probe", "--url", "http://127.0.0.1:1/"],
        &["probe", "--url", "http://127.0.0.1:1/", "--timeout", "0"],
    ] {
        let output = run(CLEAN, line);
        assert_eq!(output.status.code(), Some(64), "{line:?} {output:?}");
        assert!(output.stdout.is_empty(), "{line:?}");
    }
}

#[test]
fn a_group_without_a_word_prints_its_help() {
    let output = run(CLEAN, &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for word in ["audit", "preset", "probe"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn presets_are_printed_ready_to_paste() {
    let text = stdout(&run(
        CLEAN,
        &["preset", "caddy", "--secret", "--public-host", "a.example"],
    ));
    for part in [
        "// openclaw.json",
        "userHeader: \"x-forwarded-user\"",
        "// openclaw-auth.json5",
        "# /etc/caddy/Caddyfile\na.example {",
        "{env.OPENCLAW_PROXY_SECRET}",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn nobody_at_the_address_is_what_a_probe_around_the_proxy_hopes_for() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let around = ["probe", "--direct", &url, "--user-header", "x-user"];
    let output = run(CLEAN, &around);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let through = ["probe", "--url", &url, "--user-header", "x-user"];
    let output = run(CLEAN, &through);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn a_probe_sends_its_login_to_no_other_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut heads = String::new();
        // A plain request, and one with a forged user.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut chunk = [0; 4096];
            let read = std::io::Read::read(&mut stream, &mut chunk).unwrap();
            heads.push_str(&String::from_utf8_lossy(chunk.get(..read).unwrap()));
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
        heads
    });
    let login = tempfile::NamedTempFile::new().unwrap();
    fs::write(login.path(), "session=canary").unwrap();
    let cookies = login.path().to_str().unwrap();
    let arguments = [
        "probe",
        "--direct",
        &url,
        "--user-header",
        "x-user",
        "--cookie-file",
        cookies,
    ];
    let output = run(CLEAN, &arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let heads = server.join().unwrap();
    assert_eq!(heads.matches("GET /_auth/whoami").count(), 2, "{heads}");
    assert!(!heads.contains("canary"), "{heads}");
    assert!(heads.contains("x-user: probe-"), "{heads}");
}
