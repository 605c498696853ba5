//! Models, aliases and fallbacks of the configuration file.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{ConfigEdit, Engine};
use crate::config::{self, FallbackList};
use crate::error::{Code, Error, Result};
use crate::json::lookup;
use crate::sessions::{ModelRef, choice};
use crate::text::suggestions;

impl Engine {
    /// Makes a model the default of all agents, keeping its fallbacks; a list of allowed models
    /// gets it too. Takes `provider/model`, an alias, or the id of a model that one configured
    /// provider has. Gives the model as `provider/model`. Takes effect with the next reload.
    ///
    /// # Errors
    ///
    /// `model_unrecognized`, `config_write_failed`.
    pub fn select_default_model(&self, name: &str) -> Result<(String, ConfigEdit)> {
        let key = self.named_model(name)?;
        let snippet = json!({"agents": {"defaults": {"model": {"primary": key}}}});
        let mut change = |tree: &mut Value| config::select_model(tree, &key);
        let (edit, _) = self.edit_config_file(&mut change, &snippet, false)?;
        Ok((key, edit))
    }

    /// The configured models of an agent: the default, the fallbacks, those for images, and the
    /// allowed ones. The document of `models list`: `count` and `models`.
    ///
    /// # Errors
    ///
    /// `unknown_agent`, or a `store_*` code.
    pub fn models_json(&self, agent: Option<&str>) -> Result<Value> {
        let (routes, profiles, view) = self.view(agent)?;
        let (models, tree) = (&routes.models, &routes.snapshot.tree);
        let agent = profiles.agent.as_str();
        let mut rows: Vec<(ModelRef, Vec<String>)> = Vec::new();
        let mut add = |model: Option<ModelRef>, tag: String| {
            let Some(model) = model else { return };
            match rows.iter_mut().find(|(known, _)| *known == model) {
                Some((_, tags)) => tags.push(tag),
                None => rows.push((model, vec![tag])),
            }
        };
        let step = |text: &str| models.step(text, agent).map(|step| step.model);
        add(models.default_model(agent).ok(), "default".to_owned());
        for (n, text) in models.fallbacks_of(agent).iter().enumerate() {
            add(step(text), format!("fallback#{}", n + 1));
        }
        let images = choice(lookup(tree, &["agents", "defaults", "imageModel"]));
        add(images.0.as_deref().and_then(step), "image".to_owned());
        for (n, text) in images.1.unwrap_or_default().iter().enumerate() {
            add(step(text), format!("img-fallback#{}", n + 1));
        }
        for text in models.listed() {
            add(step(text), "configured".to_owned());
        }
        let aliases = models.aliases();
        let rows = rows.into_iter().map(|(model, mut tags)| {
            let mine = aliases
                .iter()
                .filter(|(_, target)| step(target).as_ref() == Some(&model));
            let mine: Vec<&str> = mine.map(|(alias, _)| alias.as_str()).collect();
            if !mine.is_empty() {
                tags.push(format!("alias:{}", mine.join(",")));
            }
            let provider = lookup(tree, &["models", "providers", &model.provider]);
            let url = provider.and_then(|provider| provider.get("baseUrl")?.as_str());
            let described = provider.and_then(|provider| provider.get("models")?.as_array());
            let described = described.into_iter().flatten();
            let described = described
                .filter(|known| known.get("id").and_then(Value::as_str) == Some(&model.model));
            let name = described
                .filter_map(|known| known.get("name")?.as_str())
                .next();
            json!({
                "key": model.key(),
                "name": name.unwrap_or(&model.model),
                "input": "-",
                "contextWindow": null,
                "local": url.map(is_local),
                "available": self.availability(&routes, &view, &model) != "missing",
                "tags": tags,
                "missing": false,
            })
        });
        let rows: Vec<Value> = rows.collect();
        Ok(json!({"count": rows.len(), "models": rows}))
    }

    /// Aliases and what they stand for, in the order of the file.
    pub fn model_aliases(&self) -> Vec<(String, String)> {
        self.router.routes().models.aliases()
    }

    /// Gives a model an alias. Gives the model as `provider/model`.
    ///
    /// # Errors
    ///
    /// `alias_exists` when it stands for another model, `invalid_argument` for a name that no
    /// directive could hold, `model_unrecognized`, `config_write_failed`.
    pub fn set_model_alias(&self, alias: &str, model: &str) -> Result<(String, ConfigEdit)> {
        let alias = alias.trim();
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if alias.is_empty() || !alias.chars().all(is_fine) {
            let message = "alias: only letters, digits and _ . : - may be in it";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let key = self.named_model(model)?;
        let aliases = self.model_aliases();
        let known = aliases
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(alias));
        if let Some((_, target)) = known.filter(|(_, target)| *target != key) {
            let message = format!("Alias {alias} already points to {target}.");
            return Err(Error::new(Code::AliasExists, message));
        }
        let snippet = json!({"agents": {"defaults": {"models": {&key: {"alias": alias}}}}});
        let mut change = |tree: &mut Value| config::set_alias(tree, alias, &key);
        let (edit, _) = self.edit_config_file(&mut change, &snippet, false)?;
        Ok((key, edit))
    }

    /// Takes an alias away.
    ///
    /// # Errors
    ///
    /// `alias_not_found`, `config_write_failed`.
    pub fn remove_model_alias(&self, alias: &str) -> Result<ConfigEdit> {
        let aliases = self.model_aliases();
        let known = aliases
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(alias.trim()));
        let Some((_, model)) = known else {
            let error = Error::new(Code::AliasNotFound, format!("Alias not found: {alias}"));
            let names = aliases.iter().map(|(known, _)| known.as_str());
            return Err(meant(error, alias, names));
        };
        let snippet = json!({"agents": {"defaults": {"models": {model: {}}}}});
        let mut change = |tree: &mut Value| config::remove_alias(tree, alias.trim());
        self.edit_config_file(&mut change, &snippet, false)
            .map(|(edit, _)| edit)
    }

    /// The models that are tried after the default one, as written in `agents.defaults`.
    pub fn fallbacks(&self, list: FallbackList) -> Vec<String> {
        let routes = self.router.routes();
        let setting = lookup(&routes.snapshot.tree, &["agents", "defaults", list.key()]);
        choice(setting).1.unwrap_or_default()
    }

    /// Adds a fallback at the end, unless it is there. Gives the model as `provider/model`.
    ///
    /// # Errors
    ///
    /// `model_unrecognized`, `config_write_failed`.
    pub fn add_fallback(&self, list: FallbackList, model: &str) -> Result<(String, ConfigEdit)> {
        let key = self.named_model(model)?;
        let mut models = self.fallbacks(list);
        if models.iter().any(|known| self.is_model(known, &key)) {
            return Ok((key, ConfigEdit::Unchanged));
        }
        models.push(key.clone());
        Ok((key, self.set_fallbacks(list, &models)?))
    }

    /// Takes a fallback out. Gives the model as `provider/model`.
    ///
    /// # Errors
    ///
    /// `fallback_not_found`, `model_unrecognized`, `config_write_failed`.
    pub fn remove_fallback(&self, list: FallbackList, model: &str) -> Result<(String, ConfigEdit)> {
        let key = self.named_model(model)?;
        let before = self.fallbacks(list);
        let mut models = before.clone();
        models.retain(|known| !self.is_model(known, &key));
        if models.len() == before.len() {
            let error = Error::new(Code::FallbackNotFound, format!("Fallback not found: {key}"));
            return Err(meant(error, &key, before.iter().map(String::as_str)));
        }
        Ok((key, self.set_fallbacks(list, &models)?))
    }

    /// Takes all fallbacks out.
    ///
    /// # Errors
    ///
    /// `config_write_failed`.
    pub fn clear_fallbacks(&self, list: FallbackList) -> Result<ConfigEdit> {
        match self.fallbacks(list).is_empty() {
            true => Ok(ConfigEdit::Unchanged),
            false => self.set_fallbacks(list, &[]),
        }
    }

    fn set_fallbacks(&self, list: FallbackList, models: &[String]) -> Result<ConfigEdit> {
        let snippet = json!({"agents": {"defaults": {list.key(): {"fallbacks": models}}}});
        let mut change = |tree: &mut Value| config::set_fallbacks(tree, list, models);
        self.edit_config_file(&mut change, &snippet, false)
            .map(|(edit, _)| edit)
    }

    /// Whether a text of the configuration names a model.
    fn is_model(&self, text: &str, key: &str) -> bool {
        let named = self.router.routes().models.named(text);
        named.is_ok_and(|model| model.key() == key)
    }

    fn named_model(&self, text: &str) -> Result<String> {
        let routes = self.router.routes();
        routes
            .models
            .named(text)
            .map(|model| model.key())
            .map_err(|error| {
                let names = routes.models.names();
                meant(error, text, names.iter().map(String::as_str))
            })
    }
}

/// Whether a URL leads to this machine or a private network.
fn is_local(url: &str) -> bool {
    let host = super::routes::host_of(url).unwrap_or_default();
    let private = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(private)
}

/// An error with the names that may have been meant.
fn meant<'a>(error: Error, word: &str, names: impl Iterator<Item = &'a str>) -> Error {
    let near = suggestions(word, names);
    match near.is_empty() {
        true => error,
        false => {
            let hint = format!("did you mean {}?", near.join(" or "));
            error.with("suggestions", near).with_hint(hint)
        }
    }
}
