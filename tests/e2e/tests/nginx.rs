//! The whole thing: clients, a real nginx, the real program, secrets from all three sources, and
//! a provider that writes down what it got.
//!
//! Needs `nginx` and `curl`, and the program: `cargo build -p openclaw-auth-gateway`. What is
//! missing makes a test fail, never skip.
#![cfg(unix)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod cases;
mod support;
