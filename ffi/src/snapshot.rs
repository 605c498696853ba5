//! Snapshots and the secrets in them.

use std::ptr;
use std::sync::Arc;

use auth::Snapshot;
use serde_json::Value;

use crate::boundary::{Call, Result, document, read, release, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::text::{oca_str, oca_text};

/// The secrets and access rules of one generation. Immutable; any thread may use it. It outlives
/// the engine.
pub struct oca_snapshot(());

// An `oca_snapshot` is never made: the handle is the address of a snapshot of the core.
fn inner(handle: *const oca_snapshot) -> *const Snapshot {
    handle.cast()
}

fn peek<'c>(call: Call<'c>, handle: *const oca_snapshot) -> Option<&'c Snapshot> {
    call.peek(inner(handle))
}

fn borrow<'c>(call: Call<'c>, handle: *const oca_snapshot) -> Result<&'c Snapshot> {
    call.borrow(inner(handle), "snapshot")
}

/// The active snapshot; NULL for NULL. Does not allocate. Free it with oca_snapshot_free().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_engine_snapshot(engine: *const oca_engine) -> *const oca_snapshot {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(ptr::null(), |call| {
            call.peek(engine).map_or(ptr::null(), |engine| {
                Arc::into_raw(engine.core.snapshot()).cast()
            })
        })
    }
}

/// Gives a snapshot back. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_snapshot_free(snapshot: *const oca_snapshot) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(inner(snapshot)) }
}

/// Its generation; 0 for NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_snapshot_generation(snapshot: *const oca_snapshot) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(0, |call| {
            peek(call, snapshot).map_or(0, Snapshot::generation)
        })
    }
}

/// Secret at a configuration path, for example "models.providers.openai.apiKey".
/// OCA_ERR_SECRET when its setting is not active, OCA_ERR_NOT_FOUND when there is no secret. Does
/// not allocate on success. *out lives as long as the snapshot, and is absent on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_snapshot_secret(
    snapshot: *const oca_snapshot,
    path: oca_str,
    out: *mut oca_str,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(ptr::null_mut(), |call| {
            let out = call.borrow_mut(out, "out")?;
            *out = oca_str::ABSENT;
            let secret = borrow(call, snapshot)?.secret(call.need(path, "path")?)?;
            *out = oca_str::of_secret(secret);
            Ok(())
        })
    }
}

/// Secret of a reference "source:provider:id" that this snapshot resolved, else
/// OCA_ERR_NOT_FOUND. Does not allocate on success. *out lives as long as the snapshot, and is
/// absent on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_snapshot_secret_by_ref(
    snapshot: *const oca_snapshot,
    reference: oca_str,
    out: *mut oca_str,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(ptr::null_mut(), |call| {
            let out = call.borrow_mut(out, "out")?;
            *out = oca_str::ABSENT;
            let secret = borrow(call, snapshot)?.secret_ref(call.need(reference, "reference")?)?;
            *out = oca_str::of_secret(secret);
            Ok(())
        })
    }
}

/// Names of the header lines that oca_authorize() looks at, folded (ASCII letters in lower case,
/// whatever is neither letter nor digit as "-"), sorted, with commas between; an entry that ends
/// in "*" is a prefix. A line is needed when its folded name is in the list. Pass every such line,
/// repeated ones too, and at least one line if the request had any; passing all is always right.
/// The list belongs to a generation: when oca_decision.generation differs from it, read it again
/// and judge once more. Absent for NULL. Lives as long as the snapshot.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_snapshot_wanted_headers(snapshot: *const oca_snapshot) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            peek(call, snapshot).map_or(oca_str::ABSENT, |s| {
                oca_str::of(s.access().wanted_headers())
            })
        })
    }
}

/// Value for Strict-Transport-Security on secure connections; absent when it must not be sent.
/// Lives as long as the snapshot.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_snapshot_hsts(snapshot: *const oca_snapshot) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            let hsts = peek(call, snapshot).and_then(|s| s.access().hsts());
            hsts.map_or(oca_str::ABSENT, oca_str::of)
        })
    }
}

/// What the activation noticed, as a JSON array: warnings about the files, inactive references,
/// shadowed plain text, access settings. Each has a code, a path and a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_snapshot_diagnostics_json(
    snapshot: *const oca_snapshot,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            *out = document(diagnostics(borrow(call, snapshot)?));
            Ok(())
        })
    }
}

fn diagnostics(snapshot: &Snapshot) -> Value {
    let issues = snapshot.issues().iter().map(auth::Issue::to_json);
    let notes = snapshot.diagnostics().iter().map(auth::Diagnostic::to_json);
    let access = snapshot.access_problems().iter().map(|problem| {
        serde_json::json!({
            "code": problem.code.as_str(),
            "path": problem.path,
            "message": problem.message,
        })
    });
    issues.chain(notes).chain(access).collect()
}

/// Every secret setting with path, state, reason, origin, owners and ref, as a JSON array sorted
/// by path; no values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_snapshot_surfaces_json(
    snapshot: *const oca_snapshot,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let surfaces = borrow(call, snapshot)?.surfaces();
            *out = document(surfaces.iter().map(auth::SurfaceInfo::to_json).collect());
            Ok(())
        })
    }
}
