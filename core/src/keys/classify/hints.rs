//! When a provider says a retry makes sense: headers, body members, words.

use serde_json::Value;

use super::extract::{error_object, hint_places, items};
use crate::date::{http_date_ms, rfc3339_ms};
use crate::json::lookup;

/// Shortest hint that is honoured, in milliseconds.
const FLOOR_MS: u64 = 1_000;

/// What to look for hints in.
pub(super) struct HintInput<'a> {
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) json: Option<&'a Value>,
    /// What follows the first `try again in` or the like, in lower case.
    pub(super) retry_in: Option<&'a str>,
    pub(super) now_ms: u64,
    pub(super) max_ms: u64,
}

/// The first source that gives a positive time: milliseconds from now, and the source.
pub(super) fn retry_hint(input: &HintInput<'_>) -> Option<(u64, &'static str)> {
    type Source = fn(&HintInput<'_>) -> Option<f64>;
    const SOURCES: &[(&str, Source)] = &[
        ("retry-after-ms", retry_after_ms),
        ("retry-after", retry_after),
        ("body:retryDelay", google_delay),
        ("body", body_number),
        ("reset-header", |input| reset_header(input, false)),
        ("text", |input| text_hint(input.retry_in?)),
    ];
    SOURCES.iter().find_map(|(name, source)| {
        let ms = source(input).filter(|ms| ms.is_finite() && *ms > 0.0)?;
        Some((bounded(ms, input.max_ms), *name))
    })
}

/// When a successful answer says that a limit is used up: milliseconds until it resets.
pub(crate) fn proactive_reset(headers: &[(&str, &str)], now_ms: u64, max_ms: u64) -> Option<u64> {
    let input = HintInput {
        headers,
        json: None,
        retry_in: None,
        now_ms,
        max_ms,
    };
    let ms = reset_header(&input, true).filter(|ms| ms.is_finite() && *ms > 0.0)?;
    Some(bounded(ms, max_ms))
}

/// Whether the headers say that the limit of a whole subscription is used up.
pub(super) fn is_account_limited(headers: &[(&str, &str)]) -> bool {
    header(headers, "anthropic-ratelimit-unified-status") == Some("rejected")
}

fn bounded(ms: f64, max_ms: u64) -> u64 {
    // Saturating, and the bounds are far inside the exact range.
    (ms.round() as u64).clamp(FLOOR_MS, max_ms.max(FLOOR_MS))
}

fn header<'a>(headers: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let found = headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| plain && !text.is_empty())
}

/// The clock of the server when it says what it shows, so that a local one that is wrong does no
/// harm.
fn server_now(input: &HintInput<'_>) -> f64 {
    let date = header(input.headers, "date").and_then(http_date_ms);
    date.unwrap_or(input.now_ms as f64)
}

fn retry_after_ms(input: &HintInput<'_>) -> Option<f64> {
    ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(|name| decimal(header(input.headers, name)?))
        .filter(|ms| *ms > 0.0)
}

/// Seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(input: &HintInput<'_>) -> Option<f64> {
    let value = header(input.headers, "retry-after")?;
    let seconds = decimal(value).map(|seconds| seconds * 1e3);
    seconds.or_else(|| Some(http_date_ms(value)? - server_now(input)))
}

/// `google.rpc.RetryInfo`: `"retryDelay": "47.4s"`.
fn google_delay(input: &HintInput<'_>) -> Option<f64> {
    let error = error_object(input.json?);
    let delay = items(error, "details").find_map(|item| item.get("retryDelay")?.as_str());
    Some(decimal(delay?.strip_suffix('s')?)? * 1e3)
}

fn body_number(input: &HintInput<'_>) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| decimal(value.as_str()?.trim()));
    let usable = |ms: &f64| *ms > 0.0;
    hint_places(input.json?).find_map(|place| {
        let seconds = ["resets_in_seconds", "retry_after_seconds", "retry_after"]
            .into_iter()
            .find_map(|key| Some(number(place.get(key)?)? * 1e3).filter(usable));
        let nested = || {
            let headers = place
                .get("headers")
                .or_else(|| place.get("metadata")?.get("headers"))?;
            Some(number(lookup(headers, &["Retry-After"])?)? * 1e3).filter(usable)
        };
        let at = || {
            let at = number(place.get("resets_at")?)?;
            let at_ms = if at >= 1e12 { at } else { at * 1e3 };
            Some(at_ms - server_now(input)).filter(usable)
        };
        seconds.or_else(nested).or_else(at)
    })
}

/// What must stand in the companion header for a dimension to be used up.
#[derive(Clone, Copy)]
enum Spent {
    /// `0`.
    Zero,
    /// `0`, or no such header at all on a refusal.
    ZeroOrAbsent,
    /// `rejected`.
    Rejected,
}

/// Reset header, companion header, and when the dimension counts.
const DIMENSIONS: &[(&str, &str, Spent)] = &[
    (
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-remaining",
        Spent::Zero,
    ),
    (
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-tokens-remaining",
        Spent::Zero,
    ),
    (
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-input-tokens-remaining",
        Spent::Zero,
    ),
    (
        "anthropic-ratelimit-output-tokens-reset",
        "anthropic-ratelimit-output-tokens-remaining",
        Spent::Zero,
    ),
    (
        "anthropic-ratelimit-unified-reset",
        "anthropic-ratelimit-unified-status",
        Spent::Rejected,
    ),
    (
        "anthropic-ratelimit-unified-5h-reset",
        "anthropic-ratelimit-unified-5h-status",
        Spent::Rejected,
    ),
    (
        "anthropic-ratelimit-unified-7d-reset",
        "anthropic-ratelimit-unified-7d-status",
        Spent::Rejected,
    ),
    (
        "x-ratelimit-reset-requests",
        "x-ratelimit-remaining-requests",
        Spent::Zero,
    ),
    (
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining-tokens",
        Spent::Zero,
    ),
    (
        "x-ratelimit-reset",
        "x-ratelimit-remaining",
        Spent::ZeroOrAbsent,
    ),
    (
        "ratelimit-reset",
        "ratelimit-remaining",
        Spent::ZeroOrAbsent,
    ),
];

/// The latest reset among the dimensions that are used up.
fn reset_header(input: &HintInput<'_>, of_success: bool) -> Option<f64> {
    let mut latest: Option<f64> = None;
    let mut consider = |ms: f64| {
        if ms.is_finite() && ms > 0.0 && latest.is_none_or(|known| ms > known) {
            latest = Some(ms);
        }
    };
    if input.headers.is_empty() {
        return None;
    }
    for (reset, companion, spent) in DIMENSIONS {
        let Some(value) = header(input.headers, reset) else {
            continue;
        };
        let companion = header(input.headers, companion);
        let zero = companion.is_some_and(|text| decimal(text) == Some(0.0));
        let is_spent = match spent {
            Spent::Zero => zero,
            Spent::ZeroOrAbsent => zero || (companion.is_none() && !of_success),
            Spent::Rejected => companion == Some("rejected"),
        };
        if is_spent && let Some(ms) = reset_value(value, input) {
            consider(ms);
        }
    }
    // `ratelimit: "default";r=0;t=30`
    if let Some(value) = header(input.headers, "ratelimit") {
        let parameter = |name: &str| {
            let mut parts = value.split([';', ',']).map(str::trim);
            parts.find_map(|part| decimal(part.strip_prefix(name)?.strip_prefix('=')?))
        };
        if let (Some(0.0), Some(seconds)) = (parameter("r"), parameter("t")) {
            consider(seconds * 1e3);
        }
    }
    latest
}

/// Milliseconds until a reset: a duration such as `6m0s`, a date of RFC 3339, or a number that is
/// seconds from now, or a point in time when it is large enough.
fn reset_value(value: &str, input: &HintInput<'_>) -> Option<f64> {
    if let Some(number) = decimal(value) {
        return Some(match number {
            number if number >= 1e12 => number - server_now(input),
            number if number >= 1e9 => number * 1e3 - server_now(input),
            number => number * 1e3,
        });
    }
    if let Some(at) = rfc3339_ms(value) {
        return Some(at - server_now(input));
    }
    duration_ms(value)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(ms, _)| ms)
}

/// The time in `try again in 1h2m3s` and the like, given what follows the words.
fn text_hint(retry_in: &str) -> Option<f64> {
    duration_ms(retry_in.trim_start()).map(|(ms, _)| ms)
}

/// A number with a unit, or several of them: milliseconds, and what follows.
fn duration_ms(text: &str) -> Option<(f64, &str)> {
    const UNITS: [(&str, f64); 6] = [
        ("ms", 1.0),
        ("mil", 1.0),
        ("s", 1e3),
        ("m", 60e3),
        ("h", 3_600e3),
        ("d", 86_400e3),
    ];
    let mut total = 0.0;
    let mut rest = text;
    let mut any = false;
    loop {
        let next = if any {
            rest.trim_start_matches(' ')
        } else {
            rest
        };
        let digits = next
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(next.len());
        let (number, tail) = next.split_at_checked(digits)?;
        // The period that ends a sentence is not part of the number.
        let Ok(number) = number.trim_end_matches('.').parse::<f64>() else {
            break;
        };
        let unit_at = tail.trim_start_matches(' ');
        let letters = unit_at
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit_at.len());
        let (unit, after) = unit_at.split_at_checked(letters)?;
        let scale = UNITS.iter().find(|(name, _)| match *name {
            "ms" => unit == "ms",
            name => unit.starts_with(name),
        });
        match scale {
            Some((_, scale)) => {
                total += number * scale;
                rest = after;
            }
            // Seconds, when there is no unit; a number in the middle of prose ends a compound.
            None if !any => {
                total += number * 1e3;
                rest = tail;
                any = true;
                break;
            }
            None => break,
        }
        any = true;
    }
    any.then_some((total, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("6m0s", 360_000.0),
            ("12ms", 12.0),
            ("1h2m3s", 3_723_000.0),
            ("1.4s.", 1_400.0),
            ("2 minutes", 120_000.0),
            ("3 hours and more", 10_800_000.0),
            ("1 day", 86_400_000.0),
            ("500 milliseconds", 500.0),
            ("30", 30_000.0),
            ("20 requests", 20_000.0),
        ] {
            assert_eq!(duration_ms(text).map(|(ms, _)| ms), Some(ms), "{text}");
        }
        assert_eq!(duration_ms("soon"), None);
        assert_eq!(text_hint("a while"), None);
    }

    proptest! {
        #[test]
        fn no_input_makes_a_hint_outside_the_bounds(value in "[-0-9a-zA-Z:., +]{0,30}") {
            let headers = [("retry-after", value.as_str()), ("x-ratelimit-reset", &value)];
            let input = HintInput {
                headers: &headers, json: None, retry_in: Some(&value), now_ms: 1_800_000_000_000, max_ms: 5_000,
            };
            if let Some((ms, _)) = retry_hint(&input) {
                prop_assert!((FLOOR_MS..=5_000).contains(&ms));
            }
        }
    }
}
