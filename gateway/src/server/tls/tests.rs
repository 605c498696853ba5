//! Certificates from real files, and handshakes with a real client.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openclaw_auth::Code;
use openclaw_auth::host::Host;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, version::TLS12, version::TLS13,
};

use super::super::limits::Limits;
use super::super::testing::{Answer, FakeCore, FakeSnapshot, Server};
use super::{H2, Tls};
use crate::probe::Probe;

/// A folder with certificates of an authority.
struct Pki {
    folder: TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        let pki = Self {
            folder,
            authority: Issuer::new(params, key),
        };
        pki.write("ca.pem", &cert.pem());
        pki.issue("gw", -1, 365);
        pki
    }

    /// Writes `NAME-cert.pem` and `NAME-key.pem`, valid from and until these days from now.
    fn issue(&self, name: &str, from: i64, until: i64) {
        let now = Host::real().clock.now_ms() / 1000;
        let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now).unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = now + time::Duration::days(from);
        params.not_after = now + time::Duration::days(until);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}-cert.pem"), &cert.pem());
        self.write(&format!("{name}-key.pem"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let files = Host::real().files;
        files.write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let mut file = Host::real().files.open(&self.path(name)).unwrap();
        file.read_to_limit(1 << 20).unwrap().unwrap().to_vec()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings with this pair, and more.
    fn settings(&self, name: &str, more: Value) -> Value {
        let mut tls = json!({
            "enabled": true,
            "autoGenerate": false,
            "certPath": self.path(&format!("{name}-cert.pem")),
            "keyPath": self.path(&format!("{name}-key.pem")),
        });
        let Value::Object(more) = more else {
            panic!("settings are an object")
        };
        tls.as_object_mut().unwrap().extend(more);
        json!({"gateway": {"tls": tls}})
    }

    fn open(&self, settings: Value) -> Result<Option<Tls>, openclaw_auth::Error> {
        Tls::open(&FakeSnapshot::new(settings), &Host::real(), &[])
    }

    async fn server(&self, settings: Value, limits: Limits) -> (Server, Arc<FakeCore>) {
        let tls = self.open(settings.clone()).unwrap();
        let core = FakeCore::new(FakeSnapshot::new(settings));
        (Server::launch(core.clone(), limits, tls).await, core)
    }

    fn client(&self) -> Client<'_> {
        Client {
            pki: self,
            versions: ONLY_1_3,
            certificate: None,
            protocol: None,
        }
    }
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];
static ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];

/// How a client shakes hands.
#[derive(Clone, Copy)]
struct Client<'a> {
    pki: &'a Pki,
    versions: &'a [&'static SupportedProtocolVersion],
    certificate: Option<&'a str>,
    protocol: Option<&'a [u8]>,
}

impl Client<'_> {
    async fn connect(self, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(&self.pki.read("ca.pem")).unwrap();
        roots.add(authority).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let cert = self.pki.read(&format!("{name}-cert.pem"));
                let key = self.pki.read(&format!("{name}-key.pem"));
                let chain = vec![CertificateDer::from_pem_slice(&cert).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocol.map(<[u8]>::to_vec).into_iter().collect();
        let stream = TcpStream::connect(server.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// One request over HTTP/1.1. With TLS 1.3 a refused client certificate shows only when the
    /// answer is read.
    async fn get(self, server: &Server, path: &str) -> std::io::Result<Answer> {
        let mut stream = self.connect(server).await?;
        ask(&mut stream, path, "connection: close\r\n").await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(Answer::parse(&String::from_utf8(bytes).unwrap()))
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, lines: &str) -> std::io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer good\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await
}

#[test]
fn every_fault_of_the_files_has_its_code() {
    let pki = Pki::new();
    pki.issue("other", -1, 365);
    pki.issue("old", -20, -10);
    pki.issue("early", 1, 9);
    pki.write("bad-cert.pem", "no certificate");
    pki.write("bad-key.pem", "no key");
    pki.write(
        "torn-cert.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    pki.write("large.pem", &"x".repeat(2 * 1024 * 1024));
    let file = |name: &str| json!(pki.path(name));
    let folder = json!(pki.folder.path());
    for (name, more, code) in [
        ("none", json!({}), Code::TlsCertKeyMissing),
        (
            "gw",
            json!({"keyPath": file("none")}),
            Code::TlsCertKeyMissing,
        ),
        (
            "gw",
            json!({"certPath": file("none")}),
            Code::TlsCertKeyMissing,
        ),
        // Only one of the two is missing: nothing is generated.
        (
            "gw",
            json!({"keyPath": file("none"), "autoGenerate": true}),
            Code::TlsCertKeyMissing,
        ),
        ("gw", json!({"certPath": folder}), Code::TlsUnreadable),
        (
            "gw",
            json!({"certPath": file("large.pem")}),
            Code::TlsUnreadable,
        ),
        (
            "gw",
            json!({"certPath": file("bad-cert.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"certPath": file("torn-cert.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"keyPath": file("bad-key.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"keyPath": file("gw-cert.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"keyPath": file("other-key.pem")}),
            Code::TlsKeyMismatch,
        ),
        ("old", json!({}), Code::TlsExpired),
        ("early", json!({}), Code::TlsNotYetValid),
        ("gw", json!({"clientAuth": "require"}), Code::TlsCaRequired),
        (
            "gw",
            json!({"caPath": file("bad-cert.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"caPath": file("torn-cert.pem")}),
            Code::TlsParse,
        ),
        (
            "gw",
            json!({"caPath": file("none")}),
            Code::TlsCertKeyMissing,
        ),
    ] {
        let error = pki.open(pki.settings(name, more.clone())).unwrap_err();
        assert_eq!(error.code(), code, "{name} {more}: {}", error.message());
    }
}

#[test]
fn what_is_worth_knowing_about_the_files() {
    let pki = Pki::new();
    let codes = |settings: Value, exposed: &[std::net::IpAddr]| {
        let tls = Tls::open(&FakeSnapshot::new(settings), &Host::real(), exposed).unwrap();
        let notices = tls.unwrap().notices();
        notices.iter().map(|notice| notice.code).collect::<Vec<_>>()
    };
    let lan = ["0.0.0.0".parse().unwrap()];
    assert_eq!(codes(pki.settings("gw", json!({})), &lan), []);
    pki.issue("soon", -1, 29);
    assert_eq!(
        codes(pki.settings("soon", json!({})), &[]),
        [Code::TlsExpiresSoon]
    );
    let text = String::from_utf8(pki.read("gw-key.pem")).unwrap();
    let shared = pki.path("shared-key.pem");
    Host::real()
        .files
        .write_atomic(&shared, text.as_bytes(), 0o640)
        .unwrap();
    let settings = pki.settings("gw", json!({"keyPath": shared}));
    assert_eq!(codes(settings, &[]), [Code::TlsKeyPermissions]);
    let settings = pki.settings("made", json!({"autoGenerate": true}));
    assert_eq!(codes(settings.clone(), &["127.0.0.1".parse().unwrap()]), []);
    assert_eq!(codes(settings, &lan), [Code::TlsSelfSignedExposed]);
}

#[test]
fn a_pair_is_generated_once_and_never_overwritten() {
    let pki = Pki::new();
    let more = json!({"autoGenerate": true, "certPath": pki.path("new/tls/c.pem"),
        "keyPath": pki.path("new/tls/k.pem")});
    let settings = pki.settings("x", more);
    let fingerprint = || {
        let tls = Tls::open(
            &FakeSnapshot::new(settings.clone()),
            &Host::real(),
            &["192.0.2.7".parse().unwrap(), "0.0.0.0".parse().unwrap()],
        );
        tls.unwrap().unwrap().current.load().fingerprint.clone()
    };
    let first = fingerprint();
    assert_eq!(first.len(), 32 * 3 - 1, "{first}");
    assert_eq!(
        fingerprint(),
        first,
        "the second start finds the pair of the first"
    );
    let mode = |name: &str| {
        let meta = Host::real().files.stat(&pki.path(name)).unwrap();
        std::fs::Permissions::from_mode(meta.mode).mode()
    };
    assert_eq!(
        (mode("new/tls/c.pem"), mode("new/tls/k.pem")),
        (0o600, 0o600)
    );
    assert_eq!(mode("new/tls"), 0o700);
    let der = CertificateDer::from_pem_slice(&pki.read("new/tls/c.pem")).unwrap();
    let text = String::from_utf8_lossy(&der).into_owned();
    assert!(text.contains("openclaw-gateway") && text.contains("localhost"));
    assert!(
        der.windows(4).any(|bytes| bytes == [192, 0, 2, 7]),
        "the address is in it"
    );
    assert!(!der.windows(6).any(|bytes| bytes == [0x87, 4, 0, 0, 0, 0]));
}

#[tokio::test]
async fn requests_over_tls_are_secure_ones() {
    let pki = Pki::new();
    let (server, _) = pki
        .server(pki.settings("gw", json!({})), Limits::default())
        .await;
    let answer = pki.client().get(&server, "/_auth/whoami").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=300")
    );
    let text = server
        .raw("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert!(!text.contains("HTTP/1.1"), "no plain answers: {text}");
}

#[tokio::test]
async fn old_versions_are_refused_unless_allowed() {
    let pki = Pki::new();
    let client = Client {
        versions: ONLY_1_2,
        ..pki.client()
    };
    let (server, _) = pki
        .server(pki.settings("gw", json!({})), Limits::default())
        .await;
    assert!(client.get(&server, "/healthz").await.is_err());
    let settings = pki.settings("gw", json!({"minVersion": "1.2"}));
    let (server, _) = pki.server(settings, Limits::default()).await;
    assert_eq!(client.get(&server, "/healthz").await.unwrap().status, 200);
    assert_eq!(
        pki.client().get(&server, "/healthz").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let pki = Pki::new();
    pki.issue("client", -1, 9);
    pki.issue("late", -9, -1);
    let foreign = Pki::new();
    for name in ["gw-cert.pem", "gw-key.pem"] {
        let text = String::from_utf8(foreign.read(name)).unwrap();
        pki.write(
            &format!("foreign-{}", name.trim_start_matches("gw-")),
            &text,
        );
    }
    for (mode, certificate, accepted) in [
        ("none", None, true),
        ("optional", None, true),
        ("optional", Some("client"), true),
        ("optional", Some("foreign"), false),
        ("require", None, false),
        ("require", Some("client"), true),
        ("require", Some("foreign"), false),
        ("require", Some("late"), false),
    ] {
        let more = json!({"clientAuth": mode, "caPath": pki.path("ca.pem")});
        let (server, _) = pki
            .server(pki.settings("gw", more), Limits::default())
            .await;
        let client = Client {
            certificate,
            ..pki.client()
        };
        let answer = client.get(&server, "/_auth/whoami").await;
        assert_eq!(
            answer.is_ok(),
            accepted,
            "{mode} {certificate:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_reload_swaps_certificates_or_keeps_the_old_ones() {
    let pki = Pki::new();
    let settings = pki.settings("gw", json!({}));
    let (server, core) = pki.server(settings.clone(), Limits::default()).await;
    let shown = async || {
        let stream = pki.client().connect(&server).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let mut open = pki.client().connect(&server).await.unwrap();
    let first = shown().await;

    pki.issue("gw", -1, 20);
    let reload = async |generation| {
        *core.next.lock() = Some(FakeSnapshot::new(settings.clone()).generation(generation));
        let outcome = server.state.reloader.reload().await;
        let warnings = outcome.as_ref().as_ref().unwrap().warnings.clone();
        warnings
            .iter()
            .map(|warning| warning["code"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(reload(2).await, [json!("tls_expires_soon")]);
    let second = shown().await;
    assert_ne!(first, second);
    ask(&mut open, "/healthz", "").await.unwrap();
    let mut buffer = [0; 2048];
    let size = open.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..size].starts_with(b"HTTP/1.1 200"),
        "open connections go on"
    );

    pki.write("gw-key.pem", "broken");
    assert_eq!(reload(3).await, [json!("tls_parse")]);
    assert_eq!(shown().await, second, "the old pair stays in use");
    let answer = pki.client().get(&server, "/readyz").await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["failing"]),
        (503, &json!(["tls"]))
    );
    pki.issue("gw", -1, 365);
    assert_eq!(reload(4).await, Vec::<Value>::new());
    assert_eq!(
        pki.client().get(&server, "/readyz").await.unwrap().status,
        200
    );

    let plain = FakeSnapshot::new(json!({})).generation(5);
    *core.next.lock() = Some(plain);
    let outcome = server.state.reloader.reload().await;
    let warnings = outcome.as_ref().as_ref().unwrap().warnings.clone();
    assert_eq!(
        warnings[0]["code"], "RESTART_REQUIRED",
        "TLS goes off with a restart only"
    );
    assert_eq!(
        pki.client().get(&server, "/healthz").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn a_handshake_that_stops_ends_the_connection() {
    let pki = Pki::new();
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let (server, _) = pki.server(pki.settings("gw", json!({})), limits).await;
    for begin in [&b""[..], &[0x16, 3, 1, 2, 0]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        assert_eq!(super::super::testing::read_to_end(&mut stream).await, "");
    }
    server.has_no_connections().await;
}

type H2Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// A client of HTTP/2, and the task that drives its connection.
async fn http_2(pki: &Pki, server: &Server) -> (H2Client, tokio::task::JoinHandle<bool>) {
    let client = Client {
        protocol: Some(H2),
        ..pki.client()
    };
    let stream = client.connect(server).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(H2));
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    (
        client,
        tokio::spawn(async move { connection.await.is_ok() }),
    )
}

fn request(target: &str, lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http_2_is_spoken_when_the_client_offers_it() {
    let pki = Pki::new();
    let (server, _) = pki
        .server(pki.settings("gw", json!({})), Limits::default())
        .await;
    let (mut client, _) = http_2(&pki, &server).await;
    let good = ("authorization", "Bearer good");
    let long = "v".repeat(17 * 1024);
    for (target, lines, status) in [
        ("https://localhost/_auth/whoami", &[good][..], 200),
        ("https://localhost/_auth/whoami", &[], 401),
        ("https://localhost/healthz", &[("host", "localhost")], 200),
        (
            "https://localhost/healthz",
            &[("host", "other.example")],
            400,
        ),
        ("https://u@localhost/healthz", &[], 400),
        ("https://localhost/healthz", &[("x-long", &long)], 431),
        ("https://localhost/nothing", &[good], 404),
    ] {
        let answer = client.send_request(request(target, lines)).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{target} {lines:?}");
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=300");
        assert!(!answer.headers().contains_key("connection"));
    }
    let answer = client
        .send_request(request("https://localhost/healthz", &[]))
        .await;
    let body = answer
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(&body[..], b"{\"ok\":true,\"status\":\"live\"}");
}

#[tokio::test]
async fn http_2_refuses_long_header_lists() {
    let pki = Pki::new();
    let (server, _) = pki
        .server(pki.settings("gw", json!({})), Limits::default())
        .await;
    let (mut client, _) = http_2(&pki, &server).await;
    let long = "v".repeat(12 * 1024);
    let lines = [("x-a", long.as_str()), ("x-b", &long), ("x-c", &long)];
    // Depending on what the client has learned, it refuses itself or is answered.
    match client
        .send_request(request("https://localhost/healthz", &lines))
        .await
    {
        Ok(answer) => {
            assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        Err(error) => assert!(!error.is_canceled(), "{error:?}"),
    }
}

#[tokio::test]
async fn a_flood_of_resets_ends_an_http_2_connection() {
    let pki = Pki::new();
    let provider = super::super::testing::Provider::start(Vec::new(), false).await;
    let mut settings = pki.settings("gw", json!({}));
    let more = provider.settings();
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let limits = Limits {
        resets: 20,
        ..Limits::default()
    };
    let tls = pki.open(settings.clone()).unwrap();
    let snapshot = FakeSnapshot::new(settings).secret("/models/providers/mock/apiKey", "k");
    let server = Server::launch(FakeCore::new(snapshot), limits, tls).await;
    let (client, ended) = http_2(&pki, &server).await;
    let mut given_up = 0;
    while !ended.is_finished() && given_up < 200 {
        let mut client = client.clone();
        let lines = [("authorization", "Bearer good")];
        let asked = client.send_request(request("https://localhost/proxy/mock/x", &lines));
        // Long enough to reach the provider, which never answers.
        let _ = tokio::time::timeout(Duration::from_millis(20), asked).await;
        given_up += 1;
    }
    assert!(
        (20..120).contains(&given_up),
        "{given_up} requests were given up"
    );
    drop(client);
    server.has_no_connections().await;
}

#[tokio::test]
async fn an_idle_http_2_connection_ends_and_frames_do_not_count_as_heads() {
    let pki = Pki::new();
    let limits = Limits {
        head_time: Duration::from_millis(200),
        keep_alive: Duration::from_millis(700),
        ..Limits::default()
    };
    let (server, _) = pki.server(pki.settings("gw", json!({})), limits).await;
    let (mut client, ended) = http_2(&pki, &server).await;
    for pause in [0, 400] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let answer = client
            .send_request(request("https://localhost/healthz", &[]))
            .await;
        assert_eq!(answer.unwrap().status(), 200, "after {pause} ms");
    }
    let ended = tokio::time::timeout(Duration::from_secs(3), ended).await;
    assert!(ended.is_ok(), "idle connections end");
    server.has_no_connections().await;
}

#[test]
fn links_to_certificates_are_followed() {
    let pki = Pki::new();
    for name in ["cert", "key"] {
        let target = pki.path(&format!("gw-{name}.pem"));
        let link: &Path = &pki.path(&format!("link-{name}.pem"));
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    assert!(pki.open(pki.settings("link", json!({}))).is_ok());
}

#[tokio::test]
async fn a_probe_sees_through_a_private_authority_and_over_http_2() {
    let pki = Pki::new();
    let (server, _) = pki
        .server(pki.settings("gw", json!({})), Limits::default())
        .await;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pki.read("ca.pem")) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let url = format!("https://localhost:{}/", server.address.port());
    let mut probe = Probe {
        urls: vec![url.parse().unwrap()],
        direct: Vec::new(),
        login: vec![("authorization".to_owned(), "Bearer good".to_owned())],
        expect_user: None,
        websocket: false,
        roots: Some(Arc::new(roots)),
        timeout: Duration::from_secs(5),
        user_header: "x-user".to_owned(),
        required: Vec::new(),
        secret_header: None,
        nonce: "0123456789abcdef0123456789abcdef".to_owned(),
    };
    let found = probe.run().await;
    let details: Vec<&str> = found
        .findings
        .iter()
        .map(|finding| finding.detail.as_str())
        .collect();
    for step in [
        "V1 a forged user header:",
        "V1 a forged user header over HTTP/2:",
    ] {
        assert!(
            details.iter().any(|detail| detail.starts_with(step)),
            "{details:?}"
        );
    }
    let alias = format!("{url}: V4 the user header spelled with _ over HTTP/2");
    assert!(found.passed.contains(&alias), "{:?}", found.passed);
    probe.roots = None;
    let found = probe.run().await;
    assert!(
        found.findings.is_empty() && found.unsure.len() == 1,
        "{found:?}"
    );
}
