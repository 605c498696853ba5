//! Around the proxy: who connects from where, and what the probe says about it.

use super::client::{direct, direct_to};
use super::net::{GATEWAY, Room};
use super::probe::{audit, probe, told};
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

/// A proxy on the gateway's own host: every program there has its address.
#[test]
fn on_one_host_only_the_secret_keeps_other_programs_out() {
    let asked = |site: &Site| {
        direct_to(
            &site.net,
            Room::Gateway,
            "127.0.0.1",
            "/_auth/whoami",
            &NICK,
        )
    };
    let risk = "gateway.trusted_proxy_allow_loopback warn".to_owned();

    let open = Site::on_one_host("nginx", &[]);
    assert_eq!(asked(&open).text_of("user"), "nick@example.com");
    assert!(
        told(&audit(&open, &[]).1).contains(&risk),
        "the audit must say so"
    );

    let proven = Site::on_one_host("nginx", &["--secret"]);
    assert_eq!(asked(&proven).code(), "trusted_proxy_secret_missing");
    assert!(!told(&audit(&proven, &[]).1).contains(&risk));
}
