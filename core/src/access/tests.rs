//! Whole decisions, beyond the shared vectors.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::host::{Clock, Interfaces};
use crate::text::SecretText;

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {}
}

/// A machine without addresses.
struct Nowhere;

impl Interfaces for Nowhere {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn input(config: &Value) -> AccessInput<'_> {
    let literal = |pointer: &str| match config.pointer(pointer).and_then(Value::as_str) {
        Some(text) => SecretInput::Literal(secret(text)),
        None => SecretInput::Absent,
    };
    AccessInput {
        token: literal("/gateway/auth/token"),
        password: literal("/gateway/auth/password"),
        proxy_secret: literal("/gateway/auth/trustedProxy/proxySecret/value"),
        ..AccessInput::new(config, Arc::new(Nowhere), Arc::new(Still))
    }
}

fn load(input: AccessInput<'_>) -> AccessLoad {
    AccessControl::load(input, Arc::default())
}

fn control(config: &Value) -> AccessControl {
    let loaded = load(input(config));
    assert_eq!(loaded.errors, [], "{config}");
    loaded.control.unwrap()
}

fn codes(problems: &[Problem]) -> Vec<(&'static str, &str)> {
    problems
        .iter()
        .map(|problem| (problem.code.as_str(), problem.path.as_str()))
        .collect()
}

type Lines<'a> = Vec<(&'a str, &'a str)>;

fn request<'a>(remote: &'a str, headers: &'a Lines<'a>) -> AccessRequest<'a> {
    AccessRequest {
        remote: Some(remote),
        local: None,
        headers,
        kind: ConnectionKind::Http,
        tls: false,
        credentials: None,
    }
}

/// The user, the method, or the code.
fn outcome(control: &AccessControl, remote: &str, headers: &Lines<'_>) -> String {
    match control.authorize(Some(&request(remote, headers))) {
        Ok(Identity {
            user: Some(user), ..
        }) => user,
        Ok(identity) => identity.method.as_str().to_owned(),
        Err(denied) => denied.code().as_str().to_owned(),
    }
}

fn by_proxy(extra: &Value) -> Value {
    let mut config = json!({"gateway": {
        "bind": "lan",
        "trustedProxies": ["10.0.0.1", "127.0.0.1"],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-user"}},
    }});
    merge(&mut config["gateway"], extra);
    config
}

fn by_token(extra: &Value) -> Value {
    let mut config = json!({"gateway": {"auth": {"mode": "token", "token": TOKEN}}});
    merge(&mut config["gateway"], extra);
    config
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn merge(value: &mut Value, extra: &Value) {
    match extra {
        Value::Object(extra) => {
            extra
                .iter()
                .for_each(|(key, extra)| merge(&mut value[key], extra));
        }
        extra => *value = extra.clone(),
    }
}

#[test]
fn policy_is_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<AccessControl>();
    shared::<Limiter>();
    shared::<Denied>();
    assert!(size_of::<Denied>() <= 64, "{}", size_of::<Denied>());
}

#[test]
fn all_problems_have_a_place_in_the_order() {
    let config = json!({"gateway": {
        "bind": "loopback",
        "port": 0,
        "tailscale": {},
        "trustedProxies": ["10.0.0.1/33", 5],
        "http": {"securityHeaders": {"strictTransportSecurity": true}},
        "auth": {
            "mode": "trusted-proxy",
            "allowTailscale": true,
            "rateLimit": {"maxAttempts": 0, "widnowMs": 5},
            "trustedProxy": {
                "userHeader": "x-user",
                "assertion": {},
                "allowUsersMatch": "regex",
                "requiredHeaders": ["te"],
                "deviceAutoApprove": {},
            },
        },
    }});
    let loaded = load(input(&config));
    assert!(loaded.control.is_none());
    assert_eq!(
        codes(&loaded.errors),
        [
            ("config_unknown_key", "gateway.auth.trustedProxy.assertion"),
            ("config_unknown_key", "gateway.auth.rateLimit.widnowMs"),
            ("config_invalid_value", "gateway.trustedProxies[1]"),
            ("config_invalid_value", "gateway.port"),
            (
                "config_invalid_value",
                "gateway.http.securityHeaders.strictTransportSecurity"
            ),
            ("trusted_proxies_bad_prefix", "gateway.trustedProxies[0]"),
            (
                "trusted_proxy_required_header_forbidden",
                "gateway.auth.trustedProxy.requiredHeaders[0]"
            ),
            (
                "allow_users_match_unknown",
                "gateway.auth.trustedProxy.allowUsersMatch"
            ),
            ("rate_limit_invalid", "gateway.auth.rateLimit.maxAttempts"),
        ]
    );
    let near = &loaded.errors[1].message;
    assert!(near.contains("`windowMs`"), "{near}");
    assert_eq!(
        codes(&loaded.warnings),
        [
            ("gateway_setting_ignored", "gateway.auth.allowTailscale"),
            (
                "gateway_setting_ignored",
                "gateway.auth.trustedProxy.deviceAutoApprove"
            ),
            ("gateway_setting_ignored", "gateway.tailscale"),
        ]
    );
}

#[test]
fn secrets_are_taken_in_order_of_rank() {
    let config = json!({"gateway": {"auth": {"mode": "token"}}});
    let [caller, plain, env, reference] =
        ["caller", "plain", "env", "reference"].map(|name| name.repeat(8));
    let accepted = |input: AccessInput<'_>, token: &str| {
        let loaded = load(input);
        let headers = vec![("Authorization", token)];
        let found = outcome(&loaded.control.unwrap(), "203.0.113.9", &headers);
        (found, codes(&loaded.warnings).len())
    };
    let full = || AccessInput {
        token: SecretInput::Literal(secret(&plain)),
        env_token: Some(secret(&env)),
        ..input(&config)
    };
    let by_reference = |env_token| AccessInput {
        token: SecretInput::Reference(Some(secret(&reference))),
        env_token,
        ..input(&config)
    };
    let overrides = Overrides {
        token: Some(secret(&caller)),
        ..Overrides::default()
    };
    let first = AccessInput {
        overrides,
        ..full()
    };
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(accepted(first, &bearer(&caller)), ("token".into(), 0));
    assert_eq!(accepted(full(), &bearer(&plain)), ("token".into(), 0));
    let env_wins = by_reference(Some(secret(&env)));
    assert_eq!(accepted(env_wins, &bearer(&env)), ("token".into(), 1));
    let blank = by_reference(Some(secret("  ")));
    assert_eq!(accepted(blank, &bearer(&reference)), ("token".into(), 0));
    let unresolved = AccessInput {
        token: SecretInput::Reference(None),
        ..input(&config)
    };
    let loaded = load(unresolved);
    assert_eq!(
        codes(&loaded.errors),
        [("token_missing_config", "gateway.auth.token")]
    );
    let found = outcome(&loaded.control.unwrap(), "203.0.113.9", &Vec::new());
    assert_eq!(found, "token_missing_config");
}

#[test]
fn caller_chooses_mode_and_port() {
    let config = by_token(&json!({}));
    let mode = Some(AuthMethod::None);
    let overrides = Overrides {
        mode,
        port: Some(443),
        ..Overrides::default()
    };
    let control = load(AccessInput {
        overrides,
        ..input(&config)
    })
    .control
    .unwrap();
    assert_eq!(control.mode(), AuthMethod::None);
    let name_only = vec![("Host", "claw.example.com")];
    assert_eq!(
        outcome(&control, "127.0.0.1", &name_only),
        "host_not_allowed"
    );
    assert_eq!(
        outcome(&control, "127.0.0.1", &vec![("Host", "127.0.0.1")]),
        "none"
    );
    assert_eq!(outcome(&control, "127.0.0.1", &Vec::new()), "none");
    assert!(control.authorize(None).is_ok());
}

#[test]
fn request_without_facts_is_refused() {
    let control = control(&by_token(&json!({})));
    assert_eq!(
        control.authorize(None).unwrap_err().code(),
        Code::TokenMissing
    );
}

#[test]
fn panicking_headers_are_a_refusal() {
    struct Broken;

    impl Headers for Broken {
        fn each<'h>(&'h self, _: &mut dyn FnMut(&'h str, &'h [u8])) {
            panic!("broken host");
        }
    }

    let control = control(&by_token(&json!({})));
    let request = AccessRequest {
        headers: &Broken,
        ..request("203.0.113.9", const { &Vec::new() })
    };
    let denied = control.authorize(Some(&request)).unwrap_err();
    assert_eq!(
        (denied.code(), denied.http_status()),
        (Code::InternalError, 500)
    );
}

#[test]
fn local_password_can_be_closed() {
    let password = "correct horse battery staple";
    let headers = vec![("Authorization", "Bearer correct horse battery staple")];
    for (switch, outcome_expected) in [
        (json!({}), "password"),
        (json!({"localPasswordFallback": false}), "host_not_allowed"),
    ] {
        let auth = json!({"auth": {"password": password, "trustedProxy": switch}});
        let control = control(&by_proxy(&auth));
        assert_eq!(
            outcome(&control, "127.0.0.1", &headers),
            outcome_expected,
            "{auth}"
        );
    }
}

#[test]
fn proxy_secret_header_cannot_serve_two_purposes() {
    for (header, fine) in [
        ("x-secret", true),
        ("X_User", false),
        ("authorization", false),
        ("a b", false),
    ] {
        let proxy_secret = json!({"header": header, "value": TOKEN});
        let auth = json!({"auth": {"trustedProxy": {"proxySecret": proxy_secret}}});
        let loaded = load(input(&by_proxy(&auth)));
        assert_eq!(
            loaded.errors.is_empty(),
            fine,
            "{header}: {:?}",
            loaded.errors
        );
    }
}

/// Through a proxy on this host, one visitor must not lock out the others, whatever it sends.
#[test]
fn visitors_of_a_local_proxy_have_their_own_limits() {
    let control = control(&by_token(&json!({
        "trustedProxies": ["127.0.0.1"],
        "auth": {"rateLimit": {"maxAttempts": 1}},
    })));
    let visit = |client, token| {
        let headers = vec![
            ("X-Forwarded-For", client),
            ("Origin", "https://claw.example.com"),
            ("Authorization", token),
        ];
        outcome(&control, "127.0.0.1", &headers)
    };
    let right = format!("Bearer {TOKEN}");
    assert_eq!(visit("203.0.113.1", "Bearer wrong"), "token_mismatch");
    assert_eq!(visit("203.0.113.1", &right), "rate_limited");
    assert_eq!(visit("203.0.113.2", &right), "token");
}

#[test]
fn limits_survive_a_reload_and_can_be_switched_off() {
    let limiter = Arc::new(Limiter::new());
    let try_with = |extra: &Value, token: &str| {
        let config = by_token(extra);
        let control = AccessControl::load(input(&config), Arc::clone(&limiter))
            .control
            .unwrap();
        outcome(&control, "203.0.113.9", &vec![("Authorization", token)])
    };
    let right = format!("Bearer {TOKEN}");
    let once = json!({"auth": {"rateLimit": {"maxAttempts": 1}}});
    assert_eq!(try_with(&once, "Bearer wrong"), "token_mismatch");
    assert_eq!(try_with(&once, &right), "rate_limited");
    assert_eq!(try_with(&json!({"bind": "lan"}), &right), "rate_limited");
    let off = json!({"auth": {"rateLimit": {"enabled": false}}});
    assert_eq!(try_with(&off, "Bearer wrong"), "token_mismatch");
    assert_eq!(try_with(&off, &right), "token");
}

#[test]
fn whoever_is_judged_again_has_not_tried_anything() {
    let before = control(&by_token(
        &json!({"auth": {"rateLimit": {"maxAttempts": 1}}}),
    ));
    let wrong = vec![("Authorization", "Bearer of the token before")];
    for _ in 0..3 {
        let denied = before.authorize_again(&request("203.0.113.9", &wrong));
        assert_eq!(denied.unwrap_err().code().as_str(), "token_mismatch");
    }
    let right = format!("Bearer {TOKEN}");
    let right = vec![("Authorization", right.as_str())];
    assert_eq!(outcome(&before, "203.0.113.9", &right), "token");
    assert_eq!(outcome(&before, "203.0.113.9", &wrong), "token_mismatch");
    assert_eq!(outcome(&before, "203.0.113.9", &right), "rate_limited");
    assert!(
        before
            .authorize_again(&request("203.0.113.9", &right))
            .is_ok()
    );
}

#[test]
fn penalty_grows_for_callers_on_this_host() {
    let control = control(&by_token(&json!({})));
    let headers = vec![("Authorization", "Bearer wrong")];
    let penalties = [(); 3].map(|()| {
        control
            .authorize(Some(&request("127.0.0.1", &headers)))
            .unwrap_err()
            .penalty_ms()
    });
    assert_eq!(penalties, [250, 500, 1_000]);
    let far = control
        .authorize(Some(&request("203.0.113.9", &headers)))
        .unwrap_err();
    assert_eq!((far.penalty_ms(), far.challenge().is_some()), (0, true));
}

#[test]
fn connections_are_secure_by_tls_or_by_a_trusted_word() {
    let hsts = json!({"http": {"securityHeaders": {"strictTransportSecurity": "max-age=300"}}});
    let control = control(&by_proxy(&hsts));
    for (remote, tls, headers, secure) in [
        ("203.0.113.9", true, vec![], true),
        (
            "203.0.113.9",
            false,
            vec![("X-Forwarded-Proto", "https")],
            false,
        ),
        (
            "10.0.0.1",
            false,
            vec![("x-forwarded-proto", " HTTPS ")],
            true,
        ),
        (
            "10.0.0.1",
            false,
            vec![("x-forwarded-proto", "http")],
            false,
        ),
        (
            "10.0.0.1",
            false,
            vec![
                ("x-forwarded-proto", "https"),
                ("x-forwarded-proto", "https"),
            ],
            false,
        ),
    ] {
        let request = AccessRequest {
            tls,
            ..request(remote, &headers)
        };
        assert_eq!(control.is_secure(&request), secure, "{headers:?}");
        let sent = control.strict_transport_security(&request);
        assert_eq!(sent, secure.then_some("max-age=300"), "{headers:?}");
    }
}

#[test]
fn administrators_are_listed_or_know_the_secret() {
    let open = control(&by_proxy(&json!({})));
    let listed = control(&by_proxy(
        &json!({"auth": {"adminUsers": ["root", "*@ops.example"]}}),
    ));
    let nobody = control(&by_proxy(&json!({"auth": {"adminUsers": []}})));
    let identity = |method, user: Option<&str>, local_direct| Identity {
        method,
        user: user.map(str::to_owned),
        client_ip: None,
        peer_ip: None,
        local_direct,
    };
    let proxy = AuthMethod::TrustedProxy;
    for (control, user, admin) in [
        (&open, "nick", true),
        (&listed, "nick", false),
        (&listed, "root", true),
        (&listed, "ann@ops.example", true),
        (&nobody, "nick", false),
    ] {
        assert_eq!(
            control.is_admin(&identity(proxy, Some(user), false)),
            admin,
            "{user}"
        );
    }
    assert!(listed.is_admin(&identity(AuthMethod::Token, None, false)));
    assert!(listed.is_admin(&identity(AuthMethod::None, None, true)));
    assert!(!listed.is_admin(&identity(AuthMethod::None, None, false)));
}

#[test]
fn json_answers_have_every_key() {
    let control = control(&by_proxy(&json!({})));
    let headers = vec![("X-User", "nick"), ("X-Forwarded-For", "203.0.113.7")];
    let allowed = control.authorize(Some(&request("10.0.0.1:5", &headers)));
    assert_eq!(
        decision_to_json(&allowed),
        json!({
            "ok": true, "method": "trusted-proxy", "user": "nick", "clientIp": "203.0.113.7",
            "peerIp": "10.0.0.1", "localDirect": false,
        })
    );
    let denied = control.authorize(Some(&request("10.0.0.2", &headers)));
    assert_eq!(
        decision_to_json(&denied),
        json!({
            "ok": false, "code": "trusted_proxy_untrusted_source", "header": null,
            "reason": "not_listed", "httpStatus": 403,
            "message": "the connection does not come from an address in gateway.trustedProxies",
            "retryAfterMs": null, "penaltyMs": 0, "wsCloseCode": 1008,
            "compatReason": "trusted_proxy_untrusted_source",
        })
    );
}

/// Names that matter to some rule, and some that do not.
const NAMES: &[&str] = &[
    "X-User",
    "x_user",
    "X-Secret",
    "x.secret",
    "Connection",
    "Host",
    "Origin",
    "Authorization",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Forwarded",
    "X-Real-IP",
    "Sec-WebSocket-Protocol",
    "Accept",
    "",
];

fn any_line() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        8 => prop::sample::select(NAMES).prop_map(str::to_owned),
        1 => ".{0,140}",
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[a-z@.,;:=\"\\\\ \\[\\]/]{0,40}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "nick",
            "10.0.0.1",
            "https",
            "localhost:1",
            "Basic Og=="
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (name, value)
}

proptest! {
    #[test]
    fn no_request_panics_and_no_stranger_is_a_user(
        lines in prop::collection::vec(any_line(), 0..12),
        remote in prop_oneof![
            prop::sample::select(vec!["10.0.0.1", "127.0.0.1:5", "::1", "203.0.113.9"])
                .prop_map(str::to_owned),
            ".{0,30}",
        ],
        websocket: bool,
        client_ip_header in prop::sample::select(vec!["x-forwarded-for", "forwarded", "x-real-ip"]),
    ) {
        let kind = if websocket { ConnectionKind::WebSocket } else { ConnectionKind::Http };
        let extra = json!({"clientIpHeader": client_ip_header});
        let secret = json!({"header": "x-secret", "value": TOKEN});
        let mut strict = by_proxy(&extra);
        strict["gateway"]["auth"]["trustedProxy"]["proxySecret"] = secret;
        for config in [
            by_proxy(&extra),
            strict,
            by_token(&extra),
            json!({"gateway": {"auth": {"mode": "none"}}}),
        ] {
            let request = AccessRequest {
                remote: Some(&remote),
                local: None,
                headers: &lines,
                kind,
                tls: false,
                credentials: None,
            };
            let control = control(&config);
            match control.authorize(Some(&request)) {
                Ok(Identity { user: Some(user), .. }) => {
                    prop_assert!(["10.0.0.1", "127.0.0.1:5"].contains(&remote.as_str()));
                    let own = |name: &str| name.eq_ignore_ascii_case("x-user");
                    let users: Vec<_> = lines.iter().filter(|line| own(&line.0)).collect();
                    prop_assert_eq!(users.len(), 1);
                    prop_assert_eq!(user.as_bytes(), user::trim_blanks(&users[0].1));
                }
                Ok(identity) => prop_assert_eq!(identity.method, AuthMethod::None),
                Err(denied) => prop_assert_ne!(denied.code(), Code::InternalError),
            }
        }
    }
}
