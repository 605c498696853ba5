//! How one profile and one provider are doing. Pure: everything that decides is given.

use serde_json::{Map, Value, json};

use crate::error::Reason;
use crate::profiles::{
    Eligibility, Expiry, Kind, Material, Profile, Verdict, blocking, policy_violations,
};
use crate::secrets::{SecretRef, shown};
use crate::snapshot::Snapshot;

/// How a profile or provider is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Expired,
    Expiring,
    Missing,
    Ok,
    Static,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Missing => "missing",
            Self::Ok => "ok",
            Self::Static => "static",
        }
    }
}

/// What the health of profiles depends on beside themselves.
pub(crate) struct Conditions<'a> {
    pub(crate) now: u64,
    /// How soon an end is worth a warning, in milliseconds.
    pub(crate) warn_ms: u64,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) routing: &'a crate::config::Routing,
    /// When the login of another program ends, `None` when it has none.
    pub(crate) external: &'a dyn Fn(&str) -> Option<u64>,
}

/// How one profile is doing.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) kind: Kind,
    pub(crate) status: Status,
    pub(crate) reason: Option<&'static str>,
    /// Milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// `ok`, `expiring`, `expired` or `unknown`: the plain truth about an access token.
    pub(crate) access: Option<&'static str>,
    pub(crate) refreshable: bool,
    /// The other program whose login it is.
    pub(crate) external: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) masked: String,
    /// From the store of the main agent.
    pub(crate) inherited: bool,
    /// An explicit order leaves it out.
    pub(crate) excluded: bool,
    /// What keeps it from being used for a while.
    pub(crate) windows: Vec<BlockedFor>,
}

/// A span in which a profile is not used.
#[derive(Debug, Clone)]
pub(crate) struct BlockedFor {
    pub(crate) until: u64,
    pub(crate) reason: Option<Reason>,
    pub(crate) long: bool,
    pub(crate) model: Option<String>,
}

/// Whether a reference has a value.
enum Reference {
    Resolved,
    Unchecked,
    Unresolved,
}

impl Conditions<'_> {
    /// How a profile is doing. `excluded`: an explicit order leaves it out.
    pub(crate) fn health(&self, profile: &Profile, excluded: bool) -> Health {
        let credential = &profile.credential;
        let reference = credential.reference().map(|it| self.reference(it));
        let windows = self.windows(profile);
        let external = credential.external.clone().filter(|_| credential.linked);
        let external_end = external.as_deref().map(|program| (self.external)(program));
        let expires = match (credential.expiry, external_end) {
            (_, Some(end)) => end,
            (Expiry::At(at), None) => Some(at),
            _ => None,
        };
        let refreshable = credential.refresh.is_some();
        let (status, reason) = self.judge(profile, reference.as_ref(), external_end, &windows);
        let config = self.routing.profile(&profile.id);
        let named = config.and_then(|c| c.display_name.as_ref().or(c.email.as_ref()));
        let named = named
            .or(credential.display_name.as_ref())
            .or(credential.email.as_ref());
        Health {
            id: profile.id.clone(),
            provider: credential.provider.clone(),
            kind: credential.kind,
            status,
            reason,
            expires,
            access: (credential.kind == Kind::OAuth).then(|| self.access(expires)),
            refreshable,
            external,
            name: named.cloned(),
            masked: masked(profile),
            inherited: profile.inherited,
            excluded,
            windows,
        }
    }

    /// The rules of health, first match.
    fn judge(
        &self,
        profile: &Profile,
        reference: Option<&Reference>,
        external: Option<Option<u64>>,
        windows: &[BlockedFor],
    ) -> (Status, Option<&'static str>) {
        let credential = &profile.credential;
        let config = self.routing.profile(&profile.id);
        let own = credential.auth_provider.as_str();
        let verdict = Verdict::of(credential, config, own, self.routing).at(self.now);
        let alone = Verdict::of(credential, None, own, self.routing).at(self.now);
        let refused = windows
            .iter()
            .any(|window| window.long && window.reason == Some(Reason::AuthPermanent));
        let soon = |at: u64| at.saturating_sub(self.now) <= self.warn_ms;
        match (credential.kind, credential.expiry) {
            _ if alone == Eligibility::MissingCredential => {
                (Status::Missing, Some("missing_credential"))
            }
            (Kind::Token, Expiry::Invalid) => (Status::Missing, Some("invalid_expires")),
            _ if alone == Eligibility::Expired && external.is_none() => {
                (Status::Expired, Some("expired"))
            }
            _ if matches!(reference, Some(Reference::Unresolved)) => {
                (Status::Missing, Some("unresolved_ref"))
            }
            _ if !policy_violations(&profile.id, credential, config).is_empty() => {
                (Status::Missing, Some("oauth_secretref_policy"))
            }
            _ if matches!(
                verdict,
                Eligibility::ProviderMismatch | Eligibility::ModeMismatch
            ) =>
            {
                (Status::Missing, Some(verdict.as_str()))
            }
            (Kind::OAuth, _) if refused => (Status::Expired, Some("refresh_failed")),
            (Kind::OAuth, _) if external.is_some() => match external.flatten() {
                None => (Status::Missing, Some("external_missing")),
                Some(end) if end <= self.now => (Status::Expired, Some("external_expired")),
                Some(_) => (Status::Ok, None),
            },
            (Kind::Token, Expiry::At(at)) if soon(at) => (Status::Expiring, None),
            (Kind::Token, Expiry::At(_)) => (Status::Ok, None),
            (Kind::OAuth, Expiry::At(_)) if credential.refresh.is_some() => (Status::Ok, None),
            (Kind::OAuth, Expiry::At(at)) if soon(at) => (Status::Expiring, None),
            (Kind::OAuth, Expiry::At(_)) => (Status::Ok, None),
            (Kind::OAuth, _) if credential.refresh.is_some() => {
                (Status::Ok, Some("expiry_unknown"))
            }
            (Kind::OAuth, _) => (Status::Missing, Some("expiry_unknown")),
            _ => (Status::Static, None),
        }
    }

    fn access(&self, expires: Option<u64>) -> &'static str {
        match expires {
            None => "unknown",
            Some(at) if at <= self.now => "expired",
            Some(at) if at - self.now <= self.warn_ms => "expiring",
            Some(_) => "ok",
        }
    }

    fn reference(&self, reference: &SecretRef) -> Reference {
        let label = reference.to_string();
        if self.snapshot.secret_ref(&label).is_ok() {
            Reference::Resolved
        } else if self
            .snapshot
            .unchecked()
            .values()
            .any(|known| *known == label)
        {
            Reference::Unchecked
        } else {
            Reference::Unresolved
        }
    }

    /// Every window in force: of the account, then of its models.
    fn windows(&self, profile: &Profile) -> Vec<BlockedFor> {
        let subject = profile.subject(self.routing);
        let mut windows = Vec::new();
        if subject.is_exempt() {
            return windows;
        }
        let record = &profile.record;
        if let Some(window) = record.account.filter(|w| subject.cools(w, self.now)) {
            windows.push(BlockedFor {
                until: window.until,
                reason: window.reason,
                long: false,
                model: None,
            });
        }
        if let Some(window) = record.disabled.filter(|w| subject.disables(w, self.now)) {
            windows.push(BlockedFor {
                until: window.until,
                reason: Some(window.reason),
                long: true,
                model: None,
            });
        }
        if let Some(window) = record.blocked.as_ref().filter(|w| w.until > self.now) {
            windows.push(BlockedFor {
                until: window.until,
                reason: window.reason,
                long: true,
                model: window.model.clone(),
            });
        }
        for model in record.models.keys() {
            let window = record
                .models
                .get(model)
                .filter(|w| subject.cools(w, self.now));
            let blocked = window.and_then(|_| blocking(record, Some(model), self.now, subject));
            if let (Some(window), Some(_)) = (window, blocked) {
                windows.push(BlockedFor {
                    until: window.until,
                    reason: window.reason,
                    long: false,
                    model: Some(model.clone()),
                });
            }
        }
        windows
    }
}

impl Health {
    /// Whether it may be used, as far as is known.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.status, Status::Ok | Status::Static | Status::Expiring)
    }

    /// Whether it has an end that matters.
    pub(crate) fn is_timed(&self) -> bool {
        matches!(self.kind, Kind::OAuth | Kind::Token)
    }

    /// Its id, with the name of the account.
    pub(crate) fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.id),
            None => self.id.clone(),
        }
    }

    /// The label of OpenClaw: id, what is shown of its secret, what keeps it from being used.
    pub(crate) fn compat_label(&self, now: u64) -> String {
        let secret = match (self.kind, &self.name) {
            (Kind::OAuth, Some(name)) => format!("OAuth ({name})"),
            (Kind::OAuth, None) => "OAuth".to_owned(),
            (Kind::Token, _) if !self.masked.starts_with("ref(") && self.masked != "missing" => {
                format!("token:{}", self.masked)
            }
            _ => self.masked.clone(),
        };
        let longest = self.windows.iter().max_by_key(|window| window.until);
        let suffix = longest.map_or_else(String::new, |window| {
            let left = short(left(window.until, now));
            match (window.long, window.reason) {
                (true, Some(reason)) => format!(" [disabled:{} {left}]", reason.as_str()),
                (true, None) => format!(" [disabled {left}]"),
                (false, _) => format!(" [cooldown {left}]"),
            }
        });
        format!("{}={secret}{suffix}", self.id)
    }

    /// The row of the document.
    pub(crate) fn to_json(&self, now: u64) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
        put("profileId", self.id.clone().into());
        put("provider", self.provider.clone().into());
        put("type", self.kind.as_str().into());
        put("status", self.status.as_str().into());
        if let Some(reason) = self.reason {
            put("reasonCode", reason.into());
        }
        if let Some(at) = self.expires {
            put("expiresAt", at.into());
            put("remainingMs", left(at, now).into());
        }
        let source = match &self.external {
            Some(program) => format!("external:{program}"),
            None => "store".to_owned(),
        };
        put("source", source.into());
        put("label", self.label().into());
        if let Some(access) = self.access {
            put("accessStatus", access.into());
            put("refreshable", self.refreshable.into());
        }
        if self.inherited {
            put("owner", "main".into());
        }
        if self.excluded {
            put("excluded", true.into());
        }
        Value::Object(row)
    }

    /// The rows of what keeps it from being used, with the time left.
    pub(crate) fn windows_json(&self, now: u64) -> Vec<(u64, Value)> {
        let row = |window: &BlockedFor| {
            let mut row = json!({
                "profileId": self.id,
                "provider": self.provider,
                "kind": if window.long { "disabled" } else { "cooldown" },
            });
            if let Value::Object(map) = &mut row {
                if let Some(reason) = window.reason {
                    map.insert("reason".to_owned(), reason.as_str().into());
                }
                map.insert("until".to_owned(), window.until.into());
                map.insert("remainingMs".to_owned(), left(window.until, now).into());
                if let Some(model) = &window.model {
                    map.insert("model".to_owned(), model.clone().into());
                }
            }
            (window.until, row)
        };
        self.windows.iter().map(row).collect()
    }
}

/// The state of a provider by those of its profiles that count.
pub(crate) fn provider_status(profiles: &[&Health]) -> Option<Status> {
    let any = |status: Status| profiles.iter().any(|profile| profile.status == status);
    for status in [Status::Expired, Status::Missing, Status::Expiring] {
        if any(status) {
            return Some(status);
        }
    }
    profiles.first()?;
    let timed = |profile: &&Health| profile.is_timed() && profile.expires.is_some();
    let renews = |profile: &&Health| profile.kind == Kind::OAuth;
    let is_timed = profiles
        .iter()
        .any(|profile| timed(profile) || renews(profile));
    Some(if is_timed { Status::Ok } else { Status::Static })
}

/// What is shown of the secret of a profile.
fn masked(profile: &Profile) -> String {
    let credential = &profile.credential;
    match &credential.material {
        _ if credential.kind == Kind::OAuth => "OAuth".to_owned(),
        Material::Inline(secret) => shown(secret.expose()),
        Material::Reference(reference) => {
            format!("ref({}:{})", reference.source().as_str(), reference.id())
        }
        Material::Missing => "missing".to_owned(),
    }
}

/// Milliseconds until a point in time; negative when it has passed.
pub(crate) fn left(at: u64, now: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(at).saturating_sub(signed(now))
}

/// A time for people: `0m`, `5m`, `3h`, `10d`; the rounding of OpenClaw.
pub fn short(ms: i64) -> String {
    let rounded = |unit: i64, value: i64| value.saturating_add(unit / 2) / unit;
    if ms <= 0 {
        return "0m".to_owned();
    }
    let minutes = rounded(60_000, ms).max(1);
    let hours = rounded(60, minutes);
    let days = rounded(24, hours);
    match (minutes, hours) {
        (..60, _) => format!("{minutes}m"),
        (_, ..48) => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        for (ms, text) in [
            (29_000, "1m"),
            (31_000, "1m"),
            (90_000, "2m"),
            (3_599_000, "1h"),
            (3_600_000, "1h"),
            (172_799_000, "2d"),
            (172_800_000, "2d"),
            (864_000_000, "10d"),
            (0, "0m"),
            (-5, "0m"),
        ] {
            assert_eq!(short(ms), text, "{ms}");
        }
    }
}
