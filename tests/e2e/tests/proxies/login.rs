//! The real oauth2-proxy behind nginx and Caddy: a sign-in with OpenID Connect, by redirects and
//! cookies as a browser follows them. The identity provider is a double: an nginx with fixed
//! answers and a key of its own.

use std::process::{Command, Output};
use std::time::SystemTime;

use super::client::{Answer, secure};
use super::fronts::{start_caddy, start_nginx};
use super::site::{Site, nginx};

#[test]
fn a_sign_in_at_oauth2_proxy_behind_nginx() {
    let mut site = Site::new("nginx");
    start_oauth2_proxy(&mut site);
    start_nginx(&mut site);
    sign_in(&site, "X-Auth-Request-Email");
}

#[test]
fn a_sign_in_at_oauth2_proxy_behind_caddy() {
    let mut site = Site::new("caddy");
    start_oauth2_proxy(&mut site);
    start_caddy(&mut site);
    sign_in(&site, "X-Forwarded-User");
}

fn sign_in(site: &Site, user_header: &str) {
    let whoami = |lines: &[(&str, &str)]| secure(&site.net, "/_auth/whoami", lines);
    let answer = whoami(&[(user_header, "nick@example.com")]);
    assert!(matches!(answer.status, 302 | 401 | 403), "{answer:?}");
    assert_eq!(answer.code(), "", "it came to the gateway: {answer:?}");

    let start = secure(&site.net, "/oauth2/start?rd=%2F", &[]);
    assert_eq!(start.status, 302, "{start:?}");
    let (_, state) = line(&start, "location").split_once("state=").unwrap();
    let state = state.split('&').next().unwrap();
    let callback = format!("/oauth2/callback?code=anything&state={state}");
    let back = secure(&site.net, &callback, &[("Cookie", &cookies(&start))]);
    assert_eq!(back.status, 302, "{back:?}");
    let session = cookies(&back);
    let session = ("Cookie", session.as_str());

    let answer = whoami(&[session]);
    assert_eq!(answer.text_of("user"), "nick@example.com", "{answer:?}");
    let answer = whoami(&[session, (user_header, "mallory@example.com")]);
    assert_eq!(answer.text_of("user"), "nick@example.com", "{answer:?}");
    let spoilt = format!("{}x", session.1);
    let answer = whoami(&[("Cookie", &spoilt)]);
    assert_eq!(answer.text_of("user"), "", "{answer:?}");
}

/// The value of the first line of a header.
fn line<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let mut lines = answer.text.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name}: {answer:?}")).1
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(answer: &Answer) -> String {
    let lines = answer.text.lines().filter_map(|line| line.split_once(": "));
    let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs = set.filter_map(|(_, cookie)| cookie.split(';').next());
    let pairs: Vec<&str> = pairs
        .filter(|pair| !pair.trim_end().ends_with("proxy="))
        .collect();
    assert!(!pairs.is_empty(), "no cookies: {answer:?}");
    pairs.join("; ")
}

/// Starts the identity provider and oauth2-proxy, as the preset says.
fn start_oauth2_proxy(site: &mut Site) {
    let key = site.text_of("issuer.pem");
    run(Command::new("openssl").args(["genrsa", "-out", &key, "2048"]));
    let provider = PROVIDER
        .replace("MODULUS", &modulus(&key))
        .replace("TOKEN", &token(site, &key));
    let config = site.write("provider/nginx.conf", &nginx(&provider));
    let prefix = site.text_of("provider");
    site.start("nginx", &["-p", &prefix, "-c", &config], "127.0.0.1:4181");

    let program = std::env::var("OPENCLAW_AUTH_OAUTH2_PROXY");
    let program = program.unwrap_or_else(|_| "oauth2-proxy".to_owned());
    // The options of the preset's comment.
    let printed = site.printed();
    let mut options: Vec<&str> = printed
        .lines()
        .map(|line| line.trim().trim_start_matches('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("--"))
        .collect();
    assert_eq!(options.len(), 5, "{options:?}");
    options.extend([
        "--http-address=127.0.0.1:4180",
        "--provider=oidc",
        "--oidc-issuer-url=http://127.0.0.1:4181",
        "--client-id=claw",
        "--client-secret=stand-in",
        "--cookie-secret=0123456789abcdef0123456789abcdef",
        "--redirect-url=https://claw.example.com/oauth2/callback",
    ]);
    site.start(&program, &options, "127.0.0.1:4180");
}

/// A signed token for `nick@example.com` (RFC 7519).
fn token(site: &Site, key: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let head = base64url(br#"{"alg":"RS256","typ":"JWT","kid":"k"}"#);
    let claims = format!(
        r#"{{"iss":"http://127.0.0.1:4181","aud":"claw","sub":"1","email":"nick@example.com","email_verified":true,"iat":{now},"exp":{}}}"#,
        now + 3600
    );
    let signed = format!("{head}.{}", base64url(claims.as_bytes()));
    let input = site.write("token", &signed);
    let signing = run(Command::new("openssl").args(["dgst", "-sha256", "-sign", key, &input]));
    format!("{signed}.{}", base64url(&signing.stdout))
}

/// The modulus of a key as a JWK has it (RFC 7518, section 6.3).
fn modulus(key: &str) -> String {
    let said = run(Command::new("openssl").args(["rsa", "-in", key, "-noout", "-modulus"]));
    let said = String::from_utf8(said.stdout).unwrap();
    let hex = said.trim().strip_prefix("Modulus=").unwrap();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    };
    base64url(&hex.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>())
}

fn base64url(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes(bits);
        for digit in 0..=chunk.len() {
            let shift = 18 - 6 * digit;
            text.push(alphabet[usize::try_from(number >> shift & 63).unwrap()]);
        }
    }
    text
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

const PROVIDER: &str = r#"
  server {
    listen 127.0.0.1:4181;
    default_type application/json;
    location = /.well-known/openid-configuration {
      return 200 '{"issuer":"http://127.0.0.1:4181","authorization_endpoint":"http://127.0.0.1:4181/authorize","token_endpoint":"http://127.0.0.1:4181/token","jwks_uri":"http://127.0.0.1:4181/keys","response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}';
    }
    location = /keys {
      return 200 '{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"k","e":"AQAB","n":"MODULUS"}]}';
    }
    location = /token {
      return 200 '{"access_token":"stand-in","token_type":"Bearer","expires_in":3600,"id_token":"TOKEN"}';
    }
  }
"#;
