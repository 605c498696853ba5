//! Counters and times in the text format of Prometheus, version 0.0.4.
//!
//! Labels carry configured names and words of this program only: never a user, an address, a
//! header value or a path.

mod listener;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openclaw_auth::Code;
use parking_lot::Mutex;

use super::core_api::Snapshot;
use super::state::State;
use super::status;

pub(crate) use listener::listen;
use text::Page;

/// What is counted while the server runs.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    decisions: Mutex<BTreeMap<[&'static str; 4], u64>>,
    requests: Mutex<BTreeMap<&'static str, Requests>>,
    upstream: Mutex<BTreeMap<String, Upstream>>,
    reloads: Mutex<BTreeMap<&'static str, u64>>,
    rotations: Mutex<BTreeMap<(String, &'static str), u64>>,
    websockets: Arc<AtomicUsize>,
}

/// The requests of one route.
#[derive(Debug, Default)]
struct Requests {
    by_class: BTreeMap<&'static str, u64>,
    seconds: Histogram,
}

/// The requests to one provider.
#[derive(Debug, Default)]
struct Upstream {
    by_outcome: BTreeMap<&'static str, u64>,
    first_byte: Histogram,
}

/// How long something took.
#[derive(Debug, Default)]
struct Histogram {
    /// One number for each bound, not cumulative; the last is for everything longer.
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// A request that has ended.
pub(crate) struct Ended<'a> {
    /// Template of its route.
    pub(crate) route: &'static str,
    /// Status of the answer; absent when there was none.
    pub(crate) status: Option<u16>,
    /// What was refused or went wrong.
    pub(crate) code: Option<Code>,
    /// Whether the whole answer went out.
    pub(crate) is_complete: bool,
    /// How long it took.
    pub(crate) took: Duration,
    /// The provider it was forwarded to, and when the answer began.
    pub(crate) upstream: Option<(&'a str, Option<Duration>)>,
}

impl Metrics {
    /// Access was decided. `code` is that of the denial.
    pub(crate) fn decided(&self, mode: &'static str, is_websocket: bool, code: Option<Code>) {
        let kind = if is_websocket { "websocket" } else { "http" };
        let (result, code) = match code {
            None => ("allow", ""),
            Some(code) => ("deny", code.as_str()),
        };
        *self
            .decisions
            .lock()
            .entry([mode, kind, result, code])
            .or_default() += 1;
    }

    /// A request has ended.
    pub(crate) fn ended(&self, request: &Ended<'_>) {
        {
            let mut requests = self.requests.lock();
            let route = requests.entry(request.route).or_default();
            *route.by_class.entry(class(request.status)).or_default() += 1;
            route.seconds.observe(request.took);
        }
        if let Some((provider, first_byte)) = request.upstream {
            let mut upstream = self.upstream.lock();
            if !upstream.contains_key(provider) {
                upstream.insert(provider.to_owned(), Upstream::default());
            }
            if let Some(provider) = upstream.get_mut(provider) {
                *provider.by_outcome.entry(outcome(request)).or_default() += 1;
                if let Some(time) = first_byte {
                    provider.first_byte.observe(time);
                }
            }
        }
    }

    /// Another credential of a provider has taken over a request.
    pub(crate) fn rotated(&self, provider: &str, reason: &'static str) {
        let key = (provider.to_owned(), reason);
        *self.rotations.lock().entry(key).or_default() += 1;
    }

    /// A reload has ended.
    pub(crate) fn reloaded(&self, is_ok: bool) {
        let result = if is_ok { "ok" } else { "failed" };
        *self.reloads.lock().entry(result).or_default() += 1;
    }

    /// A WebSocket is open until the guard is dropped.
    pub(crate) fn websocket(&self) -> OpenWebSocket {
        self.websockets.fetch_add(1, Ordering::Relaxed);
        OpenWebSocket(Arc::clone(&self.websockets))
    }
}

/// Counts an open WebSocket.
pub(crate) struct OpenWebSocket(Arc<AtomicUsize>);

impl Drop for OpenWebSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Histogram {
    fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = self.counts.get_mut(place.unwrap_or(BOUNDS.len())) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

/// Everything, as text.
pub(crate) async fn page(state: &Arc<State>) -> String {
    let state = Arc::clone(state);
    // Which credentials are cooling down is in the store.
    let page = tokio::task::spawn_blocking(move || write(&state)).await;
    page.unwrap_or_default()
}

fn write(state: &State) -> String {
    let metrics = &state.metrics;
    let snapshot = state.core.snapshot();
    let mut page = Page::default();

    page.family("decisions_total", "counter", "Access decisions.");
    for (labels, count) in &*metrics.decisions.lock() {
        page.line("decisions_total", &DECISION, labels, *count);
    }
    limiter(&mut page, &*snapshot);
    {
        let requests = metrics.requests.lock();
        page.family("http_requests_total", "counter", "Requests by route.");
        for (route, of_route) in &*requests {
            for (class, count) in &of_route.by_class {
                page.line(
                    "http_requests_total",
                    &["route", "status_class"],
                    &[route, class],
                    *count,
                );
            }
        }
        let name = "http_request_seconds";
        page.family(
            name,
            "histogram",
            "From the head of a request to the end of its answer.",
        );
        for (route, of_route) in &*requests {
            page.histogram(name, ("route", route), &of_route.seconds);
        }
    }
    connections(&mut page, state);
    {
        let upstream = metrics.upstream.lock();
        let name = "upstream_requests_total";
        page.family(name, "counter", "Requests to providers.");
        for (provider, of_provider) in &*upstream {
            for (outcome, count) in &of_provider.by_outcome {
                page.line(name, &["provider", "outcome"], &[provider, outcome], *count);
            }
        }
        let name = "upstream_ttfb_seconds";
        page.family(
            name,
            "histogram",
            "From a request to the head of the provider's answer.",
        );
        for (provider, of_provider) in &*upstream {
            page.histogram(name, ("provider", provider), &of_provider.first_byte);
        }
    }
    credentials(&mut page, state, &*snapshot);
    page.family("reloads_total", "counter", "Reloads of the configuration.");
    for (result, count) in &*metrics.reloads.lock() {
        page.line("reloads_total", &["result"], &[result], *count);
    }
    page.family(
        "snapshot_version",
        "gauge",
        "Number of the snapshot in use.",
    );
    page.line("snapshot_version", &[], &[], snapshot.generation());
    page.family(
        "snapshot_age_seconds",
        "gauge",
        "Age of the snapshot in use.",
    );
    let age_ms = state
        .log
        .now_ms()
        .saturating_sub(snapshot.activated_at_ms());
    page.line("snapshot_age_seconds", &[], &[], age_ms / 1000);
    page.family("build_info", "gauge", "The version of this program.");
    page.line("build_info", &["version"], &[env!("CARGO_PKG_VERSION")], 1);
    page.into_text()
}

fn limiter(page: &mut Page, snapshot: &dyn Snapshot) {
    let (keys, lockouts) = snapshot.limited();
    page.family(
        "rate_limit_keys",
        "gauge",
        "Callers whose failures are remembered.",
    );
    page.line(
        "rate_limit_keys",
        &["scope"],
        &["shared-secret"],
        keys as u64,
    );
    page.family("lockouts", "gauge", "Callers that are locked out.");
    page.line("lockouts", &["scope"], &["shared-secret"], lockouts as u64);
}

fn credentials(page: &mut Page, state: &State, snapshot: &dyn Snapshot) {
    let name = "rotations_total";
    let help = "Requests that another credential has taken over.";
    page.family(name, "counter", help);
    for ((provider, reason), count) in &*state.metrics.rotations.lock() {
        page.line(name, &["provider", "reason"], &[provider, reason], *count);
    }
    let name = "keys_in_cooldown";
    page.family(name, "gauge", "Credentials that are not used for now.");
    for (provider, document) in status::profiles(&*state.core, snapshot) {
        let cooling = status::cooling(&document);
        page.line(name, &["provider"], &[&provider], cooling);
    }
    let name = "token_refresh_total";
    page.family(name, "counter", "Refreshes of tokens.");
    for (provider, worked, failed) in state.core.refreshes() {
        for (result, count) in [("ok", worked), ("failed", failed)] {
            page.line(name, &["provider", "result"], &[&provider, result], count);
        }
    }
}

fn connections(page: &mut Page, state: &State) {
    let websockets = state.metrics.websockets.load(Ordering::Relaxed);
    let http = state.connections.open().saturating_sub(websockets);
    page.family("connections", "gauge", "Open connections.");
    page.line("connections", &["kind"], &["http"], http as u64);
    page.line("connections", &["kind"], &["websocket"], websockets as u64);
    page.family(
        "connections_refused_total",
        "counter",
        "Connections closed at once, because there were too many.",
    );
    page.line(
        "connections_refused_total",
        &[],
        &[],
        state.connections.refused() as u64,
    );
    page.family("streams", "gauge", "Requests that are being forwarded.");
    page.line(
        "streams",
        &["kind"],
        &["http"],
        state.forwarded.running() as u64,
    );
}

fn class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
        None => "aborted",
    }
}

/// How a request to a provider ended.
fn outcome(request: &Ended<'_>) -> &'static str {
    match (request.code, request.status) {
        (Some(Code::UpstreamTimeout), _) => "timeout",
        (Some(Code::UpstreamUnreachable), _) => "unreachable",
        (Some(Code::UpstreamAuthFailed), _) => "auth_failed",
        (Some(Code::UpstreamRedirect), _) => "redirect",
        (Some(_), _) => "refused",
        (None, _) if !request.is_complete => "aborted",
        (None, Some(429)) => "rate_limited",
        (None, Some(400..=499)) => "client_error",
        (None, Some(500..)) => "server_error",
        (None, _) => "ok",
    }
}

const DECISION: [&str; 4] = ["mode", "kind", "result", "code"];

/// Upper bounds of the histograms, in seconds.
const BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
