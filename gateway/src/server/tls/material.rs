//! Certificates and keys from files, checked and ready for handshakes.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use openclaw_auth::host::{FileMeta, Files};
use openclaw_auth::{Code, Error};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use super::settings::{ClientAuth, TlsSettings};
use super::{H2, HTTP_1_1, Notice};

/// One pair of certificate and key, and what goes with it.
pub(super) struct Material {
    /// What answers handshakes.
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 of the gateway's own certificate, as pairs of digits with colons.
    pub(super) fingerprint: String,
    /// When the certificate expires, in milliseconds since 1970.
    pub(super) not_after_ms: u64,
    /// What a person should look at.
    pub(super) notices: Vec<Notice>,
}

impl Material {
    /// Reads and checks everything; `now_ms` is the time in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// A `tls_*` code that names the file.
    pub(super) fn load(
        settings: &TlsSettings,
        files: &dyn Files,
        now_ms: u64,
        is_exposed: bool,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let (chain, _) = certificates(files, &settings.cert)?;
        let (pem, key_meta) = read(files, &settings.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let reason = "no key that can be used (PEM, not encrypted)";
            fault(Code::TlsParse, &settings.key, reason)
        })?;
        let facts = Facts::of(&chain, &settings.cert)?;
        let pair = certified(&provider, chain, key, settings)?;
        facts.check(now_ms, &settings.cert)?;

        let versions: &[_] = if settings.allows_1_2 {
            &[&version::TLS13, &version::TLS12]
        } else {
            &[&version::TLS13]
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|_| fault(Code::InternalError, &settings.cert, "no TLS version"))?;
        let builder = match client_verifier(settings, files, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            notices: facts.notices(settings, key_meta, now_ms, is_exposed),
            fingerprint: facts.fingerprint,
            not_after_ms: facts.not_after_ms,
        })
    }
}

/// What the gateway's own certificate says.
struct Facts {
    fingerprint: String,
    not_before_ms: u64,
    not_after_ms: u64,
    is_self_signed: bool,
}

impl Facts {
    fn of(chain: &[CertificateDer<'_>], path: &Path) -> Result<Self, Error> {
        let own = chain.first().map_or(&[][..], |own| own.as_ref());
        let parsed = Certificate::from_der(own)
            .map_err(|_| fault(Code::TlsParse, path, "its first certificate is not one"))?;
        let tbs = parsed.tbs_certificate();
        let ms = |time: &x509_cert::time::Time| {
            u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX)
        };
        Ok(Self {
            fingerprint: fingerprint(own),
            not_before_ms: ms(&tbs.validity().not_before),
            not_after_ms: ms(&tbs.validity().not_after),
            is_self_signed: tbs.issuer() == tbs.subject(),
        })
    }

    fn check(&self, now_ms: u64, path: &Path) -> Result<(), Error> {
        if now_ms < self.not_before_ms {
            return Err(fault(Code::TlsNotYetValid, path, "is not valid yet"));
        }
        if now_ms > self.not_after_ms {
            return Err(fault(Code::TlsExpired, path, "has expired"));
        }
        Ok(())
    }

    fn notices(
        &self,
        settings: &TlsSettings,
        key: FileMeta,
        now_ms: u64,
        is_exposed: bool,
    ) -> Vec<Notice> {
        let left_ms = self.not_after_ms.saturating_sub(now_ms);
        let days = left_ms / DAY_MS;
        let rows = [
            (
                cfg!(unix) && key.mode & OTHERS_READ != 0,
                Code::TlsKeyPermissions,
                format!("{}: other users can read the key", settings.key.display()),
            ),
            (
                left_ms < SOON_DAYS * DAY_MS,
                Code::TlsExpiresSoon,
                format!("{}: expires in {days} days", settings.cert.display()),
            ),
            (
                is_exposed && self.is_self_signed,
                Code::TlsSelfSignedExposed,
                format!(
                    "{}: other machines cannot verify it",
                    settings.cert.display()
                ),
            ),
        ];
        let rows = rows.into_iter().filter(|(holds, _, _)| *holds);
        rows.map(|(_, code, message)| Notice { code, message })
            .collect()
    }
}

fn certified(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    settings: &TlsSettings,
) -> Result<CertifiedKey, Error> {
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        let reason = "the kind of key is not supported";
        fault(Code::TlsParse, &settings.key, reason)
    })?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().map_err(|_| {
        let reason = "does not belong to the certificate";
        fault(Code::TlsKeyMismatch, &settings.key, reason)
    })?;
    Ok(pair)
}

fn client_verifier(
    settings: &TlsSettings,
    files: &dyn Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    let Some(path) = &settings.ca else {
        return Ok(None);
    };
    let unusable = || fault(Code::TlsParse, path, "a certificate is no authority");
    let mut roots = RootCertStore::empty();
    for certificate in certificates(files, path)?.0 {
        roots.add(certificate).map_err(|_| unusable())?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Require => builder,
    };
    builder.build().map(Some).map_err(|_| unusable())
}

fn certificates(
    files: &dyn Files,
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, FileMeta), Error> {
    let (pem, meta) = read(files, path)?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok((list, meta)),
        _ => Err(fault(
            Code::TlsParse,
            path,
            "holds no certificate in PEM form",
        )),
    }
}

/// A whole file. Links are followed, because tools that renew certificates exchange them.
fn read(files: &dyn Files, path: &Path) -> Result<(Zeroizing<Vec<u8>>, FileMeta), Error> {
    let opened = files.canonical(path).and_then(|path| {
        let mut file = files.open(&path)?;
        let meta = file.meta()?;
        Ok((file.read_to_limit(FILE_LIMIT)?, meta))
    });
    match opened {
        Ok((Some(bytes), meta)) => Ok((bytes, meta)),
        Ok((None, _)) => Err(fault(Code::TlsUnreadable, path, "is too large")),
        Err(error) if super::is_not_found(&error) => {
            Err(fault(Code::TlsCertKeyMissing, path, "is missing"))
        }
        Err(error) => Err(fault(Code::TlsUnreadable, path, &error.kind().to_string())),
    }
}

/// A fault of one file.
pub(super) fn fault(code: Code, path: &Path, reason: &str) -> Error {
    Error::new(code, format!("{}: {reason}", path.display()))
        .with_hint(code.info().remedy)
        .with("file", path.display().to_string())
}

fn fingerprint(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    let mut text = String::with_capacity(3 * digest.len());
    for byte in digest {
        if !text.is_empty() {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

const FILE_LIMIT: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const SOON_DAYS: u64 = 30;
/// Group or others may read.
const OTHERS_READ: u32 = 0o044;
