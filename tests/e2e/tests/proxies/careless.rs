//! Proxies that add the user instead of replacing it: the gateway refuses what is ambiguous, and
//! serves everybody who forges nothing.

use super::client::secure;
use super::fronts::{BASIC, SESSION, start_apache, start_caddy_with, start_envoy, start_haproxy};
use super::site::Site;

const USER: &str = "X-Forwarded-User";

/// An honest request passes; a forged one is refused by the gateway with one of these codes.
fn judge(site: &Site, login: (&str, &str), refusals: &[&str]) {
    let whoami = "/_auth/whoami";
    let honest = secure(&site.net, whoami, &[login]);
    assert_eq!(honest.text_of("user"), "nick@example.com", "{honest:?}");
    let forged = secure(&site.net, whoami, &[login, (USER, "mallory@example.com")]);
    assert!(refusals.contains(&forged.code().as_str()), "{forged:?}");
}

#[test]
fn haproxy_that_adds() {
    let mut site = Site::new("haproxy");
    let set = format!("http-request set-header {USER}");
    let add = format!("http-request add-header {USER}");
    start_haproxy(&mut site, &[(&set, &add)]);
    judge(&site, BASIC, &["trusted_proxy_ambiguous_header"]);
}

#[test]
fn envoy_that_appends() {
    let mut site = Site::new("envoy");
    let append = "%\" }\n                      append_action: APPEND_IF_EXISTS_OR_ADD";
    let overwrite = "x-auth-request-email)%\" }\n                      \
                     append_action: OVERWRITE_IF_EXISTS_OR_ADD";
    let append = format!("x-auth-request-email){append}");
    let replacements = [
        (overwrite, append.as_str()),
        ("                    - x-forwarded-user\n", ""),
    ];
    start_envoy(&mut site, &replacements);
    judge(&site, SESSION, &["trusted_proxy_ambiguous_header"]);
}

#[test]
fn apache_that_appends() {
    let mut site = Site::new("apache");
    let set = format!("RequestHeader set {USER}");
    let append = format!("RequestHeader append {USER}");
    start_apache(&mut site, &[(&set, &append)]);
    // It joins both into one line.
    judge(&site, BASIC, &["trusted_proxy_user_invalid"]);
}

#[test]
fn caddy_that_adds() {
    let mut site = Site::new("caddy");
    site.login_double();
    let replacements = [
        ("        request_header -X-Forwarded-User\n", ""),
        (
            "copy_headers X-Auth-Request-Email>X-Forwarded-User",
            "copy_headers X-Auth-Request-Email",
        ),
        (
            "            flush_interval -1",
            "            header_up +X-Forwarded-User {http.request.header.X-Auth-Request-Email}",
        ),
    ];
    start_caddy_with(&mut site, &replacements);
    judge(&site, SESSION, &["trusted_proxy_ambiguous_header"]);
}
