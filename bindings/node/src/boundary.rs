//! The only door between JavaScript and the core: no panic and no error gets through it unchanged.

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi::bindgen_prelude::{AsyncTask, External, JsValue, Unknown};
use napi::{Env, Error, ScopedTask, Status};
use openclaw_auth::{Code, Error as CoreError};

/// Runs a call of the core. The error that JavaScript sees is a JSON object, of which
/// `lib/errors.cjs` makes an `OpenClawAuthError`.
///
/// Functions for JavaScript must return `napi::Result` under that name: the macro would give an
/// error under any other name back as a value instead of throwing it.
pub(crate) fn guard<T>(call: impl FnOnce() -> openclaw_auth::Result<T>) -> napi::Result<T> {
    caught(call).map_err(|error| Error::new(Status::GenericFailure, error.to_json().to_string()))
}

fn caught<T>(call: impl FnOnce() -> openclaw_auth::Result<T>) -> openclaw_auth::Result<T> {
    // The text of a panic may hold anything, so it stays here.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(CoreError::new(
            Code::Panic,
            "a defect inside the library was caught",
        ))
    })
}

/// The error for a mistake in the calling program.
pub(crate) fn invalid(argument: &str, expected: &str) -> CoreError {
    CoreError::new(
        Code::InvalidArgument,
        format!("`{argument}` must be {expected}"),
    )
    .with("argument", argument)
}

/// The error for what has been given back already.
pub(crate) fn closed(what: &str) -> CoreError {
    CoreError::new(Code::EngineClosed, format!("this {what} is closed"))
}

/// A call of the core for the pool of libuv.
pub(crate) struct Job<T> {
    call: Option<Box<dyn FnOnce() -> openclaw_auth::Result<T> + Send>>,
}

/// Calls the core on another thread; the answer settles a promise.
pub(crate) fn elsewhere<T: Settles>(
    call: impl FnOnce() -> openclaw_auth::Result<T> + Send + 'static,
) -> AsyncTask<Job<T>> {
    AsyncTask::new(Job {
        call: Some(Box::new(call)),
    })
}

impl<'env, T: Settles> ScopedTask<'env> for Job<T> {
    type Output = T;
    type JsValue = Unknown<'env>;

    fn compute(&mut self) -> napi::Result<T> {
        let call = self.call.take();
        // A task runs once.
        guard(|| call.map_or_else(|| Err(closed("task")), |call| call()))
    }

    fn resolve(&mut self, env: &'env Env, output: T) -> napi::Result<Unknown<'env>> {
        output.settle(env)
    }
}

/// What a promise can be settled with.
pub(crate) trait Settles: Sized + Send + 'static {
    /// The value for JavaScript.
    fn settle(self, env: &Env) -> napi::Result<Unknown<'_>>;
}

impl Settles for String {
    fn settle(self, env: &Env) -> napi::Result<Unknown<'_>> {
        env.create_string(&self).map(|text| text.to_unknown())
    }
}

impl<T: Send + 'static> Settles for Handle<T> {
    fn settle(self, env: &Env) -> napi::Result<Unknown<'_>> {
        External::new(self.0).into_unknown(env)
    }
}

/// Something that JavaScript holds until it closes it or loses it.
pub(crate) struct Handle<T>(pub(crate) T);
