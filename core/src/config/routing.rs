//! Settings of credential routing: `auth` of `openclaw.json`, which holds no secrets, and the
//! section `routing` of `openclaw-auth.json5`.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::provider_id::{Aliases, normalise_provider};
use crate::error::Reason;
use crate::json::{Fields, Mismatch, Path, lookup, type_name};

/// How an agent sees the profiles of the main agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Inherit {
    /// Not at all.
    #[default]
    None,
    /// For providers of which the agent has no profile.
    Shadow,
    /// Key by key, its own over those of the main agent.
    Merge,
}

impl Inherit {
    /// The text of the setting.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Shadow => "shadow",
            Self::Merge => "merge",
        }
    }
}

/// Whether unavailable credentials are tried before their window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// When nothing is available and the gap of the window has passed.
    #[default]
    Auto,
    /// At once, whatever the gap.
    Force,
    /// Not at all.
    Never,
}

impl Probe {
    /// Reads the text in settings and requests.
    pub fn parse(text: &str) -> Option<Self> {
        choice(
            text,
            &[
                ("auto", Self::Auto),
                ("force", Self::Force),
                ("never", Self::Never),
            ],
        )
    }
}

/// When environment keys are candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EnvCandidates {
    #[default]
    AfterProfiles,
    Never,
    OnlyWithoutProfiles,
}

/// Metadata of a profile in `auth.profiles`.
#[derive(Debug, Clone)]
pub(crate) struct ConfigProfile {
    pub(crate) provider: String,
    /// `api_key`, `oauth` or `token`.
    pub(crate) mode: String,
    pub(crate) email: Option<String>,
    pub(crate) display_name: Option<String>,
}

/// Shortest times between two probes of one window, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbeGaps {
    pub(crate) ladder_ms: u64,
    pub(crate) hint_ms: u64,
    pub(crate) disabled_ms: u64,
}

/// All settings of credential routing. Times are milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Routing {
    /// `auth.profiles`, in file order.
    pub(crate) profiles: Vec<(String, ConfigProfile)>,
    /// `auth.order`, in file order, keys as written.
    pub(crate) order: Vec<(String, Vec<String>)>,
    pub(crate) billing_backoff_ms: u64,
    /// By normalised provider.
    pub(crate) billing_backoff_by_provider: BTreeMap<String, u64>,
    pub(crate) billing_max_ms: u64,
    pub(crate) failure_window_ms: u64,
    pub(crate) overloaded_rotations: u64,
    pub(crate) overloaded_backoff_ms: u64,
    pub(crate) rate_limited_rotations: u64,

    pub(crate) inherit: Inherit,
    pub(crate) ladder_ms: Vec<u64>,
    /// Share of a ladder window that is added at most, 0 to 1.
    pub(crate) jitter: f64,
    pub(crate) hint_max_ms: u64,
    pub(crate) exempt: Vec<String>,
    pub(crate) probe: Probe,
    pub(crate) probe_gaps: ProbeGaps,
    pub(crate) env_candidates: EnvCandidates,
    pub(crate) rotate_env_on: Vec<Reason>,
    /// The live override beats stored profiles too.
    pub(crate) live_override_all: bool,
    pub(crate) aliases: Aliases,
    /// Further environment prefixes by provider.
    pub(crate) env_table: BTreeMap<String, Vec<String>>,
    pub(crate) rotate_on_compaction: bool,
    pub(crate) advance_on_format: bool,
    pub(crate) min_valid_ms: u64,
    pub(crate) refresh_wait_ms: u64,
    pub(crate) usage_flush_ms: u64,
    pub(crate) lock_timeout_ms: u64,
    pub(crate) pin_capacity: usize,
    pub(crate) lease_ttl_ms: u64,
    pub(crate) max_attempts: u64,
    pub(crate) import_legacy: bool,
    pub(crate) read_only: bool,
    pub(crate) strict_permissions: bool,
    pub(crate) allow_beside_sqlite: bool,
    pub(crate) env_when_corrupt: bool,
    pub(crate) proactive_demotion: bool,
    /// Provider (normalised) to code (lower case) to reason.
    pub(crate) extra_codes: HashMap<String, HashMap<String, Reason>>,
    pub(crate) prepaid: Vec<String>,
}

const HOUR_MS: u64 = 3_600_000;
/// Default lengths of consecutive cooldowns.
const LADDER_MS: [u64; 3] = [30_000, 60_000, 300_000];
/// The lengths that the documentation of OpenClaw gives.
const DOCS_LADDER_MS: [u64; 4] = [60_000, 300_000, 1_500_000, 3_600_000];
/// Providers that manage the failover of their upstreams themselves.
const EXEMPT: [&str; 2] = ["openrouter", "kilocode"];
/// Providers that are paid in advance, so that an exhausted quota means an empty account.
const PREPAID: [&str; 12] = [
    "openai",
    "openai-codex",
    "azure-openai",
    "microsoft-foundry",
    "anthropic-openai",
    "xai",
    "moonshot",
    "kimi",
    "deepseek",
    "minimax",
    "minimax-portal",
    "perplexity",
];
/// Longest time a setting may name: a hundred years.
const MAX_MS: u64 = 100 * 366 * 24 * HOUR_MS;

impl Default for Routing {
    fn default() -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            profiles: Vec::new(),
            order: Vec::new(),
            billing_backoff_ms: 5 * HOUR_MS,
            billing_backoff_by_provider: BTreeMap::new(),
            billing_max_ms: 24 * HOUR_MS,
            failure_window_ms: 24 * HOUR_MS,
            overloaded_rotations: 1,
            overloaded_backoff_ms: 0,
            rate_limited_rotations: 1,
            inherit: Inherit::None,
            ladder_ms: LADDER_MS.to_vec(),
            jitter: 0.0,
            hint_max_ms: 7 * 24 * HOUR_MS,
            exempt: owned(&EXEMPT),
            probe: Probe::Auto,
            probe_gaps: ProbeGaps {
                ladder_ms: 30_000,
                hint_ms: 1_800_000,
                disabled_ms: 600_000,
            },
            env_candidates: EnvCandidates::AfterProfiles,
            rotate_env_on: vec![Reason::RateLimit],
            live_override_all: false,
            aliases: Aliases::new(),
            env_table: BTreeMap::new(),
            rotate_on_compaction: true,
            advance_on_format: true,
            min_valid_ms: 60_000,
            refresh_wait_ms: 20_000,
            usage_flush_ms: 10_000,
            lock_timeout_ms: 10_000,
            pin_capacity: 10_000,
            lease_ttl_ms: HOUR_MS,
            max_attempts: 32,
            import_legacy: true,
            read_only: false,
            strict_permissions: false,
            allow_beside_sqlite: false,
            env_when_corrupt: false,
            proactive_demotion: true,
            extra_codes: HashMap::new(),
            prepaid: owned(&PREPAID),
        }
    }
}

impl Routing {
    /// Reads the settings; whatever does not fit is reported and keeps its default.
    pub(crate) fn read(tree: &Value) -> (Self, Vec<Mismatch>) {
        let mut routing = Self::default();
        let mut problems = Vec::new();
        // Aliases come first, because keys of other settings are normalised with them.
        if let Some(section) = section(tree, &["routing"], &mut problems) {
            routing.read_options(section, &mut problems);
        }
        if let Some(section) = section(tree, &["auth"], &mut problems) {
            routing.read_auth(section, &mut problems);
        }
        (routing, problems)
    }

    fn read_auth(&mut self, map: &Map<String, Value>, problems: &mut Vec<Mismatch>) {
        let path = Path::new(["auth"]);
        let mut fields = Fields::new(map, &path);
        let (profiles, order, cooldowns) = (
            fields.object("profiles"),
            fields.object("order"),
            fields.object("cooldowns"),
        );
        problems.append(&mut fields.finish());
        for (id, value) in profiles.into_iter().flatten() {
            let path = path.child("profiles").child(id.as_str());
            if let Some(map) = object(value, &path, problems) {
                let mut fields = Fields::new(map, &path);
                let provider = fields.string("provider").map(str::to_owned);
                let mode = fields.string("mode");
                let email = fields.string("email").map(str::to_owned);
                let display_name = fields.string("displayName").map(str::to_owned);
                if provider
                    .as_deref()
                    .is_none_or(|text| text.trim().is_empty())
                {
                    fields.wrong::<()>("provider", "must be the name of a provider");
                }
                let mode = mode.filter(|mode| ["api_key", "oauth", "token"].contains(mode));
                if mode.is_none() {
                    let message = "must be \"api_key\", \"oauth\" or \"token\"";
                    fields.wrong::<()>("mode", message);
                }
                problems.append(&mut fields.finish());
                if let (Some(provider), Some(mode)) = (provider, mode) {
                    let mode = mode.to_owned();
                    let profile = ConfigProfile {
                        provider,
                        mode,
                        email,
                        display_name,
                    };
                    self.profiles.push((id.clone(), profile));
                }
            }
        }
        for (provider, value) in order.into_iter().flatten() {
            let path = path.child("order");
            match strings(value) {
                Some(ids) => self.order.push((provider.clone(), unique(ids))),
                None => problems.push(wrong(
                    &path.child(provider.as_str()),
                    "must be a list of strings",
                )),
            }
        }
        if let Some(map) = cooldowns {
            self.read_cooldowns(map, &path.child("cooldowns"), problems);
        }
    }

    fn read_cooldowns(
        &mut self,
        map: &Map<String, Value>,
        path: &Path,
        problems: &mut Vec<Mismatch>,
    ) {
        let mut fields = Fields::new(map, path);
        for (key, slot) in [
            ("billingBackoffHours", &mut self.billing_backoff_ms),
            ("billingMaxHours", &mut self.billing_max_ms),
            ("failureWindowHours", &mut self.failure_window_ms),
        ] {
            match fields.value(key).map(hours) {
                Some(Some(ms)) => *slot = ms,
                Some(None) => {
                    fields.wrong::<()>(key, "must be a number of hours above 0");
                }
                None => {}
            }
        }
        for (key, slot, most) in [
            (
                "overloadedProfileRotations",
                &mut self.overloaded_rotations,
                1_000_000,
            ),
            (
                "rateLimitedProfileRotations",
                &mut self.rate_limited_rotations,
                1_000_000,
            ),
            (
                "overloadedBackoffMs",
                &mut self.overloaded_backoff_ms,
                MAX_MS,
            ),
        ] {
            if let Some(number) = fields.integer(key, 0..=most) {
                *slot = number;
            }
        }
        let by_provider = fields.object("billingBackoffHoursByProvider");
        problems.append(&mut fields.finish());
        for (provider, value) in by_provider.into_iter().flatten() {
            match hours(value) {
                Some(ms) => {
                    let provider = normalise_provider(provider, &self.aliases).into_owned();
                    self.billing_backoff_by_provider
                        .entry(provider)
                        .or_insert(ms);
                }
                None => {
                    let path = path
                        .child("billingBackoffHoursByProvider")
                        .child(provider.as_str());
                    problems.push(wrong(&path, "must be a number of hours above 0"));
                }
            }
        }
    }

    fn read_options(&mut self, map: &Map<String, Value>, problems: &mut Vec<Mismatch>) {
        let path = Path::new(["routing"]);
        let mut fields = Fields::new(map, &path);
        for (key, slot) in [
            ("advance_on_format", &mut self.advance_on_format),
            ("allow_beside_sqlite", &mut self.allow_beside_sqlite),
            ("env_when_corrupt", &mut self.env_when_corrupt),
            ("import_legacy", &mut self.import_legacy),
            ("proactive_demotion", &mut self.proactive_demotion),
            ("read_only", &mut self.read_only),
            ("rotate_on_compaction", &mut self.rotate_on_compaction),
            ("strict_permissions", &mut self.strict_permissions),
        ] {
            if let Some(value) = fields.boolean(key) {
                *slot = value;
            }
        }
        for (key, slot, range) in [
            ("hint_max_ms", &mut self.hint_max_ms, 1_000..=MAX_MS),
            ("lease_ttl_ms", &mut self.lease_ttl_ms, 1_000..=MAX_MS),
            ("lock_timeout_ms", &mut self.lock_timeout_ms, 0..=600_000),
            ("max_attempts", &mut self.max_attempts, 1..=1_000),
            ("min_valid_ms", &mut self.min_valid_ms, 0..=MAX_MS),
            ("refresh_wait_ms", &mut self.refresh_wait_ms, 0..=600_000),
            ("usage_flush_ms", &mut self.usage_flush_ms, 0..=MAX_MS),
        ] {
            if let Some(value) = fields.integer(key, range) {
                *slot = value;
            }
        }
        if let Some(number) = fields.integer("pin_capacity", 1..=10_000_000) {
            self.pin_capacity = usize::try_from(number).unwrap_or(self.pin_capacity);
        }
        choose(
            &mut fields,
            "inherit",
            &mut self.inherit,
            &[
                ("none", Inherit::None),
                ("shadow", Inherit::Shadow),
                ("merge", Inherit::Merge),
            ],
        );
        choose(
            &mut fields,
            "probe",
            &mut self.probe,
            &[
                ("auto", Probe::Auto),
                ("force", Probe::Force),
                ("never", Probe::Never),
            ],
        );
        choose(
            &mut fields,
            "env_candidates",
            &mut self.env_candidates,
            &[
                ("after_profiles", EnvCandidates::AfterProfiles),
                ("never", EnvCandidates::Never),
                ("only_without_profiles", EnvCandidates::OnlyWithoutProfiles),
            ],
        );
        choose(
            &mut fields,
            "live_override",
            &mut self.live_override_all,
            &[("env_only", false), ("all", true)],
        );
        self.read_ladder(&mut fields);
        if let Some(value) = fields.value("cooldown_jitter") {
            match value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
                Some(share) => self.jitter = share,
                None => {
                    fields.wrong::<()>("cooldown_jitter", "must be a number from 0 to 1");
                }
            }
        }
        for (key, slot) in [
            ("cooldown_exempt", &mut self.exempt),
            ("prepaid_providers", &mut self.prepaid),
        ] {
            if let Some(list) = fields.strings(key, 1_000) {
                *slot = list.into_iter().map(str::to_owned).collect();
            }
        }
        if let Some(list) = fields.strings("rotate_env_on", 100) {
            match list.into_iter().map(Reason::parse).collect() {
                Some(reasons) => self.rotate_env_on = reasons,
                None => {
                    fields.wrong::<()>("rotate_env_on", "must be a list of failure reasons");
                }
            }
        }
        let gaps = fields.object("probe_gap_ms");
        let aliases = fields.object("provider_aliases");
        let env_table = fields.object("env_table");
        let extra_codes = fields.object("extra_codes");
        problems.append(&mut fields.finish());

        if let Some(map) = gaps {
            let path = path.child("probe_gap_ms");
            let mut fields = Fields::new(map, &path);
            for (key, slot) in [
                ("ladder", &mut self.probe_gaps.ladder_ms),
                ("hint", &mut self.probe_gaps.hint_ms),
                ("disabled", &mut self.probe_gaps.disabled_ms),
            ] {
                if let Some(value) = fields.integer(key, 0..=MAX_MS) {
                    *slot = value;
                }
            }
            problems.append(&mut fields.finish());
        }
        for (from, to) in aliases.into_iter().flatten() {
            match to.as_str().map(str::trim).filter(|to| !to.is_empty()) {
                Some(to) => {
                    let (from, to) = (from.trim().to_lowercase(), to.to_lowercase());
                    self.aliases.insert(from, to);
                }
                None => {
                    let path = path.child("provider_aliases").child(from.as_str());
                    problems.push(wrong(&path, "must be the name of a provider"));
                }
            }
        }
        for (provider, prefixes) in env_table.into_iter().flatten() {
            match strings(prefixes).filter(|list| !list.is_empty()) {
                Some(list) => {
                    let provider = normalise_provider(provider, &self.aliases).into_owned();
                    self.env_table.insert(provider, list);
                }
                None => {
                    let path = path.child("env_table").child(provider.as_str());
                    problems.push(wrong(&path, "must be a list of prefixes of variable names"));
                }
            }
        }
        for (provider, codes) in extra_codes.into_iter().flatten() {
            let path = path.child("extra_codes").child(provider.as_str());
            let provider = normalise_provider(provider, &self.aliases).into_owned();
            for (code, reason) in object(codes, &path, problems).into_iter().flatten() {
                match reason.as_str().and_then(Reason::parse) {
                    Some(reason) => {
                        let codes = self.extra_codes.entry(provider.clone()).or_default();
                        codes.insert(code.to_lowercase(), reason);
                    }
                    None => problems.push(wrong(
                        &path.child(code.as_str()),
                        "must be a failure reason",
                    )),
                }
            }
        }
    }

    fn read_ladder(&mut self, fields: &mut Fields<'_>) {
        let Some(value) = fields.value("cooldown_ladder_ms") else {
            return;
        };
        let steps = match value {
            Value::String(text) if text == "docs" => Some(DOCS_LADDER_MS.to_vec()),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_u64().filter(|ms| (1_000..=MAX_MS).contains(ms)))
                .collect(),
            _ => None,
        };
        match steps.filter(|steps| !steps.is_empty()) {
            Some(steps) => self.ladder_ms = steps,
            None => {
                let message = "must be \"docs\" or a list of lengths of at least 1000";
                fields.wrong::<()>("cooldown_ladder_ms", message);
            }
        }
    }

    /// Base length of a disable window of a provider (normalised).
    pub(crate) fn billing_backoff(&self, provider: &str) -> u64 {
        let own = self.billing_backoff_by_provider.get(provider);
        *own.unwrap_or(&self.billing_backoff_ms)
    }

    /// Whether no windows are kept for a provider (normalised).
    pub(crate) fn is_exempt(&self, provider: &str) -> bool {
        self.exempt.iter().any(|exempt| exempt == provider)
    }

    /// The metadata of a profile.
    pub(crate) fn profile(&self, id: &str) -> Option<&ConfigProfile> {
        let found = self.profiles.iter().find(|(known, _)| known == id);
        found.map(|(_, profile)| profile)
    }
}

fn section<'a>(
    tree: &'a Value,
    path: &[&str],
    problems: &mut Vec<Mismatch>,
) -> Option<&'a Map<String, Value>> {
    object(
        lookup(tree, path)?,
        &Path::new(path.iter().copied()),
        problems,
    )
}

fn object<'a>(
    value: &'a Value,
    path: &Path,
    problems: &mut Vec<Mismatch>,
) -> Option<&'a Map<String, Value>> {
    let map = value.as_object();
    if map.is_none() {
        let message = format!("must be an object, not {}", type_name(value));
        problems.push(wrong(path, message));
    }
    map
}

fn wrong(path: &Path, message: impl Into<String>) -> Mismatch {
    Mismatch {
        path: path.clone(),
        unknown_key: false,
        message: message.into(),
        hint: None,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Trimmed, blanks dropped, first occurrence kept.
fn unique(ids: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(ids.len());
    for id in ids {
        let id = id.trim();
        if !id.is_empty() && !kept.iter().any(|known| known == id) {
            kept.push(id.to_owned());
        }
    }
    kept
}

/// A positive number of hours, in milliseconds.
fn hours(value: &Value) -> Option<u64> {
    let hours = value.as_f64().filter(|hours| *hours > 0.0)?;
    let ms = (hours * 3_600_000.0).round();
    // Checked against the bound, so that the conversion below is exact.
    (ms <= MAX_MS as f64).then_some(ms as u64)
}

fn choice<T: Copy>(text: &str, known: &[(&str, T)]) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value)
}

fn choose<T: Copy>(fields: &mut Fields<'_>, key: &'static str, slot: &mut T, known: &[(&str, T)]) {
    if let Some(text) = fields.string(key) {
        match choice(text, known) {
            Some(value) => *slot = value,
            None => {
                let names: Vec<String> = known
                    .iter()
                    .map(|(name, _)| format!("\"{name}\""))
                    .collect();
                fields.wrong::<()>(key, format!("must be {}", names.join(" or ")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn st_15_auth_settings_are_read_strictly() {
        let tree = json!({"auth": {
            "profiles": {
                "a:1": {"provider": "a", "mode": "oauth", "email": "x@y"},
                "a:2": {"provider": "a", "mode": "password"},
                "a:3": {"provider": "a", "mode": "token", "secret": 1},
            },
            "order": {"a": ["a:1", " a:1", ""], "b": "b:1"},
            "cooldowns": {"billingBackoffHours": 0.5, "billingMaxHours": 0, "overloadedBackoffMs": 7,
                "billingBackoffHoursByProvider": {"A": 3}, "billingMinHours": 1},
            "extra": 1,
        }});
        let (routing, problems) = Routing::read(&tree);
        assert_eq!(routing.profiles.len(), 2);
        assert_eq!(routing.order, [("a".to_owned(), vec!["a:1".to_owned()])]);
        assert_eq!(routing.billing_backoff_ms, 1_800_000);
        assert_eq!(routing.billing_backoff("a"), 3 * HOUR_MS);
        assert_eq!(routing.overloaded_backoff_ms, 7);
        let paths: Vec<String> = problems.iter().map(|p| p.path.to_string()).collect();
        assert_eq!(
            paths,
            [
                "auth.extra",
                "auth.profiles.a:2.mode",
                "auth.profiles.a:3.secret",
                "auth.order.b",
                "auth.cooldowns.billingMaxHours",
                "auth.cooldowns.billingMinHours",
            ]
        );
    }

    #[test]
    fn options_keep_their_defaults_when_wrong() {
        let tree = json!({"routing": {
            "inherit": "all", "cooldown_ladder_ms": "docs", "cooldown_jitter": 2,
            "rotate_env_on": ["auth", "billing"], "provider_aliases": {"My": "openai"},
            "extra_codes": {"My": {"1302": "rate_limit", "x": "y"}}, "probe_gap_ms": {"hint": 5},
            "usage_flush_ms": 1, "nonsense": true,
        }});
        let (routing, problems) = Routing::read(&tree);
        assert_eq!(routing.inherit, Inherit::None);
        assert_eq!(routing.ladder_ms, DOCS_LADDER_MS);
        assert_eq!(routing.rotate_env_on, [Reason::Auth, Reason::Billing]);
        assert_eq!(routing.extra_codes["openai"]["1302"], Reason::RateLimit);
        assert_eq!(
            (routing.probe_gaps.hint_ms, routing.probe_gaps.ladder_ms),
            (5, 30_000)
        );
        assert_eq!(routing.usage_flush_ms, 1);
        let paths: Vec<String> = problems.iter().map(|p| p.path.to_string()).collect();
        assert_eq!(
            paths,
            [
                "routing.inherit",
                "routing.cooldown_jitter",
                "routing.nonsense",
                "routing.extra_codes.My.x",
            ]
        );
    }
}
