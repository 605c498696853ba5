//! The price of one trusted-proxy decision with twelve headers, beside the floor: parse an
//! address, two hash look-ups, three header look-ups, copy the user.
//!
//! Prints a table of ratios after the measurements, because ratios hold on any machine.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use openclaw_auth::access::{AccessControl, AccessInput, AccessRequest, ConnectionKind, Limiter};
use openclaw_auth::host::{Host, Interfaces};
use serde_json::json;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    let mut table = Vec::new();
    let mut bench = |name: &str, work: &mut dyn FnMut()| {
        criterion.bench_function(name, |bencher| bencher.iter(&mut *work));
        table.push((name.to_owned(), nanoseconds(work)));
    };

    let floor = Floor::new();
    bench("floor", &mut || floor.run());
    for (name, proxies, remote) in [
        ("3 addresses", addresses(3), "10.0.0.1:50000"),
        ("3 CIDRs", cidrs(3), "10.0.0.9:50000"),
        ("1000 addresses", addresses(1_000), "10.0.0.1:50000"),
        ("1000 CIDRs", cidrs(1_000), "10.0.0.9:50000"),
        ("10000 CIDRs", cidrs(10_000), "10.0.0.9:50000"),
    ] {
        let control = control(&proxies);
        assert!(decide(&control, remote, &HEADERS));
        bench(name, &mut || {
            black_box(decide(&control, black_box(remote), black_box(&HEADERS)));
        });
    }
    let strict = control(&cidrs(3));
    for (name, remote, headers) in [
        ("denied: source", "203.0.113.9:1", HEADERS.to_vec()),
        (
            "denied: no user",
            "10.0.0.9:1",
            without("X-Forwarded-User", &HEADERS),
        ),
        (
            "denied: user",
            "10.0.0.9:1",
            with_user("mallory@example.com"),
        ),
    ] {
        assert!(!decide(&strict, remote, &headers));
        bench(name, &mut || {
            black_box(decide(&strict, black_box(remote), black_box(&headers)));
        });
    }

    let Some((_, floor)) = table.first().cloned() else {
        return;
    };
    let mut report = format!("{:<18}{:>10}{:>10}\n", "case", "ns", "x floor");
    for (name, ns) in table {
        report += &format!("{name:<18}{ns:>10.1}{:>10.2}\n", ns / floor);
    }
    let _ = io::Write::write_all(&mut io::stdout(), report.as_bytes());
}

/// Best of several runs, which is what a quiet machine would show.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn nanoseconds(work: &mut dyn FnMut()) -> f64 {
    const ROUNDS: u32 = 20_000;
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    };
    (0..20).map(|_| run(work)).fold(f64::INFINITY, f64::min)
}

type Line = (&'static str, &'static str);

const HEADERS: [Line; 12] = [
    ("Host", "claw.example.com"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef"),
    ("Connection", "keep-alive"),
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "claw.example.com"),
    ("X-Request-Id", "5b2f6a3e-8f4c-4a3d-9a55-0f6f5f0f3c1e"),
    ("X-Forwarded-User", "nick@example.com"),
];

fn without(name: &str, headers: &[Line]) -> Vec<Line> {
    headers
        .iter()
        .copied()
        .filter(|line| line.0 != name)
        .collect()
}

fn with_user(user: &'static str) -> Vec<Line> {
    let mut headers = without("X-Forwarded-User", &HEADERS);
    headers.push(("X-Forwarded-User", user));
    headers
}

fn decide(control: &AccessControl, remote: &str, headers: &[Line]) -> bool {
    let request = AccessRequest {
        remote: Some(remote),
        local: None,
        headers: &headers,
        kind: ConnectionKind::Http,
        tls: false,
        credentials: None,
    };
    black_box(control.authorize(Some(&request))).is_ok()
}

/// Scattered single addresses, the used one among them.
fn addresses(number: u32) -> Vec<String> {
    let scattered =
        (1..number).map(|n| IpAddr::from((n.wrapping_mul(2_654_435_761) | 1).to_be_bytes()));
    std::iter::once("10.0.0.1".to_owned())
        .chain(scattered.map(|ip| ip.to_string()))
        .collect()
}

/// Scattered subnets of many lengths, the used one among them.
fn cidrs(number: u32) -> Vec<String> {
    let scattered = (1..number).map(|n| {
        let prefix = 16 + n % 15;
        let address = (n.wrapping_mul(2_654_435_761) >> (32 - prefix)) << (32 - prefix);
        format!("{}/{prefix}", IpAddr::from(address.to_be_bytes()))
    });
    std::iter::once("10.0.0.0/24".to_owned())
        .chain(scattered)
        .collect()
}

struct Own;

impl Interfaces for Own {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![[192, 0, 2, 1].into()])
    }
}

fn control(proxies: &[String]) -> AccessControl {
    let config = json!({"gateway": {
        "bind": "lan",
        "trustedProxies": proxies,
        "auth": {"mode": "trusted-proxy", "trustedProxy": {
            "userHeader": "x-forwarded-user",
            "requiredHeaders": ["x-forwarded-proto"],
            "allowUsers": ["nick@example.com", "ann@example.com"],
        }},
    }});
    let input = AccessInput::new(&config, Arc::new(Own), Host::real().clock);
    let loaded = AccessControl::load(input, Arc::new(Limiter::new()));
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    let Some(control) = loaded.control else {
        unreachable!("there are no errors")
    };
    control
}

/// The necessary work and nothing else.
struct Floor {
    proxies: HashSet<IpAddr>,
    users: HashSet<String>,
    headers: HashMap<&'static str, &'static str>,
}

impl Floor {
    fn new() -> Self {
        Self {
            proxies: ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
                .map(|ip| ip.parse().unwrap_or([0; 4].into()))
                .into(),
            users: ["nick@example.com", "ann@example.com"]
                .map(str::to_owned)
                .into(),
            headers: [
                ("x-forwarded-user", "nick@example.com"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-for", "203.0.113.7"),
                ("host", "claw.example.com"),
            ]
            .into(),
        }
    }

    fn run(&self) {
        let address: Option<IpAddr> = black_box("10.0.0.1").parse().ok();
        let trusted = address.is_some_and(|address| self.proxies.contains(&address));
        let look_up = |name| self.headers.get(black_box(name)).copied();
        let user = look_up("x-forwarded-user");
        let rest = (look_up("x-forwarded-proto"), look_up("x-forwarded-for"));
        let user = user
            .filter(|user| self.users.contains(*user))
            .map(str::to_owned);
        black_box((trusted, user, rest));
    }
}
