//! One attempt with one credential: what a caller asks for, gets, and reports.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Value, json};

use super::chain::{Chain, Issued};
use super::routes::Router;
use crate::config::Probe;
use crate::error::{Code, Error, Reason, Result};
use crate::keys::{Classification, Signal};
use crate::profiles::Kind;
use crate::sessions::Pin;
use crate::text::SecretText;

/// What a credential is wanted for. `provider`, `model` or `models` must be given.
///
/// ```
/// use openclaw_auth::LeaseRequest;
///
/// let request = LeaseRequest { provider: Some("openai"), ..LeaseRequest::default() };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'a> {
    /// Provider, in any spelling.
    pub provider: Option<&'a str>,
    /// Model id, for windows that concern one model.
    pub model: Option<&'a str>,
    /// Fallback chain of `provider/model`, instead of `provider` and `model`.
    pub models: &'a [&'a str],
    /// Agent whose profiles are used (default: the default agent).
    pub agent: Option<&'a str>,
    /// Session, for the profile it sticks to.
    pub session: Option<&'a str>,
    /// The session's pin, when the caller keeps it. Not remembered.
    pub pin: Option<&'a Pin>,
    /// The session has just been started anew.
    pub new_session: bool,
    /// How often the session has been compacted.
    pub compaction_count: u64,
    /// Only this profile; not remembered.
    pub profile: Option<&'a str>,
    /// This profile first, if it is available.
    pub prefer: Option<&'a str>,
    /// Candidates that must not be used.
    pub exclude: &'a [&'a str],
    /// Whether keys of the environment and the configuration are candidates.
    pub env: bool,
    /// Whether an unavailable credential may be tried before its window ends (default: the
    /// setting).
    pub probe: Option<Probe>,
    /// How long a token must be valid, in milliseconds (default: the setting).
    pub min_valid_ms: Option<u64>,
    /// Whether OAuth tokens are refreshed when needed.
    pub refresh: bool,
    /// Whether the call may wait, for a refresh or for the claim of a trial in the store. Without,
    /// it gives `would_block` instead; later leases of the chain may wait in any case.
    pub wait: bool,
    /// Most leases of the chain (default: the setting).
    pub max_attempts: Option<u64>,
}

impl Default for LeaseRequest<'_> {
    fn default() -> Self {
        Self {
            provider: None,
            model: None,
            models: &[],
            agent: None,
            session: None,
            pin: None,
            new_session: false,
            compaction_count: 0,
            profile: None,
            prefer: None,
            exclude: &[],
            env: true,
            probe: None,
            min_valid_ms: None,
            refresh: true,
            wait: true,
            max_attempts: None,
        }
    }
}

/// A credential, lent for one attempt.
///
/// Report what became of it with [`Lease::succeed`] or [`Lease::fail`]; dropping it reports
/// nothing. No lock is held while it is out, and any number may be out.
#[must_use]
pub struct Lease {
    router: Arc<Router>,
    id: LeaseId,
    chain_id: LeaseId,
    attempt: u64,
    generation: u64,
    pub(super) issued: Arc<Issued>,
}

/// 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LeaseId(pub(super) u128);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl LeaseId {
    fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(Self)
    }
}

/// What follows a failure.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is left to try.
    Exhausted(Box<Exhausted>),
    /// Another credential, or the same one with fresh material.
    Retry {
        /// The next attempt.
        lease: Box<Lease>,
        /// How long to wait before it, in milliseconds.
        delay_ms: u64,
        /// What the failure meant.
        cause: Box<Classification>,
    },
}

/// The end of a chain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exhausted {
    /// Reason of the last failure.
    pub reason: Reason,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When the first credential is available again, in milliseconds since 1970.
    pub soonest_available_at: Option<u64>,
    /// How long to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Everything that was tried or passed over, in order.
    pub attempts: Vec<Attempt>,
    /// What the last failure meant.
    pub last: Box<Classification>,
    /// Text for a person.
    pub message: String,
}

/// One step of a chain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// Candidate, such as `anthropic:work` or `env:OPENAI_API_KEYS#2`.
    pub candidate_id: String,
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: Option<String>,
    /// Whether it was passed over without a request.
    pub skipped: bool,
    /// Failure reason, or why it was passed over.
    pub reason: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// The provider's code.
    pub code: Option<String>,
    /// What decided the reason.
    pub rule: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The provider's message without secrets.
    pub message: String,
}

impl Attempt {
    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "candidateId": self.candidate_id,
            "provider": self.provider,
            "model": self.model,
            "outcome": if self.skipped { "skipped" } else { "failed" },
            "reason": self.reason,
            "status": self.status,
            "code": self.code,
            "rule": self.rule,
            "at": self.at,
            "message": self.message,
        })
    }
}

impl Exhausted {
    /// What a caller may do about it.
    pub fn advice(&self) -> &'static str {
        self.reason.advice()
    }

    /// The HTTP status a gateway answers with.
    pub fn http_status(&self) -> u16 {
        self.reason.http_status()
    }

    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "reason": self.reason.as_str(),
            "retryable": self.retryable,
            "soonestAvailableAt": self.soonest_available_at,
            "retryAfterMs": self.retry_after_ms,
            "advice": self.advice(),
            "httpStatus": self.http_status(),
            "attempts": self.attempts.iter().map(Attempt::to_json).collect::<Vec<_>>(),
            "lastError": {
                "status": self.last.status,
                "code": self.last.code,
                "message": self.last.message,
                "rule": self.last.rule,
            },
            "message": self.message,
        })
    }
}

impl Lease {
    pub(super) fn new(router: &Arc<Router>, issued: Issued, mut chain: Chain) -> Result<Self> {
        chain.leases += 1;
        let id = super::chain::random_id()?;
        let issued = Arc::new(issued);
        let lease = Self {
            router: Arc::clone(router),
            id,
            chain_id: *chain.id.get_or_insert(id),
            attempt: chain.leases,
            generation: chain.routes.snapshot.generation(),
            issued: Arc::clone(&issued),
        };
        let ttl = chain.routes.routing.lease_ttl_ms;
        let entry = Outstanding {
            issued,
            chain: Box::new(chain),
        };
        let full = router.leases.lock().insert(id, entry, ttl);
        if full {
            router.notices.lock().push(crate::profiles::Notice {
                code: Code::LeaseTableFull,
                message: format!("more than {MAX_LEASES} leases are out"),
                details: Value::Null,
            });
        }
        Ok(lease)
    }

    /// Identifies the lease: 32 hex digits.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Identifies all leases of one logical request.
    pub fn chain_id(&self) -> String {
        self.chain_id.to_string()
    }

    /// Number of the lease in its chain, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Generation of the configuration that it was chosen by. A caller who takes the provider's
    /// address from a snapshot compares this with that of the snapshot: a key must not go to an
    /// address that it was not configured for.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Candidate, such as `anthropic:work` or `env:OPENAI_API_KEYS#2`.
    pub fn candidate_id(&self) -> &str {
        self.issued.candidate.id()
    }

    /// Profile id, when the credential is a profile.
    pub fn profile_id(&self) -> Option<&str> {
        self.issued
            .candidate
            .profile()
            .map(|profile| profile.id.as_str())
    }

    /// Provider, in normal form.
    pub fn provider(&self) -> &str {
        &self.issued.provider
    }

    /// Model, when one was asked for.
    pub fn model(&self) -> Option<&str> {
        self.issued.model.as_deref()
    }

    /// Kind of the credential.
    pub fn kind(&self) -> Kind {
        self.issued.candidate.kind()
    }

    /// The secret; empty for kinds that need none.
    pub fn credential(&self) -> &SecretText {
        &self.issued.secret
    }

    /// Where the credential comes from: `profile:…`, `env:…`, `config:…`, or the name of an AWS
    /// source.
    pub fn source(&self) -> String {
        self.issued.candidate.source()
    }

    /// End of the token, in milliseconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        self.issued.expires
    }

    /// Whether the credential is on trial before the end of its window.
    pub fn is_probe(&self) -> bool {
        self.issued.probe
    }

    /// `in_cooldown` or `expires_soon`.
    pub fn warning(&self) -> Option<&'static str> {
        self.issued.warning
    }

    /// Whether the model is another one than the attempt before had.
    pub fn switched_model(&self) -> bool {
        self.issued.switched_model
    }

    /// Candidates that were passed over for this lease.
    pub fn skipped(&self) -> &[Attempt] {
        &self.issued.skipped
    }

    /// When it was lent, in milliseconds since 1970.
    pub fn acquired_at_ms(&self) -> u64 {
        self.issued.acquired_at
    }

    /// Account id of OAuth, for providers that want it in a header.
    pub fn account_id(&self) -> Option<&str> {
        self.issued
            .candidate
            .profile()?
            .credential
            .account_id
            .as_deref()
    }

    /// Everything but the credential, as the JSON object of every language.
    pub fn to_json(&self) -> Value {
        let credential = self
            .issued
            .candidate
            .profile()
            .map(|profile| &profile.credential);
        json!({
            "leaseId": self.id(),
            "chainId": self.chain_id(),
            "attempt": self.attempt,
            "candidateId": self.candidate_id(),
            "profileId": self.profile_id(),
            "provider": self.provider(),
            "model": self.model(),
            "kind": self.kind().as_str(),
            "source": self.source(),
            "expiresAt": self.expires(),
            "meta": {
                "accountId": self.account_id(),
                "email": credential.and_then(|c| c.email.as_deref()),
                "projectId": credential.and_then(|c| c.project_id.as_deref()),
                "enterpriseUrl": credential.and_then(|c| c.enterprise_url.as_deref()),
            },
            "probe": self.is_probe(),
            "warning": self.warning(),
            "skipped": self.skipped().iter().map(Attempt::to_json).collect::<Vec<_>>(),
            "switchedModel": self.switched_model(),
            "acquiredAt": self.acquired_at_ms(),
        })
    }

    /// Reports that the request succeeded. `headers` are those of the answer, which may say that
    /// a limit is used up now. Usually no file is written.
    ///
    /// # Errors
    ///
    /// `lease_finished` when an outcome was reported before.
    pub fn succeed(&self, headers: &[(&str, &str)]) -> Result<()> {
        let entry = self.take()?;
        self.router.succeeded(&entry, headers);
        Ok(())
    }

    /// Reports that the request failed, and says what to try next. Provider and model of the
    /// signal are filled in. May block: a window that opens is written, and OAuth tokens may be
    /// refreshed.
    ///
    /// # Errors
    ///
    /// `lease_finished` when an outcome was reported before.
    pub fn fail(&self, signal: &Signal<'_>) -> Result<Verdict> {
        let entry = self.take()?;
        self.router.failed(entry, signal)
    }

    /// Reports that the request failed and that nothing else will be tried for it, and says what
    /// the failure means. As [`Lease::fail`], but no credential is looked for. May block: a window
    /// that opens is written.
    ///
    /// # Errors
    ///
    /// `lease_finished` when an outcome was reported before.
    pub fn give_up(&self, signal: &Signal<'_>) -> Result<Classification> {
        let entry = self.take()?;
        Ok(self.router.given_up(&entry, signal))
    }

    /// What a failure would mean, without reporting it. Provider and model of the signal are
    /// filled in.
    pub fn classify(&self, signal: &Signal<'_>) -> Classification {
        self.router
            .classify(&self.router.routes().routing, &self.issued, signal)
    }

    /// Gives the credential back without a verdict, as dropping does. Never fails.
    pub fn release(&self) {
        if let Some(entry) = self.router.leases.lock().take(self.id) {
            entry.issued.candidate.end_probe();
        }
    }

    fn take(&self) -> Result<Outstanding> {
        self.router.leases.lock().take(self.id).ok_or_else(|| {
            Error::new(
                Code::LeaseFinished,
                "the outcome of this lease has been reported already",
            )
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id())
            .field("candidate_id", &self.candidate_id())
            .field("provider", &self.provider())
            .finish_non_exhaustive()
    }
}

/// A lease that is out, and the chain it belongs to.
pub(super) struct Outstanding {
    pub(super) issued: Arc<Issued>,
    pub(super) chain: Box<Chain>,
}

/// Most leases that are out at once.
const MAX_LEASES: usize = 100_000;

/// The leases that are out.
#[derive(Default)]
pub(crate) struct LeaseTable {
    out: HashMap<LeaseId, Outstanding, RandomState>,
    /// By age; finished ones stay until they are met.
    ages: VecDeque<(u64, LeaseId)>,
}

impl LeaseTable {
    /// Adds a lease, and lets go of those that are too old or too many. Whether there were too
    /// many.
    fn insert(&mut self, id: LeaseId, entry: Outstanding, ttl_ms: u64) -> bool {
        let now = entry.issued.acquired_at;
        let mut full = false;
        while let Some((at, oldest)) = self.ages.front().copied() {
            let known = self.out.contains_key(&oldest);
            let crowded = self.out.len() >= MAX_LEASES;
            if known && !crowded && now.saturating_sub(at) < ttl_ms {
                break;
            }
            full |= known && crowded;
            self.ages.pop_front();
            if let Some(entry) = self.out.remove(&oldest) {
                entry.issued.candidate.end_probe();
            }
        }
        self.ages.push_back((now, id));
        self.out.insert(id, entry);
        full
    }

    pub(super) fn take(&mut self, id: LeaseId) -> Option<Outstanding> {
        self.out.remove(&id)
    }

    pub(super) fn each_secret(&self, visit: &mut dyn FnMut(&SecretText)) {
        self.out
            .values()
            .for_each(|entry| visit(&entry.issued.secret));
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }
}

/// Finds a lease by the text of its id, for languages that hold no handle.
pub(super) fn take_by_id(router: &Router, id: &str) -> Result<Outstanding> {
    let entry = LeaseId::parse(id).and_then(|id| router.leases.lock().take(id));
    entry.ok_or_else(|| Error::new(Code::LeaseUnknown, "there is no lease with this id"))
}
