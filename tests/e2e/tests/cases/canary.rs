//! No secret shows anywhere but at the provider.

use crate::support::{Gateway, Nginx, Place, Request, Upstream};

const SECTIONS: &str = r#"
  secrets: {
    providers: {
      files: { source: "file", path: "DIR/secrets.json" },
      program: { source: "exec", command: "DIR/bin/resolver", passEnv: ["PATH", "PASSED"] },
    },
  },
  models: {
    providers: {
      env: { baseUrl: "UPSTREAM", apiKey: { source: "env", provider: "default", id: "ENV_KEY" } },
      file: {
        baseUrl: "UPSTREAM",
        apiKey: { source: "file", provider: "files", id: "/key" },
        headers: { "x-second": { source: "file", provider: "files", id: "/second" } },
      },
      exec: { baseUrl: "UPSTREAM", apiKey: { source: "exec", provider: "program", id: "value" } },
      literal: { baseUrl: "UPSTREAM", apiKey: "CANARY-literal-0123456789" },
      unsendable: { baseUrl: "UPSTREAM", apiKey: { source: "file", provider: "files", id: "/lines" } },
    },
  },
"#;

const SECRETS: &str = r#"{
  "key": "CANARY-file-0123456789",
  "second": "CANARY-second-0123456789",
  "lines": "CANARY-lines\r\nX-Evil: 1"
}"#;

const RESOLVER: &str = r#"#!/bin/sh
echo "CANARY-stderr $PASSED" >&2
cat DIR/answer
"#;

/// Ways to break a reload, each with secrets near the fault.
const BROKEN: &[(&str, &str)] = &[
    (
        "secrets.json",
        r#"{"key":"CANARY-broken","second":"CANARY-broken" "CANARY-broken"}"#,
    ),
    ("secrets.json", r#"["CANARY-broken"]"#),
    (
        "secrets.json",
        r#"{"key":{"CANARY-name":"CANARY-broken"},"second":"s","lines":"l"}"#,
    ),
    ("secrets.json", "CANARY-broken"),
    ("answer", ""),
    (
        "answer",
        r#"{"protocolVersion":2,"values":{"value":"CANARY-broken"}}"#,
    ),
    (
        "answer",
        r#"{"protocolVersion":1,"errors":{"value":{"code":"CANARY-code","message":"CANARY-message"}}}"#,
    ),
];

#[test]
fn no_secret_leaves_but_to_the_provider() {
    let (place, upstream) = (Place::new(), Upstream::start());
    place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
    place.write("secrets.json", SECRETS);
    place.write("answer", "CANARY-exec-0123456789\n");
    place.script("bin/resolver", RESOLVER);
    let env = [
        ("ENV_KEY", "CANARY-env-0123456789"),
        ("PASSED", "CANARY-passed"),
    ];
    let (config, log) = (place.config(), place.path("requests.log"));
    let options = [
        "--config",
        config.to_str().unwrap(),
        "--access-log",
        log.to_str().unwrap(),
        "--log-level",
        "trace",
    ];
    let gateway = Gateway::start_with(&place, &env, &options);
    let nginx = Nginx::start(&place, &gateway);
    let mut shown = Vec::new();
    let mut send = |request: Request, status: u16| {
        let answer = request.clone().session("nick").send(nginx.front());
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        shown.push(format!("{answer:?}"));
    };

    for (provider, key) in [
        ("env", "env"),
        ("file", "file"),
        ("exec", "exec"),
        ("literal", "literal"),
    ] {
        send(
            Request::post(&format!("/proxy/{provider}/v1/chat"), "{}"),
            200,
        );
        let expected = format!("Bearer CANARY-{key}-0123456789");
        let arrived = upstream.take_one();
        assert_eq!(arrived.header("authorization"), Some(expected.as_str()));
        // This one quotes the key in its answer.
        send(
            Request::post(&format!("/proxy/{provider}/v1/refuse"), "{}"),
            502,
        );
        let arrived = upstream.take_one();
        assert_eq!(arrived.header("authorization"), Some(expected.as_str()));
    }
    send(Request::post("/proxy/unsendable/v1/chat", "{}"), 500);
    assert_eq!(upstream.take().len(), 0);
    send(Request::get("/_auth/whoami"), 200);
    send(Request::get("/_auth/nothing"), 404);
    send(Request::get("/proxy/nobody/v1/chat"), 404);
    send(Request::get("/readyz"), 200);
    send(Request::get("/_auth/whoami?token=CANARY-in-query"), 400);
    let credentials = Request::get("/_auth/whoami")
        .line("Authorization", "Bearer CANARY-of-client")
        .line("X-Openclaw-Token", "CANARY-of-client");
    send(credentials, 200);

    for (name, text) in BROKEN {
        let good = place.text(name);
        place.write(name, text);
        send(Request::post("/_auth/reload", ""), 409);
        send(Request::get("/readyz"), 503);
        place.write(name, &good);
    }
    send(Request::post("/_auth/reload", ""), 200);
    for session in ["mallory", "nameless"] {
        let refused = Request::get("/_auth/whoami").session(session);
        let refused = refused.line("X-Api-Key", "CANARY-of-client");
        shown.push(format!("{:?}", refused.send(nginx.front())));
    }

    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    shown.extend([
        ended.stdout,
        ended.stderr.clone(),
        place.text("requests.log"),
    ]);
    for text in &shown {
        assert!(!text.contains("CANARY"), "a secret shows: {text}");
        assert!(!text.contains("X-Evil"), "a secret shows: {text}");
    }
    // The search had something to search in.
    let refusals = ended.stderr.matches("reload refused").count();
    assert_eq!(refusals, BROKEN.len(), "{}", ended.stderr);
    assert!(place.text("requests.log").lines().count() > 20);
}

#[test]
fn a_failed_start_shows_no_secret() {
    let upstream = Upstream::start();
    for (name, text) in BROKEN {
        let place = Place::new();
        place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
        place.write("secrets.json", SECRETS);
        place.write("answer", "CANARY-exec-0123456789\n");
        place.script("bin/resolver", RESOLVER);
        place.write(name, text);
        let env = [
            ("ENV_KEY", "CANARY-env-0123456789"),
            ("PASSED", "CANARY-passed"),
        ];
        let ended = Gateway::refuse(&place, &env);
        assert_eq!(ended.code, Some(4), "{text}: {ended:#?}");
        let shown = format!("{ended:?}");
        assert!(!shown.contains("CANARY"), "a secret shows: {shown}");
    }
}
