//! Requests on their way to providers and back.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::limits::Limits;
use super::super::testing::{Answer, FakeCore, FakeSnapshot, Provider, Server, read_to_end};

const KEY: &str = "sk-canary-0123456789";
const GOOD: &str = "authorization: Bearer good\r\n";

#[tokio::test]
async fn the_provider_gets_its_key_and_only_listed_headers() {
    let mut provider = Provider::answering(
        "200 OK\r\ncontent-type: application/json\r\nset-cookie: a=b\r\nx-openclaw-profile: forged",
        "{\"id\":1}",
    )
    .await;
    let server = provider.gateway(Limits::default()).await;
    let lines = format!(
        "{GOOD}content-type: application/json\r\nx-forwarded-user: nick\r\ncookie: c\r\nopenai-beta: x\r\nx-request-id: req-7\r\n"
    );
    let body = "{\"model\":\"m\"}";
    let answer = server
        .request(
            "POST",
            "/proxy/mock/v1/chat/completions?session=s&a=%2F",
            &lines,
            body,
        )
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"id\":1}"));
    assert_eq!(answer.header("x-openclaw-provider"), Some("mock"));
    assert_eq!(answer.header("x-request-id"), Some("req-7"));
    assert_eq!(answer.header("content-length"), Some("8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("x-openclaw-profile"), Some("config:fake"));

    let seen = provider.request().await;
    assert!(
        seen.starts_with("POST /v1/chat/completions?a=%2F HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
    let lower = seen.to_ascii_lowercase();
    assert!(lower.contains(&format!("authorization: bearer {KEY}\r\n")));
    assert!(lower.contains(&format!("host: {}\r\n", provider.address)));
    assert!(lower.contains("openai-beta: x\r\n") && lower.contains("x-request-id: req-7\r\n"));
    for name in ["x-forwarded-user", "cookie", "good", "connection: close"] {
        assert!(!lower.contains(name), "{name} in {seen}");
    }
    let line = &server.log_lines(1).await[0];
    assert_eq!(line["provider"], "mock");
    assert_eq!(
        (&line["bytesIn"], &line["bytesOut"]),
        (&json!(13), &json!(8))
    );
    assert_eq!(line["path"], "/proxy/mock/v1/chat/completions");
    assert!(line["ttfbMs"].is_u64());
}

#[tokio::test]
async fn events_arrive_while_the_provider_still_speaks() {
    let parts = vec![
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: private\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        "9\r\ndata: 1\n\n\r\n".to_owned(),
    ];
    let mut provider = Provider::start(parts, false).await;
    let server = provider.gateway(Limits::default()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client
        .write_all(format!("GET /proxy/mock/v1/x HTTP/1.1\r\nhost: gw\r\n{GOOD}\r\n").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains("data: 1") {
        let size = timeout(Duration::from_secs(2), client.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(size, 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..size]));
    }
    let answer = Answer::parse(&text);
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));

    drop(client);
    provider.left().await;
    let line = &server.log_lines(1).await[0];
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(200), &json!("aborted"))
    );
}

#[tokio::test]
async fn a_caller_who_leaves_early_cancels_the_request_upstream() {
    let mut provider = Provider::start(Vec::new(), false).await;
    let server = provider.gateway(Limits::default()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client
        .write_all(format!("GET /proxy/mock/v1/x HTTP/1.1\r\nhost: gw\r\n{GOOD}\r\n").as_bytes())
        .await
        .unwrap();
    provider.request().await;
    drop(client);
    provider.left().await;
    let line = &server.log_lines(1).await[0];
    assert_eq!(
        (line.get("status"), &line["code"]),
        (None, &json!("aborted"))
    );
}

#[tokio::test]
async fn what_providers_answer_that_is_not_passed_on() {
    let echo = format!("{{\"error\":{{\"message\":\"Incorrect key {KEY}\\u0007 given\"}}}}");
    for (head, body, status, code, upstream) in [
        (
            "302 Found\r\nlocation: http://127.0.0.1:1/",
            "",
            502,
            "upstream_redirect",
            json!(null),
        ),
        (
            "401 Unauthorized\r\nwww-authenticate: Basic",
            echo.as_str(),
            502,
            "upstream_auth_failed",
            json!("Incorrect key [redacted] given"),
        ),
        (
            "403 Forbidden",
            "plain text",
            502,
            "upstream_auth_failed",
            json!("plain text"),
        ),
        (
            "403 Forbidden",
            "",
            502,
            "upstream_auth_failed",
            json!(null),
        ),
        ("nonsense", "", 502, "upstream_unreachable", json!(null)),
    ] {
        let provider = Provider::answering(head, body).await;
        let server = provider.gateway(Limits::default()).await;
        let answer = server.get("/proxy/mock/v1/x", "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{head}"
        );
        assert_eq!(answer.json()["error"]["upstream"], upstream, "{head}");
        assert!(!answer.body.contains(KEY) && answer.header("www-authenticate").is_none());
        assert!(!server.state.log.text().contains(KEY));
    }
    for head in [
        "304 Not Modified",
        "400 Bad Request",
        "404 Not Found",
        "429 Too Many Requests\r\nretry-after: 3",
        "500 Oops",
    ] {
        let provider = Provider::answering(head, "").await;
        let server = provider.gateway(Limits::default()).await;
        let answer = server.get("/proxy/mock/v1/x", "").await;
        assert!(
            head.starts_with(&answer.status.to_string()),
            "{head} became {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn requests_that_never_reach_a_provider() {
    let mut provider = Provider::answering("200 OK", "x").await;
    let base = format!("http://{}", provider.address);
    let https = "https://127.0.0.1:1/";
    let settings = json!({
        "gateway": {"http": {"maxBodyBytes": 1024}},
        "models": {"providers": {
            "mock": {"baseUrl": base},
            "off": {"baseUrl": base, "enabled": false},
            "aws": {"baseUrl": base, "auth": "aws-sdk"},
            "bedrock": {"baseUrl": base, "api": "bedrock-converse-stream"},
            "public": {"baseUrl": "http://203.0.113.9/"},
            "bare": {},
            "keyless": {"baseUrl": https},
            "odd": {"baseUrl": base},
            "framing": {"baseUrl": base, "headers": {"Host": "x"}},
        }},
    });
    let snapshot = FakeSnapshot::new(settings).secret("/models/providers/odd/apiKey", "a\nb");
    let server = Server::start(FakeCore::new(snapshot), Limits::default()).await;
    for (path, status, code) in [
        ("/proxy/none/v1/x", 404, "provider_unknown"),
        ("/proxy/off/v1/x", 404, "provider_unknown"),
        ("/proxy/mock/v1/../x", 400, "path_invalid"),
        ("/proxy/mock/v1/%2e%2E/x", 400, "path_invalid"),
        ("/proxy/mock/v1%2Fx", 400, "path_invalid"),
        ("/proxy/mock/v1?access_token=x", 400, "credential_in_query"),
        ("/proxy/aws/x", 501, "provider_auth_unsupported"),
        ("/proxy/bedrock/x", 501, "provider_auth_unsupported"),
        ("/proxy/public/x", 500, "provider_invalid"),
        ("/proxy/bare/x", 500, "provider_invalid"),
        ("/proxy/framing/x", 500, "provider_invalid"),
        ("/proxy/keyless/x", 500, "credential_missing"),
        ("/proxy/odd/x", 500, "credential_invalid"),
    ] {
        let answer = server.get(path, "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{path}"
        );
    }
    let large = "x".repeat(1025);
    let answer = server.request("POST", "/proxy/mock/x", GOOD, &large).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    assert!(provider.is_untouched());
}

#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let provider = Provider::start(Vec::new(), false).await;
    let mut settings = provider.settings();
    settings["gateway"] = json!({"http": {"maxBodyBytes": 1024}});
    let server = Server::with(settings).await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let text = server
        .raw(format!(
            "POST /proxy/mock/x HTTP/1.1\r\nhost: gw\r\n{GOOD}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
        ))
        .await;
    let answer = Answer::parse(&text);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let provider = Provider::start(Vec::new(), false).await;
    let limits = Limits {
        body_idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = provider.gateway(limits).await;
    let text = server
        .raw(format!(
            "POST /proxy/mock/x HTTP/1.1\r\nhost: gw\r\n{GOOD}content-length: 10\r\n\r\nabc"
        ))
        .await;
    let answer = Answer::parse(&text);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (408, "body_timeout")
    );
    let line = &server.log_lines(1).await[0];
    assert_eq!(line["bytesIn"], 3);
}

#[tokio::test]
async fn silent_and_absent_providers() {
    let silent = Provider::start(Vec::new(), false).await;
    let limits = Limits {
        first_byte: Duration::from_millis(200),
        upstream_idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = silent.gateway(limits.clone()).await;
    let answer = server.get("/proxy/mock/x", "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream_timeout")
    );

    let stalling = Provider::start(
        vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_owned()],
        false,
    )
    .await;
    let server = stalling.gateway(limits).await;
    let answer = server.get("/proxy/mock/x", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "abc"));
    let line = &server.log_lines(1).await[0];
    assert_eq!(line["code"], "upstream_timeout");

    let gone = json!({"models": {"providers": {"mock": {"baseUrl": "http://127.0.0.1:1"}}}});
    let server = Server::with(gone).await;
    let answer = server.get("/proxy/mock/x", "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "upstream_unreachable")
    );
}

#[tokio::test]
async fn only_so_many_requests_run_at_once() {
    let mut provider = Provider::start(Vec::new(), false).await;
    let limits = Limits {
        forwarded: 2,
        per_user: 1,
        ..Limits::default()
    };
    let server = provider.gateway(limits).await;
    let mut clients = Vec::new();
    for user in ["a", "b"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let request =
            format!("GET /proxy/mock/x HTTP/1.1\r\nhost: gw\r\n{GOOD}x-user: {user}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        provider.request().await;
        clients.push(client);
        let again = server
            .get("/proxy/mock/x", &format!("x-user: {user}\r\n"))
            .await;
        assert_eq!(
            (again.status, again.code().as_str()),
            (503, "overloaded"),
            "{user}"
        );
        assert_eq!(again.header("retry-after"), Some("1"));
    }
    assert_eq!(
        server.get("/proxy/mock/x", "x-user: c\r\n").await.status,
        503
    );
    drop(clients);
    provider.left().await;
    sleep(Duration::from_millis(50)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /proxy/mock/x HTTP/1.1\r\nhost: gw\r\n{GOOD}x-user: c\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    provider.request().await;
}

#[tokio::test]
async fn configured_headers_win_over_forwarded_ones_but_not_over_the_key() {
    let mut provider = Provider::answering("200 OK", "").await;
    let mut settings = provider.settings();
    settings["models"]["providers"]["mock"]["headers"] = json!({"User-Agent": "configured", "X-Team": {"source": "env"}, "Authorization": "Basic x"});
    let snapshot = FakeSnapshot::new(settings)
        .secret("/models/providers/mock/apiKey", KEY)
        .secret("/models/providers/mock/headers/X-Team", "team-secret");
    let server = Server::start(FakeCore::new(snapshot), Limits::default()).await;
    let answer = server
        .get("/proxy/mock/x", "user-agent: caller\r\nx-team: caller\r\n")
        .await;
    assert_eq!(answer.status, 200);
    let seen = provider.request().await.to_ascii_lowercase();
    assert!(
        seen.contains("user-agent: configured\r\n") && !seen.contains("caller"),
        "{seen}"
    );
    assert!(seen.contains("x-team: team-secret\r\n"));
    assert!(seen.contains(&format!("authorization: bearer {KEY}")) && !seen.contains("basic"));
}

#[tokio::test]
async fn a_running_request_keeps_its_snapshot_over_a_reload() {
    let parts = vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nab".to_owned(),
        "cd".to_owned(),
    ];
    let mut provider = Provider::start(parts, true).await;
    let first =
        FakeSnapshot::new(provider.settings()).secret("/models/providers/mock/apiKey", "one");
    let second = FakeSnapshot::new(provider.settings())
        .secret("/models/providers/mock/apiKey", "two")
        .generation(2);
    let core = FakeCore::new(first);
    let server = Server::start(core.clone(), Limits::default()).await;
    *core.next.lock() = Some(second);
    let (running, _) = tokio::join!(
        server.get("/proxy/mock/x", ""),
        server.request("POST", "/_auth/reload", GOOD, "")
    );
    assert_eq!(running.body, "abcd");
    assert!(provider.request().await.contains("Bearer one"));
    server.get("/proxy/mock/x", "").await;
    assert!(provider.request().await.contains("Bearer two"));
    let generations: Vec<_> = server
        .log_lines(3)
        .await
        .iter()
        .filter(|line| line["provider"] == "mock")
        .map(|line| line["generation"].clone())
        .collect();
    assert_eq!(generations, [json!(1), json!(2)]);
}

#[tokio::test]
async fn two_requests_on_one_connection_are_framed_apart() {
    let mut provider = Provider::answering("200 OK", "ok").await;
    let server = provider.gateway(Limits::default()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let first = format!(
        "POST /proxy/mock/a HTTP/1.1\r\nhost: gw\r\n{GOOD}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    let second =
        format!("GET /proxy/mock/b HTTP/1.1\r\nhost: gw\r\n{GOOD}connection: close\r\n\r\n");
    client
        .write_all(format!("{first}{second}").as_bytes())
        .await
        .unwrap();
    let text = read_to_end(&mut client).await;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    let (a, b) = (provider.request().await, provider.request().await);
    assert!(
        a.starts_with("POST /v1/a") && a.contains("3\r\nabc\r\n0\r\n\r\n"),
        "{a}"
    );
    assert!(b.starts_with("GET /v1/b"), "{b}");
}

#[tokio::test]
async fn the_model_in_the_body_chooses_the_provider() {
    let mut provider = Provider::answering("200 OK", "{}").await;
    let mut values = provider.settings();
    values["agents"] = json!({"defaults": {"model": "mock/m-1"}});
    let snapshot = FakeSnapshot::new(values).secret("/models/providers/mock/apiKey", KEY);
    let server = Server::start(FakeCore::new(snapshot), Limits::default()).await;
    let json_lines = format!("{GOOD}content-type: application/json; charset=utf-8\r\n");
    for (method, lines, body, seen_body) in [
        (
            "POST",
            &json_lines,
            "{\"model\":\"mock/m-2\",\"n\":1.0}",
            "{\"model\":\"m-2\",\"n\":1.0}",
        ),
        (
            "POST",
            &json_lines,
            "{\"model\": \"m-3\"}",
            "{\"model\": \"m-3\"}",
        ),
        ("POST", &GOOD.to_owned(), "not json", "not json"),
        ("GET", &GOOD.to_owned(), "", ""),
    ] {
        let answer = server
            .request(method, "/v1/x/y?session=s&a=1", lines, body)
            .await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.header("x-openclaw-provider"), Some("mock"));
        let seen = provider.request().await;
        assert!(
            seen.starts_with(&format!("{method} /v1/x/y?a=1 HTTP/1.1\r\n")),
            "{seen}"
        );
        assert!(seen.contains(KEY));
        let (_, body) = seen.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, seen_body);
    }
    let encoded = format!("{json_lines}content-encoding: gzip\r\n");
    for (lines, body, status, code) in [
        (&json_lines, "{\"model\":", 400, "model_unknown"),
        (&json_lines, "{\"model\":7}", 400, "model_unknown"),
        (&encoded, "zipped", 400, "model_unknown"),
    ] {
        let answer = server.request("POST", "/v1/x", lines, body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{body}"
        );
    }
    assert_eq!(server.get("/v1/../x", "").await.code(), "path_invalid");
    assert!(provider.is_untouched());
    let bare = FakeCore::new(FakeSnapshot::new(provider.settings()));
    let server = Server::start(bare, Limits::default()).await;
    assert_eq!(server.get("/v1/models", "").await.code(), "model_unknown");
}

#[tokio::test]
async fn bodies_that_are_read_for_their_model_have_limits_too() {
    let provider = Provider::answering("200 OK", "{}").await;
    let mut values = provider.settings();
    values["gateway"] = json!({"http": {"maxBodyBytes": 1024}});
    let limits = Limits {
        body_idle: Duration::from_millis(150),
        ..Limits::default()
    };
    let snapshot = FakeSnapshot::new(values).secret("/models/providers/mock/apiKey", KEY);
    let server = Server::start(FakeCore::new(snapshot), limits).await;
    let head =
        format!("POST /v1/x HTTP/1.1\r\nhost: gw\r\n{GOOD}content-type: application/json\r\n");
    let long = "x".repeat(1500);
    for (rest, code) in [
        ("content-length: 1025\r\n\r\n".to_owned(), "body_too_large"),
        (
            format!("transfer-encoding: chunked\r\n\r\n5dc\r\n{long}\r\n0\r\n\r\n"),
            "body_too_large",
        ),
        ("content-length: 9\r\n\r\n{".to_owned(), "body_timeout"),
        (
            "transfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
            "body_incomplete",
        ),
    ] {
        let text = server.raw(format!("{head}{rest}")).await;
        assert_eq!(Answer::parse(&text).code(), code, "{rest:.60}");
    }
    assert_eq!(server.state.forwarded.running(), 0);
}
