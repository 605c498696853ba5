//! Forwarding requests to model providers with the gateway's own credentials.

mod credential;
mod headers;
mod model;
mod provider;
mod target;
mod upstream;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};
use openclaw_auth::Code;
use serde_json::Value;
use tokio::time::timeout;

pub(crate) use headers::RequestHeaders;
pub(crate) use upstream::UpstreamClient;

use self::credential::Credential;
use self::provider::Provider;
use super::answer::REQUEST_ID;
use super::body::{BodyFate, ReplyBody, RequestBody};
use super::core_api::Identity;
use super::failure::Failure;
use super::limits::Permit;
use super::routes::Call;

/// Forwards `/proxy/{provider}/{rest}`.
///
/// # Errors
///
/// A failure that becomes the answer; after the first byte of the provider's answer there is
/// none.
pub(crate) async fn forward(
    call: &mut Call<'_>,
    identity: &Identity,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let (id, rest) = target::split(request.uri().path()).ok_or(Code::NotFound)?;
    let to = Destination {
        provider: id.to_owned(),
        rest: rest.to_owned(),
        permit: admit(call, identity, request.headers())?,
    };
    let (head, body) = receive(call, request);
    send(call, to, head, body).await
}

/// Forwards `/v1/{rest}` to the provider of the model that the body names.
///
/// # Errors
///
/// As [`forward`], and `model_unknown`.
pub(crate) async fn forward_by_model(
    call: &mut Call<'_>,
    identity: &Identity,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let permit = admit(call, identity, request.headers())?;
    let (head, mut body) = receive(call, request);
    let snapshot = &*call.current.snapshot;
    let provider = if body.is_end_stream() || !model::is_json(&head.headers) {
        model::default_provider(snapshot)?
    } else {
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            let message = "the body is encoded, so the model in it cannot be read";
            return Err(Failure::new(Code::ModelUnknown).with_message(message));
        }
        let fate = body.fate();
        let whole = body.collect().await;
        let whole = whole
            .map_err(|_| Failure::new(fate.fault().unwrap_or(Code::BodyIncomplete)).closing())?;
        let (provider, whole) = model::choose(snapshot, whole.to_bytes())?;
        body = RequestBody::whole(whole, fate);
        provider
    };
    let to = Destination {
        provider,
        rest: head.uri.path().trim_start_matches('/').to_owned(),
        permit,
    };
    send(call, to, head, body).await
}

/// Where a request goes.
struct Destination {
    provider: String,
    /// Path below the provider's address, without a leading slash.
    rest: String,
    permit: Permit,
}

/// Finds a place among the forwarded requests, for bodies that are not too large.
fn admit(call: &Call<'_>, identity: &Identity, headers: &HeaderMap) -> Result<Permit, Failure> {
    let max_body = call.current.settings.max_body;
    if declared_length(headers).is_some_and(|length| length > max_body) {
        return Err(Failure::new(Code::BodyTooLarge).closing());
    }
    let forwarded = &call.state.forwarded;
    forwarded
        .admit(identity.user.as_deref(), &call.state.limits)
        .ok_or_else(|| Failure::new(Code::Overloaded).retry_after_s(1))
}

/// Takes a request apart; its body is read within the limits.
fn receive(call: &mut Call<'_>, request: Request<Incoming>) -> (Parts, RequestBody) {
    let (head, incoming) = request.into_parts();
    let body = RequestBody::new(
        incoming,
        call.current.settings.max_body,
        call.state.limits.body_idle,
    );
    call.record.receiving(body.fate());
    (head, body)
}

async fn send(
    call: &mut Call<'_>,
    to: Destination,
    head: Parts,
    body: RequestBody,
) -> Result<Response<ReplyBody>, Failure> {
    let (state, snapshot) = (call.state, &*call.current.snapshot);
    let provider = Provider::read(snapshot, &to.provider)?;
    let uri = provider.base.join(&to.rest, head.uri.query())?;
    call.record.forwarded(&provider.id);

    let credential = Credential::of_provider(snapshot, &provider)?;
    let mut headers = call.current.settings.request_headers.pass(&head.headers);
    if !headers.contains_key(&REQUEST_ID)
        && let Ok(value) = HeaderValue::from_str(call.record.request_id())
    {
        headers.insert(REQUEST_ID, value);
    }
    provider.add_headers(snapshot, &mut headers)?;
    if let Some(credential) = &credential {
        credential.add_to(&mut headers)?;
    }

    let fate = body.fate();
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = head.method;
    *outgoing.uri_mut() = uri;
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = headers;

    let sent = timeout(state.limits.first_byte, state.upstream.send(outgoing)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(not_sent(&fate, &error)),
        Err(_) => return Err(Code::UpstreamTimeout.into()),
    };
    call.record.first_byte();
    match response.status() {
        status if is_redirect(status) => Err(Code::UpstreamRedirect.into()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(auth_failed(response, credential.as_ref()).await)
        }
        _ => Ok(pass_back(response, &provider, |incoming| {
            ReplyBody::stream(incoming, state.limits.upstream_idle, to.permit)
        })),
    }
}

/// The length that a request announces for its body.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn not_sent(fate: &Arc<BodyFate>, error: &upstream::SendError) -> Failure {
    match fate.fault() {
        Some(code) => Failure::new(code).closing(),
        None => error.code().into(),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 307 | 308)
}

fn pass_back(
    response: Response<Incoming>,
    provider: &Provider<'_>,
    stream: impl FnOnce(Incoming) -> ReplyBody,
) -> Response<ReplyBody> {
    let (head, incoming) = response.into_parts();
    let mut headers = headers::pass_back(&head.headers);
    if let Ok(value) = HeaderValue::from_str(&provider.id) {
        headers.insert("x-openclaw-provider", value);
    }
    let is_event_stream = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"text/event-stream")
    });
    if is_event_stream {
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let mut response = Response::new(stream(incoming));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

/// The provider refused our credential. Its status is not passed on: the caller's own
/// authentication was fine, and a proxy in front would start a login for nothing.
async fn auth_failed(response: Response<Incoming>, credential: Option<&Credential>) -> Failure {
    let status = response.status().as_u16();
    let failure = Failure::new(Code::UpstreamAuthFailed).with("upstreamStatus", status);
    match refusal(response).await {
        Some(message) => failure.with("upstream", shown(&message, credential)),
        None => failure.with("upstream", Value::Null),
    }
}

async fn refusal(response: Response<Incoming>) -> Option<String> {
    let is_encoded = response
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes() != b"identity");
    if is_encoded || response.body().is_end_stream() {
        return None;
    }
    let body = Limited::new(response.into_body(), REFUSAL_BYTES).collect();
    let bytes: Bytes = timeout(REFUSAL_TIME, body).await.ok()?.ok()?.to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Ok(value) = serde_json::from_str::<Value>(&text) else {
        return Some(text);
    };
    let message = ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .find_map(|place| value.pointer(place).and_then(Value::as_str));
    message.map(str::to_owned)
}

/// Foreign text as it may be shown: without the credential, control characters and excess.
fn shown(message: &str, credential: Option<&Credential>) -> String {
    let message = match credential {
        Some(credential) => credential.remove_from(message),
        None => message.to_owned(),
    };
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(REFUSAL_SHOWN)
        .collect()
}

const REFUSAL_BYTES: usize = 8 * 1024;
const REFUSAL_SHOWN: usize = 500;
const REFUSAL_TIME: std::time::Duration = std::time::Duration::from_secs(5);
