//! Storing a credential that a person pastes.

use clap::Arg;
use openclaw_auth::{
    Code, CredentialKind, NewCredential, ProfileMaterial, SecretText, check_setup_token,
    clean_pasted, profile_slug,
};

use super::super::args::{option, yes};
use super::super::output::{Failed, note, print};
use super::{
    Call, Outcome, config_update, expires_in, failed, name_in_config, profile_id, provider, replace,
};

const NOTICE: &str = "Anthropic setup-tokens work with this program for technical compatibility \
    only. Anthropic has restricted subscription use outside Claude Code for some accounts in the \
    past. Check the current terms; an API key is the safe choice for production.";
const SETUP_TOKEN: &str = "sk-ant-oat01-";

pub(super) fn setup_token_arguments() -> Vec<Arg> {
    vec![
        provider().value_parser(["anthropic"]),
        option(
            "name",
            "NAME",
            "What you call this account; becomes part of the profile id",
        ),
        profile_id(),
        expires_in(),
        yes(),
        replace(),
        config_update(),
    ]
}

pub(super) fn token_arguments() -> Vec<Arg> {
    vec![
        provider().required(true),
        profile_id(),
        expires_in(),
        replace(),
        config_update(),
    ]
}

pub(super) fn api_key_arguments() -> Vec<Arg> {
    vec![
        provider().required(true),
        profile_id(),
        replace(),
        config_update(),
    ]
}

/// `models auth setup-token`.
pub(super) fn setup_token(call: &Call<'_>) -> Outcome {
    note(NOTICE);
    let interactive = call.is_interactive();
    if interactive && !call.agrees("Store a setup-token?", false)? {
        return Err(failed(openclaw_auth::Error::new(
            Code::Cancelled,
            "cancelled; nothing was stored",
        )));
    }
    let pasted = call.ask_secret("Paste the setup-token")?;
    let token = check_setup_token(pasted.expose()).map_err(failed)?;
    let name = match (call.text("name"), call.text("profile-id")) {
        (Some(name), _) => name.to_owned(),
        (None, None) if interactive => call.ask("Name for this account (empty: default)")?,
        _ => String::new(),
    };
    let id = call.text("profile-id").map_or_else(
        || format!("anthropic:{}", profile_slug(&name)),
        str::to_owned,
    );
    if call.number("expires-in").is_none() {
        note("tip: add `--expires-in 365d` to be warned before it expires");
    }
    store(call, "anthropic", &id, CredentialKind::Token, token)
}

/// `models auth paste-token`.
pub(super) fn token(call: &Call<'_>) -> Outcome {
    token_for(call, call.text("provider").unwrap_or_default())
}

/// Stores a bearer token for a provider.
pub(super) fn token_for(call: &Call<'_>, provider: &str) -> Outcome {
    let pasted = call.ask_secret("Paste the token")?;
    let token = required(&pasted)?;
    let is_setup_token = provider == "anthropic" && token.starts_with(SETUP_TOKEN);
    if let (true, Err(problem)) = (is_setup_token, check_setup_token(&token)) {
        note(&format!("warning: {}", problem.message()));
    }
    store(
        call,
        provider,
        &manual_id(call, provider),
        CredentialKind::Token,
        token,
    )
}

/// `models auth paste-api-key`.
pub(super) fn api_key(call: &Call<'_>) -> Outcome {
    api_key_for(call, call.text("provider").unwrap_or_default())
}

/// Stores an API key for a provider.
pub(super) fn api_key_for(call: &Call<'_>, provider: &str) -> Outcome {
    let pasted = call.ask_secret("Paste the API key")?;
    let key = required(&pasted)?;
    if provider == "anthropic" && key.starts_with(SETUP_TOKEN) {
        let message = "this is a setup-token; use `models auth setup-token`";
        return Err(failed(openclaw_auth::Error::new(
            Code::OauthInputInvalid,
            message,
        )));
    }
    store(
        call,
        provider,
        &manual_id(call, provider),
        CredentialKind::ApiKey,
        key,
    )
}

fn required(pasted: &SecretText) -> Result<String, Failed> {
    let clean = clean_pasted(pasted.expose());
    if clean.is_empty() {
        return Err(failed(openclaw_auth::Error::new(
            Code::EmptyInput,
            "no token was given",
        )));
    }
    Ok(clean)
}

fn manual_id(call: &Call<'_>, provider: &str) -> String {
    call.text("profile-id")
        .map_or_else(|| format!("{provider}:manual"), str::to_owned)
}

fn store(
    call: &Call<'_>,
    provider: &str,
    id: &str,
    kind: CredentialKind,
    secret: String,
) -> Outcome {
    let engine = call.open()?;
    let agent = call.text("agent");
    // A token takes the place of a token; a key takes the place of the same key only.
    let same_kind = engine.profile_kind(agent, id).map_err(failed)? == Some(kind);
    let ends = call.number("expires-in");
    let credential = NewCredential {
        id: id.to_owned(),
        provider: provider.to_owned(),
        kind,
        material: ProfileMaterial::Inline(SecretText::new(secret)),
        expires: ends.map(|ms| call.now_ms().saturating_add(ms)),
        email: None,
        display_name: None,
        replace: call.flag("replace") || (same_kind && kind == CredentialKind::Token),
    };
    engine.add_profile(agent, &credential).map_err(failed)?;
    name_in_config(call, &engine, (id, provider, kind.as_str()), None);
    print(&format!(
        "Auth profile: {id} ({provider}/{})",
        kind.as_str()
    ));
    Ok(0)
}
