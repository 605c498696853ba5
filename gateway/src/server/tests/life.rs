//! Stopping.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::limits::Limits;
use super::super::testing::{Provider, read_to_end};

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
