//! Storms: peers that break off, dawdle, flood or talk nonsense. Afterwards nothing is left of
//! them, and the server answers as before.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::super::limits::Limits;
use super::super::testing::{FakeCore, FakeSnapshot, Provider, Server};

/// Nobody is left, and the next caller is served.
async fn is_calm(server: &Server) {
    server.has_no_connections().await;
    assert_eq!(server.state.forwarded.running(), 0, "places are given back");
    assert_eq!(server.get("/_auth/whoami", "").await.status, 200);
}

/// Makes a connection end with a reset instead of a farewell.
fn will_reset(stream: &TcpStream) {
    let stream = socket2::SockRef::from(stream);
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn requests_cut_off_at_every_byte_leave_nothing_behind() {
    let provider = Provider::answering("200 OK", "{}").await;
    let server = provider.gateway(Limits::default()).await;
    for (head, body) in [
        ("Content-Length: 12\r\n", "{\"model\":\"m\""),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n",
        ),
    ] {
        let request = format!(
            "POST /proxy/mock/v1/x?a=1 HTTP/1.1\r\nHost: gw.example\r\n\
             Authorization: Bearer good\r\n{head}\r\n{body}"
        );
        for end in 0..request.len() {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(&request.as_bytes()[..end]).await.unwrap();
            if end % 2 == 0 {
                will_reset(&stream);
            }
        }
    }
    is_calm(&server).await;
}

#[tokio::test]
async fn callers_who_leave_in_the_middle_of_answers_leave_nothing_behind() {
    let parts: Vec<String> = ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()]
        .into_iter()
        .chain((0..20).map(|_| "5\r\nhello\r\n".to_owned()))
        .collect();
    let provider = Provider::start(parts, false).await;
    let server = provider.gateway(Limits::default()).await;
    let request =
        "GET /proxy/mock/x HTTP/1.1\r\nHost: gw.example\r\nAuthorization: Bearer good\r\n\r\n";
    let callers = (0..40_u64).map(|n| {
        let address = server.address;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(n * 10)).await;
            if n % 2 == 0 {
                will_reset(&stream);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    is_calm(&server).await;
}

#[tokio::test]
async fn dawdlers_are_sent_away_at_every_stage() {
    let provider = Provider::answering("200 OK", "{}").await;
    let limits = Limits {
        head_time: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        per_peer: 100,
        ..Limits::default()
    };
    let server = provider.gateway(limits).await;
    let request = "POST /proxy/mock/x HTTP/1.1\r\nHost: gw.example\r\n\
        Authorization: Bearer good\r\nContent-Length: 100\r\n\r\n0123456789";
    let mut streams = Vec::new();
    for end in (0..request.len()).step_by(3) {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&request.as_bytes()[..end]).await.unwrap();
        streams.push(stream);
    }
    // These ones send a byte now and then: a head must be whole in time all the same.
    let drip = tokio::spawn(async move {
        for _ in 0..10 {
            sleep(Duration::from_millis(100)).await;
            for stream in &mut streams[..10] {
                // Most are closed by now.
                let _ = stream.write_all(b"x").await;
            }
        }
        streams
    });
    is_calm(&server).await;
    drop(drip.await.unwrap());
}

#[tokio::test]
async fn readers_who_do_not_read_are_sent_away() {
    let big = "x".repeat(16 * 1024 * 1024);
    let provider = Provider::answering("200 OK", &big).await;
    let limits = Limits {
        write_stall: Duration::from_millis(300),
        head_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = provider.gateway(limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /proxy/mock/x HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer good\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.state.connections.open(), 1);
    is_calm(&server).await;
    drop(stream);
}

#[tokio::test]
async fn floods_of_headers_and_large_bodies_are_refused_one_by_one() {
    let limits = Limits {
        per_peer: 1000,
        ..Limits::default()
    };
    let server = Server::start(FakeCore::new(FakeSnapshot::new(json!({}))), limits).await;
    let line = format!("X-Flood: {}\r\n", "f".repeat(1000));
    let many = "X-A: b\r\n".repeat(5000);
    for (lines, status) in [
        (line.repeat(200), "431"),
        (many, "431"),
        (
            "Content-Length: 99999999999\r\nAuthorization: Bearer good\r\n".to_owned(),
            "413",
        ),
    ] {
        let request = format!("POST /_auth/reload HTTP/1.1\r\nHost: gw\r\n{lines}\r\n");
        let storm = (0..50).map(|_| server.raw(&request));
        for text in futures_util::future::join_all(storm).await {
            // A peer that is closed on while it still writes may lose the answer.
            let is_fine = text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status}"));
            assert!(is_fine, "{status}: {text:.80}");
        }
        let text = server.raw(&request).await;
        assert!(text.is_empty() || text.contains(status), "{text:.80}");
    }
    is_calm(&server).await;
}

#[tokio::test]
async fn nonsense_is_answered_with_400_or_the_end() {
    let server = Server::with(json!({})).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64: the same nonsense in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let valid = b"GET /_auth/whoami HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer good\r\n\r\n";
    for round in 0..300 {
        let mut bytes = valid.to_vec();
        if round % 3 == 0 {
            let length = usize::try_from(random() % 300).unwrap();
            bytes = (0..length).map(|_| random().to_le_bytes()[0]).collect();
        } else {
            for _ in 0..=random() % 4 {
                let place = usize::try_from(random()).unwrap() % bytes.len();
                bytes[place] = random().to_le_bytes()[0];
            }
        }
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        let first = text.lines().next().unwrap_or_default();
        let is_fine = first.is_empty()
            || ["200", "400", "401", "404", "405", "431"]
                .iter()
                .any(|status| first.contains(status));
        assert!(is_fine, "{:?} -> {first}", String::from_utf8_lossy(&bytes));
    }
    is_calm(&server).await;
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_counted() {
    let limits = Limits {
        connections: 20,
        per_peer: 1000,
        ..Limits::default()
    };
    let server = Server::start(FakeCore::new(FakeSnapshot::new(json!({}))), limits).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = Instant::now();
    while server.state.connections.refused() < 40 {
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "40 of 60 are one too many"
        );
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.state.connections.open(), 20);
    drop(held);
    is_calm(&server).await;
}

/// Memory of this process in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let files = openclaw_auth::host::Host::real().files;
    let file = files.open(std::path::Path::new("/proc/self/status"));
    let text = file.unwrap().read_to_limit(1 << 16).unwrap().unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs 20,000 file descriptors; part of tests/bench/run"]
async fn idle_connections_take_less_than_20_kilobytes_each() {
    /// Both ends fit into the usual limit of descriptors.
    const CONNECTIONS: usize = 9_900;
    let limits = Limits {
        connections: CONNECTIONS + 10,
        per_peer: CONNECTIONS + 10,
        ..Limits::default()
    };
    let server = Server::start(FakeCore::new(FakeSnapshot::new(json!({}))), limits).await;
    let before = resident();
    let mut held = Vec::with_capacity(CONNECTIONS);
    let mut buffer = vec![0; 4096];
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request =
            b"GET /_auth/whoami HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer good\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let size = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..size].starts_with(b"HTTP/1.1 200"));
        held.push(stream);
    }
    assert_eq!(server.state.connections.open(), CONNECTIONS);
    let grown = resident().saturating_sub(before);
    let each = grown / CONNECTIONS as u64;
    println!("an idle connection: {each} bytes, its client's end included");
    assert!(each < 20_000, "{grown} bytes in total");
    drop(held);
    server.has_no_connections().await;
}
