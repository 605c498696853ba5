//! The native half of the npm package `openclaw-auth`.
//!
//! What a request needs (`authorize`, `secret`, `lease`, `report`) has functions of its own, which
//! cross from JavaScript once with few, flat arguments. Everything else goes through one table of
//! methods that take and give JSON, in a synchronous and a promise form. Classes, defaults and
//! types live in JavaScript, in `lib/`.
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "the functions are registered in the addon only, and a test program is none"
    )
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "arguments come from JavaScript as owned values"
)]

mod access;
mod boundary;
mod clock;
mod engine;
mod fields;
#[cfg(feature = "test-hooks")]
mod hooks;
mod lease;
mod login;
mod methods;
mod options;
mod snapshot;
