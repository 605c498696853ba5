//! What is counted, and who may see it.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::limits::Limits;
use super::super::testing::{FakeCore, FakeSnapshot, Provider, Server, real_core};

/// The lines of the page by what stands before their value.
async fn read(server: &Server, lines: &str) -> BTreeMap<String, f64> {
    let answer = server.request("GET", "/_auth/metrics", lines, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.strip_prefix("openclaw_auth_").unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn requests_decisions_and_lockouts_are_counted() {
    let settings = json!({"gateway": {
        "trustedProxies": ["127.0.0.1"],
        "auth": {
            "mode": "token",
            "token": "a-gateway-token-of-some-length",
            "rateLimit": {"maxAttempts": 2},
        },
    }});
    let server = Server::launch(real_core(&settings, &[]), Limits::default(), None).await;
    let good = "authorization: Bearer a-gateway-token-of-some-length\r\n";
    server.request("GET", "/healthz", "", "").await;
    server.request("GET", "/_auth/whoami", good, "").await;
    server.request("GET", "/no/such/canary-1", good, "").await;
    for _ in 0..3 {
        let bad = "authorization: Bearer canary-2\r\nx-forwarded-for: 203.0.113.9\r\n";
        server
            .request("GET", "/_auth/whoami?x=canary-3", bad, "")
            .await;
    }
    let seen = read(&server, good).await;
    let expected = [
        (
            r#"decisions_total{mode="token",kind="http",result="allow",code=""}"#,
            3.0,
        ),
        (
            r#"decisions_total{mode="token",kind="http",result="deny",code="token_mismatch"}"#,
            2.0,
        ),
        (
            r#"decisions_total{mode="token",kind="http",result="deny",code="rate_limited"}"#,
            1.0,
        ),
        (r#"rate_limit_keys{scope="shared-secret"}"#, 1.0),
        (r#"lockouts{scope="shared-secret"}"#, 1.0),
        (
            r#"http_requests_total{route="/healthz",status_class="2xx"}"#,
            1.0,
        ),
        (
            r#"http_requests_total{route="/_auth/whoami",status_class="2xx"}"#,
            1.0,
        ),
        (
            r#"http_requests_total{route="/_auth/whoami",status_class="4xx"}"#,
            3.0,
        ),
        (
            r#"http_requests_total{route="other",status_class="4xx"}"#,
            1.0,
        ),
        (r#"http_request_seconds_count{route="/_auth/whoami"}"#, 4.0),
        (
            r#"http_request_seconds_bucket{route="/_auth/whoami",le="+Inf"}"#,
            4.0,
        ),
        (r#"connections{kind="http"}"#, 1.0),
        (r#"connections{kind="websocket"}"#, 0.0),
        ("connections_refused_total", 0.0),
        (r#"streams{kind="http"}"#, 0.0),
        ("snapshot_version", 1.0),
        (
            concat!(
                r#"build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""}"#
            ),
            1.0,
        ),
    ];
    for (name, value) in expected {
        assert_eq!(seen.get(name), Some(&value), "{name} in {seen:#?}");
    }
    assert!(seen["snapshot_age_seconds"] < 60.0);
    assert!(
        !seen
            .keys()
            .any(|name| name.contains("canary") || name.contains("203.0"))
    );
    assert_eq!(
        server.request("GET", "/_auth/metrics", "", "").await.status,
        401
    );
}

#[tokio::test]
async fn forwarded_requests_and_reloads_are_counted() {
    let provider = Provider::answering("200 OK", "{}").await;
    let busy = Provider::answering("429 Too Many Requests", "{}").await;
    let address = |provider: &Provider| json!({"baseUrl": format!("http://{}", provider.address)});
    let values = json!({"models": {"providers": {
        "one": address(&provider),
        "two": address(&busy),
        "gone": {"baseUrl": "http://127.0.0.1:1"},
    }}});
    let core = FakeCore::new(FakeSnapshot::new(values.clone()));
    let server = Server::start(core.clone(), Limits::default()).await;
    for id in ["one", "one", "two", "gone"] {
        server.get(&format!("/proxy/{id}/canary"), "").await;
    }
    *core.next.lock() = Some(FakeSnapshot::new(values).generation(2));
    assert!(server.state.reloader.reload().await.is_ok());
    assert!(server.state.reloader.reload().await.is_err());
    server.log_lines(4).await;
    let seen = read(&server, "authorization: Bearer good\r\n").await;
    for (name, value) in [
        (
            r#"upstream_requests_total{provider="one",outcome="ok"}"#,
            2.0,
        ),
        (
            r#"upstream_requests_total{provider="two",outcome="rate_limited"}"#,
            1.0,
        ),
        (
            r#"upstream_requests_total{provider="gone",outcome="unreachable"}"#,
            1.0,
        ),
        (r#"upstream_ttfb_seconds_count{provider="one"}"#, 2.0),
        (r#"upstream_ttfb_seconds_count{provider="gone"}"#, 0.0),
        (
            r#"http_requests_total{route="/proxy/{provider}",status_class="2xx"}"#,
            2.0,
        ),
        (r#"reloads_total{result="ok"}"#, 1.0),
        (r#"reloads_total{result="failed"}"#, 1.0),
        ("snapshot_version", 2.0),
    ] {
        assert_eq!(seen.get(name), Some(&value), "{name} in {seen:#?}");
    }
}

#[tokio::test]
async fn denials_that_were_left_out_are_summed_up_without_another_one() {
    let server = Server::with(json!({})).await;
    for _ in 0..50 {
        server.request("GET", "/_auth/whoami", "", "").await;
    }
    let mut left_out = 0;
    for _ in 0..300 {
        let text = server.state.log.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        left_out = lines
            .iter()
            .filter_map(|line| line["suppressed"].as_u64())
            .sum();
        let shown = lines.iter().filter(|line| line["status"] == 401).count();
        if left_out + shown as u64 == 50 {
            assert!(shown <= 40, "{shown} in at most two seconds");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("only {left_out} are accounted for");
}
