//! What an exec provider's standard output means.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::failure::Fault;
use super::resolve::IdResult;
use super::value::{Resolved, wipe};
use crate::error::Code;
use crate::json::parse;
use crate::text::SecretText;

/// How plain text is treated (`jsonOnly`: true, unset, false).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerMode {
    Json,
    Auto,
    Plain,
}

/// The values of one answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) values: BTreeMap<String, IdResult>,
    /// Plain text was taken although nobody said so.
    pub(super) plain_assumed: bool,
}

/// Codes of the protocol that are passed on; everything else is `OTHER`.
const PROVIDER_CODES: &[&str] = &[
    "NOT_FOUND",
    "AMBIGUOUS_DUPLICATE_KEY",
    "PERMISSION_DENIED",
    "RATE_LIMITED",
    "UNAVAILABLE",
    "EXPIRED",
];

const SAY_PLAIN: &str =
    "the command printed plain text; if that is the secret, set jsonOnly: false";
const ONE_ID: &str = "a plain-text command can serve one id; declare one provider per secret or answer with protocol version 1";

/// Interprets the output of a run that ended with exit code 0.
pub(super) fn interpret(
    alias: &str,
    mode: AnswerMode,
    stdout: &[u8],
    ids: &[&str],
) -> Result<Answer, Fault> {
    let refuse = |reason: &'static str, what: &str| {
        Fault::new(
            Code::SecretProviderResponse,
            format!("exec provider \"{alias}\": {what}"),
        )
        .reason(reason)
    };
    let text = std::str::from_utf8(stdout)
        .map_err(|_| refuse("invalid_utf8", "the answer is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return Err(refuse("empty_stdout", "the answer is empty"));
    }
    let plain = |plain_assumed: bool| match ids {
        [id] => {
            let value = Resolved::Text(SecretText::new(text.to_owned()));
            Ok(Answer {
                values: BTreeMap::from([((*id).to_owned(), Ok(value))]),
                plain_assumed,
            })
        }
        _ => {
            let what = format!("plain text cannot answer {} ids", ids.len());
            Err(refuse("plain_text_multi_id", &what).hint(ONE_ID))
        }
    };
    let value = match parse(text) {
        Ok(parsed) => parsed.value,
        Err(_) => {
            return match mode {
                AnswerMode::Json => {
                    Err(refuse("invalid_json", "the answer is not JSON").hint(SAY_PLAIN))
                }
                AnswerMode::Auto => plain(true),
                AnswerMode::Plain => plain(false),
            };
        }
    };
    let not_protocol = || refuse("not_protocol", "the answer is not a protocol answer");
    match (value, mode) {
        (Value::Object(map), _) if is_protocol(&map) => {
            protocol(alias, map, ids).map(|values| Answer {
                values,
                plain_assumed: false,
            })
        }
        (Value::String(content), AnswerMode::Auto | AnswerMode::Plain) => match ids {
            [id] => {
                let value = Resolved::Text(SecretText::new(content));
                Ok(Answer {
                    values: BTreeMap::from([((*id).to_owned(), Ok(value))]),
                    plain_assumed: false,
                })
            }
            _ => {
                drop(Zeroizing::new(content));
                Err(not_protocol().hint(ONE_ID))
            }
        },
        (other, AnswerMode::Plain) => {
            wipe(other);
            plain(false)
        }
        (other, AnswerMode::Json | AnswerMode::Auto) => {
            wipe(other);
            Err(not_protocol().hint(SAY_PLAIN))
        }
    }
}

fn is_protocol(map: &Map<String, Value>) -> bool {
    ["protocolVersion", "values", "errors"]
        .iter()
        .any(|key| map.contains_key(*key))
}

/// Protocol version 1.
fn protocol(
    alias: &str,
    mut map: Map<String, Value>,
    ids: &[&str],
) -> Result<BTreeMap<String, IdResult>, Fault> {
    let refuse = |reason: &'static str, what: &str| {
        Fault::new(
            Code::SecretProviderResponse,
            format!("exec provider \"{alias}\": {what}"),
        )
        .reason(reason)
    };
    let version = map.get("protocolVersion").and_then(Value::as_f64);
    let values = map.remove("values");
    let errors = map.remove("errors");
    wipe(Value::Object(map));
    if version != Some(1.0) {
        values.into_iter().chain(errors).for_each(wipe);
        return Err(refuse("protocol_version", "protocolVersion must be 1"));
    }
    let (mut values, errors) = match (values, errors) {
        (Some(Value::Object(values)), errors) => (values, errors),
        (None, Some(errors @ Value::Object(_))) => (Map::new(), Some(errors)),
        (values, errors) => {
            values.into_iter().chain(errors).for_each(wipe);
            return Err(refuse("values_missing", "there is no \"values\" object"));
        }
    };
    let code_of = |id: &str| {
        let error = errors.as_ref().and_then(|errors| errors.get(id))?;
        let code = error
            .get("code")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Some(
            PROVIDER_CODES
                .iter()
                .find(|known| **known == code)
                .copied()
                .unwrap_or("OTHER"),
        )
    };
    let not_found = |id: &str, reason: &str| {
        let message = format!("exec provider \"{alias}\" returned no value for id \"{id}\"");
        Fault::new(Code::SecretRefNotFound, message)
            .reason(reason)
            .retryable()
    };
    let one = |id: &&str| {
        let result = match (code_of(id), values.remove(*id)) {
            (Some("NOT_FOUND"), value) => {
                value.into_iter().for_each(wipe);
                Err(not_found(id, "provider_not_found").detail("providerCode", "NOT_FOUND"))
            }
            (Some(code), value) => {
                value.into_iter().for_each(wipe);
                let message =
                    format!("exec provider \"{alias}\" reported an error for id \"{id}\" ({code})");
                Err(Fault::new(Code::SecretRefProviderError, message)
                    .detail("providerCode", code)
                    .retryable())
            }
            (None, Some(value)) => Ok(Resolved::from_json(value)),
            (None, None) => Err(not_found(id, "missing_in_response")),
        };
        ((*id).to_owned(), result)
    };
    let results = ids.iter().map(one).collect();
    // What was not asked for is nobody's business.
    wipe(Value::Object(values));
    errors.into_iter().for_each(wipe);
    Ok(results)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(mode: AnswerMode, text: &str, ids: &[&str]) -> String {
        match interpret("x", mode, text.as_bytes(), ids) {
            Err(fault) => fault.reason.clone().unwrap(),
            Ok(answer) => {
                let values: Vec<String> = answer
                    .values
                    .values()
                    .map(|value| match value {
                        Ok(Resolved::Text(text)) => text.expose().to_owned(),
                        Ok(_) => "other".to_owned(),
                        Err(fault) => fault.code.to_string(),
                    })
                    .collect();
                format!(
                    "{}{}",
                    values.join(","),
                    if answer.plain_assumed { " assumed" } else { "" }
                )
            }
        }
    }

    #[test]
    fn the_table_of_modes() {
        use AnswerMode::{Auto, Json, Plain};
        let protocol = r#"{"protocolVersion":1,"values":{"a":"v"}}"#;
        for (text, n, json, auto, plain) in [
            ("  ", 1, "empty_stdout", "empty_stdout", "empty_stdout"),
            (protocol, 1, "v", "v", "v"),
            ("\"q\"", 1, "not_protocol", "q", "q"),
            ("\"q\"", 2, "not_protocol", "not_protocol", "not_protocol"),
            ("12", 1, "not_protocol", "not_protocol", "12"),
            (
                "{\"t\":1}",
                2,
                "not_protocol",
                "not_protocol",
                "plain_text_multi_id",
            ),
            ("\u{feff} hi ", 1, "invalid_json", "hi assumed", "hi"),
            (
                "hi",
                2,
                "invalid_json",
                "plain_text_multi_id",
                "plain_text_multi_id",
            ),
        ] {
            let ids = if n == 1 { &["a"][..] } else { &["a", "b"] };
            assert_eq!(shape(Json, text, ids), json, "json {text}");
            assert_eq!(shape(Auto, text, ids), auto, "auto {text}");
            assert_eq!(shape(Plain, text, ids), plain, "plain {text}");
        }
    }

    #[test]
    fn errors_beat_values_and_unknown_ids_are_ignored() {
        let text = r#"{"protocolVersion":1,"values":{"a":"v","z":"no"},"errors":{"a":{"code":"RATE_LIMITED"},"b":{"code":"NOT_FOUND"}}}"#;
        assert_eq!(
            shape(AnswerMode::Json, text, &["a", "b", "c"]),
            "secret_ref_provider_error,secret_ref_not_found,secret_ref_not_found"
        );
        let only_errors = r#"{"protocolVersion":1,"errors":{}}"#;
        assert_eq!(
            shape(AnswerMode::Json, only_errors, &["a"]),
            "secret_ref_not_found"
        );
    }

    proptest! {
        #[test]
        fn any_output_is_interpreted_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for mode in [AnswerMode::Json, AnswerMode::Auto, AnswerMode::Plain] {
                let _ = interpret("x", mode, &bytes, &["a"]);
            }
        }
    }
}
