//! A provider that treats each key in its own way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::testing::read_request;

/// What a vendor does with the requests of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    BadRequest,
    Broken,
    Busy,
    ErrorEvent,
    Exhausted,
    Forbidden,
    HangUp,
    NotFound,
    Quota,
    RateLimit,
    Refused,
    Silent,
}

/// A provider that looks at the key of every request.
pub(super) struct Vendor {
    pub(super) address: SocketAddr,
    ways: Arc<Mutex<BTreeMap<String, Way>>>,
    /// Key and body of the requests that came.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    bodies: Mutex<Vec<String>>,
}

impl Vendor {
    /// Keys without a way of their own are served.
    pub(super) async fn start<const N: usize>(ways: [(&str, Way); N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ways = ways.map(|(key, way)| (key.to_owned(), way));
        let ways = Arc::new(Mutex::new(BTreeMap::from(ways)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all_ways, all_seen) = (Arc::clone(&ways), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (ways, seen) = (Arc::clone(&all_ways), Arc::clone(&all_seen));
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
                    let key = head
                        .lines()
                        .find_map(|line| line.strip_prefix("authorization: Bearer "))
                        .unwrap_or("none")
                        .to_owned();
                    seen.lock().push((key.clone(), plain(head, body)));
                    let way = ways.lock().get(&key).copied();
                    match vendor_answer(way, &key) {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        None if way == Some(Way::Silent) => {
                            let _ = stream.read(&mut [0; 1]).await;
                        }
                        None => {}
                    }
                });
            }
        });
        Self {
            address,
            ways,
            seen,
            bodies: Mutex::default(),
        }
    }

    /// The limit of a key is used up from now on.
    pub(super) fn limit(&self, key: &str) {
        self.ways.lock().insert(key.to_owned(), Way::RateLimit);
    }

    /// The keys of the requests since the last call.
    pub(super) fn keys(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock());
        let (keys, bodies): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        self.bodies.lock().extend(bodies);
        keys
    }

    /// The bodies of all requests so far.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.keys();
        self.bodies.lock().clone()
    }
}

/// A body without its framing.
fn plain(head: &str, body: &str) -> String {
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let lines = body.split("\r\n").enumerate();
    let data = lines.filter(|(index, _)| index % 2 == 1);
    data.map(|(_, data)| data).collect()
}

fn vendor_answer(way: Option<Way>, key: &str) -> Option<String> {
    let error = |status: &str, lines: &str, body: &str| {
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    };
    let Some(way) = way else {
        return error("200 OK", "", &format!("{{\"by\":\"{key}\"}}"));
    };
    match way {
        Way::HangUp | Way::Silent => None,
        Way::RateLimit => error(
            "429 Too Many Requests",
            "retry-after: 20\r\nretry-after-ms: 20000\r\n",
            r#"{"error":{"message":"Rate limit reached for requests","type":"requests","code":"rate_limit_exceeded"}}"#,
        ),
        Way::Quota => error(
            "403 Forbidden",
            "",
            r#"{"error":{"message":"Quota exceeded for this month","code":"quota_exceeded"}}"#,
        ),
        Way::Exhausted => error(
            "400 Bad Request",
            "",
            r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        Way::Refused => error(
            "401 Unauthorized",
            "",
            r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
        ),
        Way::Forbidden => error(
            "403 Forbidden",
            "",
            r#"{"error":{"type":"permission_error","message":"Not for this key"}}"#,
        ),
        Way::BadRequest => error(
            "400 Bad Request",
            "",
            r#"{"error":{"code":"invalid_request","type":"invalid_request_error","message":"x"}}"#,
        ),
        Way::NotFound => error(
            "404 Not Found",
            "",
            r#"{"error":{"code":"model_not_found","message":"The model does not exist"}}"#,
        ),
        Way::Broken => error(
            "500 Internal Server Error",
            "",
            r#"{"error":{"code":"server_error","message":"The server had an error; request 429"}}"#,
        ),
        Way::Busy => error(
            "529 Overloaded",
            "",
            r#"{"error":{"code":"overloaded_error","message":"Overloaded"}}"#,
        ),
        Way::ErrorEvent => {
            let body = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}}\n\n";
            Some(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            ))
        }
    }
}
