//! Choosing the next credential of a request.

use std::sync::Arc;

use super::lease::{Attempt, Lease, LeaseId, LeaseRequest};
use super::material::Material;
use super::routes::{Extra, Router, Routes};
use crate::config::{EnvCandidates, Probe, Routing, auth_provider};
use crate::error::{Code, Error, Result};
use crate::host::random;
use crate::profiles::{
    AgentProfiles, Blocking, Eligibility, Kind, Memory, Notice, OrderQuery, Profile, Ranked,
    Record, Subject, Verdict, View, blocking, resolve_order,
};
use crate::sessions::{PinQuery, PinSource, resolve_pin};
use crate::text::SecretText;

/// A credential that could serve.
#[derive(Debug, Clone)]
pub(super) enum Candidate {
    Extra(Extra),
    Profile(Arc<Profile>),
}

/// What a lease holds.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) candidate: Candidate,
    pub(super) provider: String,
    pub(super) model: Option<String>,
    pub(super) secret: SecretText,
    pub(super) expires: Option<u64>,
    pub(super) acquired_at: u64,
    pub(super) probe: bool,
    pub(super) warning: Option<&'static str>,
    pub(super) skipped: Vec<Attempt>,
    pub(super) switched_model: bool,
}

/// One model of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) provider: String,
    pub(super) model: Option<String>,
    /// Only this profile.
    pub(super) profile: Option<String>,
}

/// Everything about one logical request that has to survive from one lease to the next.
pub(super) struct Chain {
    /// The id of its first lease.
    pub(super) id: Option<LeaseId>,
    pub(super) routes: Arc<Routes>,
    pub(super) agent: Arc<AgentProfiles>,
    pub(super) steps: Vec<Step>,
    pub(super) at: usize,
    pub(super) leases: u64,
    pub(super) attempts: Vec<Attempt>,
    pub(super) session: Option<String>,
    /// The only profile to use for the current step.
    pub(super) strict: Option<String>,
    /// Candidates of the current step that were lent.
    tried: Vec<String>,
    tried_secrets: Vec<SecretText>,
    pub(super) rotations: Rotations,
    /// Profiles whose token was refreshed because the provider refused it.
    pub(super) refreshed: Vec<String>,
    /// Environment keys only: a key of the environment has failed.
    pub(super) keys_only: bool,
    pub(super) probed: bool,
    pub(super) request: Wishes,
}

/// How often a step has gone on to another profile, by what it failed with.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    pub(super) overloaded: u64,
    pub(super) rate_limited: u64,
    /// After timeouts and failures of the server: once in the whole chain.
    pub(super) transient: bool,
}

/// The parts of a request that later leases need.
pub(super) struct Wishes {
    pin: Option<crate::sessions::Pin>,
    new_session: bool,
    compaction_count: u64,
    prefer: Option<String>,
    exclude: Vec<String>,
    pub(super) env: bool,
    pub(super) probe: Probe,
    pub(super) min_valid_ms: u64,
    pub(super) refresh: bool,
    pub(super) wait: bool,
    pub(super) max_attempts: u64,
}

/// What was found while looking for a credential.
#[derive(Default)]
pub(super) struct Survey {
    /// There are candidates at all.
    pub(super) any: bool,
    pub(super) skipped: Vec<Attempt>,
    pub(super) unavailable: Vec<(Candidate, Blocking)>,
}

impl Candidate {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Extra(extra) => &extra.id,
            Self::Profile(profile) => &profile.id,
        }
    }

    pub(super) fn profile(&self) -> Option<&Arc<Profile>> {
        match self {
            Self::Extra(_) => None,
            Self::Profile(profile) => Some(profile),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Extra(extra) => extra.kind,
            Self::Profile(profile) => profile.credential.kind,
        }
    }

    pub(super) fn source(&self) -> String {
        match self {
            Self::Extra(extra) => extra.source.clone(),
            Self::Profile(profile) => format!("profile:{}", profile.id),
        }
    }

    pub(super) fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Extra(extra) => extra.slot.as_ref().map(|slot| &slot.memory),
            Self::Profile(profile) => Some(&profile.memory),
        }
    }

    pub(super) fn end_probe(&self) {
        if let Some(memory) = self.memory() {
            memory
                .probing
                .store(false, std::sync::atomic::Ordering::Release);
        }
    }
}

impl Router {
    /// Starts a chain and gives its first lease.
    pub(super) fn acquire(self: &Arc<Self>, request: &LeaseRequest<'_>) -> Result<Lease> {
        let routes = self.routes();
        let agent = self.agent(&routes, request.agent)?;
        let steps = self.steps(&routes, request, &agent.agent)?;
        let routing = &routes.routing;
        let mut chain = Chain {
            id: None,
            agent,
            steps,
            at: 0,
            leases: 0,
            attempts: Vec::new(),
            session: request.session.map(str::to_owned),
            strict: None,
            tried: Vec::new(),
            tried_secrets: Vec::new(),
            rotations: Rotations::default(),
            refreshed: Vec::new(),
            keys_only: false,
            probed: false,
            request: Wishes {
                pin: request.pin.cloned(),
                new_session: request.new_session,
                compaction_count: request.compaction_count,
                prefer: request.prefer.map(str::to_owned),
                exclude: request.exclude.iter().map(|id| (*id).to_owned()).collect(),
                env: request.env,
                probe: request.probe.unwrap_or(routing.probe),
                min_valid_ms: request.min_valid_ms.unwrap_or(routing.min_valid_ms),
                refresh: request.refresh,
                wait: request.wait,
                max_attempts: request.max_attempts.unwrap_or(routing.max_attempts),
            },
            routes,
        };
        let issued = self.walk(&mut chain, false)?;
        chain.request.wait = true;
        Lease::new(self, issued, chain)
    }

    /// The models of a request, in order.
    fn steps(&self, routes: &Routes, request: &LeaseRequest<'_>, agent: &str) -> Result<Vec<Step>> {
        let invalid = |message: &str| Error::new(Code::InvalidArgument, message.to_owned());
        let profile = request.profile.map(str::to_owned);
        if request.models.is_empty() {
            let provider = request.provider.unwrap_or_default();
            let provider = routes.normal(provider).into_owned();
            if provider.is_empty() {
                return Err(invalid("provider: must not be blank"));
            }
            let model = request.model.map(str::to_owned);
            return Ok(vec![Step {
                provider,
                model,
                profile,
            }]);
        }
        if request.model.is_some() {
            return Err(invalid("model: must not be given together with models"));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(request.models.len());
        for text in request.models {
            match routes.models.step(text, agent) {
                Some(step) => {
                    let step = Step {
                        provider: step.model.provider,
                        model: Some(step.model.model),
                        profile: step.profile.or_else(|| profile.clone()),
                    };
                    // Under another name it would be asked a second time.
                    if !steps.contains(&step) {
                        steps.push(step);
                    }
                }
                None => self.notices.lock().push(Notice {
                    code: Code::FallbackUnresolved,
                    message: "a model of the chain cannot be resolved".to_owned(),
                    details: serde_json::json!({"model": text}),
                }),
            }
        }
        if steps.is_empty() {
            return Err(invalid("models: none of them can be resolved"));
        }
        Ok(steps)
    }

    /// The next credential, from the current step on. Later steps are tried when a step has
    /// nothing to offer.
    pub(super) fn walk(self: &Arc<Self>, chain: &mut Chain, switched: bool) -> Result<Issued> {
        let first = chain.at;
        let mut errors = Vec::new();
        let mut surveys: Vec<(usize, Survey)> = Vec::new();
        while chain.at < chain.steps.len() {
            match self.choose(chain) {
                Ok(Ok(mut issued)) => {
                    issued.switched_model = switched || chain.at != first;
                    return Ok(issued);
                }
                Ok(Err(survey)) => {
                    let waits = |skipped: &Attempt| skipped.reason == Code::WouldBlock.as_str();
                    let on_trial = survey
                        .unavailable
                        .iter()
                        .any(|(c, _)| c.profile().is_some());
                    if survey.skipped.iter().any(waits) || (on_trial && !chain.request.wait) {
                        return Err(Error::new(
                            Code::WouldBlock,
                            "a refresh or the claim of a trial has to be waited for",
                        ));
                    }
                    // The first model of a request may be put on trial; later ones are tried as
                    // they are.
                    if chain.at == 0
                        && let Some(mut issued) = self.probe(chain, &survey)
                    {
                        issued.switched_model = switched;
                        return Ok(issued);
                    }
                    chain.attempts.extend(survey.skipped.iter().cloned());
                    errors.push(self.nothing_found(chain, &survey));
                    surveys.push((chain.at, survey));
                }
                Err(error) => {
                    if chain.steps.len() == 1 || !is_of_step(error.code()) {
                        return Err(error);
                    }
                    errors.push(error);
                }
            }
            if chain.at + 1 >= chain.steps.len() {
                break;
            }
            chain.advance();
        }
        // Everything is unavailable: the one that ends first may be put on trial after all.
        surveys.sort_by_key(|(_, survey)| survey.unavailable.iter().map(|(_, b)| b.until).min());
        for (at, survey) in surveys
            .iter()
            .filter(|(at, survey)| *at > 0 && !survey.unavailable.is_empty())
        {
            chain.at = *at;
            if let Some(mut issued) = self.probe(chain, survey) {
                issued.switched_model = true;
                return Ok(issued);
            }
        }
        // What will be available again says more than what is missing.
        let best = errors.into_iter().min_by_key(|error| {
            let waits = error.code() == Code::AllUnavailable;
            (!waits, error.retry_after_ms().unwrap_or(u64::MAX))
        });
        Err(best.unwrap_or_else(|| Error::new(Code::NoCredentials, "no model is left")))
    }

    /// The credential for the current step, or what was found instead.
    pub(super) fn choose(&self, chain: &mut Chain) -> Result<std::result::Result<Issued, Survey>> {
        let step = chain.step();
        let mut survey = Survey::default();
        if chain.leases >= chain.request.max_attempts {
            return Ok(Err(survey));
        }
        let now = self.host.clock.now_ms();
        let routes = Arc::clone(&chain.routes);
        let routing = &routes.routing;
        let view = match self.view(&routes, &chain.agent) {
            Ok(view) => view,
            Err(_) if routing.env_when_corrupt => Arc::new(View::empty(routing)),
            Err(error) => return Err(error),
        };
        let mut prefer = chain.request.prefer.clone();
        if step.profile.is_none() && chain.strict.is_none() && chain.tried.is_empty() {
            self.apply_pin(chain, &step, &view, now, &mut prefer);
        }
        if let Some(id) = step.profile.clone().or_else(|| chain.strict.clone()) {
            chain.strict = Some(id.clone());
            return self.strict(chain, &step, &view, &id, now).map(Ok);
        }
        let query = OrderQuery {
            provider: &step.provider,
            model: step.model.as_deref(),
            prefer: prefer.as_deref(),
            now,
        };
        let order = resolve_order(&view, query);
        let no_profile = order.is_empty();
        if order.explicit && no_profile {
            self.report_filtered(&view, &step.provider, now);
        }
        let extras = self.extras(&routes, &step.provider);
        let use_profiles = !extras.only && !chain.keys_only;
        let use_extras = chain.request.env
            && routing.env_candidates != EnvCandidates::Never
            && (!order.explicit || no_profile || extras.first || extras.only)
            && (no_profile || routing.env_candidates != EnvCandidates::OnlyWithoutProfiles);
        let profiles = order.filter(|_| use_profiles).filter_map(|ranked| {
            let profile = view.profiles.get(ranked.index)?;
            Some((Candidate::Profile(Arc::clone(profile)), ranked.blocking))
        });
        let keys = extras.list.iter().filter(|_| use_extras).map(|extra| {
            let candidate = Candidate::Extra(extra.clone());
            let blocking = candidate.blocking(step.model.as_deref(), now, routing);
            (candidate, blocking)
        });
        // Lazily, because the first one is nearly always the one.
        let issued = if extras.first {
            self.first_usable(chain, &step, &mut keys.chain(profiles), now, &mut survey)
        } else {
            self.first_usable(chain, &step, &mut profiles.chain(keys), now, &mut survey)
        };
        Ok(issued.ok_or(survey))
    }

    fn first_usable(
        &self,
        chain: &mut Chain,
        step: &Step,
        candidates: &mut dyn Iterator<Item = (Candidate, Option<Blocking>)>,
        now: u64,
        survey: &mut Survey,
    ) -> Option<Issued> {
        for (candidate, blocking) in candidates {
            let id = candidate.id();
            if chain
                .tried
                .iter()
                .chain(&chain.request.exclude)
                .any(|known| known == id)
            {
                continue;
            }
            survey.any = true;
            if let Some(blocking) = blocking {
                survey.unavailable.push((candidate, blocking));
                continue;
            }
            match self.material(chain, &candidate, now) {
                Ok(material) if chain.has_tried(&material.secret) => {}
                Ok(material) => {
                    let skipped = std::mem::take(&mut survey.skipped);
                    chain.attempts.extend(skipped.iter().cloned());
                    let mut issued = chain.issue(step, candidate, material, now);
                    issued.skipped = skipped;
                    return Some(issued);
                }
                Err(skip) => {
                    let waits = skip.code == Code::WouldBlock;
                    survey.skipped.push(skip.attempt(&candidate, step, now));
                    // A later candidate would not be the right one.
                    if waits {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Takes the session's pin into account: a user's is the only profile, an automatic one comes
    /// first.
    fn apply_pin(
        &self,
        chain: &mut Chain,
        step: &Step,
        view: &View,
        now: u64,
        prefer: &mut Option<String>,
    ) {
        let given = chain.request.pin.is_some();
        if !given && chain.session.is_none() {
            return;
        }
        let session = chain.session.as_deref();
        let entry = session.and_then(|key| self.sessions.lock().get(key).cloned());
        let mut entry = entry.unwrap_or_default();
        let pin = chain.request.pin.clone().or_else(|| entry.pin.clone());
        let provider = step.provider.as_str();
        let model = step.model.as_deref();
        let order = resolve_order(
            view,
            OrderQuery {
                provider,
                model,
                prefer: None,
                now,
            },
        );
        let ranked: Vec<Ranked> = order.collect();
        let query = PinQuery {
            pin: pin.as_ref(),
            provider,
            new_session: chain.request.new_session && chain.at == 0,
            compaction_count: chain.request.compaction_count,
            fallback: chain.at > 0,
        };
        let decision = resolve_pin(query, &ranked, view);
        let by_user = pin
            .as_ref()
            .is_some_and(|pin| pin.source == PinSource::User);
        if let (true, Some("profile_missing"), Some(pin)) = (by_user, decision.dropped, &pin) {
            self.notices.lock().push(Notice {
                code: Code::UserPinDropped,
                message: format!(
                    "profile \"{}\" of a session does not exist any more",
                    pin.profile
                ),
                details: serde_json::json!({"profileId": pin.profile, "session": session}),
            });
        }
        if decision.strict {
            chain.strict.clone_from(&decision.profile);
        } else if decision.profile.is_some() {
            prefer.clone_from(&decision.profile);
        }
        // A fallback is for one request and changes nothing about the session.
        if let (Some(key), false, 0) = (session, given, chain.at)
            && entry.pin != decision.pin
        {
            entry.pin = decision.pin;
            self.sessions.lock().set(key, entry);
        }
    }

    /// The one profile that may be used.
    fn strict(
        &self,
        chain: &mut Chain,
        step: &Step,
        view: &View,
        id: &str,
        now: u64,
    ) -> Result<Issued> {
        let routes = Arc::clone(&chain.routes);
        let about = |error: Error| error.with("profileId", id);
        let Some(profile) = view.profile(id) else {
            let message = format!("No credentials found for profile \"{id}\".");
            return Err(about(Error::new(Code::ProfileNotFound, message)));
        };
        let verdict = verdict_of(profile, &step.provider, &routes);
        let eligibility = verdict.at(now);
        match eligibility {
            Eligibility::Ok => {}
            Eligibility::ProviderMismatch => {
                let (of, not) = (&profile.credential.provider, &step.provider);
                let message = format!("Auth profile \"{id}\" is for {of}, not {not}.");
                return Err(about(Error::new(Code::ProfileProviderMismatch, message)));
            }
            code => {
                let code = code.as_str();
                let message = format!("Auth profile \"{id}\" is not usable: {code}.");
                let error = Error::new(Code::ProfileIneligible, message).with("reasonCode", code);
                let hint = verdict
                    .hint()
                    .filter(|_| eligibility == Eligibility::Expired);
                let error = hint.into_iter().fold(error, Error::with_hint);
                return Err(about(error));
            }
        }
        let candidate = Candidate::Profile(Arc::clone(profile));
        let material = self.material(chain, &candidate, now);
        let mut material = material.map_err(|skip| about(Error::new(skip.code, skip.message)))?;
        let blocked = candidate
            .blocking(step.model.as_deref(), now, &routes.routing)
            .is_some();
        if blocked {
            material.warning = Some("in_cooldown");
        }
        Ok(chain.issue(step, candidate, material, now))
    }
}

impl Chain {
    pub(super) fn step(&self) -> Step {
        self.steps.get(self.at).cloned().unwrap_or_else(|| Step {
            provider: String::new(),
            model: None,
            profile: None,
        })
    }

    /// Goes on to the next model.
    pub(super) fn advance(&mut self) {
        self.at += 1;
        self.strict = None;
        self.tried.clear();
        self.tried_secrets.clear();
        self.keys_only = false;
        self.rotations = Rotations {
            transient: self.rotations.transient,
            ..Rotations::default()
        };
    }

    /// Whether later models remain.
    pub(super) fn has_more_steps(&self) -> bool {
        self.at + 1 < self.steps.len()
    }

    pub(super) fn has_tried(&self, secret: &SecretText) -> bool {
        !secret.is_empty() && self.tried_secrets.contains(secret)
    }

    pub(super) fn issue(
        &mut self,
        step: &Step,
        candidate: Candidate,
        material: Material,
        now: u64,
    ) -> Issued {
        self.tried.push(candidate.id().to_owned());
        self.tried_secrets.push(material.secret.clone());
        if let Some(memory) = candidate.memory() {
            memory.lend(now);
        }
        Issued {
            candidate,
            provider: step.provider.clone(),
            model: step.model.clone(),
            secret: material.secret,
            expires: material.expires,
            acquired_at: now,
            probe: false,
            warning: material.warning,
            skipped: Vec::new(),
            switched_model: false,
        }
    }
}

impl Candidate {
    pub(super) fn subject<'a>(&'a self, routing: &'a Routing) -> Subject<'a> {
        match self {
            Self::Profile(profile) => profile.subject(routing),
            Self::Extra(extra) => Subject {
                id: &extra.id,
                provider: extra
                    .slot
                    .as_ref()
                    .map_or("", |slot| slot.provider.as_str()),
                routing,
            },
        }
    }

    pub(super) fn record(&self) -> Record {
        match self {
            Self::Profile(profile) => profile.record.clone(),
            Self::Extra(extra) => extra
                .slot
                .as_ref()
                .map(|slot| slot.record.lock().clone())
                .unwrap_or_default(),
        }
    }

    pub(super) fn blocking(
        &self,
        model: Option<&str>,
        now: u64,
        routing: &Routing,
    ) -> Option<Blocking> {
        let subject = self.subject(routing);
        match self {
            Self::Profile(profile) => blocking(&profile.record, model, now, subject),
            Self::Extra(extra) => {
                blocking(&extra.slot.as_ref()?.record.lock(), model, now, subject)
            }
        }
    }
}

/// Whether a profile may be used for a provider, whatever the orders say.
pub(super) fn verdict_of(profile: &Profile, provider: &str, routes: &Routes) -> Verdict {
    let routing = &routes.routing;
    let provider = auth_provider(provider, &routing.aliases);
    Verdict::of(
        &profile.credential,
        routing.profile(&profile.id),
        &provider,
        routing,
    )
}

pub(super) fn random_id() -> Result<LeaseId> {
    let mut bytes = [0u8; 16];
    random(&mut bytes).map_err(|_| {
        Error::new(
            Code::InternalError,
            "the operating system gives no random numbers",
        )
    })?;
    Ok(LeaseId(u128::from_le_bytes(bytes)))
}

/// Whether a later model may help with this error.
fn is_of_step(code: Code) -> bool {
    matches!(
        code,
        Code::NoCredentials
            | Code::AllUnavailable
            | Code::ProfileNotFound
            | Code::ProfileIneligible
            | Code::ProfileProviderMismatch
            | Code::UnresolvedRef
            | Code::RefreshFailed
            | Code::RefreshUnavailable
    )
}
