//! `models auth add`: any key or token, from wherever it is.

use clap::{Arg, ArgGroup, Command};
use openclaw_auth::{
    Code, CredentialKind, Error, NewCredential, ProfileMaterial, SecretRef, SecretText,
    clean_pasted,
};

use super::super::args::{flag, json, option, path};
use super::super::output::{Failed, print, print_json};
use super::{
    Call, Outcome, config_update, expires_in, failed, name_in_config, profile_id, provider, replace,
};

const MAX_FILE: u64 = 64 * 1024;

pub(super) fn build(command: Command) -> Command {
    command
        .args([
            provider(),
            option("type", "KIND", "api_key or token [default: api_key]")
                .value_parser(["api_key", "token"])
                .hide_possible_values(true),
            profile_id(),
        ])
        .next_help_heading("Where the secret is (default: asked for, or standard input)")
        .args([
            flag("stdin", "Standard input"),
            path("from-file", "FILE", "A file that holds nothing else"),
            option("from-env", "NAME", "A variable, whose value is stored"),
            option(
                "ref",
                "SOURCE:PROVIDER:ID",
                "A reference, which is looked up at each start",
            ),
        ])
        .next_help_heading(None)
        .args([
            expires_in(),
            option("email", "EMAIL", "Label"),
            option("display-name", "NAME", "Label"),
            replace(),
            config_update(),
            json(),
        ])
        .group(ArgGroup::new("from").args(["stdin", "from-file", "from-env", "ref"]))
}

/// `models auth add`.
pub(super) fn run(call: &Call<'_>) -> Outcome {
    let provider = match call.text("provider") {
        Some(provider) => provider.to_owned(),
        None if call.is_interactive() => call.ask("Provider, such as openai")?,
        None => return Err(Failed::usage(Code::UsageError, "--provider is missing")),
    };
    let kind = match call.text("type") {
        Some("token") => CredentialKind::Token,
        _ => CredentialKind::ApiKey,
    };
    if call.number("expires-in").is_some() && kind == CredentialKind::ApiKey {
        let message = "--expires-in needs --type token";
        return Err(Failed::usage(Code::UsageError, message));
    }
    let engine = call.open()?;
    let material = material(call)?;
    let id = call
        .text("profile-id")
        .map_or_else(|| format!("{provider}:default"), str::to_owned);
    let email = call.text("email");
    let ends = call
        .number("expires-in")
        .map(|ms| call.now_ms().saturating_add(ms));
    let credential = NewCredential {
        id: id.clone(),
        provider: provider.clone(),
        kind,
        material,
        expires: ends,
        email: email.map(str::to_owned),
        display_name: call.text("display-name").map(str::to_owned),
        replace: call.flag("replace"),
    };
    let added = engine.add_profile(call.agent(), &credential);
    added.map_err(|error| {
        let exists = error.code() == Code::ProfileExists;
        match exists && error.hint().is_none() {
            true => failed(error).with_hint("add --replace to put the new one in its place"),
            false => failed(error),
        }
    })?;
    let named = (id.as_str(), provider.as_str(), kind.as_str());
    let updated = name_in_config(call, &engine, named, email);
    match call.json() {
        true => print_json(&serde_json::json!({
            "profileId": id,
            "provider": provider,
            "type": kind.as_str(),
            "expiresAt": ends,
            "configUpdated": updated,
        })),
        false => print(&format!(
            "Auth profile: {id} ({provider}/{})",
            kind.as_str()
        )),
    }
    Ok(0)
}

fn material(call: &Call<'_>) -> Result<ProfileMaterial, Failed> {
    if let Some(text) = call.text("ref") {
        let reference = SecretRef::parse(text);
        let message = format!("--ref: `{text}` is not source:provider:id, such as env:default:KEY");
        let reference = reference.ok_or_else(|| Failed::usage(Code::UsageError, &message))?;
        return Ok(ProfileMaterial::Reference(reference));
    }
    let text = if let Some(name) = call.text("from-env") {
        let value = call.host.env.vars().get(name);
        let message = format!("the variable {name} is not set");
        let missing = || failed(Error::new(Code::EmptyInput, message));
        SecretText::from_zeroizing(value.cloned().ok_or_else(missing)?)
    } else if let Some(path) = call.path("from-file") {
        SecretText::from_zeroizing(call.read(&path, MAX_FILE)?)
    } else {
        call.ask_secret("Paste the secret")?
    };
    let clean = clean_pasted(text.expose());
    match clean.is_empty() {
        true => Err(failed(Error::new(Code::EmptyInput, "the secret is empty"))),
        false => Ok(ProfileMaterial::Inline(SecretText::new(clean))),
    }
}

/// The id of a profile, as an argument.
pub(super) fn id_argument() -> Arg {
    Arg::new("id")
        .value_name("PROFILE")
        .help("Profile id")
        .required(true)
}
