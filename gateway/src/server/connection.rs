//! One connection: its time limits, and the fence around each of its requests.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use openclaw_auth::Code;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::access_log::{Arrival, Record};
use super::answer;
use super::body::ReplyBody;
use super::checks;
use super::core_api::Facts;
use super::failure::Failure;
use super::limits::{Admission, Limits};
use super::routes::{self, Call};
use super::state::State;

/// What is known about a connection.
pub(crate) struct Link {
    /// Address of the transport peer.
    pub(crate) peer: SocketAddr,
    remote: String,
    local: String,
    /// The place of the connection among all.
    pub(crate) admission: Admission,
    phase: Mutex<(Phase, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// Waiting for the rest of a request's head.
    Head,
    /// A request is being answered.
    Busy,
}

impl Link {
    /// A connection that was just accepted: its first head is due.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, admission: Admission) -> Self {
        Self {
            peer,
            remote: peer.to_string(),
            local: local.to_string(),
            admission,
            phase: Mutex::new((Phase::Head, Instant::now())),
        }
    }

    /// What the access rules are told about a request of this connection.
    pub(crate) fn facts<'a>(&'a self, headers: &'a HeaderMap) -> Facts<'a> {
        Facts {
            remote: &self.remote,
            local: &self.local,
            headers,
            websocket: checks::is_websocket(headers),
        }
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock() = (phase, Instant::now());
    }

    fn read_something(&self) {
        let mut phase = self.phase.lock();
        if phase.0 == Phase::Idle {
            *phase = (Phase::Head, Instant::now());
        }
    }

    /// When to look again, or `None` when the peer took too long.
    fn next_look(&self, limits: &Limits) -> Option<Instant> {
        let (phase, since) = *self.phase.lock();
        let now = Instant::now();
        let due = match phase {
            Phase::Busy => return Some(now + limits.head_time),
            Phase::Idle => since + limits.keep_alive,
            Phase::Head => since + limits.head_time,
        };
        // An idle connection may begin a head right after this look: look again in time.
        (now < due).then(|| due.min(now + limits.head_time))
    }
}

/// What a connection belongs to: the server, its stop signal, and proof that it still runs.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The server.
    pub(crate) state: Arc<State>,
    /// Turns true when the server stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Dropped when the connection has ended.
    #[expect(
        dead_code,
        reason = "held as long as the connection lives, never used otherwise"
    )]
    pub(crate) running: mpsc::Sender<Infallible>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TcpStream, link: Link, mut around: Surroundings) {
    let link = Arc::new(link);
    let limits = around.state.limits.clone();
    let service = {
        let (state, link) = (Arc::clone(&around.state), Arc::clone(&link));
        service_fn(move |request| handle(Arc::clone(&state), Arc::clone(&link), request))
    };
    let io = Watched {
        io: TokioIo::new(stream),
        link: Arc::clone(&link),
    };
    let mut connection = pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes + limits.target + REQUEST_LINE)
            .max_buf_size(BUFFER)
            .serve_connection(io, service)
    );
    let mut look = pin!(sleep_until(Instant::now() + limits.head_time));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // How a connection ends is the peer's business; every request has its own log line.
            _ = connection.as_mut() => return,
            () = look.as_mut() => match link.next_look(&limits) {
                Some(next) => look.as_mut().reset(next),
                None => return,
            },
            _ = around.stop.wait_for(|stop| *stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Answers one request; whatever happens inside, there is an answer and a log line.
async fn handle(
    state: Arc<State>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let busy = Busy::begin(&link);
    let current = state.current();
    let request_id =
        routes::given_request_id(request.headers()).unwrap_or_else(|| state.request_id());
    let is_head = *request.method() == Method::HEAD;
    let hsts = current
        .snapshot
        .strict_transport_security(&link.facts(request.headers()));
    let hsts = hsts.and_then(|hsts| HeaderValue::from_str(hsts).ok());
    let mut record = Record::begin(
        Arc::clone(&state.log),
        Arrival {
            request_id,
            peer: link.peer.ip(),
            verb: request.method().as_str(),
            path: request.uri().path(),
            websocket: checks::is_websocket(request.headers()),
            generation: current.snapshot.generation(),
        },
    );
    let outcome = {
        let call = Call {
            state: &state,
            link: &link,
            current: &current,
            record: &mut record,
        };
        let mut answering = pin!(fenced(call, request));
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(_) => Poll::Ready(Err(Failure::new(Code::InternalError).closing())),
            },
        )
        .await
    };
    let (mut response, code) = match outcome {
        Ok(response) => (response, None),
        Err(failure) => {
            let code = failure.code();
            if code == Code::InternalError {
                log::error!("request {} failed inside the gateway", record.request_id());
            }
            (failure.into_response(), Some(code))
        }
    };
    answer::complete(response.headers_mut(), record.request_id(), hsts.as_ref());
    let status = response.status();
    record.answered(status.as_u16(), code, routes::has_body(is_head, status));
    Ok(response.map(|body| body.recorded(record.during(busy))))
}

async fn fenced(
    mut call: Call<'_>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    routes::answer(&mut call, request).await
}

/// Marks the connection as answering; on drop it waits for the next request.
pub(crate) struct Busy(Arc<Link>);

impl Busy {
    fn begin(link: &Arc<Link>) -> Self {
        link.enter(Phase::Busy);
        Self(Arc::clone(link))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// A stream that tells its connection when something arrives.
struct Watched {
    io: TokioIo<TcpStream>,
    link: Arc<Link>,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buffer);
        if poll.is_ready() {
            self.link.read_something();
        }
        poll
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}

/// Room for the method, the version and the blanks of a request line.
const REQUEST_LINE: usize = 64;
/// Most bytes that a connection buffers.
const BUFFER: usize = 64 * 1024;
/// How long accepting pauses when the system has no room for more connections.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
