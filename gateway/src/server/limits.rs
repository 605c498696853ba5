//! Limits, and the counters behind those that span requests.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Everything that is bounded. Sizes are bytes.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Header fields of one request.
    pub(crate) header_count: usize,
    /// All header fields of one request together.
    pub(crate) header_bytes: usize,
    /// One header value.
    pub(crate) header_value: usize,
    /// The request target.
    pub(crate) target: usize,
    /// The body of a request to the gateway's own routes.
    pub(crate) own_body: u64,
    /// From the first byte of a request (or the start of a connection) to the end of its head.
    pub(crate) head_time: Duration,
    /// A TLS handshake.
    pub(crate) handshake: Duration,
    /// How long a peer may leave what is written to it unread.
    pub(crate) write_stall: Duration,
    /// Between two pings of a WebSocket.
    pub(crate) ping: Duration,
    /// HTTP/2 streams of one connection at the same time.
    pub(crate) streams: u32,
    /// Requests of one connection that the peer gives up within 30 seconds.
    pub(crate) resets: u32,
    /// Silence within a request body.
    pub(crate) body_idle: Duration,
    /// Silence between two requests of a connection.
    pub(crate) keep_alive: Duration,
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// Connections from one address that have not authenticated a request yet.
    pub(crate) per_peer: usize,
    /// The same, when the address is a trusted proxy.
    pub(crate) per_proxy: usize,
    /// Forwarded requests at the same time.
    pub(crate) forwarded: usize,
    /// Forwarded requests of one user at the same time.
    pub(crate) per_user: usize,
    /// Connecting to a provider, TLS included.
    pub(crate) connect: Duration,
    /// From sending a request to a provider to the head of its answer.
    pub(crate) first_byte: Duration,
    /// Silence within an answer of a provider.
    pub(crate) upstream_idle: Duration,
    /// What all requests together keep of their bodies, to be sent again.
    pub(crate) replay: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_count: 100,
            header_bytes: 32 * 1024,
            header_value: 16 * 1024,
            target: 8 * 1024,
            own_body: 64 * 1024,
            head_time: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            ping: Duration::from_secs(30),
            streams: 100,
            resets: 200,
            body_idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            connections: 1024,
            per_peer: 32,
            per_proxy: 256,
            forwarded: 256,
            per_user: 64,
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            upstream_idle: Duration::from_secs(300),
            replay: 256 * 1024 * 1024,
        }
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    total: AtomicUsize,
    refused: AtomicUsize,
    /// Connections without an authenticated request so far, by peer.
    strangers: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    /// Counts a new connection in, or refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_proxy: bool,
        limits: &Limits,
    ) -> Option<Admission> {
        let peer = peer.to_canonical();
        let most = if is_proxy {
            limits.per_proxy
        } else {
            limits.per_peer
        };
        let mut strangers = self.strangers.lock();
        let held = strangers.get(&peer).copied().unwrap_or(0);
        if self.total.load(Ordering::Relaxed) >= limits.connections || held >= most {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        strangers.insert(peer, held + 1);
        self.total.fetch_add(1, Ordering::Relaxed);
        Some(Admission {
            all: Arc::clone(self),
            peer,
            known: AtomicBool::new(false),
        })
    }

    /// Connections closed at once so far, because there were too many.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    fn forget_stranger(&self, peer: IpAddr) {
        release(&mut self.strangers.lock(), &peer);
    }
}

/// The place of one connection; given back on drop.
#[derive(Debug)]
pub(crate) struct Admission {
    all: Arc<Connections>,
    peer: IpAddr,
    known: AtomicBool,
}

impl Admission {
    /// A request of this connection was authenticated: it no longer counts as a stranger's.
    pub(crate) fn authenticated(&self) {
        if !self.known.swap(true, Ordering::Relaxed) {
            self.all.forget_stranger(self.peer);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.authenticated();
        self.all.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests that are being forwarded.
#[derive(Debug, Default)]
pub(crate) struct Forwarded(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    total: usize,
    by_user: HashMap<String, usize>,
}

impl Forwarded {
    /// Counts a request in, or refuses it.
    pub(crate) fn admit(self: &Arc<Self>, user: Option<&str>, limits: &Limits) -> Option<Permit> {
        let mut running = self.0.lock();
        let held = user
            .and_then(|user| running.by_user.get(user).copied())
            .unwrap_or(0);
        if running.total >= limits.forwarded || held >= limits.per_user {
            return None;
        }
        running.total += 1;
        let user = user.map(str::to_owned);
        if let Some(user) = &user {
            running.by_user.insert(user.clone(), held + 1);
        }
        Some(Permit {
            all: Arc::clone(self),
            user,
        })
    }
}

impl Forwarded {
    /// Requests that are being forwarded.
    pub(crate) fn running(&self) -> usize {
        self.0.lock().total
    }
}

/// The place of one forwarded request; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    all: Arc<Forwarded>,
    user: Option<String>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.all.0.lock();
        running.total = running.total.saturating_sub(1);
        if let Some(user) = &self.user {
            release(&mut running.by_user, user);
        }
    }
}

/// Takes one off a counter and forgets counters at zero.
fn release<K, Q>(counters: &mut HashMap<K, usize>, key: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counters.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counters.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Limits {
        Limits {
            connections: 4,
            per_peer: 2,
            per_proxy: 3,
            forwarded: 3,
            per_user: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn strangers_are_limited_by_peer_and_known_callers_are_not() {
        let all = Arc::new(Connections::default());
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.9".parse().unwrap();
        let first = all.admit(peer, false, &small()).unwrap();
        let second = all.admit(mapped, false, &small()).unwrap();
        assert!(
            all.admit(peer, false, &small()).is_none(),
            "third stranger of one address"
        );
        assert_eq!(all.refused(), 1);
        first.authenticated();
        first.authenticated();
        let third = all.admit(peer, false, &small()).unwrap();
        assert!(all.admit(peer, false, &small()).is_none());
        assert!(
            all.admit(peer, true, &small()).is_some(),
            "a proxy may open more"
        );
        drop((second, third, first));
        assert!(all.strangers.lock().is_empty());
        assert_eq!(all.total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn connections_are_limited_in_total() {
        let all = Arc::new(Connections::default());
        let held: Vec<_> = (0..4_u8)
            .map(|last| {
                all.admit(IpAddr::from([10, 0, 0, last]), false, &small())
                    .unwrap()
            })
            .collect();
        assert!(
            all.admit(IpAddr::from([10, 0, 0, 9]), true, &small())
                .is_none()
        );
        drop(held);
        assert!(
            all.admit(IpAddr::from([10, 0, 0, 9]), false, &small())
                .is_some()
        );
    }

    #[test]
    fn forwarded_requests_are_limited_by_user_and_in_total() {
        let all = Arc::new(Forwarded::default());
        let first = all.admit(Some("a"), &small()).unwrap();
        let second = all.admit(Some("a"), &small()).unwrap();
        assert!(all.admit(Some("a"), &small()).is_none());
        let third = all.admit(None, &small()).unwrap();
        assert!(all.admit(Some("b"), &small()).is_none(), "total reached");
        drop(first);
        assert!(all.admit(Some("a"), &small()).is_some());
        drop((second, third));
        assert!(all.0.lock().by_user.is_empty());
    }
}
