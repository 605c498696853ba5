//! What the tests are made of: servers, clients and programs that end with their test.

mod client;
mod gateway;
mod nginx;
mod place;
mod server;
mod upstream;

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Request, Way};
pub(crate) use gateway::Gateway;
pub(crate) use nginx::Nginx;
pub(crate) use place::Place;
pub(crate) use server::Arrived;
pub(crate) use upstream::Upstream;

/// How long anything that should happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until there is something, or panics.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(5));
    }
}
