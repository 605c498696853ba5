//! What a decision allocates: nothing when it refuses, the user's name when it accepts.

#[cfg(test)]
mod allocations {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Arc;

    use openclaw_auth::SecretText;
    use openclaw_auth::access::{
        AccessControl, AccessInput, AccessRequest, ConnectionKind, Denied, Identity, Limiter,
        SecretInput,
    };
    use openclaw_auth::host::{Host, Interfaces};
    use serde_json::{Value, json};

    struct Own;

    impl Interfaces for Own {
        fn addresses(&self) -> io::Result<Vec<IpAddr>> {
            Ok(vec![[10, 0, 0, 7].into()])
        }
    }

    fn control(auth: &Value, token: Option<&str>) -> AccessControl {
        let config = json!({"gateway": {
            "trustedProxies": ["10.0.0.0/24", "127.0.0.1"],
            "auth": auth,
        }});
        let literal = |text: &str| SecretInput::Literal(SecretText::new(text.to_owned()));
        let input = AccessInput {
            token: token.map(literal).unwrap_or_default(),
            proxy_secret: literal("0123456789abcdef0123456789abcdef"),
            ..AccessInput::new(&config, Arc::new(Own), Host::real().clock)
        };
        let loaded = AccessControl::load(input, Arc::new(Limiter::new()));
        loaded
            .control
            .unwrap_or_else(|| panic!("{:?}", loaded.errors))
    }

    fn by_proxy(proxy_secret: bool) -> AccessControl {
        let mut auth = json!({"mode": "trusted-proxy", "trustedProxy": {
            "userHeader": "x-user",
            "requiredHeaders": ["x-forwarded-proto"],
            "allowUsers": ["nick@example.com", "*@ops.example"],
            "allowUsersMatch": "email-ci",
        }});
        if proxy_secret {
            auth["trustedProxy"]["proxySecret"] = json!({"header": "x-secret"});
        }
        control(&auth, None)
    }

    /// The decision, and how many allocations it took.
    fn measure(
        control: &AccessControl,
        remote: &str,
        headers: &[(&str, &str)],
    ) -> (Result<Identity, Denied>, u64) {
        let request = AccessRequest {
            remote: Some(remote),
            local: None,
            headers: &headers,
            kind: ConnectionKind::Http,
            tls: false,
            credentials: None,
        };
        let mut decision = None;
        let counted = allocation_counter::measure(|| {
            decision = Some(control.authorize(Some(&request)));
        });
        (decision.unwrap(), counted.count_total)
    }

    const USER: (&str, &str) = ("X-User", "Nick@Example.com");
    const PROTO: (&str, &str) = ("X-Forwarded-Proto", "https");

    #[test]
    fn judging_allocates_for_folded_capitals_only() {
        let control = by_proxy(false);
        for (user, allocations) in [("nick@example.com", 0), ("Nick@Example.com", 1)] {
            let headers = [("X-User", user), PROTO];
            let request = AccessRequest {
                remote: Some("10.0.0.9"),
                local: None,
                headers: &headers,
                kind: ConnectionKind::Http,
                tls: false,
                credentials: None,
            };
            let mut judged = None;
            let counted = allocation_counter::measure(|| {
                judged = Some(control.judge(Some(&request)));
            });
            let admitted = judged.unwrap().unwrap();
            assert_eq!(admitted.user.as_deref(), Some("nick@example.com"));
            assert_eq!(counted.count_total, allocations, "{user}");
        }
    }

    #[test]
    fn refusals_allocate_nothing() {
        let proxy = by_proxy(false);
        let secret = by_proxy(true);
        let token = control(&json!({"mode": "token"}), Some("0123456789abcdef01234567"));
        let open = control(&json!({"mode": "none", "adminUsers": []}), None);
        let long_chain = "10.0.0.9,".repeat(500);
        for (control, remote, headers, code) in [
            (
                &proxy,
                "203.0.113.9",
                &[USER, PROTO][..],
                "trusted_proxy_untrusted_source",
            ),
            (
                &proxy,
                "junk",
                &[USER, PROTO],
                "trusted_proxy_untrusted_source",
            ),
            (
                &proxy,
                "10.0.0.7",
                &[USER, PROTO],
                "trusted_proxy_local_interface_source",
            ),
            (
                &proxy,
                "127.0.0.1",
                &[("Host", "evil.example:1")],
                "host_not_allowed",
            ),
            (
                &proxy,
                "10.0.0.1",
                &[USER, USER],
                "trusted_proxy_ambiguous_header",
            ),
            (&proxy, "10.0.0.1", &[USER], "trusted_proxy_missing_header"),
            (&proxy, "10.0.0.1", &[PROTO], "trusted_proxy_user_missing"),
            (
                &proxy,
                "10.0.0.1",
                &[PROTO, ("X-User", "{u}")],
                "trusted_proxy_user_missing",
            ),
            (
                &proxy,
                "10.0.0.1",
                &[PROTO, ("X-User", "a,b")],
                "trusted_proxy_user_invalid",
            ),
            (
                &proxy,
                "10.0.0.1",
                &[PROTO, ("X-User", "A@B.com")],
                "trusted_proxy_user_not_allowed",
            ),
            (
                &proxy,
                "10.0.0.1",
                &[
                    PROTO,
                    USER,
                    ("Origin", "https://evil.example"),
                    ("X-Forwarded-For", &long_chain),
                ],
                "trusted_proxy_origin_not_allowed",
            ),
            (
                &secret,
                "10.0.0.1",
                &[PROTO, USER],
                "trusted_proxy_secret_missing",
            ),
            (
                &secret,
                "10.0.0.1",
                &[PROTO, USER, ("x-secret", "wrong")],
                "trusted_proxy_secret_mismatch",
            ),
            (&token, "203.0.113.9", &[], "token_missing"),
            (
                &token,
                "203.0.113.9",
                &[("Authorization", "Basic !")],
                "token_missing",
            ),
            (
                &open,
                "127.0.0.1",
                &[("Host", "evil.example:1")],
                "host_not_allowed",
            ),
        ] {
            let (decision, allocations) = measure(control, remote, headers);
            assert_eq!(
                decision.unwrap_err().code().as_str(),
                code,
                "{remote} {headers:?}"
            );
            assert_eq!(allocations, 0, "{code}");
        }
    }

    #[test]
    fn a_user_costs_its_name() {
        let proxy = by_proxy(false);
        let chain = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "203.0.113.7, 10.0.0.2"),
        ];
        let headers = [USER, PROTO, ("Accept", "*/*"), chain[0], chain[1]];
        let (decision, allocations) = measure(&proxy, "10.0.0.1", &headers);
        let identity = decision.unwrap();
        assert_eq!(identity.user.as_deref(), Some("nick@example.com"));
        assert_eq!(identity.client_ip, Some([203, 0, 113, 7].into()));
        assert_eq!(allocations, 1);
    }

    #[test]
    fn a_right_token_costs_nothing() {
        let token = control(&json!({"mode": "token"}), Some("0123456789abcdef01234567"));
        for value in [
            "Bearer 0123456789abcdef01234567",
            "Basic eDowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc=",
        ] {
            let (decision, allocations) =
                measure(&token, "203.0.113.9", &[("Authorization", value)]);
            assert!(decision.is_ok(), "{value}");
            assert_eq!(allocations, 0, "{value}");
        }
    }
}
