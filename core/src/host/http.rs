//! One blocking HTTP request. The only place that knows the HTTP library.

use std::io;

use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Error, Proxy, Timeout};

use super::{Http, HttpAnswer, HttpFailure, HttpFailureKind, HttpRequest};

/// The network of the machine.
pub(super) struct RealHttp;

impl Http for RealHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpFailure> {
        let agent = agent(request)?;
        let mut builder = Request::builder()
            .method(request.method)
            .uri(request.url.as_str());
        for (name, value) in &request.headers {
            builder = builder.header(name.as_str(), value.as_bytes());
        }
        let mut answer = if request.body.is_empty() {
            agent.run(builder.body(()).map_err(|error| unusable(&error))?)
        } else {
            agent.run(
                builder
                    .body(request.body.as_slice())
                    .map_err(|error| unusable(&error))?,
            )
        }
        .map_err(|error| classify(&error))?;
        let headers = answer
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            })
            .collect();
        let body = answer
            .body_mut()
            .with_config()
            .limit(request.max_answer)
            .read_to_vec()
            .map_err(|error| classify(&error))?;
        Ok(HttpAnswer {
            status: answer.status().as_u16(),
            headers,
            body: body.into(),
        })
    }
}

/// One agent for each request: requests are rare, and a connection kept open may be dead.
fn agent(request: &HttpRequest) -> Result<Agent, HttpFailure> {
    let proxy = match &request.proxy {
        Some(url) => Some(Proxy::new(url).map_err(|_| {
            HttpFailure::new(HttpFailureKind::Unusable, "the proxy address is not usable")
        })?),
        None => None,
    };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(!request.allow_http)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(64 * 1024)
        .user_agent(concat!("openclaw-auth/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("")
        .proxy(proxy)
        .timeout_connect(Some(request.connect_timeout.min(request.timeout)))
        .timeout_global(Some(request.timeout))
        .tls_config(tls(&request.extra_roots)?)
        .build();
    Ok(Agent::new_with_config(config))
}

/// The bundled roots, and those that the operator added.
fn tls(extra_roots: &[u8]) -> Result<TlsConfig, HttpFailure> {
    let builder = TlsConfig::builder().provider(TlsProvider::Rustls);
    if extra_roots.is_empty() {
        return Ok(builder.root_certs(RootCerts::WebPki).build());
    }
    let mut roots: Vec<Certificate<'static>> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect();
    for item in parse_pem(extra_roots) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(_) => {
                let reason = "the file of additional root certificates is not PEM";
                return Err(HttpFailure::new(HttpFailureKind::Tls, reason));
            }
        }
    }
    Ok(builder
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

fn unusable(error: &ureq::http::Error) -> HttpFailure {
    HttpFailure::new(HttpFailureKind::Unusable, error.to_string())
}

/// What a failure means for a request that must not be repeated carelessly: whether it can have
/// reached the other side.
fn classify(error: &Error) -> HttpFailure {
    use HttpFailureKind as Kind;
    let (kind, reason) = match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            (Kind::NotSent, "no connection in time".to_owned())
        }
        Error::Timeout(_) => (Kind::Unanswered, "no answer in time".to_owned()),
        Error::HostNotFound => (Kind::NotSent, "the host name is not known".to_owned()),
        Error::ConnectionFailed | Error::ConnectProxyFailed(_) => {
            (Kind::NotSent, "the connection failed".to_owned())
        }
        Error::Tls(reason) => (Kind::Tls, (*reason).to_owned()),
        Error::Rustls(reason) => (Kind::Tls, reason.to_string()),
        Error::Io(error) => classify_io(error),
        Error::BodyExceedsLimit(_) => (Kind::TooLarge, "the answer is too large".to_owned()),
        Error::Protocol(_) | Error::LargeResponseHeader(..) => {
            (Kind::Unanswered, "the answer is not HTTP".to_owned())
        }
        Error::BadUri(_) | Error::Http(_) | Error::RequireHttpsOnly(_) | Error::InvalidProxyUrl => {
            (Kind::Unusable, "the address is not usable".to_owned())
        }
        _ => (Kind::Unanswered, "the connection broke".to_owned()),
    };
    HttpFailure::new(kind, reason)
}

fn classify_io(error: &io::Error) -> (HttpFailureKind, String) {
    use io::ErrorKind as K;
    // The standard library has no kind for this.
    if error.to_string().starts_with("failed to lookup address") {
        let reason = "the host name is not known".to_owned();
        return (HttpFailureKind::NotSent, reason);
    }
    match error.kind() {
        // How the TLS library reports what it does not accept.
        K::InvalidData => (HttpFailureKind::Tls, error.to_string()),
        K::ConnectionRefused
        | K::AddrNotAvailable
        | K::HostUnreachable
        | K::NetworkUnreachable
        | K::NetworkDown => (HttpFailureKind::NotSent, error.kind().to_string()),
        kind => (HttpFailureKind::Unanswered, kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Answers one connection with fixed bytes and returns what it was sent.
    fn server(answer: &'static [u8]) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let handle = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![0; 8192];
            let mut text = String::new();
            while !text.ends_with("a=1") {
                let count = stream.read(&mut seen).unwrap();
                // The end, or the first byte of a TLS handshake.
                if count == 0 || seen.first() == Some(&0x16) {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&seen[..count]));
            }
            stream.write_all(answer).unwrap();
            text
        });
        (url, handle)
    }

    fn request(url: &str) -> HttpRequest {
        let mut request = HttpRequest::post(url, b"a=1".to_vec());
        request.allow_http = true;
        request
    }

    #[test]
    fn one_request_with_its_answer() {
        let (url, server) = server(b"HTTP/1.1 400 no\r\ncontent-length: 2\r\nX-A: b\r\n\r\nhi");
        let answer = RealHttp.send(&request(&url)).unwrap();
        assert_eq!((answer.status, &**answer.body), (400, &b"hi"[..]));
        assert_eq!(answer.header("x-a"), Some("b"));
        let seen = server.join().unwrap().to_ascii_lowercase();
        assert!(seen.starts_with("post /token http/1.1\r\n"), "{seen}");
        assert!(seen.contains("user-agent: openclaw-auth/"), "{seen}");
    }

    #[test]
    fn redirects_are_answers() {
        let (url, server) = server(b"HTTP/1.1 302 go\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(RealHttp.send(&request(&url)).unwrap().status, 302);
        server.join().unwrap();
    }

    #[test]
    fn failures_say_whether_the_request_can_have_arrived() {
        let kind = |request: &HttpRequest| RealHttp.send(request).unwrap_err().kind;
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", free.local_addr().unwrap());
        drop(free);
        assert_eq!(kind(&request(&url)), HttpFailureKind::NotSent);

        let (url, closed) = server(b"");
        assert_eq!(kind(&request(&url)), HttpFailureKind::Unanswered);
        closed.join().unwrap();

        let (url, large) = server(b"HTTP/1.1 200 ok\r\ncontent-length: 9\r\n\r\n123456789");
        let mut small = request(&url);
        small.max_answer = 8;
        assert_eq!(kind(&small), HttpFailureKind::TooLarge);
        large.join().unwrap();

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut short = request(&format!("http://{}/", silent.local_addr().unwrap()));
        short.timeout = Duration::from_millis(100);
        assert_eq!(kind(&short), HttpFailureKind::Unanswered);

        let (url, plain) = server(b"HTTP/1.1 200 ok\r\n\r\n");
        let https = url.replace("http://", "https://");
        let failure = RealHttp.send(&request(&https)).unwrap_err();
        assert_eq!(failure.kind, HttpFailureKind::Tls, "{}", failure.reason);
        drop(plain);

        assert_eq!(
            kind(&request("http://idp.invalid/")),
            HttpFailureKind::NotSent
        );

        let mut strict = request("http://127.0.0.1:9/");
        strict.allow_http = false;
        assert_eq!(kind(&strict), HttpFailureKind::Unusable);
        let mut roots = request("https://127.0.0.1:9/");
        roots.extra_roots = b"-----BEGIN CERTIFICATE-----\nno\n".to_vec();
        assert_eq!(kind(&roots), HttpFailureKind::Tls);
    }
}
