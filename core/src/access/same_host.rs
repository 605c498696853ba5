//! This host's own addresses, from which a connection is made by a local process.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::host::Interfaces;

/// Milliseconds after which the list of own addresses is read again.
const REFRESH_MS: u64 = 30_000;

/// The own addresses as last read.
pub(super) struct OwnAddresses {
    interfaces: Arc<dyn Interfaces>,
    /// `None` until reading succeeded once.
    known: RwLock<Option<Box<[IpAddr]>>>,
    /// When reading was last tried, in milliseconds of the monotonic clock.
    tried_ms: AtomicU64,
    refreshing: Mutex<()>,
}

impl OwnAddresses {
    pub(super) fn new(interfaces: Arc<dyn Interfaces>) -> Self {
        Self {
            interfaces,
            known: RwLock::new(None),
            tried_ms: AtomicU64::new(0),
            refreshing: Mutex::new(()),
        }
    }

    /// Reads the list.
    pub(super) fn read(&self, now_ms: u64) {
        self.tried_ms.store(now_ms, Ordering::Relaxed);
        self.refresh();
    }

    /// Whether the address belongs to this host; `None` when that could never be found out.
    pub(super) fn contains(&self, address: IpAddr, now_ms: u64) -> Option<bool> {
        if now_ms.saturating_sub(self.tried_ms.load(Ordering::Relaxed)) >= REFRESH_MS {
            // Whoever comes first reads the list; the others use the old one meanwhile.
            if let Some(_guard) = self.refreshing.try_lock() {
                self.read(now_ms);
            }
        }
        self.known
            .read()
            .as_ref()
            .map(|known| known.binary_search(&address).is_ok())
    }

    fn refresh(&self) {
        let mut addresses = match self.interfaces.addresses() {
            Ok(addresses) => addresses,
            // Where there is no such call, only the two ends of a connection are compared.
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Vec::new(),
            Err(error) => {
                log::debug!("own addresses cannot be read: {error}");
                return;
            }
        };
        addresses
            .iter_mut()
            .for_each(|address| *address = address.to_canonical());
        addresses.sort_unstable();
        *self.known.write() = Some(addresses.into_boxed_slice());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Fails on the first call, then reports one more address with each call.
    #[derive(Default)]
    struct Growing(Mutex<u8>);

    impl Interfaces for Growing {
        fn addresses(&self) -> io::Result<Vec<IpAddr>> {
            let mut calls = self.0.lock();
            *calls += 1;
            match *calls {
                1 => Err(io::ErrorKind::Other.into()),
                calls => Ok((2..=calls)
                    .map(|last| IpAddr::from([10, 0, 0, last]))
                    .collect()),
            }
        }
    }

    #[test]
    fn list_is_read_again_after_half_a_minute_and_not_before() {
        let own = OwnAddresses::new(Arc::new(Growing::default()));
        own.read(1_000);
        let (second, third) = ([10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        assert_eq!(own.contains(second, 30_999), None);
        assert_eq!(own.contains(second, 31_000), Some(true));
        assert_eq!(own.contains(third, 60_999), Some(false));
        assert_eq!(own.contains(third, 61_000), Some(true));
    }
}
