//! Signing in at providers, and keeping tokens fresh.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use auth::{CText, LoginFlow, LoginOptions, OauthToken, SecretText};
use serde_json::{Value, json};

use crate::access::unknown;
use crate::boundary::{Result, document, free, into_handle, read, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::json::Fields;
use crate::text::{oca_str, oca_text};

/// A login under way. One thread at a time. It keeps its engine alive.
pub struct oca_oauth_flow {
    core: LoginFlow,
    engine: Arc<oca_engine>,
    url: CText,
    state: SecretText,
}

/// Starts a login with PKCE: makes verifier, challenge and state, and listens on the loopback
/// address of the provider if it can. options_json is {agent, profileId, replace, timeoutMs} or
/// absent. Next: show oca_oauth_flow_url() to the person; then oca_oauth_flow_listen(), or let the
/// person paste the address of the page at which the browser ended; then
/// oca_oauth_flow_complete(). May block to ask the provider for its endpoints. Free the flow with
/// oca_oauth_flow_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_begin(
    engine: *const oca_engine,
    provider: oca_str,
    options_json: oca_str,
    out: *mut *mut oca_oauth_flow,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let engine = call.share(engine, "engine")?;
            let provider = call.need(provider, "provider")?;
            let options = options(call.text(options_json, "options_json")?)?;
            let core = engine.core.oauth_begin(provider, options)?;
            *out = into_handle(oca_oauth_flow {
                url: CText::new(core.url()),
                state: SecretText::new(core.state().to_owned()),
                core,
                engine,
            });
            Ok(())
        })
    }
}

fn options(json: Option<&str>) -> Result<LoginOptions> {
    let mut fields = Fields::of(json, "options_json")?;
    let mut options = LoginOptions::default();
    options.agent = fields.text("agent")?;
    options.profile_id = fields.text("profileId")?;
    options.replace = fields.flag("replace")?.unwrap_or(false);
    options.timeout_ms = fields.number("timeoutMs")?;
    fields.end()?;
    Ok(options)
}

/// Address to open in the browser. It holds no secret. Lives as long as the flow.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_oauth_flow_url(flow: *const oca_oauth_flow) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(flow)
                .map_or(oca_str::ABSENT, |flow| oca_str::of(&flow.url))
        })
    }
}

/// The state parameter, which tells answers of this login from others. Lives as long as the flow.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_oauth_flow_state(flow: *const oca_oauth_flow) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(flow)
                .map_or(oca_str::ABSENT, |flow| oca_str::of_secret(&flow.state))
        })
    }
}

/// What a program shows to the person, as a JSON object {provider, label, url, redirectUri,
/// addresses (that are listened on; empty when only pasting is possible), remote (the browser is
/// probably on another machine), remainingMs, ended, warnings (each is given once)}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_json(
    flow: *mut oca_oauth_flow,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let flow = &mut call.borrow_mut(flow, "flow")?.core;
            let addresses = flow.addresses().iter().map(ToString::to_string);
            let addresses: Vec<String> = addresses.collect();
            *out = document(json!({
                "warnings": flow.take_warnings(),
                "provider": flow.provider(),
                "label": flow.label(),
                "url": flow.url(),
                "redirectUri": flow.redirect_uri(),
                "addresses": addresses,
                "remote": flow.is_remote(),
                "remainingMs": flow.remaining_ms(),
                "ended": flow.has_ended(),
            }));
            Ok(())
        })
    }
}

/// Waits for the browser at most that long. *out is the address that it brought (it holds the
/// authorization code), for oca_oauth_flow_complete(); NULL when nothing has come yet: call again.
/// Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_listen(
    flow: *mut oca_oauth_flow,
    timeout_ms: u64,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let flow = &mut call.borrow_mut(flow, "flow")?.core;
            let heard = flow.listen(Duration::from_millis(timeout_ms))?;
            *out = heard.map_or(ptr::null_mut(), |address| {
                into_handle(oca_text::from_secret(address))
            });
            Ok(())
        })
    }
}

/// Completes the login with the address that arrived or what a person pasted: checks it, exchanges
/// the code, stores the profile, answers the browser. *out is a JSON object {agentId, profileId,
/// provider, type, email, accountId, expiresAt, storePath, warnings, defaultModel}. After a slip of
/// the person (a wrong link) it can be called again; other failures end the flow. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_complete(
    flow: *mut oca_oauth_flow,
    redirect: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let flow = call.borrow_mut(flow, "flow")?;
            let redirect = call.need(redirect, "redirect")?;
            let done = flow.engine.core.oauth_complete(&mut flow.core, redirect)?;
            *out = document(done.to_json());
            Ok(())
        })
    }
}

/// For programs with an HTTP client of their own: the token request as a JSON object {method, url,
/// headers, body}. It holds the authorization code. Give the answer to
/// oca_oauth_flow_accept_response().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_request_json(
    flow: *mut oca_oauth_flow,
    redirect: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let flow = &mut call.borrow_mut(flow, "flow")?.core;
            *out = document(flow.request_json(call.need(redirect, "redirect")?)?);
            Ok(())
        })
    }
}

/// Takes the answer to that request and stores the profile; *out as for
/// oca_oauth_flow_complete(). Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_accept_response(
    flow: *mut oca_oauth_flow,
    http_status: u32,
    body: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let flow = call.borrow_mut(flow, "flow")?;
            let status = u16::try_from(http_status).map_err(|_| unknown("http_status"))?;
            let body = call.need(body, "body")?;
            let core = &flow.engine.core;
            let done = core.oauth_accept_response(&mut flow.core, status, body)?;
            *out = document(done.to_json());
            Ok(())
        })
    }
}

/// Wipes and frees a flow; a login that is not complete is given up. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_flow_free(flow: *mut oca_oauth_flow) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { free(flow) }
}

/// The access token of an OAuth profile, refreshed when it would not be valid for min_valid_ms more
/// milliseconds, or always with force. *out is a JSON object {access, expiresAt, accountId, source,
/// warning} that holds the token. An absent agent means the default agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_token_json(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    min_valid_ms: u64,
    force: bool,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, id) = (
                call.text(agent, "agent")?,
                call.need(profile_id, "profile_id")?,
            );
            *out = document(token(&core.oauth_token(agent, id, min_valid_ms, force)?));
            Ok(())
        })
    }
}

/// Another access token than the one that the provider has just refused with 401: reports of the
/// same token by many threads cause one refresh. *out as for oca_oauth_token_json(). Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_unauthorized_json(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    refused: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, id) = (
                call.text(agent, "agent")?,
                call.need(profile_id, "profile_id")?,
            );
            let refused = SecretText::new(call.need(refused, "refused")?.to_owned());
            *out = document(token(&core.oauth_unauthorized(agent, id, &refused)?));
            Ok(())
        })
    }
}

fn token(token: &OauthToken) -> Value {
    json!({
        "access": token.access.expose(),
        "expiresAt": token.expires,
        "accountId": token.account_id,
        "source": token.source,
        "warning": token.warning.as_ref().map(auth::Error::to_json),
    })
}

/// Links a profile to the login of another program, "codex-cli" or "claude-cli"; nothing is
/// copied. *out as for oca_oauth_flow_complete(). An absent agent means the default agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_link(
    engine: *const oca_engine,
    agent: oca_str,
    program: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let agent = call.text(agent, "agent")?;
            let done = core.oauth_link(agent, call.need(program, "program")?)?;
            *out = document(done.to_json());
            Ok(())
        })
    }
}

/// Ids of the providers that can be signed in to or refreshed, as a JSON array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_oauth_providers_json(
    engine: *const oca_engine,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            *out = document(call.borrow(engine, "engine")?.core.oauth_providers().into());
            Ok(())
        })
    }
}
