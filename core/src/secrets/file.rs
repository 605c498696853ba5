//! The `file` provider: one read for all its references.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use jsonptr::Pointer;
use serde_json::Value;
use zeroize::Zeroizing;

use super::failure::Fault;
use super::path_policy::{PathKind, PathPolicy};
use super::provider::FileSettings;
use super::resolve::GroupResult;
use super::value::{Resolved, wipe};
use crate::error::Code;
use crate::host::{Host, OpenFile};
use crate::json::{Finding, ProblemKind, parse};

/// Resolves the ids of one file provider. `budget` shortens the provider's own time limit.
pub(super) fn resolve(
    host: &Host,
    home: &Path,
    alias: &str,
    settings: &FileSettings,
    ids: &[&str],
    budget: Option<Duration>,
) -> Result<GroupResult, Fault> {
    let kind = PathKind::File;
    let checked = PathPolicy {
        host,
        home,
        alias,
        kind,
        settings: &settings.path,
    }
    .check()?;
    let Some(open) = checked.open else {
        return Err(Fault::new(
            Code::SecretProviderUnreadable,
            format!("{}: not open", name(alias)),
        ));
    };
    let bytes = read(open, alias, settings, budget)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| parse_fault(alias, "invalid_utf8", "the file is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = if settings.single_value {
        single_value(alias, text, ids)
    } else {
        json(alias, text, ids)?
    };
    Ok(GroupResult {
        values,
        bypassed: checked.bypassed,
        ..GroupResult::default()
    })
}

/// Reads the open file on a thread of its own: a network file system may block for ever, and an
/// abandoned thread wipes its buffer when it returns.
fn read(
    mut open: Box<dyn OpenFile>,
    alias: &str,
    settings: &FileSettings,
    budget: Option<Duration>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let limit = settings.max_bytes;
    let own = Duration::from_millis(settings.timeout_ms);
    let timeout = budget.map_or(own, |budget| budget.min(own));
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(move || {
            // The receiver is gone after a time-out; the result is then wiped here.
            let _ = sender.send(open.read_to_limit(limit));
        });
    if let Err(error) = spawned {
        let message = format!("{}: no thread to read with ({})", name(alias), error.kind());
        return Err(Fault::new(Code::SecretProviderUnreadable, message)
            .reason("io")
            .retryable());
    }
    match receiver.recv_timeout(timeout) {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(Fault::new(
            Code::SecretProviderTooLarge,
            format!("{}: larger than maxBytes ({limit})", name(alias)),
        )
        .hint(format!(
            "raise secrets.providers.{alias}.maxBytes (at most 20971520)"
        ))),
        Ok(Err(error)) => {
            let message = format!("{}: cannot read ({})", name(alias), error.kind());
            Err(Fault::new(Code::SecretProviderUnreadable, message)
                .reason("io")
                .retryable())
        }
        Err(_) => Err(super::timeout_fault("file", alias, timeout)),
    }
}

fn name(alias: &str) -> String {
    format!("secrets.providers.{alias}.path")
}

fn parse_fault(alias: &str, reason: &'static str, message: &str) -> Fault {
    Fault::new(
        Code::SecretProviderParse,
        format!("{}: {message}", name(alias)),
    )
    .reason(reason)
}

fn wrong_id(message: String, hint: &str) -> Fault {
    Fault::new(Code::SecretRefInvalid, message)
        .reason("file_id")
        .hint(hint)
}

/// The whole text, less one line end, is the value of the id `value`.
fn single_value(
    alias: &str,
    text: &str,
    ids: &[&str],
) -> BTreeMap<String, Result<Resolved, Fault>> {
    let body = text
        .strip_suffix('\n')
        .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    let value = crate::text::SecretText::new(body.to_owned());
    let one = |id: &&str| {
        let result = if *id == "value" {
            Ok(Resolved::Text(value.clone()))
        } else {
            let message =
                format!("provider \"{alias}\" holds a single value; use the id \"value\"");
            Err(wrong_id(message, "write id: \"value\""))
        };
        ((*id).to_owned(), result)
    };
    ids.iter().map(one).collect()
}

fn json(
    alias: &str,
    text: &str,
    ids: &[&str],
) -> Result<BTreeMap<String, Result<Resolved, Fault>>, Fault> {
    let parsed = parse(text).map_err(|problem| {
        let (line, column) = (problem.place.line, problem.place.column);
        match problem.kind {
            ProblemKind::TooDeep => parse_fault(alias, "too_deep", "nested deeper than 128 levels"),
            ProblemKind::Syntax => parse_fault(
                alias,
                "syntax",
                &format!("invalid JSON at line {line}, column {column}"),
            )
            .detail("line", line)
            .detail("column", column),
        }
    })?;
    if parsed
        .findings
        .iter()
        .any(|(_, finding)| *finding == Finding::TooManyValues)
    {
        wipe(parsed.value);
        return Err(parse_fault(alias, "too_deep", "more than 1000000 values"));
    }
    let mut root = parsed.value;
    if !root.is_object() {
        wipe(root);
        return Err(parse_fault(
            alias,
            "not_object",
            "the top level must be a JSON object",
        ));
    }
    let values = ids
        .iter()
        .map(|id| ((*id).to_owned(), at_pointer(alias, &mut root, id)))
        .collect();
    wipe(root);
    Ok(values)
}

/// The value at an RFC 6901 pointer.
fn at_pointer(alias: &str, root: &mut Value, id: &str) -> Result<Resolved, Fault> {
    if id == "value" {
        let message =
            format!("provider \"{alias}\" is read as JSON; \"value\" belongs to singleValue files");
        return Err(wrong_id(
            message,
            "set mode: \"singleValue\", or write \"/value\" for the key of that name",
        ));
    }
    let not_found = |reason: &str, message: String| {
        Fault::new(Code::SecretRefNotFound, message)
            .reason(reason)
            .detail("pointer", shown(id))
    };
    let pointer = Pointer::parse(id).map_err(|_| {
        not_found(
            "pointer_missing",
            format!("secrets file of provider \"{alias}\": unusable pointer"),
        )
    })?;
    match pointer.resolve(&*root) {
        // Cloned, not moved: two references may point to overlapping places.
        Ok(value) => Ok(Resolved::from_json(value.clone())),
        Err(
            jsonptr::resolve::Error::NotFound { position, .. }
            | jsonptr::resolve::Error::Unreachable { position, .. },
        ) => Err(not_found(
            "pointer_missing",
            format!(
                "secrets file of provider \"{alias}\": nothing at {} (token {})",
                shown(id),
                position + 1
            ),
        )),
        Err(_) => Err(not_found(
            "pointer_index",
            format!(
                "secrets file of provider \"{alias}\": {} has an invalid or out-of-range list index",
                shown(id)
            ),
        )),
    }
}

/// The pointer, when every token is of the plain kind; people paste secrets in odd places.
fn shown(id: &str) -> String {
    let plain = id.split('/').skip(1).all(|token| {
        (1..=64).contains(&token.len())
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    });
    if plain {
        id.to_owned()
    } else {
        format!("<pointer of {} tokens>", id.matches('/').count())
    }
}
