//! What is worth knowing although nothing is wrong.

use serde_json::{Value, json};

use super::Survey;
use super::health::{Health, left, short};
use super::providers::{Effective, ProviderFacts};
use crate::engine::Scene;
use crate::profiles::Kind;

/// One hint.
struct Hint {
    id: &'static str,
    provider: String,
    message: String,
    fix: Option<String>,
}

/// The hints about the providers that are shown, in the order of the providers.
pub(super) fn hints(survey: &Survey, scene: &Scene<'_>, shows: &dyn Fn(&str) -> bool) -> Value {
    let providers = survey
        .providers
        .iter()
        .filter(|provider| shows(&provider.id));
    let found = providers.flat_map(|provider| {
        HINTS
            .iter()
            .flat_map(move |rule| rule(provider, scene, survey.now))
    });
    found
        .map(|hint| {
            let mut row = json!({
                "id": hint.id, "provider": hint.provider, "message": hint.message,
            });
            if let (Value::Object(map), Some(fix)) = (&mut row, hint.fix) {
                map.insert("fix".to_owned(), fix.into());
            }
            row
        })
        .collect()
}

type Rule = fn(&ProviderFacts, &Scene<'_>, u64) -> Vec<Hint>;

const HINTS: &[Rule] = &[
    looks_lost,
    no_refresh_token,
    env_shadowed,
    order_excludes,
    all_cooling,
    live_override,
    token_without_end,
];

fn hint(id: &'static str, provider: &ProviderFacts, message: String, fix: Option<String>) -> Hint {
    Hint {
        id,
        provider: provider.id.clone(),
        message,
        fix,
    }
}

fn looks_lost(provider: &ProviderFacts, _: &Scene<'_>, _: u64) -> Vec<Hint> {
    let usable = || {
        provider
            .profiles
            .iter()
            .filter(|p| p.is_usable() && !p.excluded)
    };
    let login = usable().find(|profile| profile.is_timed());
    let key = usable().find(|profile| profile.kind == Kind::ApiKey);
    let (Some(login), Some(_), false) = (login, key, provider.explicit) else {
        return Vec::new();
    };
    let id = &provider.id;
    let message = format!(
        "{id} alternates between a subscription login and an API key; a message answered with \
         the other one can look like a lost login. Fix one for all, or one per conversation with \
         `/model …@{}`.",
        login.id
    );
    let fix = format!(
        "openclaw-auth models auth order set --provider {id} {}",
        login.id
    );
    vec![hint("oauth_looks_lost", provider, message, Some(fix))]
}

fn no_refresh_token(provider: &ProviderFacts, _: &Scene<'_>, now: u64) -> Vec<Hint> {
    let stuck = |profile: &&Health| {
        profile.kind == Kind::OAuth && !profile.refreshable && profile.external.is_none()
    };
    let of = |profile: &Health| {
        let when = profile.expires.map(|at| left(at, now));
        let when = match when {
            Some(left) if left > 0 => format!("sign in again within {}", short(left)),
            _ => "sign in again".to_owned(),
        };
        let message = format!("{} cannot renew itself; {when}.", profile.id);
        let fix = format!("openclaw-auth models auth login --provider {}", provider.id);
        hint("no_refresh_token", provider, message, Some(fix))
    };
    provider.profiles.iter().filter(stuck).map(of).collect()
}

fn env_shadowed(provider: &ProviderFacts, _: &Scene<'_>, _: u64) -> Vec<Hint> {
    let Some((name, _)) = provider.env() else {
        return Vec::new();
    };
    if !matches!(provider.effective, Effective::Profile { .. }) {
        return Vec::new();
    }
    let message = format!("{name} is only used after the stored profiles.");
    vec![hint("env_shadowed", provider, message, None)]
}

fn order_excludes(provider: &ProviderFacts, _: &Scene<'_>, _: u64) -> Vec<Hint> {
    let excluded = provider.profiles.iter().filter(|profile| profile.excluded);
    let excluded: Vec<&str> = excluded.map(|profile| profile.id.as_str()).collect();
    if excluded.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "the order of {} leaves out {}.",
        provider.id,
        excluded.join(", ")
    );
    let fix = format!(
        "openclaw-auth models auth order get --provider {}",
        provider.id
    );
    vec![hint("order_excludes", provider, message, Some(fix))]
}

fn all_cooling(provider: &ProviderFacts, _: &Scene<'_>, now: u64) -> Vec<Hint> {
    let candidates = provider
        .profiles
        .iter()
        .filter(|p| p.is_usable() && !p.excluded);
    let ends: Option<Vec<u64>> = candidates
        .map(|profile| {
            let whole = profile
                .windows
                .iter()
                .filter(|window| window.model.is_none());
            whole.map(|window| window.until).max()
        })
        .collect();
    let soonest = ends.filter(|_| provider.in_use && provider.keys.is_empty());
    let Some(soonest) = soonest.and_then(|ends| ends.into_iter().min()) else {
        return Vec::new();
    };
    let message = format!(
        "every credential of {} is unavailable; the first one is back in {}.",
        provider.id,
        short(left(soonest, now))
    );
    let fix = format!(
        "openclaw-auth models auth cooldown clear --provider {}",
        provider.id
    );
    vec![hint("all_cooling", provider, message, Some(fix))]
}

fn live_override(provider: &ProviderFacts, _: &Scene<'_>, _: u64) -> Vec<Hint> {
    let live = provider
        .env()
        .filter(|(name, _)| name.starts_with("OPENCLAW_LIVE_") && name.ends_with("_KEY"));
    let Some((name, _)) = live else {
        return Vec::new();
    };
    let message = format!("{name} overrides every other environment key.");
    vec![hint("live_override", provider, message, None)]
}

fn token_without_end(provider: &ProviderFacts, _: &Scene<'_>, _: u64) -> Vec<Hint> {
    let endless = |profile: &&Health| {
        profile.kind == Kind::Token && profile.expires.is_none() && profile.is_usable()
    };
    let of = |profile: &Health| {
        let message = format!(
            "{} has no expiry; store it again with `--expires-in` to be warned in time.",
            profile.id
        );
        hint("token_no_expiry", provider, message, None)
    };
    let tokens = provider
        .profiles
        .iter()
        .filter(|_| provider.id == "anthropic");
    tokens.filter(endless).map(of).collect()
}
