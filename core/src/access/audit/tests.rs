use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::checks::CHECKS;
use super::*;
use crate::access::{Overrides, SecretInput};
use crate::host::Interfaces;
use crate::host::sim::Sim;
use crate::text::SecretText;

/// Own addresses of the host: loopback and one other; or none are known.
struct Own(bool);

impl Interfaces for Own {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        match self.0 {
            true => Ok(vec![
                "127.0.0.1".parse().unwrap(),
                "172.17.0.1".parse().unwrap(),
            ]),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

/// A setup in which nothing but the remark about the proxy is found.
fn good() -> Value {
    json!({"gateway": {
        "trustedProxies": ["127.0.0.1"],
        "auth": {
            "mode": "trusted-proxy",
            "trustedProxy": {
                "userHeader": "x-claw-user",
                "requiredHeaders": ["x-forwarded-proto", "x-claw-proxy"],
                "allowUsers": ["nick@example.com"],
                "allowLoopback": true,
                "proxySecret": {"value": "stand-in"},
            },
        },
    }})
}

fn token() -> Value {
    json!({"gateway": {"auth": {"mode": "token"}, "trustedProxies": ["127.0.0.1"]}})
}

/// Facts beside the configuration.
struct Beside {
    token: SecretInput,
    password: SecretInput,
    proxy_secret: SecretInput,
    files: FileFacts,
    certificate: Option<CertificateFacts>,
    own: bool,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            token: SecretInput::Absent,
            password: SecretInput::Absent,
            proxy_secret: SecretInput::Absent,
            files: FileFacts::default(),
            certificate: None,
            own: true,
        }
    }
}

const LONG: &str = "canary-0123456789-0123456789-abcdef";

fn reference(text: &str) -> SecretInput {
    SecretInput::Reference(Some(SecretText::new(text.to_owned())))
}

fn literal(text: &str) -> SecretInput {
    SecretInput::Literal(SecretText::new(text.to_owned()))
}

fn run(config: &Value, beside: Beside) -> Vec<AuditFinding> {
    let host = Sim::new().host();
    audit(&AuditInput {
        access: AccessInput {
            config,
            token: beside.token,
            password: beside.password,
            proxy_secret: beside.proxy_secret,
            previous_proxy_secret: SecretInput::Absent,
            env_token: None,
            env_password: None,
            overrides: Overrides::default(),
            interfaces: Arc::new(Own(beside.own)),
            clock: host.clock,
        },
        files: beside.files,
        certificate: beside.certificate,
    })
}

/// Sets (or with null removes) a value below `gateway`.
fn with(mut config: Value, path: &str, value: Value) -> Value {
    let mut slot = &mut config["gateway"];
    for key in path.split('.') {
        slot = &mut slot[key];
    }
    *slot = value;
    config
}

fn proxied(path: &str, value: Value) -> Vec<AuditFinding> {
    let beside = Beside {
        proxy_secret: reference(LONG),
        ..Beside::default()
    };
    run(&with(good(), path, value), beside)
}

/// The same without a proxy secret.
fn unproven(path: &str, value: Value) -> Vec<AuditFinding> {
    let config = with(good(), "auth.trustedProxy.proxySecret", Value::Null);
    run(&with(without_nulls(config), path, value), Beside::default())
}

fn shared(path: &str, value: Value) -> Vec<AuditFinding> {
    let beside = Beside {
        token: reference(LONG),
        ..Beside::default()
    };
    run(&with(token(), path, value), beside)
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        map.retain(|_, value| !value.is_null());
        for value in map.values_mut() {
            *value = without_nulls(value.take());
        }
    }
    value
}

fn file(mode: u32) -> Option<FileFact> {
    Some(FileFact {
        path: "/state/file".to_owned(),
        mode,
    })
}

/// `id severity path` of one finding.
fn shown(finding: &AuditFinding) -> String {
    format!(
        "{} {} {}",
        finding.check_id,
        finding.severity.as_str(),
        finding.path
    )
}

fn ids(findings: &[AuditFinding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.check_id).collect()
}

#[test]
fn a_good_setup_has_nothing_above_info() {
    let findings = proxied("port", json!(18789));
    assert_eq!(
        findings.iter().map(shown).collect::<Vec<_>>(),
        ["gateway.trusted_proxy_auth info gateway.auth.trustedProxy"]
    );
    assert_eq!(ids(&shared("port", json!(18789))), [] as [&str; 0]);
}

/// What is found, and what it takes.
fn cases() -> Vec<(&'static str, Vec<AuditFinding>)> {
    let lan = |config: Value| with(config, "bind", json!("lan"));
    let list = |entries: &[&str]| json!(entries);
    let tls = |key_mode: u32, self_signed: bool, days: i64| {
        let config = with(lan(token()), "tls", json!({"enabled": true}));
        let files = FileFacts {
            tls_key: file(key_mode),
            ..FileFacts::default()
        };
        let certificate = Some(CertificateFacts {
            is_self_signed: self_signed,
            valid_for_ms: days * 86_400_000,
        });
        let beside = Beside {
            token: reference(LONG),
            files,
            certificate,
            ..Beside::default()
        };
        run(&config, beside)
    };
    let modes = |config: u32, state: u32, token_input: SecretInput| {
        let files = FileFacts {
            config: file(config),
            state_dir: file(state),
            ..FileFacts::default()
        };
        let beside = Beside {
            token: token_input,
            files,
            ..Beside::default()
        };
        run(&token(), beside)
    };
    let secret = |input: SecretInput| {
        let beside = Beside {
            token: input,
            ..Beside::default()
        };
        run(&token(), beside)
    };
    let password = |text: &str| {
        let beside = Beside {
            password: reference(text),
            ..Beside::default()
        };
        run(&with(token(), "auth.mode", json!("password")), beside)
    };
    let none = |bind: &str| {
        let config = with(token(), "auth.mode", json!("none"));
        run(&with(config, "bind", json!(bind)), Beside::default())
    };
    let bare = without_nulls(with(
        with(
            with(good(), "auth.trustedProxy.proxySecret", Value::Null),
            "auth.trustedProxy.allowUsers",
            Value::Null,
        ),
        "auth.trustedProxy.requiredHeaders",
        Value::Null,
    ));
    let exposed_list = |key: &str, value: Value| {
        let beside = Beside {
            token: reference(LONG),
            ..Beside::default()
        };
        run(&with(lan(token()), key, value), beside)
    };
    let loopback = "auth.trustedProxy.allowLoopback";
    let users = "auth.trustedProxy.allowUsers";
    let header = "auth.trustedProxy.userHeader";
    let required = "auth.trustedProxy.requiredHeaders";
    let hsts = "http.securityHeaders.strictTransportSecurity";
    vec![
        (
            "gateway.trusted_proxy_auth critical gateway.auth.trustedProxy",
            run(&bare, Beside::default()),
        ),
        (
            "gateway.trusted_proxy_no_proxies critical gateway.trustedProxies",
            proxied("trustedProxies", json!([])),
        ),
        (
            "gateway.trusted_proxy_no_user_header critical gateway.auth.trustedProxy.userHeader",
            proxied(header, json!(" ")),
        ),
        (
            "gateway.trusted_proxy_no_allowlist warn gateway.auth.trustedProxy.allowUsers",
            proxied(users, json!([])),
        ),
        (
            "gateway.trusted_proxy_allow_loopback warn gateway.auth.trustedProxy.allowLoopback",
            unproven("port", json!(1)),
        ),
        (
            "gateway.loopback_trusted_by_name warn gateway.trustedProxies[0]",
            {
                let config = with(good(), "auth.trustedProxy.proxySecret", Value::Null);
                let config = with(config, loopback, Value::Null);
                run(&without_nulls(config), Beside::default())
            },
        ),
        (
            "gateway.loopback_trusted_by_name info gateway.trustedProxies[0]",
            {
                let config = without_nulls(with(good(), loopback, Value::Null));
                let beside = Beside {
                    proxy_secret: reference(LONG),
                    ..Beside::default()
                };
                run(&config, beside)
            },
        ),
        (
            "gateway.trusted_proxy_loopback_rejected warn gateway.trustedProxies[0]",
            proxied(loopback, json!(false)),
        ),
        (
            "gateway.trusted_proxies_unreachable critical gateway.trustedProxies",
            proxied("trustedProxies", list(&["10.0.0.1"])),
        ),
        (
            "gateway.trusted_proxies_any critical gateway.trustedProxies[1]",
            proxied("trustedProxies", list(&["127.0.0.1", "0.0.0.0/0"])),
        ),
        (
            "gateway.trusted_proxies_wide critical gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["10.0.0.0/15"])),
        ),
        (
            "gateway.trusted_proxies_wide warn gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["fd00::/48"])),
        ),
        (
            "gateway.trusted_proxies_wide info gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["10.0.0.0/30"])),
        ),
        (
            "gateway.trusted_proxies_wide info gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["127.0.0.0/8"])),
        ),
        (
            "gateway.trusted_proxies_many warn gateway.trustedProxies",
            proxied("trustedProxies", list(&["10.0.0.0/24", "10.0.1.1"])),
        ),
        (
            "gateway.trusted_proxies_public warn gateway.trustedProxies[0]",
            unproven("trustedProxies", list(&["8.8.8.8", "2606:4700::1"])),
        ),
        (
            "gateway.trusted_proxies_bridge_gateway warn gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["172.17.0.1"])),
        ),
        (
            "gateway.trusted_proxies_link_local warn gateway.trustedProxies[0]",
            proxied("trustedProxies", list(&["fe80::1", "127.0.0.1"])),
        ),
        (
            "gateway.trusted_proxy_interface_check_unavailable info ",
            run(
                &good(),
                Beside {
                    proxy_secret: reference(LONG),
                    own: false,
                    ..Beside::default()
                },
            ),
        ),
        (
            "gateway.exposed_bind warn gateway.bind",
            proxied("bind", json!("lan")),
        ),
        (
            "gateway.exposed_bind info gateway.bind",
            shared("bind", json!("auto")),
        ),
        ("gateway.bind_no_auth critical gateway.bind", none("lan")),
        (
            "gateway.loopback_no_auth warn gateway.auth",
            none("loopback"),
        ),
        (
            "gateway.loopback_no_auth critical gateway.auth",
            secret(SecretInput::Absent),
        ),
        (
            "gateway.http.no_auth warn gateway.auth.mode",
            none("loopback"),
        ),
        (
            "gateway.http.no_auth critical gateway.auth.mode",
            none("lan"),
        ),
        (
            "gateway.trusted_proxies_missing warn gateway.trustedProxies",
            shared("trustedProxies", json!([])),
        ),
        (
            "gateway.trusted_proxy_user_header_generic info gateway.auth.trustedProxy.userHeader",
            proxied(header, json!("X-Forwarded-User")),
        ),
        (
            "gateway.trusted_proxy_user_header_generic warn gateway.auth.trustedProxy.userHeader",
            unproven(header, json!("remote-user")),
        ),
        (
            "gateway.trusted_proxy_user_header_unusual warn gateway.auth.trustedProxy.userHeader",
            proxied(header, json!("x_claw_user")),
        ),
        (
            "gateway.trusted_proxy_no_required_headers warn \
             gateway.auth.trustedProxy.requiredHeaders",
            unproven(required, json!([])),
        ),
        (
            "gateway.trusted_proxy_required_header_weak info \
             gateway.auth.trustedProxy.requiredHeaders",
            proxied(required, json!(["X-Forwarded-Proto"])),
        ),
        (
            "gateway.trusted_proxy_allow_users_mixed_script warn \
             gateway.auth.trustedProxy.allowUsers[1]",
            proxied(
                users,
                json!(["jos\u{e9}@example.com", "ni\u{441}k@example.com"]),
            ),
        ),
        (
            "gateway.trusted_proxy_allow_users_domain_public warn \
             gateway.auth.trustedProxy.allowUsers[0]",
            proxied(users, json!(["*@Gmail.com"])),
        ),
        (
            "gateway.trusted_proxy_local_password info gateway.auth.password",
            run(
                &good(),
                Beside {
                    proxy_secret: reference(LONG),
                    password: literal(LONG),
                    ..Beside::default()
                },
            ),
        ),
        (
            "gateway.trusted_proxy_no_xfp warn gateway.auth.trustedProxy.requiredHeaders",
            proxied(required, json!(["x-claw-proxy"])),
        ),
        (
            "gateway.tls_plain_exposed critical gateway.tls",
            shared("bind", json!("lan")),
        ),
        (
            "gateway.tls_plain_exposed warn gateway.tls",
            proxied("bind", json!("lan")),
        ),
        (
            "gateway.tls_self_signed warn gateway.tls.certPath",
            tls(0o600, true, 900),
        ),
        (
            "gateway.tls_expires_soon warn gateway.tls.certPath",
            tls(0o600, false, 29),
        ),
        (
            "gateway.tls_expires_soon critical gateway.tls.certPath",
            tls(0o600, false, -1),
        ),
        (
            "gateway.tls_key_permissions critical /state/file",
            tls(0o640, false, 900),
        ),
        (
            "gateway.hsts_at_gateway info gateway.http.securityHeaders.strictTransportSecurity",
            proxied(hsts, json!("max-age=31536000")),
        ),
        (
            "gateway.hsts_short info gateway.http.securityHeaders.strictTransportSecurity",
            proxied(hsts, json!("max-age=300")),
        ),
        (
            "gateway.real_ip_fallback_enabled warn gateway.allowRealIpFallback",
            proxied("allowRealIpFallback", json!(true)),
        ),
        (
            "gateway.real_ip_fallback_enabled critical gateway.allowRealIpFallback",
            run(
                &with(
                    with(good(), "trustedProxies", json!(["10.0.0.1"])),
                    "allowRealIpFallback",
                    json!(true),
                ),
                Beside {
                    proxy_secret: reference(LONG),
                    ..Beside::default()
                },
            ),
        ),
        (
            "gateway.control_ui.allowed_origins_wildcard warn \
             gateway.controlUi.allowedOrigins[0]",
            shared("controlUi.allowedOrigins", json!(["*"])),
        ),
        (
            "gateway.control_ui.allowed_origins_wildcard critical \
             gateway.controlUi.allowedOrigins[0]",
            exposed_list("controlUi.allowedOrigins", json!(["*"])),
        ),
        (
            "gateway.control_ui.host_header_origin_fallback warn \
             gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
            shared(
                "controlUi.dangerouslyAllowHostHeaderOriginFallback",
                json!(true),
            ),
        ),
        (
            "gateway.control_ui.allowed_origins_required warn gateway.controlUi.allowedOrigins",
            shared("bind", json!("lan")),
        ),
        (
            "gateway.token_too_short warn gateway.auth.token",
            secret(reference("canary-short")),
        ),
        (
            "gateway.password_too_short warn gateway.auth.password",
            password("canary-short"),
        ),
        (
            "gateway.token_placeholder_value critical gateway.auth.token",
            secret(reference("change-me-now")),
        ),
        (
            "gateway.password_placeholder_value critical gateway.auth.password",
            password("your-password"),
        ),
        (
            "gateway.auth_rate_limit_disabled warn gateway.auth.rateLimit",
            shared("auth.rateLimit", json!({"enabled": false})),
        ),
        (
            "gateway.auth_rate_limit_disabled critical gateway.auth.rateLimit",
            exposed_list("auth.rateLimit", json!({"enabled": false})),
        ),
        (
            "gateway.auth_rate_limit_weak warn gateway.auth.rateLimit",
            shared("auth.rateLimit", json!({"maxAttempts": 101})),
        ),
        (
            "gateway.auth_rate_limit_weak warn gateway.auth.rateLimit",
            {
                let config = with(token(), "auth.rateLimit", json!({"lockoutMs": 0}));
                let beside = Beside {
                    token: reference("canary-short"),
                    ..Beside::default()
                };
                run(&config, beside)
            },
        ),
        (
            "gateway.secret_in_config info gateway.auth.token",
            secret(literal(LONG)),
        ),
        (
            "gateway.secret_in_config warn gateway.auth.token",
            modes(0o640, 0o700, literal(LONG)),
        ),
        (
            "fs.config.perms_writable critical /state/file",
            modes(0o620, 0o700, reference(LONG)),
        ),
        (
            "fs.config.perms_world_readable critical /state/file",
            modes(0o604, 0o700, reference(LONG)),
        ),
        (
            "fs.state_dir.perms_world_writable critical /state/file",
            modes(0o600, 0o702, reference(LONG)),
        ),
        (
            "gateway.config_ignored_keys info gateway.auth.allowTailscale",
            shared("auth.allowTailscale", json!(true)),
        ),
        (
            "gateway.settings_invalid critical gateway.trustedProxies[0]",
            shared("trustedProxies", json!(["proxy.internal"])),
        ),
    ]
}

#[test]
fn every_check_finds_what_it_is_for() {
    let cases = cases();
    for (expected, findings) in &cases {
        let found: Vec<String> = findings.iter().map(shown).collect();
        assert!(
            found.iter().any(|found| found == expected),
            "{expected} is not among\n{}",
            found.join("\n")
        );
    }
    let covered: BTreeSet<&str> = cases
        .iter()
        .filter_map(|(expected, _)| expected.split(' ').next())
        .collect();
    let all: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(covered, all, "a check has no case, or a case has no check");
    assert_eq!(all.len(), CHECKS.len(), "an id stands twice");
}

#[test]
fn no_finding_shows_a_secret_and_all_are_sorted_sentences() {
    for (case, findings) in cases() {
        for finding in &findings {
            let text = finding.to_json().to_string();
            assert!(!text.contains("canary"), "{case}: {text}");
            for sentence in [&finding.detail, finding.remediation] {
                let ends = sentence.ends_with('.') || sentence.ends_with("--direct URL");
                assert!(ends, "{case}: {sentence}");
            }
            assert!(!finding.title.ends_with('.'), "{}", finding.title);
        }
        let keys: Vec<_> = findings
            .iter()
            .map(|finding| (finding.severity, finding.check_id, &finding.path))
            .collect();
        assert!(keys.is_sorted(), "{case}");
    }
}

#[test]
fn the_example_of_the_mission_is_unreachable_when_taken_literally() {
    let config = json!({"gateway": {
        "bind": "loopback",
        "trustedProxies": ["10.0.0.1"],
        "auth": {
            "mode": "trusted-proxy",
            "trustedProxy": {
                "userHeader": "x-forwarded-user",
                "requiredHeaders": ["x-forwarded-proto", "x-forwarded-host"],
                "allowUsers": ["nick@example.com"],
            },
        },
    }});
    let findings = run(&config, Beside::default());
    assert!(ids(&findings).contains(&"gateway.trusted_proxies_unreachable"));
    assert!(!ids(&findings).contains(&"gateway.loopback_no_auth"));
}

#[test]
fn references_need_not_resolve() {
    let beside = || Beside {
        token: SecretInput::Reference(None),
        ..Beside::default()
    };
    assert_eq!(ids(&run(&token(), beside())), [] as [&str; 0]);
    let beside = Beside {
        proxy_secret: SecretInput::Reference(None),
        ..Beside::default()
    };
    assert_eq!(ids(&run(&good(), beside)), ["gateway.trusted_proxy_auth"]);
}

#[test]
fn addresses_of_documentation_and_private_networks_are_not_public() {
    for entry in [
        "10.0.0.1",
        "100.64.0.1",
        "192.0.2.1",
        "2001:db8::1",
        "fd00::1",
    ] {
        let findings = unproven("trustedProxies", json!([entry]));
        assert!(
            !ids(&findings).contains(&"gateway.trusted_proxies_public"),
            "{entry}"
        );
    }
    // A range with one foot in private space is not public as a whole.
    let findings = unproven("trustedProxies", json!(["10.0.0.0/7"]));
    assert!(!ids(&findings).contains(&"gateway.trusted_proxies_public"));
}
