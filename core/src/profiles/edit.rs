//! Changes that people make: credentials, orders, cooldowns. Each is one function on the
//! document, applied under the lock.

use std::fmt;

use serde_json::{Map, Value};

use super::credential::Kind;
use super::record::Record;
use super::store::Document;
use super::usage::{Clear, Subject, clear, edit_record};
use crate::config::{Routing, normalise_provider};
use crate::error::{Code, Error, Result};
use crate::secrets::SecretRef;
use crate::text::SecretText;

/// The secret of a new profile.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProfileMaterial {
    /// Stored in the file.
    Inline(SecretText),
    /// Looked up where it is kept.
    Reference(SecretRef),
}

/// A key or token to be stored as a profile.
#[derive(Clone)]
pub struct NewCredential {
    /// Profile id; by convention `provider:name`.
    pub id: String,
    /// Provider, in any spelling.
    pub provider: String,
    /// [`Kind::ApiKey`] or [`Kind::Token`].
    pub kind: Kind,
    /// The secret.
    pub material: ProfileMaterial,
    /// End of a token, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// Label.
    pub email: Option<String>,
    /// Label.
    pub display_name: Option<String>,
    /// Replaces a profile of the same id.
    pub replace: bool,
}

impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredential")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Stores a credential, and clears every window of its profile. Fields of an older entry that are
/// no part of the credential stay.
pub(crate) fn put_profile(
    document: &mut Document,
    new: &NewCredential,
    routing: &Routing,
    now: u64,
) -> Result<()> {
    let invalid = |field: &str, problem: &str| {
        Err(Error::new(
            Code::InvalidArgument,
            format!("{field}: {problem}"),
        ))
    };
    let fields = match new.kind {
        Kind::ApiKey => ("key", "keyRef"),
        Kind::Token => ("token", "tokenRef"),
        _ => return invalid("kind", "must be an API key or a token"),
    };
    let provider = normalise_provider(&new.provider, &routing.aliases).into_owned();
    if new.id.trim().is_empty() || provider.is_empty() {
        return invalid(
            if provider.is_empty() {
                "provider"
            } else {
                "id"
            },
            "must not be blank",
        );
    }
    // The same credential found again is the same change applied again.
    let entry = entry_of(new, &provider, fields);
    let known = document.profile(&new.id);
    let same = known.is_some_and(|known| {
        entry
            .iter()
            .all(|(key, value)| known.get(key) == Some(value))
    });
    if known.is_some() && !same && !new.replace {
        let message = format!("Auth profile \"{}\" exists already.", new.id);
        return Err(Error::new(Code::ProfileExists, message).with("profileId", new.id.clone()));
    }
    document.edit("profiles", |profiles| {
        let slot = profiles.entry(&new.id).or_insert(Value::Null);
        let mut kept = match slot.take() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        // Whatever secret was there belongs to the old credential.
        for key in [
            "mode", "key", "apiKey", "keyRef", "token", "tokenRef", "access", "refresh", "expires",
        ] {
            kept.shift_remove(key);
        }
        let mut next = entry;
        for (key, value) in kept {
            next.entry(key).or_insert(value);
        }
        *slot = Value::Object(next);
    });
    let subject = Subject {
        id: &new.id,
        provider: &provider,
        routing,
    };
    edit_record(document, subject, now, |record| clear(record, Clear::All));
    Ok(())
}

fn entry_of(new: &NewCredential, provider: &str, fields: (&str, &str)) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("type".to_owned(), new.kind.as_str().into());
    entry.insert("provider".to_owned(), provider.into());
    match &new.material {
        ProfileMaterial::Inline(secret) => {
            entry.insert(fields.0.to_owned(), secret.expose().into());
        }
        ProfileMaterial::Reference(reference) => {
            let mut map = Map::new();
            map.insert("source".to_owned(), reference.source().as_str().into());
            map.insert("provider".to_owned(), reference.provider().into());
            map.insert("id".to_owned(), reference.id().into());
            entry.insert(fields.1.to_owned(), Value::Object(map));
        }
    }
    let optional = [
        ("expires", new.expires.map(Value::from)),
        ("email", new.email.clone().map(Value::from)),
        ("displayName", new.display_name.clone().map(Value::from)),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            entry.insert(key.to_owned(), value);
        }
    }
    entry
}

/// Removes a profile with its record and wherever it is named.
pub(crate) fn remove_profile(document: &mut Document, id: &str) {
    document.edit("profiles", |profiles| profiles.shift_remove(id));
    document.edit("usageStats", |usage| usage.shift_remove(id));
    document.edit("lastGood", |good| {
        good.retain(|_, known| known.as_str() != Some(id))
    });
    document.edit("order", |order| {
        for list in order.values_mut().filter_map(Value::as_array_mut) {
            list.retain(|known| known.as_str().map(str::trim) != Some(id));
        }
        order.retain(|_, list| list.as_array().is_none_or(|list| !list.is_empty()));
    });
}

/// Sets the order of a provider, or takes it away. Other spellings of the provider go.
pub(crate) fn set_order(
    document: &mut Document,
    provider: &str,
    ids: Option<&[String]>,
    routing: &Routing,
) {
    let provider = normalise_provider(provider, &routing.aliases).into_owned();
    document.edit("order", |order| {
        order.retain(|key, _| {
            (*key == provider && ids.is_some())
                || normalise_provider(key, &routing.aliases) != provider
        });
        if let Some(ids) = ids {
            let ids = super::view::id_list(&Value::from(ids.to_vec()));
            order.insert(provider.clone(), Value::from(ids));
        }
    });
}

/// Takes windows of a profile away.
pub(crate) fn clear_cooldown(document: &mut Document, subject: Subject<'_>, what: Clear, now: u64) {
    let known = document
        .section("usageStats")
        .is_some_and(|usage| usage.contains_key(subject.id));
    if known {
        edit_record(document, subject, now, |record: &mut Record| {
            clear(record, what)
        });
    }
}
