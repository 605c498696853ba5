//! `openclaw-auth models auth`: signing in, pasting credentials, refreshing.

mod add;
mod list;
mod login;
mod order;
mod paste;
mod refresh;
mod remove;

use clap::Arg;
use openclaw_auth::{ConfigUpdate, Engine, Error};

use super::args::{duration, flag, option};
use super::call::Call;
use super::edits::report_edit;
use super::output::Failed;
use super::tree::{Node, Outcome, plain};

pub(super) const NODE: Node = Node {
    name: "auth",
    about: "Credentials of model providers",
    build: plain,
    run: None,
    below: &[
        Node {
            name: "list",
            about: "List profiles and keys of the environment",
            build: |command| command.args(list::arguments()),
            run: Some(list::run),
            below: &[],
        },
        Node {
            name: "add",
            about: "Store a key, a token, or a reference to one",
            build: add::build,
            run: Some(add::run),
            below: &[],
        },
        remove::REMOVE,
        order::NODE,
        remove::COOLDOWN,
        Node {
            name: "login",
            about: "Sign in to a model provider",
            build: |command| command.args(login::arguments()),
            run: Some(login::run),
            below: &[],
        },
        Node {
            name: "setup-token",
            about: "Store a setup-token of Anthropic",
            build: |command| command.args(paste::setup_token_arguments()),
            run: Some(paste::setup_token),
            below: &[],
        },
        Node {
            name: "paste-token",
            about: "Store a bearer token",
            build: |command| command.args(paste::token_arguments()),
            run: Some(paste::token),
            below: &[],
        },
        Node {
            name: "paste-api-key",
            about: "Store an API key",
            build: |command| command.args(paste::api_key_arguments()),
            run: Some(paste::api_key),
            below: &[],
        },
        Node {
            name: "refresh",
            about: "Refresh OAuth profiles",
            build: |command| command.args(refresh::arguments()),
            run: Some(refresh::run),
            below: &[],
        },
    ],
};

fn provider() -> Arg {
    option("provider", "ID", "Model provider")
}

fn profile_id() -> Arg {
    option("profile-id", "ID", "Profile id, such as anthropic:work")
}

fn replace() -> Arg {
    flag("replace", "Replace a profile of another kind")
}

fn expires_in() -> Arg {
    duration(
        "expires-in",
        "How long it works, such as 365d, 12h, 90m",
        "d",
    )
}

fn config_update() -> Arg {
    option(
        "config-update",
        "WHEN",
        "Whether the profile is named in openclaw.json",
    )
    .value_parser(["auto", "always", "never"])
}

fn failed(error: Error) -> Failed {
    Failed::of_command(error)
}

/// Names a stored profile in the configuration where that is needed. Never fails: the credential
/// is stored already.
fn name_in_config(
    call: &Call<'_>,
    engine: &Engine,
    profile: (&str, &str, &str),
    email: Option<&str>,
) -> bool {
    let update = match call.text("config-update") {
        Some("always") => ConfigUpdate::Always,
        Some("never") => ConfigUpdate::Never,
        _ => ConfigUpdate::Auto,
    };
    report_edit(engine.name_profile_in_config(profile, email, update))
}

/// A time until then, for people: `10d`, `3h`, `25m`, `40s`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        172_800.. => format!("{}d", seconds / 86_400),
        7_200.. => format!("{}h", seconds / 3_600),
        120.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_checks_its_values() {
        let paste = &["auth", "paste-token", "--provider", "a", "--expires-in"][..];
        for (line, fine) in [
            (&["auth", "refresh", "--all"][..], true),
            (&["auth", "setup-token", "--expires-in", "1d12h"], true),
            (&[paste, &["1d 2h"]].concat(), false),
            (&[paste, &["0"]].concat(), false),
            (&[paste, &["7"]].concat(), true),
            (&["auth", "paste-token"], false),
            (&["auth", "login", "--bogus"], false),
            (&["auth", "login", "--browser", "--no-browser"], false),
        ] {
            let parsed = NODE.command().try_get_matches_from(line);
            assert_eq!(parsed.is_ok(), fine, "{line:?}");
        }
    }

    #[test]
    fn spans_are_short() {
        for (ms, shown) in [
            (0, "0s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (864_000_000, "10d"),
        ] {
            assert_eq!(span(ms), shown);
        }
    }
}
