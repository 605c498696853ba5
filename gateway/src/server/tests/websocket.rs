//! `/ws`: handshakes, messages, and when a session ends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::super::limits::Limits;
use super::super::testing::{FakeCore, FakeSnapshot, Server, read_to_end, real_core};

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good")];
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

type Client = WebSocketStream<TcpStream>;

async fn connect(server: &Server, lines: &[(&'static str, &str)]) -> Client {
    let mut request = "ws://gw.example/ws".into_client_request().unwrap();
    for (name, value) in lines {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    client
}

async fn next(client: &mut Client) -> Message {
    let message = timeout(Duration::from_secs(5), client.next()).await;
    message.unwrap().unwrap().unwrap()
}

async fn hear(client: &mut Client) -> Value {
    let message = next(client).await;
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

/// The code and reason of the close frame that comes next.
async fn closed(client: &mut Client) -> (u16, String) {
    loop {
        match next(client).await {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

async fn say(client: &mut Client, text: &str) -> Value {
    client.send(Message::text(text)).await.unwrap();
    hear(client).await
}

#[tokio::test]
async fn messages_and_their_answers() {
    let server = Server::with(json!({})).await;
    let lines = [GOOD[0], ("x-user", "nick")];
    let mut client = connect(&server, &lines).await;
    let hello = hear(&mut client).await;
    assert_eq!(
        (&hello["event"], &hello["snapshot"]),
        (&json!("hello"), &json!(1))
    );
    assert_eq!(hello["identity"]["user"], "nick");

    let answer = say(&mut client, r#"{"id":1,"method":"whoami"}"#).await;
    assert_eq!((&answer["id"], &answer["ok"]), (&json!(1), &json!(true)));
    assert_eq!(answer["result"]["user"], "nick");
    let answer = say(&mut client, r#"{"id":"a","method":"status"}"#).await;
    assert_eq!(
        (&answer["id"], &answer["result"]["mode"]),
        (&json!("a"), &json!("token"))
    );
    let answer = say(&mut client, r#"{"id":2,"method":"ping"}"#).await;
    assert_eq!(
        answer,
        json!({"id": 2, "ok": true, "result": {"pong": true}})
    );
    let answer = say(&mut client, r#"{"id":3,"method":"dance"}"#).await;
    assert_eq!(
        (&answer["ok"], &answer["error"]["code"]),
        (&json!(false), &json!("method_unknown"))
    );

    client.send(Message::Ping("abc".into())).await.unwrap();
    assert_eq!(next(&mut client).await, Message::Pong("abc".into()));
    let line = &server.log_lines(1).await[0];
    assert_eq!(
        (&line["kind"], &line["status"]),
        (&json!("websocket"), &json!(101))
    );
    client.close(None).await.unwrap();
    drop(client);
    server.has_no_connections().await;
}

#[tokio::test]
async fn only_real_handshakes_of_known_callers_are_answered_with_101() {
    let server = Server::with(json!({})).await;
    let good = "Authorization: Bearer good\r\n";
    let ask = async |version: &str, lines: String| {
        let request = format!("GET /ws {version}\r\nHost: gw.example\r\n{lines}X-End: 1\r\n\r\n");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let text = read_to_end(&mut stream).await;
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (name, version, lines, status) in [
        ("plain", "HTTP/1.1", HANDSHAKE.to_owned() + good, "101"),
        ("stranger", "HTTP/1.1", HANDSHAKE.to_owned(), "401"),
        ("no handshake", "HTTP/1.1", good.to_owned(), "426"),
        (
            "old",
            "HTTP/1.1",
            HANDSHAKE.replace("13", "8") + good,
            "426",
        ),
        (
            "short key",
            "HTTP/1.1",
            HANDSHAKE.replace("dGhl", "") + good,
            "426",
        ),
        (
            "odd key",
            "HTTP/1.1",
            HANDSHAKE.replace("dGhl", "d@hl") + good,
            "426",
        ),
        (
            "no connection",
            "HTTP/1.1",
            HANDSHAKE.replace("Connection: Upgrade\r\n", "") + good,
            "426",
        ),
        (
            "list",
            "HTTP/1.1",
            HANDSHAKE.replace("n: Upgrade", "n: keep-alive, Upgrade") + good,
            "101",
        ),
        (
            "two keys",
            "HTTP/1.1",
            format!("{HANDSHAKE}{good}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "426",
        ),
    ] {
        assert_eq!(ask(version, lines).await, status, "{name}");
    }
    let post = format!("POST /ws HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n{HANDSHAKE}{good}");
    let text = server.raw(post + "Connection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 405"), "{text}");
    server.has_no_connections().await;
}

#[tokio::test]
async fn the_accept_value_is_that_of_the_standard_and_tokens_are_not_echoed() {
    let server = Server::with(json!({})).await;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer good\r\n{HANDSHAKE}\
         Sec-WebSocket-Protocol: openclaw.token.Y2FuYXJ5, openclaw.v1\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let text = read_to_end(&mut stream).await.to_ascii_lowercase();
    // The example of RFC 6455, section 1.3.
    assert!(
        text.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{text}"
    );
    assert!(
        text.contains("sec-websocket-protocol: openclaw.v1\r\n"),
        "{text}"
    );
    assert!(!text.contains("openclaw.token"), "{text}");
}

#[tokio::test]
async fn browsers_bring_their_token_as_a_protocol_and_their_origin_counts() {
    let settings = json!({"gateway": {
        "auth": {"mode": "token", "token": "a-gateway-token-of-some-length"},
        "controlUi": {"allowedOrigins": ["https://ui.example"]},
    }});
    let server = Server::launch(real_core(&settings, &[]), Limits::default(), None).await;
    let token = "openclaw.v1, openclaw.token.YS1nYXRld2F5LXRva2VuLW9mLXNvbWUtbGVuZ3Ro";
    let lines = [
        ("sec-websocket-protocol", token),
        ("origin", "https://ui.example"),
    ];
    let mut client = connect(&server, &lines).await;
    assert_eq!(hear(&mut client).await["identity"]["method"], "token");
    let lines =
        format!("{HANDSHAKE}Sec-WebSocket-Protocol: {token}\r\nOrigin: https://evil.example\r\n");
    let answer = server.request("GET", "/ws", &lines, "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "origin_not_allowed")
    );
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_session_with_a_code() {
    let server = Server::with(json!({})).await;
    for (name, message, code) in [
        ("long", Message::text("x".repeat(1024 * 1024 + 1)), 1009),
        ("malformed", Message::text("no json"), 1008),
        ("binary", Message::binary(vec![1]), 1008),
        ("no id", Message::text(r#"{"method":"ping"}"#), 1008),
        ("no method", Message::text(r#"{"id":1}"#), 1008),
        ("list", Message::text("[]"), 1008),
    ] {
        let mut client = connect(&server, GOOD).await;
        hear(&mut client).await;
        for _ in 0..10 {
            if code == 1008 {
                client.send(message.clone()).await.unwrap();
                let answer = hear(&mut client).await;
                assert_eq!(answer["error"]["code"], "message_invalid", "{name}");
            }
        }
        // The peer may close before everything is written.
        let _ = client.send(message).await;
        assert_eq!(closed(&mut client).await.0, code, "{name}");
    }
    server.has_no_connections().await;
}

#[tokio::test]
async fn frames_without_a_mask_end_the_session() {
    let server = Server::with(json!({})).await;
    let request =
        format!("GET /ws HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer good\r\n{HANDSHAKE}\r\n");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(b"\x81\x02{}").await.unwrap();
    let text = read_to_end(&mut stream).await;
    assert!(text.contains("protocol error"), "{text}");
    server.has_no_connections().await;
}

#[tokio::test]
async fn a_reload_judges_open_sessions_again() {
    let settings = |token: &str, grace: u32| {
        let auth = json!({"mode": "token", "token": token});
        json!({"gateway": {"auth": auth, "shutdownGraceMs": grace}}).to_string()
    };
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("openclaw.json");
    let files = openclaw_auth::host::Host::real().files;
    let write = |token: &str, grace: u32| {
        let text = settings(token, grace);
        files.write_atomic(&config, text.as_bytes(), 0o600).unwrap();
    };
    write("the-first-token-of-some-length", 1);
    let core = super::super::core_api::open(super::super::OpenRequest {
        config: Some(config.clone()),
        state_dir: Some(home.path().to_path_buf()),
        env: Some(std::collections::BTreeMap::new()),
        ..super::super::OpenRequest::default()
    });
    let server = Server::launch(core.unwrap(), Limits::default(), None).await;
    let lines = [("authorization", "Bearer the-first-token-of-some-length")];
    let mut client = connect(&server, &lines).await;
    hear(&mut client).await;

    write("the-first-token-of-some-length", 2);
    assert!(server.state.reloader.reload().await.is_ok());
    let answer = say(&mut client, r#"{"id":1,"method":"status"}"#).await;
    assert_eq!(answer["result"]["snapshot"], 2, "the session stays open");

    write("another-token-of-some-length", 2);
    assert!(server.state.reloader.reload().await.is_ok());
    assert_eq!(
        closed(&mut client).await,
        (1008, "token_mismatch".to_owned())
    );
    drop(client);
    server.has_no_connections().await;
}

#[tokio::test]
async fn a_stop_says_goodbye_and_silent_peers_are_left() {
    let limits = Limits {
        ping: Duration::from_millis(80),
        ..Limits::default()
    };
    let core = FakeCore::new(FakeSnapshot::new(json!({})));
    let server = Server::start(core, limits).await;
    // This one does not read, so it does not answer pings.
    let silent = connect(&server, GOOD).await;
    let mut awake = connect(&server, GOOD).await;
    hear(&mut awake).await;
    assert_eq!(server.state.connections.open(), 2);
    for _ in 0..4 {
        assert!(matches!(next(&mut awake).await, Message::Ping(_)));
        // The answer goes out with the next write.
        awake.flush().await.unwrap();
    }
    for _ in 0..100 {
        if server.state.connections.open() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.state.connections.open(), 1, "the silent one is gone");
    drop(silent);

    let mut server = server;
    server.stop.send(true).unwrap();
    assert_eq!(closed(&mut awake).await.0, 1001);
    drop(awake);
    let ended = timeout(Duration::from_secs(2), server.ended.recv()).await;
    assert_eq!(ended.unwrap(), None, "every session has ended");
}
