//! A client that sends exactly the lines it is told to, over TLS or not, from any room.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::net::{FRONT, GATEWAY, Killed, Net, Room};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The host name of the presets.
pub(crate) const HOST: &str = "claw.example.com";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// GET over TLS from the client to the proxy.
pub(crate) fn secure(net: &Net, path: &str, lines: &[(&str, &str)]) -> Answer {
    let address = format!("{FRONT}:443");
    let arguments = [
        "s_client",
        "-quiet",
        "-connect",
        &address,
        "-servername",
        HOST,
    ];
    exchange(
        net,
        Room::Client,
        "openssl",
        &arguments,
        &request(path, lines),
    )
}

/// GET without TLS from a room to the gateway itself.
pub(crate) fn direct(net: &Net, room: Room, path: &str, lines: &[(&str, &str)]) -> Answer {
    direct_to(net, room, GATEWAY, path, lines)
}

/// The same to another address of the gateway.
pub(crate) fn direct_to(
    net: &Net,
    room: Room,
    address: &str,
    path: &str,
    lines: &[(&str, &str)],
) -> Answer {
    let request = request(path, lines);
    let length = request.len();
    let script = format!("exec 3<>/dev/tcp/{address}/18789; head -c {length} >&3; cat <&3");
    exchange(net, room, "bash", &["-c", &script], &request)
}

fn request(path: &str, lines: &[(&str, &str)]) -> String {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n");
    if !lines.iter().any(|(name, _)| *name == "Connection") {
        text.push_str("Connection: close\r\n");
    }
    for (name, value) in lines {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

fn exchange(net: &Net, room: Room, program: &str, arguments: &[&str], request: &str) -> Answer {
    let mut command = net.command(room, program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = command.spawn();
    let mut child = Killed(child.unwrap_or_else(|error| panic!("{program}: {error}")));
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).unwrap();
    stdin.flush().unwrap();
    let mut stdout = child.0.stdout.take().unwrap();
    let (send, received) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(read @ 1..) = stdout.read(&mut chunk) {
            if send.send(chunk[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        match received.recv_timeout(PATIENCE) {
            Ok(more) => bytes.extend(more),
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
    Answer { status, text }
}

/// A tunnel stays open after its head, and an answer to an upgrade may.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse::<usize>().ok())?
    });
    text.starts_with("HTTP/1.1 101 ")
        || length.is_some_and(|length| body.len() >= length)
        || (body.ends_with("0\r\n\r\n") && length.is_none())
}

impl Answer {
    /// The JSON body; null for anything else.
    pub(crate) fn json(&self) -> Value {
        let body = self
            .text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body);
        let object = body.find('{').zip(body.rfind('}'));
        let object = object.map_or("", |(from, to)| &body[from..=to]);
        serde_json::from_str(object).unwrap_or_default()
    }

    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }

    /// The gateway's code; empty when the gateway did not refuse.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// How many lines of a header there are.
    pub(crate) fn count(&self, name: &str) -> usize {
        let head = self
            .text
            .split_once("\r\n\r\n")
            .map_or("", |(head, _)| head);
        let is_named = |line: &&str| {
            let (found, _) = line.split_once(':').unwrap_or_default();
            found.eq_ignore_ascii_case(name)
        };
        head.lines().filter(is_named).count()
    }
}
