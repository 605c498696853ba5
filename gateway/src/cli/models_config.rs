//! `models list`, `set`, `aliases` and `fallbacks`: which models there are and which come first.

use clap::Arg;
use openclaw_auth::{ConfigEdit, Engine, FallbackList};
use serde_json::{Map, Value, json};

use super::args::{flag, json as json_flag, option, plain as plain_flag};
use super::call::Call;
use super::edits::report_edit;
use super::output::{Failed, note, print, print_json};
use super::style::{Role, Style};
use super::table::{Cell, table};
use super::tree::{Node, Outcome, plain};

pub(super) const LIST: Node = Node {
    name: "list",
    about: "List the configured models",
    build: |command| {
        command.args([
            option("provider", "ID", "Only models of this provider"),
            flag("local", "Only models on this machine or network"),
            flag("all", "Accepted; there is no catalogue of further models"),
            plain_flag(),
            json_flag(),
        ])
    },
    run: Some(list),
    below: &[],
};

pub(super) const SET: Node = Node {
    name: "set",
    about: "Choose the default model",
    build: |command| command.arg(model()),
    run: Some(set),
    below: &[],
};

pub(super) const ALIASES: Node = Node {
    name: "aliases",
    about: "Short names of models",
    build: plain,
    run: None,
    below: &[
        Node {
            name: "list",
            about: "List the aliases",
            build: |command| command.args([plain_flag(), json_flag()]),
            run: Some(aliases),
            below: &[],
        },
        Node {
            name: "add",
            about: "Give a model an alias",
            build: |command| command.args([alias(), model()]),
            run: Some(add_alias),
            below: &[],
        },
        Node {
            name: "remove",
            about: "Take an alias away",
            build: |command| command.arg(alias()),
            run: Some(remove_alias),
            below: &[],
        },
    ],
};

/// The commands of one list of fallbacks.
macro_rules! fallbacks {
    ($name:literal, $about:literal, $list:expr) => {
        Node {
            name: $name,
            about: $about,
            build: plain,
            run: None,
            below: &[
                Node {
                    name: "list",
                    about: "List the fallbacks",
                    build: |command| command.args([plain_flag(), json_flag()]),
                    run: Some(|call| fallbacks(call, $list)),
                    below: &[],
                },
                Node {
                    name: "add",
                    about: "Add a fallback at the end",
                    build: |command| command.arg(model()),
                    run: Some(|call| add_fallback(call, $list)),
                    below: &[],
                },
                Node {
                    name: "remove",
                    about: "Take a fallback out",
                    build: |command| command.arg(model()),
                    run: Some(|call| remove_fallback(call, $list)),
                    below: &[],
                },
                Node {
                    name: "clear",
                    about: "Take all fallbacks out",
                    build: plain,
                    run: Some(|call| clear_fallbacks(call, $list)),
                    below: &[],
                },
            ],
        }
    };
}

pub(super) const FALLBACKS: Node = fallbacks!(
    "fallbacks",
    "Models to try when the default one fails",
    FallbackList::Models
);

pub(super) const IMAGE_FALLBACKS: Node = fallbacks!(
    "image-fallbacks",
    "Models to try when the one for images fails",
    FallbackList::ImageModels
);

fn model() -> Arg {
    Arg::new("model")
        .value_name("MODEL")
        .help("provider/model, or an alias")
        .required(true)
}

fn alias() -> Arg {
    Arg::new("alias")
        .value_name("ALIAS")
        .help("The short name")
        .required(true)
}

/// `models list`.
fn list(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let document = engine.models_json(call.agent()).map_err(failed)?;
    let wanted = call.text("provider");
    let provider = |model: &Value| {
        let key = model.get("key").and_then(Value::as_str).unwrap_or_default();
        key.split_once('/').map(|(provider, _)| provider.to_owned())
    };
    let models: Vec<&Value> = document
        .get("models")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|model| wanted.is_none_or(|wanted| provider(model).as_deref() == Some(wanted)))
        .filter(|model| !call.flag("local") || model.get("local") == Some(&Value::Bool(true)))
        .collect();
    if call.flag("all") {
        note("There is no catalogue of models; these are the configured ones.");
    }
    if call.json() {
        print_json(&json!({"count": models.len(), "models": models}));
        return Ok(0);
    }
    let text = |model: &Value, key: &str| {
        let text = model.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    if call.flag("plain") {
        models.iter().for_each(|model| print(&text(model, "key")));
        return Ok(0);
    }
    if models.is_empty() {
        print("No models are configured.");
        return Ok(0);
    }
    let rows: Vec<Vec<Cell>> = models
        .iter()
        .map(|model| {
            let is = |key: &str| model.get(key) == Some(&Value::Bool(true));
            let available = match is("available") {
                true => Cell::of(Role::Ok, "ok"),
                false => Cell::of(Role::Error, "no credential"),
            };
            let tags = model.get("tags").and_then(Value::as_array);
            let tags: Vec<&str> = tags
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            vec![
                Cell::new(text(model, "key")),
                available,
                Cell::of(Role::Muted, if is("local") { "local" } else { "" }),
                Cell::new(tags.join(", ")),
            ]
        })
        .collect();
    print(table(&rows, "", call.layout(), Style::stdout()).trim_end());
    Ok(0)
}

/// `models set`.
fn set(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let name = call.text("model").unwrap_or_default();
    let (key, edit) = engine.select_default_model(name).map_err(failed)?;
    done(edit, &format!("Default model: {key}"))
}

fn aliases(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let aliases = engine.model_aliases();
    if call.json() {
        let aliases: Map<String, Value> = aliases
            .into_iter()
            .map(|(alias, key)| (alias, key.into()))
            .collect();
        print_json(&json!({"aliases": aliases}));
    } else if aliases.is_empty() && !call.flag("plain") {
        print("No aliases.");
    } else {
        for (alias, key) in aliases {
            print(&format!("{alias} {key}"));
        }
    }
    Ok(0)
}

fn add_alias(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let alias = call.text("alias").unwrap_or_default();
    let model = call.text("model").unwrap_or_default();
    let (key, edit) = engine.set_model_alias(alias, model).map_err(failed)?;
    done(edit, &format!("Alias {alias} -> {key}"))
}

fn remove_alias(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let alias = call.text("alias").unwrap_or_default();
    let edit = engine.remove_model_alias(alias).map_err(failed)?;
    done(edit, &format!("Removed alias: {alias}"))
}

fn fallbacks(call: &Call<'_>, list: FallbackList) -> Outcome {
    let engine = call.open()?;
    let models = engine.fallbacks(list);
    if call.json() {
        print_json(&json!({"fallbacks": models}));
    } else if models.is_empty() && !call.flag("plain") {
        print("No fallbacks.");
    } else {
        models.iter().for_each(|model| print(model));
    }
    Ok(0)
}

fn add_fallback(call: &Call<'_>, list: FallbackList) -> Outcome {
    let engine = call.open()?;
    let model = call.text("model").unwrap_or_default();
    let (key, edit) = engine.add_fallback(list, model).map_err(failed)?;
    done(edit, &format!("Fallback: {key}"))
}

fn remove_fallback(call: &Call<'_>, list: FallbackList) -> Outcome {
    let engine = call.open()?;
    let model = call.text("model").unwrap_or_default();
    let (key, edit) = engine.remove_fallback(list, model).map_err(failed)?;
    done(edit, &format!("Removed fallback: {key}"))
}

fn clear_fallbacks(call: &Call<'_>, list: FallbackList) -> Outcome {
    let engine: Engine = call.open()?;
    let edit = engine.clear_fallbacks(list).map_err(failed)?;
    done(edit, "Fallback list cleared.")
}

/// Says what was done; when a person has to do it, that is a failure.
fn done(edit: ConfigEdit, text: &str) -> Outcome {
    let by_hand = matches!(edit, ConfigEdit::ByHand { .. });
    report_edit(Ok(edit));
    if by_hand {
        return Ok(1);
    }
    print(text);
    Ok(0)
}

fn failed(error: openclaw_auth::Error) -> Failed {
    Failed::of_command(error)
}
