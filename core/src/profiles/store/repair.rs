//! Bringing a store that cannot be read, or that has an old shape, into one that can. What was
//! there is kept beside it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::document::{Document, MAX_BYTES, NotAStore};
use super::file::FileStore;
use super::legacy::credential;
use super::salvage::salvage;
use super::{ProfileStore as _, StoreVersion};
use crate::error::{Code, Result};

const BUDGET: Duration = Duration::from_secs(10);
const MODE: u32 = 0o600;

/// What a repair would do, or has done.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// The profiles of the new store.
    pub(crate) profiles: Vec<String>,
    /// Where the old file has been copied to. `None`: nothing was written.
    pub(crate) copy: Option<PathBuf>,
}

/// What is wrong with a store.
enum Damage {
    Corrupt,
    Legacy,
}

impl FileStore {
    /// Saves what can be read of a damaged store, or gives a very old one its new shape: shows
    /// what that leaves, and writes it when told to. `None`: the store is in order, or missing.
    pub(super) fn repair_file(&self, write: bool) -> Result<Option<Repaired>> {
        let Some((version, bytes)) = self.bytes()? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let (damage, document) = match Document::parse(&text) {
            Ok(_) if std::str::from_utf8(&bytes).is_ok() => return Ok(None),
            Ok(_) | Err(NotAStore::Corrupt { .. }) => (Damage::Corrupt, salvage(&text)),
            Err(NotAStore::LegacyShape) => (Damage::Legacy, modern(&text)),
        };
        let Some(document) = document else {
            let cause = "holds no complete profile that could be saved";
            return Err(self.error(Code::StoreCorrupt, cause).with_hint(
                "restore a backup, or move the file away and add the credentials again",
            ));
        };
        let profiles = document.profiles().map(|(id, _)| id.clone()).collect();
        if !write {
            return Ok(Some(Repaired {
                profiles,
                copy: None,
            }));
        }
        self.check_writable()?;
        let lock = self.lock(BUDGET)?;
        let word = match damage {
            Damage::Corrupt => "corrupt",
            Damage::Legacy => "legacy",
        };
        let now = self.host.clock.now_ms();
        let copy = self.path().with_extension(format!("json.{word}-{now}"));
        let files = &self.host.files;
        let made = files.create_private(&copy, &bytes, MODE);
        made.map_err(|error| self.write_failure(&error))?;
        let mut ready = || lock.is_ours() && self.version() == version;
        let next = document.to_text();
        let written = files.write_atomic_if(self.path(), next.as_bytes(), MODE, &mut ready);
        let written = written.map_err(|error| self.write_failure(&error))?;
        if written.is_none() {
            let error = self.error(Code::StoreConflict, "was changed by another program");
            return Err(error.retryable(true));
        }
        Ok(Some(Repaired {
            profiles,
            copy: Some(copy),
        }))
    }

    fn bytes(&self) -> Result<Option<(StoreVersion, Zeroizing<Vec<u8>>)>> {
        let version = self.version();
        if !version.exists() {
            return Ok(None);
        }
        let files = &self.host.files;
        let read = files
            .canonical(self.path())
            .and_then(|real| files.open(&real))
            .and_then(|mut file| file.read_to_limit(MAX_BYTES));
        let unreadable = |cause: &str| self.error(Code::StoreUnreadable, cause);
        let bytes = read
            .map_err(|error| unreadable(&format!("cannot be read: {}", error.kind())))?
            .ok_or_else(|| self.error(Code::StoreTooLarge, "is larger than 16 MiB"))?;
        Ok(Some((version, bytes)))
    }
}

/// A store of the form `{"openrouter": {"apiKey": "…"}}` in today's form.
fn modern(text: &str) -> Option<Document> {
    let Ok(Value::Object(old)) = serde_json::from_str(text.trim_start_matches('\u{feff}')) else {
        return None;
    };
    let mut profiles = Map::new();
    for (provider, entry) in &old {
        profiles.insert(
            format!("{provider}:default"),
            credential(provider, entry, None)?,
        );
    }
    let mut root = Map::new();
    root.insert("version".to_owned(), 1.into());
    root.insert("profiles".to_owned(), Value::Object(profiles));
    Document::from_root(root)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::StoreOptions;
    use super::*;
    use crate::host::sim::Sim;

    const STORE: &str = "/s/auth-profiles.json";

    fn repair(text: &[u8], write: bool) -> (Sim, Result<Option<Repaired>>) {
        let sim = Sim::new();
        sim.set_now_ms(1_800_000_000_000).file(STORE, text, 0o600);
        let options = StoreOptions::default();
        let store = FileStore::new(sim.host(), "main", PathBuf::from("/s"), options);
        let done = store.repair_file(write);
        (sim, done)
    }

    #[test]
    fn a_repair_is_shown_first_and_keeps_a_copy() {
        let cut =
            b"{\"version\": 1, \"profiles\": {\"a:1\": {\"type\": \"api_key\"}, \"a:2\": {\"ty";
        let (sim, shown) = repair(cut, false);
        assert_eq!(shown.unwrap().unwrap().profiles, ["a:1"]);
        assert_eq!(sim.content(STORE).unwrap(), cut);
        assert_eq!(sim.paths().len(), 2, "the folder and the store");
        let (sim, done) = repair(cut, true);
        let done = done.unwrap().unwrap();
        let copy = done.copy.unwrap();
        assert_eq!(
            copy,
            Path::new("/s/auth-profiles.json.corrupt-1800000000000")
        );
        assert_eq!(sim.content(&copy).unwrap(), cut);
        assert_eq!(sim.meta(&copy).unwrap().mode, 0o600);
        let text = sim.text(STORE).unwrap();
        assert!(
            Document::parse(&text).is_ok_and(|d| d.profile("a:1").is_some()),
            "{text}"
        );
        assert_eq!(sim.text("/s/auth-profiles.json.lock"), None);
    }

    #[test]
    fn very_old_stores_get_their_new_shape() {
        let (sim, done) = repair(b"{\"openrouter\": {\"apiKey\": \"k\", \"x\": 1}}", true);
        assert_eq!(done.unwrap().unwrap().profiles, ["openrouter:default"]);
        let document = Document::parse(&sim.text(STORE).unwrap()).unwrap();
        let entry = document.profile("openrouter:default").unwrap();
        assert_eq!(
            (&entry["type"], &entry["apiKey"]),
            (&"api_key".into(), &"k".into())
        );
    }

    #[test]
    fn whole_stores_are_left_alone_and_hopeless_ones_refused() {
        let (_, done) = repair(b"{\"version\": 1, \"profiles\": {}}", true);
        assert!(done.unwrap().is_none());
        for text in [
            &b""[..],
            b"\xff\xfe",
            b"null",
            b"{\"profiles\": {\"a\": {\"key\"",
        ] {
            let (sim, done) = repair(text, true);
            assert_eq!(done.unwrap_err().code(), Code::StoreCorrupt);
            assert_eq!(sim.content(STORE).unwrap(), text);
        }
    }
}
