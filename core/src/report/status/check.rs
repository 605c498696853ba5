//! What counts for the answer of a check.

use serde_json::{Map, Value, json};

use super::health::{Health, Status};
use super::providers::{Effective, ProviderFacts};
use super::{Survey, short};
use crate::profiles::Kind;
use crate::report::status::health::left;

/// The answer and its reasons.
pub(super) struct Check {
    /// 0, 1 or 2.
    pub(super) exit: u8,
    reasons: Vec<Reason>,
    ignored: Vec<Reason>,
}

struct Reason {
    is_error: bool,
    provider: String,
    profile: Option<String>,
    status: Status,
    code: Option<&'static str>,
    message: String,
}

/// Answers for the providers that are shown.
pub(super) fn check(survey: &Survey, shows: &dyn Fn(&str) -> bool) -> Check {
    let mut reasons = Vec::new();
    let mut ignored = Vec::new();
    for profile in survey
        .profiles
        .iter()
        .filter(|profile| shows(&profile.provider))
    {
        let provider = survey.providers.iter().find(|p| p.id == profile.provider);
        let in_use = provider.is_some_and(|provider| provider.in_use);
        if let Some(reason) = of_profile(profile, in_use, survey.now) {
            match profile.excluded {
                true => ignored.push(reason),
                false => reasons.push(reason),
            }
        }
    }
    for provider in survey.providers.iter().filter(|p| p.in_use && shows(&p.id)) {
        if provider.effective == Effective::Missing {
            reasons.push(of_provider(provider));
        }
    }
    reasons.sort_by_key(|reason| !reason.is_error);
    let exit = match reasons.first() {
        Some(reason) if reason.is_error => 1,
        Some(_) => 2,
        None => 0,
    };
    Check {
        exit,
        reasons,
        ignored,
    }
}

fn of_profile(profile: &Health, in_use: bool, now: u64) -> Option<Reason> {
    let is_error = match (profile.kind, profile.status) {
        (Kind::OAuth | Kind::Token, Status::Expired | Status::Missing) => true,
        (Kind::OAuth | Kind::Token, Status::Expiring) => false,
        (_, Status::Missing | Status::Expired) if in_use => true,
        _ => return None,
    };
    let message = match (profile.status, profile.expires) {
        (Status::Expiring, Some(at)) => {
            format!("{} expires in {}", profile.id, short(left(at, now)))
        }
        (Status::Expired, Some(at)) if profile.reason == Some("expired") => {
            format!("{} expired {} ago", profile.id, short(-left(at, now)))
        }
        _ => {
            let why = profile.reason.unwrap_or_else(|| profile.status.as_str());
            format!("{} {why}", profile.id)
        }
    };
    Some(Reason {
        is_error,
        provider: profile.provider.clone(),
        profile: Some(profile.id.clone()),
        status: profile.status,
        code: profile.reason,
        message,
    })
}

fn of_provider(provider: &ProviderFacts) -> Reason {
    let what = match provider.is_bare() {
        true => "has no credential",
        false => "has no credential that can be used",
    };
    Reason {
        is_error: true,
        provider: provider.id.clone(),
        profile: None,
        status: Status::Missing,
        code: None,
        message: format!("{} {what}", provider.id),
    }
}

impl Check {
    pub(super) fn to_json(&self) -> Value {
        let rows = |reasons: &[Reason]| reasons.iter().map(Reason::to_json).collect::<Vec<_>>();
        json!({
            "exitCode": self.exit,
            "reasons": rows(&self.reasons),
            "ignored": rows(&self.ignored),
        })
    }
}

impl Reason {
    fn to_json(&self) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
        put(
            "severity",
            if self.is_error { "error" } else { "warn" }.into(),
        );
        put("provider", self.provider.clone().into());
        if let Some(profile) = &self.profile {
            put("profileId", profile.clone().into());
        }
        put("status", self.status.as_str().into());
        if let Some(code) = self.code {
            put("reasonCode", code.into());
        }
        put("message", self.message.clone().into());
        Value::Object(row)
    }
}
