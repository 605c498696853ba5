//! One connection: handshake, protocol, time limits, and the fence around each of its requests.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use openclaw_auth::Code;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::access_log::{Arrival, Record};
use super::answer;
use super::body::ReplyBody;
use super::checks;
use super::failure::Failure;
use super::link::{Busy, Link, Look};
use super::routes::{self, Call};
use super::state::State;
use super::tls::{H2, Tls};
use super::watched::Watched;

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
pub(crate) async fn serve(stream: TcpStream, link: Link, around: Surroundings) {
    let link = Arc::new(link);
    match around.state.tls().map(Tls::acceptor) {
        None => http_1(stream, link, around).await,
        // Boxed, so that plain connections need no room for it.
        Some(acceptor) => Box::pin(encrypted(acceptor, stream, link, around)).await,
    }
}

async fn encrypted(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    link: Arc<Link>,
    mut around: Surroundings,
) {
    let handshake = timeout(around.state.limits.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        done = handshake => done,
        () = stopped(&mut around.stop) => return,
    };
    match stream {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
            Box::pin(http_2(stream, link, around)).await;
        }
        Ok(Ok(stream)) => Box::pin(http_1(stream, link, around)).await,
        Ok(Err(error)) => log::debug!("{}: no TLS: {error}", link.peer),
        Err(_) => log::debug!("{}: the TLS handshake takes too long", link.peer),
    }
}

/// Returns when the server stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender the server is gone, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A stream of bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

async fn http_1(stream: impl Stream, link: Arc<Link>, around: Surroundings) {
    let limits = &around.state.limits;
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes + limits.target + REQUEST_LINE)
        .max_buf_size(BUFFER)
        .serve_connection(
            Watched::new(stream, Arc::clone(&link), true),
            service(&link, &around),
        )
        .with_upgrades();
    drive(
        pin!(connection),
        http1::UpgradeableConnection::graceful_shutdown,
        &link,
        around,
    )
    .await;
}

async fn http_2(stream: impl Stream, link: Arc<Link>, around: Surroundings) {
    let limits = &around.state.limits;
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(usize::try_from(limits.resets).unwrap_or(0)))
        .serve_connection(
            Watched::new(stream, Arc::clone(&link), false),
            service(&link, &around),
        );
    drive(
        pin!(connection),
        http2::Connection::graceful_shutdown,
        &link,
        around,
    )
    .await;
}

/// Answers the requests of one connection.
fn service(
    link: &Arc<Link>,
    around: &Surroundings,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<ReplyBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<ReplyBody>, Infallible>> + Send + use<>,
> + use<> {
    let (link, around) = (Arc::clone(link), around.clone());
    service_fn(move |request| handle(around.clone(), Arc::clone(&link), request))
}

/// Runs a connection until it ends, the peer takes too long or floods it, or the server stops.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    finish: fn(Pin<&mut C>),
    link: &Link,
    mut around: Surroundings,
) {
    let limits = Arc::clone(&around.state.limits);
    let mut look = pin!(sleep_until(Instant::now() + limits.head_time));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // How a connection ends is the peer's business; every request has its own log line.
            _ = connection.as_mut() => return,
            () = look.as_mut() => match link.look(&limits) {
                Look::At(next) => look.as_mut().reset(next),
                Look::TooLong => return,
            },
            () = link.flooded() => break,
            () = stopped(&mut around.stop), if !is_stopping => {
                is_stopping = true;
                finish(connection.as_mut());
            }
        }
    }
    log::debug!("{}: too many requests given up", link.peer);
    finish(connection.as_mut());
    tokio::select! {
        _ = connection => {}
        () = sleep(FAREWELL) => {}
    }
}

/// Answers one request; whatever happens inside, there is an answer and a log line.
async fn handle(
    around: Surroundings,
    link: Arc<Link>,
    mut request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let state = &around.state;
    let busy = Busy::begin(&link, &state.limits);
    let current = state.current();
    let version = request.version();
    if version == Version::HTTP_2 {
        name_host(&mut request);
    }
    let request_id =
        routes::given_request_id(request.headers()).unwrap_or_else(|| state.request_id());
    let is_head = *request.method() == Method::HEAD;
    let hsts = current
        .snapshot
        .strict_transport_security(&link.facts(request.headers()));
    let hsts = hsts.and_then(|hsts| HeaderValue::from_str(hsts).ok());
    let mut record = Record::begin(
        state,
        Arrival {
            request_id,
            peer: link.peer.ip(),
            verb: request.method().as_str(),
            path: request.uri().path(),
            websocket: checks::is_websocket(request.headers()),
            generation: current.snapshot.generation(),
        },
    )
    .during(busy);
    let outcome = {
        let call = Call {
            around: &around,
            state,
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
    if version == Version::HTTP_2 {
        // RFC 9113, section 8.2.2: streams end by themselves.
        response.headers_mut().remove(header::CONNECTION);
        response.headers_mut().remove(header::UPGRADE);
    }
    let status = response.status();
    record.answered(status.as_u16(), code, routes::has_body(is_head, status));
    Ok(response.map(|body| body.recorded(record)))
}

async fn fenced(
    mut call: Call<'_>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    routes::answer(&mut call, request).await
}

/// HTTP/2 names the host in the target (`:authority`); rules about `Host` are to see it.
fn name_host(request: &mut Request<Incoming>) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    let authority = request.uri().authority();
    let host = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Room for the method, the version and the blanks of a request line.
const REQUEST_LINE: usize = 64;
/// Most bytes that a connection buffers.
const BUFFER: usize = 64 * 1024;
/// How long the last frames may take that tell a peer why its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no room for more connections.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
