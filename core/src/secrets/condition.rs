//! When a surface is active: conditions as data, and the interpreter that names the first one
//! that fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::pattern::fill;
use super::{channels, gateway_auth, sandbox};
use crate::config::EnvView;
use crate::json::{Path, lookup};
use crate::text::printable_key;

/// A condition over the effective configuration.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// The value is not an object, or its `enabled` is not the boolean `false`.
    Enabled(Place),
    /// A text that is not blank, a secret, or any other value but null.
    Set(Place),
    /// The key exists.
    Own(Place),
    Equals(Place, Test),
    /// Like `Equals` on the item's own key if it exists, else on the base's.
    Effective {
        item: Place,
        base: Place,
        key: String,
        test: Test,
    },
    /// The variable is not blank.
    Env(String),
    Inherited(Box<Inherited>),
    /// A rule that is written as code.
    Native(Native),
}

/// A path with captures: segments in which `{0}`, `{1}`, … stand for what the pattern's wildcards
/// matched, and a first segment `{item}` for the path of a list entry.
#[derive(Debug, Clone)]
pub(super) struct Place(pub(super) Vec<String>);

/// The first segment that stands for the entry of an `Inherited` condition.
pub(super) const ITEM: &str = "{item}";

impl Place {
    /// A path of the built-in table.
    pub(super) fn of(text: &str) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }

    fn fill(&self, bound: &Bound<'_>) -> Path {
        let mut path = Vec::with_capacity(self.0.len());
        for segment in &self.0 {
            match bound.item {
                Some(item) if segment == ITEM => path.extend(item.segments().iter().cloned()),
                _ => path.push(fill(segment, bound.captures)),
            }
        }
        Path::new(path)
    }
}

/// A comparison of a scalar.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) values: Vec<Value>,
    /// Counts when the value is missing or of another type than the values.
    pub(super) default: Option<Value>,
    /// Trims and lower-cases texts first.
    pub(super) fold: bool,
}

/// Some entry satisfies a condition and does not bring its own value, or there is no entry.
#[derive(Debug, Clone)]
pub(super) struct Inherited {
    pub(super) over: Place,
    pub(super) item_when: Option<Condition>,
    /// The value that an inheriting entry does not own, relative to it.
    pub(super) lacks: Vec<String>,
    /// No entry at all counts as one that inherits.
    pub(super) empty_counts: bool,
}

/// The conditions that are code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Native {
    AuthProfile,
    Channel,
    GatewayAuth,
    /// A predicate that the host registered under this name.
    Host(String),
    PluginActive,
    SandboxSshAgent,
    SandboxSshDefaults,
}

impl Native {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "auth-profile" => Self::AuthProfile,
            "channel" => Self::Channel,
            "gateway-auth" => Self::GatewayAuth,
            "plugin-active" => Self::PluginActive,
            "sandbox-ssh-agent" => Self::SandboxSshAgent,
            "sandbox-ssh-defaults" => Self::SandboxSshDefaults,
            other => Self::Host(other.to_owned()),
        }
    }
}

/// What a host predicate may look at.
#[derive(Clone, Copy)]
pub struct PredicateFacts<'a> {
    context: &'a Context<'a>,
    captures: &'a [&'a str],
    path: &'a Path,
}

impl PredicateFacts<'_> {
    /// The path of the surface in question.
    pub fn path(&self) -> &Path {
        self.path
    }

    /// What the wildcards of the rule's pattern matched, in order.
    pub fn captures(&self) -> &[&str] {
        self.captures
    }

    /// A setting of the effective configuration. Secrets show as `__OPENCLAW_REDACTED__`.
    pub fn setting(&self, path: &str) -> Option<&Value> {
        lookup(self.context.tree, Path::parse(path)?.segments())
    }

    /// Whether a variable of the effective environment has more than white space.
    pub fn env_is_set(&self, name: &str) -> bool {
        self.context.env.non_blank(name).is_some()
    }
}

impl fmt::Debug for PredicateFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PredicateFacts({})", self.path)
    }
}

/// A condition that the host wrote: `Err` gives the reason why the surface is inactive.
pub(super) type Predicate = Arc<dyn Fn(&PredicateFacts<'_>) -> Result<(), String> + Send + Sync>;

/// What a host knows about plugins: each loadable one, with its state if the host decides it.
pub(super) type PluginStates = BTreeMap<String, Option<bool>>;

/// What the conditions look at.
pub(super) struct Context<'a> {
    pub(super) tree: &'a Value,
    pub(super) env: &'a EnvView,
    pub(super) plugins: Option<&'a PluginStates>,
    pub(super) predicates: &'a BTreeMap<String, Predicate>,
}

impl Context<'_> {
    pub(super) fn at<S: AsRef<str>>(&self, segments: &[S]) -> Option<&Value> {
        lookup(self.tree, segments)
    }

    pub(super) fn dotted(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(self.tree, |value, key| value.get(key))
    }

    /// A setting as trimmed lower-case text; `default` when missing or of another type.
    pub(super) fn folded(&self, path: &str, default: &str) -> String {
        let text = self.dotted(path).and_then(Value::as_str).unwrap_or(default);
        text.trim().to_lowercase()
    }
}

/// What a condition's placeholders stand for.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) captures: &'a [&'a str],
    pub(super) item: Option<&'a Path>,
    pub(super) path: &'a Path,
}

/// Whether a surface is active, or the reason why not.
pub(super) type Activity = Result<(), String>;

/// Whether a value counts as configured: a text that is not blank, or anything else but null.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
    }
}

/// Whether an object is not switched off. Only the boolean `false` switches off.
pub(super) fn is_enabled(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("enabled")) != Some(&Value::Bool(false))
}

/// The ancestor rule: no object on the way, the root excluded, has `enabled: false`.
pub(super) fn ancestors(context: &Context<'_>, segments: &[String]) -> Activity {
    let mut value = context.tree;
    for (depth, segment) in segments.iter().enumerate() {
        let next = match value {
            Value::Object(map) => map.get(segment),
            Value::Array(items) => segment
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else { return Ok(()) };
        if !is_enabled(Some(next)) {
            let above = segments.get(..=depth).unwrap_or_default();
            return Err(format!(
                "{} is false",
                Path::new(above.iter().map(String::as_str)).child("enabled")
            ));
        }
        value = next;
    }
    Ok(())
}

/// Evaluates a condition; the reason is that of the first part that failed.
pub(super) fn evaluate(
    condition: &Condition,
    context: &Context<'_>,
    bound: &Bound<'_>,
) -> Activity {
    let Err(why) = judge(condition, context, bound) else {
        return Ok(());
    };
    Err(why())
}

/// A reason that is only written when somebody wants it.
type Why<'a> = Box<dyn FnOnce() -> String + 'a>;

/// `Err` with the reason why the condition does not hold.
fn judge<'a>(
    condition: &'a Condition,
    context: &'a Context<'_>,
    bound: &'a Bound<'_>,
) -> Result<(), Why<'a>> {
    match condition {
        Condition::All(parts) => parts
            .iter()
            .try_for_each(|part| judge(part, context, bound)),
        Condition::Any(parts) => {
            let mut first: Option<Why<'a>> = None;
            for part in parts {
                match judge(part, context, bound) {
                    Ok(()) => return Ok(()),
                    Err(why) => first = first.or(Some(why)),
                }
            }
            Err(first.unwrap_or_else(|| Box::new(|| "no alternative is given".to_owned())))
        }
        Condition::Not(inner) => match judge(inner, context, bound) {
            Err(_) => Ok(()),
            Ok(()) => Err(Box::new(|| holds(inner, context, bound))),
        },
        Condition::Native(native) => {
            native_activity(native, context, bound).map_err(|why| -> Why<'a> { Box::new(|| why) })
        }
        Condition::Inherited(inherited) => inherited.activity(context, bound),
        simple => {
            if simple.holds(context, bound) {
                Ok(())
            } else {
                Err(Box::new(|| simple.state(context, bound, false)))
            }
        }
    }
}

/// Why a condition holds, for its negation.
fn holds(condition: &Condition, context: &Context<'_>, bound: &Bound<'_>) -> String {
    match condition {
        Condition::All(parts) => parts
            .first()
            .map(|part| holds(part, context, bound))
            .unwrap_or_default(),
        Condition::Any(parts) => parts
            .iter()
            .find(|part| judge(part, context, bound).is_ok())
            .map(|part| holds(part, context, bound))
            .unwrap_or_default(),
        Condition::Not(inner) => match judge(inner, context, bound) {
            Err(why) => why(),
            Ok(()) => String::new(),
        },
        simple => simple.state(context, bound, true),
    }
}

impl Condition {
    /// The conditions about one place or variable.
    fn holds(&self, context: &Context<'_>, bound: &Bound<'_>) -> bool {
        let at = |place: &Place| lookup(context.tree, place.fill(bound).segments());
        match self {
            Self::Enabled(place) => is_enabled(at(place)),
            Self::Set(place) => is_set(at(place)),
            Self::Own(place) => at(place).is_some(),
            Self::Equals(place, test) => test.accepts(at(place)),
            Self::Effective { test, .. } => {
                test.accepts(lookup(context.tree, self.tested(context, bound).segments()))
            }
            Self::Env(name) => context.env.non_blank(&fill(name, bound.captures)).is_some(),
            _ => false,
        }
    }

    /// The place that an `Effective` condition looks at.
    fn tested(&self, context: &Context<'_>, bound: &Bound<'_>) -> Path {
        match self {
            Self::Effective {
                item, base, key, ..
            } => {
                let own = item.fill(bound).child(key.as_str());
                match lookup(context.tree, own.segments()) {
                    Some(_) => own,
                    None => base.fill(bound).child(key.as_str()),
                }
            }
            Self::Equals(place, _) => place.fill(bound),
            _ => Path::root(),
        }
    }

    /// The state of what the condition looks at, in words.
    fn state(&self, context: &Context<'_>, bound: &Bound<'_>, holds: bool) -> String {
        let choose = |yes: &str, no: &str| if holds { yes } else { no }.to_owned();
        match self {
            Self::Enabled(place) => match holds {
                true => format!("{} is enabled", place.fill(bound)),
                false => format!("{} is false", place.fill(bound).child("enabled")),
            },
            Self::Set(place) => {
                let state = choose("is configured", "is not configured");
                format!("{} {state}", place.fill(bound))
            }
            Self::Own(place) => {
                format!("{} {}", place.fill(bound), choose("exists", "is missing"))
            }
            Self::Equals(_, test) | Self::Effective { test, .. } => {
                let path = self.tested(context, bound);
                let value = lookup(context.tree, path.segments());
                test.describe(&path, value)
            }
            Self::Env(name) => {
                let state = choose("is set", "is not set");
                format!("{} {state}", fill(name, bound.captures))
            }
            Self::Inherited(inherited) => {
                format!("an entry of {} uses it", inherited.over.fill(bound))
            }
            _ => "the condition holds".to_owned(),
        }
    }
}

impl Test {
    fn accepts(&self, value: Option<&Value>) -> bool {
        let usable = value.filter(|value| {
            self.values
                .iter()
                .chain(&self.default)
                .any(|known| std::mem::discriminant(known) == std::mem::discriminant(value))
        });
        usable
            .or(self.default.as_ref())
            .is_some_and(|value| self.values.iter().any(|known| self.same(known, value)))
    }

    fn same(&self, a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::String(a), Value::String(b)) if self.fold => {
                a.trim().to_lowercase() == b.trim().to_lowercase()
            }
            _ => a == b,
        }
    }

    fn describe(&self, path: &Path, value: Option<&Value>) -> String {
        let value = match value {
            Some(Value::String(text)) => format!("is \"{}\"", printable_key(text.trim())),
            Some(Value::Bool(value)) => format!("is {value}"),
            Some(Value::Number(number)) => format!("is {number}"),
            None | Some(Value::Null) => match &self.default {
                Some(default) => format!("is not set, which means {default}"),
                None => "is not set".to_owned(),
            },
            Some(other) => format!("is an {}", crate::json::type_name(other)),
        };
        format!("{path} {value}")
    }
}

impl Inherited {
    fn activity<'a>(
        &'a self,
        context: &'a Context<'_>,
        bound: &'a Bound<'_>,
    ) -> Result<(), Why<'a>> {
        let over = self.over.fill(bound);
        let names: Vec<String> = match lookup(context.tree, over.segments()) {
            Some(Value::Array(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        if names.is_empty() && self.empty_counts {
            return Ok(());
        }
        for name in names {
            let item = over.child(name);
            let bound = Bound {
                item: Some(&item),
                ..*bound
            };
            let owns = || {
                lookup(context.tree, item.segments())
                    .and_then(|item| lookup(item, &self.lacks))
                    .is_some()
            };
            let satisfied = self
                .item_when
                .as_ref()
                .is_none_or(|when| judge(when, context, &bound).is_ok());
            if satisfied && !owns() {
                return Ok(());
            }
        }
        Err(Box::new(move || {
            format!("no enabled entry of {over} uses it")
        }))
    }
}

fn native_activity(native: &Native, context: &Context<'_>, bound: &Bound<'_>) -> Activity {
    let path = bound.path;
    let first = bound.captures.first().copied().unwrap_or_default();
    match native {
        // Profiles are judged with their own facts, see `stores`.
        Native::AuthProfile => Ok(()),
        Native::Channel => channels::activity(context, path).active,
        Native::GatewayAuth => gateway_auth::activity(context, path),
        Native::PluginActive => plugin(context, first),
        Native::SandboxSshAgent => sandbox::agent(context, first),
        Native::SandboxSshDefaults => sandbox::defaults(context, path),
        Native::Host(name) => match context.predicates.get(name) {
            Some(predicate) => predicate(&PredicateFacts {
                context,
                captures: bound.captures,
                path,
            }),
            None => Err(format!("the host has no predicate named {name}")),
        },
    }
}

/// Whether a plugin is in use.
pub(super) fn plugin(context: &Context<'_>, id: &str) -> Activity {
    let listed = |path: &str| {
        let items = context.dotted(path).and_then(Value::as_array);
        items.is_some_and(|items| items.iter().any(|item| item.as_str() == Some(id)))
    };
    if !is_enabled(context.dotted("plugins")) {
        return Err("plugins are disabled (plugins.enabled is false)".to_owned());
    }
    if listed("plugins.deny") {
        return Err(format!("plugin {id} is in plugins.deny"));
    }
    if !is_enabled(context.at(&["plugins", "entries", id])) {
        return Err(format!(
            "{} is false",
            Path::new(["plugins", "entries", id, "enabled"])
        ));
    }
    if let Some(states) = context.plugins {
        match states.get(id) {
            None => return Err(format!("plugin {id} is not loadable (stale entry)")),
            Some(Some(true)) => return Ok(()),
            Some(Some(false)) => return Err(format!("the host has switched plugin {id} off")),
            Some(None) => {}
        }
    }
    let allow = context.dotted("plugins.allow").and_then(Value::as_array);
    let in_slot = context
        .dotted("plugins.slots.memory")
        .and_then(Value::as_str)
        == Some(id);
    if allow.is_some_and(|allow| !allow.is_empty()) && !listed("plugins.allow") && !in_slot {
        return Err(format!("plugin {id} is not in plugins.allow"));
    }
    Ok(())
}
