//! A client that sends exactly the header lines it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::server::{dechunk, header_values};

/// How to reach a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    to: SocketAddr,
    from: Ipv4Addr,
    announced: Option<Ipv4Addr>,
}

impl Way {
    pub(crate) fn to(to: SocketAddr) -> Self {
        Self {
            to,
            from: Ipv4Addr::LOCALHOST,
            announced: None,
        }
    }

    /// From this address of this machine.
    pub(crate) fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    /// Through a balancer of connections that announces this client (PROXY protocol, version 1).
    pub(crate) fn announcing(self, client: Ipv4Addr) -> Self {
        Self {
            announced: Some(client),
            ..self
        }
    }

    fn connect(self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from((self.from, 0));
        if let Err(error) = socket.bind(&from.into()) {
            panic!("{from} cannot be used as a source address: {error}");
        }
        if let Err(error) = socket.connect(&self.to.into()) {
            panic!("{} does not answer: {error}", self.to);
        }
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Some(client) = self.announced {
            let line = format!("PROXY TCP4 {client} 127.0.0.1 40000 443\r\n");
            stream.write_all(line.as_bytes()).unwrap();
        }
        stream
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    line: String,
    lines: String,
    body: String,
    ends_connection: bool,
}

impl Request {
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target, "")
    }

    pub(crate) fn post(target: &str, body: &str) -> Self {
        Self::new("POST", target, body)
    }

    fn new(method: &str, target: &str, body: &str) -> Self {
        Self {
            line: format!("{method} {target} HTTP/1.1"),
            lines: String::new(),
            body: body.to_owned(),
            ends_connection: true,
        }
    }

    /// One more header line. A `Connection` line replaces our own.
    pub(crate) fn line(mut self, name: &str, value: &str) -> Self {
        self.ends_connection &= !name.eq_ignore_ascii_case("connection");
        self.lines.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Logged in as somebody the authenticator knows.
    pub(crate) fn session(self, name: &str) -> Self {
        self.line("Cookie", &format!("session={name}"))
    }

    /// Sends it and reads the answer to its end.
    pub(crate) fn send(&self, way: Way) -> Answer {
        self.open(way).rest()
    }

    /// Sends it; the answer can be read piece by piece.
    pub(crate) fn open(&self, way: Way) -> Reading {
        let mut stream = way.connect();
        let close = if self.ends_connection {
            "Connection: close\r\n"
        } else {
            ""
        };
        let length = self.body.len();
        let text = format!(
            "{}\r\nHost: claw.example.com\r\nContent-Length: {length}\r\n{close}{}\r\n{}",
            self.line, self.lines, self.body
        );
        stream.write_all(text.as_bytes()).unwrap();
        Reading {
            reader: BufReader::new(stream),
            raw: Vec::new(),
        }
    }
}

/// An answer that is still arriving.
pub(crate) struct Reading {
    reader: BufReader<TcpStream>,
    raw: Vec<u8>,
}

impl Reading {
    /// Reads until this text has arrived; whether it came within the time.
    pub(crate) fn reaches(&mut self, text: &str, time: Duration) -> bool {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(time)).unwrap();
        loop {
            let raw = &self.raw;
            if raw.windows(text.len()).any(|part| part == text.as_bytes()) {
                return true;
            }
            let arrived = self.reader.fill_buf().map_or(0, |bytes| {
                self.raw.extend_from_slice(bytes);
                bytes.len()
            });
            self.reader.consume(arrived);
            if arrived == 0 {
                return false;
            }
        }
    }

    /// Reads the rest. An answer that is not whole is an error.
    pub(crate) fn rest(mut self) -> Answer {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.reader.read_to_end(&mut self.raw).unwrap();
        Answer::parse(&self.raw)
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(raw: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(raw);
        let end = raw.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {shown:?}"));
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut body = raw[end + 4..].to_vec();
        if header_values(&head, "transfer-encoding").any(|coding| coding == "chunked") {
            body = dechunk(&body).unwrap_or_else(|| panic!("broke off: {shown:?}"));
        } else if let Some(length) = header_values(&head, "content-length").next() {
            assert_eq!(length, body.len().to_string(), "broke off: {shown:?}");
        }
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no answer: {shown:?}")),
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header_values(&self.head, name).next()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and error code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let json = self.json();
        let code = json["error"]["code"].as_str();
        let code = code.unwrap_or_else(|| panic!("no code: {self:?}"));
        (self.status, code.to_owned())
    }
}
