//! What the outcome of an attempt changes, and what follows a failure.

use std::sync::Arc;

use super::Engine;
use super::chain::{Candidate, Chain, Issued};
use super::lease::{Attempt, Exhausted, Lease, Outstanding, Verdict};
use super::routes::Router;
use crate::config::Routing;
use crate::error::{Reason, Result, Rotation};
use crate::keys::{Classification, Classifier, Signal, proactive_reset};
use crate::profiles::{UsageEvent, apply};
use crate::sessions::{Pin, PinSource};

/// How long a failing credential of a provider without windows is sorted last.
const EXEMPT_DEMOTION_MS: u64 = 30_000;

impl Engine {
    /// What a failure means by the settings of this configuration. Changes nothing.
    pub fn classify(&self, signal: &Signal<'_>) -> Classification {
        let routes = self.router.routes();
        let now = self.host.clock.now_ms();
        Classifier::new(&routes.routing).classify(signal, None, now)
    }
}

impl Router {
    pub(super) fn succeeded(&self, entry: &Outstanding, headers: &[(&str, &str)]) {
        let Outstanding { issued, chain } = entry;
        issued.candidate.end_probe();
        let now = self.host.clock.now_ms();
        let event = UsageEvent::Success {
            at: now,
            acquired_at: issued.acquired_at,
            model: issued.model.clone(),
        };
        self.record(chain, issued, event);
        let routing = &chain.routes.routing;
        if routing.proactive_demotion && !headers.is_empty() {
            let reset = proactive_reset(headers, now, routing.hint_max_ms);
            if let (Some(ms), Some(memory)) = (reset, issued.candidate.memory()) {
                memory.demote(issued.model.as_deref(), now.saturating_add(ms), now);
            }
        }
        self.follow_success(chain, issued);
    }

    /// An automatic pin moves to the profile that worked when its own could not be used.
    fn follow_success(&self, chain: &Chain, issued: &Issued) {
        let (Some(key), Some(profile), 0) = (&chain.session, issued.candidate.profile(), chain.at)
        else {
            return;
        };
        let mut sessions = self.sessions.lock();
        let Some(mut entry) = sessions.get(key).cloned() else {
            return;
        };
        let Some(pin) = entry
            .pin
            .as_mut()
            .filter(|pin| pin.source == PinSource::Auto)
        else {
            return;
        };
        if pin.profile == profile.id {
            return;
        }
        let view = self.view(&chain.routes, &chain.agent);
        let pinned = view
            .ok()
            .and_then(|view| view.profile(&pin.profile).cloned());
        let same_provider = pinned.as_ref().is_some_and(|pinned| {
            pinned.credential.auth_provider == profile.credential.auth_provider
        });
        let now = self.host.clock.now_ms();
        let cooling = pinned.map(Candidate::Profile).is_some_and(|pinned| {
            pinned
                .blocking(issued.model.as_deref(), now, &chain.routes.routing)
                .is_some()
        });
        if same_provider && cooling {
            *pin = Pin {
                profile: profile.id.clone(),
                ..pin.clone()
            };
            sessions.set(key, entry);
        }
    }

    pub(super) fn failed(
        self: &Arc<Self>,
        entry: Outstanding,
        signal: &Signal<'_>,
    ) -> Result<Verdict> {
        let Outstanding { issued, mut chain } = entry;
        issued.candidate.end_probe();
        let routes = Arc::clone(&chain.routes);
        let cause = self.classify(&routes.routing, &issued, signal);
        let now = self.host.clock.now_ms();
        chain.attempts.push(attempt_of(&issued, &cause, now));
        if cause.reason == Reason::Auth
            && let Some(renewed) = self.renewed(&mut chain, &issued)
        {
            return self.retry(renewed, *chain, 0, cause);
        }
        self.penalize(&chain, &issued, &cause);
        if let Some(next) = self.rotate(&mut chain, &issued, &cause) {
            let delay_ms = match cause.reason {
                Reason::Overloaded => routes.routing.overloaded_backoff_ms,
                _ => 0,
            };
            return self.retry(next, *chain, delay_ms, cause);
        }
        if goes_on(&mut chain, &cause, routes.routing.advance_on_format)
            && let Ok(next) = self.walk(&mut chain, true)
        {
            return self.retry(next, *chain, 0, cause);
        }
        Ok(Verdict::Exhausted(Box::new(self.exhausted(&chain, cause))))
    }

    /// A failure after which the caller tries nothing else.
    pub(super) fn given_up(&self, entry: &Outstanding, signal: &Signal<'_>) -> Classification {
        let Outstanding { issued, chain } = entry;
        issued.candidate.end_probe();
        let cause = self.classify(&chain.routes.routing, issued, signal);
        self.penalize(chain, issued, &cause);
        cause
    }

    pub(super) fn classify(
        &self,
        routing: &Routing,
        issued: &Issued,
        signal: &Signal<'_>,
    ) -> Classification {
        let signal = Signal {
            provider: signal.provider.or(Some(&issued.provider)),
            model: signal.model.or(issued.model.as_deref()),
            ..*signal
        };
        let secret = Some(issued.secret.expose()).filter(|secret| !secret.is_empty());
        Classifier::new(routing).classify(&signal, secret, self.host.clock.now_ms())
    }

    /// Opens the window that belongs to a failure, if one does.
    fn penalize(&self, chain: &Chain, issued: &Issued, cause: &Classification) {
        if !cause.penalizes {
            return;
        }
        let now = self.host.clock.now_ms();
        let event = UsageEvent::Failure {
            at: now,
            reason: cause.reason,
            scope: cause.scope,
            hint_ms: cause.retry_after_ms,
            model: issued.model.clone(),
            count: 1,
        };
        if let Some(memory) = issued.candidate.memory() {
            if matches!(cause.reason, Reason::Auth | Reason::AuthPermanent) {
                memory.reject(&issued.secret);
            }
            if issued.candidate.subject(&chain.routes.routing).is_exempt() {
                memory.demote(None, now.saturating_add(EXEMPT_DEMOTION_MS), now);
            }
        }
        self.record(chain, issued, event);
    }

    /// Another credential for the same model.
    fn rotate(&self, chain: &mut Chain, issued: &Issued, cause: &Classification) -> Option<Issued> {
        if chain.strict.is_some() {
            return None;
        }
        let routing = &chain.routes.routing;
        if issued.candidate.profile().is_none() {
            chain.keys_only = true;
            if !cause.rotates_keys {
                return None;
            }
        } else {
            // While other models remain, they are tried before many profiles are.
            let more = chain.has_more_steps();
            let counter = match (cause.reason.policy().rotates_profiles, cause.reason) {
                (Rotation::No, _) => return None,
                (Rotation::Once, _) if chain.rotations.transient => return None,
                (Rotation::Once, _) => {
                    chain.rotations.transient = true;
                    None
                }
                (Rotation::Yes, Reason::RateLimit) => Some((
                    &mut chain.rotations.rate_limited,
                    routing.rate_limited_rotations,
                )),
                (Rotation::Yes, Reason::Overloaded) => Some((
                    &mut chain.rotations.overloaded,
                    routing.overloaded_rotations,
                )),
                (Rotation::Yes, _) => None,
            };
            if let Some((made, most)) = counter {
                if more && *made >= most {
                    return None;
                }
                *made += 1;
            }
        }
        self.choose(chain).ok()?.ok()
    }

    fn retry(
        self: &Arc<Self>,
        next: Issued,
        chain: Chain,
        delay_ms: u64,
        cause: Classification,
    ) -> Result<Verdict> {
        Ok(Verdict::Retry {
            lease: Box::new(Lease::new(self, next, chain)?),
            delay_ms,
            cause: Box::new(cause),
        })
    }

    fn record(&self, chain: &Chain, issued: &Issued, event: UsageEvent) {
        let routing = &chain.routes.routing;
        match &issued.candidate {
            Candidate::Profile(profile) => {
                let owner = self.owner(&chain.routes, &chain.agent, profile.inherited);
                // The main agent's store was there when the profile was lent.
                if let Ok(owner) = owner {
                    owner.record(&profile.id, event, routing);
                }
            }
            Candidate::Extra(extra) => {
                if let Some(slot) = &extra.slot {
                    apply(
                        &mut slot.record.lock(),
                        &event,
                        slot.subject(&extra.id, routing),
                    );
                }
            }
        }
    }

    fn exhausted(&self, chain: &Chain, cause: Classification) -> Exhausted {
        let now = self.host.clock.now_ms();
        let soonest = self.soonest(chain);
        let until = soonest.map(|at| at.saturating_sub(now));
        let hint = cause
            .retry_after_ms
            .filter(|_| cause.scope == crate::error::FailureScope::Provider);
        let failed: Vec<&Attempt> = chain
            .attempts
            .iter()
            .filter(|attempt| !attempt.skipped)
            .collect();
        let message = match failed.as_slice() {
            [one] => format!("{}: {}", one.provider, one.message),
            all => {
                let shown: Vec<String> = all
                    .iter()
                    .map(|attempt| {
                        let model = attempt.model.as_deref().unwrap_or(&attempt.candidate_id);
                        format!(
                            "{}/{model}: {} ({})",
                            attempt.provider, attempt.message, attempt.reason
                        )
                    })
                    .collect();
                format!("All models failed ({}): {}", all.len(), shown.join(" | "))
            }
        };
        Exhausted {
            reason: cause.reason,
            retryable: cause.reason.is_retryable(),
            soonest_available_at: soonest,
            retry_after_ms: until.into_iter().chain(hint).max(),
            attempts: chain.attempts.clone(),
            last: Box::new(cause),
            message,
        }
    }
}

/// Goes on to the next model that may help. Models of the same provider are passed over when
/// their credentials are the same that have just failed.
fn goes_on(chain: &mut Chain, cause: &Classification, on_format: bool) -> bool {
    let policy = cause.reason.policy();
    if !policy.next_model || (cause.reason == Reason::Format && !on_format) {
        return false;
    }
    let provider = chain.step().provider;
    while chain.has_more_steps() {
        chain.advance();
        if policy.siblings || chain.step().provider != provider {
            return true;
        }
    }
    false
}

fn attempt_of(issued: &Issued, cause: &Classification, now: u64) -> Attempt {
    Attempt {
        candidate_id: issued.candidate.id().to_owned(),
        provider: issued.provider.clone(),
        model: issued.model.clone(),
        skipped: false,
        reason: cause.reason.as_str().to_owned(),
        status: cause.status,
        code: cause.code.clone(),
        rule: Some(cause.rule.clone()),
        at: now,
        message: cause.message.clone(),
    }
}
