//! Changes of the main configuration file that follow a sign-in.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Engine;
use crate::config::{self, Aliases, ProfileEntry};
use crate::error::{Code, Error, Result};
use crate::json::{Editor, NotEditable, parse_json5};
use crate::secrets::wipe;

/// Largest configuration file that is changed.
const MAX_BYTES: u64 = 16 << 20;
const MODE: u32 = 0o600;

/// Whether a new profile is named in the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ConfigUpdate {
    /// When the configuration would hide it otherwise.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// What became of a change of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigEdit {
    /// Nothing had to change.
    Unchanged,
    /// The file was rewritten.
    Written,
    /// The file was left alone; why, and what a person has to put into it.
    ByHand {
        /// Why, in a few words.
        reason: String,
        /// JSON to merge into the file.
        snippet: String,
    },
}

/// What switching to the local `claude` program has come to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClaudeCliDone {
    /// What became of the file.
    pub edit: ConfigEdit,
    /// The model that is the default now, or would be.
    pub default_model: String,
    /// The default model before, when it was another one.
    pub previous: Option<String>,
    /// Where the file was copied to before it was changed.
    pub backup: Option<PathBuf>,
}

impl Engine {
    /// Names a stored profile in `auth.profiles` (and in the order of its provider) of the
    /// configuration file. `mode` is `oauth`, `token` or `api_key`.
    ///
    /// # Errors
    ///
    /// `config_write_failed` when the file cannot be written. The credential is stored in any case.
    pub fn name_profile_in_config(
        &self,
        (profile_id, provider, mode): (&str, &str, &str),
        email: Option<&str>,
        update: ConfigUpdate,
    ) -> Result<ConfigEdit> {
        let entry = ProfileEntry {
            id: profile_id,
            provider,
            mode,
            email,
        };
        let aliases = Aliases::new();
        let snapshot = self.snapshot();
        let wanted = match update {
            ConfigUpdate::Always => true,
            ConfigUpdate::Auto => config::hides(&snapshot.tree, &entry, &aliases),
            ConfigUpdate::Never => false,
        };
        if !wanted {
            return Ok(ConfigEdit::Unchanged);
        }
        let named =
            json!({"auth": {"profiles": {profile_id: {"provider": provider, "mode": mode}}}});
        let mut change = |tree: &mut Value| config::name_profile(tree, &entry, &aliases);
        self.edit_config_file(&mut change, &named, false)
            .map(|(edit, _)| edit)
    }

    /// Takes a profile out of `auth.profiles` and of every order in the configuration file.
    ///
    /// # Errors
    ///
    /// As [`Engine::name_profile_in_config`].
    pub fn unname_profile_in_config(&self, profile_id: &str) -> Result<ConfigEdit> {
        let snippet = json!({"auth": {"profiles": {}}});
        let mut change = |tree: &mut Value| config::unname_profile(tree, profile_id);
        self.edit_config_file(&mut change, &snippet, false)
            .map(|(edit, _)| edit)
    }

    /// Makes a model the default of all agents, keeping its fallbacks.
    ///
    /// # Errors
    ///
    /// As [`Engine::name_profile_in_config`].
    pub fn set_default_model(&self, model: &str) -> Result<ConfigEdit> {
        let snippet =
            json!({"agents": {"defaults": {"model": {"primary": model}, "models": {model: {}}}}});
        let mut change = |tree: &mut Value| config::set_default_model(tree, model);
        self.edit_config_file(&mut change, &snippet, false)
            .map(|(edit, _)| edit)
    }

    /// Lets the local `claude` program serve the Anthropic models. Nothing of its login is
    /// copied; the old models and all profiles stay as the way back.
    ///
    /// # Errors
    ///
    /// `oauth_external_cli_missing` when that program is not signed in, and as
    /// [`Engine::name_profile_in_config`].
    pub fn use_claude_cli(&self, set_default: bool) -> Result<ClaudeCliDone> {
        if !self.external_login("claude-cli") {
            let message =
                "Claude CLI is not signed in on this host. Run `claude auth login`, then repeat.";
            return Err(Error::new(Code::OauthExternalCliMissing, message));
        }
        // What a person has to write when the file cannot be changed, from the merged settings.
        let mut planned = self.snapshot().tree.get("agents").cloned();
        let mut planned = json!({"agents": planned.as_mut().map(Value::take)});
        let done = config::use_claude_cli(&mut planned, set_default);
        let defaults = planned.pointer("/agents/defaults");
        let part = |key: &str| defaults.and_then(|defaults| defaults.get(key));
        let snippet =
            json!({"agents": {"defaults": {"model": part("model"), "models": part("models")}}});
        let mut change = |tree: &mut Value| {
            config::use_claude_cli(tree, set_default);
        };
        let (edit, backup) = self.edit_config_file(&mut change, &snippet, true)?;
        Ok(ClaudeCliDone {
            edit,
            default_model: done.default_model,
            previous: done.previous,
            backup,
        })
    }

    /// Changes the configuration file for a repair, after copying it to `openclaw.json.bak`.
    ///
    /// # Errors
    ///
    /// `config_write_failed`, also when a person has to make the change.
    pub(crate) fn edit_config(&self, change: &mut dyn FnMut(&mut Value)) -> Result<()> {
        match self.edit_config_file(change, &Value::Null, true)?.0 {
            ConfigEdit::Written | ConfigEdit::Unchanged => Ok(()),
            ConfigEdit::ByHand { reason, .. } => Err(Error::new(
                Code::ConfigWriteFailed,
                format!("the configuration was left alone: {reason}"),
            )),
        }
    }

    pub(super) fn edit_config_file(
        &self,
        change: &mut dyn FnMut(&mut Value),
        snippet: &Value,
        backup: bool,
    ) -> Result<(ConfigEdit, Option<PathBuf>)> {
        let path = self.snapshot().places.config.clone();
        let failed = |error: &std::io::Error| {
            let message = format!("{}: cannot be written: {}", path.display(), error.kind());
            Error::new(Code::ConfigWriteFailed, message).with("path", path.display().to_string())
        };
        let by_hand = |reason: &str| ConfigEdit::ByHand {
            reason: reason.to_owned(),
            snippet: format!("{snippet:#}"),
        };
        if self.options.has_own_config() {
            return Ok((by_hand("the configuration is not a file"), None));
        }
        let real = self.host.files.canonical(&path);
        let bytes = match real.and_then(|real| self.host.files.open(&real)) {
            Ok(mut file) => file
                .read_to_limit(MAX_BYTES)
                .map_err(|error| failed(&error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(b"{}\n".to_vec().into())
            }
            Err(error) => return Err(failed(&error)),
        };
        let text = bytes
            .as_ref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        let parsed = text.and_then(|text| Some((text, parse_json5(text).ok()?.value)));
        let Some((text, before)) = parsed.filter(|(_, tree)| tree.is_object()) else {
            return Ok((by_hand("it cannot be read"), None));
        };
        if before.get("$include").is_some() {
            wipe(before);
            return Ok((by_hand("it is made of several files"), None));
        }
        let mut after = before.clone();
        change(&mut after);
        let mut editor = Editor::new(text);
        let edited = edit(&mut editor, &mut Vec::new(), &before, &after);
        let same = before == after;
        wipe(before);
        wipe(after);
        if let Err(NotEditable(reason)) = edited {
            return Ok((by_hand(reason), None));
        }
        if same {
            return Ok((ConfigEdit::Unchanged, None));
        }
        let mode = self
            .host
            .files
            .stat(&path)
            .map_or(MODE, |meta| meta.mode & 0o666);
        let mut copy = None;
        if backup {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".bak");
            let to = path.with_file_name(name);
            let copied = self.host.files.write_atomic(&to, text.as_bytes(), mode);
            copied.map_err(|error| failed(&error))?;
            copy = Some(to);
        }
        let next = editor.text().as_bytes();
        let written = self.host.files.write_atomic(&path, next, mode);
        written.map_err(|error| failed(&error))?;
        Ok((ConfigEdit::Written, copy))
    }
}

/// Makes a text say what a changed tree says, member by member; comments and everything that is
/// the same stay as they are.
fn edit(
    editor: &mut Editor,
    path: &mut Vec<String>,
    before: &Value,
    after: &Value,
) -> std::result::Result<(), NotEditable> {
    let (old, new) = match (before, after) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        (Value::Array(old), Value::Array(new)) => return edit_items(editor, path, old, new),
        _ if before == after => return Ok(()),
        _ => return editor.set(path, after),
    };
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        path.push(key.clone());
        editor.remove(path)?;
        path.pop();
    }
    for (key, value) in new {
        path.push(key.clone());
        match old.get(key) {
            Some(known) => edit(editor, path, known, value)?,
            None => editor.set(path, value)?,
        }
        path.pop();
    }
    Ok(())
}

/// Takes items out of an array and puts others behind it, where that is all that has changed;
/// otherwise the array is written anew.
fn edit_items(
    editor: &mut Editor,
    path: &mut Vec<String>,
    old: &[Value],
    new: &[Value],
) -> std::result::Result<(), NotEditable> {
    let mut rest = new;
    let mut gone = Vec::new();
    for (index, item) in old.iter().enumerate() {
        match rest.split_first() {
            Some((first, behind)) if first == item => rest = behind,
            _ => gone.push(index),
        }
    }
    let kept = old.len() - gone.len();
    if kept == 0 && !old.is_empty() {
        return editor.set(path, &Value::from(new));
    }
    for index in gone.into_iter().rev() {
        path.push(index.to_string());
        editor.remove(path)?;
        path.pop();
    }
    rest.iter().try_for_each(|item| editor.push(path, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_keep_what_stays_of_them() {
        let text = "{\n  // the team\n  list: [\n    { id: 'a' }, // first\n    { id: 'b' },\n  ],\n  one: ['x'], none: [],\n}\n";
        let before = parse_json5(text).unwrap().value;
        for (after, expected) in [
            (
                json!({"list": [{"id": "a"}, {"id": "b"}, {"id": "c"}], "one": ["x", "y"], "none": ["z"]}),
                "{\n  // the team\n  list: [\n    { id: 'a' }, // first\n    { id: 'b' },\n    { id: \"c\" },\n  ],\n  one: ['x', \"y\"], none: [ \"z\" ],\n}\n",
            ),
            (
                json!({"list": [{"id": "a"}], "one": [], "none": []}),
                "{\n  // the team\n  list: [\n    { id: 'a' }, // first\n  ],\n  one: [], none: [],\n}\n",
            ),
            (
                json!({"list": [{"id": "b"}, {"id": "a"}], "one": ["x"], "none": []}),
                "{\n  // the team\n  list: [\n    // first\n    { id: 'b' },\n    { id: \"a\" },\n  ],\n  one: ['x'], none: [],\n}\n",
            ),
        ] {
            let mut editor = Editor::new(text);
            edit(&mut editor, &mut Vec::new(), &before, &after).unwrap();
            assert_eq!(parse_json5(editor.text()).unwrap().value, after);
            assert_eq!(editor.text(), expected);
        }
    }
}
