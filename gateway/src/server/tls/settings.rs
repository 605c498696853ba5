//! The keys of `gateway.tls`.

use std::path::{Path, PathBuf};

use openclaw_auth::{Code, Error};
use serde_json::{Map, Value};

use super::super::core_api::Snapshot;
use super::super::settings::value;

/// `gateway.tls`, switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    /// PEM file with the gateway's certificate, then those that lead to its authority.
    pub(super) cert: PathBuf,
    /// PEM file with the key.
    pub(super) key: PathBuf,
    /// Whether a pair is made when there is none.
    pub(super) auto_generate: bool,
    /// PEM file with the authorities of client certificates.
    pub(super) ca: Option<PathBuf>,
    /// Whether clients show certificates.
    pub(super) client_auth: ClientAuth,
    /// Whether TLS 1.2 is accepted beside 1.3.
    pub(super) allows_1_2: bool,
}

/// `gateway.tls.clientAuth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// Clients are not asked.
    None,
    /// Clients may show a certificate; one that is not accepted ends the connection.
    Optional,
    /// Clients must show a certificate.
    Require,
}

impl TlsSettings {
    /// Reads the settings; `None` when TLS is off.
    ///
    /// # Errors
    ///
    /// `config_invalid_value`, `config_unknown_key`, `tls_ca_required`. A mistake never switches
    /// TLS off.
    pub(super) fn read(snapshot: &dyn Snapshot) -> Result<Option<Self>, Error> {
        let section = match value(snapshot, "/gateway/tls") {
            None => return Ok(None),
            Some(Value::Object(section)) => section,
            Some(_) => return Err(invalid("gateway.tls", "must be an object")),
        };
        if let Some(key) = section.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(Error::new(
                Code::ConfigUnknownKey,
                format!("gateway.tls: unknown key {}", key.escape_debug()),
            ));
        }
        let files = Folder {
            home: snapshot.home_dir(),
            tls: snapshot.state_dir().join("gateway").join("tls"),
        };
        let settings = Self {
            cert: files
                .file(section, "certPath")?
                .unwrap_or_else(|| files.tls.join(CERT)),
            key: files
                .file(section, "keyPath")?
                .unwrap_or_else(|| files.tls.join(KEY)),
            auto_generate: flag(section, "autoGenerate")?.unwrap_or(true),
            ca: files.file(section, "caPath")?,
            client_auth: choice(section, "clientAuth", CLIENT_AUTH)?.unwrap_or(ClientAuth::None),
            allows_1_2: choice(section, "minVersion", VERSIONS)?.unwrap_or(false),
        };
        if settings.client_auth != ClientAuth::None && settings.ca.is_none() {
            return Err(Error::new(
                Code::TlsCaRequired,
                "gateway.tls.clientAuth: client certificates need gateway.tls.caPath",
            ));
        }
        let is_on = flag(section, "enabled")?.unwrap_or(false);
        Ok(is_on.then_some(settings))
    }
}

struct Folder<'a> {
    home: &'a Path,
    tls: PathBuf,
}

impl Folder<'_> {
    fn file(&self, section: &Map<String, Value>, key: &str) -> Result<Option<PathBuf>, Error> {
        let text = match section.get(key) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim(),
            Some(_) => return Err(invalid(&path_of(key), "must be a path")),
        };
        if text.is_empty() {
            return Err(invalid(&path_of(key), "must be a path, not blank"));
        }
        Ok(Some(match text.strip_prefix('~') {
            Some("") => self.home.to_path_buf(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(text),
        }))
    }
}

fn flag(section: &Map<String, Value>, key: &str) -> Result<Option<bool>, Error> {
    match section.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(invalid(&path_of(key), "must be true or false")),
    }
}

fn choice<T: Copy>(
    section: &Map<String, Value>,
    key: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, Error> {
    let Some(value) = section.get(key) else {
        return Ok(None);
    };
    let chosen = choices
        .iter()
        .find(|(word, _)| value.as_str() == Some(*word));
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let found = chosen.map(|(_, choice)| Some(*choice));
    found.ok_or_else(|| invalid(&path_of(key), &format!("use {}", words.join(", "))))
}

fn path_of(key: &str) -> String {
    format!("gateway.tls.{key}")
}

fn invalid(path: &str, message: &str) -> Error {
    Error::new(Code::ConfigInvalidValue, format!("{path}: {message}")).with("path", path)
}

const CERT: &str = "gateway-cert.pem";
const KEY: &str = "gateway-key.pem";
const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("none", ClientAuth::None),
    ("optional", ClientAuth::Optional),
    ("require", ClientAuth::Require),
];
const VERSIONS: &[(&str, bool)] = &[("1.2", true), ("1.3", false)];
const KEYS: &[&str] = &[
    "enabled",
    "autoGenerate",
    "certPath",
    "keyPath",
    "caPath",
    "clientAuth",
    "minVersion",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::FakeSnapshot;
    use super::*;

    fn read(tls: &Value) -> Result<Option<TlsSettings>, Error> {
        TlsSettings::read(&FakeSnapshot::new(json!({"gateway": {"tls": tls}})))
    }

    #[test]
    fn defaults_and_choices() {
        assert_eq!(read(&json!({})).unwrap(), None);
        assert_eq!(
            read(&json!({"enabled": false, "certPath": "/x"})).unwrap(),
            None
        );
        let plain = read(&json!({"enabled": true})).unwrap().unwrap();
        assert!(plain.cert.ends_with("gateway/tls/gateway-cert.pem"));
        assert!(plain.key.ends_with("gateway/tls/gateway-key.pem"));
        assert!(plain.auto_generate && !plain.allows_1_2);
        assert_eq!((plain.ca, plain.client_auth), (None, ClientAuth::None));
        let full = json!({"enabled": true, "autoGenerate": false, "certPath": "~/c.pem",
            "keyPath": "/k.pem", "caPath": "ca.pem", "clientAuth": "require",
            "minVersion": "1.2"});
        let full = read(&full).unwrap().unwrap();
        assert_eq!(full.cert, Path::new("/home/nobody/c.pem"));
        assert_eq!(full.key, Path::new("/k.pem"));
        assert_eq!(full.client_auth, ClientAuth::Require);
        assert!(full.allows_1_2 && !full.auto_generate);
    }

    #[test]
    fn mistakes_never_switch_tls_off() {
        for (tls, code) in [
            (json!(true), Code::ConfigInvalidValue),
            (json!({"enabled": "true"}), Code::ConfigInvalidValue),
            (
                json!({"enabled": true, "minVersion": "1.1"}),
                Code::ConfigInvalidValue,
            ),
            (
                json!({"enabled": true, "minVersion": 1.3}),
                Code::ConfigInvalidValue,
            ),
            (
                json!({"enabled": true, "clientAuth": "want"}),
                Code::ConfigInvalidValue,
            ),
            (
                json!({"enabled": true, "certPath": " "}),
                Code::ConfigInvalidValue,
            ),
            (
                json!({"enabled": true, "certpath": "/c"}),
                Code::ConfigUnknownKey,
            ),
            (
                json!({"enabled": true, "clientAuth": "optional"}),
                Code::TlsCaRequired,
            ),
        ] {
            assert_eq!(read(&tls).unwrap_err().code(), code, "{tls}");
        }
    }
}
