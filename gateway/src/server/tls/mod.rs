//! TLS of the listener: from `gateway.tls` to a configuration that can be exchanged while running.

mod generate;
mod material;
mod settings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use openclaw_auth::host::{Clock, Files, Host};
use openclaw_auth::{Code, Error};
use tokio_rustls::TlsAcceptor;

use self::material::Material;
use self::settings::TlsSettings;
use super::core_api::Snapshot;

/// Name of HTTP/2 in ALPN (RFC 9113, section 3.2).
pub(crate) const H2: &[u8] = b"h2";
/// Name of HTTP/1.1 in ALPN (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Certificates and keys of the listener. Connections that are open keep what they began with.
pub(crate) struct Tls {
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    /// Whether other machines can connect.
    is_exposed: bool,
    current: ArcSwap<Material>,
    degraded: AtomicBool,
}

/// Something about certificates or keys that a person should look at.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// The stable code.
    pub(crate) code: Code,
    /// One sentence.
    pub(crate) message: String,
}

impl Tls {
    /// Reads certificates and keys, generating them when there are none and the settings allow it.
    /// `None` when TLS is off. `addresses` are those that the gateway listens on.
    ///
    /// # Errors
    ///
    /// A `tls_*` code, or `config_invalid_value` and `config_unknown_key` for the settings.
    pub(crate) fn open(
        snapshot: &dyn Snapshot,
        host: &Host,
        addresses: &[IpAddr],
    ) -> Result<Option<Self>, Error> {
        let Some(settings) = TlsSettings::read(snapshot)? else {
            return Ok(None);
        };
        let is_missing = |path| {
            host.files
                .stat(path)
                .is_err_and(|error| is_not_found(&error))
        };
        if settings.auto_generate && is_missing(&settings.cert) && is_missing(&settings.key) {
            generate::pair(&settings, &*host.files, host.clock.now_ms(), addresses)?;
        }
        let is_exposed = addresses.iter().any(|ip| !ip.to_canonical().is_loopback());
        let material = Material::load(&settings, &*host.files, host.clock.now_ms(), is_exposed)?;
        log::info!(
            "TLS certificate fingerprint (SHA-256) {}",
            material.fingerprint
        );
        Ok(Some(Self {
            files: Arc::clone(&host.files),
            clock: Arc::clone(&host.clock),
            is_exposed,
            current: ArcSwap::from_pointee(material),
            degraded: AtomicBool::new(false),
        }))
    }

    /// What answers the next handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }

    /// Reads everything again and swaps it in, or keeps what there is.
    ///
    /// # Errors
    ///
    /// As [`Tls::open`]; nothing is generated.
    pub(crate) fn reload(&self, snapshot: &dyn Snapshot) -> Result<Vec<Notice>, Error> {
        let read = || {
            let Some(settings) = TlsSettings::read(snapshot)? else {
                // Switching TLS off takes a restart; until then nothing changes.
                return Ok(None);
            };
            let now = self.clock.now_ms();
            Material::load(&settings, &*self.files, now, self.is_exposed).map(Some)
        };
        let material = read();
        self.degraded.store(material.is_err(), Ordering::Relaxed);
        let Some(material) = material? else {
            return Ok(Vec::new());
        };
        let notices = material.notices.clone();
        let before = self.current.load();
        if before.fingerprint != material.fingerprint {
            log::info!(
                "TLS certificate fingerprint (SHA-256) {}",
                material.fingerprint
            );
        }
        self.current.store(Arc::new(material));
        Ok(notices)
    }

    /// What a person should look at.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.current.load().notices.clone()
    }

    /// Whether the last reload left old material in use, or the certificate has expired since.
    pub(crate) fn is_failing(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
            || self.current.load().not_after_ms < self.clock.now_ms()
    }
}

fn is_not_found(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("fingerprint", &self.current.load().fingerprint)
            .finish_non_exhaustive()
    }
}
