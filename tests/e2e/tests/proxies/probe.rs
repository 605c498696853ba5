//! `security probe` against proxies that are set up well, and against careless ones.

use serde_json::Value;

use super::fronts::secret_line;
use super::net::{FRONT, Room};
use super::site::{Site, nginx, program};

/// Runs the probe in a room: exit code and document.
pub(crate) fn probe(site: &Site, room: Room, options: &[&str]) -> (i32, Value) {
    security(site, room, "probe", options)
}

/// Runs the audit: exit code and document.
pub(crate) fn audit(site: &Site, options: &[&str]) -> (i32, Value) {
    security(site, Room::Client, "audit", options)
}

fn security(site: &Site, room: Room, word: &str, options: &[&str]) -> (i32, Value) {
    let mut command = site.net.command(room, program().to_str().unwrap());
    let output = command
        .args(["security", word, "--json"])
        .args(["--config", &site.text_of("state/openclaw.json")])
        .args(["--state-dir", &site.text_of("state")])
        .args(options)
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|_| panic!("no document: {output:?}"));
    (output.status.code().unwrap_or(-1), document)
}

/// `id severity` of every finding.
pub(crate) fn told(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap();
    let mut told: Vec<String> = findings
        .iter()
        .map(|finding| {
            let text = |member: &str| finding[member].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("checkId"), text("severity"))
        })
        .collect();
    told.dedup();
    told
}

/// nginx without TLS, because nothing vouches for the certificates of these tests.
fn site_with_nginx(leave_out: &[&str]) -> Site {
    let mut site = Site::new("nginx");
    site.login_double();
    let secret = site.write("secret.conf", &secret_line());
    let server = site.adapted(&[
        ("listen 443 ssl;", "listen 80;"),
        ("/etc/nginx/openclaw-proxy-secret.conf", &secret),
    ]);
    for line in leave_out {
        assert!(server.contains(line), "{line:?} is not in\n{server}");
    }
    let server: String = server
        .lines()
        .filter(|line| !line.contains("ssl_certificate"))
        .filter(|line| !leave_out.iter().any(|left| line.contains(left)))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = site.write("front/nginx.conf", &nginx(&server));
    let prefix = site.text_of("front");
    site.start(
        "nginx",
        &["-p", &prefix, "-c", &config],
        &format!("{FRONT}:80"),
    );
    site.write("cookies", "session=nick\n");
    site
}

fn through(site: &Site, options: &[&str]) -> (i32, Value) {
    let (url, cookies) = (format!("http://{FRONT}/"), site.text_of("cookies"));
    let all = [&["--url", &url, "--cookie-file", &cookies, "--ws"], options].concat();
    probe(site, Room::Client, &all)
}

#[test]
fn a_good_setup_passes_every_step() {
    let site = site_with_nginx(&[]);
    let (exit, document) = through(&site, &["--expect-user", "nick@example.com"]);
    assert_eq!(told(&document), [] as [&str; 0], "{document:#}");
    assert_eq!(
        document["inconclusive"],
        serde_json::json!([]),
        "{document:#}"
    );
    assert_eq!(exit, 0);
    assert!(
        document["passed"].as_array().unwrap().len() >= 15,
        "{document:#}"
    );
    assert!(
        !site.path("state/gateway/probe-nonce").exists(),
        "the nonce stays behind"
    );
}

#[test]
fn a_user_header_that_is_not_replaced_is_found() {
    let site = site_with_nginx(&["proxy_set_header X-Auth-Request-Email"]);
    // Then nginx sends no user of its own; a client that names itself is believed.
    site.write("headers", "X-Auth-Request-Email: nick@example.com\n");
    let headers = site.text_of("headers");
    let (exit, document) = through(&site, &["--header-file", &headers]);
    let told = told(&document);
    assert_eq!(exit, 1, "{document:#}");
    let expected = "gateway.probe.identity_header_survived critical".to_owned();
    assert!(told.contains(&expected), "{document:#}");
}

#[test]
fn forwarding_headers_that_are_not_replaced_are_found() {
    let site = site_with_nginx(&[
        "proxy_set_header X-Forwarded-For",
        "proxy_set_header X-Forwarded-Host",
    ]);
    site.write("headers", "X-Forwarded-Host: claw.example.com\n");
    let headers = site.text_of("headers");
    let (exit, document) = through(&site, &["--header-file", &headers]);
    assert_eq!(exit, 1, "{document:#}");
    let told = told(&document);
    for expected in [
        "gateway.probe.client_ip_spoofable critical",
        "gateway.probe.forwarded_meta_survived warn",
        "gateway.probe.required_header_survived warn",
    ] {
        assert!(
            told.contains(&expected.to_owned()),
            "{expected}: {document:#}"
        );
    }
}

#[test]
fn without_a_login_at_the_proxy_a_forged_user_is_found() {
    let site = site_with_nginx(&["auth_request ", "proxy_set_header X-Auth-Request-Email"]);
    let url = format!("http://{FRONT}/");
    let (exit, document) = probe(&site, Room::Client, &["--url", &url, "--ws"]);
    assert_eq!(exit, 1, "{document:#}");
    assert_eq!(
        told(&document),
        [
            "gateway.probe.unauthenticated_reached_gateway critical",
            "gateway.probe.websocket_bypass critical"
        ]
    );
}

#[test]
fn without_a_login_of_the_caller_the_rest_is_not_clear() {
    let site = site_with_nginx(&[]);
    let url = format!("http://{FRONT}/");
    let (exit, document) = probe(&site, Room::Client, &["--url", &url]);
    assert_eq!(told(&document), [] as [&str; 0], "{document:#}");
    assert_eq!(exit, 3);
}

#[test]
fn a_deep_audit_is_settings_and_probe_in_one() {
    let site = site_with_nginx(&["auth_request ", "proxy_set_header X-Auth-Request-Email"]);
    let url = format!("http://{FRONT}/");
    let (exit, document) = audit(&site, &["--check", "--deep", "--url", &url]);
    let told = told(&document);
    assert_eq!(exit, 1, "{document:#}");
    for expected in [
        "gateway.probe.unauthenticated_reached_gateway critical",
        "gateway.exposed_bind warn",
    ] {
        assert!(told.contains(&expected.to_owned()), "{document:#}");
    }
    // Nobody listens on the loopback address of the client's room.
    assert!(
        !told.iter().any(|told| told.contains("direct")),
        "{document:#}"
    );
}
