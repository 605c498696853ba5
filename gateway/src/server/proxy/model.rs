//! `/v1/...`: which provider a request is for, by the model that its body names.

use std::fmt;

use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use openclaw_auth::Code;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::core_api::{Core, Snapshot};
use super::super::failure::Failure;
use super::super::settings::value;

/// Whether the body is JSON that can be read.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The model that a JSON body names, if it is an object with exactly one.
pub(super) fn named(body: &Bytes) -> Option<String> {
    let members: Members<'_> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(members.model?.get()).ok()
}

/// Finds the provider of a request to `/v1`.
pub(super) struct Chooser<'a> {
    core: &'a dyn Core,
    snapshot: &'a dyn Snapshot,
    session: &'a str,
}

/// Where a JSON body goes.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) provider: String,
    pub(super) model: Option<String>,
    /// The body as the provider gets it: with the model's bare id.
    pub(super) body: Bytes,
}

impl<'a> Chooser<'a> {
    /// For requests of a session.
    pub(super) fn new(core: &'a dyn Core, snapshot: &'a dyn Snapshot, session: &'a str) -> Self {
        Self {
            core,
            snapshot,
            session,
        }
    }

    /// The provider for a JSON body.
    ///
    /// # Errors
    ///
    /// `model_unknown` when the body names no model that belongs to a provider.
    pub(super) fn choose(&self, body: Bytes) -> Result<Chosen, Failure> {
        let members: Members<'_> = serde_json::from_slice(&body)
            .map_err(|_| unknown("the body is not a JSON object with one `model`"))?;
        let Some(model) = members.model else {
            let (provider, model) = self.selected()?;
            return Ok(Chosen {
                provider,
                model,
                body,
            });
        };
        let Ok(model) = serde_json::from_str::<String>(model.get()) else {
            return Err(unknown("`model` must be a text"));
        };
        let (provider, bare) = self.resolve(&model)?;
        Ok(Chosen {
            provider,
            body: if bare == model {
                body
            } else {
                members.with_model(&bare)
            },
            model: Some(bare),
        })
    }

    /// The provider and model that are used when the request names none: what the session has
    /// selected, else the default.
    ///
    /// # Errors
    ///
    /// `model_unknown` when there is none.
    pub(super) fn selected(&self) -> Result<(String, Option<String>), Failure> {
        if let Some(model) = self.core.session(self.session).model
            && let Some(provider) = self.known(&model.provider)
        {
            return Ok((provider, Some(model.model)));
        }
        let model = value(self.snapshot, "/agents/defaults/model");
        let text = match model {
            Some(Value::Object(model)) => model.get("primary").and_then(Value::as_str),
            other => other.and_then(Value::as_str),
        };
        let split = text.and_then(|text| text.split_once('/'));
        split
            .and_then(|(provider, model)| Some((self.known(provider.trim())?, Some(model.into()))))
            .ok_or_else(|| Code::ModelUnknown.into())
    }

    /// Provider and bare id of a model.
    fn resolve(&self, model: &str) -> Result<(String, String), Failure> {
        if let Some((provider, bare)) = model.split_once('/')
            && !bare.is_empty()
            && is_known(self.snapshot, provider)
        {
            return Ok((provider.to_owned(), bare.to_owned()));
        }
        // An alias is another word for what it resolves to.
        if !model.contains('/')
            && let Some(found) = self.core.resolve_model(model)
            && found.model != model
            && let Some(provider) = self.known(&found.provider)
        {
            return Ok((provider, found.model));
        }
        let provider = match listing(self.snapshot, model).as_slice() {
            [only] => (*only).to_owned(),
            _ => self.selected()?.0,
        };
        Ok((provider, model.to_owned()))
    }

    /// The id of a provider as the configuration spells it.
    fn known(&self, provider: &str) -> Option<String> {
        let providers = value(self.snapshot, "/models/providers").and_then(Value::as_object)?;
        let mut same = providers
            .iter()
            .filter(|(id, entry)| id.eq_ignore_ascii_case(provider) && is_enabled(entry));
        let exact = providers.get(provider).filter(|entry| is_enabled(entry));
        match exact {
            Some(_) => Some(provider.to_owned()),
            None => same.next().map(|(id, _)| id.clone()),
        }
    }
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

    use super::super::super::testing::{FakeCore, FakeSnapshot, real_core};
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
        let core = FakeCore::new(snapshot(default));
        let snapshot = core.snapshot();
        let chosen = Chooser::new(&*core, &*snapshot, "main").choose(body);
        chosen
            .map(|chosen| {
                let body = String::from_utf8(chosen.body.to_vec()).unwrap();
                (chosen.provider, body)
            })
            .map_err(|failure| failure.code())
    }

    #[test]
    fn sessions_and_aliases_choose_too() {
        let settings = json!({
            "gateway": {"auth": {"token": "0123456789abcdef0123456789abcdef"}},
            "models": {"providers": {
                "a": {"baseUrl": "http://127.0.0.1:1", "models": [{"id": "one"}]},
                "B": {"baseUrl": "http://127.0.0.1:1", "models": [{"id": "two"}]},
            }},
            "agents": {"defaults": {
                "model": "a/one",
                "models": {"a/one": {}, "b/two": {"alias": "Deux"}},
            }},
        });
        let core = real_core(&settings, &[]);
        let snapshot = core.snapshot();
        let chooser = Chooser::new(&*core, &*snapshot, "s");
        let choose = |model: &str| {
            let body = Bytes::from(json!({"model": model}).to_string());
            let chosen = chooser.choose(body).unwrap();
            (chosen.provider, chosen.model.unwrap())
        };
        let pair = |provider: &str, model: &str| (provider.to_owned(), model.to_owned());
        assert_eq!(choose("deux"), pair("B", "two"));
        assert_eq!(choose("other"), pair("a", "other"));
        assert_eq!(chooser.selected().unwrap().0, "a");
        core.command("s", "/model deux", None).unwrap().unwrap();
        assert_eq!(choose("other"), pair("B", "other"));
        assert_eq!(choose("a/one"), pair("a", "one"));
        let (provider, model) = chooser.selected().unwrap();
        assert_eq!((provider.as_str(), model.as_deref()), ("B", Some("two")));
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
