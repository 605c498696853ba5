//! Which of the gateway's own credentials are needed.

use serde_json::Value;

use super::condition::{Activity, Context, is_set};
use crate::json::Path;

/// The four paths.
pub(super) const PATHS: [&str; 4] = [
    "gateway.auth.token",
    "gateway.auth.password",
    "gateway.remote.token",
    "gateway.remote.password",
];

/// Whether a gateway credential is active; in both cases what decided it.
pub(super) fn decide(context: &Context<'_>, path: &str) -> Result<String, String> {
    let set = |path: &str| is_set(context.dotted(path));
    let mode = context
        .dotted("gateway.auth.mode")
        .and_then(Value::as_str)
        .map(str::trim);
    let env_token = context.env.non_blank("OPENCLAW_GATEWAY_TOKEN").is_some();
    let env_password = context.env.non_blank("OPENCLAW_GATEWAY_PASSWORD").is_some();
    let (auth_token, auth_password) = (set("gateway.auth.token"), set("gateway.auth.password"));
    let token_allowed = !matches!(mode, Some("password" | "none" | "trusted-proxy"));
    let mode_text = match mode {
        Some(mode) => format!("gateway.auth.mode is \"{mode}\""),
        None => "gateway.auth.mode is not set".to_owned(),
    };

    let token_source = [
        (env_token, "OPENCLAW_GATEWAY_TOKEN is set"),
        (auth_token, "gateway.auth.token is configured"),
        (
            set("gateway.remote.token"),
            "gateway.remote.token is configured",
        ),
    ];
    let token_source = token_source.iter().find(|(there, _)| *there);
    let password_wins = mode == Some("password") || (mode.is_none() && token_source.is_none());
    let token_wins = || token_source.map_or(mode_text.clone(), |(_, what)| (*what).to_owned());
    let remote_surface = if context.folded("gateway.mode", "") == "remote" {
        Some("gateway.mode is \"remote\"".to_owned())
    } else if set("gateway.remote.url") {
        Some("gateway.remote.url is configured".to_owned())
    } else {
        let tailscale = context.folded("gateway.tailscale.mode", "");
        matches!(tailscale.as_str(), "serve" | "funnel")
            .then(|| format!("gateway.tailscale.mode is \"{tailscale}\""))
    };
    let no = |reason: &str| Err(reason.to_owned());
    match path {
        "gateway.auth.token" if !token_allowed => Err(mode_text),
        "gateway.auth.token" if env_token => no("OPENCLAW_GATEWAY_TOKEN is set"),
        "gateway.auth.token" if mode == Some("token") => Ok(mode_text),
        "gateway.auth.token" if env_password => no("OPENCLAW_GATEWAY_PASSWORD is set"),
        "gateway.auth.token" if auth_password => no("gateway.auth.password is configured"),
        "gateway.auth.token" => Ok(mode_text),
        "gateway.auth.password" if password_wins => Ok(mode_text),
        "gateway.auth.password" if mode.is_none() => Err(token_wins()),
        "gateway.auth.password" => Err(mode_text),
        "gateway.remote.token" | "gateway.remote.password" if remote_surface.is_some() => {
            Ok(remote_surface.unwrap_or_default())
        }
        "gateway.remote.token" if !token_allowed => Err(mode_text),
        "gateway.remote.token" if env_token => no("OPENCLAW_GATEWAY_TOKEN is set"),
        "gateway.remote.token" if auth_token => no("gateway.auth.token is configured"),
        "gateway.remote.password" if !password_wins && mode.is_none() => Err(token_wins()),
        "gateway.remote.password" if !password_wins => Err(mode_text),
        "gateway.remote.password" if env_password => no("OPENCLAW_GATEWAY_PASSWORD is set"),
        "gateway.remote.password" if auth_password => no("gateway.auth.password is configured"),
        _ => Ok(mode_text),
    }
}

pub(super) fn activity(context: &Context<'_>, path: &Path) -> Activity {
    decide(context, &path.to_string()).map(drop)
}
