//! Conditions and rules as hosts write them in JSON.

use serde_json::{Map, Value};

use super::condition::{Condition, ITEM, Inherited, Native, Place, Test};
use super::pattern::{Step, steps};
use super::rules::{Expected, Flags, Role, Rule};
use crate::error::{Code, Error};
use crate::json::{Path, type_name};

/// What is wrong with a rule: where in it, why in one word, and why in a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    pointer: String,
    reason: &'static str,
    message: String,
}

type Parsed<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(at: &str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            pointer: at.to_owned(),
            reason,
            message: message.into(),
        }
    }

    /// The error as callers get it. `id` is shown as far as it is known.
    pub(super) fn into_error(self, id: Option<&str>) -> Error {
        let name = id.map_or_else(|| "a rule".to_owned(), |id| format!("rule \"{id}\""));
        let message = format!("{name}: {} (at {})", self.message, self.pointer);
        Error::new(Code::RuleInvalid, message)
            .with("rule", id)
            .with("pointer", self.pointer)
            .with("reason", self.reason)
    }
}

/// What placeholders may be used.
#[derive(Clone, Copy)]
struct Scope<'a> {
    captures: usize,
    in_item: bool,
    /// Names of the host's predicates.
    predicates: &'a dyn Fn(&str) -> bool,
}

/// The members of a rule.
const RULE_KEYS: &[&str] = &[
    "id",
    "store",
    "pattern",
    "expected",
    "shape",
    "refPattern",
    "owner",
    "when",
    "ancestorRule",
    "inactiveReason",
    "flags",
    "isolation",
];

/// Reads one rule. A rule with sibling references becomes two rows.
pub(super) fn read_rule(value: &Value, predicates: &dyn Fn(&str) -> bool) -> Parsed<Vec<Rule>> {
    let map = object(value, "")?;
    if let Some(key) = map.keys().find(|key| !RULE_KEYS.contains(&key.as_str())) {
        let key = crate::text::printable_key(key);
        return Err(Refusal::new(
            "",
            "condition",
            format!("unknown key \"{key}\""),
        ));
    }
    let id = required(map, "id")?.to_owned();
    let pattern = required(map, "pattern")?.to_owned();
    let wild = check_pattern(&pattern, "/pattern")?;
    match text(map, "store", "/store")?.unwrap_or("config") {
        "config" => {}
        _ => {
            return Err(Refusal::new(
                "/store",
                "pattern",
                "the store must be \"config\"",
            ));
        }
    }
    let expected = match text(map, "expected", "/expected")?.unwrap_or("string") {
        "string" => Expected::Text,
        "string-or-object" => Expected::TextOrObject,
        _ => {
            let message = "must be \"string\" or \"string-or-object\"";
            return Err(Refusal::new("/expected", "pattern", message));
        }
    };
    let scope = Scope {
        captures: wild,
        in_item: false,
        predicates,
    };
    let when = match map.get("when") {
        None | Some(Value::Null) => None,
        Some(when) => Some(read(when, "/when", scope)?),
    };
    let owner = match text(map, "owner", "/owner")? {
        Some(owner) => {
            if owner.trim().is_empty() || owner.chars().any(char::is_control) {
                return Err(Refusal::new("/owner", "owner", "the owner must be a name"));
            }
            check_captures(owner, "/owner", wild, "owner")?;
            owner.to_owned()
        }
        None => String::new(),
    };
    if !matches!(
        text(map, "isolation", "/isolation")?,
        None | Some("strict" | "isolatable")
    ) {
        let message = "must be \"strict\" or \"isolatable\"";
        return Err(Refusal::new("/isolation", "condition", message));
    }
    let ancestors = match map.get("ancestorRule") {
        None => true,
        Some(Value::Bool(value)) => *value,
        Some(_) => {
            return Err(Refusal::new(
                "/ancestorRule",
                "condition",
                "must be true or false",
            ));
        }
    };
    let inactive_reason = text(map, "inactiveReason", "/inactiveReason")?.map(str::to_owned);
    let flags = read_flags(map.get("flags"))?;
    let reference = read_sibling(map, &pattern)?;
    let rule = Rule {
        id,
        steps: steps(&pattern),
        pattern,
        role: Role::Secret,
        owner,
        condition: when,
        ancestors,
        inactive_reason,
        expected,
        flags,
        group: None,
    };
    Ok(match reference {
        None => vec![rule],
        Some((ref_pattern, key)) => {
            let sibling = Rule {
                role: Role::ReferenceFor(key),
                steps: steps(&ref_pattern),
                pattern: ref_pattern,
                ..rule.clone()
            };
            vec![rule, sibling]
        }
    })
}

/// The pattern of references that stand beside the secret, and the secret's own key.
fn read_sibling(map: &Map<String, Value>, pattern: &str) -> Parsed<Option<(String, String)>> {
    let reference = text(map, "refPattern", "/refPattern")?;
    match (text(map, "shape", "/shape")?.unwrap_or("inline"), reference) {
        ("inline", None) => Ok(None),
        ("inline", Some(_)) => Err(Refusal::new(
            "/refPattern",
            "pattern",
            "is only for the shape \"sibling\"",
        )),
        ("sibling", Some(reference)) => {
            check_pattern(reference, "/refPattern")?;
            let split = |pattern: &str| {
                let (parent, key) = pattern.rsplit_once('.').unwrap_or(("", pattern));
                (parent.to_owned(), key.to_owned())
            };
            let ((parent, key), (beside, name)) = (split(pattern), split(reference));
            let plain = |key: &str| key != "*" && !key.ends_with("[]");
            if parent != beside || key == name || !plain(&key) || !plain(&name) {
                let message = "must be another key of the same object";
                return Err(Refusal::new("/refPattern", "captures", message));
            }
            Ok(Some((reference.to_owned(), key)))
        }
        ("sibling", None) => Err(Refusal::new(
            "/refPattern",
            "pattern",
            "the shape \"sibling\" needs a refPattern",
        )),
        _ => Err(Refusal::new(
            "/shape",
            "pattern",
            "must be \"inline\" or \"sibling\"",
        )),
    }
}

fn read_flags(value: Option<&Value>) -> Parsed<Flags> {
    let Some(value) = value else {
        return Ok(Flags::default());
    };
    let mut flags = Flags {
        plan: false,
        audit: false,
        configure: false,
        ..Flags::default()
    };
    for (index, item) in array(value, "/flags")?.iter().enumerate() {
        match item.as_str() {
            Some("plan") => flags.plan = true,
            Some("audit") => flags.audit = true,
            Some("configure") => flags.configure = true,
            Some("multiline") => flags.multiline = true,
            Some("shadow") => flags.shadow = true,
            Some("headerName") => flags.header = true,
            _ => {
                let at = format!("/flags/{index}");
                return Err(Refusal::new(&at, "condition", "is not a known flag"));
            }
        }
    }
    Ok(flags)
}

/// Reads the condition of an override.
pub(super) fn read_condition(
    value: &Value,
    captures: usize,
    predicates: &dyn Fn(&str) -> bool,
) -> Parsed<Condition> {
    let scope = Scope {
        captures,
        in_item: false,
        predicates,
    };
    read(value, "/when", scope)
}

fn read(value: &Value, at: &str, scope: Scope<'_>) -> Parsed<Condition> {
    let map = object(value, at)?;
    let mut entries = map.iter();
    let (Some((kind, body)), None) = (entries.next(), entries.next()) else {
        return Err(Refusal::new(
            at,
            "condition",
            "a condition has exactly one key, its kind",
        ));
    };
    let here = format!("{at}/{kind}");
    let list = || -> Parsed<Vec<Condition>> {
        let items = array(body, &here)?.iter().enumerate();
        items
            .map(|(index, item)| read(item, &format!("{here}/{index}"), scope))
            .collect()
    };
    Ok(match kind.as_str() {
        "all" => Condition::All(list()?),
        "any" => Condition::Any(list()?),
        "not" => Condition::Not(Box::new(read(body, &here, scope)?)),
        "enabled" => Condition::Enabled(place(body, &here, scope)?),
        "set" => Condition::Set(place(body, &here, scope)?),
        "own" => Condition::Own(place(body, &here, scope)?),
        "env" => {
            let name = string(body, &here)?;
            check_captures(name, &here, scope.captures, "captures")?;
            Condition::Env(name.to_owned())
        }
        "equals" => {
            let body = object(body, &here)?;
            let at = format!("{here}/path");
            let path = place(body.get("path").unwrap_or(&Value::Null), &at, scope)?;
            Condition::Equals(path, test(body, &here, &["path"])?)
        }
        "effective" => {
            let body = object(body, &here)?;
            let part = |key: &str| {
                let value = body.get(key).unwrap_or(&Value::Null);
                place(value, &format!("{here}/{key}"), scope)
            };
            Condition::Effective {
                item: part("item")?,
                base: part("base")?,
                key: string(
                    body.get("key").unwrap_or(&Value::Null),
                    &format!("{here}/key"),
                )?
                .to_owned(),
                test: test(body, &here, &["item", "base", "key"])?,
            }
        }
        "inherited" => Condition::Inherited(Box::new(inherited(body, &here, scope)?)),
        "native" => {
            let native = Native::named(string(body, &here)?);
            match &native {
                Native::Host(name) if !(scope.predicates)(name) => {
                    let message = "no predicate of this name is registered";
                    return Err(Refusal::new(&here, "condition", message));
                }
                Native::AuthProfile => {
                    let message = "is only for stores of auth profiles";
                    return Err(Refusal::new(&here, "condition", message));
                }
                _ => Condition::Native(native),
            }
        }
        _ => {
            let kind = crate::text::printable_key(kind);
            let message = format!("\"{kind}\" is not a kind of condition");
            return Err(Refusal::new(at, "condition", message));
        }
    })
}

fn inherited(body: &Value, at: &str, scope: Scope<'_>) -> Parsed<Inherited> {
    let body = object(body, at)?;
    known_keys(
        body,
        at,
        &["from", "over", "itemWhen", "lacks", "emptyCounts"],
    )?;
    let over = string(
        body.get("over").unwrap_or(&Value::Null),
        &format!("{at}/over"),
    )?;
    let list = over.strip_suffix("[]").or_else(|| over.strip_suffix(".*"));
    let Some(list) = list else {
        let message = "must end in [] or .*";
        return Err(Refusal::new(&format!("{at}/over"), "condition", message));
    };
    let inside = Scope {
        in_item: true,
        ..scope
    };
    let item_when = match body.get("itemWhen") {
        None | Some(Value::Null) => None,
        Some(when) => Some(read(when, &format!("{at}/itemWhen"), inside)?),
    };
    let lacks_at = format!("{at}/lacks");
    let lacks = string(body.get("lacks").unwrap_or(&Value::Null), &lacks_at)?;
    let Some(lacks) = Path::parse(lacks) else {
        return Err(Refusal::new(&lacks_at, "condition", "is not a path"));
    };
    Ok(Inherited {
        over: place(&Value::from(list), &format!("{at}/over"), scope)?,
        item_when,
        lacks: lacks.segments().to_vec(),
        empty_counts: body.get("emptyCounts") == Some(&Value::Bool(true)),
    })
}

fn test(body: &Map<String, Value>, at: &str, others: &[&str]) -> Parsed<Test> {
    let keys: Vec<&str> = others
        .iter()
        .chain(&["values", "default", "fold"])
        .copied()
        .collect();
    known_keys(body, at, &keys)?;
    let values_at = format!("{at}/values");
    let values = array(body.get("values").unwrap_or(&Value::Null), &values_at)?;
    let scalar = |value: &Value| !value.is_array() && !value.is_object();
    if values.is_empty() || !values.iter().all(scalar) {
        let message = "must be a list of texts, numbers or booleans";
        return Err(Refusal::new(&values_at, "condition", message));
    }
    Ok(Test {
        values: values.clone(),
        default: body
            .get("default")
            .cloned()
            .filter(|value| !value.is_null()),
        fold: body.get("fold") == Some(&Value::Bool(true)),
    })
}

fn place(value: &Value, at: &str, scope: Scope<'_>) -> Parsed<Place> {
    let text = string(value, at)?;
    let Some(path) = Path::parse(text).filter(|path| !path.segments().is_empty()) else {
        return Err(Refusal::new(at, "condition", "is not a path"));
    };
    for (index, segment) in path.segments().iter().enumerate() {
        if segment == ITEM {
            if scope.in_item && index == 0 {
                continue;
            }
            let message = "{item} may only begin a path inside itemWhen";
            return Err(Refusal::new(at, "captures", message));
        }
        check_captures(segment, at, scope.captures, "captures")?;
    }
    Ok(Place(path.segments().to_vec()))
}

/// Every `{…}` must be the number of a capture.
fn check_captures(text: &str, at: &str, captures: usize, reason: &'static str) -> Parsed<()> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        if !name.parse::<usize>().is_ok_and(|number| number < captures) {
            let message = format!("only captures 0 to {} exist", captures.saturating_sub(1));
            let message = if captures == 0 {
                "the pattern has no captures".to_owned()
            } else {
                message
            };
            return Err(Refusal::new(at, reason, message));
        }
        rest = tail;
    }
    Ok(())
}

/// Checks a pattern; the number of its captures.
pub(super) fn check_pattern(pattern: &str, at: &str) -> Parsed<usize> {
    let steps = steps(pattern);
    let literal = |step: &Step| match step {
        Step::Literal(text) => Some(text.clone()),
        Step::AnyKey | Step::AnyIndex => None,
    };
    for text in steps.iter().filter_map(literal) {
        if ["__proto__", "prototype", "constructor"].contains(&text.as_str()) {
            let message = format!("\"{text}\" may not occur");
            return Err(Refusal::new(at, "forbidden_segment", message));
        }
        if text.is_empty() || text.contains(['[', ']', '"', '*', '{', '}']) {
            let message = "segments are names, * or name[], joined by dots";
            return Err(Refusal::new(at, "pattern", message));
        }
    }
    match steps.first() {
        Some(Step::Literal(_)) => Ok(steps
            .iter()
            .filter(|s| !matches!(s, Step::Literal(_)))
            .count()),
        _ => Err(Refusal::new(
            at,
            "pattern",
            "must begin with the name of a section",
        )),
    }
}

fn known_keys(map: &Map<String, Value>, at: &str, known: &[&str]) -> Parsed<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let key = crate::text::printable_key(key);
            Err(Refusal::new(
                at,
                "condition",
                format!("unknown key \"{key}\""),
            ))
        }
    }
}

fn required<'a>(map: &'a Map<String, Value>, key: &'static str) -> Parsed<&'a str> {
    let at = format!("/{key}");
    match text(map, key, &at)? {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(Refusal::new(&at, "pattern", format!("{key} is required"))),
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str, at: &str) -> Parsed<Option<&'a str>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => string(value, at).map(Some),
    }
}

fn string<'a>(value: &'a Value, at: &str) -> Parsed<&'a str> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(at, "a text", value))
}

fn array<'a>(value: &'a Value, at: &str) -> Parsed<&'a Vec<Value>> {
    value
        .as_array()
        .ok_or_else(|| wrong_type(at, "a list", value))
}

fn object<'a>(value: &'a Value, at: &str) -> Parsed<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(at, "an object", value))
}

fn wrong_type(at: &str, wanted: &str, value: &Value) -> Refusal {
    let message = format!("must be {wanted}, not {}", type_name(value));
    Refusal::new(at, "condition", message)
}
