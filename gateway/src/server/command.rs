//! `POST /_auth/command`: the `/model` directive for callers who have no chat of their own.

use std::fmt::Write as _;
use std::sync::Arc;

use openclaw_auth::{Code, Directive, Error};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::core_api::{Core, Identity};
use super::failure::Failure;
use super::session;

/// What a caller asks for: `{"session": "main", "text": "/model …", "fingerprint": "…"}`. The
/// fingerprint is that of the list in which the caller has seen a number.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    session: Option<String>,
    text: String,
    fingerprint: Option<String>,
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    ///
    /// `invalid_argument`.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(body).map_err(|_| {
            Failure::new(Code::InvalidArgument).with_status(400).with_message(
                "a command is a JSON object with `text`, and perhaps `session` and `fingerprint`",
            )
        })
    }

    /// Carries it out. `session` is where it belongs when it names none.
    ///
    /// # Errors
    ///
    /// `unknown_command`, `session_invalid`, and those of the directive.
    pub(crate) async fn run(
        self,
        core: &Arc<dyn Core>,
        identity: &Identity,
        session: Option<String>,
    ) -> Result<Value, Failure> {
        let session = match (&self.session, session) {
            (Some(key), _) => session::named(key, identity)?,
            (None, Some(session)) => session,
            (None, None) => session::named("main", identity)?,
        };
        let core = Arc::clone(core);
        // The store may have to be read.
        let done = spawn_blocking(move || {
            let shown = self.fingerprint.as_deref();
            let reply = core.command(&session, &self.text, shown)?;
            Ok(reply.map(|reply| {
                let selection = session::selection(&*core, &reply.session);
                let mut answer = json!({
                    "ok": true,
                    "text": text(&reply.directive, &reply.view),
                    "selection": selection,
                });
                if matches!(reply.directive, Directive::List | Directive::Status)
                    && let Value::Object(members) = &mut answer
                {
                    members.insert("view".to_owned(), reply.view);
                }
                answer
            }))
        });
        match done.await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(Code::UnknownCommand.into()),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(Code::InternalError.into()),
        }
    }
}

/// A directive that cannot be carried out is the caller's mistake, and its message is for them.
fn refused(error: &Error) -> Failure {
    let failure = Failure::new(error.code());
    match error.class() {
        openclaw_auth::Class::Store => failure,
        _ => failure
            .with_status(400)
            .with_message(error.message().to_owned()),
    }
}

/// What a person reads.
fn text(directive: &Directive, view: &Value) -> String {
    let part = |key: &str| view.get(key).and_then(Value::as_str);
    let model = part("model").unwrap_or("none");
    let current = match part("profile") {
        Some(profile) => format!("{model} with {profile}"),
        None => model.to_owned(),
    };
    match directive {
        Directive::List => list(view),
        Directive::Status => format!("Current: {current}\n{}{}", list(view), credentials(view)),
        Directive::Show => format!("Current: {current}\nUse /model list or /model <number>."),
        Directive::Reset => format!("Back to the default: {current}"),
        _ => format!("Selected: {current}"),
    }
}

fn list(view: &Value) -> String {
    let mut text = String::new();
    let rows = view.get("models").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        let part = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_current = row.get("current") == Some(&Value::Bool(true));
        let mark = if is_current { "*" } else { " " };
        let number = row.get("number").and_then(Value::as_u64).unwrap_or(0);
        let aliases: Vec<&str> = row
            .get("aliases")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let aliases = match aliases.is_empty() {
            true => String::new(),
            false => format!(" ({})", aliases.join(", ")),
        };
        let availability = part("availability");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{mark}{number}. {}{aliases} - {availability}",
            part("model")
        );
    }
    text
}

fn credentials(view: &Value) -> String {
    let mut text = String::new();
    for (key, kind) in [("profiles", "type"), ("env", "kind")] {
        let rows = view.pointer(&format!("/credentials/{key}"));
        let rows = rows.and_then(Value::as_array);
        for row in rows.into_iter().flatten() {
            let part = |key: &str| row.get(key).and_then(Value::as_str);
            let state = match (row.get("unavailableUntil"), part("reasonCode")) {
                (Some(Value::Number(_)), _) => part("reason").unwrap_or("unavailable"),
                (_, Some(code)) => code,
                _ => "ok",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{} ({}, {}) - {state}",
                part("id").unwrap_or_default(),
                part(kind).unwrap_or_default(),
                part("masked").unwrap_or("none"),
            );
        }
    }
    text
}
