//! The routes, and the order in which a request is judged: form, caller, route, body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use openclaw_auth::Code;
use serde_json::json;

use super::access_log::Record;
use super::answer;
use super::body::{ReplyBody, RequestBody};
use super::checks;
use super::command::Command;
use super::connection::Surroundings;
use super::core_api::{Denied, Identity};
use super::failure::Failure;
use super::link::Link;
use super::metrics;
use super::probe;
use super::proxy;
use super::reload;
use super::session;
use super::settings::Current;
use super::state::State;
use super::status;
use super::websocket;

/// Everything that belongs to one request beside the request itself.
pub(crate) struct Call<'a> {
    /// What the connection belongs to.
    pub(crate) around: &'a Surroundings,
    /// The server.
    pub(crate) state: &'a Arc<State>,
    /// The connection it came on.
    pub(crate) link: &'a Arc<Link>,
    /// The snapshot that answers it.
    pub(crate) current: &'a Current,
    /// Its line in the access log.
    pub(crate) record: &'a mut Record,
}

/// A row of the route table.
struct Route {
    /// The path as metrics show it.
    template: &'static str,
    path: Path,
    methods: &'static [Method],
    /// The methods as the `Allow` header shows them.
    allow: &'static str,
    caller: Caller,
    handler: Handler,
}

enum Path {
    Is(&'static [&'static str]),
    Below(&'static str),
    Between(&'static str, &'static str),
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Caller {
    Anyone,
    Known,
    Admin,
}

#[derive(Clone, Copy)]
enum Handler {
    Live,
    Ready,
    WhoAmI,
    Status,
    Metrics,
    Probe,
    Reload,
    Command,
    Session,
    Proxy,
    ProxyByModel,
    WebSocket,
}

const ROUTES: &[Route] = &[
    Route {
        template: "/healthz",
        path: Path::Is(&["/health", "/healthz"]),
        methods: &[Method::GET, Method::HEAD],
        allow: "GET, HEAD",
        caller: Caller::Anyone,
        handler: Handler::Live,
    },
    Route {
        template: "/readyz",
        path: Path::Is(&["/ready", "/readyz"]),
        methods: &[Method::GET, Method::HEAD],
        allow: "GET, HEAD",
        caller: Caller::Anyone,
        handler: Handler::Ready,
    },
    Route {
        template: "/_auth/whoami",
        path: Path::Is(&["/_auth/whoami"]),
        methods: &[Method::GET],
        allow: "GET",
        caller: Caller::Known,
        handler: Handler::WhoAmI,
    },
    Route {
        template: "/_auth/probe",
        path: Path::Is(&["/_auth/probe"]),
        methods: &[Method::GET, Method::POST],
        allow: "GET, POST",
        caller: Caller::Known,
        handler: Handler::Probe,
    },
    Route {
        template: "/_auth/status",
        path: Path::Is(&["/_auth/status"]),
        methods: &[Method::GET],
        allow: "GET",
        caller: Caller::Known,
        handler: Handler::Status,
    },
    Route {
        template: "/_auth/reload",
        path: Path::Is(&["/_auth/reload"]),
        methods: &[Method::POST],
        allow: "POST",
        caller: Caller::Admin,
        handler: Handler::Reload,
    },
    Route {
        template: "/_auth/command",
        path: Path::Is(&["/_auth/command"]),
        methods: &[Method::POST],
        allow: "POST",
        caller: Caller::Known,
        handler: Handler::Command,
    },
    Route {
        template: "/_auth/sessions/{key}/model",
        path: Path::Between(SESSIONS, SESSION_MODEL),
        methods: &[Method::GET, Method::DELETE],
        allow: "GET, DELETE",
        caller: Caller::Known,
        handler: Handler::Session,
    },
    Route {
        template: "/_auth/metrics",
        path: Path::Is(&["/_auth/metrics"]),
        methods: &[Method::GET],
        allow: "GET",
        caller: Caller::Known,
        handler: Handler::Metrics,
    },
    Route {
        template: "/ws",
        path: Path::Is(&["/ws"]),
        methods: &[Method::GET],
        allow: "GET",
        caller: Caller::Known,
        handler: Handler::WebSocket,
    },
    Route {
        template: "/proxy/{provider}",
        path: Path::Below("/proxy/"),
        methods: &[],
        allow: "",
        caller: Caller::Known,
        handler: Handler::Proxy,
    },
    Route {
        template: "/v1",
        path: Path::Below("/v1/"),
        methods: &[],
        allow: "",
        caller: Caller::Known,
        handler: Handler::ProxyByModel,
    },
];

/// Answers one request.
///
/// # Errors
///
/// A failure that becomes the answer.
pub(crate) async fn answer(
    call: &mut Call<'_>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    checks::head(&request, &call.state.limits).map_err(|code| Failure::new(code).closing())?;
    let route = ROUTES
        .iter()
        .find(|route| route.serves(request.uri().path()));
    if let Some(route) = route {
        call.record.routed(route.template);
    }
    if let Some(route) = route.filter(|route| route.caller == Caller::Anyone) {
        route.check_method(request.method())?;
        check_own_body(request.headers(), call.state.limits.own_body)?;
        return Ok(match route.handler {
            Handler::Ready => ready(call, &request),
            _ => answer::json_text(StatusCode::OK, Bytes::from_static(LIVE)),
        });
    }
    if request.uri().query().is_some_and(checks::has_credential) {
        return Err(Code::CredentialInQuery.into());
    }
    let identity = authenticate(call, &request).await?;
    let route = route.ok_or(Code::NotFound)?;
    route.check_method(request.method())?;
    if route.caller == Caller::Admin && !identity.is_admin {
        return Err(Code::AdminRequired.into());
    }
    if !matches!(route.handler, Handler::Proxy | Handler::ProxyByModel) {
        check_own_body(request.headers(), call.state.limits.own_body)?;
    }
    match route.handler {
        // Boxed: every connection keeps room for the future of a request.
        Handler::Proxy => Box::pin(proxy::forward(call, &identity, request)).await,
        Handler::ProxyByModel => Box::pin(proxy::forward_by_model(call, &identity, request)).await,
        Handler::Probe if *request.method() == Method::POST => probe::begin(call, &identity),
        Handler::Probe => probe::answer(call, &identity, &request).await,
        Handler::Reload => Ok(reload(call).await),
        Handler::Metrics => Ok(answer::metrics(metrics::page(call.state).await)),
        Handler::WebSocket => websocket::open(call, identity, request),
        Handler::Command => command(call, &identity, request).await,
        Handler::Session => session_model(call, &identity, &request),
        Handler::Status => {
            let document = status::document(call.state, call.current).await;
            Ok(answer::json(StatusCode::OK, &document))
        }
        _ => Ok(who_am_i(call, &identity)),
    }
}

impl Route {
    fn serves(&self, path: &str) -> bool {
        match self.path {
            Path::Is(paths) => paths.contains(&path),
            Path::Below(prefix) => path.starts_with(prefix),
            Path::Between(prefix, suffix) => path
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix(suffix))
                .is_some_and(|key| !key.is_empty()),
        }
    }

    fn check_method(&self, method: &Method) -> Result<(), Failure> {
        if self.methods.is_empty() || self.methods.contains(method) {
            return Ok(());
        }
        Err(Failure::new(Code::MethodNotAllowed).allowing(self.allow))
    }
}

async fn authenticate(
    call: &mut Call<'_>,
    request: &Request<Incoming>,
) -> Result<Identity, Failure> {
    if call.current.settings.is_exposed {
        return Err(Failure::new(Code::GatewayBindWithoutAuth));
    }
    let decision = authorize(call, request);
    call.state.metrics.decided(
        call.current.snapshot.auth_mode(),
        checks::is_websocket(request.headers()),
        decision.as_ref().err().map(|denied| denied.code),
    );
    match decision {
        Ok(identity) => {
            call.link.admission.authenticated();
            call.record.accepted(&identity);
            Ok(identity)
        }
        Err(denied) => {
            call.record.refused();
            if denied.penalty_ms > 0 {
                tokio::time::sleep(Duration::from_millis(u64::from(denied.penalty_ms))).await;
            }
            Err(Failure::denied(*denied))
        }
    }
}

fn authorize(call: &Call<'_>, request: &Request<Incoming>) -> Result<Identity, Box<Denied>> {
    call.current
        .snapshot
        .authorize(&call.link.facts(request.headers()))
}

/// Whether the server is ready; why not is for callers on this machine or with credentials.
fn ready(call: &Call<'_>, request: &Request<Incoming>) -> Response<ReplyBody> {
    let failing = call.state.failing();
    let facts = call.link.facts(request.headers());
    let is_local = call.current.snapshot.is_local_direct(&facts);
    let mut body = json!({"ready": failing.is_empty()});
    if is_local || authorize(call, request).is_ok() {
        let uptime = call.state.started.elapsed().as_millis();
        body = json!({
            "ready": failing.is_empty(),
            "failing": failing,
            "uptimeMs": u64::try_from(uptime).unwrap_or(u64::MAX),
        });
    }
    let status = if failing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer::json(status, &body)
}

fn who_am_i(call: &Call<'_>, identity: &Identity) -> Response<ReplyBody> {
    let mut body = String::with_capacity(WHO_AM_I);
    identity.write(&mut body, |fields| {
        fields.text("requestId", call.record.request_id());
    });
    answer::json_text(StatusCode::OK, Bytes::from(body))
}

async fn reload(call: &Call<'_>) -> Response<ReplyBody> {
    let outcome = call.state.reloader.reload().await;
    let status = match *outcome {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::CONFLICT,
    };
    answer::json(status, &reload::document(&outcome))
}

/// Carries out a `/model` directive.
async fn command(
    call: &mut Call<'_>,
    identity: &Identity,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let session = session::of_request(&request, identity)?;
    let limits = &call.state.limits;
    let body = RequestBody::new(request.into_body(), limits.own_body, limits.body_idle);
    let fate = body.fate();
    call.record.receiving(body.fate());
    let body = body.collect().await;
    let body =
        body.map_err(|_| Failure::new(fate.fault().unwrap_or(Code::BodyIncomplete)).closing())?;
    let command = Command::read(&body.to_bytes())?;
    let done = command
        .run(&call.state.core, identity, Some(session))
        .await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Shows or forgets what a session has selected.
fn session_model(
    call: &Call<'_>,
    identity: &Identity,
    request: &Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let path = request.uri().path();
    let key = path
        .strip_prefix(SESSIONS)
        .and_then(|rest| rest.strip_suffix(SESSION_MODEL));
    let key = session::unescaped(key.unwrap_or_default())?;
    let session = session::named(&key, identity)?;
    let core = &*call.state.core;
    if *request.method() == Method::DELETE {
        core.forget_session(&session);
    }
    let selection = session::selection(core, &core.session(&session));
    let body = json!({"session": key, "selection": selection});
    Ok(answer::json(StatusCode::OK, &body))
}

/// Most of the gateway's own routes read no body; one that is too long is not even skipped over.
fn check_own_body(headers: &HeaderMap, limit: u64) -> Result<(), Failure> {
    if proxy::declared_length(headers).is_some_and(|length| length > limit) {
        return Err(Failure::new(Code::BodyTooLarge).closing());
    }
    Ok(())
}

const LIVE: &[u8] = br#"{"ok":true,"status":"live"}"#;
/// Room for the answer, usually.
const WHO_AM_I: usize = 256;
const SESSIONS: &str = "/_auth/sessions/";
const SESSION_MODEL: &str = "/model";

/// The caller's request id, when it has the form of one; proxies set it to follow a request.
pub(crate) fn given_request_id(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(answer::REQUEST_ID).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let text = line.to_str().ok()?;
    let is_fine = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_fine.then(|| text.to_owned())
}

/// Whether an answer has a body at all (RFC 9112, section 6.3).
pub(crate) fn has_body(is_head: bool, status: StatusCode) -> bool {
    !is_head
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}
