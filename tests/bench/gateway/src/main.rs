//! Runs wrk against the gateway and against a bare hyper server, in turns, and prints one table.
//!
//! `bench-gateway GATEWAY BARE-SERVER [SECONDS]`, with the two programs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program deals with the system itself"
)]

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A server that ends with this value.
struct Server {
    child: Child,
    url: String,
    /// Kept open: a server may still want to say something.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ");
        let url = url.ok_or("the server did not start")?.to_owned();
        Ok(Self {
            child,
            url,
            _stdout: stdout,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What wrk found.
#[derive(Clone, Copy)]
struct Found {
    per_second: f64,
    p99_ms: f64,
    bad: u64,
}

fn wrk(url: &str, connections: u32, seconds: u32) -> Outcome<Found> {
    let output = Command::new("wrk")
        .args(["-t2", "--latency"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .args(["-H", "X-Forwarded-Proto: https"])
        .args(["-H", "X-Forwarded-User: nick@example.com"])
        .arg(url)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let after = |mark: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(mark));
        line.map(str::trim)
    };
    let p99 = after("99%").ok_or("wrk tells no latency")?;
    let unit = p99.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = p99.trim_end_matches(unit).parse()?;
    let p99_ms = match unit {
        "us" => number / 1000.0,
        "ms" => number,
        _ => number * 1000.0,
    };
    Ok(Found {
        per_second: after("Requests/sec:").ok_or("wrk tells no rate")?.parse()?,
        p99_ms,
        bad: after("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?,
    })
}

/// Both servers in turns, and the turn whose ratio is the middle one: other programs disturb
/// single turns.
fn compare(ours: &str, bare: &str, connections: u32, seconds: u32) -> Outcome<(Found, Found)> {
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        turns.push((
            wrk(ours, connections, seconds)?,
            wrk(bare, connections, seconds)?,
        ));
    }
    let ratio = |(ours, bare): &(Found, Found)| ours.per_second / bare.per_second;
    turns.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    turns
        .get(TURNS / 2)
        .copied()
        .ok_or_else(|| "no turn".into())
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(gateway), Some(bare)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench-gateway GATEWAY BARE-SERVER [SECONDS]".into());
    };
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("bench-gateway-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = run(&gateway, &bare, &folder, seconds);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn run(gateway: &str, bare: &str, folder: &Path, seconds: u32) -> Outcome<()> {
    let config = folder.join("openclaw.json");
    fs::write(&config, SETTINGS)?;
    let ours = Server::start(
        Command::new(gateway)
            .args([
                "gateway",
                "run",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--config",
            ])
            .arg(&config)
            .arg("--access-log")
            .arg(folder.join("access.log"))
            .env_clear()
            .env("HOME", folder)
            .env("OPENCLAW_STATE_DIR", folder),
    )?;
    let bare = Server::start(&mut Command::new(bare))?;
    println!("| what | gateway | bare hyper | ratio | wanted |");
    println!("|---|---|---|---|---|");
    for path in ["/healthz", "/_auth/whoami"] {
        let (a, b) = compare(&format!("{}{path}", ours.url), &bare.url, 64, seconds)?;
        println!(
            "| {path}, requests per second, 64 connections | {:.0} | {:.0} | {:.2} | >= 0.85 |",
            a.per_second,
            b.per_second,
            a.per_second / b.per_second
        );
        if a.bad > 0 {
            return Err(format!("{path}: {} answers were not 200", a.bad).into());
        }
    }
    let (a, b) = compare(
        &format!("{}/_auth/whoami", ours.url),
        &bare.url,
        500,
        seconds,
    )?;
    println!(
        "| /_auth/whoami, p99 in ms, 500 connections | {:.1} | {:.1} | {:.2} | < 2 |",
        a.p99_ms,
        b.p99_ms,
        a.p99_ms / b.p99_ms
    );
    Ok(())
}

const TURNS: usize = 3;

const SETTINGS: &str = r#"{
  gateway: {
    trustedProxies: ["127.0.0.1"],
    auth: {
      mode: "trusted-proxy",
      trustedProxy: {
        userHeader: "x-forwarded-user",
        requiredHeaders: ["x-forwarded-proto"],
        allowUsers: ["nick@example.com"],
      },
    },
  },
}"#;
