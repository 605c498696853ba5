//! Where secrets really come from: sops, age and pass with real keys, programs in Python and sh;
//! files that change under a running gateway; moving plain secrets away while it runs.
//!
//! Needs `sops`, `age`, `pass`, `gpg`, `python3`, and the program: `cargo build -p
//! openclaw-auth-gateway`. What is missing makes a test fail, never skip.
#![cfg(unix)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod real;
#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
mod support;
