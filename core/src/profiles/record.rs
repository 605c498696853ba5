//! The usage record of a profile: the fields of OpenClaw 2026.4, and what we add under `oa`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::Reason;

/// One cooldown, now or in the past. All times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) until: u64,
    /// When it was opened.
    pub(crate) at: u64,
    /// Its length.
    pub(crate) ms: u64,
    /// Step of the ladder, from 1.
    pub(crate) step: u64,
    /// The provider said how long.
    pub(crate) by_hint: bool,
    pub(crate) reason: Option<Reason>,
    /// Whether it counts: a window that another program has cleared is only remembered.
    pub(crate) live: bool,
}

/// One long window, now or in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disabled {
    pub(crate) until: u64,
    pub(crate) at: u64,
    pub(crate) ms: u64,
    /// How many of them in a row, from 1.
    pub(crate) n: u64,
    pub(crate) reason: Reason,
    pub(crate) live: bool,
}

/// A window written by a newer OpenClaw; never written here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) until: u64,
    pub(crate) reason: Option<Reason>,
    /// Only this model.
    pub(crate) model: Option<String>,
}

/// What is known about the use of one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) last_used: u64,
    pub(crate) error_count: u64,
    pub(crate) failure_counts: Vec<(String, u64)>,
    pub(crate) last_failure_at: u64,
    pub(crate) account: Option<Window>,
    pub(crate) models: BTreeMap<String, Window>,
    pub(crate) disabled: Option<Disabled>,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) probe_at: u64,
}

/// Most models with a window; the oldest go first.
pub(crate) const MAX_MODELS: usize = 64;
/// How long a window is remembered after its end.
pub(crate) const MEMORY_MS: u64 = 24 * 3_600_000;

/// The keys that are written. Everything else in a record stays as it is.
const KEYS: [&str; 9] = [
    "lastUsed",
    "errorCount",
    "failureCounts",
    "lastFailureAt",
    "cooldownUntil",
    "cooldownReason",
    "cooldownModel",
    "disabledUntil",
    "disabledReason",
];
const OWN_KEYS: [&str; 4] = ["cd", "dis", "models", "probeAt"];

impl Record {
    /// Reads a record. `first_step_ms` is the length assumed for a window that another program
    /// opened. Malformed members are ignored.
    pub(crate) fn read(value: &Value, first_step_ms: u64) -> Self {
        let Some(map) = value.as_object() else {
            return Self::default();
        };
        let own = map.get("oa");
        let member = |key: &str| own.and_then(|own| own.get(key));
        let last_failure_at = ms(map.get("lastFailureAt")).unwrap_or(0);
        let counts = map.get("failureCounts").and_then(Value::as_object);
        let counts = counts.into_iter().flatten();
        let mut record = Self {
            last_used: ms(map.get("lastUsed")).unwrap_or(0),
            error_count: ms(map.get("errorCount")).unwrap_or(0),
            failure_counts: counts
                .filter_map(|(reason, count)| Some((reason.clone(), ms(Some(count))?)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            last_failure_at,
            account: member("cd").and_then(|value| window(value, false)),
            models: BTreeMap::new(),
            disabled: member("dis").and_then(disabled),
            blocked: blocked(map),
            probe_at: ms(member("probeAt")).unwrap_or(0),
        };
        let models = member("models").and_then(Value::as_object);
        for (model, value) in models.into_iter().flatten().take(4 * MAX_MODELS) {
            if let Some(window) = window(value, true) {
                record.models.insert(model.clone(), window);
            }
        }
        record.read_cooldown(map, first_step_ms);
        record.read_disabled(map, first_step_ms);
        record
    }

    /// A cooldown in the fields of OpenClaw; our own annotation counts if it is about the same.
    fn read_cooldown(&mut self, map: &Map<String, Value>, first_step_ms: u64) {
        let Some(until) = ms(map.get("cooldownUntil")) else {
            return;
        };
        let reason = reason(map.get("cooldownReason"));
        let foreign = Window {
            until,
            at: self.last_failure_at,
            ms: first_step_ms,
            step: 1,
            by_hint: false,
            reason,
            live: true,
        };
        let model = map.get("cooldownModel").and_then(Value::as_str);
        match model.filter(|_| reason == Some(Reason::RateLimit)) {
            Some(model) => {
                let known = self.models.get(model).map_or(0, |window| window.until);
                if until > known {
                    self.models.insert(model.to_owned(), foreign);
                }
            }
            None => {
                let annotated = self.account.filter(|window| window.until == until);
                self.account = Some(match annotated {
                    Some(window) => Window {
                        reason,
                        live: true,
                        ..window
                    },
                    None => foreign,
                });
            }
        }
    }

    fn read_disabled(&mut self, map: &Map<String, Value>, first_step_ms: u64) {
        let Some(until) = ms(map.get("disabledUntil")) else {
            return;
        };
        let reason = reason(map.get("disabledReason")).unwrap_or(Reason::Billing);
        let annotated = self.disabled.filter(|window| window.until == until);
        self.disabled = Some(match annotated {
            Some(window) => Disabled {
                reason,
                live: true,
                ..window
            },
            None => Disabled {
                until,
                at: self.last_failure_at,
                ms: until
                    .saturating_sub(self.last_failure_at)
                    .max(first_step_ms),
                n: 1,
                reason,
                live: true,
            },
        });
    }

    /// Writes what differs from the record as it was read. `projected` are the cooldown fields
    /// for OpenClaw.
    pub(crate) fn write(&self, map: &mut Map<String, Value>, now_ms: u64) {
        let projected = self.projection(now_ms);
        let disabled = self
            .disabled
            .filter(|window| window.live && window.until > now_ms);
        let counts = (!self.failure_counts.is_empty()).then(|| {
            let counts = self.failure_counts.iter();
            Value::Object(
                counts
                    .map(|(key, count)| (key.clone(), (*count).into()))
                    .collect(),
            )
        });
        let values: [Option<Value>; 9] = [
            positive(self.last_used),
            Some(self.error_count.into())
                .filter(|_| self.error_count > 0 || map.contains_key("errorCount")),
            counts,
            positive(self.last_failure_at),
            projected.map(|(_, window)| window.until.into()),
            projected.and_then(|(_, window)| Some(window.reason?.as_str().into())),
            projected.and_then(|(model, _)| Some(model?.into())),
            disabled.map(|window| window.until.into()),
            disabled.map(|window| window.reason.as_str().into()),
        ];
        for (key, value) in KEYS.iter().zip(values) {
            put(map, key, value);
        }
        // These are never written, but clearing takes them away.
        if self.blocked.is_none() && blocked(map).is_some() {
            for key in [
                "blockedUntil",
                "blockedReason",
                "blockedModel",
                "blockedScope",
            ] {
                map.shift_remove(key);
            }
        }
        self.write_own(map);
    }

    fn write_own(&self, map: &mut Map<String, Value>) {
        let models = (!self.models.is_empty()).then(|| {
            let models = self.models.iter();
            Value::Object(
                models
                    .map(|(model, window)| (model.clone(), window.to_json(true)))
                    .collect(),
            )
        });
        let values: [Option<Value>; 4] = [
            self.account.map(|window| window.to_json(false)),
            self.disabled.map(|window| {
                json!({"until": window.until, "at": window.at, "ms": window.ms, "n": window.n,
                    "reason": window.reason.as_str()})
            }),
            models,
            positive(self.probe_at),
        ];
        let mut own = match map.get_mut("oa").map(Value::take) {
            Some(Value::Object(own)) => own,
            _ => Map::new(),
        };
        for (key, value) in OWN_KEYS.iter().zip(values) {
            put(&mut own, key, value);
        }
        if own.is_empty() {
            map.shift_remove("oa");
        } else {
            map.insert("oa".to_owned(), Value::Object(own));
        }
    }

    /// What OpenClaw is to see: the window of the account, else the last one among the models'
    /// rate limits, with its model.
    fn projection(&self, now_ms: u64) -> Option<(Option<&str>, Window)> {
        let active = |window: &Window| window.live && window.until > now_ms;
        if let Some(window) = self.account.filter(active) {
            return Some((None, window));
        }
        let limited = self
            .models
            .iter()
            .filter(|(_, window)| active(window) && window.reason == Some(Reason::RateLimit));
        let last = limited.max_by(|(a, x), (b, y)| x.until.cmp(&y.until).then(a.cmp(b)));
        last.map(|(model, window)| (Some(model.as_str()), *window))
    }

    /// Whether a success could change anything but the time of the last use.
    pub(crate) fn is_clean(&self) -> bool {
        self.account.is_none()
            && self.disabled.is_none()
            && self.models.is_empty()
            && self.error_count == 0
            && self.failure_counts.is_empty()
    }
}

impl Window {
    fn to_json(self, with_reason: bool) -> Value {
        let mut value = json!({
            "until": self.until,
            "at": self.at,
            "ms": self.ms,
            "step": self.step,
            "src": if self.by_hint { "hint" } else { "step" },
        });
        if let (true, Some(reason), Value::Object(map)) = (with_reason, self.reason, &mut value) {
            map.insert("reason".to_owned(), reason.as_str().into());
        }
        value
    }
}

/// A point in time or a count: a finite number that is not negative. Fractions are cut.
fn ms(value: Option<&Value>) -> Option<u64> {
    let number = value?.as_number()?;
    number.as_u64().or_else(|| {
        let float = number
            .as_f64()
            .filter(|float| (0.0..9e15).contains(float))?;
        Some(float as u64)
    })
}

fn reason(value: Option<&Value>) -> Option<Reason> {
    Reason::parse(value?.as_str()?)
}

fn window(value: &Value, of_model: bool) -> Option<Window> {
    Some(Window {
        until: ms(value.get("until"))?,
        at: ms(value.get("at"))?,
        ms: ms(value.get("ms"))?,
        step: ms(value.get("step")).filter(|step| *step > 0)?,
        by_hint: value.get("src")?.as_str()? == "hint",
        reason: reason(value.get("reason")),
        live: of_model,
    })
}

fn disabled(value: &Value) -> Option<Disabled> {
    Some(Disabled {
        until: ms(value.get("until"))?,
        at: ms(value.get("at"))?,
        ms: ms(value.get("ms"))?,
        n: ms(value.get("n")).filter(|n| *n > 0)?,
        reason: reason(value.get("reason"))?,
        live: false,
    })
}

fn blocked(map: &Map<String, Value>) -> Option<Blocked> {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let model = text("blockedModel").filter(|_| text("blockedScope") == Some("model"));
    Some(Blocked {
        until: ms(map.get("blockedUntil"))?,
        reason: reason(map.get("blockedReason")),
        model: model.map(str::to_owned),
    })
}

fn positive(number: u64) -> Option<Value> {
    (number > 0).then(|| number.into())
}

/// Sets or removes a key. A value that says the same already keeps its spelling.
fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        None => {
            map.shift_remove(key);
        }
        Some(value) => {
            let same = map.get(key).is_some_and(|old| {
                *old == value || (old.is_number() && ms(Some(old)) == ms(Some(&value)))
            });
            if !same {
                map.insert(key.to_owned(), value);
            }
        }
    }
}
