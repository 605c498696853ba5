//! The gateway's own routes and what every answer carries.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::super::limits::Limits;
use super::super::testing::{FakeCore, FakeSnapshot, Server, real_core};

#[tokio::test]
async fn probes_need_no_credentials_and_have_two_methods() {
    let server = Server::with(json!({})).await;
    for path in ["/health", "/healthz"] {
        let answer = server.request("GET", path, "", "").await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"ok": true, "status": "live"}))
        );
        let head = server.request("HEAD", path, "", "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some("27"));
        let post = server.request("POST", path, "", "").await;
        assert_eq!(
            (post.status, post.header("allow")),
            (405, Some("GET, HEAD"))
        );
        assert_eq!(post.code(), "method_not_allowed");
    }
}

#[tokio::test]
async fn readiness_gives_reasons_to_local_and_known_callers_only() {
    let core = FakeCore::new(FakeSnapshot::new(json!({})));
    let server = Server::start(core.clone(), Limits::default()).await;
    let answer = server.request("GET", "/readyz", "", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["failing"], json!([]));

    // A reload that fails.
    server
        .request(
            "POST",
            "/_auth/reload",
            "authorization: Bearer good\r\n",
            "",
        )
        .await;
    server.state.readiness.draining();
    let answer = server.request("GET", "/ready", "", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["failing"], json!(["draining", "secrets"]));
    let forwarded = "x-forwarded-for: 203.0.113.9\r\n";
    let answer = server.request("GET", "/ready", forwarded, "").await;
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({"ready": false}))
    );
    let answer = server.get("/ready", forwarded).await;
    assert_eq!(answer.json()["failing"], json!(["draining", "secrets"]));
}

#[tokio::test]
async fn everything_else_asks_who_is_there_before_what_is_wanted() {
    let server = Server::with(json!({})).await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/_auth/whoami"),
        ("DELETE", "/_auth/whoami"),
        ("OPTIONS", "/_auth/reload"),
        ("POST", "/_auth/reload"),
        ("GET", "/proxy/mock/v1/models"),
        ("GET", "/no/such/route"),
        ("GET", "//healthz"),
        ("GET", "/HEALTHZ"),
        ("GET", "/healthz/"),
    ] {
        let answer = server.request(method, path, "", "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "token_missing"),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"openclaw\"")
        );
    }
    for (method, path, status, code) in [
        ("GET", "/", 404, "not_found"),
        ("GET", "/proxy/mock", 404, "not_found"),
        ("DELETE", "/_auth/whoami", 405, "method_not_allowed"),
        ("GET", "/_auth/reload", 405, "method_not_allowed"),
        ("GET", "/_auth/whoami?token=x", 400, "credential_in_query"),
    ] {
        let answer = server
            .request(method, path, "authorization: Bearer good\r\n", "")
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn whoami_names_the_caller_and_the_request() {
    let server = Server::with(json!({})).await;
    let answer = server
        .get("/_auth/whoami", "x-user: nick\r\nx-request-id: abc-1\r\n")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["user"], "nick");
    assert_eq!(answer.json()["requestId"], "abc-1");
    assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    let line = &server.log_lines(1).await[0];
    assert_eq!(line["user"], "nick");
    assert_eq!(line["requestId"], "abc-1");
    assert_eq!(line["generation"], 1);

    for odd in ["a b", "a\"b", &"x".repeat(65)] {
        let answer = server
            .get("/_auth/whoami", &format!("x-request-id: {odd}\r\n"))
            .await;
        assert_ne!(answer.json()["requestId"], *odd);
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::with(json!({})).await;
    for path in ["/healthz", "/ready", "/_auth/whoami", "/nothing"] {
        let answer = server.request("GET", path, "", "").await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            (
                "permissions-policy",
                "camera=(), microphone=(), geolocation=()",
            ),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        assert!(
            !answer
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("access-control-"))
        );
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "not over plain http"
        );
        let secure = server
            .request("GET", path, "x-forwarded-proto: https\r\n", "")
            .await;
        assert_eq!(
            secure.header("strict-transport-security"),
            Some("max-age=300"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn concurrent_reloads_share_one_run() {
    let core = FakeCore::new(FakeSnapshot::new(json!({})));
    let server = Server::start(core.clone(), Limits::default()).await;
    *core.next.lock() = Some(FakeSnapshot::new(json!({})).generation(2));
    let reload = || {
        server.request(
            "POST",
            "/_auth/reload",
            "authorization: Bearer good\r\n",
            "",
        )
    };
    let begun = async {
        while core.reloads.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let later = async {
        begun.await;
        tokio::join!(reload(), reload())
    };
    let first = async {
        let answer = reload().await;
        *core.next.lock() = Some(FakeSnapshot::new(json!({})).generation(3));
        answer
    };
    // Whoever asks while a reload is reading may have changed what it has read already.
    let (first, (second, third)) = tokio::join!(first, later);
    for (answer, generation) in [(first, 2), (second, 3), (third, 3)] {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json(),
            json!({"reloaded": true, "snapshot": generation, "changedOwners": [], "warnings": []})
        );
    }
    assert_eq!(core.reloads.load(Ordering::Relaxed), 2);

    let refused = reload().await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["reloaded"], false);
    assert_eq!(refused.json()["errors"][0]["code"], "secret_ref_not_found");
    let answer = server.get("/_auth/whoami", "").await;
    assert_eq!(answer.status, 200, "the last good snapshot stays");
    let lines = server.log_lines(5).await;
    assert_eq!(lines[4]["generation"], 3);
}

#[tokio::test]
async fn a_reload_that_asks_for_another_listener_says_so() {
    let core = FakeCore::new(FakeSnapshot::new(json!({})));
    let server = Server::start(core.clone(), Limits::default()).await;
    *core.next.lock() = Some(FakeSnapshot::new(json!({"gateway": {"bind": "lan"}})).generation(2));
    let answer = server
        .request(
            "POST",
            "/_auth/reload",
            "authorization: Bearer good\r\n",
            "",
        )
        .await;
    assert_eq!(answer.json()["warnings"][0]["code"], "RESTART_REQUIRED");
}

#[tokio::test]
async fn reloading_is_for_admins_and_takes_no_large_body() {
    let core = FakeCore::new(FakeSnapshot::new(json!({})));
    let server = Server::start(core.clone(), Limits::default()).await;
    let guest = "authorization: Bearer good\r\nx-user: guest\r\n";
    let answer = server.request("POST", "/_auth/reload", guest, "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "admin_required")
    );
    let large = "authorization: Bearer good\r\ncontent-length: 65537\r\n";
    let answer = server.request("POST", "/_auth/reload", large, "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    assert_eq!(core.reloads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_log_has_no_query_no_header_and_thins_out_denials() {
    let server = Server::with(json!({})).await;
    for _ in 0..60 {
        let lines = "authorization: Bearer canary-1\r\ncookie: canary-2\r\n";
        let answer = server.request("GET", "/x?q=canary-3", lines, "").await;
        assert_eq!(answer.status, 401);
    }
    server.get("/%1b%5b?x=canary-4", "").await;
    let text = loop {
        let text = server.state.log.text();
        if text.contains("/%1b%5b") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn the_status_shows_where_credentials_come_from_and_none_of_them() {
    let key = "sk-canary-0123456789-abcdefghijklmnop";
    let settings = json!({
        "gateway": {"auth": {"mode": "token", "token": "a-gateway-token-of-some-length"}},
        "models": {"providers": {
            "a.b": {"baseUrl": "https://a.example", "apiKey": key, "models": []},
            "c": {"baseUrl": "https://c.example", "models": [],
                "apiKey": {"source": "env", "provider": "default", "id": "C_KEY"}},
        }},
    });
    let core = real_core(&settings, &[("C_KEY", key)]);
    let server = Server::launch(core, Limits::default(), None).await;
    let lines = "authorization: Bearer a-gateway-token-of-some-length\r\n";
    let answer = server.request("GET", "/_auth/status", lines, "").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    let status = answer.json();
    assert_eq!(
        (&status["snapshot"], &status["mode"]),
        (&json!(1), &json!("token"))
    );
    assert_eq!(status["degraded"], false);
    let providers = status["providers"].as_array().unwrap();
    assert_eq!(
        (&providers[0]["provider"], &providers[1]["provider"]),
        (&json!("a.b"), &json!("c"))
    );
    let credential = &providers[1]["credentials"][0];
    assert_eq!(credential["source"], "env:default:C_KEY");
    assert_eq!(
        (&credential["origin"], &credential["state"]),
        (&json!("env"), &json!("ready"))
    );
    assert_eq!(credential["masked"], "sk-c...mnop");
    assert_eq!(
        server.request("GET", "/_auth/status", "", "").await.status,
        401
    );
}
