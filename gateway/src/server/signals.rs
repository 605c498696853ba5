//! Signals of the operating system.

use std::io;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Read the configuration again.
    #[cfg_attr(
        not(unix),
        expect(dead_code, reason = "there is no SIGHUP on this system")
    )]
    Reload,
    /// Stop; the number of the signal.
    Stop(u8),
}

/// Number of SIGINT.
const INTERRUPT: u8 = 2;

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{Asked, INTERRUPT, io};

    /// Number of SIGTERM.
    const TERMINATE: u8 = 15;

    /// Waits for SIGHUP, SIGINT and SIGTERM.
    pub(crate) struct Signals {
        hang_up: Signal,
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        /// Takes the signals over from the system's default.
        ///
        /// # Errors
        ///
        /// When the system refuses.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                hang_up: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        /// The next signal.
        pub(crate) async fn next(&mut self) -> Asked {
            tokio::select! {
                _ = self.hang_up.recv() => Asked::Reload,
                _ = self.interrupt.recv() => Asked::Stop(INTERRUPT),
                _ = self.terminate.recv() => Asked::Stop(TERMINATE),
            }
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::Signals;

#[cfg(not(unix))]
mod elsewhere {
    use super::{Asked, INTERRUPT, io};

    /// Waits for Ctrl-C.
    pub(crate) struct Signals(());

    impl Signals {
        /// Nothing to prepare.
        ///
        /// # Errors
        ///
        /// Never.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(()))
        }

        /// The next Ctrl-C.
        pub(crate) async fn next(&mut self) -> Asked {
            if let Err(error) = tokio::signal::ctrl_c().await {
                log::error!("signals do not arrive: {}", error.kind());
                std::future::pending::<()>().await;
            }
            Asked::Stop(INTERRUPT)
        }
    }
}
