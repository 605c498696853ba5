//! `/v1/...`: which provider a request is for, by the model that its body names.

use std::fmt;

use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use openclaw_auth::Code;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::core_api::Snapshot;
use super::super::failure::Failure;
use super::super::settings::value;

/// Whether the body is JSON that can be read.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The provider for a JSON body, and the body as it gets it: with the model's bare id.
///
/// # Errors
///
/// `model_unknown` when the body names no model that belongs to a provider.
pub(super) fn choose(snapshot: &dyn Snapshot, body: Bytes) -> Result<(String, Bytes), Failure> {
    let members: Members<'_> = serde_json::from_slice(&body)
        .map_err(|_| unknown("the body is not a JSON object with one `model`"))?;
    let Some(model) = members.model else {
        return Ok((default_provider(snapshot)?, body));
    };
    let Ok(model) = serde_json::from_str::<String>(model.get()) else {
        return Err(unknown("`model` must be a text"));
    };
    if let Some((provider, bare)) = model.split_once('/')
        && !bare.is_empty()
        && is_known(snapshot, provider)
    {
        return Ok((provider.to_owned(), members.with_model(bare)));
    }
    let listing = listing(snapshot, &model);
    let default = default_provider(snapshot);
    let provider = match (listing.as_slice(), default) {
        ([only], _) => (*only).to_owned(),
        (_, default) => default?,
    };
    Ok((provider, body))
}

/// The provider of `agents.defaults.model`.
///
/// # Errors
///
/// `model_unknown` when there is none.
pub(super) fn default_provider(snapshot: &dyn Snapshot) -> Result<String, Failure> {
    let model = value(snapshot, "/agents/defaults/model");
    let text = match model {
        Some(Value::Object(model)) => model.get("primary").and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    let provider = text.and_then(|text| text.split_once('/'));
    let provider = provider.map(|(provider, _)| provider.trim());
    let provider = provider.filter(|provider| is_known(snapshot, provider));
    provider
        .map(str::to_owned)
        .ok_or_else(|| Code::ModelUnknown.into())
}

/// The providers whose list of models has this one.
fn listing<'a>(snapshot: &'a dyn Snapshot, model: &str) -> Vec<&'a str> {
    let providers = value(snapshot, "/models/providers").and_then(Value::as_object);
    let has_model = |provider: &Value| {
        let models = provider.get("models").and_then(Value::as_array);
        models
            .into_iter()
            .flatten()
            .any(|entry| entry.get("id").and_then(Value::as_str) == Some(model))
    };
    providers
        .into_iter()
        .flatten()
        .filter(|(_, provider)| is_enabled(provider) && has_model(provider))
        .map(|(id, _)| id.as_str())
        .collect()
}

fn is_known(snapshot: &dyn Snapshot, id: &str) -> bool {
    let providers = value(snapshot, "/models/providers").and_then(Value::as_object);
    providers
        .and_then(|providers| providers.get(id))
        .is_some_and(is_enabled)
}

fn is_enabled(provider: &Value) -> bool {
    provider.is_object() && provider.get("enabled") != Some(&Value::Bool(false))
}

fn unknown(message: &'static str) -> Failure {
    Failure::new(Code::ModelUnknown).with_message(message)
}

/// The members of an object as they were written, so that nothing but the model changes.
struct Members<'a> {
    all: Vec<(String, &'a RawValue)>,
    model: Option<&'a RawValue>,
}

impl Members<'_> {
    fn with_model(&self, model: &str) -> Bytes {
        let mut text = String::from("{");
        for (name, value) in &self.all {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            if name == MODEL {
                text.push_str(&Value::from(model).to_string());
            } else {
                text.push_str(value.get());
            }
        }
        text.push('}');
        Bytes::from(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members {
                    all: Vec::new(),
                    model: None,
                };
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if name == MODEL && members.model.replace(value).is_some() {
                        // We and the provider could take different ones.
                        return Err(serde::de::Error::custom("two models"));
                    }
                    members.all.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

const MODEL: &str = "model";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::FakeSnapshot;
    use super::*;

    fn snapshot(default: &Value) -> FakeSnapshot {
        FakeSnapshot::new(json!({
            "models": {"providers": {
                "a": {"models": [{"id": "one"}, {"id": "both"}, {"id": "org/model"}]},
                "b.c": {"models": [{"id": "both"}]},
                "off": {"enabled": false, "models": [{"id": "one"}]},
            }},
            "agents": {"defaults": {"model": default}},
        }))
    }

    fn chosen(default: &Value, body: &str) -> Result<(String, String), Code> {
        let body = Bytes::from(body.to_owned());
        choose(&snapshot(default), body)
            .map(|(provider, body)| (provider, String::from_utf8(body.to_vec()).unwrap()))
            .map_err(|failure| failure.code())
    }

    #[test]
    fn models_choose_providers() {
        let default = json!("b.c/both");
        for (default, model, provider, bare) in [
            (&default, "a/one", "a", "one"),
            (&default, "b.c/any/thing", "b.c", "any/thing"),
            (&default, "org/model", "a", "org/model"),
            (&default, "one", "a", "one"),
            (&default, "both", "b.c", "both"),
            (&default, "nowhere", "b.c", "nowhere"),
            (&default, "off/one", "b.c", "off/one"),
            (&default, "a/", "b.c", "a/"),
            (&json!({"primary": "a/one"}), "both", "a", "both"),
            (&json!(null), "one", "a", "one"),
        ] {
            let (found, body) = chosen(default, &json!({"model": model}).to_string()).unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (found.as_str(), &body["model"]),
                (provider, &json!(bare)),
                "{model}"
            );
        }
        for default in [
            json!(null),
            json!("off/one"),
            json!("one"),
            json!({"primary": 1}),
        ] {
            for model in ["both", "nowhere", "off/one"] {
                let body = json!({"model": model}).to_string();
                assert_eq!(chosen(&default, &body), Err(Code::ModelUnknown), "{model}");
            }
        }
    }

    #[test]
    fn nothing_but_the_model_changes() {
        let (_, body) = chosen(
            &json!(null),
            "{ \"n\": 1.000e+2, \"mod\\u0065l\" :\"a/o\\\"ne\",\"x\":{\"model\":\"a/one\"} }",
        )
        .unwrap();
        assert_eq!(
            body,
            "{\"n\":1.000e+2,\"model\":\"o\\\"ne\",\"x\":{\"model\":\"a/one\"}}"
        );
        let bare = "{ \"model\" : \"one\", \"n\": 1.0 }";
        assert_eq!(chosen(&json!(null), bare).unwrap().1, bare);
        let none = "{\"input\":[]}";
        assert_eq!(
            chosen(&json!("a/one"), none),
            Ok(("a".to_owned(), none.to_owned()))
        );
    }

    #[test]
    fn bodies_without_one_model_are_refused() {
        let deep = "[".repeat(100_000);
        for body in [
            "",
            "[]",
            "\"one\"",
            "{\"model\":\"one\"",
            "{\"model\":1}",
            "{\"model\":null}",
            "{\"model\":\"one\",\"model\":\"a/one\"}",
            "{\"model\":\"one\",\"mode\\u006c\":\"a/one\"}",
            &format!("{{\"model\":\"one\",\"x\":{deep}"),
        ] {
            let short: String = body.chars().take(40).collect();
            assert_eq!(
                chosen(&json!("a/one"), body),
                Err(Code::ModelUnknown),
                "{short}"
            );
        }
    }
}
