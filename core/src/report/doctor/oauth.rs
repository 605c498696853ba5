//! Checks of logins, clocks and token endpoints.

use serde_json::Value;

use super::DoctorFinding as Found;
use super::place::Place;
use super::repair::{Repair, StoreChange};
use super::table::Check;
use crate::engine::Scene;
use crate::oauth::{Journal, Login, Reached};
use crate::profiles::{Kind, Profile};
use crate::report::status::Health;

/// 2025-01-01 in milliseconds since 1970.
const YEAR_2025_MS: u64 = 1_735_689_600_000;
const DAY_MS: u64 = 86_400_000;
const SKEW_MS: u64 = 60_000;
/// Ids under which older releases kept copies of other programs' logins.
const COPIED_IDS: &[&str] = &["anthropic:claude-cli", "openai-codex:codex-cli"];

/// Every login of every agent's own store, with its health.
fn logins(place: &Place, mut each: impl FnMut(&Scene<'_>, &Profile, &Health)) {
    for (scene, survey) in place.surveys() {
        for health in survey.profiles.iter().filter(|it| it.kind == Kind::OAuth) {
            if let (Some(profile), false) = (scene.view.profile(&health.id), health.inherited) {
                each(&scene, profile, health);
            }
        }
    }
}

/// Every login as it is stored.
fn stored(place: &Place) -> Vec<(String, String, Login)> {
    let mut list = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        let Ok(stored) = scene.agent.store().load() else {
            continue;
        };
        for (id, value) in stored
            .document
            .iter()
            .flat_map(|document| document.profiles())
        {
            if let Some(login) = Login::read(value) {
                list.push((look.id.clone(), id.clone(), login));
            }
        }
    }
    list
}

fn found(check: &'static Check, scene: &Scene<'_>, health: &Health, message: String) -> Found {
    let login = format!(
        "openclaw-auth models auth login --provider {}",
        health.provider
    );
    let finding = Found::new(check, message).of(&scene.agent.agent);
    let finding = finding.about(&health.provider, Some(&health.id));
    match check.hint {
        "sign in again" => finding.hint(login),
        _ => finding,
    }
}

pub(super) fn refresh_failed(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    logins(place, |scene, _, health| {
        if health.reason == Some("refresh_failed") {
            let message = format!("the provider refused the login {} for good", health.id);
            list.push(found(check, scene, health, message));
        }
    });
    list
}

pub(super) fn no_refresh(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    logins(place, |scene, _, health| {
        if !health.refreshable && health.external.is_none() {
            let message = format!("{} has no refresh token and cannot renew itself", health.id);
            list.push(found(check, scene, health, message));
        }
    });
    list
}

pub(super) fn due(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    logins(place, |scene, _, health| {
        let refused = health.reason == Some("refresh_failed");
        if health.refreshable && health.access == Some("expired") && !refused {
            let message = format!("the access token of {} has run out", health.id);
            let repair = Repair::Refresh(scene.agent.agent.clone(), health.id.clone());
            list.push(found(check, scene, health, message).repaired_by(repair));
        }
    });
    list
}

pub(super) fn interrupted(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        for (_, id, login) in stored(place).iter().filter(|(agent, ..)| *agent == look.id) {
            let journal = Journal::new(&place.host, scene.agent.path(), id);
            let Some(intent) = journal.found().filter(|intent| !intent.alive) else {
                continue;
            };
            let path = journal.intent_path();
            let message = format!("a refresh of {id} was interrupted");
            let finding = Found::new(check, message)
                .at(path.display().to_string())
                .of(&look.id)
                .about(&login.provider, Some(id));
            // The login has been renewed since: nothing of the old attempt is needed.
            let is_over = login.digest().is_some_and(|digest| digest != intent.digest);
            list.push(match is_over && intent.answer.is_none() {
                true => finding.repaired_by(Repair::RemoveFile(path.to_owned())),
                false => finding,
            });
        }
    }
    list
}

pub(super) fn rescue(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        for (_, id, login) in stored(place).iter().filter(|(agent, ..)| *agent == look.id) {
            let journal = Journal::new(&place.host, scene.agent.path(), id);
            if journal.kept().map(crate::secrets::wipe).is_some() {
                let path = journal.rescue_path().display().to_string();
                let message = format!("a renewed login of {id} waits beside the store");
                let finding = Found::new(check, message).at(path).of(&look.id);
                list.push(finding.about(&login.provider, Some(id)));
            }
        }
    }
    list
}

pub(super) fn shadow(place: &Place, check: &'static Check) -> Vec<Found> {
    let all = stored(place);
    let mut list: Vec<Found> = Vec::new();
    for (index, (agent, id, login)) in all.iter().enumerate() {
        let Some(digest) = login.digest() else {
            continue;
        };
        let others = all.iter().enumerate().filter(|(other, _)| *other != index);
        for (other, (owner, their_id, theirs)) in others {
            let same = theirs.digest().as_ref() == Some(&digest);
            let newer = theirs.descends_from(&digest);
            // Of equal copies the first, which is that of the main agent, is the one to keep.
            if newer || (same && other < index) {
                let how = if newer { "is behind" } else { "is a copy of" };
                let message = format!("{id} of {agent} {how} {their_id} of {owner}");
                let change = StoreChange::DropProfile(id.clone());
                let finding = Found::new(check, message).of(agent);
                let finding = finding.about(&login.provider, Some(id));
                list.push(finding.repaired_by(Repair::Store(agent.clone(), change)));
                break;
            }
        }
    }
    list
}

pub(super) fn shared_external(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(engine) = place.engine() else {
        return Vec::new();
    };
    let mut list = Vec::new();
    for (agent, id, login) in stored(place) {
        let Some(refresh) = login.refresh.as_ref().filter(|_| login.external.is_none()) else {
            continue;
        };
        if let Some(program) = engine.program_with(refresh) {
            let message = format!("{program} holds the same login as {id}; one will lose it");
            let finding = Found::new(check, message).of(&agent);
            list.push(finding.about(&login.provider, Some(&id)));
        }
    }
    list
}

pub(super) fn deprecated_id(place: &Place, check: &'static Check) -> Vec<Found> {
    let copied = stored(place).into_iter().filter(|(_, id, login)| {
        COPIED_IDS.contains(&id.as_str()) && login.external.is_none() && login.access.is_some()
    });
    copied
        .map(|(agent, id, login)| {
            let message = format!("{id} is a copy of another program's login");
            let change = StoreChange::DropProfile(id.clone());
            let finding = Found::new(check, message).of(&agent);
            let finding = finding.about(&login.provider, Some(&id));
            finding.repaired_by(Repair::Store(agent, change))
        })
        .collect()
}

pub(super) fn legacy_default(place: &Place, check: &'static Check) -> Vec<Found> {
    let profiles = place.setting(&["auth", "profiles"]);
    let profiles = profiles.as_ref().and_then(Value::as_object);
    let stored = stored(place);
    let mut list = Vec::new();
    for (id, entry) in profiles.into_iter().flatten() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let is_login = text("mode") == Some("oauth") && id.ends_with(":default");
        let is_stored = stored.iter().any(|(_, known, _)| known == id);
        let provider = text("provider").unwrap_or_default();
        let by_mail = stored
            .iter()
            .find(|(_, known, login)| login.provider == provider && known.contains('@'));
        if let (true, false, Some((_, named, _))) = (is_login, is_stored, by_mail) {
            let message = format!("auth.profiles names {id}, and the login is stored as {named}");
            let finding = Found::new(check, message).at(format!("auth.profiles.{id}"));
            list.push(finding.about(provider, Some(id)));
        }
    }
    list
}

pub(super) fn account_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut list = Vec::new();
    for (agent, id, login) in stored(place) {
        let lacks = login.provider == "openai-codex" && login.identity.account_id.is_none();
        if !lacks || login.external.is_some() {
            continue;
        }
        let finding = Found::new(check, format!("{id} has no account id"));
        let finding = finding.of(&agent).about(&login.provider, Some(&id));
        let engine = place.engine();
        let account = engine.and_then(|engine| engine.account_in(&login));
        list.push(match account {
            Some(account) => {
                let change = StoreChange::SetMember(id, "accountId", account.into());
                let finding = finding.hint("take it from the access token");
                finding.repaired_by(Repair::Store(agent, change))
            }
            None => finding,
        });
    }
    list
}

pub(super) fn unknown_provider(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(engine) = place.engine() else {
        return Vec::new();
    };
    let known = engine.oauth_providers();
    let mut list = Vec::new();
    logins(place, |scene, _, health| {
        let is_known = known.contains(&health.provider);
        if !is_known && health.external.is_none() {
            let message = format!(
                "{} cannot be refreshed: {} is not described",
                health.id, health.provider
            );
            list.push(found(check, scene, health, message));
        }
    });
    list
}

pub(super) fn endpoint_override(place: &Place, check: &'static Check) -> Vec<Found> {
    let vars = place.host.env.vars();
    let named = vars
        .keys()
        .filter(|name| name.starts_with("OPENCLAW_AUTH_OAUTH_") && name.ends_with("_URL"));
    let mut list: Vec<Found> = named
        .map(|name| Found::new(check, format!("{name} replaces a built-in endpoint")))
        .collect();
    let providers = place.setting(&["oauth", "providers"]);
    let providers = providers.as_ref().and_then(Value::as_object);
    let built_in = crate::oauth::built_in_providers();
    for (provider, _) in providers.into_iter().flatten() {
        if built_in.iter().any(|known| known == provider) {
            let message = format!("settings replace the built-in description of {provider}");
            let path = format!("oauth.providers.{provider}");
            list.push(Found::new(check, message).at(path).about(provider, None));
        }
    }
    list
}

pub(super) fn clock_implausible(place: &Place, check: &'static Check) -> Vec<Found> {
    let now = place.host.clock.now_ms();
    if now < YEAR_2025_MS {
        return vec![Found::new(
            check,
            "the clock of this machine is before 2025",
        )];
    }
    let ahead = stored(place).into_iter().filter(|(_, _, login)| {
        login
            .issued_at_ms
            .is_some_and(|issued| issued > now.saturating_add(DAY_MS))
    });
    ahead
        .map(|(agent, id, login)| {
            let message = format!("{id} was issued in the future, so the clock is behind");
            let finding = Found::new(check, message).of(&agent);
            finding.about(&login.provider, Some(&id))
        })
        .collect()
}

/// The token endpoints of the stored logins, each asked once.
fn endpoints(place: &Place) -> Vec<(String, Reached)> {
    let Some(engine) = place.engine() else {
        return Vec::new();
    };
    let mut providers: Vec<String> = stored(place)
        .into_iter()
        .map(|(.., l)| l.provider)
        .collect();
    providers.sort();
    providers.dedup();
    let reached = providers.into_iter().filter_map(|provider| {
        let reached = engine.reach_token_endpoint(&provider)?;
        Some((provider, reached))
    });
    reached.collect()
}

pub(super) fn clock_skew(place: &Place, check: &'static Check) -> Vec<Found> {
    let now = place.host.clock.now_ms();
    let skewed = endpoints(place)
        .into_iter()
        .filter_map(|(provider, reached)| {
            let date = match reached {
                Reached::Answered(date) => date?,
                _ => return None,
            };
            let skew = date.abs_diff(now);
            (skew > SKEW_MS).then_some((provider, skew))
        });
    skewed
        .map(|(provider, skew)| {
            let seconds = skew / 1_000;
            let message = format!("the clock differs from that of {provider} by {seconds} s");
            Found::new(check, message).about(&provider, None)
        })
        .collect()
}

pub(super) fn tls_unverifiable(place: &Place, check: &'static Check) -> Vec<Found> {
    let failed = endpoints(place)
        .into_iter()
        .filter_map(|(provider, reached)| match reached {
            Reached::Unverified(why) => Some((provider, why)),
            _ => None,
        });
    failed
        .map(|(provider, why)| {
            let message = format!("the token endpoint of {provider}: {why}");
            Found::new(check, message).about(&provider, None)
        })
        .collect()
}

pub(super) fn unreachable(place: &Place, check: &'static Check) -> Vec<Found> {
    let failed = endpoints(place)
        .into_iter()
        .filter_map(|(provider, reached)| match reached {
            Reached::Failed(why) => Some((provider, why)),
            _ => None,
        });
    failed
        .map(|(provider, why)| {
            let message = format!("the token endpoint of {provider}: {why}");
            Found::new(check, message).about(&provider, None)
        })
        .collect()
}
