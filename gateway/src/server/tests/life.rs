//! Stopping, and reloading without being asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::limits::Limits;
use super::super::testing::{FakeCore, FakeSnapshot, Provider, Server, read_to_end};
use super::super::watcher::watch;

#[tokio::test]
async fn a_stop_lets_running_requests_end_and_closes_idle_connections() {
    // The silence before the head leaves time for the stop to come first.
    let parts = vec![
        String::new(),
        String::new(),
        String::new(),
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab".to_owned(),
        "cd".to_owned(),
        String::new(),
        "ef".to_owned(),
    ];
    let mut provider = Provider::start(parts, true).await;
    let mut server = provider.gateway(Limits::default()).await;

    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: gw\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = [0; 1024];
    assert_ne!(idle.read(&mut buffer).await.unwrap(), 0);

    let mut running = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /proxy/mock/x HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer good\r\n\r\n";
    running.write_all(request.as_bytes()).await.unwrap();
    provider.request().await;

    server.state.readiness.draining();
    server.stop.send(true).unwrap();
    assert_eq!(read_to_end(&mut idle).await, "");
    let text = read_to_end(&mut running).await;
    assert!(text.ends_with("abcdef"), "{text}");
    assert!(
        text.to_ascii_lowercase().contains("connection: close"),
        "{text}"
    );
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );

    let ended = timeout(Duration::from_secs(2), server.ended.recv()).await;
    assert_eq!(ended.unwrap(), None, "every connection has ended");
}

/// A watched server with these settings of `gateway.reload`, after a file has changed.
async fn changed(reload: Value, next: Option<FakeSnapshot>) -> (Arc<FakeCore>, Server) {
    let values = json!({"gateway": {"reload": reload}});
    let core = FakeCore::new(FakeSnapshot::new(values));
    *core.next.lock() = next;
    let server = Server::start(Arc::clone(&core), Limits::default()).await;
    tokio::spawn(watch(Arc::clone(&server.state)));
    core.is_changed.store(true, Ordering::Relaxed);
    (core, server)
}

/// Waits until something is so, on a slow machine too.
async fn until(is_so: impl Fn() -> bool) {
    let seen = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), seen).await.unwrap();
}

#[tokio::test]
async fn changed_files_are_taken_over_and_broken_ones_degrade() {
    let next = FakeSnapshot::new(json!({})).generation(2);
    let (core, server) = changed(json!({"mode": "hybrid"}), Some(next)).await;
    until(|| server.state.current().snapshot.generation() == 2).await;
    assert!(!server.state.failing().contains(&"secrets"));

    core.is_changed.store(true, Ordering::Relaxed);
    until(|| server.state.failing().contains(&"secrets")).await;
    assert_eq!(core.reloads.load(Ordering::Relaxed), 2);
    assert_eq!(server.state.current().snapshot.generation(), 2);
}

#[tokio::test]
async fn watching_can_be_switched_off() {
    let (core, _server) = changed(json!({"mode": "off"}), None).await;
    // Two intervals of a watcher that is switched on.
    sleep(Duration::from_millis(800)).await;
    assert_eq!(core.reloads.load(Ordering::Relaxed), 0);
    assert!(core.is_changed.load(Ordering::Relaxed), "nobody has looked");
}
