//! One request to a provider, with as many credentials as it takes: only a limit of the provider
//! makes the gateway go on to the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts as RequestParts;
use hyper::http::response::Parts;
use hyper::{Request, Response, StatusCode, Uri, Version};
use openclaw_auth::{Code, CredentialKind, Error, Reason};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::body::{BodyFate, ReplyBody, Watch};
use super::super::failure::Failure;
use super::super::lending::{Lent, Next, Trouble, Wish};
use super::super::limits::Permit;
use super::super::routes::Call;
use super::credential::Credential;
use super::events::Events;
use super::headers;
use super::provider::Provider;
use super::replay::Replay;
use super::upstream::SendError;

/// A request on its way to a provider.
pub(super) struct Job<'a> {
    pub(super) provider: Provider<'a>,
    pub(super) uri: Uri,
    pub(super) head: RequestParts,
    /// Headers for the provider, without the credential.
    pub(super) headers: HeaderMap,
    pub(super) body: Replay,
    pub(super) fate: Arc<BodyFate>,
    /// Whether the caller may know which credential served.
    pub(super) tells_profile: bool,
}

/// What becomes of an answer that is an error.
enum After {
    /// Another attempt.
    Again(Box<dyn Lent>),
    /// No credential is left; when one will be, in milliseconds from now.
    Exhausted(Option<u64>),
    /// The error is the caller's business.
    PassOn,
}

/// Sends a request until the provider takes it or no credential is left. The first credential is
/// given.
///
/// # Errors
///
/// A failure that becomes the answer.
pub(super) async fn run(
    call: &mut Call<'_>,
    job: Job<'_>,
    mut lease: Option<Box<dyn Lent>>,
    permit: Permit,
) -> Result<Response<ReplyBody>, Failure> {
    loop {
        call.record.attempting();
        let response = send(call, &job, lease.as_deref()).await?;
        call.record.first_byte();
        let status = response.status();
        if is_redirect(status) {
            return Err(Code::UpstreamRedirect.into());
        }
        if !status.is_client_error() && !status.is_server_error() {
            job.body.settle();
            return Ok(accepted(call, &job, response, lease, permit));
        }
        let answer = ErrorAnswer::begin(response).await;
        let credential = lease.as_deref().and_then(|lease| job.credential(lease));
        let after = match lease {
            None => After::PassOn,
            Some(lease) => judge(call, &job, Arc::from(lease), &answer).await?,
        };
        match after {
            After::Again(next) => lease = Some(next),
            After::PassOn if is_refusal(status) => {
                return Err(answer.into_refusal(credential.as_ref()));
            }
            After::Exhausted(ms) if is_refusal(status) => {
                let failure = Failure::new(Code::AllUnavailable).with_status(429);
                return Err(match ms {
                    Some(ms) => failure.retry_after_s(ms.div_ceil(1000)),
                    None => failure,
                });
            }
            After::PassOn => return Ok(answer.into_response(call, &job, None, permit)),
            After::Exhausted(ms) => return Ok(answer.into_response(call, &job, ms, permit)),
        }
    }
}

impl Job<'_> {
    fn credential(&self, lease: &dyn Lent) -> Option<Credential> {
        Credential::of_lease(lease, &self.provider)
    }

    fn may_repeat(&self) -> bool {
        self.fate.fault().is_none() && self.body.can_repeat()
    }
}

/// The first credential; `None` when the provider works without any.
///
/// # Errors
///
/// `credential_missing`, `all_unavailable`, and whatever keeps the engine from lending.
pub(super) async fn acquire(
    call: &Call<'_>,
    provider: &Provider<'_>,
    wish: &Wish,
) -> Result<Option<Box<dyn Lent>>, Failure> {
    let (core, wish) = (Arc::clone(&call.state.core), wish.clone());
    match off_the_workers(move || core.lease(&wish)).await? {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.code() == Code::NoCredentials && provider.works_bare() => Ok(None),
        Err(error) => {
            log::warn!("models.providers.{}: {}", provider.id, error.message());
            Err(not_lent(&error))
        }
    }
}

/// The answer when there is no credential to send.
fn not_lent(error: &Error) -> Failure {
    let detail = |key: &str| error.details().get(key);
    match error.code() {
        Code::NoCredentials => Code::CredentialMissing.into(),
        Code::AllUnavailable => {
            let reason = detail("reason").and_then(Value::as_str);
            let status = reason.and_then(Reason::parse).map(Reason::http_status);
            // A refused credential is ours, not the caller's.
            let status = status.filter(|status| !matches!(status, 401 | 403));
            let mut failure = Failure::new(Code::AllUnavailable).with_status(status.unwrap_or(502));
            if let Some(reason) = reason {
                failure = failure.with("reason", reason);
            }
            match error.retry_after_ms() {
                Some(ms) => failure.retry_after_s(ms.div_ceil(1000).max(1)),
                None => failure,
            }
        }
        code => Failure::new(code),
    }
}

/// One attempt, up to the head of the answer.
async fn send(
    call: &Call<'_>,
    job: &Job<'_>,
    lease: Option<&dyn Lent>,
) -> Result<Response<Incoming>, Failure> {
    let mut headers = job.headers.clone();
    if let Some(credential) = lease.and_then(|lease| job.credential(lease)) {
        credential.add_to(&mut headers)?;
    }
    let mut outgoing = Request::new(job.body.attempt());
    *outgoing.method_mut() = job.head.method.clone();
    *outgoing.uri_mut() = job.uri.clone();
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = headers;
    let state = call.state;
    let sent = timeout(state.limits.first_byte, state.upstream.send(outgoing)).await;
    match sent {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(not_sent(&job.fate, &error)),
        Err(_) => Err(Code::UpstreamTimeout.into()),
    }
}

fn not_sent(fate: &Arc<BodyFate>, error: &SendError) -> Failure {
    match fate.fault() {
        Some(code) => Failure::new(code).closing(),
        None => error.code().into(),
    }
}

/// What follows an error. Only a limit of the provider counts against a credential and makes the
/// next one take over; a refused OAuth token is renewed once.
async fn judge(
    call: &Call<'_>,
    job: &Job<'_>,
    lease: Arc<dyn Lent>,
    answer: &ErrorAnswer,
) -> Result<After, Failure> {
    let trouble = answer.trouble();
    let may_repeat = job.may_repeat();
    let cause = lease.classify(&trouble);
    let is_renewable = cause.reason == Reason::Auth && lease.kind() == CredentialKind::OAuth;
    if !cause.rotates_keys && !is_renewable {
        return Ok(After::PassOn);
    }
    let metrics = Arc::clone(&call.state.metrics);
    let provider = job.provider.id.clone();
    off_the_workers(move || {
        if !may_repeat {
            lease.give_up(&trouble);
            return After::PassOn;
        }
        match lease.fail(&trouble) {
            Next::Retry(next) if cause.rotates_keys => {
                metrics.rotated(&provider, cause.reason.as_str());
                After::Again(next)
            }
            Next::Retry(next) if next.candidate() == lease.candidate() => After::Again(next),
            Next::Over(ms) if cause.rotates_keys => After::Exhausted(ms),
            Next::Retry(_) | Next::Over(_) => After::PassOn,
        }
    })
    .await
}

/// An answer that went well: it is passed on as it arrives, and its end is reported.
fn accepted(
    call: &mut Call<'_>,
    job: &Job<'_>,
    response: Response<Incoming>,
    lease: Option<Box<dyn Lent>>,
    permit: Permit,
) -> Response<ReplyBody> {
    let (head, incoming) = response.into_parts();
    let (status, mut headers) = outgoing(&head, &job.provider.id);
    let is_event_stream = is_event_stream(&headers);
    if is_event_stream {
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if let Some(lease) = lease.as_deref().filter(|_| job.tells_profile)
        && let Ok(name) = HeaderValue::from_str(lease.candidate())
    {
        headers.insert("x-openclaw-profile", name);
    }
    if let Some(lease) = &lease {
        call.record.served_by(lease.candidate());
    }
    let watch = lease.map(|lease| {
        let can_read = is_event_stream && !is_encoded(&head.headers);
        Box::new(Report {
            lease,
            events: can_read.then(Events::default),
            headers: limits_in(&head.headers),
        }) as Box<dyn Watch>
    });
    let idle = call.state.limits.upstream_idle;
    let body = ReplyBody::stream(VecDeque::new(), incoming, idle, permit, watch);
    finish(status, headers, body)
}

/// Reports a success at the end of an answer.
struct Report {
    lease: Box<dyn Lent>,
    events: Option<Events>,
    headers: Vec<(String, String)>,
}

impl Watch for Report {
    fn passed(&mut self, data: &Bytes) {
        if let Some(events) = &mut self.events {
            events.pass(data);
        }
    }

    fn ended(self: Box<Self>) {
        // Reporting may write the store. Nobody waits for it.
        drop(spawn_blocking(move || {
            let Self {
                lease,
                events,
                headers,
            } = *self;
            let Some(body) = events.and_then(Events::into_error) else {
                lease.succeed(&headers);
                return;
            };
            let trouble = Trouble {
                body: Some(body),
                headers,
                ..Trouble::default()
            };
            if lease.classify(&trouble).rotates_keys {
                lease.give_up(&trouble);
            }
        }));
    }
}

/// An answer that is an error: its beginning is read, to see what it means.
struct ErrorAnswer {
    head: Parts,
    begun: VecDeque<Bytes>,
    rest: Incoming,
}

impl ErrorAnswer {
    async fn begin(response: Response<Incoming>) -> Self {
        let (head, mut rest) = response.into_parts();
        let mut begun = VecDeque::new();
        let (mut size, until) = (0, Instant::now() + ERROR_TIME);
        while size < ERROR_BYTES && !rest.is_end_stream() {
            match timeout_at(until, rest.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        size += data.len();
                        begun.push_back(data);
                    }
                }
                // What is wrong with the body is found when it is passed on.
                _ => break,
            }
        }
        Self { head, begun, rest }
    }

    fn text(&self) -> Option<String> {
        if is_encoded(&self.head.headers) {
            return None;
        }
        let bytes: Vec<u8> = self.begun.iter().flatten().copied().collect();
        let bytes = bytes.get(..ERROR_BYTES).unwrap_or(&bytes);
        Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
    }

    fn trouble(&self) -> Trouble {
        Trouble {
            status: Some(self.head.status.as_u16()),
            body: self.text(),
            headers: texts_of(&self.head.headers, |_| true),
            transport: None,
        }
    }

    fn into_response(
        self,
        call: &Call<'_>,
        job: &Job<'_>,
        retry_after_ms: Option<u64>,
        permit: Permit,
    ) -> Response<ReplyBody> {
        let (status, mut headers) = outgoing(&self.head, &job.provider.id);
        if let Some(ms) = retry_after_ms {
            // The provider's own hints are about one of several credentials.
            headers.remove("retry-after-ms");
            headers.insert(header::RETRY_AFTER, ms.div_ceil(1000).max(1).into());
        }
        let idle = call.state.limits.upstream_idle;
        let body = ReplyBody::stream(self.begun, self.rest, idle, permit, None);
        finish(status, headers, body)
    }

    /// The provider refused our credential. Its status is not passed on: the caller's own
    /// authentication was fine, and a proxy in front would start a login for nothing.
    fn into_refusal(self, credential: Option<&Credential>) -> Failure {
        let status = self.head.status.as_u16();
        let failure = Failure::new(Code::UpstreamAuthFailed).with("upstreamStatus", status);
        match self.text() {
            Some(text) => failure.with("upstream", shown(&message_in(text), credential)),
            None => failure.with("upstream", Value::Null),
        }
    }
}

/// Work that may wait for files or for other programs.
async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work)
        .await
        .map_err(|_| Failure::new(Code::InternalError))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 307 | 308)
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"text/event-stream")
    })
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes() != b"identity")
}

/// Status and headers of an answer as the caller gets them.
fn outgoing(head: &Parts, provider: &str) -> (StatusCode, HeaderMap) {
    let mut headers = headers::pass_back(&head.headers);
    if let Ok(value) = HeaderValue::from_str(provider) {
        headers.insert("x-openclaw-provider", value);
    }
    (head.status, headers)
}

fn finish(status: StatusCode, headers: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that say how much of a limit is left.
fn limits_in(headers: &HeaderMap) -> Vec<(String, String)> {
    texts_of(headers, |name| name.contains("ratelimit"))
}

fn texts_of(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let lines = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    lines
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

/// The message in the body of an error, or the body itself.
fn message_in(text: String) -> String {
    let Ok(value) = serde_json::from_str::<Value>(&text) else {
        return text;
    };
    let places = ["/error/message", "/message", "/error", "/detail"];
    let message = places
        .iter()
        .find_map(|place| value.pointer(place).and_then(Value::as_str));
    message.unwrap_or_default().to_owned()
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
        .take(ERROR_SHOWN)
        .collect()
}

const ERROR_BYTES: usize = 8 * 1024;
const ERROR_SHOWN: usize = 500;
const ERROR_TIME: Duration = Duration::from_secs(5);
