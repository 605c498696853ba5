//! Forwarding requests to model providers with the gateway's own credentials.

mod credential;
mod headers;
mod provider;
mod target;
mod upstream;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
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
    let (state, snapshot) = (call.state, &*call.current.snapshot);
    let settings = &call.current.settings;
    let (id, rest) = target::split(request.uri().path()).ok_or(Code::NotFound)?;
    let provider = Provider::read(snapshot, id)?;
    let uri = provider.base.join(rest, request.uri().query())?;
    if declared_length(request.headers()).is_some_and(|length| length > settings.max_body) {
        return Err(Failure::new(Code::BodyTooLarge).closing());
    }
    let permit = state
        .forwarded
        .admit(identity.user.as_deref(), &state.limits)
        .ok_or_else(|| Failure::new(Code::Overloaded).retry_after_s(1))?;
    call.record.forwarded(&provider.id);

    let credential = Credential::of_provider(snapshot, &provider)?;
    let mut headers = settings.request_headers.pass(request.headers());
    if !headers.contains_key(&REQUEST_ID)
        && let Ok(value) = HeaderValue::from_str(call.record.request_id())
    {
        headers.insert(REQUEST_ID, value);
    }
    provider.add_headers(snapshot, &mut headers)?;
    if let Some(credential) = &credential {
        credential.add_to(&mut headers)?;
    }

    let method = request.method().clone();
    let (body, fate) = RequestBody::new(
        request.into_body(),
        settings.max_body,
        state.limits.body_idle,
    );
    call.record.receiving(Arc::clone(&fate));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
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
            ReplyBody::stream(incoming, state.limits.upstream_idle, permit)
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
