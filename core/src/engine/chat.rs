//! What a message with a `/model` directive does to a session.

use serde_json::{Value, json};

use super::Engine;
use super::chain::verdict_of;
use super::routes::Routes;
use super::trial::duration;
use crate::config::auth_provider;
use crate::error::{Code, Error, Result};
use crate::profiles::{Eligibility, OrderQuery, View, resolve_order};
use crate::sessions::{
    Directive, ModelRef, Models, Pin, PinSource, SelectorRow, SessionEntry, find_directive,
};

/// What came of a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatReply {
    /// What the directive asked for.
    pub directive: Directive,
    /// The message without the directive.
    pub rest: String,
    /// The session from now on.
    pub session: SessionEntry,
    /// What there is to show, as the JSON object of every language.
    pub view: Value,
}

/// A model that can be selected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelChoice {
    /// Number in the list, from 1.
    pub number: usize,
    /// The model.
    pub model: ModelRef,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Whether there is a credential: `ok`, `cooling 4m`, `disabled 3h` or `missing`.
    pub availability: String,
    /// Whether the session uses it.
    pub current: bool,
}

impl Engine {
    /// Carries out the `/model` directive in a message, if there is one, for a session. Only pass
    /// messages of people who may change the session. `shown` is the fingerprint of the list that
    /// the person saw, for selection by number.
    ///
    /// # Errors
    ///
    /// `directive_invalid`, `model_not_allowed`, `model_unrecognized`, `model_list_changed`,
    /// `no_default_model`, `profile_not_found`, `profile_provider_mismatch`,
    /// `profile_ineligible`; the session has not changed then.
    pub fn chat(
        &self,
        session: &str,
        agent: Option<&str>,
        message: &str,
        shown: Option<&str>,
    ) -> Result<Option<ChatReply>> {
        let (routes, profiles, view) = self.view(agent)?;
        let agent = profiles.agent.as_str();
        let is_profile = |id: &str| view.profile(id).is_some();
        let found = find_directive(message, &|word| routes.models.is_alias(word), &is_profile);
        let Some(found) = found else {
            return Ok(None);
        };
        let directive = found.directive?;
        let mut entry = self.session(session);
        let rows = routes.models.selector(agent);
        match &directive {
            Directive::Reset => {
                entry.model = None;
                // A person's profile stays when it fits.
                let default = routes.models.default_model(agent)?;
                let fits = |pin: &Pin| {
                    pin.source == PinSource::User
                        && view.profile(&pin.profile).is_some_and(|profile| {
                            let wanted = auth_provider(&default.provider, &routes.routing.aliases);
                            profile.credential.auth_provider == wanted
                        })
                };
                entry.pin = entry.pin.filter(fits);
            }
            Directive::Pick(number) => {
                if shown.is_some_and(|shown| shown != Models::fingerprint(&rows)) {
                    let message = "The model list has changed; run /model list again.";
                    return Err(Error::new(Code::ModelListChanged, message));
                }
                let row = number.checked_sub(1).and_then(|index| rows.get(index));
                let row = row.ok_or_else(|| {
                    let message = format!(
                        "No model number {number}; the list has {} entries.",
                        rows.len()
                    );
                    Error::new(Code::DirectiveInvalid, message)
                })?;
                select(&routes, agent, &mut entry, row.model.clone(), None);
            }
            Directive::Select { model, profile } => {
                let model = routes.models.resolve(model, agent)?;
                routes.models.check_allowed(&model, agent)?;
                if let Some(id) = profile {
                    self.check_profile(&routes, &view, id, &model)?;
                }
                select(&routes, agent, &mut entry, model, profile.clone());
            }
            Directive::List | Directive::Show | Directive::Status => {}
        }
        self.set_session(session, entry.clone());
        let choices = self.choices(&routes, &view, agent, &rows, &entry);
        let current = entry
            .model
            .clone()
            .or_else(|| routes.models.default_model(agent).ok());
        let mut shown = json!({
            "model": current.map(|model| model.key()),
            "profile": entry.pin.as_ref().map(|pin| pin.profile.as_str()),
            "profileSource": entry.pin.as_ref().map(|pin| pin.source.as_str()),
            "fingerprint": Models::fingerprint(&rows),
            "models": choices.iter().map(ModelChoice::to_json).collect::<Vec<_>>(),
        });
        if directive == Directive::Status {
            let status = self.profiles_json(Some(agent), None)?;
            if let Value::Object(map) = &mut shown {
                map.insert("credentials".to_owned(), status);
            }
        }
        Ok(Some(ChatReply {
            directive,
            rest: found.rest,
            session: entry,
            view: shown,
        }))
    }

    /// The models that can be selected, numbered, with the state of their credentials.
    ///
    /// # Errors
    ///
    /// `unknown_agent`, or a `store_*` code when the store cannot be read.
    pub fn models(&self, session: &str, agent: Option<&str>) -> Result<Vec<ModelChoice>> {
        let (routes, profiles, view) = self.view(agent)?;
        let rows = routes.models.selector(&profiles.agent);
        let entry = self.session(session);
        Ok(self.choices(&routes, &view, &profiles.agent, &rows, &entry))
    }

    /// The model that a text names: an alias, the id of a model that one provider lists,
    /// `provider/model`, or any other id, which then is one of the default provider.
    ///
    /// # Errors
    ///
    /// `model_unrecognized`, `no_default_model`, `unknown_agent`.
    pub fn resolve_model(&self, agent: Option<&str>, text: &str) -> Result<ModelRef> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, agent)?;
        routes.models.resolve(text, &profiles.agent)
    }

    /// The model that is used when nothing else is chosen.
    ///
    /// # Errors
    ///
    /// `no_default_model`, `model_unrecognized`, `unknown_agent`.
    pub fn default_model(&self, agent: Option<&str>) -> Result<ModelRef> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, agent)?;
        routes.models.default_model(&profiles.agent)
    }

    /// The models of a fallback chain: `provider/model`, perhaps with `@profile`.
    ///
    /// # Errors
    ///
    /// `no_default_model`, `model_unrecognized`, `unknown_agent`.
    pub fn model_chain(
        &self,
        agent: Option<&str>,
        requested: Option<&str>,
        fallbacks: Option<&[String]>,
    ) -> Result<Vec<String>> {
        let routes = self.router.routes();
        let profiles = self.router.agent(&routes, agent)?;
        let mut unresolved = Vec::new();
        let chain = routes
            .models
            .chain(&profiles.agent, requested, fallbacks, &mut unresolved)?;
        for text in unresolved {
            self.router.notices.lock().push(crate::profiles::Notice {
                code: Code::FallbackUnresolved,
                message: "a model of the fallback chain cannot be resolved".to_owned(),
                details: json!({"model": text}),
            });
        }
        let steps = chain.into_iter().map(|step| match step.profile {
            Some(profile) => format!("{}@{profile}", step.model.key()),
            None => step.model.key(),
        });
        Ok(steps.collect())
    }

    /// What is remembered about a session.
    pub fn session(&self, key: &str) -> SessionEntry {
        self.router
            .sessions
            .lock()
            .get(key)
            .cloned()
            .unwrap_or_default()
    }

    /// Replaces what is remembered about a session; an empty entry forgets it.
    pub fn set_session(&self, key: &str, entry: SessionEntry) {
        self.router.sessions.lock().set(key, entry);
    }

    /// Everything remembered about sessions, to be stored by the caller.
    pub fn export_sessions(&self) -> Value {
        self.router.sessions.lock().export()
    }

    /// Takes over what [`Engine::export_sessions`] gave.
    pub fn import_sessions(&self, sessions: &Value) {
        self.router.sessions.lock().import(sessions);
    }

    fn check_profile(
        &self,
        routes: &Routes,
        view: &View,
        id: &str,
        model: &ModelRef,
    ) -> Result<()> {
        let about = |code, message: String| Err(Error::new(code, message).with("profileId", id));
        let Some(profile) = view.profile(id) else {
            return about(
                Code::ProfileNotFound,
                format!("Auth profile \"{id}\" not found."),
            );
        };
        match verdict_of(profile, &model.provider, routes).at(self.host.clock.now_ms()) {
            Eligibility::Ok => Ok(()),
            Eligibility::ProviderMismatch => {
                let (of, not) = (&profile.credential.provider, &model.provider);
                let message = format!("Auth profile \"{id}\" is for {of}, not {not}.");
                about(Code::ProfileProviderMismatch, message)
            }
            code => {
                let code = code.as_str();
                let message = format!("Auth profile \"{id}\" is not usable: {code}.");
                about(Code::ProfileIneligible, message)
            }
        }
    }

    fn choices(
        &self,
        routes: &Routes,
        view: &View,
        agent: &str,
        rows: &[SelectorRow],
        entry: &SessionEntry,
    ) -> Vec<ModelChoice> {
        let current = entry
            .model
            .clone()
            .or_else(|| routes.models.default_model(agent).ok());
        let numbered = rows.iter().enumerate();
        numbered
            .map(|(index, row)| ModelChoice {
                number: index + 1,
                model: row.model.clone(),
                aliases: row.aliases.clone(),
                availability: self.availability(routes, view, &row.model),
                current: current.as_ref() == Some(&row.model),
            })
            .collect()
    }

    pub(super) fn availability(&self, routes: &Routes, view: &View, model: &ModelRef) -> String {
        let now = self.host.clock.now_ms();
        let query = OrderQuery {
            provider: &model.provider,
            model: Some(&model.model),
            prefer: None,
            now,
        };
        let order = resolve_order(view, query);
        let extras = self.router.extras(routes, &model.provider);
        let keys = extras.list.iter().map(|extra| {
            let candidate = super::chain::Candidate::Extra(extra.clone());
            candidate.blocking(Some(&model.model), now, &routes.routing)
        });
        let profiles = order.map(|ranked| ranked.blocking);
        let mut soonest = None;
        for blocking in profiles.chain(keys) {
            let Some(blocking) = blocking else {
                return "ok".to_owned();
            };
            if soonest.is_none_or(|known: crate::profiles::Blocking| blocking.until < known.until) {
                soonest = Some(blocking);
            }
        }
        soonest.map_or_else(
            || "missing".to_owned(),
            |blocking| {
                let word = match blocking.kind {
                    crate::profiles::BlockingKind::Disabled => "disabled",
                    _ => "cooling",
                };
                format!("{word} {}", duration(blocking.until.saturating_sub(now)))
            },
        )
    }
}

/// Puts a selection into a session. The default without a profile clears what was chosen.
fn select(
    routes: &Routes,
    agent: &str,
    entry: &mut SessionEntry,
    model: ModelRef,
    profile: Option<String>,
) {
    let is_default = routes
        .models
        .default_model(agent)
        .is_ok_and(|default| default == model);
    entry.model = Some(model).filter(|_| !is_default);
    entry.pin = profile.map(|profile| Pin {
        profile,
        source: PinSource::User,
        compaction_count: None,
    });
}

impl ChatReply {
    /// The JSON form of every language: `directive` (`list`, `pick`, `reset`, `select`, `show` or
    /// `status`), `rest`, `session` and the fields of the view.
    pub fn to_json(&self) -> Value {
        let mut map = serde_json::Map::new();
        map.insert("directive".to_owned(), self.directive.as_str().into());
        map.insert("rest".to_owned(), self.rest.as_str().into());
        map.insert("session".to_owned(), self.session.to_json());
        if let Value::Object(view) = &self.view {
            map.extend(view.clone());
        }
        Value::Object(map)
    }
}

impl ModelChoice {
    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "number": self.number,
            "model": self.model.key(),
            "aliases": self.aliases,
            "availability": self.availability,
            "current": self.current,
        })
    }
}
