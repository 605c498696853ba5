//! A request of a logged-in person goes to a provider with the gateway's key.

use std::time::Duration;

use serde_json::json;

use crate::support::{Gateway, Nginx, PATIENCE, Place, Request, Upstream};

const KEY: &str = "sk-main-0123456789";

/// A gateway with one provider, whose key is in the environment, behind nginx.
fn world() -> (Place, Upstream, Gateway, Nginx) {
    let (place, upstream) = (Place::new(), Upstream::start());
    let base_url = upstream.base_url();
    place.configure(&format!(
        r#"models: {{ providers: {{ openai: {{
            baseUrl: "{base_url}",
            api: "openai-completions",
            apiKey: {{ source: "env", provider: "default", id: "OPENAI_API_KEY" }},
        }} }} }}"#
    ));
    let gateway = Gateway::start(&place, &[("OPENAI_API_KEY", KEY)]);
    let nginx = Nginx::start(&place, &gateway);
    (place, upstream, gateway, nginx)
}

#[test]
fn whoever_logged_in_is_known_with_name_and_address() {
    let (_place, _upstream, _gateway, nginx) = world();
    let ask = Request::get("/_auth/whoami");

    let stranger = ask.send(nginx.front());
    assert_eq!(stranger.status, 401, "nginx demands a login: {stranger:?}");

    let nick = ask
        .session("nick")
        .line("X-Forwarded-For", "198.51.100.66")
        .line("X-Real-IP", "198.51.100.67")
        .line("Forwarded", "for=198.51.100.68")
        .send(nginx.front());
    assert_eq!(nick.status, 200, "{nick:?}");
    let mut identity = nick.json();
    identity.as_object_mut().unwrap().remove("requestId");
    assert_eq!(
        identity,
        json!({
            "ok": true,
            "method": "trusted-proxy",
            "user": "nick@example.com",
            "clientIp": Nginx::CLIENT.to_string(),
            "peerIp": "127.0.0.1",
            "localDirect": false,
        })
    );
}

#[test]
fn provider_gets_the_key_and_nothing_about_the_person() {
    let (_place, upstream, _gateway, nginx) = world();
    let body = r#"{"model":"gpt","messages":[{"role":"user","content":"hello"}]}"#;
    let answer = Request::post("/proxy/openai/v1/chat/completions?trace=1", body)
        .session("nick")
        .line("Content-Type", "application/json")
        .line("Authorization", "Bearer of-the-client")
        .line("X-Api-Key", "of-the-client")
        .line("X-Auth-Request-Email", "nick@example.com")
        .line("OpenAI-Beta", "assistants=v2")
        .send(nginx.front());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["id"], "chatcmpl-1");
    assert_eq!(answer.header("x-openclaw-provider"), Some("openai"));
    assert_eq!(answer.header("set-cookie"), None, "{answer:?}");

    let arrived = upstream.take_one();
    assert_eq!(arrived.path(), "/v1/chat/completions?trace=1");
    assert_eq!(arrived.body, body);
    assert_eq!(
        arrived.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(arrived.header("openai-beta"), Some("assistants=v2"));
    let host = upstream.base_url();
    let host = host.trim_start_matches("http://").trim_end_matches("/v1");
    assert_eq!(arrived.header("host"), Some(host));
    let head = arrived.head.to_ascii_lowercase();
    for leak in [
        "cookie",
        "session=",
        "nick",
        "x-forwarded",
        "forwarded",
        "x-real-ip",
        "x-auth-request",
        "x-api-key",
        "of-the-client",
        "203.0.113.9",
        "claw.example.com",
    ] {
        assert!(!head.contains(leak), "{leak} reached the provider:\n{head}");
    }
}

#[test]
fn events_arrive_one_by_one() {
    let (_place, upstream, _gateway, nginx) = world();
    let events = Request::post("/proxy/openai/v1/events", "{}");
    let identified = |request: Request| {
        request
            .line("X-Forwarded-User", "nick@example.com")
            .line("X-Forwarded-Proto", "https")
    };
    for (way, request) in [
        (nginx.front(), events.clone().session("nick")),
        (nginx.careless(), identified(events)),
    ] {
        let before = upstream.sent();
        let mut events = request.open(way);
        assert!(events.reaches("data: one\n\n", PATIENCE));
        assert_eq!(upstream.sent(), before + 1, "the second was not sent yet");
        upstream.release();
        let answer = events.rest();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, "data: one\n\ndata: two\n\n");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    }

    // The same pieces as plain text, without the header that switches buffering off: nginx keeps
    // the first one back when it speaks HTTP/1.0. So the events above were not just lucky.
    let before = upstream.sent();
    let pieces = identified(Request::post("/proxy/openai/v1/text", "{}"));
    let mut pieces = pieces.open(nginx.careless());
    assert!(!pieces.reaches("data: one\n\n", Duration::from_millis(500)));
    assert_eq!(upstream.sent(), before + 1, "the first piece was sent");
    upstream.release();
    assert_eq!(pieces.rest().body, "data: one\n\ndata: two\n\n");
}
