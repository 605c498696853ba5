//! One request, written byte for byte: ordinary clients would tidy up what the probe sends. Over
//! HTTP/2 there is nothing to tidy up.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::client::conn::http2;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service as _;

/// Most bytes of an answer that are read.
const LIMIT: usize = 256 * 1024;

/// Where requests of a probe go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Scheme, host and port.
    pub(super) uri: Uri,
    pub(super) timeout: Duration,
    /// Who may have signed the certificate; the usual authorities when absent.
    pub(super) roots: Option<Arc<RootCertStore>>,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The body when it is JSON.
    pub(super) body: Value,
}

type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

impl Target {
    /// Sends one GET on a connection of its own. Redirects are not followed.
    pub(super) async fn get(&self, path: &str, lines: &[(String, String)]) -> io::Result<Answer> {
        self.in_time(self.exchange(path, lines)).await
    }

    /// The same over HTTP/2; `None` when the server does not offer it.
    pub(super) async fn get_http_2(
        &self,
        path: &str,
        lines: &[(String, String)],
    ) -> io::Result<Option<Answer>> {
        self.in_time(self.exchange_http_2(path, lines)).await
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(self.timeout, exchange).await.map_err(late)?
    }

    async fn connect(&self, http_2: bool) -> io::Result<Stream> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match &self.roots {
            Some(roots) => {
                let config = ClientConfig::builder().with_root_certificates(Arc::clone(roots));
                builder.with_tls_config(config.with_no_client_auth())
            }
            None => builder.with_webpki_roots(),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let builder = builder.https_or_http();
        let mut connector = match http_2 {
            true => builder.enable_all_versions().wrap_connector(http),
            false => builder.enable_http1().wrap_connector(http),
        };
        let stream = connector.call(self.uri.clone()).await;
        Ok(TokioIo::new(
            stream.map_err(|error| connect_error(&*error))?,
        ))
    }

    async fn exchange(&self, path: &str, lines: &[(String, String)]) -> io::Result<Answer> {
        let mut stream = self.connect(false).await?;
        stream.write_all(self.head(path, lines).as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 8192];
        loop {
            // An answer that breaks off may still have told enough.
            let read = stream.read(&mut chunk).await.unwrap_or(0);
            bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if read == 0 || bytes.len() > LIMIT || is_whole(&bytes) {
                return Answer::parse(&bytes);
            }
        }
    }

    async fn exchange_http_2(
        &self,
        path: &str,
        lines: &[(String, String)],
    ) -> io::Result<Option<Answer>> {
        let stream = self.connect(true).await?.into_inner();
        if !stream.connected().is_negotiated_h2() {
            return Ok(None);
        }
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let uri = Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(path);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.build().map_err(io::Error::other)?;
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
            let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
            request.headers_mut().append(name, value);
        }
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(io::Error::other)?;
        let running = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LIMIT).collect().await;
            // An answer that breaks off may still have told enough.
            let body = body.map(Collected::to_bytes).unwrap_or_default();
            Ok(Answer::of(status, &String::from_utf8_lossy(&body)))
        };
        let answer: Result<Answer, hyper::Error> = answer.await;
        running.abort();
        answer.map(Some).map_err(io::Error::other)
    }

    fn head(&self, path: &str, lines: &[(String, String)]) -> String {
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n");
        if !lines
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
        {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in lines {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// The refusal of a connection, as such, however deep a connector has wrapped it.
fn connect_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return io::Error::new(error.kind(), error.to_string());
        }
        cause = error.source();
    }
    io::Error::other(error.to_string())
}

/// Whether an answer with a stated length is complete.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length) || head.starts_with("HTTP/1.1 101")
}

impl Answer {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let status = text
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(Self::of(status, body))
    }

    fn of(status: u16, body: &str) -> Self {
        // A chunked body is looked through for its one JSON object.
        let object = body.find('{').zip(body.rfind('}'));
        let object = object.and_then(|(from, to)| body.get(from..=to));
        let body = object.and_then(|object| serde_json::from_str(object).ok());
        Self {
            status,
            body: body.unwrap_or_default(),
        }
    }

    fn error(&self, key: &str) -> Option<&str> {
        self.body.get("error")?.get(key)?.as_str()
    }

    /// The gateway's code; `None` when the gateway did not answer, but a proxy.
    pub(super) fn code(&self) -> Option<&str> {
        self.error("code")
    }

    /// The header that a denial is about.
    pub(super) fn header(&self) -> Option<&str> {
        self.error("header")
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.error("reason")
    }

    /// The user that the gateway let in.
    pub(super) fn user(&self) -> Option<&str> {
        self.body.get("user")?.as_str()
    }

    pub(super) fn client_ip(&self) -> Option<&str> {
        self.body.get("clientIp")?.as_str()
    }

    /// Whether the gateway let the request in.
    pub(super) fn is_accepted(&self) -> bool {
        self.status == 200 && self.body.get("method").is_some()
    }

    /// Names of the lines that arrived with a value of the probe; `None` when the gateway does
    /// not tell.
    pub(super) fn survivors(&self) -> Option<Vec<&str>> {
        let lines = self.body.get("lines")?.as_array()?;
        let is_probe = |line: &&Value| line.get("equalsProbe") == Some(&Value::Bool(true));
        let marked = lines.iter().filter(is_probe);
        Some(
            marked
                .filter_map(|line| line.get("name")?.as_str())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whoever_sends_them() {
        let denied = b"HTTP/1.1 403 Forbidden\r\nContent-Type: x\r\n\r\n\
            {\"error\":{\"code\":\"a\",\"header\":\"b\",\"reason\":\"c\"}}";
        let answer = Answer::parse(denied).unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(
            (answer.code(), answer.header(), answer.reason()),
            (Some("a"), Some("b"), Some("c"))
        );
        let chunked = b"HTTP/1.1 200 OK\r\n\r\n2c\r\n{\"method\":\"token\",\
            \"lines\":[{\"name\":\"x\",\"equalsProbe\":true}]}\r\n0\r\n\r\n";
        let answer = Answer::parse(chunked).unwrap();
        assert!(answer.is_accepted());
        assert_eq!(answer.survivors(), Some(vec!["x"]));
        let page = Answer::parse(b"HTTP/1.1 302 Found\r\n\r\n<html>").unwrap();
        assert_eq!((page.status, page.code()), (302, None));
        assert!(Answer::parse(b"SSH-2.0").is_err());
    }

    #[test]
    fn a_stated_length_ends_an_answer() {
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nab"));
        assert!(is_whole(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    }
}
