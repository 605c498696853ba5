//! Around the proxy: who connects from where, and what the probe says about it.

use super::client::direct;
use super::net::{GATEWAY, Room};
use super::probe::{probe, told};
use super::site::{SECRET, Site};

/// Lines as the nginx preset would send them.
const NICK: [(&str, &str); 3] = [
    ("X-Auth-Request-Email", "nick@example.com"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "claw.example.com"),
];

#[test]
fn only_the_proxys_address_with_its_secret_comes_in() {
    let site = Site::new("nginx");
    let secret = [&NICK[..], &[("X-Openclaw-Proxy-Secret", SECRET)]].concat();
    let whoami = "/_auth/whoami";
    let answer = direct(&site.net, Room::Gateway, whoami, &secret);
    assert_eq!(answer.code(), "trusted_proxy_untrusted_source");
    let answer = direct(&site.net, Room::Proxy, whoami, &NICK);
    assert_eq!(answer.code(), "trusted_proxy_secret_missing");
    let answer = direct(&site.net, Room::Proxy, whoami, &secret);
    assert_eq!(answer.text_of("user"), "nick@example.com", "{answer:?}");
}

#[test]
fn without_the_secret_every_program_at_the_proxys_address_is_the_proxy() {
    let site = Site::with("nginx", &[]);
    let answer = direct(&site.net, Room::Proxy, "/_auth/whoami", &NICK);
    assert_eq!(answer.text_of("user"), "nick@example.com", "{answer:?}");

    // The probe says so, as a forged user was judged.
    let url = format!("http://{GATEWAY}:18789/");
    let (exit, found) = probe(&site, Room::Proxy, &["--direct", &url]);
    assert_eq!(exit, 1, "{found}");
    assert_eq!(
        told(&found),
        [
            "gateway.probe.direct_identity_accepted critical",
            "gateway.probe.direct_reachable warn"
        ]
    );
}

#[test]
fn a_gateway_that_can_be_reached_around_the_proxy_is_found() {
    let site = Site::new("nginx");
    let url = format!("http://{GATEWAY}:18789/");
    let (exit, found) = probe(&site, Room::Proxy, &["--direct", &url]);
    assert_eq!(exit, 2, "{found}");
    assert_eq!(told(&found), ["gateway.probe.direct_reachable warn"]);
    // The client has no way to the gateway: that is how it should be.
    let (exit, found) = probe(&site, Room::Client, &["--direct", &url, "--timeout", "3"]);
    assert_eq!(exit, 0, "{found}");
    assert_eq!(told(&found), [] as [&str; 0]);
}
