//! Checks of secret references and their providers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DoctorFinding as Found;
use super::place::Place;
use super::table::Check;
use crate::config::EnvOrigin;
use crate::engine::AuditOptions;
use crate::error::Code;
use crate::secrets::{Failure, SecretSource};

/// A program that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(5);
/// Codes of failures that have a check of their own.
const PROVIDER_MISSING: &[Code] = &[
    Code::SecretProviderNotConfigured,
    Code::SecretProviderSourceMismatch,
];
const NOT_FOUND: &[Code] = &[Code::SecretProviderSpawnFailed];
const INSECURE: &[Code] = &[Code::SecretProviderPathInsecure];
const POLICY: &[Code] = &[Code::SecretRefOauthPolicy];

/// The failures that fit, each as a finding.
fn failures(place: &Place, check: &'static Check, fits: impl Fn(&Failure) -> bool) -> Vec<Found> {
    let Some(snapshot) = place.engine().map(crate::engine::Engine::snapshot) else {
        return Vec::new();
    };
    let fitting = snapshot.failures().iter().filter(|failure| fits(failure));
    fitting
        .map(|failure| {
            let paths = failure.paths();
            let message = match paths {
                [path] if !failure.message().contains(path) => {
                    format!("{path}: {}", failure.message())
                }
                _ => failure.message().to_owned(),
            };
            let mut found = Found::new(check, message);
            if let Some(path) = paths.first() {
                found = found.at(path);
            }
            match failure.hint() {
                Some(hint) => found.hint(hint),
                None => found.hint(failure.code().info().remedy.trim_end_matches('.')),
            }
        })
        .collect()
}

fn has_code(codes: &'static [Code]) -> impl Fn(&Failure) -> bool {
    move |failure| codes.contains(&failure.code())
}

pub(super) fn unresolved(place: &Place, check: &'static Check) -> Vec<Found> {
    let others = [PROVIDER_MISSING, NOT_FOUND, INSECURE, POLICY].concat();
    // A reference of a profile is a finding about the profile.
    let of_profile = |failure: &Failure| {
        let mut paths = failure.paths().iter();
        paths.all(|path| path.starts_with("auth-profiles["))
    };
    failures(place, check, |failure| {
        !others.contains(&failure.code()) && (failure.paths().is_empty() || !of_profile(failure))
    })
}

pub(super) fn inactive_unresolved(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(snapshot) = place.engine().map(crate::engine::Engine::snapshot) else {
        return Vec::new();
    };
    let surfaces = snapshot.surfaces().into_iter();
    let unset = surfaces.filter_map(|surface| {
        let reference = surface.reference()?;
        let reason = surface.inactive_reason()?;
        let name = reference.id();
        let is_unset =
            reference.source() == SecretSource::Env && snapshot.env.non_blank(name).is_none();
        is_unset.then(|| {
            let message = format!("{}: {name} is not set ({reason})", surface.path());
            Found::new(check, message).at(surface.path())
        })
    });
    unset.collect()
}

pub(super) fn exec_unchecked(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(snapshot) = place.engine().map(crate::engine::Engine::snapshot) else {
        return Vec::new();
    };
    match snapshot.unchecked().len() {
        0 => Vec::new(),
        1 => vec![Found::new(
            check,
            "1 reference was not checked, because a program would run",
        )],
        count => {
            let message =
                format!("{count} references were not checked, because programs would run");
            vec![Found::new(check, message)]
        }
    }
}

pub(super) fn provider_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    failures(place, check, has_code(PROVIDER_MISSING))
}

pub(super) fn exec_not_found(place: &Place, check: &'static Check) -> Vec<Found> {
    failures(place, check, has_code(NOT_FOUND))
}

pub(super) fn exec_insecure(place: &Place, check: &'static Check) -> Vec<Found> {
    let is_exec = |failure: &Failure| failure.source == Some(SecretSource::Exec);
    let insecure = has_code(INSECURE);
    failures(place, check, |failure| {
        insecure(failure) && is_exec(failure)
    })
}

pub(super) fn file_insecure(place: &Place, check: &'static Check) -> Vec<Found> {
    let is_exec = |failure: &Failure| failure.source == Some(SecretSource::Exec);
    let insecure = has_code(INSECURE);
    failures(place, check, |failure| {
        insecure(failure) && !is_exec(failure)
    })
}

pub(super) fn oauth_policy(place: &Place, check: &'static Check) -> Vec<Found> {
    failures(place, check, has_code(POLICY))
}

pub(super) fn exec_slow(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(snapshot) = place.engine().map(crate::engine::Engine::snapshot) else {
        return Vec::new();
    };
    let reports = snapshot.providers().iter();
    let slow = reports.filter(|report| {
        report.source == SecretSource::Exec && Duration::from_millis(report.elapsed_ms) > SLOW
    });
    slow.map(|report| {
        let seconds = report.elapsed_ms / 1_000;
        let message = format!("the provider {} took {seconds} s", report.provider);
        Found::new(check, message).at(format!("secrets.providers.{}", report.provider))
    })
    .collect()
}

pub(super) fn plaintext(place: &Place, check: &'static Check) -> Vec<Found> {
    let report = place.options.audit(AuditOptions::default());
    let mut counts: BTreeMap<std::path::PathBuf, usize> = BTreeMap::new();
    let plain = report
        .findings()
        .iter()
        .filter(|it| it.code() == Code::PlaintextFound);
    for finding in plain {
        *counts.entry(finding.file().to_owned()).or_default() += 1;
    }
    let each = counts.into_iter().map(|(file, count)| {
        let what = match count {
            1 => "1 secret stands".to_owned(),
            count => format!("{count} secrets stand"),
        };
        let message = format!("{what} as plain text in {}", place.shown(&file));
        Found::new(check, message).at(file.display().to_string())
    });
    each.collect()
}

pub(super) fn override_in_dotenv(place: &Place, check: &'static Check) -> Vec<Found> {
    let Some(engine) = place.engine() else {
        return Vec::new();
    };
    let mut names: Vec<String> = engine
        .oauth_ignored_variables()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let snapshot = engine.snapshot();
    let from_file = snapshot
        .env
        .overlay()
        .filter(|(_, origin)| *origin == EnvOrigin::StateDotenv);
    names.extend(
        from_file
            .filter(|(name, _)| PROCESS_ONLY.contains(name))
            .map(|(name, _)| name.to_owned()),
    );
    names.sort();
    names.dedup();
    let file = place.places.state.join(".env");
    let each = names.into_iter().map(|name| {
        let message = format!("{name} is set in a .env file and ignored there");
        Found::new(check, message).at(file.display().to_string())
    });
    each.collect()
}

/// Variables that count only in the environment of the process.
const PROCESS_ONLY: &[&str] = &[
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "SSL_CERT_FILE",
];
