//! Prints one table: what the floor program (or a bare server in JavaScript) needs, what the
//! gateway needs, and the ratio. Usage: `bench-gateway-start GATEWAY`, built for release.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures other programs deals with the system itself"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const STARTS: usize = 25;
const REQUESTS: usize = 4000;

fn main() {
    let gateway = PathBuf::from(
        std::env::args()
            .nth(1)
            .expect("usage: bench-gateway-start GATEWAY"),
    );
    let floor = std::env::current_exe()
        .expect("own path")
        .with_file_name("floor-server");
    let folder = std::env::temp_dir().join(format!("openclaw-auth-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("temporary folder");
    let config = folder.join("openclaw.json");
    // Without the limiter, which makes wrong guesses wait.
    let text = format!(
        "{{ gateway: {{ auth: {{ mode: 'token', token: '{TOKEN}', rateLimit: {{ enabled: false }} }} }} }}"
    );
    fs::write(&config, text).expect("configuration");

    let floor_start = |port: u16| {
        Command::new(&floor)
            .arg(&config)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("floor")
    };
    let gateway_start = |port: u16| {
        Command::new(&gateway)
            .args([
                "gateway",
                "run",
                "--port",
                &port.to_string(),
                "--access-log",
                "/dev/null",
                "--config",
            ])
            .arg(&config)
            .env("OPENCLAW_STATE_DIR", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gateway")
    };
    let script = folder.join("bare.mjs");
    fs::write(&script, BARE).expect("script");
    let node_start = |port: u16| {
        Command::new("node")
            .arg(&script)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("node")
    };

    println!(
        "{:<44} {:>12} {:>12} {:>8} {:>8}",
        "", "floor", "ours", "ratio", "target"
    );
    let (floor_ms, floor_kb) = starts(&floor_start);
    let (our_ms, our_kb) = starts(&gateway_start);
    row("start to first answer, ms", floor_ms, our_ms, 8.0);
    row("idle memory, KiB", floor_kb, our_kb, 5.0);
    if Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        let node = requests(&node_start, "/", "");
        let wrong = format!("Authorization: Bearer {}\r\n", TOKEN.replace('0', "x"));
        let right = format!("Authorization: Bearer {TOKEN}\r\n");
        println!("against a bare HTTP server in JavaScript:");
        row(
            "liveness on one connection, us",
            node,
            requests(&gateway_start, "/healthz", ""),
            1.0,
        );
        row(
            "refusing a wrong token, us",
            node,
            requests(&gateway_start, "/x", &wrong),
            1.0,
        );
        row(
            "authorised, not found, us",
            node,
            requests(&gateway_start, "/x", &right),
            1.0,
        );
    } else {
        println!("node is missing: no comparison with a server in JavaScript");
    }
    let _ = fs::remove_dir_all(folder);
}

const BARE: &str = r#"
import http from "node:http";
http.createServer((_, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end('{"ok":true}');
}).listen(Number(process.argv[2]), "127.0.0.1");
"#;

fn row(name: &str, floor: f64, ours: f64, target: f64) {
    println!(
        "{name:<44} {floor:>12.1} {ours:>12.1} {:>8.2} {target:>7.1}x",
        ours / floor
    );
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("port")
        .port()
}

fn connect(port: u16) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_nodelay(true).expect("no delay");
            return stream;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn ask(stream: &mut TcpStream, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("request");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).expect("answer");
        assert!(count > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let done = length.map_or_else(
            || body.ends_with("0\r\n\r\n"),
            |length: usize| body.len() >= length,
        );
        if done {
            return;
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median time from spawn to the first answer in ms, and resident memory at rest in KiB.
fn starts(start: &dyn Fn(u16) -> Child) -> (f64, f64) {
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..STARTS {
        let port = free_port();
        let begin = Instant::now();
        let running = Running(start(port));
        ask(&mut connect(port), "/healthz", "");
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(50));
        memory.push(resident(running.0.id()));
    }
    (median(times), median(memory))
}

fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))
        .expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("number")
}

/// Median time of one request on a kept-alive connection, in microseconds.
fn requests(start: &dyn Fn(u16) -> Child, path: &str, headers: &str) -> f64 {
    let port = free_port();
    let _running = Running(start(port));
    let mut stream = connect(port);
    for _ in 0..200 {
        ask(&mut stream, path, headers);
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        ask(&mut stream, path, headers);
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}
