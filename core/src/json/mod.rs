//! JSON and JSON5: reading behind a depth guard, paths into documents, places in the text.

mod depth;
mod edit;
mod path;
mod read;
mod scan;
mod typed;

use serde_json::Value;

pub(crate) use depth::measure;
pub(crate) use edit::Editor;
pub use path::Path;
pub(crate) use path::lookup;
pub(crate) use read::{Finding, ProblemKind, parse, parse_json5};
pub(crate) use scan::{Place, find_places, place_at};
pub(crate) use typed::{Fields, Mismatch, unknown_key};

/// Deepest nesting of values that is read; the top level is 1.
pub(crate) const MAX_DEPTH: usize = 128;

/// The name of a value's type, as messages use it.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
