//! Signing in at a provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use napi::bindgen_prelude::{AsyncTask, External, Object};
use napi::{Env, Error as NapiError, Status};
use napi_derive::napi;
use openclaw_auth::{Code, Error, Host, LoginFlow, LoginOptions, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::boundary::{Handle, Job, closed, elsewhere, guard};
use crate::engine::{Shared, engine};
use crate::fields::Fields;

/// A sign-in that is under way.
pub(crate) struct Login {
    shared: Arc<Shared>,
    flow: Mutex<Option<LoginFlow>>,
    stopped: AtomicBool,
}

type Held = Arc<Login>;

const BEGIN: &[&str] = &["agent", "profile", "provider", "replace", "timeoutMs"];

/// Starts a sign-in.
#[napi(catch_unwind)]
pub(crate) fn login_begin(
    slot: u32,
    options: String,
) -> napi::Result<AsyncTask<Job<Handle<Held>>>> {
    let shared = guard(|| engine(slot))?;
    Ok(elsewhere(move || {
        let fields = Fields::read(&options, BEGIN)?;
        let mut wanted = LoginOptions::default();
        wanted.agent = fields.text("agent")?.map(str::to_owned);
        wanted.profile_id = fields.text("profile")?.map(str::to_owned);
        wanted.replace = fields.flag("replace")?.unwrap_or_default();
        wanted.timeout_ms = fields.count("timeoutMs")?;
        let flow = shared.core.oauth_begin(fields.need("provider")?, wanted)?;
        Ok(Handle(Arc::new(Login {
            shared,
            flow: Mutex::new(Some(flow)),
            stopped: AtomicBool::new(false),
        })))
    }))
}

/// What a program shows, as JSON. Warnings are given once.
#[napi(catch_unwind)]
pub(crate) fn login_info(login: &External<Held>) -> napi::Result<String> {
    guard(|| login.with(|flow| Ok(info(flow).to_string())))
}

/// Waits for the browser on a thread of its own, because that takes minutes. Gives the address
/// that came back, or nothing when the time is over.
#[napi(catch_unwind)]
pub(crate) fn login_listen<'env>(
    env: &'env Env,
    login: &External<Held>,
    timeout_ms: f64,
) -> napi::Result<Object<'env>> {
    let (deferred, promise) = env.create_deferred::<Option<String>, Resolver>()?;
    let login = Arc::clone(login);
    login.stopped.store(false, Ordering::Release);
    let timeout = Duration::from_secs_f64((timeout_ms / 1_000.0).clamp(0.0, 86_400.0));
    let wait = move || match guard(|| login.listen(timeout)) {
        Ok(address) => deferred.resolve(Box::new(move |_| Ok(address))),
        Err(error) => deferred.reject(error),
    };
    let spawned = thread::Builder::new()
        .name("openclaw-auth login".to_owned())
        .spawn(wait);
    spawned
        .map(|_| promise)
        .map_err(|_| NapiError::new(Status::GenericFailure, "no thread can be started"))
}

type Resolver = Box<dyn FnOnce(Env) -> napi::Result<Option<String>> + Send>;

/// Ends waiting for the browser, soon.
#[napi(catch_unwind)]
pub(crate) fn login_stop(login: &External<Held>) {
    login.stopped.store(true, Ordering::Release);
}

/// Completes a sign-in with the address that came back, or with pasted text.
#[napi(catch_unwind)]
pub(crate) fn login_complete(login: &External<Held>, text: String) -> AsyncTask<Job<String>> {
    let login = Arc::clone(login);
    elsewhere(move || {
        login.with(|flow| {
            let done = login.shared.core.oauth_complete(flow, &text)?;
            Ok(done.to_json().to_string())
        })
    })
}

/// The token request, for a program that sends it itself.
#[napi(catch_unwind)]
pub(crate) fn login_request(login: &External<Held>, text: String) -> napi::Result<String> {
    guard(|| login.with(|flow| Ok(flow.request_json(&text)?.to_string())))
}

/// The answer to that request.
#[napi(catch_unwind)]
pub(crate) fn login_accept(
    login: &External<Held>,
    status: u32,
    body: String,
) -> AsyncTask<Job<String>> {
    let login = Arc::clone(login);
    elsewhere(move || {
        let status = u16::try_from(status).unwrap_or_default();
        login.with(|flow| {
            let done = login
                .shared
                .core
                .oauth_accept_response(flow, status, &body)?;
            Ok(done.to_json().to_string())
        })
    })
}

/// Ends a sign-in and closes its listener.
#[napi(catch_unwind)]
pub(crate) fn login_close(login: &External<Held>) {
    login.stopped.store(true, Ordering::Release);
    // When it is being waited for, the one who waits lets it go.
    if let Some(mut flow) = login.flow.try_lock() {
        *flow = None;
    }
}

impl Login {
    fn with<T>(&self, body: impl FnOnce(&mut LoginFlow) -> Result<T>) -> Result<T> {
        body(self.flow.lock().as_mut().ok_or_else(|| closed("sign-in"))?)
    }

    fn listen(&self, timeout: Duration) -> Result<Option<String>> {
        let clock = Host::real().clock;
        let end = clock.monotonic() + timeout;
        while !self.stopped.load(Ordering::Acquire) {
            let left = end.saturating_sub(clock.monotonic());
            if left.is_zero() {
                return Ok(None);
            }
            let heard = self.with(|flow| flow.listen(left.min(SLICE)))?;
            if let Some(address) = heard {
                return Ok(Some(address.expose().to_owned()));
            }
        }
        Err(Error::new(Code::OauthLoginCancelled, "sign-in cancelled").retryable(true))
    }
}

/// How soon waiting notices that it is to end.
const SLICE: Duration = Duration::from_millis(100);

fn info(flow: &mut LoginFlow) -> Value {
    let addresses = flow.addresses().iter().map(ToString::to_string);
    json!({
        "addresses": addresses.collect::<Vec<_>>(),
        "hasEnded": flow.has_ended(),
        "isRemote": flow.is_remote(),
        "label": flow.label(),
        "provider": flow.provider(),
        "redirectUri": flow.redirect_uri(),
        "remainingMs": flow.remaining_ms(),
        "state": flow.state(),
        "url": flow.url(),
        "warnings": flow.take_warnings(),
    })
}
