//! Connections to providers: pooled, made on first use, encrypted unless private.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use openclaw_auth::Code;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::super::body::BodyError;
use super::replay::Attempt;
use super::target::is_private;

/// Sends requests to providers. Costs nothing until the first one.
pub(crate) struct UpstreamClient {
    connect: Duration,
    client: OnceLock<legacy::Client<Connector, Attempt>>,
}

impl UpstreamClient {
    /// A client that gives up connecting, TLS included, after this time.
    pub(crate) fn new(connect: Duration) -> Self {
        Self {
            connect,
            client: OnceLock::new(),
        }
    }

    /// Sends one request; redirects are not followed. Dropping the future cancels it.
    pub(super) async fn send(
        &self,
        request: Request<Attempt>,
    ) -> Result<Response<Incoming>, SendError> {
        let client = self.client.get_or_init(|| client(self.connect));
        client.request(request).await.map_err(SendError)
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) struct SendError(legacy::Error);

impl SendError {
    /// The code for the caller: out of time, or out of reach.
    pub(super) fn code(&self) -> Code {
        log::debug!("upstream: {}", Chain(&self.0));
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                return Code::UpstreamTimeout;
            }
            cause = error.source();
        }
        Code::UpstreamUnreachable
    }
}

/// An error with everything that caused it, in one line.
struct Chain<'a>(&'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn client(connect: Duration) -> legacy::Client<Connector, Attempt> {
    let mut plain = HttpConnector::new_with_resolver(PrivateOnly(GaiResolver::new()));
    plain.set_nodelay(true);
    let mut secure = HttpConnector::new();
    secure.set_nodelay(true);
    secure.enforce_http(false);
    let secure = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_only()
        .enable_http1()
        .wrap_connector(secure);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .http1_max_buf_size(BUFFER)
        .build(Connector {
            connect,
            plain,
            secure,
        })
}

/// Connects within a time limit: encrypted for https, to private addresses only for http.
#[derive(Clone)]
struct Connector {
    connect: Duration,
    plain: HttpConnector<PrivateOnly>,
    secure: HttpsConnector<HttpConnector>,
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BodyError>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BodyError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        // Both connectors are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting<Stream> {
        let limit = self.connect;
        let connecting: Connecting<Stream> = if uri.scheme_str() == Some("http") {
            let stream = self.plain.call(uri);
            Box::pin(async { Ok(MaybeHttpsStream::Http(stream.await?)) })
        } else {
            self.secure.call(uri)
        };
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
            timeout(limit, connecting).await.map_err(late)?
        })
    }
}

/// Resolves names and keeps the loopback and private addresses only.
#[derive(Clone)]
struct PrivateOnly(GaiResolver);

impl Service<Name> for PrivateOnly {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.0.call(name);
        Box::pin(async {
            let private: Vec<_> = resolving
                .await?
                .filter(|address| is_private(address.ip()))
                .collect();
            if private.is_empty() {
                let reason = "plain http is for loopback and private addresses";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            }
            Ok(private.into_iter())
        })
    }
}

/// How long a connection to a provider is kept for the next request.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept for one provider.
const POOL_SIZE: usize = 16;
/// Most bytes of an answer's head, and of a read.
const BUFFER: usize = 128 * 1024;
