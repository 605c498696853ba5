//! Storing a credential that a person pastes.

use clap::{Arg, ArgMatches};
use openclaw_auth::{
    Code, CredentialKind, NewCredential, ProfileMaterial, SecretText, check_setup_token,
    clean_pasted, profile_slug,
};

use super::super::output::{Failed, print, print_to_stderr};
use super::super::{flag, option};
use super::prompt;
use super::{
    Outcome, config_update, expires_in, failed, name_in_config, now_ms, open, profile_id, provider,
    replace, text,
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
        flag("yes", "Do not ask for confirmation"),
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
pub(super) fn setup_token(matches: &ArgMatches) -> Outcome {
    print_to_stderr(NOTICE);
    let interactive = prompt::is_terminal();
    if interactive && !matches.get_flag("yes") && !prompt::agrees("Store a setup-token?")? {
        return Err(failed(openclaw_auth::Error::new(
            Code::OauthLoginCancelled,
            "nothing was stored",
        )));
    }
    let pasted = prompt::secret("Paste the setup-token")?;
    let token = check_setup_token(pasted.expose()).map_err(failed)?;
    let name = match (text(matches, "name"), text(matches, "profile-id")) {
        (Some(name), _) => name.to_owned(),
        (None, None) if interactive => prompt::line("Name for this account (empty: default)")?,
        _ => String::new(),
    };
    let id = text(matches, "profile-id").map_or_else(
        || format!("anthropic:{}", profile_slug(&name)),
        str::to_owned,
    );
    if matches.get_one::<u64>("expires-in").is_none() {
        print_to_stderr("tip: add `--expires-in 365d` to be warned before it expires");
    }
    store(matches, "anthropic", &id, CredentialKind::Token, token)
}

/// `models auth paste-token`.
pub(super) fn token(matches: &ArgMatches) -> Outcome {
    let provider = text(matches, "provider").unwrap_or_default();
    let pasted = prompt::secret("Paste the token")?;
    let token = required(&pasted)?;
    let is_setup_token = provider == "anthropic" && token.starts_with(SETUP_TOKEN);
    if let (true, Err(problem)) = (is_setup_token, check_setup_token(&token)) {
        print_to_stderr(&format!("warning: {}", problem.message()));
    }
    store(
        matches,
        provider,
        &manual_id(matches, provider),
        CredentialKind::Token,
        token,
    )
}

/// `models auth paste-api-key`.
pub(super) fn api_key(matches: &ArgMatches) -> Outcome {
    let provider = text(matches, "provider").unwrap_or_default();
    let pasted = prompt::secret("Paste the API key")?;
    let key = required(&pasted)?;
    if provider == "anthropic" && key.starts_with(SETUP_TOKEN) {
        let message = "this is a setup-token; use `models auth setup-token`";
        return Err(failed(openclaw_auth::Error::new(
            Code::OauthInputInvalid,
            message,
        )));
    }
    store(
        matches,
        provider,
        &manual_id(matches, provider),
        CredentialKind::ApiKey,
        key,
    )
}

fn required(pasted: &SecretText) -> Result<String, Failed> {
    let clean = clean_pasted(pasted.expose());
    if clean.is_empty() {
        return Err(failed(openclaw_auth::Error::new(
            Code::OauthInputInvalid,
            "Required",
        )));
    }
    Ok(clean)
}

fn manual_id(matches: &ArgMatches, provider: &str) -> String {
    text(matches, "profile-id").map_or_else(|| format!("{provider}:manual"), str::to_owned)
}

fn store(
    matches: &ArgMatches,
    provider: &str,
    id: &str,
    kind: CredentialKind,
    secret: String,
) -> Outcome {
    let engine = open(matches)?;
    let agent = text(matches, "agent");
    // A token takes the place of a token; a key takes the place of the same key only.
    let same_kind = engine.profile_kind(agent, id).map_err(failed)? == Some(kind);
    let ends = matches.try_get_one::<u64>("expires-in").ok().flatten();
    let credential = NewCredential {
        id: id.to_owned(),
        provider: provider.to_owned(),
        kind,
        material: ProfileMaterial::Inline(SecretText::new(secret)),
        expires: ends.map(|ms| now_ms().saturating_add(*ms)),
        email: None,
        display_name: None,
        replace: matches.get_flag("replace") || (same_kind && kind == CredentialKind::Token),
    };
    engine.add_profile(agent, &credential).map_err(failed)?;
    name_in_config(matches, &engine, (id, provider, kind.as_str()), None);
    print(&format!(
        "Auth profile: {id} ({provider}/{})",
        kind.as_str()
    ));
    Ok(0)
}
