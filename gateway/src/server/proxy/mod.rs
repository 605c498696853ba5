//! Forwarding requests to model providers with the gateway's own credentials.

mod attempts;
mod credential;
mod events;
mod headers;
mod model;
mod provider;
mod replay;
mod target;
mod upstream;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use openclaw_auth::Code;

pub(crate) use headers::RequestHeaders;
pub(crate) use replay::Budget;
pub(crate) use upstream::UpstreamClient;

use self::attempts::Job;
use self::provider::Provider;
use self::replay::Replay;
use super::answer::REQUEST_ID;
use super::body::{BodyFate, ReplyBody, RequestBody};
use super::core_api::Identity;
use super::failure::Failure;
use super::lending::Wish;
use super::limits::Permit;
use super::routes::Call;
use super::session;
use super::settings::Current;

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
    let session = session::of_request(&request, identity)?;
    let mut to = Destination {
        provider: id.to_owned(),
        rest: rest.to_owned(),
        model: target::model_in(rest),
        session,
        tells_profile: identity.is_admin,
        permit: admit(call, identity, request.headers())?,
    };
    let (head, mut body) = receive(call, request);
    // Limits are counted by model. A body of stated length is no stream, so it can be waited for.
    let can_read = declared_length(&head.headers).is_some() && !is_encoded(&head.headers);
    if to.model.is_none() && can_read && model::is_json(&head.headers) {
        let (whole, fate) = read_whole(body).await?;
        to.model = model::named(&whole);
        body = RequestBody::whole(whole, fate);
    }
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
    let session = session::of_request(&request, identity)?;
    let permit = admit(call, identity, request.headers())?;
    let (head, mut body) = receive(call, request);
    let chooser = model::Chooser::new(&*call.state.core, &*call.current.snapshot, &session);
    let (provider, model) = if body.is_end_stream() || !model::is_json(&head.headers) {
        chooser.selected()?
    } else {
        if is_encoded(&head.headers) {
            let message = "the body is encoded, so the model in it cannot be read";
            return Err(Failure::new(Code::ModelUnknown).with_message(message));
        }
        let (whole, fate) = read_whole(body).await?;
        let chosen = chooser.choose(whole)?;
        body = RequestBody::whole(chosen.body, fate);
        (chosen.provider, chosen.model)
    };
    let to = Destination {
        provider,
        rest: head.uri.path().trim_start_matches('/').to_owned(),
        model,
        session,
        tells_profile: identity.is_admin,
        permit,
    };
    send(call, to, head, body).await
}

/// Where a request goes.
struct Destination {
    provider: String,
    /// Path below the provider's address, without a leading slash.
    rest: String,
    model: Option<String>,
    session: String,
    tells_profile: bool,
    permit: Permit,
}

/// Reads a body to its end, within its limits.
async fn read_whole(body: RequestBody) -> Result<(Bytes, Arc<BodyFate>), Failure> {
    let fate = body.fate();
    let whole = body.collect().await;
    let whole =
        whole.map_err(|_| Failure::new(fate.fault().unwrap_or(Code::BodyIncomplete)).closing())?;
    Ok((whole.to_bytes(), fate))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_ENCODING)
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
    let mut newer: Option<Arc<Current>> = None;
    let wish = Wish {
        provider: to.provider,
        model: to.model,
        session: Some(to.session),
    };
    loop {
        let current = newer.as_deref().unwrap_or(call.current);
        let snapshot = &*current.snapshot;
        let provider = Provider::read(snapshot, &wish.provider)?;
        let uri = provider.base.join(&to.rest, head.uri.query())?;
        provider.check_signing()?;
        call.record.forwarded(&provider.id, snapshot.generation());
        let lease = attempts::acquire(call, &provider, &wish).await?;
        // A key goes to no address but the one that it was configured with.
        if lease
            .as_ref()
            .is_some_and(|lease| lease.generation() != snapshot.generation())
        {
            let fresh = call.state.current();
            let facts = call.link.facts(&head.headers);
            let decision = fresh.snapshot.authorize_again(&facts);
            decision.map_err(|denied| Failure::denied(*denied))?;
            newer = Some(fresh);
            continue;
        }
        let mut headers = current.settings.request_headers.pass(&head.headers);
        if !headers.contains_key(&REQUEST_ID)
            && let Ok(value) = HeaderValue::from_str(call.record.request_id())
        {
            headers.insert(REQUEST_ID, value);
        }
        provider.add_headers(snapshot, &mut headers)?;
        let job = Job {
            provider,
            uri,
            head,
            headers,
            fate: body.fate(),
            body: Replay::new(body, current.settings.max_replay, &call.state.replay),
            tells_profile: to.tells_profile,
        };
        return attempts::run(call, job, lease, to.permit).await;
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
