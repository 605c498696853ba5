//! `gateway.metrics.bind`: the page for programs on this machine, without credentials.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::super::answer::METRICS_TEXT;
use super::super::connection::{ACCEPT_PAUSE, Surroundings, stopped};
use super::super::state::State;

/// Serves the page until the server stops. The listener is bound to loopback.
pub(crate) async fn listen(listener: TcpListener, mut around: Surroundings) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut around.stop) => return,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let state = Arc::clone(&around.state);
                tokio::spawn(async move {
                    serve(stream, state).await;
                    drop(place);
                });
            }
            // Nobody has so many collectors.
            (Ok(_), Err(_)) => log::debug!("too many connections for metrics"),
            (Err(error), _) => {
                log::warn!("connections for metrics cannot be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(LIFE, connection).await {
        log::debug!("metrics: {error}");
    }
}

async fn answer(state: &Arc<State>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_page = request.uri().path() == "/metrics";
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !(is_page && is_read) {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let mut response = Response::new(Full::from(super::page(state).await));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, METRICS_TEXT);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Connections at the same time.
const CONNECTIONS: usize = 16;
const HEAD: Duration = Duration::from_secs(5);
/// How long one connection may last.
const LIFE: Duration = Duration::from_secs(20);
