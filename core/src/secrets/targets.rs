//! Every place of an installation that holds a secret or could hold one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Loaded;
use super::collect::Content;
use super::pattern::Step;
use super::plan::type_of;
use super::reference::{Classified, classify_text};
use super::rules::{Role, Rules};
use super::stores::{KINDS, field_path, profiles, read_stores};
use crate::host::Host;
use crate::json::{Path, lookup};

/// A place for a secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: String,
    /// What plans call this kind of place.
    type_name: Option<String>,
    kind: TargetKind,
    inactive: Option<String>,
    references: Vec<String>,
    owners: Vec<String>,
    profile: Option<(String, String, &'static str)>,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// Nothing.
    Empty,
    /// Something that looks like a reference and is none, or a reference where none may be.
    Invalid,
    /// The secret itself.
    Plaintext,
    /// A reference.
    Ref,
    /// Text with references in it.
    Template,
}

impl TargetKind {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Invalid => "invalid",
            Self::Plaintext => "plaintext",
            Self::Ref => "ref",
            Self::Template => "template",
        }
    }
}

impl Target {
    fn new(path: String, type_name: Option<String>, kind: TargetKind) -> Self {
        Self {
            path,
            type_name,
            kind,
            inactive: None,
            references: Vec::new(),
            owners: Vec::new(),
            profile: None,
        }
    }

    /// Configuration path; of a stored profile, `auth-profiles[<agent>].profiles.<id>.<field>`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The target type for plans; `None` where a plan cannot put a reference.
    pub fn type_name(&self) -> Option<&str> {
        self.type_name.as_deref()
    }

    /// What stands there.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Why its secret is not needed.
    pub fn inactive_reason(&self) -> Option<&str> {
        self.inactive.as_deref()
    }

    /// Labels of the references there.
    pub fn references(&self) -> &[String] {
        &self.references
    }

    /// Who needs it.
    pub fn owners(&self) -> &[String] {
        &self.owners
    }

    /// Agent, profile id and field of a credential in a store of auth profiles.
    pub fn profile(&self) -> Option<(&str, &str, &str)> {
        let (agent, id, field) = self.profile.as_ref()?;
        Some((agent, id, field))
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "path": self.path,
            "type": self.type_name,
            "state": if self.inactive.is_some() { "inactive" } else { "active" },
            "reason": self.inactive,
            "kind": self.kind.as_str(),
            "refs": self.references,
            "owners": self.owners,
        })
    }
}

impl Loaded {
    /// Every place, sorted by path; with `empty` also those that hold nothing.
    pub(crate) fn targets(&self, host: &Host, empty: bool) -> Vec<Target> {
        let mut targets: Vec<Target> = self
            .judged(host.clock.now_ms())
            .into_iter()
            .map(|judged| {
                let surface = judged.surface;
                let kind = match surface.content {
                    Content::Reference(_) => TargetKind::Ref,
                    Content::Template(_) => TargetKind::Template,
                    Content::Literal(_) => TargetKind::Plaintext,
                    Content::Invalid(_) | Content::OauthPolicy | Content::Unsupported => {
                        TargetKind::Invalid
                    }
                };
                let references = self.refs_of(&surface.content);
                Target {
                    inactive: judged.active.err(),
                    references: references.iter().map(ToString::to_string).collect(),
                    owners: judged.owners,
                    ..Target::new(
                        surface.path.to_string(),
                        type_of(&surface.path, &self.rules),
                        kind,
                    )
                }
            })
            .collect();
        self.stored(host, &mut targets);
        if empty {
            let known: BTreeSet<String> = targets.iter().map(|t| t.path.clone()).collect();
            let missing = missing(&self.source.tree, &self.rules).into_iter();
            let missing = missing
                .map(|path| (path.to_string(), path))
                .filter(|(text, _)| !known.contains(text));
            targets.extend(missing.map(|(text, path)| {
                Target::new(text, type_of(&path, &self.rules), TargetKind::Empty)
            }));
        }
        targets.sort_by(|a, b| a.path.cmp(&b.path));
        targets
    }

    /// Credentials in stores of auth profiles: plain ones are added, references among the targets
    /// get their place in the store.
    fn stored(&self, host: &Host, targets: &mut Vec<Target>) {
        let source = &self.source;
        for store in read_stores(host, &source.places, &source.env, &source.tree) {
            let Ok(Some(document)) = &store.document else {
                continue;
            };
            for (id, profile) in profiles(document) {
                let text = |key: &str| profile.get(key).and_then(Value::as_str);
                let kind = KINDS.iter().find(|(kind, ..)| text("type") == Some(kind));
                let Some((kind, key, _)) = kind else { continue };
                let path = field_path(&store.agent, id, key).to_string();
                let type_name = Some(format!("auth-profiles.{kind}.{key}"));
                let profile = Some((store.agent.clone(), id.clone(), *key));
                if let Some(known) = targets.iter_mut().find(|known| known.path == path) {
                    known.type_name = type_name;
                    known.profile = profile;
                    continue;
                }
                let value = text(key).unwrap_or_default().trim();
                let is_literal = matches!(
                    classify_text(value, &self.providers.defaults),
                    Classified::Literal(_)
                );
                if !value.is_empty() && is_literal {
                    targets.push(Target {
                        owners: vec![format!("auth-profile:{}/{id}", store.agent)],
                        profile,
                        ..Target::new(path, type_name, TargetKind::Plaintext)
                    });
                }
            }
        }
    }
}

/// Keys that a plan could set and that are absent from objects that are there.
fn missing(tree: &Value, rules: &Rules) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for rule in &rules.rows {
        if rule.role != Role::Secret || !rule.flags.plan {
            continue;
        }
        let Some((Step::Literal(last), above)) = rule.steps.split_last() else {
            continue;
        };
        for path in existing(tree, above) {
            let is_absent = lookup(tree, path.segments())
                .and_then(Value::as_object)
                .is_some_and(|object| !object.contains_key(last));
            if is_absent {
                found.insert(path.child(last));
            }
        }
    }
    found
}

/// The places in a document that fit a pattern.
fn existing(tree: &Value, steps: &[Step]) -> Vec<Path> {
    let mut paths = vec![Path::root()];
    for step in steps {
        let mut next = Vec::new();
        for path in paths {
            match (step, lookup(tree, path.segments())) {
                (Step::Literal(name), Some(Value::Object(map))) if map.contains_key(name) => {
                    next.push(path.child(name));
                }
                (Step::AnyKey, Some(Value::Object(map))) => {
                    next.extend(map.keys().map(|key| path.child(key)));
                }
                (Step::AnyIndex, Some(Value::Array(list))) => {
                    next.extend((0..list.len()).map(|at| path.child(at.to_string())));
                }
                _ => {}
            }
        }
        paths = next;
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Registry;

    #[test]
    fn absent_keys_of_objects_that_are_there() {
        let rules = Rules::new(&Registry::new());
        let tree = json!({
            "models": {"providers": {"a": {"apiKey": "x"}, "b.c": {"baseUrl": "u"}, "d": 1}},
            "talk": {},
        });
        let paths: Vec<String> = missing(&tree, &rules).iter().map(Path::to_string).collect();
        assert!(
            paths.contains(&"models.providers[\"b.c\"].apiKey".to_owned()),
            "{paths:?}"
        );
        assert!(paths.contains(&"talk.apiKey".to_owned()), "{paths:?}");
        assert!(
            !paths
                .iter()
                .any(|path| path.starts_with("models.providers.a.")),
            "{paths:?}"
        );
        assert!(
            !paths.iter().any(|path| path.starts_with("channels")),
            "{paths:?}"
        );
    }
}
