//! The listener that the browser comes back to.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use oauth2::url::{Host as UrlHost, Url};

use super::pages;
use super::pasted::{Expected, check_state, code_of, parameters};
use super::provider::is_loopback;
use crate::error::{Code, Error, Result};
use crate::host::{Connection, Host, Listener};
use crate::text::SecretText;

const MAX_LINE: usize = 8 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// Most connections that one sign-in answers.
pub(super) const MAX_CONNECTIONS: u32 = 64;

/// Listens where the redirect address leads, on the first port that is free. `None` when no
/// listener is possible or all ports are taken; the chosen redirect address in any case.
pub(super) fn listen(
    host: &Host,
    redirect: &str,
    ports: &[u16],
) -> (Option<Box<dyn Listener>>, String) {
    let with = |port: u16| redirect.replace("{port}", &port.to_string());
    let first = ports.first().copied().unwrap_or(0);
    for port in ports {
        let Some(addresses) = addresses(&with(*port), *port) else {
            return (None, with(first));
        };
        match host.sockets.listen(&addresses) {
            Ok(listener) => {
                let bound = listener.addresses().first().map_or(*port, SocketAddr::port);
                return (Some(listener), with(bound));
            }
            Err(error) => {
                log::debug!(target: "openclaw_auth::oauth", "cannot listen on port {port}: {}", error.kind());
            }
        }
    }
    (None, with(first))
}

/// The addresses behind a redirect; `None` when it does not lead to this machine.
fn addresses(redirect: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let url = Url::parse(redirect).ok()?;
    if url.scheme() != "http" || !is_loopback(&url) {
        return None;
    }
    let ips = match url.host()? {
        UrlHost::Domain(_) => vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ],
        UrlHost::Ipv4(ip) => vec![IpAddr::V4(ip)],
        UrlHost::Ipv6(ip) => vec![IpAddr::V6(ip)],
    };
    Some(
        ips.into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect(),
    )
}

/// What one request of the browser meant.
pub(super) enum Heard {
    /// Nothing for the sign-in; it has been answered.
    Nothing,
    /// The link of another sign-in; it has been answered.
    Foreign,
    /// The answer of the provider; the browser waits for the outcome.
    Redirect {
        address: SecretText,
        browser: Box<dyn Connection>,
    },
    /// The provider reports an error, or the answer is not its own; it has been answered.
    Ended(Error),
}

/// Answers one connection.
pub(super) fn hear(
    mut browser: Box<dyn Connection>,
    expected: &Expected<'_>,
    port: u16,
    settled: bool,
) -> Heard {
    if browser.set_timeout(IO_TIMEOUT).is_err() {
        return Heard::Nothing;
    }
    let request = match read_request(&mut *browser) {
        Ok(Some(request)) => request,
        Ok(None) => return refuse(browser, "400 Bad Request", "This is not a request."),
        // Gone, or silent; nobody to answer.
        Err(_) => return Heard::Nothing,
    };
    if request.method != "GET" {
        let page = pages::response(
            "405 Method Not Allowed",
            "Not allowed",
            "Only GET.",
            "Allow: GET\r\n",
        );
        return say(browser, &page);
    }
    if !is_own_host(&request.host, port) {
        return refuse(
            browser,
            "400 Bad Request",
            "This address does not belong to openclaw-auth.",
        );
    }
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    if path != expected.redirect.path() {
        return refuse(browser, "404 Not Found", "Not found.");
    }
    if settled {
        return refuse(
            browser,
            "409 Conflict",
            "This sign-in was already completed.",
        );
    }
    let all = parameters(query);
    let state = all.get("state").and_then(|states| states.first());
    if check_state(state.map(String::as_str), expected).is_err() {
        let text = "This sign-in link is not the one openclaw-auth is waiting for.";
        let page = pages::response("400 Bad Request", "Not this sign-in", text, "");
        say(browser, &page);
        return Heard::Foreign;
    }
    match code_of(&all, expected) {
        Ok(_) => {
            let mut address = expected.redirect.clone();
            address.set_query(Some(query));
            Heard::Redirect {
                address: SecretText::new(address.into()),
                browser,
            }
        }
        Err(error) => match error.code() {
            Code::OauthCodeMissing | Code::OauthInputInvalid => {
                let text = "The answer contained no authorization code.";
                refuse(browser, "400 Bad Request", text)
            }
            _ => {
                let page = pages::failure("400 Bad Request", &format!("{}.", error.message()));
                say(browser, &page);
                Heard::Ended(error)
            }
        },
    }
}

/// Sends a page and closes the connection.
pub(super) fn say(mut browser: Box<dyn Connection>, page: &[u8]) -> Heard {
    // A browser that has gone away has nothing to read.
    let _ = browser.write_all(page).and_then(|()| browser.flush());
    Heard::Nothing
}

fn refuse(browser: Box<dyn Connection>, status: &str, text: &str) -> Heard {
    let title = status.split_once(' ').map_or(status, |(_, title)| title);
    say(browser, &pages::response(status, title, text, ""))
}

struct Request {
    method: String,
    target: String,
    host: String,
}

/// Reads the head of a request. `None`: it is not one, or too long.
fn read_request(browser: &mut dyn Connection) -> std::io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut chunk = [0u8; 2048];
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if head.len() > MAX_HEAD {
            return Ok(None);
        }
        let count = browser.read(&mut chunk)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(chunk.get(..count).unwrap_or_default());
    };
    let head = head
        .get(..end)
        .and_then(|head| std::str::from_utf8(head).ok());
    Ok(head.and_then(parse))
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let line = lines.next().filter(|line| line.len() <= MAX_LINE)?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let host = hosts.next().unwrap_or_default().to_owned();
    if hosts.next().is_some() {
        return None;
    }
    Some(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        host,
    })
}

/// A page of elsewhere whose name was made to lead here has another `Host`.
fn is_own_host(host: &str, port: u16) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    is_loopback(&url) && url.port_or_known_default() == Some(port)
}

/// `oauth_callback_timeout`.
pub(super) fn timeout(after_ms: u64) -> Error {
    let message = format!("no sign-in answer within {} s", after_ms / 1_000);
    Error::new(Code::OauthCallbackTimeout, message).retryable(true)
}

/// What is checked before the address is shown.
pub(super) fn redirect_url(text: &str, provider: &str) -> Result<Url> {
    Url::parse(text)
        .map_err(|_| super::provider::invalid(provider, "redirectUri", "is not an address"))
}
