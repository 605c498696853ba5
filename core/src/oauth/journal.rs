//! What a refresh leaves on disk while it is under way, so that dying at any step loses nothing
//! that can be kept.
//!
//! The *intent* file is made before the refresh token is spent: it says who is about to spend
//! which token, and it takes the space that saving the answer will need. The answer is written
//! over it the moment it has arrived, before anything else is made of it. The *rescue* file holds
//! a finished credential that could not be written into the store.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::claims::sha256_hex;
use crate::host::{Host, HttpAnswer, Liveness, Overwrite};
use crate::secrets::wipe;

/// Space for the answer, beyond that for a copy of the store.
const RESERVE: usize = 16 * 1024;
const MAX_BYTES: u64 = 20 << 20;
const MODE: u32 = 0o600;

/// The files of one profile beside its store.
pub(crate) struct Journal<'a> {
    host: &'a Host,
    intent: PathBuf,
    rescue: PathBuf,
    profile_id: &'a str,
}

/// An intent that was found.
pub(crate) struct Found {
    /// Digest of the refresh token that was to be spent.
    pub(crate) digest: String,
    pub(crate) started_at: u64,
    /// Whether the process that made it still runs.
    pub(crate) alive: bool,
    /// The answer of the provider, when it had arrived.
    pub(crate) answer: Option<HttpAnswer>,
}

/// The intent of this process.
pub(crate) struct Intent {
    /// What stands before the answer: the intent, then the mark.
    head: String,
    file: Box<dyn Overwrite>,
}

/// Between the intent and the answer, which follows as it came: status, line feed, body. The
/// rest of the file is spaces.
const MARK: &str = "\nanswer ";

impl<'a> Journal<'a> {
    pub(crate) fn new(host: &'a Host, store: &Path, profile_id: &'a str) -> Self {
        let hex = sha256_hex(profile_id.as_bytes());
        let name =
            |what: &str| store.with_file_name(format!(".auth-profiles.json.{what}.{:.16}", hex));
        Self {
            host,
            intent: name("refresh"),
            rescue: name("rescue"),
            profile_id,
        }
    }

    pub(crate) fn intent_path(&self) -> &Path {
        &self.intent
    }

    pub(crate) fn rescue_path(&self) -> &Path {
        &self.rescue
    }

    /// Says that a refresh token is about to be spent, and reserves the space for the answer and
    /// for a copy of the store. An older intent is replaced.
    pub(crate) fn begin(
        &self,
        provider: &str,
        digest: &str,
        store_len: usize,
    ) -> io::Result<Intent> {
        let this = self.host.locks.this_process();
        let content = json!({
            "version": 1,
            "profileId": self.profile_id,
            "provider": provider,
            "refreshDigest": digest,
            "pid": this.pid,
            "starttime": this.start_ticks,
            "host": this.machine,
            "startedAt": self.host.clock.now_ms(),
        });
        let mut text = content.to_string();
        let head = format!("{text}{MARK}");
        let size = store_len + RESERVE;
        text.extend(std::iter::repeat_n(' ', size.saturating_sub(text.len())));
        let file = match self
            .host
            .files
            .create_private(&self.intent, text.as_bytes(), MODE)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.host.files.remove_file(&self.intent)?;
                self.host
                    .files
                    .create_private(&self.intent, text.as_bytes(), MODE)?
            }
            result => result?,
        };
        Ok(Intent { head, file })
    }

    /// Whether something of this size can be written beside the store, before a person signs in.
    pub(crate) fn check(&self, store_len: usize) -> io::Result<()> {
        let this = self.host.locks.this_process().pid;
        let probe = self.intent.with_extension(format!("probe-{this}"));
        let text = vec![b' '; store_len + RESERVE];
        match self.host.files.create_private(&probe, &text, MODE) {
            Ok(_) => self.host.files.remove_file(&probe),
            // Left by a process that had this id; it can be replaced, so it can be written.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.host.files.remove_file(&probe)
            }
            Err(error) => Err(error),
        }
    }

    /// The refresh is over, and everything is in the store.
    pub(crate) fn end(&self) {
        self.remove(&self.intent);
    }

    /// An intent that somebody left.
    pub(crate) fn found(&self) -> Option<Found> {
        let bytes = self.bytes(&self.intent)?;
        let whole = std::str::from_utf8(&bytes).ok()?;
        let (intent, answer) = match whole.split_once(MARK) {
            Some((intent, answer)) => (intent, answer_of(answer)),
            None => (whole, None),
        };
        let tree: Value = serde_json::from_str(intent.trim_end()).ok()?;
        let text = |key: &str| tree.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| tree.get(key).and_then(Value::as_u64);
        let this = self.host.locks.this_process();
        let pid = number("pid")
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0);
        let alive = text("host") == this.machine
            && match self.host.locks.liveness(pid) {
                Liveness::Dead => false,
                Liveness::Alive(ticks) => ticks.is_none() || ticks == number("starttime"),
            };
        Some(Found {
            digest: text("refreshDigest").to_owned(),
            started_at: number("startedAt").unwrap_or(0),
            alive,
            answer,
        })
    }

    /// Keeps a credential that could not be written into the store.
    pub(crate) fn keep(&self, credential: &Value) -> io::Result<()> {
        let tree = json!({
            "profileId": self.profile_id,
            "credential": credential,
            "writtenAt": self.host.clock.now_ms(),
        });
        let text = Zeroizing::new(tree.to_string());
        wipe(tree);
        self.host
            .files
            .write_atomic(&self.rescue, text.as_bytes(), MODE)
    }

    /// A credential that was kept.
    pub(crate) fn kept(&self) -> Option<Value> {
        let mut tree = self.read(&self.rescue)?;
        let ours = tree.get("profileId").and_then(Value::as_str) == Some(self.profile_id);
        let credential = tree.get_mut("credential").map(Value::take);
        credential.filter(|credential| ours && credential.is_object())
    }

    pub(crate) fn forget_kept(&self) {
        self.remove(&self.rescue);
    }

    fn read(&self, path: &Path) -> Option<Value> {
        serde_json::from_slice(&self.bytes(path)?).ok()
    }

    fn bytes(&self, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        self.host
            .files
            .open(path)
            .ok()?
            .read_to_limit(MAX_BYTES)
            .ok()?
    }

    fn remove(&self, path: &Path) {
        match self.host.files.remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                log::debug!(target: "openclaw_auth::oauth", "cannot remove {}: {}", path.display(), error.kind());
            }
        }
    }
}

impl Intent {
    /// Writes the answer of the provider behind the intent, as it came and before anything is
    /// made of it: the shorter this takes, the less can be lost.
    pub(crate) fn answered(&self, answer: &HttpAnswer) {
        let status = answer.status.to_string();
        let parts = [
            self.head.as_bytes(),
            status.as_bytes(),
            b"\n",
            answer.body.as_slice(),
        ];
        let text = Zeroizing::new(parts.concat());
        if let Err(error) = self.file.overwrite(&text) {
            // The store is written next; only a crash right now would lose the answer.
            log::debug!(target: "openclaw_auth::oauth", "cannot note an answer: {}", error.kind());
        }
    }
}

fn answer_of(text: &str) -> Option<HttpAnswer> {
    let (status, body) = text.split_once('\n')?;
    Some(HttpAnswer {
        status: status.parse().ok()?,
        headers: Vec::new(),
        body: Zeroizing::new(body.trim_end().as_bytes().to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sim::{PID, START_TICKS, Sim, json_answer};

    const STORE: &str = "/a/auth-profiles.json";

    #[test]
    fn an_intent_tells_what_was_going_on() {
        let sim = Sim::new();
        sim.dir("/a", 0o700);
        let host = sim.host();
        let journal = Journal::new(&host, STORE.as_ref(), "p:1");
        assert!(journal.found().is_none());
        let intent = journal.begin("p", "d1", 100).unwrap();
        let meta = sim.meta(journal.intent_path()).unwrap();
        assert_eq!((meta.mode, meta.len), (0o600, 100 + RESERVE as u64));
        let found = journal.found().unwrap();
        assert!(found.alive && found.answer.is_none());
        assert_eq!(found.digest, "d1");

        intent.answered(&json_answer(200, "{\"access_token\":\"A\"}"));
        let found = journal.found().unwrap();
        assert_eq!(&**found.answer.unwrap().body, b"{\"access_token\":\"A\"}");
        assert_eq!(sim.meta(journal.intent_path()).unwrap().len, meta.len);

        // The same process id, another process.
        let text = sim.text(journal.intent_path()).unwrap();
        let other = text.replace(&format!("\"starttime\":{START_TICKS}"), "\"starttime\":1");
        assert!(text.contains(&PID.to_string()));
        sim.file(journal.intent_path(), other, 0o600);
        assert!(!journal.found().unwrap().alive);

        journal.begin("p", "d2", 0).unwrap();
        assert_eq!(journal.found().unwrap().digest, "d2");
        journal.end();
        assert!(journal.found().is_none());
        journal.end();
    }

    #[test]
    fn a_kept_credential_comes_back_to_its_profile_only() {
        let sim = Sim::new();
        sim.dir("/a", 0o700);
        let host = sim.host();
        let journal = Journal::new(&host, STORE.as_ref(), "p:1");
        journal.keep(&json!({"type": "oauth"})).unwrap();
        assert_eq!(sim.meta(journal.rescue_path()).unwrap().mode, 0o600);
        assert_eq!(journal.kept(), Some(json!({"type": "oauth"})));
        sim.file(
            journal.rescue_path(),
            "{\"profileId\":\"p:2\",\"credential\":{}}",
            0o600,
        );
        assert_eq!(journal.kept(), None);
        journal.forget_kept();
        assert_eq!(sim.text(journal.rescue_path()), None);
    }
}
