//! Engines.

use std::ptr;
use std::sync::Arc;

use auth::{AuditOptions, Code, Engine, Error, Options, Proposal, Registry};

use crate::boundary::{Reason, Result, document, into_handle, invalid, read, release, run};
use crate::error::{oca_error, oca_status};
use crate::host::ManualClock;
use crate::json::parse;
use crate::options::{OCA_FLAG_ALLOW_EXEC, oca_options};
use crate::text::{oca_str, oca_text};

/// oca_engine_health(): the active secrets are current.
pub const OCA_HEALTH_OK: u32 = 0;
/// oca_engine_health(): the last reload failed, so older secrets are in use.
pub const OCA_HEALTH_DEGRADED: u32 = 1;

/// Everything that belongs to one configuration. Any thread may use it.
pub struct oca_engine {
    pub(crate) core: Engine,
    options: Options,
    clock: Option<Arc<ManualClock>>,
}

impl oca_engine {
    fn open(options: &oca_options) -> Result<Self> {
        let (options, clock) = options.to_core();
        Ok(Self {
            core: Engine::open(options.clone())?,
            options,
            clock,
        })
    }

    fn advance(&self, ms: u64) -> Result<()> {
        let clock = self.clock.as_ref().ok_or_else(|| {
            Error::new(
                Code::ClockNotManual,
                "the engine runs on the clock of the machine",
            )
        })?;
        clock.advance(ms);
        Ok(())
    }
}

/// Reads the configuration, resolves every active secret and opens the engine. The options stay
/// the caller's. Blocks. Free the engine with oca_engine_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_open(
    options: *const oca_options,
    out: *mut *mut oca_engine,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let engine = oca_engine::open(call.borrow(options, "options")?)?;
            *out = Arc::into_raw(Arc::new(engine)).cast_mut();
            Ok(())
        })
    }
}

/// Another handle on the same engine; free both. NULL for NULL. Does not allocate.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_engine_clone(engine: *const oca_engine) -> *mut oca_engine {
    if !engine.is_null() {
        // SAFETY: not NULL, so a handle that was made by `Arc::into_raw` and is still alive.
        unsafe { Arc::increment_strong_count(engine) };
    }
    engine.cast_mut()
}

/// Gives a handle back; the last one closes the engine. Snapshots taken before stay valid. NULL is
/// fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_free(engine: *mut oca_engine) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(engine.cast_const()) }
}

/// Reads the configuration again and swaps the snapshot when everything resolves; otherwise the
/// old one serves on and the health turns to OCA_HEALTH_DEGRADED. out (may be NULL) gets a report
/// as JSON. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_reload(
    engine: *const oca_engine,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.optional_out(out);
            let report = call.borrow(engine, "engine")?.core.reload()?;
            if let Some(out) = out {
                *out = document(report.to_json());
            }
            Ok(())
        })
    }
}

/// The same from this configuration text, once: a later oca_engine_reload() reads again what the
/// engine was opened with. out may be NULL. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_reload_text(
    engine: *const oca_engine,
    text: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.optional_out(out);
            let engine = call.borrow(engine, "engine")?;
            let report = engine.core.reload_text(call.need(text, "text")?)?;
            if let Some(out) = out {
                *out = document(report.to_json());
            }
            Ok(())
        })
    }
}

/// Checks a configuration text as a reload would, and changes nothing; an absent text checks what
/// is on disk. flags: OCA_FLAG_ALLOW_EXEC to run programs, else 0. OCA_OK means that there is a
/// report, a JSON object {ok, error, failures, ...}. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_preflight(
    engine: *const oca_engine,
    text: oca_str,
    flags: u32,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let engine = call.borrow(engine, "engine")?;
            let proposal = call
                .text(text, "text")?
                .map_or_else(Proposal::current, Proposal::text);
            let proposal = proposal.allow_exec(allows_exec(flags)?);
            *out = document(engine.core.preflight(&proposal).to_json());
            Ok(())
        })
    }
}

/// Exchanges what the host has registered; see oca_options_set_registry(). It counts from the next
/// reload.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_set_registry(
    engine: *const oca_engine,
    json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let engine = call.borrow(engine, "engine")?;
            let registry = parse(call.need(json, "json")?, "json")?;
            engine.core.set_registry(Registry::from_json(&registry)?);
            Ok(())
        })
    }
}

/// The text with every secret masked that the engine knows: of the configuration, of the stores
/// that were used, and credentials that were lent. For texts that go into logs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_redact(
    engine: *const oca_engine,
    text: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let engine = call.borrow(engine, "engine")?;
            let shown = engine.core.redact(call.need(text, "text")?);
            *out = into_handle(oca_text::new(&shown));
            Ok(())
        })
    }
}

/// Writes the use of credentials that waits for the store: call it before the program ends, or
/// from a timer. *out says whether nothing is left. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_flush(
    engine: *const oca_engine,
    out: *mut bool,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let engine = call.borrow(engine, "engine")?;
            *call.borrow_mut(out, "out")? = engine.core.flush();
            Ok(())
        })
    }
}

/// Looks through the files of the installation for plain secrets, references that do not resolve
/// and leftovers; changes nothing. flags: OCA_FLAG_ALLOW_EXEC to run programs, else 0. out gets
/// the findings as a JSON object without values. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_secrets_audit_json(
    engine: *const oca_engine,
    flags: u32,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let mut audit = AuditOptions::default();
            audit.allow_exec = allows_exec(flags)?;
            let engine = call.borrow(engine, "engine")?;
            *out = document(engine.options.audit(audit).to_json());
            Ok(())
        })
    }
}

fn allows_exec(flags: u32) -> Result<bool> {
    match flags & !OCA_FLAG_ALLOW_EXEC {
        0 => Ok(flags != 0),
        _ => Err(invalid("flags", Reason::UnknownValue)),
    }
}

/// Generation of the active snapshot, from 1 up; 0 for NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_engine_generation(engine: *const oca_engine) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(0, |call| {
            call.peek(engine)
                .map_or(0, |engine| engine.core.snapshot().generation())
        })
    }
}

/// OCA_HEALTH_OK or OCA_HEALTH_DEGRADED; OCA_HEALTH_DEGRADED for NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_engine_health(engine: *const oca_engine) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(OCA_HEALTH_DEGRADED, |call| {
            match call
                .peek(engine)
                .is_some_and(|engine| !engine.core.is_degraded())
            {
                true => OCA_HEALTH_OK,
                false => OCA_HEALTH_DEGRADED,
            }
        })
    }
}

/// Whether a file behind the configuration (itself, includes, openclaw-auth.json5, .env, stores of
/// profiles, secrets files) has changed since the last attempt to load it. Asks for the facts of
/// the files only; a timer of the host calls it, and oca_engine_reload() when it says yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_files_changed(
    engine: *const oca_engine,
    out: *mut bool,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let engine = call.borrow(engine, "engine")?;
            *call.borrow_mut(out, "out")? = engine.core.watched_changed();
            Ok(())
        })
    }
}

/// Takes the oldest waiting event as a JSON object {seq, dropped, level, code, at, generation,
/// message, error, changedOwners}; *out is NULL when there is none. 256 are kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_next_event(
    engine: *const oca_engine,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let event = call.borrow(engine, "engine")?.core.next_event();
            *out = event.map_or(ptr::null_mut(), |event| document(event.to_json()));
            Ok(())
        })
    }
}

/// Moves a manual clock by so many milliseconds. OCA_ERR_UNSUPPORTED on the system clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_engine_clock_advance(
    engine: *const oca_engine,
    ms: u64,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { run(err, |call| call.borrow(engine, "engine")?.advance(ms)) }
}
