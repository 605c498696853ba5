//! What must hold behind every proxy.

use super::client::{Answer, direct, secure};
use super::net::{CLIENT, Room};
use super::site::Site;

/// A proxy that runs in front of a gateway.
pub(crate) struct Front<'a> {
    pub(crate) site: &'a Site,
    /// The line with which `nick@example.com` is logged in.
    pub(crate) login: (&'static str, &'static str),
    /// The line of a login without a name, where there can be one.
    pub(crate) nameless: Option<(&'static str, &'static str)>,
    /// The header in which this proxy names the user.
    pub(crate) user_header: &'static str,
    /// What becomes of the user header spelled with `_`, with `.` and with `~`.
    pub(crate) aliases: [Fate; 3],
}

/// What becomes of a request with a forged line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The line does not arrive; the request does.
    Dropped,
    RefusedByGateway,
    RefusedByProxy,
}

const WHOAMI: &str = "/_auth/whoami";
const MALLORY: &str = "mallory@example.com";

/// Everything.
pub(crate) fn examine(front: &Front<'_>) {
    front.the_identity_arrives();
    front.nobody_comes_in_without_a_login();
    front.forged_identities_are_replaced();
    front.other_spellings_do_nothing();
    front.a_login_without_a_name_is_refused();
    front.the_client_address_is_the_clients();
    front.the_secret_is_the_proxys();
    front.upgrades_are_authenticated_too();
    front.hsts_comes_from_the_proxy_alone();
}

impl Front<'_> {
    fn get(&self, lines: &[(&str, &str)]) -> Answer {
        let lines = [&[self.login], lines].concat();
        secure(&self.site.net, WHOAMI, &lines)
    }

    fn is_nick(answer: &Answer) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text_of("user"), "nick@example.com", "{answer:?}");
    }

    fn the_identity_arrives(&self) {
        let answer = self.get(&[]);
        Self::is_nick(&answer);
        assert_eq!(answer.text_of("method"), "trusted-proxy");
    }

    fn nobody_comes_in_without_a_login(&self) {
        for forged in [&[][..], &[(self.user_header, "nick@example.com")]] {
            let answer = secure(&self.site.net, WHOAMI, forged);
            let by_proxy = matches!(answer.status, 302 | 401 | 403) && answer.code().is_empty();
            assert!(by_proxy, "{forged:?}: {answer:?}");
        }
    }

    fn forged_identities_are_replaced(&self) {
        let lower = self.user_header.to_lowercase();
        let forged = (self.user_header, MALLORY);
        for lines in [
            &[forged][..],
            &[forged, forged],
            &[(self.user_header, ""), forged],
            &[forged, (lower.as_str(), MALLORY)],
        ] {
            Self::is_nick(&self.get(lines));
        }
    }

    fn other_spellings_do_nothing(&self) {
        for (mark, fate) in ["_", ".", "~"].into_iter().zip(self.aliases) {
            let name = self.user_header.replace('-', mark);
            let answer = self.get(&[(&name, MALLORY)]);
            let shown = (answer.status, answer.code());
            let shown = (shown.0, shown.1.as_str());
            match fate {
                Fate::Dropped => Self::is_nick(&answer),
                Fate::RefusedByGateway => {
                    assert_eq!(shown, (400, "trusted_proxy_ambiguous_header"), "{name}");
                }
                Fate::RefusedByProxy => assert_eq!(shown, (400, ""), "{name}"),
            }
        }
    }

    /// Also when the client supplies the name itself.
    fn a_login_without_a_name_is_refused(&self) {
        let Some(nameless) = self.nameless else {
            return;
        };
        for lines in [
            &[nameless][..],
            &[nameless, (self.user_header, "nick@example.com")],
        ] {
            let answer = secure(&self.site.net, WHOAMI, lines);
            assert_eq!(answer.code(), "trusted_proxy_user_missing", "{answer:?}");
            assert_eq!(answer.status, 403);
        }
    }

    fn the_client_address_is_the_clients(&self) {
        for lines in [
            &[][..],
            &[("X-Forwarded-For", "192.0.2.77")],
            &[
                ("X-Forwarded-For", "192.0.2.77"),
                ("X-Forwarded-For", "192.0.2.78"),
            ],
            &[("X-Real-IP", "192.0.2.77"), ("Forwarded", "for=192.0.2.77")],
        ] {
            let answer = self.get(lines);
            Self::is_nick(&answer);
            assert_eq!(answer.text_of("clientIp"), CLIENT, "{lines:?}: {answer:?}");
        }
    }

    fn the_secret_is_the_proxys(&self) {
        let forged = (
            "X-Openclaw-Proxy-Secret",
            "wrong-0123456789-0123456789-0123",
        );
        Self::is_nick(&self.get(&[forged]));
        // Without it the proxy's own address is worth nothing.
        let lines = [
            (self.user_header, "nick@example.com"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "claw.example.com"),
        ];
        let answer = direct(&self.site.net, Room::Proxy, WHOAMI, &lines);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.code(), "trusted_proxy_secret_missing");
    }

    fn upgrades_are_authenticated_too(&self) {
        let upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let net = &self.site.net;
        let logged_in = [&[self.login][..], &upgrade].concat();
        let answer = secure(net, "/ws", &logged_in);
        assert_eq!(answer.status, 101, "{answer:?}");
        // The answer to the key (RFC 6455, section 1.3) is the gateway's own.
        assert!(
            answer.text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{answer:?}"
        );
        let forged = [&[(self.user_header, "nick@example.com")][..], &upgrade].concat();
        let answer = secure(net, "/ws", &forged);
        assert!(matches!(answer.status, 302 | 401 | 403), "{answer:?}");
    }

    fn hsts_comes_from_the_proxy_alone(&self) {
        let hsts = "Strict-Transport-Security";
        let answer = self.get(&[]);
        assert_eq!(answer.count(hsts), 1, "{answer:?}");
        let answer = direct(&self.site.net, Room::Proxy, "/healthz", &[]);
        assert_eq!((answer.status, answer.count(hsts)), (200, 0), "{answer:?}");
    }
}
