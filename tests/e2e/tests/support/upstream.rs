//! A model provider that writes down every request.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;
use super::server::{Arrived, Server};

/// Answers by the last part of the path: `events` and `text` are two pieces, the second of which
/// waits for [`Upstream::release`]; `refuse` is a 401 that quotes the key; all else is JSON.
pub(crate) struct Upstream {
    server: Server,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    seen: Mutex<Vec<Arrived>>,
    gate: Mutex<Gate>,
    opened: Condvar,
}

#[derive(Default)]
struct Gate {
    sent: usize,
    released: usize,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let notes = Arc::new(Notes::default());
        let own = Arc::clone(&notes);
        let server = Server::start(move |request, stream| {
            own.seen.lock().unwrap().push(request.clone());
            // A caller who is gone needs no answer.
            let _ = own.answer(&request, stream);
        });
        Self { server, notes }
    }

    /// For `baseUrl`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.server.address)
    }

    /// Takes the requests that came since the last call.
    pub(crate) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.notes.seen.lock().unwrap())
    }

    /// Takes the only request that came since the last call.
    pub(crate) fn take_one(&self) -> Arrived {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "requests: {seen:?}");
        seen.remove(0)
    }

    /// How many pieces of streams were sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.notes.gate.lock().unwrap().sent
    }

    /// Lets one waiting stream send its second piece.
    pub(crate) fn release(&self) {
        self.notes.gate.lock().unwrap().released += 1;
        self.notes.opened.notify_all();
    }
}

impl Notes {
    fn answer(&self, request: &Arrived, stream: &mut TcpStream) -> std::io::Result<()> {
        match request.path().rsplit('/').next() {
            Some("events") => self.stream(stream, "text/event-stream"),
            Some("text") => self.stream(stream, "text/plain"),
            Some("refuse") => {
                let key = request.header("authorization").unwrap_or_default();
                let key = key.trim_start_matches("Bearer ");
                let body = format!(r#"{{"error":{{"message":"Incorrect API key: {key}."}}}}"#);
                whole(stream, "401 Unauthorized", &body)
            }
            _ => whole(stream, "200 OK", r#"{"id":"chatcmpl-1","choices":[]}"#),
        }
    }

    fn stream(&self, stream: &mut TcpStream, kind: &str) -> std::io::Result<()> {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
        )?;
        self.send(stream, "data: one\n\n")?;
        {
            let gate = self.gate.lock().unwrap();
            let (mut gate, time) = self
                .opened
                .wait_timeout_while(gate, PATIENCE, |gate| gate.released == 0)
                .unwrap();
            assert!(!time.timed_out(), "the second piece was never asked for");
            gate.released -= 1;
        }
        self.send(stream, "data: two\n\n")
    }

    fn send(&self, stream: &mut TcpStream, piece: &str) -> std::io::Result<()> {
        // Counted first: whoever has the piece must find it counted.
        self.gate.lock().unwrap().sent += 1;
        stream.write_all(piece.as_bytes())
    }
}

fn whole(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Set-Cookie: provider=1\r\nConnection: close\r\n\r\n{body}"
    )
}
