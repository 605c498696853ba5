//! Functions that only the tests of this package call: feature `test-hooks`, never in a release.
#![expect(clippy::panic, reason = "the point is a panic that must not get out")]

use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;

use crate::boundary::{Job, elsewhere, guard};

const TEXT: &str = "a panic with sk-canary-in-a-panic in its text";

/// Panics inside a synchronous call.
#[napi(catch_unwind)]
pub(crate) fn test_panic_sync() -> napi::Result<String> {
    guard(|| panic!("{TEXT}"))
}

/// Panics on the other thread.
#[napi(catch_unwind)]
pub(crate) fn test_panic_async() -> AsyncTask<Job<String>> {
    elsewhere(|| panic!("{TEXT}"))
}

/// Panics outside the guard, where only the attribute is left.
#[napi(catch_unwind)]
pub(crate) fn test_panic_outside() -> napi::Result<String> {
    panic!("{TEXT}")
}
