//! What is known about one connection, and how long it may keep still.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::checks;
use super::core_api::Facts;
use super::limits::{Admission, Limits};

/// One connection.
pub(crate) struct Link {
    /// Address of the transport peer.
    pub(crate) peer: SocketAddr,
    remote: String,
    local: String,
    /// Whether the gateway itself terminates TLS.
    tls: bool,
    /// The place of the connection among all.
    pub(crate) admission: Admission,
    pulse: Mutex<Pulse>,
    /// Wakes the connection when it is to end.
    cut: Notify,
}

/// What the connection is doing.
struct Pulse {
    /// Requests being answered; more than one with HTTP/2 only.
    running: usize,
    waiting: Waiting,
    since: Instant,
    /// Since when the peer does not take what is written.
    stalled: Option<Instant>,
    /// Requests that the peer gave up, and since when they are counted.
    given_up: (u32, Instant),
}

/// What a connection without running requests waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The next request.
    Next,
    /// The rest of a request's head, or the first one.
    Head,
}

/// When to look at a connection again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// At this time.
    At(Instant),
    /// The peer took too long: end it.
    TooLong,
}

impl Link {
    /// A connection that was just accepted: its first head is due.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, tls: bool, place: Admission) -> Self {
        let now = Instant::now();
        Self {
            peer,
            remote: peer.to_string(),
            local: local.to_string(),
            tls,
            admission: place,
            pulse: Mutex::new(Pulse {
                running: 0,
                waiting: Waiting::Head,
                since: now,
                stalled: None,
                given_up: (0, now),
            }),
            cut: Notify::new(),
        }
    }

    /// What the access rules are told about a request of this connection.
    pub(crate) fn facts<'a>(&'a self, headers: &'a HeaderMap) -> Facts<'a> {
        Facts {
            remote: &self.remote,
            local: &self.local,
            headers,
            websocket: checks::is_websocket(headers),
            tls: self.tls,
        }
    }

    /// Bytes arrived: an idle HTTP/1 connection begins a head.
    pub(crate) fn read_something(&self) {
        let mut pulse = self.pulse.lock();
        if pulse.running == 0 && pulse.waiting == Waiting::Next {
            pulse.waiting = Waiting::Head;
            pulse.since = Instant::now();
        }
    }

    /// Whether the peer takes what is written.
    pub(crate) fn wrote(&self, is_taken: bool) {
        let mut pulse = self.pulse.lock();
        match is_taken {
            true => pulse.stalled = None,
            false if pulse.stalled.is_none() => pulse.stalled = Some(Instant::now()),
            false => {}
        }
    }

    /// When to look again.
    pub(crate) fn look(&self, limits: &Limits) -> Look {
        let pulse = self.pulse.lock();
        let now = Instant::now();
        // Whatever begins right after this look is seen in time by the next one.
        let next = now + limits.head_time;
        let dues = [
            pulse.stalled.map(|since| since + limits.write_stall),
            (pulse.running == 0).then(|| {
                pulse.since
                    + match pulse.waiting {
                        Waiting::Next => limits.keep_alive,
                        Waiting::Head => limits.head_time,
                    }
            }),
        ];
        match dues.into_iter().flatten().min() {
            Some(due) if due <= now => Look::TooLong,
            Some(due) => Look::At(due.min(next)),
            None => Look::At(next),
        }
    }

    /// Returns when the peer has given up too many requests.
    pub(crate) async fn flooded(&self) {
        self.cut.notified().await;
    }

    fn gave_up(&self, limits: &Limits) {
        let mut pulse = self.pulse.lock();
        let now = Instant::now();
        let (count, since) = &mut pulse.given_up;
        if now.duration_since(*since) > RESET_WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        if *count > limits.resets {
            self.cut.notify_one();
        }
    }
}

/// Marks a request as running; the connection waits for the next one when the last is dropped.
pub(crate) struct Busy {
    link: Arc<Link>,
    limits: Arc<Limits>,
    is_complete: bool,
}

impl Busy {
    /// Begins.
    pub(crate) fn begin(link: &Arc<Link>, limits: &Arc<Limits>) -> Self {
        link.pulse.lock().running += 1;
        Self {
            link: Arc::clone(link),
            limits: Arc::clone(limits),
            is_complete: false,
        }
    }

    /// The whole answer went out: its end is no giving up of the peer.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        {
            let mut pulse = self.link.pulse.lock();
            pulse.running = pulse.running.saturating_sub(1);
            pulse.waiting = Waiting::Next;
            pulse.since = Instant::now();
        }
        if !self.is_complete {
            self.link.gave_up(&self.limits);
        }
    }
}

/// Time in which requests that were given up are counted together.
const RESET_WINDOW: Duration = Duration::from_secs(30);
