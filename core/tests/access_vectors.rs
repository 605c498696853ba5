//! The shared vectors of access decisions, through the public interface only.
//!
//! A vector with an unknown key or an unknown word fails: nothing is skipped.

#[cfg(test)]
mod vectors {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use openclaw_auth::SecretText;
    use openclaw_auth::access::{
        AccessControl, AccessInput, AccessLoad, AccessRequest, Limiter, Overrides, OwnedRequest,
        Problem, SecretInput, decision_to_json,
    };
    use openclaw_auth::host::{Clock, Interfaces};
    use serde_json::{Value, json};

    const VECTORS: &str = include_str!("../../tests/vectors/access.json");

    /// A clock that stands still: vectors pass the time themselves.
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

    /// The own addresses of a vector; `None` when they cannot be found out.
    struct Own(Option<Vec<IpAddr>>);

    impl Interfaces for Own {
        fn addresses(&self) -> io::Result<Vec<IpAddr>> {
            self.0
                .clone()
                .ok_or_else(|| io::ErrorKind::PermissionDenied.into())
        }
    }

    /// The vectors of a section, after a check of their number and keys.
    fn section(name: &str, number: usize, keys: &[&str]) -> Vec<Value> {
        let all: Value = serde_json::from_str(VECTORS).unwrap();
        let known = ["note", "decisions", "configurations", "limiter", "hsts"];
        only(&all, &known);
        let section = all[name].as_array().unwrap().clone();
        assert_eq!(section.len(), number, "number of vectors in {name}");
        section.iter().for_each(|vector| only(vector, keys));
        section
    }

    fn only(object: &Value, keys: &[&str]) {
        for key in object.as_object().unwrap().keys() {
            assert!(
                keys.contains(&key.as_str()),
                "unknown key {key} in {object}"
            );
        }
    }

    fn load(config: &Value, env: &Value, own: Own, limiter: &Arc<Limiter>) -> AccessLoad {
        only(
            env,
            &["OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD"],
        );
        let literal = |pointer: &str| match config.pointer(pointer) {
            None => SecretInput::Absent,
            Some(value) => SecretInput::Literal(secret(value)),
        };
        let variable = |name: &str| env.get(name).map(secret);
        let input = AccessInput {
            config,
            token: literal("/gateway/auth/token"),
            password: literal("/gateway/auth/password"),
            proxy_secret: literal("/gateway/auth/trustedProxy/proxySecret/value"),
            previous_proxy_secret: literal("/gateway/auth/trustedProxy/proxySecret/previousValue"),
            env_token: variable("OPENCLAW_GATEWAY_TOKEN"),
            env_password: variable("OPENCLAW_GATEWAY_PASSWORD"),
            overrides: Overrides::default(),
            interfaces: Arc::new(own),
            clock: Arc::new(Still),
        };
        AccessControl::load(input, Arc::clone(limiter))
    }

    fn secret(value: &Value) -> SecretText {
        SecretText::new(value.as_str().unwrap().to_owned())
    }

    fn codes(problems: &[Problem]) -> Vec<&'static str> {
        problems
            .iter()
            .map(|problem| problem.code.as_str())
            .collect()
    }

    #[test]
    fn decisions() {
        let keys = [
            "id",
            "group",
            "name",
            "config",
            "env",
            "request",
            "interfaces",
            "interfaceDiscoveryFails",
            "expect",
        ];
        for vector in section("decisions", 236, &keys) {
            let id = vector["id"].as_str().unwrap();
            let own: Vec<IpAddr> = serde_json::from_value(vector["interfaces"].clone()).unwrap();
            let fails = vector["interfaceDiscoveryFails"].as_bool().unwrap();
            let own = Own((!fails).then_some(own));
            let loaded = load(&vector["config"], &vector["env"], own, &Arc::default());
            let control = loaded
                .control
                .unwrap_or_else(|| panic!("{id}: {:?}", loaded.errors));
            let request = OwnedRequest::from_json(&vector["request"]).unwrap();
            let request = request.as_ref().map(OwnedRequest::as_request);
            let found = decision_to_json(&control.authorize(request.as_ref()));
            compare(id, &found, &vector["expect"]);
        }
    }

    fn compare(id: &str, found: &Value, expected: &Value) {
        only(
            expected,
            &[
                "ok", "method", "user", "clientIp", "code", "status", "header", "reason",
            ],
        );
        for (key, expected) in expected.as_object().unwrap() {
            let key = if key == "status" { "httpStatus" } else { key };
            assert_eq!(found.get(key), Some(expected), "{id}: {key} of {found}");
        }
    }

    #[test]
    fn configurations() {
        let keys = ["id", "name", "config", "env", "errors", "warnings"];
        for vector in section("configurations", 54, &keys) {
            let id = &vector["id"];
            let own = Own(Some(Vec::new()));
            let loaded = load(&vector["config"], &vector["env"], own, &Arc::default());
            assert_eq!(json!(codes(&loaded.errors)), vector["errors"], "{id}");
            assert_eq!(json!(codes(&loaded.warnings)), vector["warnings"], "{id}");
            for problem in loaded.errors.iter().chain(&loaded.warnings) {
                assert!(
                    !problem.path.is_empty() && !problem.message.is_empty(),
                    "{id}"
                );
            }
        }
    }

    #[test]
    fn limiter_timelines() {
        for vector in section(
            "limiter",
            13,
            &["id", "name", "rateLimit", "config", "steps"],
        ) {
            let mut config = vector["config"].clone();
            config["gateway"]["auth"]["rateLimit"] = vector["rateLimit"].clone();
            let token = config["gateway"]["auth"]["token"]
                .as_str()
                .unwrap()
                .to_owned();
            let own = Own(Some(Vec::new()));
            let loaded = load(&config, &json!({}), own, &Arc::default());
            assert_eq!(codes(&loaded.errors), [""; 0], "{}", vector["id"]);
            let control = loaded.control.unwrap();
            for step in vector["steps"].as_array().unwrap() {
                only(
                    step,
                    &["t", "remote", "cred", "headers", "code", "retryAfter"],
                );
                let credential = match step["cred"].as_str() {
                    None => json!({}),
                    Some("good") => json!({"token": token}),
                    Some("bad") => json!({"token": "not the token at all"}),
                    Some(other) => panic!("unknown credential {other}"),
                };
                let request = json!({
                    "remote": step["remote"], "headers": step["headers"], "credentials": credential,
                });
                let request = OwnedRequest::from_json(&request).unwrap().unwrap();
                let now = Duration::from_millis(step["t"].as_u64().unwrap());
                let decision = control.authorize_at(Some(&request.as_request()), now);
                let place = format!("{} at {now:?}", vector["id"]);
                match decision {
                    Ok(_) => assert_eq!(step["code"], "ok", "{place}"),
                    Err(denied) => {
                        assert_eq!(step["code"], denied.code().as_str(), "{place}");
                        let seconds = json!(denied.retry_after_seconds());
                        assert_eq!(step["retryAfter"], seconds, "{place}");
                    }
                }
            }
        }
    }

    #[test]
    fn hsts_values() {
        for vector in section("hsts", 19, &["value", "result"]) {
            let value = vector["value"].as_str().unwrap();
            let config = json!({"gateway": {
                "auth": {"mode": "none"},
                "http": {"securityHeaders": {"strictTransportSecurity": value}},
            }});
            let loaded = load(&config, &json!({}), Own(Some(Vec::new())), &Arc::default());
            let sent = loaded.control.and_then(|control| {
                let secure = AccessRequest { tls: true, ..PLAIN };
                assert_eq!(control.strict_transport_security(&PLAIN), None, "{value}");
                control
                    .strict_transport_security(&secure)
                    .map(str::to_owned)
            });
            let mut result = match (&sent, codes(&loaded.errors).as_slice()) {
                (Some(sent), []) => {
                    assert_eq!(sent, value.trim(), "{value}");
                    "sent".to_owned()
                }
                (None, []) => "unset".to_owned(),
                (_, errors) => format!("error {}", errors.join(" ")),
            };
            for warning in codes(&loaded.warnings) {
                result += &format!(" + warning {warning}");
            }
            assert_eq!(vector["result"], result.as_str(), "{value}");
        }
    }

    const PLAIN: AccessRequest<'_> = AccessRequest {
        remote: Some("203.0.113.9"),
        local: None,
        headers: &[("", ""); 0],
        kind: openclaw_auth::access::ConnectionKind::Http,
        tls: false,
        credentials: None,
    };
}
