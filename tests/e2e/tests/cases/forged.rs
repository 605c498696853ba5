//! Identity headers that clients make up do not get through.

use std::net::Ipv4Addr;

use crate::support::{Gateway, Nginx, Place, Request};

fn world() -> (Place, Gateway, Nginx) {
    let place = Place::new();
    place.configure("");
    let gateway = Gateway::start(&place, &[]);
    let nginx = Nginx::start(&place, &gateway);
    (place, gateway, nginx)
}

fn ask() -> Request {
    Request::get("/_auth/whoami")
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Header lines of a client who wants to be the user that is let in.
const FORGERIES: &[&[(&str, &str)]] = &[
    &[("X-Forwarded-User", NICK)],
    &[("x-forwarded-user", NICK), ("X-FORWARDED-USER", NICK)],
    &[("X_Forwarded_User", NICK)],
    &[("X.Forwarded.User", NICK)],
    &[("X~Forwarded~User", NICK)],
    &[("X-Forwarded-User", NICK), ("X_Forwarded_User", NICK)],
    &[
        ("Connection", "close, X-Forwarded-User"),
        ("X-Forwarded-User", NICK),
    ],
    &[("X-Auth-Request-Email", NICK)],
];

const NICK: &str = "nick@example.com";

fn with(request: Request, lines: &[(&str, &str)]) -> Request {
    lines
        .iter()
        .fold(request, |request, (name, value)| request.line(name, value))
}

#[test]
fn behind_the_preset_only_the_login_counts() {
    let (_place, _gateway, nginx) = world();
    for lines in FORGERIES {
        let stranger = with(ask(), lines).send(nginx.front());
        assert_eq!(stranger.status, 401, "{lines:?}: {stranger:?}");

        let mallory = with(ask().session("mallory"), lines).send(nginx.front());
        assert_eq!(
            mallory.refusal(),
            refusal(403, "trusted_proxy_user_not_allowed"),
            "{lines:?}"
        );

        let nameless = with(ask().session("nameless"), lines).send(nginx.front());
        assert_eq!(
            nameless.refusal(),
            refusal(403, "trusted_proxy_user_missing"),
            "{lines:?}"
        );

        let other: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.replace("nick", "mallory")))
            .collect();
        let other: Vec<_> = other.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let nick = with(ask().session("nick"), &other).send(nginx.front());
        assert_eq!(nick.status, 200, "{other:?}: {nick:?}");
        assert_eq!(nick.json()["user"], NICK, "{other:?}");
    }
}

#[test]
fn gateway_refuses_what_a_lenient_proxy_lets_pass() {
    let (_place, _gateway, nginx) = world();
    let clean = ask().session("nick").send(nginx.lenient());
    assert_eq!(clean.status, 200, "{clean:?}");
    for (line, reason) in [
        (("X_Forwarded_User", NICK), "alias"),
        (("X.Forwarded.User", NICK), "alias"),
        (("X~Forwarded~User", NICK), "alias"),
        (("X-Forwarded_User", "mallory@example.com"), "alias"),
        (("Connection", "close, X-Forwarded-User"), "hop_by_hop"),
    ] {
        for session in ["nick", "mallory", "nameless"] {
            let answer = ask().session(session).line(line.0, line.1);
            let answer = answer.send(nginx.lenient());
            assert_eq!(
                answer.refusal(),
                refusal(400, "trusted_proxy_ambiguous_header"),
                "{session} {line:?}"
            );
            assert_eq!(answer.json()["error"]["reason"], reason, "{line:?}");
        }
    }
}

#[test]
fn gateway_refuses_what_a_careless_proxy_makes_ambiguous() {
    let (_place, _gateway, nginx) = world();
    let forged = ask().line("X-Forwarded-User", NICK);
    let https = ("X-Forwarded-Proto", "https");

    let no_proto = forged.send(nginx.careless());
    assert_eq!(
        no_proto.refusal(),
        refusal(403, "trusted_proxy_missing_header")
    );
    assert_eq!(no_proto.json()["error"]["header"], "x-forwarded-proto");

    let twice = with(forged.clone(), &[https, ("X-Forwarded-User", NICK)]);
    let twice = twice.send(nginx.careless());
    assert_eq!(
        twice.refusal(),
        refusal(400, "trusted_proxy_ambiguous_header")
    );
    assert_eq!(twice.json()["error"]["reason"], "repeated");

    // What no gateway can tell from a login. It shows that the refusals are due to the header.
    let once = with(forged, &[https]).send(nginx.careless());
    assert_eq!(once.json()["user"], NICK);
}

#[test]
fn nobody_gets_around_the_proxy() {
    let (_place, gateway, _nginx) = world();
    let other_source = gateway.way().from(Ipv4Addr::new(127, 0, 0, 2));
    for lines in FORGERIES {
        let answer = with(ask().line("X-Forwarded-Proto", "https"), lines).send(other_source);
        assert_eq!(
            answer.refusal(),
            refusal(403, "trusted_proxy_untrusted_source"),
            "{lines:?}"
        );
    }
    let by_the_proxy = ask()
        .line("X-Forwarded-Proto", "https")
        .line("X-Forwarded-User", NICK)
        .send(gateway.way());
    assert_eq!(by_the_proxy.status, 200, "{by_the_proxy:?}");
}
