//! One refresh, from the locks to the saved result.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::flight::Key;
use super::policy::{Class, Retries, classify, error_of, reauth};
use super::{
    Fresh, Job, Refresher, Source, fresh_of, is_usable, is_wanted, login_in, unpersistable,
};
use crate::error::{Code, Error, Result};
use crate::host::{HttpAnswer, random};
use crate::oauth::claims::{Identity, refresh_digest, sha256_hex};
use crate::oauth::external::program;
use crate::oauth::journal::{Intent, Journal};
use crate::oauth::login::{Login, renewed};
use crate::oauth::provider::{Provider, authority};
use crate::oauth::settings::Scene;
use crate::oauth::tokens::{Grant, TokenRequest, Tokens};
use crate::profiles::{
    Document, Durability, FileStore, HeldStore, LockFailure, LockFile, ProfileStore as _, Pulse,
    StoreOptions,
};
use crate::secrets::wipe;
use crate::text::SecretText;

/// How often the locks are made to look young, so that OpenClaw, which takes away locks that are
/// 30 seconds old, does not.
const BEAT: Duration = Duration::from_secs(5);
/// A try with less time than this left is not made.
const MIN_TRY: Duration = Duration::from_millis(500);
/// How long the refresh of a living process without its lock is waited for, in milliseconds.
const FOREIGN_INTENT_MS: u64 = 60_000;
const POLL: Duration = Duration::from_millis(25);
const FOLDER_MODE: u32 = 0o700;

/// One refresh under way.
pub(super) struct Attempt<'a> {
    refresher: &'a Refresher,
    scene: &'a Scene,
    job: &'a Job<'a>,
    key: &'a Key,
    /// The access token still works, so nothing is worth waiting for.
    soft: bool,
    started: Duration,
    journal: Journal<'a>,
}

/// Exclusive use of the store, if it can be had.
struct Locked<'a> {
    store: Option<Box<dyn HeldStore + 'a>>,
    /// Why the store cannot be written.
    refused: Option<Error>,
    lock: LockFile,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        refresher: &'a Refresher,
        scene: &'a Scene,
        job: &'a Job<'a>,
        key: &'a Key,
        soft: bool,
    ) -> Self {
        Self {
            journal: Journal::new(&refresher.host, job.owner.path(), job.profile_id),
            started: refresher.host.clock.monotonic(),
            refresher,
            scene,
            job,
            key,
            soft,
        }
    }

    pub(super) fn run(&self) -> Result<Fresh> {
        let login = self.refresher.stored(self.job)?;
        let Some(mut locked) = self.lock(&login)? else {
            return self
                .adopt(Source::Adopted)?
                .ok_or_else(|| self.contention(None, None));
        };
        let interrupted = self.recover(&mut locked)?;
        if let Some(fresh) = self.adopt(Source::Adopted)? {
            return Ok(fresh);
        }
        let login = self.refresher.stored(self.job)?;
        if let Some(fresh) = self.peer(&login) {
            return Ok(fresh);
        }
        if let Some(refused) = locked.refused.take() {
            return Err(refused);
        }
        let provider = self.scene.providers.get(&login.provider)?;
        let provider = self.refresher.discovered.complete(
            &self.refresher.host,
            &self.scene.transport,
            provider,
        )?;
        let Some(refresh) = &login.refresh else {
            let message = format!(
                "{} has run out and has no refresh token",
                self.job.profile_id
            );
            let hint = format!("openclaw-auth models auth login --provider {}", provider.id);
            return Err(Error::new(Code::OauthRefreshMissing, message).with_hint(hint));
        };
        self.check_endpoint(&provider, &login)?;
        if let Some(fresh) = self.shared(&provider, &login)? {
            return Ok(fresh);
        }
        if !self.scene.settings.lock_store_during_refresh {
            locked.store = None;
        }
        self.spend(locked, &provider, &login, refresh, interrupted)
    }

    /// The lock of the login, then that of the store. `None`: somebody else has brought a token
    /// while this one was waiting.
    fn lock(&self, login: &Login) -> Result<Option<Locked<'a>>> {
        let path = self.lock_path(login);
        let host = &self.refresher.host;
        if let Some(folder) = path.parent() {
            let made = host.files.create_dir_all(folder, FOLDER_MODE);
            made.map_err(|error| unpersistable(folder, &error.kind().to_string()))?;
        }
        let mut seen = self.job.owner.version();
        let mut meanwhile = || {
            let version = self.job.owner.version();
            let changed = version != seen;
            seen = version;
            changed && matches!(self.adopt(Source::Adopted), Ok(Some(_)))
        };
        let wait = if self.soft {
            Duration::ZERO
        } else {
            self.left().min(self.job.wait)
        };
        let lock = LockFile::acquire_unless(host, &path, wait, &mut meanwhile);
        let lock = match lock {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(None),
            Err(LockFailure::Busy { pid, age_ms }) => return Err(self.contention(pid, age_ms)),
            Err(LockFailure::SameProcess) => return Err(self.contention(None, None)),
            Err(LockFailure::Io(error)) => {
                return Err(unpersistable(&path, &error.kind().to_string()));
            }
        };
        match self.job.owner.hold(if self.soft {
            Duration::ZERO
        } else {
            self.left()
        }) {
            Ok(store) => Ok(Some(Locked {
                store: Some(store),
                refused: None,
                lock,
            })),
            Err(error) => match error.code() {
                Code::StoreReadOnly | Code::StoreWriteFailed | Code::StoreNotReplaceable => {
                    let reason = error.message().rsplit(": ").next().unwrap_or_default();
                    let refused = unpersistable(self.job.owner.path(), reason);
                    Ok(Some(Locked {
                        store: None,
                        refused: Some(refused),
                        lock,
                    }))
                }
                Code::StoreLocked => {
                    let number = |key: &str| error.details().get(key).and_then(Value::as_u64);
                    Err(self.contention(number("pid"), number("ageMs")))
                }
                _ => Err(error),
            },
        }
    }

    /// Named after the account, so that all agents with copies of one login meet here.
    fn lock_path(&self, login: &Login) -> PathBuf {
        let identity = &login.identity;
        let name = match (&identity.account_id, &identity.email, login.digest()) {
            (Some(account), ..) => format!("account:{}", account.trim()),
            (None, Some(email), _) => format!("email:{}", email.trim().to_lowercase()),
            (None, None, Some(digest)) => format!("digest:{digest}"),
            (None, None, None) => format!("profile:{}", self.job.profile_id),
        };
        let hex = sha256_hex(format!("{}\0{name}", login.provider).as_bytes());
        let folder = self.scene.state.join("locks").join("oauth-refresh");
        folder.join(format!("{hex}.lock"))
    }

    fn left(&self) -> Duration {
        let budget = Duration::from_millis(self.scene.settings.refresh_budget_ms);
        let elapsed = self
            .refresher
            .host
            .clock
            .monotonic()
            .saturating_sub(self.started);
        budget.saturating_sub(elapsed)
    }

    fn contention(&self, pid: Option<u64>, age_ms: Option<u64>) -> Error {
        let who = pid.map_or_else(
            || "somebody else".to_owned(),
            |pid| format!("another process (pid {pid})"),
        );
        let message = format!("{who} is refreshing {}", self.job.profile_id);
        Error::new(Code::OauthRefreshContention, message)
            .retryable(true)
            .with("pid", pid)
            .with("ageMs", age_ms)
    }

    /// The token in the store, if it has become what is wanted.
    fn adopt(&self, source: Source) -> Result<Option<Fresh>> {
        let login = self.refresher.stored(self.job)?;
        let now = self.refresher.host.clock.now_ms();
        let wanted = is_wanted(self.scene, &self.job.want, &login, now);
        Ok(wanted.then(|| fresh_of(&login, source)))
    }

    /// Brings into the store what an earlier refresh could not. Whether one with the current
    /// refresh token was interrupted, so that the token may have been spent.
    fn recover(&self, locked: &mut Locked<'_>) -> Result<bool> {
        self.recover_unsaved(locked);
        self.recover_rescue(locked);
        let host = &self.refresher.host;
        loop {
            let Some(found) = self.journal.found() else {
                return Ok(false);
            };
            let login = self.refresher.stored(self.job)?;
            if login.digest().as_ref() != Some(&found.digest) {
                // The store is newer than the intent.
                self.journal.end();
                return Ok(false);
            }
            let now = host.clock.now_ms();
            let young = now.saturating_sub(found.started_at) < FOREIGN_INTENT_MS;
            if found.alive && young && found.answer.is_none() {
                // Its locks have been taken away, but its request is on the way. Spending the
                // token a second time would end the login.
                if self.soft || self.left() < MIN_TRY {
                    return Err(self.contention(None, None));
                }
                host.clock.sleep(POLL);
                continue;
            }
            let Some(answer) = &found.answer else {
                return Ok(true);
            };
            return Ok(!self.replay(locked, &login, found.started_at, answer));
        }
    }

    /// Makes of an answer that was noted before its process died what that process would have
    /// made of it.
    fn replay(
        &self,
        locked: &mut Locked<'_>,
        login: &Login,
        sent_at: u64,
        answer: &HttpAnswer,
    ) -> bool {
        let Ok(provider) = self.scene.providers.get(&login.provider) else {
            return false;
        };
        let Some(refresh) = &login.refresh else {
            return false;
        };
        let request = self.request(provider, login, refresh, Duration::ZERO);
        let Ok(tokens) = request.read(sent_at, answer) else {
            return false;
        };
        match self.save(locked, provider, login, &tokens) {
            Ok(_) => true,
            Err(error) => {
                log::debug!(target: "openclaw_auth::oauth", "an interrupted refresh cannot be completed: {}", error.code());
                false
            }
        }
    }

    /// Tokens that only this process knows.
    fn recover_unsaved(&self, locked: &mut Locked<'_>) {
        let known = self.refresher.borrowed.lock().get(self.key).cloned();
        let Some((digest, unsaved)) = known.and_then(|known| Some((known.digest, known.unsaved?)))
        else {
            return;
        };
        let mut change = put_unsaved(self.job.profile_id, &digest, &unsaved);
        if self.write(locked, &mut change).is_ok() {
            self.refresher.forget_unsaved(self.job, self.key);
        }
    }

    fn recover_rescue(&self, locked: &mut Locked<'_>) {
        let Some(kept) = self.journal.kept() else {
            return;
        };
        let Some(rescued) = Login::read(&kept) else {
            return;
        };
        let id = self.job.profile_id;
        let mut applied = false;
        let written = self.write(locked, &mut |document| {
            let current = document.profile(id).and_then(Login::read);
            applied = current.is_some_and(|current| is_rescue_of(&rescued, &current));
            if applied {
                replace(document, id, &kept);
            }
            Ok(())
        });
        if applied && written.is_ok() {
            self.journal.forget_kept();
        }
    }

    /// The token of a copy of this login in another store. That store is not written, and neither
    /// is the own one: whoever owns the newer copy goes on refreshing it.
    fn peer(&self, login: &Login) -> Option<Fresh> {
        let digest = login.digest()?;
        let host = &self.refresher.host;
        let own = self.job.owner.path().parent()?;
        let now = host.clock.now_ms();
        let options = StoreOptions {
            read_only: true,
            ..StoreOptions::default()
        };
        for folder in self.scene.peers(host, own) {
            if host.files.stat(&folder.join("auth-profiles.json")).is_err() {
                continue;
            }
            let store = FileStore::new(host.clone(), "", folder, options.clone());
            let Some(document) = store.load().ok().and_then(|stored| stored.document) else {
                continue;
            };
            let copies = document
                .profiles()
                .filter_map(|(_, value)| Login::read(value));
            let copy = copies.into_iter().find(|copy| {
                copy.provider == login.provider
                    && copy.descends_from(&digest)
                    && !login.identity.is_contradicted_by(&copy.identity)
                    && copy.access != login.access
                    && is_wanted(self.scene, &self.job.want, copy, now)
            });
            if let Some(copy) = copy {
                let fresh = fresh_of(&copy, Source::Peer);
                self.refresher.borrow(self.key, login, copy, &fresh, None);
                return Some(fresh);
            }
        }
        None
    }

    /// A refresh token goes only where it came from.
    fn check_endpoint(&self, provider: &Provider, login: &Login) -> Result<()> {
        let target = authority(provider.token_endpoint()?);
        let home = login
            .token_host
            .as_ref()
            .or(provider.home_authority.as_ref());
        if self.scene.allow_endpoint_change || home.is_none_or(|home| *home == target) {
            return Ok(());
        }
        let home = home.cloned().unwrap_or_default();
        let message = format!(
            "the refresh token of {} was issued by {home}, but the token endpoint is {target}",
            self.job.profile_id
        );
        Err(Error::new(Code::OauthEndpointChanged, message)
            .with("tokenHost", home)
            .with_hint("sign in again, or set OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE=1"))
    }

    /// A refresh token that another program holds too is not spent: that would log it out.
    fn shared(&self, provider: &Provider, login: &Login) -> Result<Option<Fresh>> {
        let host = &self.refresher.host;
        for id in &provider.external_cli {
            let found = self.refresher.externals.login(host, &self.scene.env, id);
            let (Some(found), Some(program)) = (found, program(id)) else {
                continue;
            };
            let theirs = found
                .refresh
                .as_ref()
                .map(|token| refresh_digest(&login.provider, token));
            if theirs.is_none() || theirs != login.digest() {
                continue;
            }
            if self.scene.settings.allow_shared_refresh {
                log::warn!(target: "openclaw_auth::oauth", "{} will be logged out by refreshing {}", program.label, self.job.profile_id);
                return Ok(None);
            }
            let as_login = Login {
                access: Some(found.access),
                expires_ms: Some(found.expires_ms),
                issued_at_ms: None,
                ..login.clone()
            };
            let same = !login.identity.is_contradicted_by(&found.identity);
            if same && is_usable(&as_login, host.clock.now_ms()) && as_login.access != login.access
            {
                return Ok(Some(fresh_of(&as_login, Source::External(id.clone()))));
            }
            let label = program.label;
            let message = format!(
                "the login of {} belongs to {label}; refreshing it would log {label} out",
                self.job.profile_id
            );
            let hint = format!(
                "run {label} once to renew it, or run `openclaw-auth models auth login --provider {}` to get a separate login",
                provider.id
            );
            return Err(Error::new(Code::OauthSharedWithExternalCli, message).with_hint(hint));
        }
        Ok(None)
    }

    /// From here on the refresh token may be gone at any moment.
    fn spend(
        &self,
        mut locked: Locked<'_>,
        provider: &Provider,
        login: &Login,
        refresh: &SecretText,
        interrupted: bool,
    ) -> Result<Fresh> {
        let path = self.job.owner.path();
        let digest = refresh_digest(&login.provider, refresh);
        let len = self
            .refresher
            .host
            .files
            .stat(path)
            .map_or(0, |meta| meta.len);
        let len = usize::try_from(len).unwrap_or(0);
        let intent = self
            .journal
            .begin(&login.provider, &digest, len)
            .map_err(|error| unpersistable(path, &reason_of(&error)))?;
        let store_pulse = locked.store.as_ref().and_then(|store| store.pulse());
        let pulses: Vec<Pulse> = locked.lock.pulse().into_iter().chain(store_pulse).collect();
        beating(&pulses, || {
            let mut retries = Retries::default();
            let failure = match self.send(provider, login, refresh, &intent, &mut retries) {
                Ok(tokens) => return self.save(&mut locked, provider, login, &tokens),
                Err(failure) => failure,
            };
            let (error, class) = failure;
            self.refused(provider, &digest, error, &class, interrupted, &retries)
        })
    }

    fn request<'r>(
        &'r self,
        provider: &'r Provider,
        login: &'r Login,
        refresh: &'r SecretText,
        timeout: Duration,
    ) -> TokenRequest<'r> {
        TokenRequest {
            host: &self.refresher.host,
            provider,
            transport: &self.scene.transport,
            grant: Grant::Refresh {
                refresh,
                client_id: login.client_id.as_deref(),
            },
            timeout,
        }
    }

    fn send(
        &self,
        provider: &Provider,
        login: &Login,
        refresh: &SecretText,
        intent: &Intent,
        retries: &mut Retries,
    ) -> std::result::Result<Tokens, (Error, Class)> {
        let received = |answer: &HttpAnswer| {
            self.refresher.compare_clocks(answer);
            if (200..300).contains(&answer.status) {
                intent.answered(answer);
            }
        };
        loop {
            let request = self.request(provider, login, refresh, self.left());
            let failure = match request.send(&received) {
                Ok(tokens) => return Ok(tokens),
                Err(failure) => failure,
            };
            let class = classify(&failure);
            let wait = if self.soft {
                None
            } else {
                retries.next(&class, provider)
            };
            let wait = wait.map(|ms| Duration::from_millis(with_jitter(ms)));
            match wait.filter(|wait| self.left() > *wait + MIN_TRY) {
                Some(wait) => self.refresher.host.clock.sleep(wait),
                None => return Err((error_of(provider, &failure, &class), class)),
            }
        }
    }

    /// The provider said no. Somebody may have refreshed or signed in meanwhile.
    fn refused(
        &self,
        provider: &Provider,
        digest: &str,
        error: Error,
        class: &Class,
        interrupted: bool,
        retries: &Retries,
    ) -> Result<Fresh> {
        let Class::Permanent { dead, .. } = class else {
            // Of an unknown outcome the intent is the only trace.
            if *class != Class::Ambiguous && !retries.had_ambiguous() && !interrupted {
                self.journal.end();
            }
            return Err(error);
        };
        if let Some(fresh) = self.adopt(Source::Adopted)? {
            self.journal.end();
            return Ok(fresh);
        }
        let login = self.refresher.stored(self.job)?;
        if let Some(fresh) = self.peer(&login) {
            self.journal.end();
            return Ok(fresh);
        }
        let mut error = error;
        let unknown = retries.had_ambiguous();
        if interrupted || unknown {
            let path = self.journal.intent_path().display().to_string();
            if interrupted {
                let said = "an earlier refresh was interrupted before its result was saved";
                error = reauth(provider, "interrupted", &format!("{said} ({path})"));
            }
            error = error.with("intentFile", path);
        } else {
            self.journal.end();
        }
        if *dead {
            let now = self.refresher.host.clock.now_ms();
            self.refresher.memory.mark_dead(digest, &error, now);
        }
        Err(error)
    }

    /// Puts new tokens into the store. Never skipped because a lock was lost: the old token is
    /// worth nothing any more.
    fn save(
        &self,
        locked: &mut Locked<'_>,
        provider: &Provider,
        login: &Login,
        tokens: &Tokens,
    ) -> Result<Fresh> {
        let id = self.job.profile_id;
        let host = authority(provider.token_endpoint()?);
        let claims = tokens.claims();
        let identity = Identity {
            account_id: claims.first(&provider.account_id),
            email: claims.first(&provider.email),
        };
        if login.identity.is_contradicted_by(&identity) {
            return Err(self.other_account(login, tokens, &identity, &host));
        }
        let spent = login.digest();
        let now = self.refresher.host.clock.now_ms();
        let mut kept: Option<Login> = None;
        let mut next: Option<Value> = None;
        let written = self.write(locked, &mut |document| {
            let Some(current) = document.profile(id) else {
                return Ok(());
            };
            let Some(stored) = Login::read(current) else {
                return Ok(());
            };
            let is_done = stored.access.as_ref() == Some(&tokens.access);
            if is_done || (stored.digest() != spent && is_usable(&stored, now)) {
                // Somebody has signed in again meanwhile, or this is the second look.
                kept = Some(stored);
                return Ok(());
            }
            let mut value = renewed(current, login, tokens, &host);
            add_identity(&mut value, &identity);
            replace(document, id, &value);
            if let Some(old) = next.replace(value) {
                wipe(old);
            }
            Ok(())
        });
        let saved = next.as_ref().and_then(Login::read).or(kept);
        let result = match (written, saved) {
            (Ok(()), Some(login)) => {
                self.journal.end();
                self.refresher.borrowed.lock().remove(self.key);
                Ok(fresh_of(&login, Source::Refreshed))
            }
            (Ok(()), None) => {
                self.journal.end();
                Err(login_in(None, id)
                    .err()
                    .unwrap_or_else(|| self.contention(None, None)))
            }
            (Err(error), _) => Ok(self.unsaved(login, tokens, &identity, &host, &error)),
        };
        if let Some(next) = next {
            wipe(next);
        }
        result
    }

    /// New tokens that cannot be written: into the rescue file, and at least into memory.
    fn unsaved(
        &self,
        login: &Login,
        tokens: &Tokens,
        identity: &Identity,
        host: &str,
        error: &Error,
    ) -> Fresh {
        let stored = self
            .job
            .owner
            .load()
            .ok()
            .and_then(|stored| stored.document);
        let old = stored
            .as_ref()
            .and_then(|document| document.profile(self.job.profile_id));
        let base = serde_json::json!({"type": "oauth", "provider": login.provider});
        let mut value = renewed(old.unwrap_or(&base), login, tokens, host);
        add_identity(&mut value, identity);
        let place = match self.journal.keep(&value) {
            Ok(()) => {
                self.journal.end();
                self.journal.rescue_path().display().to_string()
            }
            // The intent holds the answer, as long as its space was not taken away.
            Err(_) => self.journal.intent_path().display().to_string(),
        };
        let message = format!(
            "new tokens could not be saved (kept in {place}): {}",
            error.message()
        );
        let warning = Error::new(Code::OauthStoreWriteFailed, message)
            .retryable(true)
            .with("rescueFile", place);
        log::warn!(target: "openclaw_auth::oauth", "{}", warning.message());
        let new = Login::read(&value).unwrap_or_else(|| login.clone());
        let mut fresh = fresh_of(&new, Source::Refreshed);
        self.refresher
            .borrow(self.key, login, new, &fresh, Some(value));
        fresh.warning = Some(warning);
        fresh
    }

    /// Tokens of somebody else never get into a profile.
    fn other_account(
        &self,
        login: &Login,
        tokens: &Tokens,
        identity: &Identity,
        host: &str,
    ) -> Error {
        let base = serde_json::json!({"type": "oauth", "provider": login.provider});
        let mut value = renewed(&base, login, tokens, host);
        add_identity(&mut value, identity);
        let kept = self.journal.keep(&value);
        wipe(value);
        let place = match kept {
            Ok(()) => {
                self.journal.end();
                self.journal.rescue_path().display().to_string()
            }
            Err(_) => self.journal.intent_path().display().to_string(),
        };
        let message = format!(
            "the new token of {} belongs to another account; the profile is unchanged (kept in {place})",
            self.job.profile_id
        );
        Error::new(Code::OauthAccountMismatch, message).with("rescueFile", place)
    }

    fn write(
        &self,
        locked: &mut Locked<'_>,
        change: &mut dyn FnMut(&mut Document) -> Result<()>,
    ) -> Result<()> {
        const BUDGET: Duration = Duration::from_secs(10);
        let written = match &mut locked.store {
            Some(store) => store.update(Durability::Verified, change),
            None => self.job.owner.update(BUDGET, Durability::Verified, change),
        };
        written.map(drop)
    }
}

/// The change that writes what only this process has, if its parent still stands.
pub(super) fn put_unsaved<'a>(
    id: &'a str,
    digest: &'a str,
    unsaved: &'a Value,
) -> impl FnMut(&mut Document) -> Result<()> + 'a {
    move |document| {
        let current = document.profile(id).and_then(Login::read);
        if current.and_then(|login| login.digest()).as_deref() == Some(digest) {
            replace(document, id, unsaved);
        }
        Ok(())
    }
}

/// A rescued credential belongs where its parent still stands, or where the same person's older
/// one does.
fn is_rescue_of(rescued: &Login, current: &Login) -> bool {
    let parent = current.digest().is_some_and(|digest| {
        rescued.lineage.first().map(String::as_str) == Some(crate::oauth::claims::short(&digest))
    });
    let contradicted = current.identity.is_contradicted_by(&rescued.identity);
    let same = current.identity.matches(&rescued.identity) == crate::oauth::claims::Match::Same;
    !contradicted && (parent || (same && rescued.expires_ms > current.expires_ms))
}

fn replace(document: &mut Document, id: &str, value: &Value) {
    let old = document.edit("profiles", |profiles| {
        profiles.insert(id.to_owned(), value.clone())
    });
    if let Some(old) = old {
        wipe(old);
    }
}

/// What the new token says about its owner and the credential did not know.
fn add_identity(value: &mut Value, identity: &Identity) {
    let Value::Object(map) = value else { return };
    for (key, found) in [
        ("accountId", &identity.account_id),
        ("email", &identity.email),
    ] {
        let known = map
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty());
        if let (false, Some(found)) = (known, found) {
            map.insert(key.to_owned(), found.clone().into());
        }
    }
}

/// Keeps locks young while the work lasts.
fn beating<T>(pulses: &[Pulse], work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        scope.spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(BEAT) {
                for pulse in pulses {
                    if let Err(error) = pulse.beat() {
                        log::debug!(target: "openclaw_auth::oauth", "cannot keep a lock young: {}", error.kind());
                    }
                }
            }
        });
        let result = work();
        drop(stop);
        result
    })
}

/// A wait that differs by up to a fifth, so that those who failed together do not try together.
fn with_jitter(ms: u64) -> u64 {
    let mut byte = [0u8];
    // Without randomness everybody waits the same.
    let _ = random(&mut byte);
    let [byte] = byte;
    ms * 4 / 5 + ms * 2 / 5 * u64::from(byte) / 255
}

fn reason_of(error: &io::Error) -> String {
    error.kind().to_string()
}
