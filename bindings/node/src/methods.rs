//! Everything that is not called for each request: one table of methods, each with a synchronous
//! and a promise form in JavaScript.

use std::sync::Arc;

use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;
use openclaw_auth::report::{DoctorOptions, StatusOptions};
use openclaw_auth::{
    AuditOptions, Clear, CredentialKind, Event, ModelChoice, NewCredential, OauthToken, Options,
    ProfileMaterial, Proposal, Result, SecretRef, SecretText, SessionEntry,
};
use serde_json::{Value, json};

use crate::boundary::{Job, elsewhere, guard, invalid};
use crate::engine::{Shared, engine};
use crate::fields::Fields;
use crate::options;

/// Runs a method and gives its answer as JSON.
#[napi(catch_unwind)]
pub(crate) fn call_sync(slot: u32, method: String, arguments: String) -> napi::Result<String> {
    guard(|| call(&engine(slot)?, &method, &arguments))
}

/// The same on another thread.
#[napi(catch_unwind)]
pub(crate) fn call_async(
    slot: u32,
    method: String,
    arguments: String,
) -> napi::Result<AsyncTask<Job<String>>> {
    let shared = guard(|| engine(slot))?;
    Ok(elsewhere(move || call(&shared, &method, &arguments)))
}

fn call(shared: &Arc<Shared>, method: &str, arguments: &str) -> Result<String> {
    let row = METHODS.iter().find(|row| row.name == method);
    let row = row.ok_or_else(|| invalid("method", "a method of the engine"))?;
    let fields = Fields::read(arguments, row.keys)?;
    (row.run)(shared, &fields).map(|answer| answer.to_string())
}

struct Method {
    name: &'static str,
    keys: &'static [&'static str],
    run: fn(&Shared, &Fields) -> Result<Value>,
}

const fn row(
    name: &'static str,
    keys: &'static [&'static str],
    run: fn(&Shared, &Fields) -> Result<Value>,
) -> Method {
    Method { name, keys, run }
}

const METHODS: &[Method] = &[
    row("addProfile", ADD_PROFILE, |shared, fields| {
        let credential = credential(fields)?;
        shared
            .core
            .add_profile(fields.text("agent")?, &credential)?;
        Ok(Value::Null)
    }),
    row("audit", &["allowExec"], |shared, fields| {
        let mut audit = AuditOptions::default();
        audit.allow_exec = fields.flag("allowExec")?.unwrap_or_default();
        Ok(shared.options.audit(audit).to_json())
    }),
    row(
        "chat",
        &["session", "agent", "message", "shown"],
        |shared, fields| {
            let reply = shared.core.chat(
                fields.need("session")?,
                fields.text("agent")?,
                fields.need("message")?,
                fields.text("shown")?,
            )?;
            Ok(reply.map_or(Value::Null, |reply| {
                json!({
                    "directive": directive(&reply.directive),
                    "rest": reply.rest,
                    "session": reply.session.to_json(),
                    "view": reply.view,
                })
            }))
        },
    ),
    row(
        "clearCooldown",
        &["agent", "profile", "what"],
        |shared, fields| {
            let what = fields.word("what", Clear::parse)?.unwrap_or(Clear::All);
            let profile = fields.text("profile")?;
            shared
                .core
                .clear_cooldown(fields.text("agent")?, profile, what)?;
            Ok(Value::Null)
        },
    ),
    row("clockAdvance", &["ms"], |shared, fields| {
        shared.advance(fields.count("ms")?.unwrap_or_default())?;
        Ok(Value::Null)
    }),
    row("doctor", DOCTOR, |shared, fields| {
        doctor(&shared.options, fields)
    }),
    row(
        "eligibility",
        &["agent", "profile", "provider"],
        |shared, fields| {
            let (profile, provider) = (fields.need("profile")?, fields.need("provider")?);
            let found = shared
                .core
                .eligibility(fields.text("agent")?, profile, provider)?;
            Ok(found.as_str().into())
        },
    ),
    row("envCandidates", &["provider"], |shared, fields| {
        let found = shared.core.env_candidates(fields.need("provider")?);
        let found = found
            .iter()
            .map(|(id, kind)| json!({"id": id, "kind": kind.as_str()}));
        Ok(found.collect())
    }),
    row("events", &[], |shared, _| {
        Ok(shared.core.events().iter().map(Event::to_json).collect())
    }),
    row("exportSessions", &[], |shared, _| {
        Ok(shared.core.export_sessions())
    }),
    row("externalLogin", &["program"], |shared, fields| {
        Ok(shared.core.external_login(fields.need("program")?).into())
    }),
    row("filesChanged", &[], |shared, _| {
        Ok(shared.core.watched_changed().into())
    }),
    row("flush", &[], |shared, _| Ok(shared.core.flush().into())),
    row("generation", &[], |shared, _| {
        Ok(shared.core.snapshot().generation().into())
    }),
    row("importSessions", &["sessions"], |shared, fields| {
        shared
            .core
            .import_sessions(fields.value("sessions").unwrap_or(&Value::Null));
        Ok(Value::Null)
    }),
    row("isDegraded", &[], |shared, _| {
        Ok(shared.core.is_degraded().into())
    }),
    row("leasesOut", &[], |shared, _| {
        Ok(shared.core.leases_out().into())
    }),
    row(
        "modelChain",
        &["agent", "requested", "fallbacks"],
        |shared, fields| {
            let fallbacks = fields.texts("fallbacks")?.map(owned);
            let (agent, requested) = (fields.text("agent")?, fields.text("requested")?);
            Ok(json!(shared.core.model_chain(
                agent,
                requested,
                fallbacks.as_deref()
            )?))
        },
    ),
    row("models", &["session", "agent"], |shared, fields| {
        let models = shared
            .core
            .models(fields.need("session")?, fields.text("agent")?)?;
        Ok(models.iter().map(ModelChoice::to_json).collect())
    }),
    row("oauthLink", &["agent", "program"], |shared, fields| {
        let program = fields.need("program")?;
        Ok(shared
            .core
            .oauth_link(fields.text("agent")?, program)?
            .to_json())
    }),
    row("oauthProviders", &[], |shared, _| {
        Ok(json!(shared.core.oauth_providers()))
    }),
    row(
        "oauthToken",
        &["agent", "profile", "minValidMs", "force"],
        |shared, fields| {
            let (agent, profile) = (fields.text("agent")?, fields.need("profile")?);
            let min_valid_ms = fields.count("minValidMs")?.unwrap_or_default();
            let force = fields.flag("force")?.unwrap_or_default();
            shared
                .core
                .oauth_token(agent, profile, min_valid_ms, force)
                .map(|token| told(&token))
        },
    ),
    row(
        "oauthUnauthorized",
        &["agent", "profile", "token"],
        |shared, fields| {
            let (agent, profile) = (fields.text("agent")?, fields.need("profile")?);
            let refused = SecretText::new(fields.need("token")?.to_owned());
            shared
                .core
                .oauth_unauthorized(agent, profile, &refused)
                .map(|token| told(&token))
        },
    ),
    row("order", &["agent", "provider"], |shared, fields| {
        shared
            .core
            .order_json(fields.text("agent")?, fields.need("provider")?)
    }),
    row(
        "preflight",
        &["text", "allowExec", "paths"],
        |shared, fields| {
            let proposal = fields
                .text("text")?
                .map_or_else(Proposal::current, Proposal::text);
            let proposal = proposal.allow_exec(fields.flag("allowExec")?.unwrap_or_default());
            let proposal = match fields.texts("paths")? {
                Some(paths) => proposal.paths(paths),
                None => proposal,
            };
            Ok(shared.core.preflight(&proposal).to_json())
        },
    ),
    row(
        "profileOrder",
        &["agent", "provider", "model", "prefer"],
        |shared, fields| {
            let order = shared.core.profile_order(
                fields.text("agent")?,
                fields.need("provider")?,
                fields.text("model")?,
                fields.text("prefer")?,
            )?;
            Ok(json!(order))
        },
    ),
    row("profiles", &["agent", "provider"], |shared, fields| {
        shared
            .core
            .profiles_json(fields.text("agent")?, fields.text("provider")?)
    }),
    row("reload", &[], |shared, _| {
        Ok(shared.core.reload()?.to_json())
    }),
    row("reloadText", &["text"], |shared, fields| {
        Ok(shared.core.reload_text(fields.need("text")?)?.to_json())
    }),
    row("removeProfile", &["agent", "profile"], |shared, fields| {
        shared
            .core
            .remove_profile(fields.text("agent")?, fields.need("profile")?)?;
        Ok(Value::Null)
    }),
    row("removeRules", &["prefix"], |shared, fields| {
        let mut registry = shared.core.registry();
        let removed = registry.remove_rules(fields.need("prefix")?);
        shared.core.set_registry(registry);
        Ok(removed.into())
    }),
    row("addRules", &["rules"], |shared, fields| {
        let mut registry = shared.core.registry();
        registry.add_rules(fields.value("rules").unwrap_or(&Value::Null))?;
        shared.core.set_registry(registry);
        Ok(Value::Null)
    }),
    row("restoreRedacted", &["config"], |shared, fields| {
        shared
            .core
            .restore_redacted(fields.value("config").unwrap_or(&Value::Null))
    }),
    row("session", &["session"], |shared, fields| {
        Ok(shared.core.session(fields.need("session")?).to_json())
    }),
    row(
        "setOrder",
        &["agent", "provider", "profiles"],
        |shared, fields| {
            let ids = fields.texts("profiles")?.map(owned);
            let (agent, provider) = (fields.text("agent")?, fields.need("provider")?);
            shared.core.set_order(agent, provider, ids.as_deref())?;
            Ok(Value::Null)
        },
    ),
    row("setSession", &["session", "entry"], |shared, fields| {
        let entry = SessionEntry::from_json(fields.value("entry").unwrap_or(&Value::Null));
        shared.core.set_session(fields.need("session")?, entry);
        Ok(Value::Null)
    }),
    row(
        "status",
        &["agent", "providers", "warnWithinMs"],
        |shared, fields| {
            let mut options = StatusOptions::default();
            options.agent = fields.text("agent")?.map(str::to_owned);
            options.providers = fields.texts("providers")?.map(owned).unwrap_or_default();
            if let Some(ms) = fields.count("warnWithinMs")? {
                options.warn_within_ms = ms;
            }
            Ok(shared.core.status(&options)?.to_json())
        },
    ),
    row("targets", &["empty"], |shared, fields| {
        let targets = shared
            .options
            .targets(fields.flag("empty")?.unwrap_or_default())?;
        Ok(targets.iter().map(openclaw_auth::Target::to_json).collect())
    }),
];

const DOCTOR: &[&str] = &["agent", "allowExec", "deep", "only", "skip"];

fn doctor(installation: &Options, fields: &Fields) -> Result<Value> {
    let mut options = DoctorOptions::default();
    options.agent = fields.text("agent")?.map(str::to_owned);
    options.only = fields.texts("only")?.map(owned).unwrap_or_default();
    options.skip = fields.texts("skip")?.map(owned).unwrap_or_default();
    options.deep = fields.flag("deep")?.unwrap_or_default();
    options.allow_exec = fields.flag("allowExec")?.unwrap_or_default();
    Ok(installation.doctor(&options)?.to_json())
}

/// Examines an installation that need not be able to open.
#[napi(catch_unwind)]
pub(crate) fn doctor_sync(installation: String, arguments: String) -> napi::Result<String> {
    guard(|| examine(&installation, &arguments))
}

/// The same on another thread.
#[napi(catch_unwind)]
pub(crate) fn doctor_async(installation: String, arguments: String) -> AsyncTask<Job<String>> {
    elsewhere(move || examine(&installation, &arguments))
}

fn examine(installation: &str, arguments: &str) -> Result<String> {
    let (installation, _) = options::read(installation)?;
    let fields = Fields::read(arguments, DOCTOR)?;
    doctor(&installation, &fields).map(|report| report.to_string())
}

const ADD_PROFILE: &[&str] = &[
    "agent",
    "displayName",
    "email",
    "expiresAt",
    "profile",
    "provider",
    "ref",
    "replace",
    "secret",
    "type",
];

fn credential(fields: &Fields) -> Result<NewCredential> {
    let reference = |label: &str| SecretRef::parse(label);
    let material = match (fields.text("secret")?, fields.word("ref", reference)?) {
        (Some(secret), None) => ProfileMaterial::Inline(SecretText::new(secret.to_owned())),
        (None, Some(reference)) => ProfileMaterial::Reference(reference),
        _ => return Err(invalid("secret", "there, or else ref")),
    };
    let kind = |word: &str| match word {
        "api_key" => Some(CredentialKind::ApiKey),
        "token" => Some(CredentialKind::Token),
        _ => None,
    };
    Ok(NewCredential {
        id: fields.need("profile")?.to_owned(),
        provider: fields.need("provider")?.to_owned(),
        kind: fields.word("type", kind)?.unwrap_or(CredentialKind::ApiKey),
        material,
        expires: fields.count("expiresAt")?,
        email: fields.text("email")?.map(str::to_owned),
        display_name: fields.text("displayName")?.map(str::to_owned),
        replace: fields.flag("replace")?.unwrap_or_default(),
    })
}

/// The token goes to the caller, who asked for it.
fn told(token: &OauthToken) -> Value {
    json!({
        "access": token.access.expose(),
        "expiresAt": token.expires,
        "accountId": token.account_id,
        "source": token.source,
        "warning": token.warning.as_ref().map(openclaw_auth::Error::to_json),
    })
}

fn directive(directive: &openclaw_auth::Directive) -> Value {
    use openclaw_auth::Directive;
    let (kind, number, model, profile) = match directive {
        Directive::Pick(number) => ("pick", Some(number), None, None),
        Directive::Select { model, profile } => ("select", None, Some(model), profile.as_ref()),
        Directive::List => ("list", None, None, None),
        Directive::Reset => ("reset", None, None, None),
        Directive::Show => ("show", None, None, None),
        Directive::Status => ("status", None, None, None),
        _ => ("other", None, None, None),
    };
    json!({"kind": kind, "number": number, "model": model, "profile": profile})
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
