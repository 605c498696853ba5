//! Reports for people and scripts.

use auth::report::{DoctorOptions, StatusOptions, StatusReport};

use crate::boundary::{Call, Reason, Result, document, invalid, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::options::{OCA_FLAG_ALLOW_EXEC, OCA_FLAG_ALLOW_NETWORK};
use crate::text::{oca_str, oca_text};

/// oca_status_check(): every credential is there and lasts.
pub const OCA_CHECK_OK: u32 = 0;
/// oca_status_check(): a credential has run out or is missing.
pub const OCA_CHECK_EXPIRED: u32 = 1;
/// oca_status_check(): a credential ends soon.
pub const OCA_CHECK_EXPIRING: u32 = 2;

/// Models, credentials, how long they last, cooldowns and access of an agent, secrets masked, as
/// the JSON object of "openclaw-auth models status --json". Changes nothing, contacts nobody. An
/// absent agent means the default agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_status_json(
    engine: *const oca_engine,
    agent: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            *out = document(status(call, engine, agent, 0)?.to_json());
            Ok(())
        })
    }
}

/// OCA_CHECK_*, the exit code of "openclaw-auth models status --check". warn_within_ms says how
/// soon the end of a token counts as soon; 0 for a day. An absent agent means the default agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_status_check(
    engine: *const oca_engine,
    agent: oca_str,
    warn_within_ms: u64,
    out: *mut u32,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.borrow_mut(out, "out")?;
            *out = status(call, engine, agent, warn_within_ms)?
                .exit_code()
                .into();
            Ok(())
        })
    }
}

fn status(
    call: Call<'_>,
    engine: *const oca_engine,
    agent: oca_str,
    warn_within_ms: u64,
) -> Result<StatusReport> {
    let core = &call.borrow(engine, "engine")?.core;
    let mut options = StatusOptions::default();
    options.agent = call.text(agent, "agent")?.map(str::to_owned);
    if warn_within_ms > 0 {
        options.warn_within_ms = warn_within_ms;
    }
    core.status(&options)
}

/// Examines the installation as it is on disk and changes nothing: the JSON object {ok, checksRun,
/// checksSkipped, findings (a list of {checkId, severity, message, path, line, column, agentId,
/// provider, profileId, fixHint, fixable})}. An absent agent means all agents. flags:
/// OCA_FLAG_ALLOW_EXEC to run programs, OCA_FLAG_ALLOW_NETWORK to contact token endpoints and the
/// gateway, else 0. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_doctor_json(
    engine: *const oca_engine,
    agent: oca_str,
    flags: u32,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            if flags & !(OCA_FLAG_ALLOW_EXEC | OCA_FLAG_ALLOW_NETWORK) != 0 {
                return Err(invalid("flags", Reason::UnknownValue));
            }
            let mut options = DoctorOptions::default();
            options.agent = call.text(agent, "agent")?.map(str::to_owned);
            options.allow_exec = flags & OCA_FLAG_ALLOW_EXEC != 0;
            options.deep = flags & OCA_FLAG_ALLOW_NETWORK != 0;
            let report = core.doctor(&options)?;
            *out = document(report.to_json());
            Ok(())
        })
    }
}
