//! Malformed, oversized, slow and dangerous requests.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::limits::Limits;
use super::super::testing::{Answer, FakeCore, FakeSnapshot, Server, read_to_end};

const H: &str = "Host: gw.example\r\n";

fn statuses(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
        .filter_map(|line| line.split(' ').next())
        .collect()
}

#[tokio::test]
async fn requests_that_are_not_answered_normally() {
    let server = Server::with(json!({})).await;
    let long = |length| "a".repeat(length);
    let many: String = (0..101).map(|n| format!("X-{n}: v\r\n")).collect();
    let large: String = (0..3)
        .map(|n| format!("X-{n}: {}\r\n", long(12 * 1024)))
        .collect();
    for (name, request, status) in [
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            "two hosts",
            format!("GET /healthz HTTP/1.1\r\n{H}{H}\r\n"),
            "400",
        ),
        (
            "empty host",
            "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "host with user",
            "GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "absolute form, other host",
            format!("GET http://other.example/healthz HTTP/1.1\r\n{H}\r\n"),
            "400",
        ),
        (
            "connect",
            "CONNECT gw.example:443 HTTP/1.1\r\nHost: gw.example:443\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "trace",
            format!("TRACE /healthz HTTP/1.1\r\n{H}\r\n"),
            "400",
        ),
        (
            "upgrade to h2c",
            format!("GET /healthz HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
            "400",
        ),
        (
            "target with bytes above ASCII",
            format!("GET /caf\u{e9} HTTP/1.1\r\n{H}\r\n"),
            "400",
        ),
        (
            "target with a control character",
            format!("GET /a\u{1}b HTTP/1.1\r\n{H}\r\n"),
            "400",
        ),
        (
            "target without slash",
            format!("GET healthz HTTP/1.1\r\n{H}\r\n"),
            "400",
        ),
        (
            "long target",
            format!("GET /{} HTTP/1.1\r\n{H}\r\n", long(8 * 1024)),
            "414",
        ),
        (
            "many headers",
            format!("GET /healthz HTTP/1.1\r\n{H}{many}\r\n"),
            "431",
        ),
        (
            "large headers",
            format!("GET /healthz HTTP/1.1\r\n{H}{large}\r\n"),
            "431",
        ),
        (
            "large value",
            format!("GET /healthz HTTP/1.1\r\n{H}X: {}\r\n\r\n", long(17 * 1024)),
            "431",
        ),
        (
            "huge head",
            format!(
                "GET /healthz HTTP/1.1\r\n{H}X: {}\r\n\r\n",
                long(200 * 1024)
            ),
            "431",
        ),
        (
            "blank before colon",
            format!("GET /healthz HTTP/1.1\r\n{H}X-A : b\r\n\r\n"),
            "400",
        ),
        (
            "folded line",
            format!("GET /healthz HTTP/1.1\r\n{H}X-A: b\r\n c\r\n\r\n"),
            "400",
        ),
        (
            "bare carriage return",
            format!("GET /healthz HTTP/1.1\r\n{H}X-A: b\rc\r\n\r\n"),
            "400",
        ),
        (
            "NUL in a value",
            format!("GET /healthz HTTP/1.1\r\n{H}X-A: b\0c\r\n\r\n"),
            "400",
        ),
        (
            "empty header name",
            format!("GET /healthz HTTP/1.1\r\n{H}: b\r\n\r\n"),
            "400",
        ),
        (
            "two lengths",
            format!("POST /x HTTP/1.1\r\n{H}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "400",
        ),
        (
            "length with sign",
            format!("POST /x HTTP/1.1\r\n{H}Content-Length: +1\r\n\r\na"),
            "400",
        ),
        (
            "length list",
            format!("POST /x HTTP/1.1\r\n{H}Content-Length: 1, 2\r\n\r\na"),
            "400",
        ),
        (
            "unknown transfer coding",
            format!("POST /x HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\n"),
            "400",
        ),
        (
            "chunked not last",
            format!("POST /x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, gzip\r\n\r\n"),
            "400",
        ),
        (
            "chunked in HTTP/1.0",
            format!("POST /x HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "HTTP/3.0",
            format!("GET /healthz HTTP/3.0\r\n{H}\r\n"),
            "400",
        ),
        (
            "not HTTP",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let text = server.raw(&request).await;
        assert_eq!(statuses(&text), [status], "{name}: {text}");
    }
}

#[tokio::test]
async fn both_lengths_are_read_as_chunked_and_the_connection_ends() {
    let server = Server::with(json!({})).await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: gw.example\r\n\r\n";
    for lengths in [
        "Content-Length: 49\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let request = format!("POST /_auth/whoami HTTP/1.1\r\n{H}{lengths}\r\n0\r\n\r\n{smuggled}");
        let text = server.raw(&request).await;
        assert_eq!(
            statuses(&text),
            ["401"],
            "{lengths}: the second request must not be served"
        );
    }
}

#[tokio::test]
async fn a_slow_head_ends_the_connection_and_an_idle_one_may_wait_longer() {
    let limits = Limits {
        head_time: Duration::from_millis(300),
        keep_alive: Duration::from_millis(1200),
        ..Limits::default()
    };
    let server = Server::start(FakeCore::new(FakeSnapshot::new(json!({}))), limits).await;

    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let begun = Instant::now();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: gw.ex")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut slow).await, "");
    assert!(begun.elapsed() >= Duration::from_millis(290));
    assert!(
        begun.elapsed() < Duration::from_millis(1150),
        "{:?}",
        begun.elapsed()
    );

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        read_to_end(&mut silent).await,
        "",
        "a connection that sends nothing"
    );

    let mut kept = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\n{H}\r\n");
    for pause in [0, 600] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        kept.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        let size = kept.read(&mut buffer).await.unwrap();
        assert!(
            buffer[..size].starts_with(b"HTTP/1.1 200"),
            "after {pause} ms"
        );
    }
    let begun = Instant::now();
    assert_eq!(read_to_end(&mut kept).await, "");
    assert!(
        begun.elapsed() >= Duration::from_millis(1100),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn strangers_of_one_address_are_limited_and_known_callers_are_not() {
    let limits = Limits {
        per_peer: 2,
        ..Limits::default()
    };
    let server = Server::start(FakeCore::new(FakeSnapshot::new(json!({}))), limits).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, "", "closed at once");

    let request = format!("GET /_auth/whoami HTTP/1.1\r\n{H}Authorization: Bearer good\r\n\r\n");
    second.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 2048];
    let size = second.read(&mut buffer).await.unwrap();
    assert!(buffer[..size].starts_with(b"HTTP/1.1 200"));
    let answer = server.get("/_auth/whoami", "").await;
    assert_eq!(
        answer.status, 200,
        "an authenticated connection counts no longer"
    );
    drop(first);
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_the_server_goes_on() {
    let server = Server::with(json!({})).await;
    let answer = server
        .request(
            "GET",
            "/_auth/whoami",
            "authorization: Bearer panic\r\n",
            "",
        )
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (500, "internal_error")
    );
    assert!(!answer.body.contains("canary"));
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(server.get("/_auth/whoami", "").await.status, 200);
    let line = &server.log_lines(2).await[0];
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(500), &json!("internal_error"))
    );
}

#[tokio::test]
async fn expect_is_honoured_after_authorisation_only() {
    let server = Server::with(json!({})).await;
    let text = server
        .raw(format!(
            "POST /proxy/mock/x HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(statuses(&text), ["401"]);
    assert_eq!(Answer::parse(&text).code(), "token_missing");
}
