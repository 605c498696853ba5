//! Refreshing OAuth profiles on demand.

use clap::{Arg, ArgAction};
use openclaw_auth::{Code, Error};
use serde_json::{Value, json};

use super::super::args::{flag, json as json_flag};
use super::super::output::{Failed, print, print_json};
use super::{Call, Outcome, failed, provider, span};

pub(super) fn arguments() -> Vec<Arg> {
    vec![
        Arg::new("ids")
            .value_name("PROFILE")
            .help("Profile ids")
            .action(ArgAction::Append),
        provider().conflicts_with_all(["ids", "all"]),
        flag("all", "All OAuth profiles").conflicts_with("ids"),
        flag("force", "Refresh tokens that are still fresh too"),
        json_flag(),
    ]
}

/// `models auth refresh`.
pub(super) fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let ids: Vec<&String> = matches.get_many("ids").into_iter().flatten().collect();
    let wanted = call.text("provider");
    if ids.is_empty() && wanted.is_none() && !matches.get_flag("all") {
        let message = "name profiles, or use --provider or --all";
        return Err(Failed::usage(Code::UsageError, message));
    }
    let engine = call.open()?;
    let agent = call.text("agent");
    let known = engine.oauth_profiles(agent).map_err(failed)?;
    let chosen: Vec<(String, String)> = if ids.is_empty() {
        let fits = |provider: &str| wanted.is_none_or(|wanted| wanted == provider);
        known
            .into_iter()
            .filter(|(_, provider)| fits(provider))
            .collect()
    } else {
        let provider_of = |id: &String| known.iter().find(|(known, _)| known == id);
        ids.into_iter()
            .map(|id| {
                provider_of(id)
                    .cloned()
                    .unwrap_or((id.clone(), String::new()))
            })
            .collect()
    };
    if chosen.is_empty() {
        let message = "there is no OAuth profile to refresh";
        return Err(failed(Error::new(Code::ProfileNotFound, message)));
    }
    let force = matches.get_flag("force");
    let mut results = Vec::new();
    let mut exit = 0;
    for (id, provider) in chosen {
        let mut result = json!({"profileId": id, "provider": provider, "refreshed": false});
        let line = match engine.oauth_token(agent, &id, 0, force) {
            Ok(token) => {
                let refreshed = ["refreshed", "adopted"].contains(&token.source.as_str());
                let ends = token
                    .expires
                    .map(|at| span(at.saturating_sub(call.now_ms())));
                set(&mut result, "refreshed", refreshed.into());
                set(&mut result, "expiresAt", token.expires.into());
                if let Some(warning) = &token.warning {
                    exit = 1;
                    set(&mut result, "error", warning.to_json());
                }
                match (&token.warning, refreshed, ends) {
                    (Some(warning), ..) => format!("{} ({})", warning.message(), warning.code()),
                    (None, true, Some(ends)) => format!("refreshed, expires in {ends}"),
                    (None, true, None) => "refreshed".to_owned(),
                    (None, false, Some(ends)) => format!("still valid ({ends})"),
                    (None, false, None) => "still valid".to_owned(),
                }
            }
            Err(error) => {
                exit = 1;
                set(&mut result, "error", error.to_json());
                format!("{} ({})", error.message(), error.code())
            }
        };
        if !matches.get_flag("json") {
            print(&format!("{id}: {line}"));
        }
        results.push(result);
    }
    if matches.get_flag("json") {
        print_json(&json!({"results": results}));
    }
    Ok(exit)
}

fn set(result: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = result {
        map.insert(key.to_owned(), value);
    }
}
