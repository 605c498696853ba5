//! The network as the rest of the library sees it: one request, and a listener for one answer.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use zeroize::Zeroizing;

/// Most bytes of an answer, unless the request says otherwise.
const MAX_ANSWER: u64 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// One blocking request. Redirects are not followed, no status is an error, nothing is retried.
pub trait Http: Send + Sync {
    /// Sends a request and reads the whole answer.
    fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpFailure>;
}

/// A request, with everything that must not be guessed from the environment.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Absolute address.
    pub url: String,
    /// Names and values; `User-Agent`, `Host` and `Content-Length` are added.
    pub headers: Vec<(String, Zeroizing<String>)>,
    /// The body; empty for none.
    pub body: Zeroizing<Vec<u8>>,
    /// Longest time until the connection stands, TLS included.
    pub connect_timeout: Duration,
    /// Longest time until the whole answer is there.
    pub timeout: Duration,
    /// Most bytes of the answer.
    pub max_answer: u64,
    /// Whether plain HTTP is acceptable.
    pub allow_http: bool,
    /// Address of the proxy to use. The environment is not consulted.
    pub proxy: Option<String>,
    /// Certificates in PEM form that are trusted beside the bundled ones.
    pub extra_roots: Vec<u8>,
}

impl HttpRequest {
    /// A `POST` with the usual limits: 10 seconds to connect, 30 in all, 1 MiB of answer.
    pub fn post(url: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            method: "POST",
            url: url.into(),
            headers: Vec::new(),
            body: body.into(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            max_answer: MAX_ANSWER,
            allow_http: false,
            proxy: None,
            extra_roots: Vec::new(),
        }
    }

    /// A `GET` with the usual limits.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET",
            ..Self::post(url, Vec::new())
        }
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
#[derive(Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Names in lower case, and values that are visible ASCII.
    pub headers: Vec<(String, String)>,
    /// The body, wiped on drop. May hold credentials.
    pub body: Zeroizing<Vec<u8>>,
}

impl HttpAnswer {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// What it means.
    pub kind: HttpFailureKind,
    /// The cause, without any content of request or answer.
    pub reason: String,
}

impl HttpFailure {
    /// A failure.
    pub fn new(kind: HttpFailureKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

/// What a missing answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpFailureKind {
    /// The other side has not seen the request: no such name, no connection.
    NotSent,
    /// No secure connection; the other side has not seen the request.
    Tls,
    /// The answer is larger than allowed.
    TooLarge,
    /// The other side may have seen and processed the request.
    Unanswered,
    /// The request itself cannot be sent.
    Unusable,
}

/// Listening sockets.
pub trait Sockets: Send + Sync {
    /// Listens on all of these addresses at once. Port 0 becomes one free port for all of them.
    /// An address family that this machine lacks is left out, as long as one address remains.
    fn listen(&self, addresses: &[SocketAddr]) -> io::Result<Box<dyn Listener>>;
}

/// Open listening sockets; closed on drop.
pub trait Listener: Send + Sync {
    /// The addresses, with the port.
    fn addresses(&self) -> &[SocketAddr];
    /// The next connection, or `None` when none comes in time.
    fn accept(&self, timeout: Duration) -> io::Result<Option<Box<dyn Connection>>>;
}

/// One accepted connection; closed on drop.
pub trait Connection: Read + Write + Send {
    /// Longest time one read or write may take.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}
