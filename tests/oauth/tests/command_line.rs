//! The commands, as people and scripts use them. The program has to be built before.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use openclaw_auth_oauth_tests::{Home, Idp, note, request, visit_address};
use serde_json::{Value, json};

const ID: &str = "openai-codex:alice@example.com";

fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_oauth-worker")).with_file_name("openclaw-auth");
    assert!(
        path.exists(),
        "build openclaw-auth-gateway first: {}",
        path.display()
    );
    path
}

fn command(home: &Home, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(["models", "auth"])
        .args(words)
        .env_clear()
        .envs(&home.env)
        .env("OPENCLAW_STATE_DIR", home.state())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(home: &Home, words: &[&str], input: &str) -> Output {
    let mut child = command(home, words).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    note(text(&output.stdout));
    note(text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Waits for the address that a login shows.
fn address(child: &mut Child) -> (String, std::thread::JoinHandle<String>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("http") {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "no address is shown"
        );
    }
    let rest = std::thread::spawn(move || {
        let mut text = String::new();
        lines.read_to_string(&mut text).unwrap();
        text
    });
    (line.trim().to_owned(), rest)
}

fn config(home: &Home, content: &Value) -> PathBuf {
    std::fs::create_dir_all(home.state()).unwrap();
    let path = home.state().join("openclaw.json");
    std::fs::write(&path, format!("{content:#}\n")).unwrap();
    path
}

#[test]
fn t1_login_through_the_browser() {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let path = config(
        &home,
        &json!({"x-note": 1, "auth": {"order": {"openai-codex": ["a:b"]}}}),
    );
    let words = [
        "login",
        "--provider",
        "codex",
        "--no-browser",
        "--set-default",
    ];
    let mut child = command(&home, &words).spawn().unwrap();
    let _open = child.stdin.take();
    let (url, rest) = address(&mut child);
    let page = visit_address(&url);
    assert_eq!(page.status, 200, "{}", page.body);
    let output = child.wait_with_output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown} {}", rest.join().unwrap());
    let line = format!("Auth profile: {ID} (openai-codex/oauth), expires in ");
    assert!(shown.starts_with(&line), "{shown}");
    assert!(
        shown.contains("Default model: openai-codex/gpt-5.4"),
        "{shown}"
    );
    assert_eq!(home.profile("main", ID)["accountId"], "acct-alice");
    let tree: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(tree["auth"]["order"]["openai-codex"], json!([ID, "a:b"]));
    assert_eq!(tree["auth"]["profiles"][ID]["mode"], "oauth");
    assert_eq!(tree["x-note"], 1);
    assert_eq!(
        tree["agents"]["defaults"]["model"]["primary"],
        "openai-codex/gpt-5.4"
    );

    // Refreshing on demand.
    let output = run(&home, &["refresh", ID], "");
    assert!(
        text(&output.stdout).contains("still valid"),
        "{}",
        text(&output.stdout)
    );
    let output = run(&home, &["refresh", "--all", "--force", "--json"], "");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["results"][0]["refreshed"], true, "{document}");
    assert_eq!(idp.refreshes(), 1);
    let output = run(&home, &["refresh"], "");
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn t2_t5_login_by_pasting_when_the_port_is_taken() {
    let idp = Idp::start();
    let mut home = Home::new(&idp);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    home.env.insert(
        "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_REDIRECT_PORTS".to_owned(),
        port.clone(),
    );
    let words = [
        "login",
        "--provider",
        "openai-codex",
        "--no-browser",
        "--json",
    ];
    let mut child = command(&home, &words).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let (url, rest) = address(&mut child);
    let redirect = openclaw_auth_oauth_tests::redirect_from(&url);
    assert!(
        redirect.starts_with(&format!("http://localhost:{port}/auth/callback?")),
        "{redirect}"
    );
    // A slip first, then the address broken over two lines by a terminal.
    writeln!(input, "not a code at all").unwrap();
    writeln!(input, "{redirect}").unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = rest.join().unwrap();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("oauth_input_invalid"), "{errors}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&document["profileId"], &document["email"]),
        (&json!(ID), &json!("alice@example.com"))
    );
    let code = redirect
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    assert!(!errors.contains(code) && !text(&output.stdout).contains(code));
}

#[test]
fn t4_t7_what_fails_writes_nothing() {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let path = config(
        &home,
        &json!({"auth": {"order": {"openai-codex": ["a:b"]}}}),
    );
    let before = std::fs::read(&path).unwrap();
    idp.config(&json!({"deny": true}));
    let words = ["login", "--provider", "openai-codex", "--no-browser"];
    let mut child = command(&home, &words).spawn().unwrap();
    let _open = child.stdin.take();
    let (url, rest) = address(&mut child);
    assert_eq!(visit_address(&url).status, 400);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(rest.join().unwrap().contains("oauth_authorization_denied"));

    let words = [
        "login",
        "--provider",
        "openai-codex",
        "--no-browser",
        "--timeout",
        "2",
    ];
    let mut child = command(&home, &words).spawn().unwrap();
    let _open = child.stdin.take();
    let (_, rest) = address(&mut child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(rest.join().unwrap().contains("oauth_callback_timeout"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!home.store("main").exists());
}

#[test]
fn pasted_credentials() {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let token = format!("sk-ant-oat01-{}", "x".repeat(80));
    let output = run(
        &home,
        &[
            "setup-token",
            "--name",
            "Work Laptop",
            "--expires-in",
            "365d",
        ],
        &format!("{}\n  {}\n", &token[..40], &token[40..]),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "Auth profile: anthropic:work-laptop (anthropic/token)\n"
    );
    assert!(text(&output.stderr).contains("technical compatibility only"));
    let stored = home.profile("main", "anthropic:work-laptop");
    assert_eq!(
        (&stored["type"], &stored["token"]),
        (&json!("token"), &json!(token))
    );
    assert!(stored["expires"].as_u64().unwrap() > 1_700_000_000_000 + 31_000_000_000);

    for (words, input, code) in [
        (
            &["setup-token"][..],
            "sk-ant-oat01-short",
            "oauth_setup_token_invalid",
        ),
        (&["setup-token"], "", "empty_input"),
        (&["paste-token", "--provider", "x"], " \n", "empty_input"),
        (
            &["paste-api-key", "--provider", "anthropic"],
            token.as_str(),
            "oauth_input_invalid",
        ),
    ] {
        let output = run(&home, words, input);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(
            text(&output.stderr).contains(code),
            "{words:?} {}",
            text(&output.stderr)
        );
    }
    // Example 81, and replacing.
    let paste = |kind: &str, value: &str, more: &[&str]| {
        run(
            &home,
            &[&[kind, "--provider", "anthropic"], more].concat(),
            value,
        )
        .status
        .code()
    };
    assert_eq!(
        paste("paste-token", "first-token", &["--expires-in", "365d"]),
        Some(0)
    );
    assert_eq!(paste("paste-token", "second-token", &[]), Some(0));
    assert_eq!(
        home.profile("main", "anthropic:manual")["token"],
        "second-token"
    );
    assert_eq!(
        paste("paste-api-key", "sk-ant-api03-key", &[]),
        Some(1),
        "another kind is not replaced unasked"
    );
    assert_eq!(
        paste("paste-api-key", "sk-ant-api03-key", &["--replace"]),
        Some(0)
    );
    assert_eq!(
        paste("paste-api-key", "sk-ant-api03-key", &[]),
        Some(0),
        "the same key again"
    );
    assert_eq!(paste("paste-token", "t", &["--expires-in", "0"]), Some(64));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(home.store("main"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn other_programs_are_linked_and_never_written() {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let path = config(
        &home,
        &json!({"agents": {"defaults": {"model": "anthropic/claude-opus-4-6"}}}),
    );
    let words = [
        "login",
        "--provider",
        "anthropic",
        "--method",
        "cli",
        "--set-default",
    ];
    let output = run(&home, &words, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Run `claude auth login`, then repeat."));
    assert!(
        run(
            &home,
            &["login", "--provider", "codex", "--method", "codex-cli"],
            ""
        )
        .status
        .code()
            == Some(1)
    );

    let claude = home.folder.path().join(".claude/.credentials.json");
    let codex = home.folder.path().join(".codex/auth.json");
    for (file, content) in [
        (
            &claude,
            json!({"claudeAiOauth": {"accessToken": "c-access", "refreshToken": "c-refresh", "expiresAt": 4_000_000_000_000_u64}}),
        ),
        (
            &codex,
            json!({"tokens": {"access_token": "x-access", "refresh_token": "x-refresh", "account_id": "acct-7"}}),
        ),
    ] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content.to_string()).unwrap();
    }
    let seen = |file: &Path| {
        (
            std::fs::read(file).unwrap(),
            std::fs::metadata(file).unwrap().modified().unwrap(),
        )
    };
    let before = (seen(&claude), seen(&codex));
    let old = std::fs::read_to_string(&path).unwrap();
    let output = run(&home, &words, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("Default model: claude-cli/claude-opus-4-6"),
        "{shown}"
    );
    assert!(
        shown
            .trim_end()
            .ends_with("models set anthropic/claude-opus-4-6"),
        "{shown}"
    );
    assert_eq!(
        std::fs::read_to_string(home.state().join("openclaw.json.bak")).unwrap(),
        old
    );
    let changed = std::fs::read_to_string(&path).unwrap();
    assert!(changed.contains("claude-cli/claude-opus-4-6") && !changed.contains("c-access"));
    assert!(run(&home, &words, "").status.success());
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        changed,
        "twice is once"
    );

    let output = run(
        &home,
        &[
            "login",
            "--provider",
            "codex",
            "--method",
            "codex-cli",
            "--json",
        ],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let linked = home.profile("main", "openai-codex:codex-cli");
    assert!(linked["access"].is_null() && linked["refresh"].is_null());
    assert_eq!(
        (&linked["accountId"], &linked["oa"]["external"]["cli"]),
        (&json!("acct-7"), &json!("codex-cli"))
    );
    let output = run(&home, &["refresh", "openai-codex:codex-cli"], "");
    assert!(
        text(&output.stdout).contains("still valid"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!((seen(&claude), seen(&codex)), before);

    // Comments stay; what is made of several files is left alone, and says what to write.
    let mine = "// mine\n{agents: {defaults: {model: 'anthropic/claude-opus-4-6'}}} // end\n";
    std::fs::write(&path, mine).unwrap();
    assert!(run(&home, &words, "").status.success());
    let edited = std::fs::read_to_string(&path).unwrap();
    assert!(
        edited.starts_with("// mine\n{agents:") && edited.ends_with("// end\n"),
        "{edited}"
    );
    assert!(edited.contains("claude-cli/claude-opus-4-6"), "{edited}");
    std::fs::write(home.state().join("more.json"), "{}").unwrap();
    std::fs::write(&path, "{$include: './more.json', agents: {defaults: {}}}\n").unwrap();
    let output = run(&home, &words, "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("made of several files"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn t27_a_dotenv_does_not_redirect_tokens() {
    let idp = Idp::start();
    let mut home = Home::new(&idp);
    let name = "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_TOKEN_URL";
    home.env
        .retain(|known, _| !known.starts_with("OPENCLAW_AUTH_OAUTH_"));
    std::fs::create_dir_all(home.state()).unwrap();
    std::fs::write(
        home.state().join(".env"),
        format!("{name}=http://127.0.0.1:{}/token\n", idp.port),
    )
    .unwrap();
    let output = run(&home, &["refresh", "--all"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!("warning: {name} is ignored")),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_control_router_answers() {
    let idp = Idp::start();
    assert_eq!(
        request(idp.port, "GET", "/.well-known/openid-configuration", "", "").status,
        200
    );
}
