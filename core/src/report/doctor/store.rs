//! Checks of the stores of profiles.

use std::path::Path;

use serde_json::{Map, Value};

use super::DoctorFinding as Found;
use super::config::told;
use super::place::{Look, Place};
use super::repair::{Repair, StoreChange};
use super::table::Check;
use crate::error::Code;
use crate::profiles::{Document, Kind};

/// Largest number that is more likely seconds than milliseconds.
pub(super) const SECONDS_BELOW: u64 = 100_000_000_000;
/// Old names of members, and the current ones.
pub(super) const SPELLINGS: &[(&str, &str)] = &[("mode", "type"), ("apiKey", "key")];
const LONG_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

/// The current spelling of a type.
pub(super) fn usual_type(kind: &str) -> &str {
    match kind {
        "apikey" | "apiKey" | "api-key" => "api_key",
        other => other,
    }
}

/// What an agent's store was found to be, when it could not be read for this reason.
fn failed(place: &Place, check: &'static Check, codes: &[Code]) -> Vec<Found> {
    let mut found = Vec::new();
    for look in place.looks() {
        let Err(error) = &look.scene else { continue };
        if codes.contains(&error.code()) {
            let finding = Found::new(check, told(error)).of(&look.id);
            let path = error.details().get("path").and_then(Value::as_str);
            found.push(match path {
                Some(path) => finding.at(path),
                None => finding,
            });
        }
    }
    found
}

pub(super) fn corrupt(place: &Place, check: &'static Check) -> Vec<Found> {
    let codes = [
        Code::StoreCorrupt,
        Code::StoreUnreadable,
        Code::StoreTooLarge,
        Code::StorePermissions,
        Code::UnknownAgent,
    ];
    failed(place, check, &codes)
}

pub(super) fn sqlite_migrated(place: &Place, check: &'static Check) -> Vec<Found> {
    failed(place, check, &[Code::StoreSqliteMigrated])
}

pub(super) fn legacy_shape(place: &Place, check: &'static Check) -> Vec<Found> {
    failed(place, check, &[Code::StoreLegacyShape])
}

pub(super) fn legacy_auth_json(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        let store = scene.agent.path();
        let old = store.with_file_name("auth.json");
        if place.host.files.stat(&old).is_err() {
            continue;
        }
        let finding = Found::new(check, format!("{} is left over", place.shown(&old)))
            .at(old.display().to_string())
            .of(&look.id);
        found.push(importable(place, finding, &look, store));
    }
    found
}

pub(super) fn legacy_oauth_json(place: &Place, check: &'static Check) -> Vec<Found> {
    let old = place.places.state.join("credentials").join("oauth.json");
    if place.host.files.stat(&old).is_err() {
        return Vec::new();
    }
    let main = place.looks().into_iter().find(|look| look.id == "main");
    let Some((look, scene)) = main
        .as_ref()
        .and_then(|look| Some((look, look.scene.as_ref().ok()?)))
    else {
        return Vec::new();
    };
    if !scene.view.profiles.is_empty() {
        return Vec::new();
    }
    let finding = Found::new(check, format!("{} was not imported", place.shown(&old)))
        .at(old.display().to_string());
    vec![importable(place, finding, look, scene.agent.path())]
}

/// Only into a store that does not exist yet.
fn importable(place: &Place, finding: Found, look: &Look<'_>, store: &Path) -> Found {
    match place.host.files.stat(store) {
        Err(_) => finding.repaired_by(Repair::Import(look.id.clone())),
        Ok(_) => finding.hint("there is a store already; remove the old file when it has all"),
    }
}

pub(super) fn rejected_entries(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        for (id, reason) in scene.view.rejected() {
            let finding = Found::new(check, format!("{id} cannot be used: {reason}"));
            let mut finding = finding.of(&look.id);
            finding.profile = Some(id.clone());
            found.push(finding);
        }
    }
    found
}

/// The stores that can be read, as they are written.
fn documents(place: &Place, mut each: impl FnMut(&Look<'_>, &Document)) {
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        if let Ok(stored) = scene.agent.store().load()
            && let Some(document) = &stored.document
        {
            each(&look, document);
        }
    }
}

/// A finding about a stored profile.
fn of_profile(check: &'static Check, look: &Look<'_>, id: &str, message: String) -> Found {
    let mut finding = Found::new(check, message).of(&look.id);
    finding.profile = Some(id.to_owned());
    finding
}

pub(super) fn spelling(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    documents(place, |look, document| {
        for (id, profile) in document.profiles() {
            let Some(map) = profile.as_object() else {
                continue;
            };
            if let Some(old) = old_spelling(map) {
                let message = format!("{id} is written with {old}");
                let repair = Repair::Store(look.id.clone(), StoreChange::Spelling(id.clone()));
                found.push(of_profile(check, look, id, message).repaired_by(repair));
            }
        }
    });
    found
}

fn old_spelling(map: &Map<String, Value>) -> Option<String> {
    let member = SPELLINGS
        .iter()
        .find(|(old, new)| map.contains_key(*old) && !map.contains_key(*new));
    if let Some((old, _)) = member {
        return Some((*old).to_owned());
    }
    let kind = map.get("type").and_then(Value::as_str)?;
    (usual_type(kind) != kind).then(|| format!("type {kind}"))
}

pub(super) fn version_newer(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    documents(place, |look, document| {
        let version = document.version().and_then(Value::as_u64);
        if let Some(version) = version.filter(|version| *version > 1) {
            let message = format!("the store of {} has version {version}", look.id);
            found.push(Found::new(check, message).of(&look.id));
        }
    });
    found
}

/// The lock files of the stores, with their age in milliseconds and whether they are stale.
fn locks(place: &Place) -> Vec<(String, std::path::PathBuf, u64, bool)> {
    let mut found = Vec::new();
    let now = place.host.clock.now_ms();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        let store = scene.agent.path();
        let lock = store.with_file_name("auth-profiles.json.lock");
        let Ok(meta) = place.host.files.stat(&lock) else {
            continue;
        };
        let modified = u64::try_from(meta.modified_ns / 1_000_000).unwrap_or_default();
        let age = now.saturating_sub(modified);
        let stale = crate::profiles::is_stale_lock(&place.host, &lock);
        found.push((look.id.clone(), lock, age, stale));
    }
    found
}

pub(super) fn lock_stale(place: &Place, check: &'static Check) -> Vec<Found> {
    let stale = locks(place).into_iter().filter(|(.., stale)| *stale);
    stale
        .map(|(agent, lock, age, _)| {
            let message = format!("{} was left {} s ago", place.shown(&lock), age / 1_000);
            Found::new(check, message)
                .at(lock.display().to_string())
                .of(&agent)
                .repaired_by(Repair::BreakLock(lock))
        })
        .collect()
}

pub(super) fn lock_held(place: &Place, check: &'static Check) -> Vec<Found> {
    let held = locks(place).into_iter();
    let held = held.filter(|(_, _, age, stale)| !stale && *age > LONG_MS);
    held.map(|(agent, lock, age, _)| {
        let message = format!("{} is held for {} s", place.shown(&lock), age / 1_000);
        Found::new(check, message)
            .at(lock.display().to_string())
            .of(&agent)
    })
    .collect()
}

pub(super) fn tmp_leftover(place: &Place, check: &'static Check) -> Vec<Found> {
    let now = place.host.clock.now_ms();
    let mut found = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        let Some(folder) = scene.agent.path().parent() else {
            continue;
        };
        let left = place.inside(folder, |name| {
            name.starts_with(".auth-profiles.json.") && name.ends_with(".tmp")
        });
        for file in left {
            let Ok(meta) = place.host.files.lstat(&file) else {
                continue;
            };
            let modified = u64::try_from(meta.modified_ns / 1_000_000).unwrap_or_default();
            if now.saturating_sub(modified) > HOUR_MS {
                let message = format!("{} was left behind", place.shown(&file));
                let finding = Found::new(check, message)
                    .at(file.display().to_string())
                    .of(&look.id);
                found.push(finding.repaired_by(Repair::RemoveFile(file)));
            }
        }
    }
    found
}

pub(super) fn order_unknown_profile(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        known.extend(scene.view.profiles.iter().map(|profile| profile.id.clone()));
        for (provider, ids) in scene.view.stored_order() {
            for id in ids.iter().filter(|id| scene.view.profile(id).is_none()) {
                let message = format!("the stored order of {provider} names {id}");
                let change = StoreChange::PruneOrder(provider.clone(), id.clone());
                let finding = of_profile(check, &look, id, message).about(provider, Some(id));
                found.push(finding.repaired_by(Repair::Store(look.id.clone(), change)));
            }
        }
    }
    let configured = place.setting(&["auth", "order"]);
    let configured = configured.as_ref().and_then(Value::as_object);
    for (provider, list) in configured.into_iter().flatten() {
        let ids: Vec<&str> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (kept, gone): (Vec<&str>, Vec<&str>) = ids
            .into_iter()
            .partition(|id| known.iter().any(|known| known == id));
        if gone.is_empty() {
            continue;
        }
        let path = vec!["auth".to_owned(), "order".to_owned(), provider.clone()];
        let message = format!("auth.order.{provider} names {}", gone.join(", "));
        // An empty order means that no profile is used, which nobody meant.
        let repair = match kept.is_empty() {
            true => Repair::DropSetting(path),
            false => Repair::Setting(path, kept.into()),
        };
        let finding = Found::new(check, message).at(format!("auth.order.{provider}"));
        found.push(finding.about(provider, None).repaired_by(repair));
    }
    found
}

/// `auth.profiles` of the configuration: id, provider and mode.
fn configured(place: &Place) -> Vec<(String, String, String)> {
    let profiles = place.setting(&["auth", "profiles"]);
    let profiles = profiles.as_ref().and_then(Value::as_object);
    let text = |entry: &Value, key: &str| {
        let text = entry.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let entries = profiles.into_iter().flatten();
    entries
        .map(|(id, entry)| (id.clone(), text(entry, "provider"), text(entry, "mode")))
        .collect()
}

pub(super) fn config_profile_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let looks = place.looks();
    // A store that cannot be read may hold anything.
    if looks.iter().any(|look| look.scene.is_err()) {
        return Vec::new();
    }
    let is_stored = |id: &str| {
        let scenes = looks.iter().filter_map(|look| look.scene.as_ref().ok());
        scenes
            .into_iter()
            .any(|scene| scene.view.profile(id).is_some())
    };
    let missing = configured(place).into_iter();
    let missing = missing.filter(|(id, ..)| !is_stored(id));
    missing
        .map(|(id, provider, _)| {
            let path = vec!["auth".to_owned(), "profiles".to_owned(), id.clone()];
            let finding = Found::new(check, format!("auth.profiles.{id} has no credential"));
            finding
                .at(format!("auth.profiles.{id}"))
                .about(&provider, Some(&id))
                .repaired_by(Repair::DropSetting(path))
        })
        .collect()
}

pub(super) fn config_mode_mismatch(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    let configured = configured(place);
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        for (id, provider, mode) in &configured {
            let Some(profile) = scene.view.profile(id) else {
                continue;
            };
            let kind = profile.credential.kind;
            let same = mode == kind.as_str()
                || (matches!(kind, Kind::OAuth | Kind::Token)
                    && matches!(mode.as_str(), "oauth" | "token"));
            if same || mode.is_empty() {
                continue;
            }
            let path = ["auth", "profiles", id, "mode"].map(str::to_owned).to_vec();
            let message = format!(
                "auth.profiles.{id}.mode is {mode}, and the credential is of type {}",
                kind.as_str()
            );
            let finding = Found::new(check, message)
                .at(format!("auth.profiles.{id}.mode"))
                .of(&look.id)
                .about(provider, Some(id));
            found.push(finding.repaired_by(Repair::Setting(path, kind.as_str().into())));
        }
    }
    found
}

pub(super) fn usage_orphan(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    documents(place, |look, document| {
        let usage = document.section("usageStats").into_iter().flatten();
        for (id, _) in usage.filter(|(id, _)| document.profile(id).is_none()) {
            let message = format!("a usage record names {id}, which is not stored");
            let repair = Repair::Store(look.id.clone(), StoreChange::DropUsage(id.clone()));
            found.push(of_profile(check, look, id, message).repaired_by(repair));
        }
    });
    found
}

pub(super) fn usage_implausible(place: &Place, check: &'static Check) -> Vec<Found> {
    let now = place.host.clock.now_ms();
    let mut found = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        for profile in &scene.view.profiles {
            let subject = profile.subject(scene.routing());
            if subject.has_implausible_window(&profile.record, now) {
                let id = &profile.id;
                let message = format!("{id} is marked unavailable for too long to be true");
                let repair = Repair::Store(look.id.clone(), StoreChange::ClearWindows(id.clone()));
                found.push(of_profile(check, &look, id, message).repaired_by(repair));
            }
        }
    }
    found
}
