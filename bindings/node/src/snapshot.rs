//! One generation, held by JavaScript.

use std::sync::Arc;

use napi::bindgen_prelude::External;
use napi_derive::napi;
use openclaw_auth::{Diagnostic, Issue, Result, Snapshot, SurfaceInfo};
use serde_json::{Value, json};

use crate::boundary::{closed, guard, invalid};
use crate::engine::with;

/// A snapshot, until it is closed.
pub(crate) struct Held(Option<Arc<Snapshot>>);

/// The current generation.
#[napi(catch_unwind)]
pub(crate) fn snapshot(slot: u32) -> napi::Result<External<Held>> {
    guard(|| {
        with(slot, |shared| {
            Ok(External::new(Held(Some(shared.core.snapshot()))))
        })
    })
}

/// Lets a snapshot go.
#[napi(catch_unwind)]
pub(crate) fn snapshot_close(held: &mut External<Held>) {
    held.0 = None;
}

/// The secret at a path of this generation, or of a reference.
#[napi(catch_unwind)]
pub(crate) fn snapshot_secret(
    held: &External<Held>,
    at: String,
    is_reference: bool,
) -> napi::Result<String> {
    guard(|| {
        let snapshot = open(held)?;
        let secret = match is_reference {
            true => snapshot.secret_ref(&at),
            false => snapshot.secret(&at),
        };
        secret.map(|secret| secret.expose().to_owned())
    })
}

/// A document of this generation, as JSON.
#[napi(catch_unwind)]
pub(crate) fn snapshot_read(
    held: &External<Held>,
    what: String,
    path: Option<String>,
) -> napi::Result<String> {
    guard(|| {
        let snapshot = open(held)?;
        let row = DOCUMENTS.iter().find(|(name, _)| *name == what);
        let (_, read) = row.ok_or_else(|| invalid("what", "the name of a document"))?;
        read(snapshot, path.as_deref().unwrap_or_default()).map(|value| value.to_string())
    })
}

type Read = fn(&Snapshot, &str) -> Result<Value>;

const DOCUMENTS: &[(&str, Read)] = &[
    ("activatedAt", |snapshot, _| {
        Ok(snapshot.activated_at_ms().into())
    }),
    ("config", |snapshot, _| Ok(snapshot.config_json())),
    ("diagnostics", |snapshot, _| {
        Ok(snapshot
            .diagnostics()
            .iter()
            .map(Diagnostic::to_json)
            .collect())
    }),
    ("generation", |snapshot, _| Ok(snapshot.generation().into())),
    ("issues", |snapshot, _| {
        Ok(snapshot.issues().iter().map(Issue::to_json).collect())
    }),
    ("surfaces", |snapshot, _| {
        Ok(snapshot
            .surfaces()
            .iter()
            .map(SurfaceInfo::to_json)
            .collect())
    }),
    ("value", |snapshot, path| {
        Ok(json!({"value": snapshot.value(path)?}))
    }),
];

fn open(held: &Held) -> Result<&Snapshot> {
    held.0.as_deref().ok_or_else(|| closed("snapshot"))
}
