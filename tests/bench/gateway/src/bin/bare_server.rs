//! The least that hyper does for a request: no rules, no log, no limits. It sends the headers of
//! the gateway, so that both are compared over the same number of bytes.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the floor stands on nothing but hyper"
)]

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() -> std::io::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    let body = Bytes::from_static(b"{\"ok\":true,\"status\":\"live\"}");
                    let mut response = Response::new(Full::new(body));
                    let headers = response.headers_mut();
                    headers.reserve(HEADERS.len());
                    for (name, value) in &HEADERS {
                        headers.insert(name.clone(), value.clone());
                    }
                    Ok::<_, Infallible>(response)
                });
                // How a connection ends is the client's business.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

/// What the gateway sends with every answer of its own.
static HEADERS: [(HeaderName, HeaderValue); 9] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    ),
    (
        HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("00000000-000001"),
    ),
];
