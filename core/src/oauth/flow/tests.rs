//! Sign-ins on a simulated machine whose sockets are real.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde_json::json;

use super::*;
use crate::config::Locations;
use crate::host::HttpRequest;
use crate::host::sim::{START_MS, Sim, json_answer};

fn scene(host: &Host, extra: &Value) -> Scene {
    let mut description = json!({
        "label": "Test & Co",
        "authorizeUrl": "https://idp.test/auth",
        "tokenUrl": "https://idp.test/token",
        "clientId": "c",
        "redirectUri": "http://localhost:{port}/auth/callback",
        "redirectPorts": [0],
    });
    for (key, value) in extra.as_object().unwrap() {
        description[key] = value.clone();
    }
    let tree = json!({"oauth": {"providers": {"p": description}}});
    let env = EnvView::new(host.env.vars().clone());
    let places = Locations::find(host, &env, None, Some(Path::new("/s")), &mut Vec::new());
    Scene::read(&tree, &env, &places, &|_| None)
}

/// A flow whose listener is real and whose provider is scripted.
fn flow(sim: &Sim, extra: &Value) -> LoginFlow {
    let mut host = sim.host();
    host.sockets = Host::real().sockets;
    host.clock = Host::real().clock;
    let scene = scene(&host, extra);
    let provider = scene.providers.get("p").unwrap().clone();
    LoginFlow::begin(&host, &scene, provider, None).unwrap()
}

fn get(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn line(flow: &LoginFlow, target: &str) -> String {
    let port = flow.addresses()[0].port();
    format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")
}

/// What the browser sees for one request while the flow listens.
fn visit(flow: &mut LoginFlow, head: String) -> (String, Result<Option<SecretText>>) {
    let address = flow.addresses()[0];
    let browser = thread::spawn(move || get(address, &head));
    let mut heard = Ok(None);
    while !browser.is_finished() {
        heard = flow.listen(Duration::from_millis(50));
        if !matches!(heard, Ok(None)) {
            break;
        }
    }
    if let Ok(Some(address)) = &heard {
        let outcome = flow.exchange(address.expose());
        flow.finish(outcome.as_ref().err());
    }
    (browser.join().unwrap(), heard)
}

#[test]
fn examples_2_to_4_the_address() {
    let sim = Sim::new();
    let flow = flow(
        &sim,
        &json!({"scopes": ["openid", "offline_access"], "authorizeParams": {"a": "b c"}}),
    );
    let url = Url::parse(flow.url()).unwrap();
    let all = crate::oauth::pasted::parameters(url.query().unwrap());
    let one = |name: &str| all[name][0].as_str();
    assert_eq!(
        url.as_str().split('?').next(),
        Some("https://idp.test/auth")
    );
    assert!(
        flow.url().contains("scope=openid+offline_access"),
        "{}",
        flow.url()
    );
    assert_eq!(
        (one("response_type"), one("client_id"), one("a")),
        ("code", "c", "b c")
    );
    assert_eq!(one("code_challenge_method"), "S256");
    assert_eq!(one("redirect_uri"), flow.redirect_uri());
    assert_eq!((flow.state().len(), flow.verifier.len()), (43, 43));
    assert_ne!(flow.state(), flow.verifier.expose());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&oauth2::PkceCodeVerifier::new(
        flow.verifier.expose().to_owned(),
    ));
    assert_eq!(one("code_challenge"), challenge.as_str());
    assert!(!flow.url().contains(flow.verifier.expose()));
    assert!(!self::flow(&sim, &json!({})).url().contains("scope="));
}

#[test]
fn example_1_the_challenge_of_rfc_7636() {
    let verifier =
        oauth2::PkceCodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    assert_eq!(
        challenge.as_str(),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
}

#[test]
fn every_request_of_the_browser_is_answered_by_the_table() {
    let sim = Sim::new();
    sim.answer_json(
        200,
        r#"{"access_token":"A","refresh_token":"R","expires_in":60}"#,
    );
    let mut flow = flow(&sim, &json!({}));
    let port = flow.addresses()[0].port();
    let state = flow.state().to_owned();
    let at = "/auth/callback";
    for (head, status, words) in [
        (
            format!("POST {at} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            "405",
            "Allow: GET",
        ),
        (line(&flow, "/favicon.ico"), "404", "Not found"),
        (line(&flow, "/cancel"), "404", "Not found"),
        (line(&flow, at), "400", "not the one"),
        (
            line(&flow, &format!("{at}?code=a&state=other")),
            "400",
            "not the one",
        ),
        (
            line(&flow, &format!("{at}?state={state}")),
            "400",
            "no authorization code",
        ),
        (
            line(&flow, &format!("{at}?code=a&code=b&state={state}")),
            "400",
            "no authorization code",
        ),
        (
            format!("GET {at}?code=a&state={state} HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n"),
            "400",
            "does not belong",
        ),
        (
            format!("GET {at}?code=a&state={state} HTTP/1.1\r\n\r\n"),
            "400",
            "does not belong",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400", "not a request"),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9_000)),
            "400",
            "not a request",
        ),
    ] {
        let (page, heard) = visit(&mut flow, head);
        assert!(page.starts_with(&format!("HTTP/1.1 {status} ")), "{page}");
        assert!(page.contains(words), "{page}");
        assert!(matches!(heard, Ok(None)), "{page}");
        assert!(!page.contains(&state));
    }
    // T3: after all of these the right one still counts, in either family.
    let head = line(&flow, &format!("{at}?code=a%2Fb&state={state}"));
    let (page, heard) = visit(&mut flow, head);
    assert!(heard.unwrap().is_some());
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("Test &amp; Co is connected"),
        "{page}"
    );
    let body = String::from_utf8(sim.requests()[0].body.to_vec()).unwrap();
    assert!(
        body.contains("code=a%2Fb") && body.contains("grant_type=authorization_code"),
        "{body}"
    );
    assert!(
        body.contains(&format!("code_verifier={}", flow.verifier.expose())),
        "{body}"
    );
}

#[test]
fn t4_a_denial_ends_the_sign_in() {
    let sim = Sim::new();
    let mut flow = flow(&sim, &json!({"issuer": "https://idp.test"}));
    let state = flow.state().to_owned();
    let target = format!(
        "/auth/callback?error=access_denied&error_description=End-User+%3Cdenied%3E&state={state}"
    );
    let head = line(&flow, &target);
    let (page, heard) = visit(&mut flow, head);
    assert_eq!(heard.unwrap_err().code(), Code::OauthAuthorizationDenied);
    assert!(
        page.starts_with("HTTP/1.1 400") && page.contains("End-User &lt;denied&gt;"),
        "{page}"
    );
    assert_eq!(
        flow.listen(Duration::ZERO).unwrap_err().code(),
        Code::OauthLoginCancelled
    );

    let mut flow = self::flow(&sim, &json!({"issuer": "https://idp.test"}));
    let head = line(
        &flow,
        &format!(
            "/auth/callback?code=a&state={}&iss=https%3A%2F%2Fevil.test",
            flow.state()
        ),
    );
    let (page, heard) = visit(&mut flow, head);
    assert_eq!(heard.unwrap_err().code(), Code::OauthIssuerMismatch);
    assert!(page.starts_with("HTTP/1.1 400"), "{page}");
    assert!(sim.requests().is_empty());
}

#[test]
fn a_failed_exchange_is_what_the_browser_sees() {
    let sim = Sim::new();
    sim.answer_json(
        400,
        r#"{"error":"invalid_grant","error_description":"code c0de-12345 is used"}"#,
    );
    let mut flow = flow(&sim, &json!({}));
    let head = line(
        &flow,
        &format!("/auth/callback?code=c0de-12345&state={}", flow.state()),
    );
    let (page, _) = visit(&mut flow, head);
    assert!(
        page.starts_with("HTTP/1.1 502") && page.contains("Sign-in failed"),
        "{page}"
    );
    assert!(!page.contains("c0de-12345"), "{page}");
}

#[test]
fn t7_the_time_runs_out() {
    let sim = Sim::new();
    let host = sim.host();
    let scene = scene(&host, &json!({}));
    let provider = scene.providers.get("p").unwrap().clone();
    let mut flow = LoginFlow::begin(&host, &scene, provider, Some(2_000)).unwrap();
    assert!(
        flow.addresses().is_empty(),
        "this simulation has no free port"
    );
    assert!(flow.take_warnings()[0].contains("paste the address"));
    assert!(flow.listen(Duration::from_secs(1)).unwrap().is_none());
    let error = flow.listen(Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.code(), Code::OauthCallbackTimeout);
    assert_eq!(error.message(), "no sign-in answer within 2 s");
}

#[test]
fn t5_t6_the_next_port_is_taken() {
    let taken = std::net::TcpListener::bind("[::1]:0")
        .or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let taken = taken.unwrap();
    let port = taken.local_addr().unwrap().port();
    let sim = Sim::new();
    let flow = flow(&sim, &json!({"redirectPorts": [port, 0]}));
    let bound = flow.addresses()[0].port();
    assert_ne!(bound, port);
    assert_eq!(
        flow.redirect_uri(),
        format!("http://localhost:{bound}/auth/callback")
    );
    let flow = self::flow(&sim, &json!({"redirectPorts": [port]}));
    assert!(flow.addresses().is_empty());
    assert_eq!(
        flow.redirect_uri(),
        format!("http://localhost:{port}/auth/callback")
    );
    // Example 6: an address elsewhere has no listener.
    let flow = self::flow(&sim, &json!({"redirectUri": "http://example.com/cb"}));
    assert!(flow.addresses().is_empty() && flow.warnings.is_empty());
}

#[test]
fn t2_pasted_texts_do_the_same() {
    for make in [
        |flow: &LoginFlow| format!("{}?code=abc&state={}", flow.redirect_uri(), flow.state()),
        |flow: &LoginFlow| format!("abc#{}", flow.state()),
        |_: &LoginFlow| "abc".to_owned(),
    ] {
        let sim = Sim::new();
        sim.answer_json(200, r#"{"access_token":"A","expires_in":60}"#);
        let mut flow = flow(&sim, &json!({}));
        assert_eq!(
            flow.exchange("abc#wrong").err().unwrap().code(),
            Code::OauthStateMismatch
        );
        let signed_in = flow.exchange(&make(&flow)).unwrap();
        assert_eq!(signed_in.tokens.access.expose(), "A");
        assert_eq!(signed_in.token_host, "idp.test");
    }
}

#[test]
fn the_exchange_can_go_through_the_client_of_the_host() {
    let sim = Sim::new();
    let mut flow = flow(
        &sim,
        &json!({"tokenFormat": "json", "sendStateInExchange": true}),
    );
    let text = format!("abc#{}", flow.state());
    let request = flow.request_json(&text).unwrap();
    assert_eq!(request["url"], "https://idp.test/token");
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["code"], &body["state"]),
        (&json!("abc"), &json!(flow.state()))
    );
    let signed_in = flow.accept_answer(200, r#"{"access_token":"A"}"#).unwrap();
    assert!(signed_in.tokens.lifetime_assumed);
    assert!(sim.requests().is_empty());
    assert!(flow.accept_answer(200, "{}").is_err(), "once");
}

#[test]
fn secrets_of_the_client_go_where_the_description_says() {
    for (auth, in_body, in_header) in [
        ("body", true, false),
        ("basic", false, true),
        ("none", false, false),
    ] {
        let sim = Sim::new();
        sim.env("OPENCLAW_AUTH_OAUTH_P_CLIENT_SECRET", "s3cret");
        sim.answer_json(200, r#"{"access_token":"A"}"#);
        let mut flow = flow(&sim, &json!({"clientAuth": auth}));
        flow.exchange("abc").unwrap();
        let request: &HttpRequest = &sim.requests()[0];
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        assert_eq!(body.contains("client_secret=s3cret"), in_body, "{auth}");
        let header = request
            .headers
            .iter()
            .any(|(name, _)| name == "authorization");
        assert_eq!(header, in_header, "{auth}");
    }
}

#[test]
fn examples_42_to_48_and_the_clock() {
    let read = |body: &'static str, status| {
        let sim = Sim::new();
        let clock = Arc::new(sim.clone());
        sim.answer(move |_| {
            clock.advance(Duration::from_secs(3));
            Ok(json_answer(status, body))
        });
        let host = sim.host();
        let scene = scene(&host, &json!({}));
        let provider = scene.providers.get("p").unwrap().clone();
        let mut flow = LoginFlow::begin(&host, &scene, provider, None).unwrap();
        flow.exchange("abc").map(|signed_in| signed_in.tokens)
    };
    let hour = START_MS + 3_600_000;
    let tokens = read(
        r#"{"access_token":"A","refresh_token":"R2","expires_in":3600,"token_type":"Bearer"}"#,
        200,
    )
    .unwrap();
    assert_eq!(
        (tokens.expires_ms, tokens.issued_at_ms),
        (hour, START_MS),
        "42, without the latency"
    );
    assert_eq!(tokens.refresh.unwrap().expose(), "R2");
    let tokens = read(r#"{"access_token":"A","expires_in":"3600"}"#, 201).unwrap();
    assert_eq!(tokens.expires_ms, hour, "44, 48");
    let tokens = read(r#"{"access_token":"x.eyJleHAiOjE3OTUzNjMyMDB9.y"}"#, 200).unwrap();
    assert_eq!(
        (tokens.expires_ms, tokens.lifetime_assumed),
        (1_795_363_200_000, false),
        "45"
    );
    for body in [
        r#"{"access_token":"A"}"#,
        r#"{"access_token":"A","expires_in":0}"#,
    ] {
        let tokens = read(body, 200).unwrap();
        assert_eq!(
            (tokens.expires_ms, tokens.lifetime_assumed),
            (hour, true),
            "46, 47"
        );
    }
    assert_eq!(
        read("<html>", 200).unwrap_err().code(),
        Code::OauthTokenResponseInvalid,
        "49"
    );
    assert_eq!(
        read("", 302).unwrap_err().code(),
        Code::OauthTokenResponseInvalid,
        "50"
    );
    assert_eq!(
        read("{}", 503).unwrap_err().code(),
        Code::OauthProviderUnavailable
    );
    let wrong = read(r#"{"access_token":"A","scope":"x","token_type":7}"#, 200);
    assert!(wrong.is_ok(), "a type of the wrong type counts as missing");
}

#[test]
fn userinfo_names_whom_the_tokens_do_not_name() {
    let cases = [
        (
            200,
            r#"{"sub":"s-1","email":"a@example.com"}"#,
            Some("a@example.com"),
            Some("s-1"),
        ),
        (200, r#"{"sub":" "}"#, None, None),
        (200, "<html>", None, None),
        (500, "{}", None, None),
    ];
    for (status, body, email, subject) in cases {
        let sim = Sim::new();
        let mut flow = flow(&sim, &json!({"userinfoUrl": "https://idp.test/userinfo"}));
        sim.answer_json(
            200,
            r#"{"access_token":"AT","refresh_token":"RT","expires_in":60}"#,
        )
        .answer_json(status, body);
        let state = flow.state.expose().to_owned();
        let port = flow.addresses()[0].port();
        let address = format!("http://localhost:{port}/auth/callback?code=c&state={state}");
        let done = flow.exchange(&address).unwrap();
        assert_eq!(done.identity.email.as_deref(), email, "{body}");
        assert_eq!(done.subject.as_deref(), subject, "{body}");
        let asked = sim.requests();
        assert_eq!((asked.len(), asked[1].method), (2, "GET"));
        assert_eq!(asked[1].url, "https://idp.test/userinfo");
        let bearer = asked[1]
            .headers
            .iter()
            .find(|(name, _)| name == "Authorization");
        assert_eq!(bearer.unwrap().1.as_str(), "Bearer AT");
    }
}
