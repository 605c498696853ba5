//! Profiles, orders and leases of an engine.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Engine;
use super::chain::{Candidate, verdict_of};
use super::lease::{Lease, LeaseRequest, Verdict, take_by_id};
use super::refresh::Refresher;
use super::routes::Routes;
use crate::error::{Code, Error, Reason, Result};
use crate::keys::Signal;
use crate::profiles::{
    Clear, Document, Expiry, Material, NewCredential, OrderQuery, Profile, Subject, View, blocking,
    clear_cooldown, put_profile, remove_profile, resolve_order, set_order,
};
use crate::text::mask;

impl Engine {
    /// Lends a credential for one attempt. Waits for nothing but an OAuth refresh and the claim
    /// of a trial.
    ///
    /// # Errors
    ///
    /// `no_credentials`, `all_unavailable` (with `details.soonestAvailableAt`),
    /// `profile_not_found`, `profile_ineligible`, `profile_provider_mismatch`, `unresolved_ref`,
    /// `refresh_failed`, `refresh_unavailable`, `unknown_agent`, `invalid_argument`, or a
    /// `store_*` code when the store cannot be read.
    pub fn lease(&self, request: &LeaseRequest<'_>) -> Result<Lease> {
        self.router.acquire(request)
    }

    /// Reports a success by the id of a lease. See [`Lease::succeed`].
    ///
    /// # Errors
    ///
    /// `lease_unknown`.
    pub fn report_success(&self, lease_id: &str, headers: &[(&str, &str)]) -> Result<()> {
        let entry = take_by_id(&self.router, lease_id)?;
        self.router.succeeded(&entry, headers);
        Ok(())
    }

    /// Reports a failure by the id of a lease. See [`Lease::fail`].
    ///
    /// # Errors
    ///
    /// `lease_unknown`.
    pub fn report_failure(&self, lease_id: &str, signal: &Signal<'_>) -> Result<Verdict> {
        let entry = take_by_id(&self.router, lease_id)?;
        self.router.failed(entry, signal)
    }

    /// Number of leases that are out.
    pub fn leases_out(&self) -> usize {
        self.router.leases.lock().len()
    }

    /// How often leases had tokens refreshed since the engine was opened: provider, how often it
    /// worked, how often it failed.
    pub fn refresh_counts(&self) -> Vec<(String, u64, u64)> {
        let counts = self.router.refreshes.lock();
        let counts = counts.iter();
        counts
            .map(|(provider, [worked, failed])| (provider.clone(), *worked, *failed))
            .collect()
    }

    /// Sets who refreshes OAuth tokens. Without one, a token that has run out is refused with
    /// `refresh_unavailable`.
    pub fn set_refresher(&self, refresher: Arc<dyn Refresher>) {
        *self.router.refresher.write() = Some(refresher);
    }

    /// Writes all usage that waits for the store. Call it before the program ends. Whether nothing
    /// is left.
    pub fn flush(&self) -> bool {
        self.router.flush(true)
    }

    /// Writes usage that has waited longer than `usage_flush_ms`. For programs with a timer;
    /// without one, the next operation does it.
    pub fn flush_due(&self) {
        self.router.flush(false);
    }

    /// The profiles of a provider in the order in which they would be tried now.
    ///
    /// # Errors
    ///
    /// `unknown_agent`, or a `store_*` code when the store cannot be read.
    pub fn profile_order(
        &self,
        agent: Option<&str>,
        provider: &str,
        model: Option<&str>,
        prefer: Option<&str>,
    ) -> Result<Vec<String>> {
        let (routes, _, view) = self.view(agent)?;
        let provider = routes.normal(provider);
        let now = self.host.clock.now_ms();
        let query = OrderQuery {
            provider: &provider,
            model,
            prefer,
            now,
        };
        let order = resolve_order(&view, query);
        let profiles = order.filter_map(|ranked| view.profiles.get(ranked.index));
        Ok(profiles.map(|profile| profile.id.clone()).collect())
    }

    /// Stored and effective order of a provider: the document of `models auth order get`.
    ///
    /// # Errors
    ///
    /// As [`Engine::profile_order`].
    pub fn order_json(&self, agent: Option<&str>, provider: &str) -> Result<Value> {
        let (routes, profiles, view) = self.view(agent)?;
        let provider = routes.normal(provider).into_owned();
        let stored = view
            .stored_order()
            .iter()
            .map(|(key, ids)| (key.as_str(), ids));
        let stored = crate::config::provider_entry(&stored, &provider, &routes.routing.aliases);
        let now = self.host.clock.now_ms();
        let order = resolve_order(
            &view,
            OrderQuery {
                provider: &provider,
                now,
                ..OrderQuery::default()
            },
        );
        let source = order.source;
        let effective = order.filter_map(|ranked| view.profiles.get(ranked.index));
        Ok(json!({
            "agentId": profiles.agent,
            "agentDir": profiles.path().parent().map(|dir| dir.to_string_lossy()),
            "provider": provider,
            "authStorePath": profiles.path().to_string_lossy(),
            "order": stored,
            "effective": effective.map(|profile| profile.id.as_str()).collect::<Vec<_>>(),
            "source": source.as_str(),
        }))
    }

    /// Every profile and key of an agent without secrets: the document of `models auth list`.
    ///
    /// # Errors
    ///
    /// As [`Engine::profile_order`].
    pub fn profiles_json(&self, agent: Option<&str>, provider: Option<&str>) -> Result<Value> {
        let (routes, profiles, view) = self.view(agent)?;
        let wanted = provider.map(|provider| routes.normal(provider).into_owned());
        let now = self.host.clock.now_ms();
        let matching = |id: &str| wanted.as_deref().is_none_or(|wanted| wanted == id);
        let listed = view
            .profiles
            .iter()
            .filter(|p| matching(&p.credential.provider));
        let listed: Vec<Value> = listed
            .map(|profile| profile_json(profile, &view, &routes, now))
            .collect();
        let mut providers: Vec<&str> = view
            .profiles
            .iter()
            .map(|p| p.credential.provider.as_str())
            .collect();
        providers.extend(wanted.as_deref());
        for known in crate::keys::known_providers() {
            providers.push(known);
        }
        providers.sort_unstable();
        providers.dedup();
        let mut env = Vec::new();
        for provider in providers.into_iter().filter(|provider| matching(provider)) {
            for extra in &self.router.extras(&routes, provider).list {
                // Ways without a key are worth a line only where somebody asks for them.
                if extra.slot.is_none() && wanted.is_none() {
                    continue;
                }
                let masked = extra.slot.as_ref().map(|slot| mask(slot.value.expose()));
                let variable = extra.id.strip_prefix("env:");
                let variable = variable.map(|name| name.split('#').next());
                let blocked = Candidate::Extra(extra.clone()).blocking(None, now, &routes.routing);
                env.push(json!({
                    "id": extra.id,
                    "variable": variable,
                    "provider": provider,
                    "kind": extra.kind.as_str(),
                    "masked": masked,
                    "source": extra.source,
                    "unavailableUntil": blocked.map(|blocked| blocked.until),
                    "reason": blocked.and_then(|blocked| blocked.reason).map(Reason::as_str),
                }));
            }
        }
        Ok(json!({
            "agentId": profiles.agent,
            "authStorePath": profiles.path().to_string_lossy(),
            "degraded": profiles.is_degraded(),
            "profiles": listed,
            "rejected": view.rejected().iter().map(|(id, reason)| json!({"id": id, "reason": reason})).collect::<Vec<_>>(),
            "env": env,
        }))
    }

    /// The candidates of a provider beyond its profiles: ids and kinds, in the order they are
    /// tried.
    pub fn env_candidates(&self, provider: &str) -> Vec<(String, crate::profiles::Kind)> {
        let routes = self.router.routes();
        let provider = routes.normal(provider).into_owned();
        let extras = self.router.extras(&routes, &provider);
        extras
            .list
            .iter()
            .map(|extra| (extra.id.clone(), extra.kind))
            .collect()
    }

    /// Whether a profile may be used for a provider.
    ///
    /// # Errors
    ///
    /// As [`Engine::profile_order`].
    pub fn eligibility(
        &self,
        agent: Option<&str>,
        profile_id: &str,
        provider: &str,
    ) -> Result<crate::profiles::Eligibility> {
        let (routes, _, view) = self.view(agent)?;
        let now = self.host.clock.now_ms();
        Ok(match view.profile(profile_id) {
            None => crate::profiles::Eligibility::ProfileMissing,
            Some(profile) => {
                let eligibility = verdict_of(profile, provider, &routes).at(now);
                let unresolved = profile.credential.reference().is_some_and(|reference| {
                    routes.snapshot.secret_ref(&reference.to_string()).is_err()
                });
                if eligibility == crate::profiles::Eligibility::Ok && unresolved {
                    crate::profiles::Eligibility::UnresolvedRef
                } else {
                    eligibility
                }
            }
        })
    }

    /// Stores a key or token as a profile and clears its windows. Written and synced on return.
    ///
    /// # Errors
    ///
    /// `profile_exists`, `invalid_argument`, or a `store_*` code; nothing has changed then.
    pub fn add_profile(&self, agent: Option<&str>, credential: &NewCredential) -> Result<()> {
        let now = self.host.clock.now_ms();
        self.edit(agent, &mut |document, routes| {
            put_profile(document, credential, &routes.routing, now)
        })
    }

    /// Removes a profile, its record, and wherever it is named. Written and synced on return.
    ///
    /// # Errors
    ///
    /// `profile_not_found`, or a `store_*` code; nothing has changed then.
    pub fn remove_profile(&self, agent: Option<&str>, profile_id: &str) -> Result<()> {
        let mut found = false;
        self.edit(agent, &mut |document, _| {
            found |= document.profile(profile_id).is_some();
            remove_profile(document, profile_id);
            Ok(())
        })?;
        if found {
            Ok(())
        } else {
            Err(not_found(profile_id))
        }
    }

    /// Sets the order of a provider for an agent; `None` takes it away. Written and synced on
    /// return.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty list, `profile_not_found`, `profile_provider_mismatch`, or
    /// a `store_*` code; nothing has changed then.
    pub fn set_order(
        &self,
        agent: Option<&str>,
        provider: &str,
        ids: Option<&[String]>,
    ) -> Result<()> {
        if ids.is_some_and(<[String]>::is_empty) {
            let message = "Missing profile ids. Provide one or more profile ids.";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let (routes, profiles, view) = self.view(agent)?;
        for id in ids.into_iter().flatten() {
            let folder = profiles
                .path()
                .parent()
                .map(|dir| dir.display().to_string());
            let Some(profile) = view.profile(id) else {
                let folder = folder.unwrap_or_default();
                let message = format!("Auth profile \"{id}\" not found in {folder}.");
                return Err(
                    Error::new(Code::ProfileNotFound, message).with("profileId", id.clone())
                );
            };
            let wanted = crate::config::auth_provider(provider, &routes.routing.aliases);
            if profile.credential.auth_provider != wanted {
                let (of, not) = (&profile.credential.provider, routes.normal(provider));
                let message = format!("Auth profile \"{id}\" is for {of}, not {not}.");
                return Err(Error::new(Code::ProfileProviderMismatch, message));
            }
        }
        self.edit(agent, &mut |document, routes| {
            set_order(document, provider, ids, &routes.routing);
            Ok(())
        })
    }

    /// Takes windows away from a profile, or from all when none is named. Written and synced on
    /// return.
    ///
    /// # Errors
    ///
    /// `profile_not_found`, or a `store_*` code; nothing has changed then.
    pub fn clear_cooldown(
        &self,
        agent: Option<&str>,
        profile_id: Option<&str>,
        what: Clear,
    ) -> Result<()> {
        let (routes, _, view) = self.view(agent)?;
        let chosen: Vec<&Arc<Profile>> = match profile_id {
            None => view.profiles.iter().collect(),
            Some(id) => vec![view.profile(id).ok_or_else(|| not_found(id))?],
        };
        let now = self.host.clock.now_ms();
        // What waits for the store would bring the windows back.
        self.router.flush(true);
        self.edit(agent, &mut |document, _| {
            for profile in &chosen {
                let subject: Subject<'_> = profile.subject(&routes.routing);
                clear_cooldown(document, subject, what, now);
            }
            Ok(())
        })
    }

    fn edit(
        &self,
        agent: Option<&str>,
        change: &mut dyn FnMut(&mut Document, &Routes) -> Result<()>,
    ) -> Result<()> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, agent)?;
        profiles.edit(&routes.routing, &mut |document| change(document, &routes))
    }

    pub(super) fn view(
        &self,
        agent: Option<&str>,
    ) -> Result<(Arc<Routes>, Arc<crate::profiles::AgentProfiles>, Arc<View>)> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, agent)?;
        let view = self.router.view(&routes, &profiles)?;
        Ok((routes, profiles, view))
    }
}

fn not_found(id: &str) -> Error {
    let message = format!("No credentials found for profile \"{id}\".");
    Error::new(Code::ProfileNotFound, message).with("profileId", id)
}

fn profile_json(profile: &Arc<Profile>, view: &View, routes: &Routes, now: u64) -> Value {
    let credential = &profile.credential;
    let routing = &routes.routing;
    let candidate = Candidate::Profile(Arc::clone(profile));
    let blocked = candidate.blocking(None, now, routing);
    let models = profile.record.models.keys().filter_map(|model| {
        let blocked = blocking(&profile.record, Some(model), now, profile.subject(routing))?;
        Some((
            model.clone(),
            json!({"until": blocked.until, "reason": blocked.reason.map(Reason::as_str)}),
        ))
    });
    let config = routing.profile(&profile.id);
    let label = config
        .and_then(|config| config.display_name.as_deref().or(config.email.as_deref()))
        .or(credential.display_name.as_deref())
        .or(credential.email.as_deref());
    let masked = match &credential.material {
        Material::Inline(_) if credential.kind == crate::profiles::Kind::OAuth => {
            "OAuth".to_owned()
        }
        Material::Inline(secret) => mask(secret.expose()),
        Material::Reference(reference) => format!("ref({reference})"),
        Material::Missing => "missing".to_owned(),
    };
    let expires = match credential.expiry {
        Expiry::At(at) => Some(at),
        Expiry::Invalid | Expiry::Never => None,
    };
    let reason_code = verdict_of(profile, &credential.provider, routes).at(now);
    json!({
        "id": profile.id,
        "provider": credential.provider,
        "type": credential.kind.as_str(),
        "masked": masked,
        "label": label,
        "eligible": reason_code == crate::profiles::Eligibility::Ok,
        "reasonCode": reason_code.as_str(),
        "expiresAt": expires,
        "unavailableUntil": blocked.map(|blocked| blocked.until),
        "reason": blocked.and_then(|blocked| blocked.reason).map(Reason::as_str),
        "models": models.collect::<serde_json::Map<String, Value>>(),
        "errorCount": profile.record.error_count,
        "lastUsed": Some(profile.record.last_used).filter(|at| *at > 0),
        "lastGood": view.last_good(&credential.provider) == Some(&profile.id),
        "owner": if profile.inherited { "main" } else { "own" },
    })
}
