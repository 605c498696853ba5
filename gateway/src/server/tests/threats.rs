//! The threat table of `docs/threats.md`, seen from the wire: the real engine behind the real
//! server. Rows that other tests hold are named there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::host::Host;
use serde_json::{Value, json};

use super::super::OpenRequest;
use super::super::core_api;
use super::super::limits::Limits;
use super::super::testing::{Provider, Server, real_core};

const NICK: &str = "X-Forwarded-User: nick@example.com\r\n";
const TOKEN: &str = "a-gateway-token-of-some-length";

/// Trusted-proxy mode with this machine as the proxy; `more` replaces parts of `gateway`.
fn behind_proxy(more: &Value) -> Value {
    let mut gateway = json!({
        "trustedProxies": ["127.0.0.1"],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
    });
    merge(&mut gateway, more);
    json!({"gateway": gateway})
}

fn merge(target: &mut Value, more: &Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more.clone(),
    }
}

fn allowing(users: &[&str]) -> Value {
    json!({"auth": {"trustedProxy": {"allowUsers": users}}})
}

fn with_token() -> Value {
    json!({"gateway": {"auth": {"mode": "token", "token": TOKEN}}})
}

async fn gateway(settings: &Value) -> Server {
    Server::launch(real_core(settings, &[]), Limits::default(), None).await
}

/// The code of the refusal of `GET /_auth/whoami`; `allow:USER` when it is let in.
async fn verdict(server: &Server, lines: &str) -> String {
    let answer = server.request("GET", "/_auth/whoami", lines, "").await;
    match answer.status {
        200 => format!(
            "allow:{}",
            answer.json()["user"].as_str().unwrap_or_default()
        ),
        _ => answer.code(),
    }
}

async fn expect(settings: &Value, cases: &[(&str, &str)]) {
    let server = gateway(settings).await;
    for (lines, expected) in cases {
        assert_eq!(
            verdict(&server, lines).await,
            *expected,
            "{lines:?} under {settings}"
        );
    }
}

/// Why settings are refused at the start.
fn refusal(settings: &Value, env: &[(&str, &str)]) -> String {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let opened = core_api::open(OpenRequest {
        source_text: Some(settings.to_string()),
        env: Some(env.collect()),
        ..OpenRequest::default()
    });
    match opened {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.code().as_str().to_owned(),
    }
}

#[tokio::test]
async fn identity_headers_that_are_repeated_or_joined() {
    let both = format!("X-Forwarded-User: evil@example.com\r\n{NICK}");
    let twice = format!("{NICK}x-forwarded-USER: nick@example.com\r\n");
    let empty = format!("X-Forwarded-User:\r\n{NICK}");
    let all = behind_proxy(&json!({}));
    let cases = [
        (NICK, "allow:nick@example.com"),
        (both.as_str(), "trusted_proxy_ambiguous_header"),
        (twice.as_str(), "trusted_proxy_ambiguous_header"),
        (empty.as_str(), "trusted_proxy_ambiguous_header"),
        (
            "X-Forwarded-User: evil@example.com, nick@example.com\r\n",
            "trusted_proxy_user_invalid",
        ),
    ];
    expect(&all, &cases).await;
    let listed = behind_proxy(&allowing(&["nick@example.com"]));
    let joined = "X-Forwarded-User: evil@example.com,nick@example.com\r\n";
    expect(&listed, &[(joined, "trusted_proxy_user_invalid")]).await;
}

#[tokio::test]
async fn names_that_other_servers_would_fold() {
    let server = gateway(&behind_proxy(&json!({}))).await;
    for alias in [
        "X_Forwarded_User",
        "X.Forwarded.User",
        "X~Forwarded!User",
        "x-forwarded_user",
    ] {
        let lines = format!("{alias}: evil@example.com\r\n{NICK}");
        assert_eq!(
            verdict(&server, &lines).await,
            "trusted_proxy_ambiguous_header",
            "{alias}"
        );
        let alone = format!("{alias}: evil@example.com\r\n");
        let found = verdict(&server, &alone).await;
        assert!(!found.starts_with("allow"), "{alias} alone: {found}");
    }
}

#[tokio::test]
async fn names_in_connection() {
    let settings = behind_proxy(&json!({}));
    let lines = format!("Connection: X-Forwarded-User\r\n{NICK}");
    let alone = "Connection: X-Forwarded-User\r\n";
    let cases = [
        (lines.as_str(), "trusted_proxy_ambiguous_header"),
        (alone, "trusted_proxy_ambiguous_header"),
    ];
    let server = gateway(&settings).await;
    for (lines, expected) in cases {
        let found = verdict(&server, lines).await;
        assert!(!found.starts_with("allow"), "{lines}: {found}");
        if lines.contains("nick") {
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn users_who_look_like_others() {
    let listed = behind_proxy(&allowing(&["admin", "nick@example.com", "*@corp.example"]));
    let user = |value: &str| format!("X-Forwarded-User: {value}\r\n");
    let server = gateway(&listed).await;
    for (value, expected) in [
        ("admin", "allow:admin"),
        ("\u{430}dmin", "trusted_proxy_user_not_allowed"),
        ("Nick@Example.com", "trusted_proxy_user_not_allowed"),
        ("nick@example.com.evil", "trusted_proxy_user_not_allowed"),
        ("ann@corp.example", "allow:ann@corp.example"),
        (
            "ann@evil.example@corp.example",
            "trusted_proxy_user_not_allowed",
        ),
        ("ann@sub.corp.example", "trusted_proxy_user_not_allowed"),
        ("@corp.example", "trusted_proxy_user_not_allowed"),
    ] {
        assert_eq!(verdict(&server, &user(value)).await, expected, "{value}");
    }
}

#[tokio::test]
async fn templates_that_were_not_filled_in_and_users_that_are_missing() {
    let server = gateway(&behind_proxy(&json!({}))).await;
    for value in [
        "",
        "   ",
        "(null)",
        "undefined",
        "{http.reverse_proxy.header.X-Forwarded-User}",
        "$remote_user",
        "%{REMOTE_USER}e",
    ] {
        let lines = format!("X-Forwarded-User: {value}\r\n");
        assert_eq!(
            verdict(&server, &lines).await,
            "trusted_proxy_user_missing",
            "{value}"
        );
    }
    assert_eq!(verdict(&server, "").await, "trusted_proxy_user_missing");
}

#[tokio::test]
async fn callers_who_go_around_the_proxy() {
    let elsewhere = behind_proxy(&json!({"trustedProxies": ["10.0.0.1"]}));
    let claim = format!("{NICK}X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n");
    let cases = [
        (NICK, "trusted_proxy_untrusted_source"),
        (claim.as_str(), "trusted_proxy_untrusted_source"),
    ];
    expect(&elsewhere, &cases).await;
}

#[tokio::test]
async fn client_addresses_are_read_from_the_right() {
    let server = gateway(&behind_proxy(&json!({}))).await;
    for (chain, client) in [
        (
            "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n",
            json!("203.0.113.7"),
        ),
        (
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\n",
            json!("203.0.113.7"),
        ),
        ("X-Forwarded-For: 203.0.113.7, unknown\r\n", json!(null)),
        ("X-Real-IP: 6.6.6.6\r\n", json!(null)),
    ] {
        let lines = format!("{NICK}{chain}");
        let answer = server.request("GET", "/_auth/whoami", &lines, "").await;
        assert_eq!(answer.json()["clientIp"], client, "{chain}");
        assert_eq!(answer.json()["peerIp"], "127.0.0.1", "the peer stays known");
    }
}

#[test]
fn lists_of_proxies_that_would_open_the_door() {
    for (entry, code) in [
        ("0.0.0.0/0", "trusted_proxies_any"),
        ("::/0", "trusted_proxies_any"),
        ("::ffff:0:0/96", "trusted_proxies_any"),
        ("*", "trusted_proxies_not_an_ip"),
        ("::ffff:10.0.0.0/8", "trusted_proxies_mapped_prefix"),
        ("010.0.0.1", "trusted_proxies_not_an_ip"),
        ("0x0a.0.0.1", "trusted_proxies_not_an_ip"),
        ("10/8", "trusted_proxies_not_an_ip"),
        ("10.0.0.0/33", "trusted_proxies_bad_prefix"),
        ("10.0.0.0/08", "trusted_proxies_bad_prefix"),
        ("fe80::1%eth0", "trusted_proxies_zone_id"),
        ("0.0.0.0", "trusted_proxies_unspecified"),
        ("loopback", "trusted_proxies_not_an_ip"),
        ("", "trusted_proxies_blank_entry"),
    ] {
        let settings = behind_proxy(&json!({"trustedProxies": [entry]}));
        assert_eq!(refusal(&settings, &[]), code, "{entry}");
    }
    assert_eq!(
        refusal(&behind_proxy(&allowing(&["*"])), &[]),
        "allow_users_wildcard"
    );
}

#[tokio::test]
async fn processes_on_this_machine_are_no_proxy_unless_named() {
    let wide = behind_proxy(&json!({"trustedProxies": ["64.0.0.0/2"]}));
    expect(&wide, &[(NICK, "trusted_proxy_loopback_source")]).await;
    let off = json!({"auth": {"trustedProxy": {"allowLoopback": false}}});
    expect(
        &behind_proxy(&off),
        &[(NICK, "trusted_proxy_loopback_source")],
    )
    .await;
    let secret = json!({"auth": {"trustedProxy": {"proxySecret":
        {"header": "x-proxy-secret", "value": "a-proxy-secret-of-some-length"}}}});
    let right = format!("{NICK}X-Proxy-Secret: a-proxy-secret-of-some-length\r\n");
    let wrong = format!("{NICK}X-Proxy-Secret: guess\r\n");
    let cases = [
        (NICK, "trusted_proxy_secret_missing"),
        (wrong.as_str(), "trusted_proxy_secret_mismatch"),
        (right.as_str(), "allow:nick@example.com"),
    ];
    expect(&behind_proxy(&secret), &cases).await;
}

#[tokio::test]
async fn names_that_were_bound_anew_to_this_machine() {
    for (settings, lines) in [
        (behind_proxy(&json!({})), NICK),
        (json!({"gateway": {"auth": {"mode": "none"}}}), ""),
    ] {
        let server = gateway(&settings).await;
        let ask = |host: &str| {
            format!(
                "GET /_auth/whoami HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"
            )
        };
        let text = server.raw(ask("evil.example:18789")).await;
        assert!(text.contains("host_not_allowed"), "{text}");
        for host in ["localhost:18789", "127.0.0.1:18789"] {
            assert!(
                server.raw(ask(host)).await.starts_with("HTTP/1.1 200"),
                "{host}"
            );
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites() {
    let origin = format!("{NICK}Origin: https://evil.example\r\n");
    let through =
        format!("{origin}X-Forwarded-Proto: https\r\nX-Forwarded-Host: claw.example.com\r\n");
    let own = through.replace("evil.example", "claw.example.com");
    let cases = [
        (origin.as_str(), "trusted_proxy_origin_not_allowed"),
        (through.as_str(), "trusted_proxy_origin_not_allowed"),
        (own.as_str(), "allow:nick@example.com"),
    ];
    expect(&behind_proxy(&json!({})), &cases).await;
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    let server = gateway(&behind_proxy(&json!({}))).await;
    let answer = server
        .request("OPTIONS", "/_auth/reload", preflight, "")
        .await;
    assert!((400..500).contains(&answer.status));
    assert!(
        !answer
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("access-control"))
    );
}

#[tokio::test]
async fn web_sockets_of_other_sites_are_refused_before_the_upgrade() {
    let shake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.example\r\n";
    for (settings, lines, code) in [
        (
            behind_proxy(&json!({})),
            NICK.to_owned(),
            "trusted_proxy_origin_not_allowed",
        ),
        (
            with_token(),
            format!("Authorization: Bearer {TOKEN}\r\n"),
            "origin_not_allowed",
        ),
        (
            json!({"gateway": {"auth": {"mode": "none"}}}),
            String::new(),
            "origin_not_allowed",
        ),
    ] {
        let server = gateway(&settings).await;
        let request = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{shake}{lines}\r\n");
        let mut text = server
            .raw(request + "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await;
        text.truncate(text.find("HTTP/1.1 400").unwrap_or(text.len()));
        assert!(
            text.starts_with("HTTP/1.1 403") && text.contains(code),
            "{text}"
        );
    }
}

#[tokio::test]
async fn credentials_that_browsers_attach_by_themselves() {
    // "u:" and the token.
    let basic = "Authorization: Basic dTphLWdhdGV3YXktdG9rZW4tb2Ytc29tZS1sZW5ndGg=\r\n";
    let cross = format!("{basic}Origin: https://evil.example\r\n");
    let cases = [(basic, "allow:"), (cross.as_str(), "origin_not_allowed")];
    expect(&with_token(), &cases).await;
    let answer = gateway(&with_token())
        .await
        .request("GET", "/", "", "")
        .await;
    let offered = answer.header("www-authenticate").unwrap();
    assert!(
        offered.starts_with("Bearer") && !offered.contains("Basic"),
        "{offered}"
    );
}

#[tokio::test]
async fn guessing_ends_in_a_lockout_for_the_guesser_only() {
    let mut settings = with_token();
    let more = json!({"gateway": {"trustedProxies": ["127.0.0.1"],
        "auth": {"rateLimit": {"maxAttempts": 3}}}});
    merge(&mut settings, &more);
    let server = gateway(&settings).await;
    let from = |ip: &str, token: &str| {
        format!("X-Forwarded-For: {ip}\r\nAuthorization: Bearer {token}\r\n")
    };
    for _ in 0..3 {
        assert_eq!(
            verdict(&server, &from("203.0.113.9", "guess")).await,
            "token_mismatch"
        );
    }
    let answer = server
        .request("GET", "/", &from("203.0.113.9", TOKEN), "")
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "rate_limited")
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(
        verdict(&server, &from("203.0.113.10", TOKEN)).await,
        "allow:"
    );
    for guess in ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::3"] {
        assert_eq!(
            verdict(&server, &from(guess, "guess")).await,
            "token_mismatch"
        );
    }
    assert_eq!(
        verdict(&server, &from("2001:db8:1:2::4", TOKEN)).await,
        "rate_limited"
    );
}

#[tokio::test]
async fn guessing_through_a_local_proxy_or_from_a_local_page_is_not_exempt() {
    let mut settings = with_token();
    merge(
        &mut settings,
        &json!({"gateway": {"auth": {"rateLimit": {"maxAttempts": 2}}}}),
    );
    for evidence in [
        "X-Forwarded-For: 203.0.113.9\r\n",
        "Origin: http://localhost:9999\r\n",
    ] {
        let server = gateway(&settings).await;
        let wrong = format!("{evidence}Authorization: Bearer guess\r\n");
        let right = format!("Authorization: Bearer {TOKEN}\r\n");
        for _ in 0..2 {
            assert_eq!(verdict(&server, &wrong).await, "token_mismatch");
        }
        let through = verdict(&server, &format!("{evidence}{right}")).await;
        assert_eq!(through, "rate_limited", "{evidence}");
        assert_eq!(
            verdict(&server, &right).await,
            "allow:",
            "direct callers go on"
        );
    }
}

#[tokio::test]
async fn two_authorization_lines() {
    let lines = format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer other\r\n");
    let answer = gateway(&with_token())
        .await
        .request("GET", "/", &lines, "")
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "credential_ambiguous")
    );
}

#[tokio::test]
async fn identities_that_would_forge_log_lines() {
    let server = gateway(&behind_proxy(&json!({}))).await;
    for value in ["nick\u{202e}gpj", "nick\u{85}x", "nick\tx", "ni\u{200b}ck"] {
        let lines = format!("X-Forwarded-User: {value}\r\n");
        assert_eq!(
            verdict(&server, &lines).await,
            "trusted_proxy_user_invalid",
            "{value:?}"
        );
    }
    let escape = server.raw(
        "GET /_auth/whoami HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-User: \u{1b}[31mroot\r\n\r\n",
    );
    assert!(
        escape.await.starts_with("HTTP/1.1 400"),
        "no header may hold control characters"
    );
    let text = server.state.log.text();
    assert!(!text.contains("gpj") && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn identity_in_trailers() {
    let server = gateway(&behind_proxy(&json!({}))).await;
    let text = server
        .raw(format!(
            "POST /_auth/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Trailer: X-Forwarded-User\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{NICK}\r\n"
        ))
        .await;
    assert!(text.contains("trusted_proxy_user_missing"), "{text}");
}

#[test]
fn a_token_beside_trusted_proxy() {
    let settings = behind_proxy(&json!({}));
    let env = [("OPENCLAW_GATEWAY_TOKEN", TOKEN)];
    assert_eq!(refusal(&settings, &env), "mixed_trusted_proxy_token");
    assert_eq!(refusal(&settings, &[]), "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_never_mix_two_configurations() {
    let mut provider = Provider::answering("200 OK", "{}").await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("openclaw.json");
    let files = Host::real().files;
    let write = |name: &str| {
        let text = json!({
            "gateway": {"auth": {
                "mode": "token",
                "token": format!("{name}-token-of-some-length"),
                // Local callers are slowed down otherwise.
                "rateLimit": {"exemptLoopback": false, "maxAttempts": 1000},
            }},
            "models": {"providers": {"mock": {
                "baseUrl": format!("http://{}", provider.address),
                "apiKey": format!("key-{name}"),
                "models": [],
            }}},
        });
        files
            .write_atomic(&config, text.to_string().as_bytes(), 0o600)
            .unwrap();
    };
    write("a");
    let core = core_api::open(OpenRequest {
        config: Some(config.clone()),
        state_dir: Some(home.path().to_path_buf()),
        env: Some(BTreeMap::new()),
        ..OpenRequest::default()
    });
    let server = Arc::new(Server::launch(core.unwrap(), Limits::default(), None).await);
    let callers: Vec<_> = ["a", "b", "a", "b"]
        .into_iter()
        .map(|name| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let lines = format!("Authorization: Bearer {name}-token-of-some-length\r\n");
                let path = format!("/proxy/mock/{name}");
                let mut served = 0;
                for _ in 0..60 {
                    let answer = server.request("GET", &path, &lines, "").await;
                    match answer.status {
                        200 => served += 1,
                        401 | 429 => assert_ne!(answer.code(), ""),
                        other => panic!("{other}: {}", answer.body),
                    }
                }
                served
            })
        })
        .collect();
    for round in 0..20 {
        write(if round % 2 == 0 { "b" } else { "a" });
        assert!(server.state.reloader.reload().await.is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut served = 0;
    for caller in callers {
        served += caller.await.unwrap();
    }
    assert!(served > 0);
    for _ in 0..served {
        let seen = provider.request().await;
        let name = seen
            .strip_prefix("GET /")
            .and_then(|seen| seen.get(..1))
            .unwrap();
        assert!(seen.contains(&format!("Bearer key-{name}\r\n")), "{seen}");
    }
}

#[test]
fn every_row_of_the_page_names_tests_that_exist() {
    let files = Host::real().files;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| {
        let file = files.open(&root.join(path));
        let bytes = file.and_then(|mut file| file.read_to_limit(1 << 20));
        let bytes = bytes.unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    };
    let page = read("docs/threats.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let numbered = |line: &&&str| {
        line.split('|')
            .nth(1)
            .unwrap()
            .trim()
            .parse::<u32>()
            .is_ok()
    };
    assert_eq!(rows.iter().filter(numbered).count(), 40);
    let table_head = |line: &&&str| line.starts_with("| # ") || line.starts_with("| id ");
    let untested: Vec<&&str> = rows
        .iter()
        .filter(|line| !table_head(line))
        .filter(|line| !line.contains(".rs::") && !line.contains("not built"))
        .collect();
    assert!(untested.is_empty(), "rows without a test: {untested:#?}");
    let mut named = 0;
    for name in page.split('`').skip(1).step_by(2) {
        let Some((file, test)) = name.split_once(".rs::") else {
            continue;
        };
        named += 1;
        let source = read(&format!("{file}.rs"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{name} does not exist"
        );
    }
    assert!(named >= 40 + 20, "{named} tests are named");
}
