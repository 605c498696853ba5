//! Building answers: JSON, and the headers that every answer carries.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use openclaw_auth::access::{JSON_HEADERS, SECURITY_HEADERS};
use serde_json::Value;

use super::body::ReplyBody;

/// An answer that the gateway made itself.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<ReplyBody> {
    json_text(status, Bytes::from(body.to_string()))
}

/// The same, with a body that is written already.
pub(crate) fn json_text(status: StatusCode, body: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, JSON);
    set(headers, &OWN);
    response
}

/// The page of metrics.
pub(crate) fn metrics(text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, METRICS_TEXT);
    set(headers, &OWN);
    response
}

/// Adds what every answer carries; replaces what a provider sent under the same names.
pub(crate) fn complete(headers: &mut HeaderMap, request_id: &str, hsts: Option<&HeaderValue>) {
    set(headers, &SECURITY);
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(hsts) = hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// Name of the header that carries the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names and values, ready to be copied.
type Table = Vec<(HeaderName, HeaderValue)>;

static SECURITY: LazyLock<Table> = LazyLock::new(|| table(SECURITY_HEADERS));
static OWN: LazyLock<Table> = LazyLock::new(|| table(JSON_HEADERS));

fn table(rows: &[(&'static str, &'static str)]) -> Table {
    let rows = rows.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    rows.collect()
}

/// Sets the headers of a table, replacing what is there.
fn set(headers: &mut HeaderMap, table: &Table) {
    for (name, value) in table {
        headers.insert(name.clone(), value.clone());
    }
}

/// Version 0.0.4 of Prometheus' text format.
pub(crate) const METRICS_TEXT: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Room for the headers that answers carry.
const HEADERS: usize = 16;
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
