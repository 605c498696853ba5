//! Checks of profiles and keys.

use super::DoctorFinding as Found;
use super::place::Place;
use super::repair::{Repair, StoreChange};
use super::store::SECONDS_BELOW;
use super::table::Check;
use crate::error::Reason;
use crate::keys::{first_variable, known_providers};
use crate::profiles::{Expiry, Kind, Material};
use crate::report::status::{Effective, Health, Status, left, short};

/// Every profile of every agent with its health; what an explicit order leaves out does not
/// count.
fn profiles(place: &Place, mut each: impl FnMut(&str, &Health, u64)) {
    for (scene, survey) in place.surveys() {
        let counting = survey.profiles.iter();
        for profile in counting.filter(|profile| !profile.excluded && !profile.inherited) {
            each(&scene.agent.agent, profile, survey.now);
        }
    }
}

fn found(check: &'static Check, agent: &str, profile: &Health, message: String) -> Found {
    let finding = Found::new(check, message).of(agent);
    finding.about(&profile.provider, Some(&profile.id))
}

/// The checks that are named like the reason of a profile's state.
pub(super) fn profile(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    profiles(place, |agent, profile, now| {
        let reason = profile.reason.unwrap_or_default();
        if check.id.strip_prefix("profile.") != Some(reason) {
            return;
        }
        let id = &profile.id;
        let message = match (reason, profile.expires) {
            ("expired", Some(at)) => format!("{id} expired {} ago", short(-left(at, now))),
            ("missing_credential", _) => format!("{id} holds no secret"),
            ("invalid_expires", _) => format!("the expiry of {id} is no point in time"),
            ("unresolved_ref", _) => format!("{id}: {} does not resolve", profile.masked),
            _ => format!("{id}: {reason}"),
        };
        let finding = found(check, agent, profile, message).hint(renew(profile));
        list.push(match reason {
            "invalid_expires" => {
                let change = StoreChange::DropMember(id.clone(), "expires");
                finding.repaired_by(Repair::Store(agent.to_owned(), change))
            }
            _ => finding,
        });
    });
    list
}

/// The command that brings a new credential.
fn renew(profile: &Health) -> String {
    let (id, provider) = (&profile.id, &profile.provider);
    match (profile.kind, provider.as_str()) {
        _ if profile.reason == Some("unresolved_ref") => {
            "set what the reference names, or store another credential".to_owned()
        }
        (Kind::OAuth, _) => format!("openclaw-auth models auth login --provider {provider}"),
        (Kind::Token, "anthropic") => format!(
            "run `claude setup-token`, then `openclaw-auth models auth setup-token --profile-id {id}`"
        ),
        (Kind::Token, _) => {
            format!("openclaw-auth models auth paste-token --provider {provider} --profile-id {id}")
        }
        _ => format!(
            "openclaw-auth models auth paste-api-key --provider {provider} --profile-id {id} \
             --replace"
        ),
    }
}

pub(super) fn expiring(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    profiles(place, |agent, profile, now| {
        if let (Status::Expiring, Some(at)) = (profile.status, profile.expires) {
            let message = format!("{} expires in {}", profile.id, short(left(at, now)));
            list.push(found(check, agent, profile, message).hint(renew(profile)));
        }
    });
    list
}

pub(super) fn expires_in_seconds(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    for (scene, _) in place.surveys() {
        for profile in scene
            .view
            .profiles
            .iter()
            .filter(|profile| !profile.inherited)
        {
            let Expiry::At(at) = profile.credential.expiry else {
                continue;
            };
            if at < SECONDS_BELOW {
                let message = format!("the expiry of {} is written in seconds", profile.id);
                let agent = scene.agent.agent.clone();
                let change = StoreChange::ExpiresInMs(profile.id.clone());
                let finding = Found::new(check, message).of(&agent);
                let finding = finding.about(&profile.credential.provider, Some(&profile.id));
                list.push(finding.repaired_by(Repair::Store(agent, change)));
            }
        }
    }
    list
}

pub(super) fn cooldown(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    profiles(place, |agent, profile, now| {
        for window in profile.windows.iter().filter(|window| !window.long) {
            let reason = window.reason.map(Reason::as_str);
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let model = window.model.as_ref();
            let model = model.map_or_else(String::new, |model| format!(" for {model}"));
            let left = short(left(window.until, now));
            let message = format!("{} cools down{model} for {left}{reason}", profile.id);
            let hint = format!("openclaw-auth models auth cooldown clear {}", profile.id);
            list.push(found(check, agent, profile, message).hint(hint));
        }
    });
    list
}

pub(super) fn disabled(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    profiles(place, |agent, profile, now| {
        for window in profile.windows.iter().filter(|window| window.long) {
            let reason = window.reason.map_or("unknown", Reason::as_str);
            let left = short(left(window.until, now));
            let message = format!("{} is disabled for {left} ({reason})", profile.id);
            let hint = match window.reason {
                Some(Reason::Billing) => "top up the account, or switch to another provider",
                Some(Reason::AuthPermanent) => "sign in again",
                _ => "wait, or clear it with `openclaw-auth models auth cooldown clear`",
            };
            list.push(found(check, agent, profile, message).hint(hint));
        }
    });
    list
}

pub(super) fn setup_token(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    for (scene, _) in place.surveys() {
        let profiles = scene
            .view
            .profiles
            .iter()
            .filter(|profile| !profile.inherited);
        for profile in profiles {
            let credential = &profile.credential;
            let is_setup_token = match &credential.material {
                Material::Inline(secret) => secret.expose().starts_with("sk-ant-oat01-"),
                _ => false,
            };
            if credential.provider == "anthropic" && is_setup_token {
                let message = format!("{} is a setup-token", profile.id);
                let finding = Found::new(check, message).of(&scene.agent.agent);
                list.push(finding.about("anthropic", Some(&profile.id)));
            }
        }
    }
    list
}

pub(super) fn provider_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list: Vec<Found> = Vec::new();
    for (scene, survey) in place.surveys() {
        let missing = survey
            .providers
            .iter()
            .filter(|provider| provider.in_use && provider.effective == Effective::Missing);
        for provider in missing {
            let id = &provider.id;
            let what = match provider.is_bare() {
                true => "has no credential",
                false => "has no credential that can be used",
            };
            let variable = first_variable(id, scene.routing());
            let hint = format!(
                "set {variable}, or `openclaw-auth models auth add --provider {id}`, or a SecretRef \
                 at models.providers.{id}.apiKey"
            );
            let finding = Found::new(check, format!("{id} {what}")).of(&scene.agent.agent);
            list.push(finding.about(id, None).hint(hint));
        }
    }
    list
}

/// The variables with keys: provider, name and value, as set.
fn variables(place: &Place, mut each: impl FnMut(&str, &str, &str)) {
    let Some(engine) = place.engine() else {
        return;
    };
    let Ok(scene) = engine.scene(None) else {
        return;
    };
    let snapshot = engine.snapshot();
    let mut told: Vec<String> = Vec::new();
    for provider in known_providers() {
        let keys = crate::keys::EnvKeys::collect(&snapshot.env, provider, scene.routing());
        for key in keys.keys {
            let name = key.id.strip_prefix("env:").unwrap_or(&key.id);
            let name = name.split('#').next().unwrap_or(name);
            let value = snapshot.env.get(name).unwrap_or_default();
            if !told.iter().any(|known| known == name) {
                told.push(name.to_owned());
                each(provider, name, value);
            }
        }
    }
}

pub(super) fn key_whitespace(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    variables(place, |provider, name, value| {
        // Lists are separated by white space.
        let is_list = name.ends_with("_KEYS");
        let odd = |c: char| c.is_whitespace() || c.is_control() || u32::from(c) > 0xff;
        if !is_list && value.contains(odd) {
            let message = format!("{name} contains blanks, line breaks or odd characters");
            list.push(Found::new(check, message).about(provider, None));
        }
    });
    list
}

/// Texts that stand where a key should be.
const PLACEHOLDERS: &[&str] = &[
    "your-api-key",
    "your_api_key",
    "changeme",
    "change-me",
    "...",
];

pub(super) fn key_placeholder(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    variables(place, |provider, name, value| {
        let lower = value.trim().to_lowercase();
        let only_x = lower.len() >= 3 && lower.chars().all(|c| c == 'x');
        let is_command = lower.starts_with("export ") || lower.starts_with('$');
        if PLACEHOLDERS.contains(&lower.as_str()) || only_x || is_command {
            let message = format!("{name} holds a placeholder instead of a key");
            list.push(Found::new(check, message).about(provider, None));
        }
    });
    list
}

pub(super) fn duplicate_keys(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    variables(place, |_, name, value| {
        match seen.iter_mut().find(|(known, _)| known == value) {
            Some((_, names)) => names.push(name.to_owned()),
            None => seen.push((value.to_owned(), vec![name.to_owned()])),
        }
    });
    let several = seen.iter().filter(|(_, names)| names.len() > 1);
    let list: Vec<Found> = several
        .map(|(_, names)| Found::new(check, format!("{} hold the same key", names.join(" and "))))
        .collect();
    for (value, _) in seen {
        crate::secrets::wipe(value.into());
    }
    list
}

pub(super) fn live_override(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    variables(place, |provider, name, _| {
        if name.starts_with("OPENCLAW_LIVE_") && name.ends_with("_KEY") {
            let message = format!("{name} overrides every other environment key of {provider}");
            list.push(Found::new(check, message).about(provider, None));
        }
    });
    list
}
