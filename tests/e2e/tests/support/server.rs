//! A server of HTTP/1.1 in its smallest form: one request for each connection.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::PATIENCE;

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    /// Request line and header lines, as they were.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Arrived {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The value of the header; a second line with that name is an error.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = header_values(&self.head, name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice:\n{}", self.head);
        first
    }
}

/// The values of all lines with that name in a head.
pub(super) fn header_values<'h>(head: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// A running server; stops accepting when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on a free loopback port. The handler writes the whole answer.
    pub(crate) fn start(handler: impl Fn(Arrived, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let handler = Arc::new(handler);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let handler = Arc::clone(&handler);
                thread::spawn(move || {
                    // A connection that was only opened, or broke off, has no request.
                    if let Some(request) = read(&stream) {
                        handler(request, &mut stream);
                    }
                });
            }
        });
        Self {
            address,
            stop,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor; when that fails there is nothing to wake.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Arrived> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        head.push_str(&String::from_utf8_lossy(&line));
    }
    let has = |name, value| header_values(&head, name).any(|own| own == value);
    let mut body = Vec::new();
    if has("transfer-encoding", "chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            reader.read_until(b'\n', &mut body).ok()?;
        }
        body = dechunk(&body)?;
    } else if let Some(length) = header_values(&head, "content-length").next() {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Arrived { head, body })
}

/// The content of a chunked body; `None` when it is not whole.
pub(super) fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (size, after) = rest.split_at(end);
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let (chunk, after) = after.get(2..)?.split_at_checked(size)?;
        rest = after.strip_prefix(b"\r\n")?;
        if size == 0 {
            return rest.is_empty().then_some(content);
        }
        content.extend_from_slice(chunk);
    }
}
