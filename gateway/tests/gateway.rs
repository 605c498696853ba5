//! The real program on loopback ports: the demonstration, its exit codes and its signals.
#![cfg(unix)]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const NICK: &str = "X-Forwarded-Proto: https\r\nX-Forwarded-User: nick@example.com\r\n";

/// A running gateway.
struct Gateway {
    child: Child,
    address: SocketAddr,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Gateway {
    /// Starts the program and waits for the address that it prints.
    fn start(arguments: &[&str], home: &Path) -> Self {
        let mut child = program(arguments, home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| {
                // It may still run; its output ends with it.
                let _ = child.kill();
                panic!("no address: {line}\n{}", text_of(child.stderr.take()))
            })
            .parse()
            .unwrap();
        Self {
            child,
            address,
            stdout,
        }
    }

    fn demo(home: &Path) -> Self {
        Self::start(&["gateway", "run", "--demo", "--port", "0"], home)
    }

    /// Sends one request and reads the answer to its end.
    fn request(&self, method: &str, path: &str, lines: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no answer: {text}"));
        (status.parse().unwrap(), text)
    }

    fn json(&self, method: &str, path: &str, lines: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.request(method, path, lines, body);
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (
            status,
            serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text}")),
        )
    }

    fn signal(&self, name: &str) {
        let status = command("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end: exit code, rest of standard output, standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().unwrap();
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        (status.code(), stdout, text_of(self.child.stderr.take()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Usually it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run the program as its users do"
)]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn program(arguments: &[&str], home: &Path) -> Command {
    let mut program = command(env!("CARGO_BIN_EXE_openclaw-auth"));
    program.args(arguments).env_clear().env("HOME", home);
    program
}

fn run(arguments: &[&str], home: &Path) -> Output {
    program(arguments, home).output().unwrap()
}

fn text_of(stderr: Option<ChildStderr>) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_string(&mut text).unwrap();
    }
    text
}

#[test]
fn the_tour_of_the_demo_works_as_printed() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::demo(home.path());

    let (status, body) = gateway.json("GET", "/_auth/whoami", "", "");
    assert_eq!(
        (status, &body["error"]["code"]),
        (403, &json!("trusted_proxy_missing_header"))
    );
    let mallory = "X-Forwarded-Proto: https\r\nX-Forwarded-User: mallory@example.com\r\n";
    let (status, body) = gateway.json("GET", "/_auth/whoami", mallory, "");
    assert_eq!(
        (status, &body["error"]["code"]),
        (403, &json!("trusted_proxy_user_not_allowed"))
    );
    let (status, body) = gateway.json("GET", "/_auth/whoami", NICK, "");
    assert_eq!((status, &body["user"]), (200, &json!("nick@example.com")));
    let twice = format!("{NICK}X_Forwarded_User: mallory@example.com\r\n");
    let (status, body) = gateway.json("GET", "/_auth/whoami", &twice, "");
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("trusted_proxy_ambiguous_header"))
    );

    let chat = "/proxy/mock/v1/chat/completions";
    let asked = json!({"model": "mock-1", "messages": []}).to_string();
    let (status, body) = gateway.json("POST", chat, NICK, &asked);
    assert_eq!(status, 200, "{body}");
    let said = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        said.contains("the key demo") && said.contains("..."),
        "masked key: {said}"
    );
    let asked = json!({"model": "mock-1", "stream": true, "messages": []}).to_string();
    let (status, text) = gateway.request("POST", chat, NICK, &asked);
    assert_eq!(status, 200);
    assert!(
        text.contains("text/event-stream") && text.contains("data: [DONE]"),
        "{text}"
    );
    assert!(
        text.to_ascii_lowercase().contains("x-accel-buffering: no"),
        "{text}"
    );

    gateway.signal("TERM");
    let (code, stdout, stderr) = gateway.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("curl -sN"), "{stdout}");
    let logged: Vec<Value> = stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(logged.len(), 6, "one line per request: {stderr}");
    assert_eq!(logged[5]["user"], "nick@example.com");
    assert_eq!(logged[5]["provider"], "mock");
    assert!(
        !has_key(&stderr) && !has_key(&stdout),
        "the whole key must not show"
    );
}

/// Whether a text contains a whole key of the demonstration.
fn has_key(text: &str) -> bool {
    text.split("demo-")
        .skip(1)
        .any(|rest| rest.chars().take_while(char::is_ascii_hexdigit).count() >= 48)
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::demo(home.path());
    // A request that never ends keeps the gateway waiting.
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(
        stream,
        "POST /proxy/mock/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{NICK}Content-Length: 9\r\n\r\nabc"
    )
    .unwrap();
    wait();
    gateway.signal("TERM");
    wait();
    assert!(
        TcpStream::connect(gateway.address).is_err(),
        "still listening"
    );
    gateway.signal("INT");
    let (code, _, stderr) = gateway.end();
    assert_eq!(code, Some(130), "{stderr}");
}

/// Long enough for a signal or a request to arrive.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn wait() {
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn wrong_command_lines_end_with_64() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["--bogus"][..],
        &["gateway", "--token", "canary"],
        &["gateway", "--password=canary"],
        &["gateway", "--force"],
        &["gateway", "run", "--demo", "--config", "x"],
    ] {
        let output = run(arguments, home.path());
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("canary"));
    }
    let output = run(&["--version"], home.path());
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("openclaw-auth 0."));
}

#[test]
fn a_port_in_use_ends_with_5() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::demo(home.path());
    let port = gateway.address.port().to_string();
    let output = run(&["gateway", "run", "--demo", "--port", &port], home.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("already be running"), "{stderr}");
}

#[test]
fn certificates_that_cannot_be_used_end_with_6() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("openclaw.json");
    let start = |tls: &str| {
        let text =
            format!(r#"{{gateway: {{auth: {{mode: "none"}}, tls: {{enabled: true, {tls}}}}}}}"#);
        write_file(&config, &text);
        run(
            &["gateway", "--check", "--config", config.to_str().unwrap()],
            home.path(),
        )
    };
    let output = start("autoGenerate: false");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("tls_cert_key_missing"), "{stderr}");
    let output = start("minVersion: '1.0'");
    assert_eq!(output.status.code(), Some(3));
    let output = start("");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("fingerprint (SHA-256) "), "{stderr}");
}

#[test]
fn metrics_have_a_door_of_their_own_on_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("openclaw.json");
    let text = r#"{gateway: {auth: {mode: "none"}, metrics: {bind: "127.0.0.1:0"}}}"#;
    write_file(&config, text);
    let config = config.to_str().unwrap();
    let arguments = [
        "gateway",
        "run",
        "--config",
        config,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ];
    let mut gateway = Gateway::start(&arguments, home.path());
    let mut line = String::new();
    gateway.stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics on http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let page = ask("GET /metrics");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(
        page.contains("openclaw_auth_snapshot_version 1\n"),
        "{page}"
    );
    for head in ["GET /_auth/whoami", "POST /metrics", "GET /metrics/x"] {
        assert!(ask(head).starts_with("HTTP/1.1 404"), "{head}");
    }
    let (status, _) = gateway.request("GET", "/metrics", "", "");
    assert_eq!(status, 404, "the other door does not know the page");
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, Some(0));
}

#[expect(clippy::disallowed_methods, reason = "tests prepare files as users do")]
fn write_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
