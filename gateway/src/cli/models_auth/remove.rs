//! `models auth remove` and `models auth cooldown clear`.

use clap::{Arg, ArgAction};
use openclaw_auth::{Clear, Code, CredentialKind, Engine, Error, suggestions};
use serde_json::{Value, json};

use super::super::args::{flag, json as json_flag, option, yes};
use super::super::edits::report_edit;
use super::super::output::{Failed, note, print, print_json};
use super::super::tree::{Node, plain};
use super::add::id_argument;
use super::{Call, Outcome, failed, provider};

pub(super) const REMOVE: Node = Node {
    name: "remove",
    about: "Delete a profile",
    build: |command| {
        command.visible_alias("logout").args([
            id_argument(),
            yes(),
            flag("keep-config", "Leave its name in openclaw.json"),
            json_flag(),
        ])
    },
    run: Some(remove),
    below: &[],
};

pub(super) const COOLDOWN: Node = Node {
    name: "cooldown",
    about: "Times in which a profile is not used",
    build: plain,
    run: None,
    below: &[Node {
        name: "clear",
        about: "End them now",
        build: |command| {
            command.args([
                Arg::new("ids")
                    .value_name("PROFILE")
                    .help("Profile ids")
                    .action(ArgAction::Append),
                provider().conflicts_with_all(["ids", "all"]),
                flag("all", "All profiles").conflicts_with("ids"),
                option(
                    "what",
                    "WHAT",
                    "all, cooldown, disabled or models [default: all]",
                )
                .value_parser(["all", "cooldown", "disabled", "models"])
                .hide_possible_values(true),
                json_flag(),
            ])
        },
        run: Some(clear),
        below: &[],
    }],
};

/// `models auth remove`.
fn remove(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let id = call.text("id").unwrap_or_default();
    let known = profiles(call, &engine, None)?;
    let Some((_, provider)) = known.iter().find(|(known, _)| known == id) else {
        return Err(unknown(id, &known));
    };
    if !call.agrees(&format!("Delete {id} ({provider})?"), false)? {
        note("Nothing was deleted.");
        return Ok(1);
    }
    let kind = engine.profile_kind(call.agent(), id).map_err(failed)?;
    engine.remove_profile(call.agent(), id).map_err(failed)?;
    let updated = !call.flag("keep-config") && report_edit(engine.unname_profile_in_config(id));
    if kind == Some(CredentialKind::OAuth) {
        note("The login itself stays valid at the provider until it is revoked there.");
    }
    match call.json() {
        true => print_json(&json!({
            "profileId": id, "provider": provider, "removed": true, "configUpdated": updated,
        })),
        false => print(&format!("Removed auth profile: {id}")),
    }
    Ok(0)
}

/// `models auth cooldown clear`.
fn clear(call: &Call<'_>) -> Outcome {
    let ids: Vec<&String> = call
        .matches()
        .get_many("ids")
        .into_iter()
        .flatten()
        .collect();
    let wanted = call.text("provider");
    if ids.is_empty() && wanted.is_none() && !call.flag("all") {
        let message = "name profiles, or use --provider or --all";
        return Err(Failed::usage(Code::UsageError, message));
    }
    let engine = call.open()?;
    let known = profiles(call, &engine, wanted)?;
    let chosen: Vec<&str> = match ids.is_empty() {
        true => known.iter().map(|(id, _)| id.as_str()).collect(),
        false => ids.iter().map(|id| id.as_str()).collect(),
    };
    if let Some(id) = chosen
        .iter()
        .find(|id| !known.iter().any(|(known, _)| known == *id))
    {
        return Err(unknown(id, &known));
    }
    let before = engine.profiles_json(call.agent(), None).map_err(failed)?;
    let what = call
        .text("what")
        .and_then(Clear::parse)
        .unwrap_or(Clear::All);
    for id in &chosen {
        engine
            .clear_cooldown(call.agent(), Some(id), what)
            .map_err(failed)?;
    }
    let after = engine.profiles_json(call.agent(), None).map_err(failed)?;
    let cleared: Vec<&str> = chosen
        .into_iter()
        .filter(|id| windows(&before, id) != windows(&after, id))
        .collect();
    match (call.json(), cleared.as_slice()) {
        (true, _) => print_json(&json!({"cleared": cleared})),
        (false, []) => print("Nothing to clear."),
        (false, cleared) => {
            let line = format!("Cleared: {}", cleared.join(", "));
            print(&call.layout().wrap(&line, "  "));
        }
    }
    Ok(0)
}

/// What keeps a profile from being used, for comparing.
fn windows<'v>(document: &'v Value, id: &str) -> Option<[Option<&'v Value>; 3]> {
    let profiles = document.get("profiles")?.as_array()?;
    let profile = profiles
        .iter()
        .find(|p| p.get("id").and_then(Value::as_str) == Some(id))?;
    Some(["unavailableUntil", "models", "errorCount"].map(|key| profile.get(key)))
}

/// Ids and providers of the stored profiles.
fn profiles(
    call: &Call<'_>,
    engine: &Engine,
    provider: Option<&str>,
) -> Result<Vec<(String, String)>, Failed> {
    let document = engine
        .profiles_json(call.agent(), provider)
        .map_err(failed)?;
    let profiles = document.get("profiles").and_then(Value::as_array);
    let text = |profile: &Value, key: &str| Some(profile.get(key)?.as_str()?.to_owned());
    let profiles = profiles.into_iter().flatten();
    let profiles = profiles.filter_map(|p| Some((text(p, "id")?, text(p, "provider")?)));
    Ok(profiles.collect())
}

fn unknown(id: &str, known: &[(String, String)]) -> Failed {
    let error = Error::new(
        Code::ProfileNotFound,
        format!("Auth profile \"{id}\" not found."),
    );
    let near = suggestions(id, known.iter().map(|(known, _)| known.as_str()));
    match near.is_empty() {
        true => failed(error),
        false => failed(error).with_hint(format!("did you mean {}?", near.join(" or "))),
    }
}
