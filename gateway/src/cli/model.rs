//! `openclaw-auth model`: the `/model` command of a chat, without the chat.
//!
//! What is selected is kept per session in `openclaw-auth/sessions.json` of the state folder, or
//! in a session store of OpenClaw, of which only the entry at hand is changed.

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use openclaw_auth::report::short;
use openclaw_auth::{ChatReply, Code, Directive, Engine, Error, SessionEntry};
use serde_json::{Map, Value, json};

use super::args::{agent, flag, json as json_flag, option, path};
use super::call::Call;
use super::output::{Failed, print, print_json};
use super::style::{Role, Style};
use super::table::{Cell, table};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "model",
    about: "Choose the model of a session, as /model does in a chat",
    build: arguments,
    run: Some(run),
    below: &[],
};

const MAX_FILE: u64 = 16 << 20;
const FOLDER_MODE: u32 = 0o700;

fn arguments(command: Command) -> Command {
    command
        .args([
            Arg::new("directive")
                .value_name("DIRECTIVE")
                .help("A model, a number, list, status or default; nothing shows the selection"),
            agent(),
            option("session", "KEY", "Session [default: main]"),
            flag(
                "offline",
                "Accepted; the selection is always kept in a file",
            ),
            path(
                "sessions-file",
                "FILE",
                "Session store of OpenClaw to change an entry of",
            ),
            option("fingerprint", "HEX", "The list that a number refers to"),
            json_flag(),
        ])
        .after_help(
            "Examples:\n  openclaw-auth model list\n  openclaw-auth model 3\n  \
             openclaw-auth model Opus@anthropic:work --session s1",
        )
}

/// `model`.
fn run(call: &Call<'_>) -> Outcome {
    let key = call.text("session").unwrap_or("main");
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._:@/-".contains(c);
    if key.is_empty() || key.len() > 128 || !key.chars().all(is_fine) {
        let message = "--session: only letters, digits and . _ : @ / - may be in it";
        return Err(Failed::usage(Code::UsageError, message));
    }
    let engine = call.open()?;
    let document = engine.profiles_json(call.agent(), None).map_err(failed)?;
    let agent = document
        .get("agentId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut kept = Kept::read(call, &engine, agent, key)?;
    engine.set_session(&kept.name, kept.entry());

    let given = call.text("directive").unwrap_or_default().trim();
    let message = match given.starts_with('/') {
        true => given.to_owned(),
        false => format!("/model {given}"),
    };
    let shown = call.text("fingerprint");
    let reply = engine.chat(&kept.name, call.agent(), &message, shown);
    let reply = reply.and_then(|reply| {
        let message = format!("`{given}` is no /model directive");
        reply.ok_or_else(|| Error::new(Code::DirectiveInvalid, message))
    });
    let reply = match (reply, call.json()) {
        (Ok(reply), _) => reply,
        (Err(error), true) => {
            let code = error.code().as_str();
            print_json(&json!({
                "ok": false, "text": error.message(),
                "error": {"code": code, "message": error.message(), "hint": error.hint()},
            }));
            return Ok(1);
        }
        (Err(error), false) => return Err(failed(error)),
    };
    if let Directive::Pick(_) | Directive::Reset | Directive::Select { .. } = reply.directive {
        kept.write(call, &reply.session)?;
    }
    let answer = Answer::new(&engine, call, &reply)?;
    match call.json() {
        true => print_json(&answer.document(&reply)),
        false => print(answer.text(&reply, call).trim_end()),
    }
    Ok(0)
}

/// The file of sessions, and the one session that is meant.
struct Kept {
    file: PathBuf,
    /// The name of the entry.
    name: String,
    root: Map<String, Value>,
    /// A session store of OpenClaw: its entries are the members of the file.
    foreign: bool,
}

impl Kept {
    fn read(call: &Call<'_>, engine: &Engine, agent: &str, key: &str) -> Result<Self, Failed> {
        let foreign = call.path("sessions-file");
        let is_foreign = foreign.is_some();
        let state = engine.snapshot().locations().state.clone();
        let file = foreign.unwrap_or_else(|| state.join("openclaw-auth").join("sessions.json"));
        let root = match call.host.files.stat(&file) {
            Err(_) if !is_foreign => Map::new(),
            _ => {
                let text = call.read(&file, MAX_FILE)?;
                match serde_json::from_str(&text) {
                    Ok(Value::Object(root)) => root,
                    _ => return Err(refuse(&file, "is not a file of sessions")),
                }
            }
        };
        let name = match is_foreign {
            true => key.to_owned(),
            false => format!("{agent}/{key}"),
        };
        let kept = Self {
            file,
            name,
            root,
            foreign: is_foreign,
        };
        if is_foreign && !kept.root.contains_key(&kept.name) {
            return Err(refuse(&kept.file, &format!("has no session \"{key}\"")));
        }
        Ok(kept)
    }

    fn entry(&self) -> SessionEntry {
        let entries = match self.foreign {
            true => Some(&self.root),
            false => self.root.get("sessions").and_then(Value::as_object),
        };
        let entry = entries.and_then(|entries| entries.get(&self.name));
        SessionEntry::from_json(entry.unwrap_or(&Value::Null))
    }

    /// Writes the entry; members of others in it stay.
    fn write(&mut self, call: &Call<'_>, entry: &SessionEntry) -> Result<(), Failed> {
        if !self.foreign {
            self.root.insert("version".to_owned(), 1.into());
        }
        let entries = match self.foreign {
            true => &mut self.root,
            false => {
                let slot = self.root.entry("sessions").or_insert(json!({}));
                if !slot.is_object() {
                    *slot = json!({});
                }
                match slot {
                    Value::Object(entries) => entries,
                    _ => return Ok(()),
                }
            }
        };
        let mut members = match entries.get(&self.name) {
            Some(Value::Object(members)) => members.clone(),
            _ => Map::new(),
        };
        for key in MEMBERS {
            members.shift_remove(key);
        }
        if let Value::Object(new) = entry.to_json() {
            members.extend(new);
        }
        members.insert("updatedAt".to_owned(), call.now_ms().into());
        entries.insert(self.name.clone(), Value::Object(members));
        if let (Some(folder), false) = (self.file.parent(), self.foreign) {
            let made = call.host.files.create_dir_all(folder, FOLDER_MODE);
            made.map_err(|error| refuse(folder, &error.kind().to_string()))?;
        }
        let text = format!("{:#}\n", Value::Object(self.root.clone()));
        call.write(&self.file, &text)
    }
}

/// The members of a session entry that a directive changes.
const MEMBERS: [&str; 5] = [
    "providerOverride",
    "modelOverride",
    "authProfileOverride",
    "authProfileOverrideSource",
    "authProfileOverrideCompactionCount",
];

/// What there is to say about a reply.
struct Answer {
    model: String,
    alias: Option<String>,
    profile: Option<String>,
    source: Option<String>,
    is_default: bool,
    now: u64,
}

impl Answer {
    fn new(engine: &Engine, call: &Call<'_>, reply: &ChatReply) -> Result<Self, Failed> {
        let text = |key: &str| {
            reply
                .view
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let model = text("model").unwrap_or_default();
        let aliases = engine.model_aliases().into_iter();
        let alias = aliases
            .filter(|(_, key)| *key == model)
            .map(|(alias, _)| alias)
            .next();
        let chain = engine.model_chain(call.agent(), None, None);
        let default = chain.ok().and_then(|chain| chain.into_iter().next());
        Ok(Self {
            is_default: default.as_deref() == Some(&model),
            alias,
            profile: text("profile"),
            source: text("profileSource"),
            model,
            now: call.now_ms(),
        })
    }

    /// The model as people call it.
    fn name(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{alias} ({})", self.model),
            None => self.model.clone(),
        }
    }

    /// The sentence of a reply.
    fn sentence(&self, reply: &ChatReply) -> String {
        let pin = self.profile.as_ref();
        match reply.directive {
            Directive::Reset => format!("Model reset to default ({}).", self.model),
            Directive::Pick(_) | Directive::Select { .. } => {
                let pin = pin.map(|pin| format!(" Auth profile set to {pin}."));
                format!("Model set to {}.{}", self.name(), pin.unwrap_or_default())
            }
            _ => format!("Current: {}", self.model),
        }
    }

    fn text(&self, reply: &ChatReply, call: &Call<'_>) -> String {
        let mut text = self.sentence(reply);
        let (style, layout) = (Style::stdout(), call.layout());
        if let Directive::Pick(_) | Directive::Reset | Directive::Select { .. } = reply.directive {
            return layout.wrap(&text, "  ");
        }
        if let Some(pin) = &self.profile {
            let source = self.source.as_deref().unwrap_or("user");
            text.push_str(&format!("\nAuth profile: {pin} (pinned by {source})"));
        }
        if matches!(reply.directive, Directive::List | Directive::Status) {
            text.push('\n');
            text.push_str(&table(&self.rows(reply), "  ", layout, style));
        }
        if reply.directive == Directive::Status {
            text.push_str(&self.credentials(reply, call));
        }
        if reply.directive == Directive::Show {
            let usage = "Choose with: openclaw-auth model <number, alias or provider/model>[@profile]; \
                         see them with: openclaw-auth model list";
            text.push('\n');
            text.push_str(&layout.wrap(usage, "  "));
        }
        text
    }

    fn rows(&self, reply: &ChatReply) -> Vec<Vec<Cell>> {
        let models = reply.view.get("models").and_then(Value::as_array);
        let row = |row: &Value| {
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let number = row
                .get("number")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let current = row.get("current") == Some(&Value::Bool(true));
            let aliases = row.get("aliases").and_then(Value::as_array);
            let aliases: Vec<&str> = aliases
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let state = text("availability");
            let role = match state.split(' ').next() {
                Some("ok") => Role::Ok,
                Some("missing") => Role::Error,
                _ => Role::Warning,
            };
            vec![
                Cell::of(Role::Accent, if current { "*" } else { "" }),
                Cell::new(number.to_string()),
                Cell::new(text("model")),
                Cell::of(role, state),
                Cell::of(Role::Muted, aliases.join(", ")),
            ]
        };
        models.into_iter().flatten().map(row).collect()
    }

    /// The profiles of every provider, and keys of the environment.
    fn credentials(&self, reply: &ChatReply, call: &Call<'_>) -> String {
        let items = |key: &str| {
            let list = reply
                .view
                .get("credentials")
                .and_then(|all| all.get(key)?.as_array());
            list.into_iter().flatten()
        };
        let text = |value: &Value, key: &str| {
            let text = value.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let profile = |profile: &Value| {
            let until = profile.get("unavailableUntil").and_then(Value::as_u64);
            let reason = text(profile, "reason");
            let state = match (text(profile, "reasonCode").as_str(), until) {
                ("ok", Some(until)) => {
                    let left = i64::try_from(until.saturating_sub(self.now)).unwrap_or(i64::MAX);
                    format!("{} ({reason})", short(left))
                }
                (code, _) => code.to_owned(),
            };
            vec![
                Cell::new(text(profile, "id")),
                Cell::new(text(profile, "type").replace('_', " ")),
                Cell::new(text(profile, "masked")),
                Cell::new(state),
            ]
        };
        let key = |key: &Value| {
            let cells = [
                text(key, "id"),
                text(key, "provider"),
                text(key, "masked"),
                String::new(),
            ];
            cells.map(Cell::new).to_vec()
        };
        let rows: Vec<Vec<Cell>> = items("profiles")
            .map(profile)
            .chain(items("env").map(key))
            .collect();
        match rows.is_empty() {
            true => "No credentials.".to_owned(),
            false => format!(
                "Credentials\n{}",
                table(&rows, "  ", call.layout(), Style::stdout())
            ),
        }
    }

    fn document(&self, reply: &ChatReply) -> Value {
        let (provider, model) = self.model.split_once('/').unwrap_or(("", &self.model));
        let mut document = json!({
            "ok": true,
            "action": match reply.directive {
                Directive::List => "list",
                Directive::Pick(_) | Directive::Select { .. } => "select",
                Directive::Reset => "reset",
                Directive::Status => "status",
                _ => "show",
            },
            "text": self.sentence(reply),
            "selection": {
                "provider": provider,
                "model": model,
                "alias": self.alias,
                "profile": self.profile,
                "source": self.source,
                "isDefault": self.is_default,
            },
        });
        let Value::Object(members) = &mut document else {
            return document;
        };
        if matches!(reply.directive, Directive::List | Directive::Status) {
            let models = reply.view.get("models").and_then(Value::as_array);
            let rows = models.into_iter().flatten().map(|row| {
                json!({
                    "n": row.get("number"), "key": row.get("model"),
                    "aliases": row.get("aliases"), "auth": row.get("availability"),
                    "current": row.get("current"),
                })
            });
            members.insert("list".to_owned(), rows.collect());
            let fingerprint = reply.view.get("fingerprint").cloned();
            members.insert("fingerprint".to_owned(), fingerprint.unwrap_or_default());
        }
        document
    }
}

fn refuse(file: &Path, problem: &str) -> Failed {
    let message = format!("{}: {problem}", file.display());
    failed(Error::new(Code::InvalidArgument, message))
}

fn failed(error: Error) -> Failed {
    Failed::of_command(error)
}
