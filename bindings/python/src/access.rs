//! Requests, and what is decided about them.

use std::borrow::Cow;

use auth::Snapshot;
use auth::access::{
    AccessRequest, ConnectionKind, Credentials, Denied, Headers, Identity, decision_to_json,
};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyMapping, PyTuple};

use crate::boundary::invalid;
use crate::convert::{object, seconds};

/// Header lines that Python holds, in the order of arrival: kept alive here, so that [`Lines`] can
/// borrow from them.
pub(crate) struct Pairs<'py>(Vec<Bound<'py, PyAny>>);

impl<'py> Pairs<'py> {
    /// Takes pairs of bytes or texts: a list, a mapping, or whatever can be iterated.
    pub(crate) fn new(headers: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        let Some(headers) = headers else {
            return Ok(Self(Vec::new()));
        };
        if let Ok(list) = headers.cast::<PyList>() {
            return Ok(Self(list.iter().collect()));
        }
        if let Ok(mapping) = headers.cast::<PyMapping>() {
            return Ok(Self(mapping.items()?.iter().collect()));
        }
        Ok(Self(headers.try_iter()?.collect::<PyResult<_>>()?))
    }
}

/// The same lines as the core takes them: names are ASCII.
pub(crate) struct Lines<'a>(Vec<(Cow<'a, str>, Cow<'a, [u8]>)>);

impl<'a> Lines<'a> {
    pub(crate) fn new(pairs: &'a Pairs<'_>) -> PyResult<Self> {
        Ok(Self(pairs.0.iter().map(line).collect::<PyResult<_>>()?))
    }

    /// The lines as texts, for reports. Bytes that are no UTF-8 are replaced.
    pub(crate) fn texts(&self) -> Vec<(&str, Cow<'_, str>)> {
        let lines = self.0.iter();
        lines
            .map(|(name, value)| (&**name, String::from_utf8_lossy(value)))
            .collect()
    }
}

fn line<'a>(pair: &'a Bound<'_, PyAny>) -> PyResult<(Cow<'a, str>, Cow<'a, [u8]>)> {
    let refused = || invalid(pair.py(), "headers", "pairs of name and value");
    if let Ok(pair) = pair.cast::<PyTuple>() {
        if pair.len() != 2 {
            return Err(refused());
        }
        let name = name(text(pair.get_borrowed_item(0)?)?);
        return Ok((name, text(pair.get_borrowed_item(1)?)?));
    }
    // Some servers make pairs that are lists. Those may change, so nothing is borrowed from them.
    let list = pair.cast::<PyList>().map_err(|_| refused())?;
    if list.len() != 2 {
        return Err(refused());
    }
    let (key, value) = (list.get_item(0)?, list.get_item(1)?);
    let name = name(text(key.as_borrowed())?).into_owned();
    Ok((name.into(), text(value.as_borrowed())?.into_owned().into()))
}

/// A name. Bytes beyond ASCII cannot be part of one, but some servers let them pass and others
/// take them for a hyphen, so the core has to see them as look-alikes.
fn name(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    let plain = |byte: &u8| {
        if byte.is_ascii() {
            char::from(*byte)
        } else {
            '_'
        }
    };
    match bytes {
        Cow::Borrowed(bytes) if bytes.is_ascii() => String::from_utf8_lossy(bytes),
        bytes => bytes.iter().map(plain).collect(),
    }
}

/// Bytes, or a text in which one character stands for one byte, as in WSGI and in the standard
/// library.
fn text<'a>(object: Borrowed<'a, '_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = object.extract::<&'a [u8]>() {
        return Ok(bytes.into());
    }
    let refused = || invalid(object.py(), "headers", "bytes, or texts of Latin-1");
    let text: &'a str = object.extract().map_err(|_| refused())?;
    if text.is_ascii() {
        return Ok(text.as_bytes().into());
    }
    let bytes = text.chars().map(|c| u8::try_from(c).map_err(|_| refused()));
    Ok(bytes.collect::<PyResult<Vec<u8>>>()?.into())
}

impl Headers for Lines<'_> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in &self.0 {
            visit(name, value);
        }
    }
}

/// The facts about a request beside its headers.
#[derive(Default)]
pub(crate) struct Facts<'a> {
    pub(crate) remote: Option<&'a str>,
    pub(crate) local: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) websocket: bool,
    pub(crate) tls: bool,
}

impl<'a> Facts<'a> {
    /// The request as the core takes it.
    pub(crate) fn request(&self, headers: &'a dyn Headers) -> AccessRequest<'a> {
        let given = self.token.is_some() || self.password.is_some();
        AccessRequest {
            remote: self.remote.filter(|remote| !remote.is_empty()),
            local: self.local.filter(|local| !local.is_empty()),
            headers,
            kind: match self.websocket {
                true => ConnectionKind::WebSocket,
                false => ConnectionKind::Http,
            },
            tls: self.tls,
            credentials: given.then(|| Credentials {
                token: self.token.map(str::as_bytes),
                password: self.password.map(str::as_bytes),
            }),
        }
    }
}

/// Whether a request may come in, and as whom.
#[pyclass(frozen, module = "openclaw_auth")]
pub(crate) struct Decision {
    outcome: Result<Identity, Denied>,
    hides_reasons: bool,
    #[pyo3(get)]
    generation: u64,
}

impl Decision {
    /// Judges by one snapshot.
    pub(crate) fn judge(snapshot: &Snapshot, request: Option<&AccessRequest<'_>>) -> Self {
        let access = snapshot.access();
        Self {
            outcome: access.authorize(request),
            hides_reasons: access.hides_reasons(),
            generation: snapshot.generation(),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        self.outcome.as_ref().ok()
    }

    fn denied(&self) -> Option<&Denied> {
        self.outcome.as_ref().err()
    }
}

#[pymethods]
impl Decision {
    #[getter]
    fn allowed(&self) -> bool {
        self.outcome.is_ok()
    }

    #[getter]
    fn method(&self) -> Option<&'static str> {
        self.identity().map(|identity| identity.method.as_str())
    }

    #[getter]
    fn user(&self) -> Option<&str> {
        self.identity()?.user.as_deref()
    }

    #[getter]
    fn client_ip(&self) -> Option<String> {
        self.identity()?.client_ip.map(|ip| ip.to_string())
    }

    #[getter]
    fn peer_ip(&self) -> Option<String> {
        self.identity()?.peer_ip.map(|ip| ip.to_string())
    }

    #[getter]
    fn local_peer(&self) -> bool {
        self.identity()
            .is_some_and(|identity| identity.local_direct)
    }

    #[getter]
    fn code(&self) -> Option<&'static str> {
        self.denied().map(|denied| denied.code().as_str())
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.denied()?.reason()
    }

    #[getter]
    fn header(&self) -> Option<&str> {
        self.denied()?.header()
    }

    #[getter]
    fn message(&self) -> Option<String> {
        self.denied().map(ToString::to_string)
    }

    #[getter]
    fn http_status(&self) -> u16 {
        self.denied().map_or(200, Denied::http_status)
    }

    #[getter]
    fn ws_close_code(&self) -> Option<u16> {
        self.denied().map(Denied::ws_close_code)
    }

    #[getter]
    fn challenge(&self) -> Option<&'static str> {
        self.denied()?.challenge()
    }

    #[getter]
    fn penalty(&self) -> f64 {
        let ms = self.denied().map_or(0, Denied::penalty_ms);
        seconds(ms.into())
    }

    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.denied()?.retry_after_ms().map(seconds)
    }

    #[getter]
    fn hides_reason(&self) -> bool {
        self.hides_reasons
    }

    /// The header lines that belong to a refusal.
    fn headers(&self) -> Vec<(&'static str, String)> {
        let Some(denied) = self.denied() else {
            return Vec::new();
        };
        let mut lines = vec![
            ("content-type", "application/json".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        let fixed = auth::access::JSON_HEADERS.iter();
        lines.extend(fixed.map(|(name, value)| (*name, (*value).to_owned())));
        if let Some(challenge) = denied.challenge() {
            lines.push(("www-authenticate", challenge.to_owned()));
        }
        if let Some(seconds) = denied.retry_after_seconds() {
            lines.push(("retry-after", seconds.to_string()));
        }
        lines
    }

    /// The JSON body of a refusal; empty when the request may come in.
    fn body(&self) -> Vec<u8> {
        let body = self.denied().map(|denied| denied.body(self.hides_reasons));
        body.map_or_else(Vec::new, |body| body.to_string().into_bytes())
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &decision_to_json(&self.outcome))
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    fn __repr__(&self) -> String {
        match &self.outcome {
            Ok(identity) => format!(
                "<Decision allowed method={} user={}>",
                identity.method.as_str(),
                identity.user.as_deref().unwrap_or("-").escape_debug()
            ),
            Err(denied) => format!("<Decision denied code={}>", denied.code()),
        }
    }
}
