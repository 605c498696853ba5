//! The proxies: how each is started on its preset, and what becomes of other spellings of the
//! user header.

use std::process::Command;

use super::examine::{Fate, Front, examine};
use super::site::{Site, front, nginx};

pub(crate) const SESSION: (&str, &str) = ("Cookie", "session=nick");
const NAMELESS: Option<(&str, &str)> = Some(("Cookie", "session=nameless"));
/// `nick@example.com` with the password `secret`.
pub(crate) const BASIC: (&str, &str) = ("Authorization", "Basic bmlja0BleGFtcGxlLmNvbTpzZWNyZXQ=");

#[test]
fn nginx_with_a_login_proxy() {
    let mut site = Site::new("nginx");
    site.login_double();
    start_nginx(&mut site);
    examine(&Front {
        site: &site,
        login: SESSION,
        nameless: NAMELESS,
        user_header: "X-Auth-Request-Email",
        // nginx drops names with any special character but the dash.
        aliases: [Fate::Dropped; 3],
    });
}

/// Starts nginx on the printed configuration.
pub(crate) fn start_nginx(site: &mut Site) {
    let secret = site.write("secret.conf", &secret_line());
    let (cert, key) = (site.text_of("cert.pem"), site.text_of("key.pem"));
    let server = site.adapted(&[
        ("/etc/nginx/tls/fullchain.pem", &cert),
        ("/etc/nginx/tls/privkey.pem", &key),
        ("/etc/nginx/openclaw-proxy-secret.conf", &secret),
    ]);
    let config = site.write("front/nginx.conf", &nginx(&server));
    let prefix = site.text_of("front");
    site.start("nginx", &["-p", &prefix, "-c", &config], &front());
}

pub(crate) fn secret_line() -> String {
    format!(
        "proxy_set_header X-Openclaw-Proxy-Secret \"{}\";\n",
        super::site::SECRET
    )
}

#[test]
fn caddy_with_forward_auth() {
    let mut site = Site::new("caddy");
    site.login_double();
    start_caddy(&mut site);
    examine(&Front {
        site: &site,
        login: SESSION,
        nameless: NAMELESS,
        user_header: "X-Forwarded-User",
        // The preset deletes names with `_` and `.`; the gateway refuses the rest.
        aliases: [Fate::Dropped, Fate::Dropped, Fate::RefusedByGateway],
    });
}

/// Starts Caddy on the printed configuration.
pub(crate) fn start_caddy(site: &mut Site) {
    start_caddy_with(site, &[]);
}

/// The same with more replacements.
pub(crate) fn start_caddy_with(site: &mut Site, more: &[(&str, &str)]) {
    let tls = format!(
        "claw.example.com {{\n    tls {} {}\n",
        site.text_of("cert.pem"),
        site.text_of("key.pem")
    );
    let usual = [("claw.example.com {\n", tls.as_str())];
    let sites = site.adapted(&[&usual[..], more].concat());
    let options = "{\n    admin off\n    auto_https disable_redirects\n}\n";
    let config = site.write("Caddyfile", &format!("{options}{sites}"));
    let arguments = ["run", "--config", &config, "--adapter", "caddyfile"];
    site.start("caddy", &arguments, &front());
}

#[test]
fn haproxy_with_its_own_login() {
    let mut site = Site::new("haproxy");
    start_haproxy(&mut site, &[]);
    examine(&Front {
        site: &site,
        login: BASIC,
        nameless: None,
        user_header: "X-Forwarded-User",
        aliases: [Fate::Dropped; 3],
    });
}

/// Starts HAProxy on the printed configuration with more replacements.
pub(crate) fn start_haproxy(site: &mut Site, more: &[(&str, &str)]) {
    let both = site.text_of("both.pem");
    let usual = [
        ("password REPLACE_WITH_A_HASH", "insecure-password secret"),
        ("/etc/haproxy/tls/claw.pem", both.as_str()),
    ];
    let config = site.adapted(&[&usual[..], more].concat());
    let config = site.write("haproxy.cfg", &config);
    site.start("haproxy", &["-db", "-f", &config], &front());
}

#[test]
fn apache_with_a_login_module() {
    let mut site = Site::new("apache");
    start_apache(&mut site, &[]);
    examine(&Front {
        site: &site,
        login: BASIC,
        nameless: None,
        user_header: "X-Forwarded-User",
        // The preset deletes these two spellings; the gateway refuses the rest.
        aliases: [Fate::Dropped, Fate::Dropped, Fate::RefusedByGateway],
    });
}

/// Starts Apache on the printed configuration with more replacements.
pub(crate) fn start_apache(site: &mut Site, more: &[(&str, &str)]) {
    let hash = Command::new("openssl")
        .args(["passwd", "-apr1", "secret"])
        .output()
        .unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let users = site.write("users", &format!("nick@example.com:{hash}"));
    let login = format!("AuthType Basic\n    AuthName claw\n    AuthUserFile {users}");
    let (cert, key) = (site.text_of("cert.pem"), site.text_of("key.pem"));
    let usual = [
        ("AuthType openid-connect", login.as_str()),
        ("/etc/apache2/tls/fullchain.pem", cert.as_str()),
        ("/etc/apache2/tls/privkey.pem", key.as_str()),
    ];
    let host = site.adapted(&[&usual[..], more].concat());
    // A module of the login that stands in for mod_auth_openidc.
    let host: String = host
        .lines()
        .filter(|line| !line.trim_start().starts_with("OIDC"))
        .map(|line| format!("{line}\n"))
        .collect();
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let folder = site.text_of("apache");
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!(
        "ServerRoot {folder}\nServerName claw.example.com\nPidFile {folder}/pid\n\
         DefaultRuntimeDir {folder}\nErrorLog /dev/stderr\nUser www-data\nGroup www-data\n\
         Listen 443\n{modules}{host}"
    );
    let config = site.write("apache.conf", &config);
    site.start("apache2", &["-f", &config, "-DFOREGROUND"], &front());
}

const MODULES: &[&str] = &[
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "socache_shmcb",
    "ssl",
    "headers",
    "proxy",
    "proxy_http",
    "proxy_wstunnel",
    "rewrite",
];

#[test]
fn envoy_with_ext_authz() {
    let mut site = Site::new("envoy");
    start_envoy(&mut site, &[]);
    examine(&Front {
        site: &site,
        login: SESSION,
        nameless: NAMELESS,
        user_header: "X-Forwarded-User",
        // Envoy itself refuses `_` only.
        aliases: [
            Fate::RefusedByProxy,
            Fate::RefusedByGateway,
            Fate::RefusedByGateway,
        ],
    });
}

/// Starts Envoy on the printed configuration with more replacements, and a login for it.
pub(crate) fn start_envoy(site: &mut Site, more: &[(&str, &str)]) {
    site.login_double();
    let (cert, key) = (site.text_of("cert.pem"), site.text_of("key.pem"));
    let usual = [
        ("/etc/envoy/tls/fullchain.pem", cert.as_str()),
        ("/etc/envoy/tls/privkey.pem", key.as_str()),
    ];
    let config = site.adapted(&[&usual[..], more].concat());
    let config = site.write("envoy.yaml", &config);
    let program = std::env::var("OPENCLAW_AUTH_ENVOY").unwrap_or_else(|_| "envoy".to_owned());
    let arguments = [
        "-c",
        &config,
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "warn",
    ];
    site.start(&program, &arguments, &front());
}
