//! Sessions: the model and the profile that a conversation keeps to, and the `/model` command.

use std::ptr;

use auth::{ModelChoice, SessionEntry};
use serde_json::Value;

use crate::boundary::{document, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::json::{parse, wrong};
use crate::text::{oca_str, oca_text};

/// Carries out the "/model ..." command in a message, if there is one, for a session; pass only
/// messages of people who may change it. *out is NULL without a command, else a JSON object
/// {directive ("list", "pick", "reset", "select", "show" or "status"), rest (the message without
/// it), session, model, profile, profileSource, fingerprint, models, ...}. shown is the fingerprint
/// of the list that the person saw, for a selection by number; agent and shown may be absent. On
/// failure the session has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_session_directive(
    engine: *const oca_engine,
    agent: oca_str,
    session: oca_str,
    message: oca_str,
    shown: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, session) = (call.text(agent, "agent")?, call.need(session, "session")?);
            let (message, shown) = (call.need(message, "message")?, call.text(shown, "shown")?);
            let reply = core.chat(session, agent, message, shown)?;
            *out = reply.map_or(ptr::null_mut(), |reply| document(reply.to_json()));
            Ok(())
        })
    }
}

/// The models that a session can select, numbered, with the state of their credentials: a JSON
/// array of {number, model, aliases, availability, current}. An absent agent means the default
/// agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_session_models_json(
    engine: *const oca_engine,
    agent: oca_str,
    session: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let agent = call.text(agent, "agent")?;
            let models = core.models(call.need(session, "session")?, agent)?;
            *out = document(models.iter().map(ModelChoice::to_json).collect());
            Ok(())
        })
    }
}

/// What is remembered about a session, as a JSON object with the keys of OpenClaw's session
/// entries: providerOverride, modelOverride, authProfileOverride, authProfileOverrideSource
/// ("user" or "auto"), authProfileOverrideCompactionCount. All may be missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_session_json(
    engine: *const oca_engine,
    session: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            *out = document(core.session(call.need(session, "session")?).to_json());
            Ok(())
        })
    }
}

/// Replaces what is remembered about a session, for example to pin a profile for a person; see
/// oca_session_json(). "{}" forgets it. Other keys of a session entry are ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_session_set(
    engine: *const oca_engine,
    session: oca_str,
    entry_json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let session = call.need(session, "session")?;
            let entry = parse(call.need(entry_json, "entry_json")?, "entry_json")?;
            if !matches!(entry, Value::Object(_)) {
                return Err(wrong("entry_json", "entry_json", "an object"));
            }
            core.set_session(session, SessionEntry::from_json(&entry));
            Ok(())
        })
    }
}

/// Everything that is remembered about sessions, as JSON to be kept for oca_sessions_import().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_sessions_export_json(
    engine: *const oca_engine,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            *out = document(core.export_sessions());
            Ok(())
        })
    }
}

/// Takes over what oca_sessions_export_json() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_sessions_import(
    engine: *const oca_engine,
    json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            core.import_sessions(&parse(call.need(json, "json")?, "json")?);
            Ok(())
        })
    }
}
