//! Keeping tokens fresh: one refresh of a login at a time, whoever needs it, and no token lost.

mod attempt;
mod flight;
mod policy;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use self::attempt::Attempt;
use self::flight::{Flights, Key, Memory};
use super::expiry::Window;
use super::external::{Externals, file_of, program};
use super::journal::Journal;
use super::login::{ExternalLink, Login};
use super::settings::Scene;
use super::tokens::{MIN_SKEW_MS, clock_skew_ms};
use crate::error::{Code, Error, Result};
use crate::host::{Host, HttpAnswer};
use crate::profiles::{Document, Durability, Notice, ProfileStore};
use crate::text::SecretText;

/// Refreshes tokens. One for each engine; what it remembers outlives configurations.
pub(crate) struct Refresher {
    host: Host,
    flights: Flights<Fresh>,
    memory: Memory,
    /// Tokens that serve although the own store does not hold them: those of a copy of the same
    /// login, and those that could not be written.
    borrowed: Mutex<HashMap<Key, Borrowed>>,
    externals: Externals,
    discovered: super::discovery::Discovered,
    notices: Mutex<Vec<Notice>>,
    /// By how much the provider's clock was ahead of ours at its last answer, in milliseconds.
    skew_ms: AtomicI64,
}

/// Most notices that wait for somebody to take them.
const MOST_NOTICES: usize = 256;

/// Which token is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    /// One that is refreshed now, whatever is stored.
    Anyway,
    /// Any but this one, which the provider has just refused.
    Other(SecretText),
    /// One that is valid for so many milliseconds, as far as its lifetime allows.
    Valid(u64),
}

/// A profile whose token is wanted.
pub(crate) struct Job<'a> {
    /// The store that owns the profile.
    pub(crate) owner: &'a dyn ProfileStore,
    pub(crate) profile_id: &'a str,
    pub(crate) want: Want,
    /// Longest wait for somebody else's refresh.
    pub(crate) wait: Duration,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody else refreshed it meanwhile.
    Adopted,
    /// The login of another program.
    External(String),
    /// A copy of the same login in another store.
    Peer,
    /// A refresh just now.
    Refreshed,
    /// The store.
    Stored,
}

/// A token to use.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub(crate) access: SecretText,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) account_id: Option<String>,
    pub(crate) source: Source,
    /// Why the token is not newer, or not saved.
    pub(crate) warning: Option<Error>,
}

#[derive(Clone)]
struct Borrowed {
    /// Digest of the refresh token in the own store at that time.
    digest: String,
    fresh: Fresh,
    login: Login,
    /// A credential that is still to be written, and when that is tried next.
    unsaved: Option<Value>,
    retry_at: u64,
}

/// How often writing a credential that only this process has is tried, in milliseconds.
const UNSAVED_RETRY_MS: u64 = 5_000;

impl Refresher {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            flights: Flights::default(),
            memory: Memory::default(),
            borrowed: Mutex::default(),
            externals: Externals::default(),
            discovered: super::discovery::Discovered::default(),
            notices: Mutex::default(),
            skew_ms: AtomicI64::new(0),
        }
    }

    /// Remembers how far this machine's clock is from that of a provider.
    fn compare_clocks(&self, answer: &HttpAnswer) {
        if let Some(skew_ms) = clock_skew_ms(answer, self.host.clock.now_ms()) {
            self.skew_ms.store(skew_ms, Ordering::Relaxed);
        }
    }

    /// Says so when a refusal may come from a wrong clock: the provider took a token for expired
    /// that is good by this machine's clock.
    fn with_clocks(&self, error: Error, job: &Job<'_>) -> Error {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        if !matches!(job.want, Want::Other(_)) || skew_ms.unsigned_abs() < MIN_SKEW_MS {
            return error;
        }
        let seconds = skew_ms.unsigned_abs() / 1_000;
        let hint = format!(
            "the clocks of the provider and of this machine differ by {seconds} s: set the clock, \
             then sign in again"
        );
        error.with("clockSkewMs", skew_ms).with_hint(hint)
    }

    /// What has happened since the last call.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }

    pub(crate) fn notice(&self, code: Code, message: String, details: Value) {
        let mut notices = self.notices.lock();
        // Nobody may be taking them; the newest are enough then.
        if notices.len() >= MOST_NOTICES {
            notices.remove(0);
        }
        notices.push(Notice {
            code,
            message,
            details,
        });
    }

    /// Tells how a refresh ended.
    fn tell(&self, job: &Job<'_>, provider: &str, result: &Result<Fresh>, took_ms: u128) {
        let (code, end, detail) = match result {
            Ok(fresh) => {
                let failed = fresh.warning.as_ref().map(Error::code);
                let (code, end) = match (&fresh.source, failed) {
                    (_, Some(Code::OauthStoreWriteFailed)) => (
                        Code::OauthTokensRescued,
                        "the new tokens could not be saved yet",
                    ),
                    (Source::Refreshed, _) => (Code::OauthRefreshed, "refreshed"),
                    _ => (Code::OauthTokenAdopted, "somebody else's refresh is used"),
                };
                (code, end.to_owned(), json!({"expires": fresh.expires_ms}))
            }
            Err(error) => {
                let reason = error.details().get("reason");
                let detail = json!({"error": error.code().as_str(), "reason": reason});
                (Code::OauthRefreshFailed, error.message().to_owned(), detail)
            }
        };
        let mut details = json!({
            "provider": provider,
            "profileId": job.profile_id,
            "ownerPath": job.owner.path().to_string_lossy(),
            "durationMs": u64::try_from(took_ms).unwrap_or(u64::MAX),
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut details, detail) {
            all.extend(more);
        }
        self.notice(code, format!("{}: {end}", job.profile_id), details);
    }

    /// The logins of other programs.
    pub(crate) fn externals(&self) -> &Externals {
        &self.externals
    }

    /// What providers have published about themselves.
    pub(crate) fn discovered(&self) -> &super::discovery::Discovered {
        &self.discovered
    }

    /// A token as it is wanted: from the store while that is good enough, otherwise refreshed.
    /// Blocks while it refreshes, or while somebody else does.
    ///
    /// # Errors
    ///
    /// `profile_not_found`, and the codes `oauth_…` and `refresh_unpersistable`.
    pub(crate) fn ensure(&self, scene: &Scene, job: &Job<'_>) -> Result<Fresh> {
        let login = self.stored(job)?;
        if let Some(link) = &login.external {
            return self.linked(scene, &login, link);
        }
        let key = (job.owner.path().to_owned(), job.profile_id.to_owned());
        let now = self.host.clock.now_ms();
        self.write_unsaved(job, &key, now);
        let current = self.current(&key, login);
        if is_wanted(scene, &job.want, &current, now) {
            return Ok(self.as_stored(&key, &current));
        }
        let outcome = self
            .flights
            .run(&key, job.wait, || self.lead(scene, job, &key, &current));
        outcome.unwrap_or_else(|| {
            let message = format!("another thread is refreshing {}", job.profile_id);
            Err(Error::new(Code::OauthRefreshContention, message).retryable(true))
        })
    }

    /// The work of the one who refreshes.
    fn lead(&self, scene: &Scene, job: &Job<'_>, key: &Key, current: &Login) -> Result<Fresh> {
        let started = self.host.clock.monotonic();
        let now = self.host.clock.now_ms();
        let soft = matches!(job.want, Want::Valid(_)) && is_usable(current, now);
        if soft && self.memory.backs_off(key, now) {
            return Ok(self.as_stored(key, current));
        }
        let dead = current
            .digest()
            .and_then(|digest| self.memory.dead(&digest, now));
        let provider = &current.provider;
        let result = match dead {
            Some(error) => Err(error),
            None => {
                let details = json!({
                    "provider": provider,
                    "profileId": job.profile_id,
                    "ownerPath": job.owner.path().to_string_lossy(),
                });
                let message = format!("{}: a refresh begins", job.profile_id);
                self.notice(Code::OauthRefreshStarted, message, details);
                Attempt::new(self, scene, job, key, soft).run()
            }
        };
        let took = self
            .host
            .clock
            .monotonic()
            .saturating_sub(started)
            .as_millis();
        self.tell(job, provider, &result, took);
        match result {
            Ok(fresh) => {
                self.memory.succeeded(key);
                Ok(fresh)
            }
            Err(error) => {
                if !soft {
                    let error = self.with_clocks(error, job);
                    return Err(error.with("profileId", job.profile_id));
                }
                self.memory.failed(key, self.host.clock.now_ms());
                let mut fresh = self.as_stored(key, current);
                fresh.warning = Some(error);
                Ok(fresh)
            }
        }
    }

    /// The credential in the store.
    fn stored(&self, job: &Job<'_>) -> Result<Login> {
        let stored = job.owner.load()?;
        login_in(stored.document.as_ref(), job.profile_id)
    }

    /// What is used in place of the stored credential, as long as that has not changed.
    fn current(&self, key: &Key, stored: Login) -> Login {
        let mut borrowed = self.borrowed.lock();
        match borrowed.get(key) {
            Some(known) if Some(&known.digest) == stored.digest().as_ref() => known.login.clone(),
            Some(_) => {
                borrowed.remove(key);
                stored
            }
            None => stored,
        }
    }

    fn as_stored(&self, key: &Key, login: &Login) -> Fresh {
        let borrowed = self.borrowed.lock();
        let known = borrowed
            .get(key)
            .filter(|known| known.login.access == login.access);
        match known {
            Some(known) => known.fresh.clone(),
            None => fresh_of(login, Source::Stored),
        }
    }

    fn borrow(&self, key: &Key, own: &Login, login: Login, fresh: &Fresh, unsaved: Option<Value>) {
        if let Some(digest) = own.digest() {
            let mut fresh = fresh.clone();
            fresh.warning = None;
            let retry_at = self.host.clock.now_ms() + UNSAVED_RETRY_MS;
            let borrowed = Borrowed {
                digest,
                fresh,
                login,
                unsaved,
                retry_at,
            };
            self.borrowed.lock().insert(key.clone(), borrowed);
        }
    }

    /// Tries again, now and then, to write what only this process has.
    fn write_unsaved(&self, job: &Job<'_>, key: &Key, now: u64) {
        let (digest, unsaved) = {
            let mut borrowed = self.borrowed.lock();
            let Some(known) = borrowed.get_mut(key).filter(|known| now >= known.retry_at) else {
                return;
            };
            let Some(unsaved) = known.unsaved.clone() else {
                return;
            };
            known.retry_at = now + UNSAVED_RETRY_MS;
            (known.digest.clone(), unsaved)
        };
        let mut change = attempt::put_unsaved(job.profile_id, &digest, &unsaved);
        if job
            .owner
            .update(Duration::ZERO, Durability::Verified, &mut change)
            .is_ok()
        {
            self.forget_unsaved(job, key);
        }
    }

    fn forget_unsaved(&self, job: &Job<'_>, key: &Key) {
        self.borrowed.lock().remove(key);
        let journal = Journal::new(&self.host, job.owner.path(), job.profile_id);
        journal.forget_kept();
        journal.end();
    }

    /// The token of another program's login, which is never refreshed here.
    fn linked(&self, scene: &Scene, login: &Login, link: &ExternalLink) -> Result<Fresh> {
        let Some(program) = program(&link.cli) else {
            let message = format!(
                "the profile is linked to an unknown program \"{}\"",
                link.cli
            );
            return Err(Error::new(Code::OauthExternalCliMissing, message));
        };
        let label = program.label;
        let path = file_of(&self.host, &scene.env, program.id);
        let found = self
            .externals
            .login(&self.host, &scene.env, program.id)
            .ok_or_else(|| {
                let place = path.map_or_else(String::new, |path| format!(" ({})", path.display()));
                let message = format!("{label} is not signed in on this machine{place}");
                Error::new(Code::OauthExternalCliMissing, message)
                    .retryable(true)
                    .with_hint(format!("run `{}`", program.command))
            })?;
        let recorded = login.identity.account_id.as_deref();
        let theirs = found.identity.account_id.as_deref();
        if recorded.is_some_and(|recorded| theirs != Some(recorded)) {
            let message = format!("{label} is signed in with another account than the linked one");
            return Err(Error::new(Code::OauthExternalCliInvalid, message).retryable(true));
        }
        let as_login = Login {
            access: Some(found.access.clone()),
            refresh: None,
            expires_ms: Some(found.expires_ms),
            external: None,
            ..login.clone()
        };
        if !is_usable(&as_login, self.host.clock.now_ms()) {
            let message = format!("the login of {label} has run out");
            return Err(Error::new(Code::OauthExternalCliExpired, message)
                .retryable(true)
                .with_hint(format!("run {label} once so that it renews its login")));
        }
        let source = Source::External(program.id.to_owned());
        let mut fresh = fresh_of(&as_login, source);
        fresh.account_id = fresh.account_id.or(found.identity.account_id);
        Ok(fresh)
    }
}

/// The credential of a profile in a store.
fn login_in(document: Option<&Document>, profile_id: &str) -> Result<Login> {
    let value = document.and_then(|document| document.profile(profile_id));
    value.and_then(Login::read).ok_or_else(|| {
        let message = format!("there is no OAuth profile \"{profile_id}\"");
        Error::new(Code::ProfileNotFound, message).with("profileId", profile_id)
    })
}

fn fresh_of(login: &Login, source: Source) -> Fresh {
    Fresh {
        access: login
            .access
            .clone()
            .unwrap_or_else(|| SecretText::new(String::new())),
        expires_ms: login.expires_ms,
        account_id: login.identity.account_id.clone(),
        source,
        warning: None,
    }
}

/// Whether a login is what is wanted, without a refresh.
fn is_wanted(scene: &Scene, want: &Want, login: &Login, now: u64) -> bool {
    let Some(access) = &login.access else {
        return false;
    };
    match want {
        Want::Anyway => false,
        Want::Other(refused) => access != refused && is_usable(login, now),
        Want::Valid(min_valid_ms) => {
            let margin = scene.settings.refresh_margin_ms;
            login.validity().window(now, margin, *min_valid_ms) == Window::Fresh
        }
    }
}

/// Whether the access token still works.
fn is_usable(login: &Login, now: u64) -> bool {
    login.access.is_some() && login.validity().window(now, 0, 0) != Window::Hard
}

/// `refresh_unpersistable`.
fn unpersistable(path: &Path, reason: &str) -> Error {
    let path = path.display();
    let message = format!("cannot write {path}: {reason}; no refresh was attempted");
    Error::new(Code::RefreshUnpersistable, message).with("path", path.to_string())
}

#[cfg(test)]
mod tests;
