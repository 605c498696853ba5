//! JSON values as Python objects, and back.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString};
use serde_json::{Map, Number, Value};

use crate::boundary::invalid;

/// The Python object of a JSON value.
pub(crate) fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => self::number(py, number)?,
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(object(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (key, value) in fields {
                dict.set_item(key, object(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

fn number<'py>(py: Python<'py>, number: &Number) -> PyResult<Bound<'py, PyAny>> {
    Ok(if let Some(whole) = number.as_i64() {
        whole.into_pyobject(py)?.into_any()
    } else if let Some(whole) = number.as_u64() {
        whole.into_pyobject(py)?.into_any()
    } else {
        let real = number.as_f64().unwrap_or(f64::NAN);
        PyFloat::new(py, real).into_any()
    })
}

/// The JSON value of a Python object made of dictionaries, sequences, texts, numbers and `None`.
/// What else there is, and whatever nests too deep, is refused without being shown: it may be
/// secret.
pub(crate) fn json(argument: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    read(object, MAX_DEPTH).map_err(|error| {
        if error.is_instance_of::<PyTypeError>(object.py()) {
            invalid(object.py(), argument, "made of what JSON knows")
        } else {
            error
        }
    })
}

const MAX_DEPTH: usize = 128;

fn read(object: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    let refused = || PyTypeError::new_err("no JSON");
    let deeper = depth.checked_sub(1).ok_or_else(refused)?;
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(text.to_str().map_err(|_| refused())?.into());
    }
    if let Ok(value) = object.cast::<PyBool>() {
        return Ok(value.is_true().into());
    }
    if object.is_instance_of::<PyInt>() {
        return object
            .extract::<i64>()
            .map(Value::from)
            .map_err(|_| refused());
    }
    if let Ok(real) = object.cast::<PyFloat>() {
        return Number::from_f64(real.value())
            .map(Value::Number)
            .ok_or_else(refused);
    }
    if let Ok(mapping) = object.cast::<PyMapping>() {
        let mut fields = Map::new();
        for item in mapping.items()? {
            let (key, value): (String, Bound<'_, PyAny>) = item.extract()?;
            fields.insert(key, read(&value, deeper)?);
        }
        return Ok(Value::Object(fields));
    }
    if object.is_instance_of::<PyBytes>() {
        return Err(refused());
    }
    let items = object.try_iter()?;
    items.map(|item| read(&item?, deeper)).collect()
}

/// Milliseconds of a number of seconds.
pub(crate) fn milliseconds(py: Python<'_>, argument: &str, seconds: f64) -> PyResult<u64> {
    let limit = 1e12;
    if !(0.0..=limit).contains(&seconds) {
        return Err(invalid(py, argument, "a number of seconds, 0 or more"));
    }
    // In range, as was just checked.
    Ok((seconds * 1000.0).round() as u64)
}

/// Seconds of a number of milliseconds.
pub(crate) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The value with this stable text, or an exception that names the texts.
pub(crate) fn word<T>(
    py: Python<'_>,
    argument: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
    known: &str,
) -> PyResult<Option<T>> {
    match text.map(parse) {
        None => Ok(None),
        Some(Some(value)) => Ok(Some(value)),
        Some(None) => Err(invalid(py, argument, known)),
    }
}
