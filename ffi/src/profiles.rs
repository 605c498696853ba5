//! Stored credentials: what there is, in which order it is tried, and changes to it.

use std::ffi::CStr;

use auth::{
    Clear, CredentialKind, Eligibility, NewCredential, ProfileMaterial, SecretRef, SecretText,
};
use serde_json::{Value, json};

use crate::boundary::{Reason, Result, document, fixed, invalid, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::json::{Fields, parse, texts, wrong};
use crate::text::{oca_str, oca_text};

/// Profiles and keys of an agent with their state, secrets masked, as a JSON object {agentId,
/// authStorePath, degraded, profiles, rejected, env}. An absent agent means the default agent, an
/// absent provider all of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profiles_json(
    engine: *const oca_engine,
    agent: oca_str,
    provider: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, provider) = (call.text(agent, "agent")?, call.text(provider, "provider")?);
            *out = document(core.profiles_json(agent, provider)?);
            Ok(())
        })
    }
}

/// The profiles of a provider in the order in which a lease would try them now, as a JSON object
/// {agentId, provider, authStorePath, order, effective, source}: order is the stored one or null,
/// effective the one that counts. agent, model and prefer (a profile to put first) may be absent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_order_json(
    engine: *const oca_engine,
    agent: oca_str,
    provider: oca_str,
    model: oca_str,
    prefer: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, provider) = (call.text(agent, "agent")?, call.need(provider, "provider")?);
            let (model, prefer) = (call.text(model, "model")?, call.text(prefer, "prefer")?);
            let effective = core.profile_order(agent, provider, model, prefer)?;
            let mut shown = core.order_json(agent, provider)?;
            if let Value::Object(fields) = &mut shown {
                fields.insert("effective".to_owned(), effective.into());
            }
            *out = document(shown);
            Ok(())
        })
    }
}

/// Whether a profile may be used for a provider: *out is "ok", or why not ("expired",
/// "invalid_expires", "missing_credential", "mode_mismatch", "profile_missing",
/// "provider_mismatch", "unresolved_ref"). Static. An absent agent means the default agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_eligibility(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    provider: oca_str,
    out: *mut oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.borrow_mut(out, "out")?;
            *out = oca_str::ABSENT;
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, id) = (
                call.text(agent, "agent")?,
                call.need(profile_id, "profile_id")?,
            );
            let found = core.eligibility(agent, id, call.need(provider, "provider")?)?;
            *out = fixed(word_of(found));
            Ok(())
        })
    }
}

fn word_of(eligibility: Eligibility) -> &'static CStr {
    match eligibility {
        Eligibility::Expired => c"expired",
        Eligibility::InvalidExpires => c"invalid_expires",
        Eligibility::MissingCredential => c"missing_credential",
        Eligibility::ModeMismatch => c"mode_mismatch",
        Eligibility::Ok => c"ok",
        Eligibility::ProfileMissing => c"profile_missing",
        Eligibility::ProviderMismatch => c"provider_mismatch",
        Eligibility::UnresolvedRef => c"unresolved_ref",
        _ => c"other",
    }
}

/// The keys of a provider beyond its profiles (environment, configuration), without their values,
/// in the order in which they are tried: a JSON array of {id, kind}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_keys_json(
    engine: *const oca_engine,
    provider: oca_str,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let keys = core.env_candidates(call.need(provider, "provider")?);
            let shown = keys
                .iter()
                .map(|(id, kind)| json!({"id": id, "kind": kind.as_str()}));
            *out = document(shown.collect());
            Ok(())
        })
    }
}

/// Stores a key or a token as a profile and ends its cooldowns. credential_json has the fields of
/// the store: type ("api_key" or "token"), provider, key or keyRef, token or tokenRef (a reference
/// is "source:provider:id" or {source, provider, id}), expires (milliseconds since 1970), email,
/// displayName; and replace (true to replace what has this id, else that is code
/// "profile_exists"). An absent agent means the default agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_put(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    credential_json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let agent = call.text(agent, "agent")?;
            let id = call.plain(profile_id, "profile_id")?;
            let json = call.need(credential_json, "credential_json")?;
            core.add_profile(agent, &credential(id, json)?)
        })
    }
}

fn credential(id: &str, json: &str) -> Result<NewCredential> {
    let mut fields = Fields::of(Some(json), "credential_json")?;
    let kind = fields.word("type", "\"api_key\" or \"token\"", |word| match word {
        "api_key" => Some(CredentialKind::ApiKey),
        "token" => Some(CredentialKind::Token),
        _ => None,
    })?;
    let kind = kind.ok_or_else(|| fields.wrong("type", "\"api_key\" or \"token\""))?;
    let (inline, reference) = match kind {
        CredentialKind::Token => ("token", "tokenRef"),
        _ => ("key", "keyRef"),
    };
    let material = match (fields.text(inline)?, fields.value(reference)) {
        (Some(secret), None) => ProfileMaterial::Inline(SecretText::new(secret)),
        (None, Some(value)) => {
            let found = reference_of(&value);
            let found = found.ok_or_else(|| fields.wrong(reference, "a secret reference"))?;
            ProfileMaterial::Reference(found)
        }
        _ => return Err(fields.wrong(inline, "there, or its reference instead")),
    };
    let credential = NewCredential {
        id: id.to_owned(),
        provider: fields.text("provider")?.unwrap_or_default(),
        kind,
        material,
        expires: fields.number("expires")?,
        email: fields.text("email")?,
        display_name: fields.text("displayName")?,
        replace: fields.flag("replace")?.unwrap_or(false),
    };
    fields.end()?;
    Ok(credential)
}

fn reference_of(value: &Value) -> Option<SecretRef> {
    if let Some(label) = value.as_str() {
        return SecretRef::parse(label);
    }
    let part = |key: &str| value.get(key).and_then(Value::as_str);
    let provider = part("provider").unwrap_or("default");
    SecretRef::parse(&format!("{}:{provider}:{}", part("source")?, part("id")?))
}

/// Removes a profile, its usage, and its place in the orders. An absent agent means the default
/// agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_remove(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let agent = call.text(agent, "agent")?;
            core.remove_profile(agent, call.need(profile_id, "profile_id")?)
        })
    }
}

/// Stores the order of a provider, a JSON array of profile ids; absent takes it away. An absent
/// agent means the default agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_set_order(
    engine: *const oca_engine,
    agent: oca_str,
    provider: oca_str,
    ids_json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, provider) = (call.text(agent, "agent")?, call.need(provider, "provider")?);
            let ids = match call.text(ids_json, "ids_json")? {
                Some(json) => {
                    let list = texts(parse(json, "ids_json")?);
                    Some(list.ok_or_else(|| wrong("ids_json", "ids_json", "a list of texts"))?)
                }
                None => None,
            };
            core.set_order(agent, provider, ids.as_deref())
        })
    }
}

/// Ends the windows in which a profile is not used; an absent profile_id means all profiles of the
/// agent. what is "all" (also when it is absent), "cooldown", "disabled" or "models". An absent
/// agent means the default agent. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_profile_clear_cooldown(
    engine: *const oca_engine,
    agent: oca_str,
    profile_id: oca_str,
    what: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let (agent, id) = (
                call.text(agent, "agent")?,
                call.text(profile_id, "profile_id")?,
            );
            let what = match call.text(what, "what")? {
                Some(word) => {
                    Clear::parse(word).ok_or_else(|| invalid("what", Reason::UnknownValue))?
                }
                None => Clear::All,
            };
            core.clear_cooldown(agent, id, what)
        })
    }
}
