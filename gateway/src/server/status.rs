//! `GET /_auth/status`: which credentials there are, without showing any of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::core_api::CredentialInfo;
use super::settings::Current;
use super::state::State;

/// The document.
pub(crate) fn document(state: &State, current: &Current) -> Value {
    let snapshot = &*current.snapshot;
    let mut providers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for credential in snapshot.credentials() {
        let shown = shown(&credential);
        providers
            .entry(credential.provider)
            .or_default()
            .push(shown);
    }
    let providers: Vec<Value> = providers
        .into_iter()
        .map(|(provider, credentials)| json!({"provider": provider, "credentials": credentials}))
        .collect();
    json!({
        "snapshot": snapshot.generation(),
        "mode": snapshot.auth_mode(),
        "degraded": state.reloader.is_degraded(),
        "providers": providers,
    })
}

fn shown(credential: &CredentialInfo) -> Value {
    let mut shown = json!({
        "path": credential.path,
        "type": credential.kind,
        "state": if credential.inactive.is_none() { "ready" } else { "inactive" },
        "origin": credential.origin,
    });
    let optional = [
        ("source", &credential.source),
        ("masked", &credential.masked),
        ("reason", &credential.inactive),
    ];
    if let Value::Object(members) = &mut shown {
        for (name, text) in optional {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
    }
    shown
}
