//! Taking status, codes and texts out of what a provider answered.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Signal;
use crate::json::{lookup, measure};

/// Most bytes of a body that are looked at.
const MAX_BODY: usize = 64 * 1024;
/// Most bytes of the extracted text that are looked at; classes do not change beyond it.
const MAX_TEXT: usize = 4096;
/// Deepest body that is read as JSON. Error bodies are flat; anything deeper is treated as text.
const MAX_DEPTH: usize = 24;

/// What an answer says, in the order in which it counts.
#[derive(Default)]
pub(super) struct Extracted<'a> {
    pub(super) status: Option<u16>,
    /// Codes in normal form: lower case, `_` for `-`.
    pub(super) codes: Vec<String>,
    /// The first code as it was written.
    pub(super) code: Option<String>,
    pub(super) text: Cow<'a, str>,
    pub(super) json: Option<Value>,
}

impl<'a> Extracted<'a> {
    pub(super) fn read(signal: &Signal<'a>) -> Self {
        let candidate = cut(signal.body.or(signal.message).unwrap_or_default(), MAX_BODY);
        let mut found = Self {
            status: signal.status.filter(|status| is_status(u64::from(*status))),
            ..Self::default()
        };
        found.status = found.status.or_else(|| leading_status(candidate));
        let json = parse(candidate);
        let texts = json.as_ref().map(|root| found.read_json(signal, root));
        if json.is_none() {
            found.add_caller_codes(signal);
            if let Some(name) = exception_name(candidate) {
                found.add_code(name);
            }
        }
        found.text = match texts.filter(|texts| !texts.is_empty()) {
            Some(texts) => Cow::Owned(cut(&texts, MAX_TEXT).to_owned()),
            None => Cow::Borrowed(cut(candidate, MAX_TEXT)),
        };
        found.json = json;
        found
    }

    /// Collects the codes of a JSON body; gives its messages.
    fn read_json(&mut self, signal: &Signal<'_>, root: &Value) -> String {
        let error = error_object(root);
        for reason in items(error, "details").filter_map(|item| text(item, "reason")) {
            self.add_code(reason);
        }
        self.add_caller_codes(signal);
        for key in ["code", "type", "status", "reason"] {
            if let Some(code) = text(error, key) {
                self.add_code(code);
            }
        }
        if let Some(name) = text(root, "__type") {
            self.add_code(name.rsplit_once('#').map_or(name, |(_, name)| name));
        }
        for reason in items(error, "errors").filter_map(|item| text(item, "reason")) {
            self.add_code(reason);
        }
        let number = error.get("code").and_then(Value::as_u64);
        self.status = self.status.or_else(|| {
            let status = number.filter(|number| is_status(*number))?;
            u16::try_from(status).ok()
        });
        if let Some(number) = number {
            self.add_code(&number.to_string());
        }
        let mut messages: Vec<&str> = Vec::new();
        let nested = items(error, "errors").filter_map(|item| text(item, "message"));
        let direct = [
            text(error, "message"),
            text(root, "message"),
            text(root, "Message"),
            text(root, "error"),
            text(root, "error_description"),
        ];
        for message in direct.into_iter().flatten().chain(nested) {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        messages.join(" ")
    }

    fn add_caller_codes(&mut self, signal: &Signal<'_>) {
        for code in [signal.code, signal.kind].into_iter().flatten() {
            self.add_code(code);
        }
    }

    fn add_code(&mut self, code: &str) {
        let code = code.trim();
        // Longer ones are prose, not codes.
        if code.is_empty() || code.len() > 100 || self.codes.len() >= 32 {
            return;
        }
        self.code.get_or_insert_with(|| code.to_owned());
        self.codes.push(code.to_lowercase().replace('-', "_"));
    }
}

/// The object that describes the error.
pub(super) fn error_object(root: &Value) -> &Value {
    root.get("error")
        .filter(|error| error.is_object())
        .unwrap_or(root)
}

/// The places where providers put numbers about retrying.
pub(super) fn hint_places(root: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let error = error_object(root);
    [Some(root), Some(error), lookup(error, &["metadata"])]
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

pub(super) fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(32)
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn is_status(number: u64) -> bool {
    (400..=599).contains(&number)
}

/// The JSON object in a text, if there is one; what follows it does not matter.
fn parse(candidate: &str) -> Option<Value> {
    let start = candidate.find('{')?;
    let rest = candidate.get(start..)?;
    if has_more_brackets(rest.as_bytes(), MAX_DEPTH) {
        measure(rest, MAX_DEPTH).ok()?;
    }
    serde_json::Deserializer::from_str(rest)
        .into_iter::<Value>()
        .next()?
        .ok()
}

/// Whether a text opens more than so many brackets, which most bodies do not: counted in pieces that
/// fit a byte, because compilers turn that into few instructions.
fn has_more_brackets(text: &[u8], most: usize) -> bool {
    let mut opened = 0;
    text.chunks(255).any(|piece| {
        let piece = piece
            .iter()
            .map(|byte| u8::from(*byte == b'{' || *byte == b'['));
        opened += usize::from(piece.fold(0u8, u8::wrapping_add));
        opened > most
    })
}

/// `error: http 429: …` and shorter forms.
fn leading_status(text: &str) -> Option<u16> {
    let mut rest = text.trim_start();
    for word in ["error:", "http"] {
        let head = rest.get(..word.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(word)) {
            rest = rest.get(word.len()..)?.trim_start_matches([' ', '/', ':']);
        }
    }
    let digits = rest.get(..3)?;
    let after = rest.get(3..)?.chars().next();
    let ends = after.is_none_or(|c| c == ':' || c.is_whitespace());
    let status: u16 = digits.parse().ok()?;
    (ends && digits.bytes().all(|b| b.is_ascii_digit()) && is_status(u64::from(status)))
        .then_some(status)
}

/// `ThrottlingException: …`
fn exception_name(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text.get(..end)
        .filter(|name| name.len() > 9 && name.ends_with("Exception"))
}

/// At most so many bytes, ending between two characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_at_the_start_of_a_text() {
        for (text, status) in [
            ("429 slow", Some(429)),
            ("HTTP 503: x", Some(503)),
            ("Error: HTTP 401", Some(401)),
            ("error: 404 y", Some(404)),
            ("4290", None),
            ("200 ok", None),
            ("+42 x", None),
            ("", None),
        ] {
            assert_eq!(leading_status(text), status, "{text}");
        }
    }

    #[test]
    fn codes_come_in_their_order() {
        let body = r#"prefix {"error": {"code": 429, "status": "RESOURCE-Exhausted",
            "details": [{"reason": "first"}], "errors": [{"reason": "last", "message": "m2"}],
            "message": "m1"}} suffix"#;
        let signal = Signal {
            body: Some(body),
            code: Some("mine"),
            ..Signal::default()
        };
        let found = Extracted::read(&signal);
        assert_eq!(
            found.codes,
            ["first", "mine", "resource_exhausted", "last", "429"]
        );
        assert_eq!(found.status, Some(429));
        assert_eq!(found.text, "m1 m2");
        assert_eq!(found.code.as_deref(), Some("first"));
    }

    #[test]
    fn hostile_bodies_are_texts() {
        for body in [
            "{\"a\":".repeat(20_000),
            "{".repeat(70_000),
            "[".repeat(70_000),
        ] {
            let signal = Signal {
                body: Some(&body),
                ..Signal::default()
            };
            let found = Extracted::read(&signal);
            assert!(found.json.is_none() && found.text.len() <= MAX_TEXT);
        }
        assert_eq!(cut("aé", 2), "a");
    }
}
