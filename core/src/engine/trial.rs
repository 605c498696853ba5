//! When nothing is available: trials before the end of a window, and what to say.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::chain::{Candidate, Chain, Issued, Survey};
use super::lease::Attempt;
use super::routes::{MAIN, Router};
use crate::config::Probe;
use crate::error::{Code, Error, Reason};
use crate::keys::first_variable;
use crate::profiles::{
    Blocking, BlockingKind, Notice, OrderQuery, Record, View, resolve_order, unavailable_reason,
};

impl Router {
    /// Puts an unavailable candidate on trial: the one that is available first among those whose
    /// gap has passed.
    pub(super) fn probe(&self, chain: &mut Chain, survey: &Survey) -> Option<Issued> {
        if chain.request.probe == Probe::Never || chain.probed {
            return None;
        }
        let now = self.host.clock.now_ms();
        let step = chain.step();
        let routes = Arc::clone(&chain.routes);
        let mut waiting: Vec<&(Candidate, Blocking)> = survey.unavailable.iter().collect();
        waiting.sort_by_key(|(_, blocking)| blocking.until);
        for (candidate, blocking) in waiting {
            let record = candidate.record();
            let gaps = routes.routing.probe_gaps;
            let gap = match blocking.kind {
                BlockingKind::Ladder => gaps.ladder_ms,
                BlockingKind::Hint => gaps.hint_ms,
                BlockingKind::Disabled => gaps.disabled_ms,
            };
            let since = blocking
                .since
                .max(record.last_failure_at)
                .max(record.probe_at);
            let forced = chain.request.probe == Probe::Force;
            if !forced && now < since.saturating_add(gap) {
                continue;
            }
            let Ok(material) = self.material(chain, candidate, now) else {
                continue;
            };
            let Some(memory) = candidate.memory() else {
                continue;
            };
            // The same secret is rejected again, whenever it is tried.
            let rejected = blocking.reason == Some(Reason::Auth)
                && blocking.kind != BlockingKind::Disabled
                && !memory.has_changed(&material.secret);
            if (!forced && rejected) || chain.has_tried(&material.secret) {
                continue;
            }
            if memory.probing.swap(true, Ordering::AcqRel) {
                continue;
            }
            let claimed = match candidate {
                Candidate::Extra(extra) => {
                    if let Some(slot) = &extra.slot {
                        slot.record.lock().probe_at = now;
                    }
                    true
                }
                Candidate::Profile(profile) => {
                    let owner = self.owner(&routes, &chain.agent, profile.inherited);
                    owner.is_ok_and(|owner| owner.claim_probe(&profile.id, now, &routes.routing))
                }
            };
            if !claimed {
                candidate.end_probe();
                continue;
            }
            chain.probed = true;
            let mut issued = chain.issue(&step, candidate.clone(), material, now);
            issued.probe = true;
            issued.skipped.clone_from(&survey.skipped);
            return Some(issued);
        }
        None
    }

    /// Tells once per content of the store that an order names only unusable profiles.
    pub(super) fn report_filtered(&self, view: &View, provider: &str, now: u64) {
        let base = view.base(provider);
        let filtered = base.filtered(now);
        if filtered.is_empty() || !base.tell_once() {
            return;
        }
        let codes: serde_json::Map<String, serde_json::Value> = filtered
            .into_iter()
            .map(|(id, code)| (id.to_owned(), code.as_str().into()))
            .collect();
        self.notices.lock().push(Notice {
            code: Code::OrderAllFiltered,
            message: format!("the order of {provider} names only profiles that cannot be used"),
            details: serde_json::Value::Object(codes),
        });
    }

    /// Why the current step has no credential.
    pub(super) fn nothing_found(&self, chain: &Chain, survey: &Survey) -> Error {
        let step = chain.step();
        let provider = &step.provider;
        if !survey.any {
            let agent = match chain.agent.agent.as_str() {
                MAIN => String::new(),
                agent => format!(" --agent {agent}"),
            };
            let message = format!(
                "No credentials found for provider \"{provider}\". Auth store: {}. Set {} or run: \
                 openclaw-auth models auth add --provider {provider}{agent}",
                chain.agent.path().display(),
                first_variable(provider, &chain.routes.routing),
            );
            return Error::new(Code::NoCredentials, message).with("provider", provider.clone());
        }
        let now = self.host.clock.now_ms();
        let soonest = survey
            .unavailable
            .iter()
            .map(|(_, blocking)| blocking.until)
            .min();
        let records: Vec<(&Candidate, Record)> = survey
            .unavailable
            .iter()
            .map(|(candidate, _)| (candidate, candidate.record()))
            .collect();
        let reason = unavailable_reason(
            records
                .iter()
                .map(|(candidate, record)| (record, candidate.subject(&chain.routes.routing))),
            step.model.as_deref(),
            now,
        );
        let next = soonest.map(|at| format!("; next in {}", duration(at.saturating_sub(now))));
        let message = format!(
            "No available credential for {provider} (all in cooldown or unavailable){}.",
            next.unwrap_or_default()
        );
        let attempts: Vec<serde_json::Value> =
            chain.attempts.iter().map(Attempt::to_json).collect();
        let error = Error::new(Code::AllUnavailable, message)
            .with("provider", provider.clone())
            .with("reason", reason.as_str())
            .with("advice", reason.advice())
            .with("httpStatus", reason.http_status())
            .with("soonestAvailableAt", soonest)
            .with("attempts", attempts);
        match soonest {
            Some(at) => error.with_retry_after_ms(at.saturating_sub(now)),
            None => error,
        }
    }

    /// The earliest end of a window over all candidates of a request.
    pub(super) fn soonest(&self, chain: &Chain) -> Option<u64> {
        let now = self.host.clock.now_ms();
        let routing = &chain.routes.routing;
        let mut soonest: Option<u64> = None;
        for step in &chain.steps {
            let model = step.model.as_deref();
            let view = self.view(&chain.routes, &chain.agent).ok()?;
            let query = OrderQuery {
                provider: &step.provider,
                model,
                prefer: None,
                now,
            };
            let order = resolve_order(&view, query);
            let profiles = order.filter_map(|ranked| ranked.blocking);
            let extras = self.extras(&chain.routes, &step.provider);
            let keys = extras.list.iter().filter(|_| chain.request.env);
            let keys = keys
                .filter_map(|extra| Candidate::Extra(extra.clone()).blocking(model, now, routing));
            let ends = profiles
                .chain(keys)
                .map(|blocking| blocking.until)
                .chain(soonest);
            soonest = ends.min();
        }
        soonest
    }
}

/// A length of time for people, rounded to the nearest unit.
pub(super) fn duration(ms: u64) -> String {
    let minutes = (ms + 30_000) / 60_000;
    match minutes {
        0 | 1 => "1m".to_owned(),
        2..60 => format!("{minutes}m"),
        _ if ms < 48 * 3_600_000 => format!("{}h", (ms + 1_800_000) / 3_600_000),
        _ => format!("{}d", (ms + 43_200_000) / 86_400_000),
    }
}
