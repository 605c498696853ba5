//! The C interface of openclaw-auth. It converts arguments, calls one method of the core and
//! converts the result; it decides nothing itself. The contract stands at the top of
//! `include/openclaw_auth.h`, which is generated from this crate.
#![allow(
    non_camel_case_types,
    reason = "the types carry the names that C programs use"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "one contract for all functions stands at the top of the header"
)]

pub mod access;
mod boundary;
pub mod engine;
pub mod error;
#[cfg(feature = "test-hooks")]
pub mod hooks;
mod host;
mod json;
mod judge;
pub mod lease;
pub mod oauth;
pub mod options;
pub mod outcome;
pub mod profiles;
pub mod sessions;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
pub mod text;
pub mod version;
