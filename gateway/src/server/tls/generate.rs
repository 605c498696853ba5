//! A certificate of the gateway's own making; clients pin its fingerprint.

use std::net::IpAddr;
use std::path::Path;

use openclaw_auth::host::Files;
use openclaw_auth::{Code, Error, SecretText};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use super::material::fault;
use super::settings::TlsSettings;

/// Writes a new key and a certificate for it. Both files must be missing.
///
/// # Errors
///
/// `tls_unreadable` when they cannot be written.
pub(super) fn pair(
    settings: &TlsSettings,
    files: &dyn Files,
    now_ms: u64,
    addresses: &[IpAddr],
) -> Result<(), Error> {
    let made = make(now_ms, addresses);
    let (cert, key) = made.map_err(|reason| fault(Code::InternalError, &settings.cert, &reason))?;
    write(files, &settings.key, key.expose())?;
    let written = write(files, &settings.cert, &cert);
    if written.is_err()
        && let Err(error) = files.remove_file(&settings.key)
    {
        log::warn!("{} stays behind: {}", settings.key.display(), error.kind());
    }
    written?;
    log::info!("made a certificate: {}", settings.cert.display());
    Ok(())
}

fn make(now_ms: u64, addresses: &[IpAddr]) -> Result<(String, SecretText), String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let addresses = addresses.iter().filter(|ip| !ip.is_unspecified());
    for name in addresses.map(ToString::to_string).chain(host_name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let failed = |error: rcgen::Error| format!("no certificate could be made: {error}");
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "openclaw-gateway");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = i64::try_from(now_ms / 1000).unwrap_or(0);
    let now = OffsetDateTime::from_unix_timestamp(now)
        .map_err(|_| "the clock of this machine is wrong".to_owned())?;
    // Clients whose clocks are a little behind accept it too.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(VALID_DAYS);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let cert = params.self_signed(&key).map_err(failed)?;
    Ok((cert.pem(), SecretText::new(key.serialize_pem())))
}

fn write(files: &dyn Files, path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    files
        .create_dir_all(folder, 0o700)
        .and_then(|()| files.write_atomic(path, text.as_bytes(), 0o600))
        .map_err(|error| fault(Code::TlsUnreadable, path, &error.kind().to_string()))
}

/// This machine's name, when it can stand in a certificate.
fn host_name() -> Option<String> {
    #[cfg(unix)]
    {
        let system = rustix::system::uname();
        let name = system.nodename().to_str().ok()?;
        let is_fine = (1..=253).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        is_fine.then(|| name.to_owned())
    }
    #[cfg(not(unix))]
    None
}

const VALID_DAYS: i64 = 3650;
