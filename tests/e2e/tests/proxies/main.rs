//! The gateway behind real proxies, each with the configuration that `security preset` prints.
//!
//! Clients, proxy and gateway live in network namespaces of their own, so that every connection
//! has a source of its own. Needs root, and `ip`, `bash`, `openssl`, `nginx`, `caddy`, `haproxy`,
//! `apache2` and `envoy`; and the program: `cargo build -p openclaw-auth-gateway`. What is missing
//! makes a test fail, never skip. `OPENCLAW_AUTH_ENVOY` and `OPENCLAW_AUTH_OAUTH2_PROXY` name
//! programs that are not on the path.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod around;
mod careless;
mod client;
mod examine;
mod fronts;
mod login;
mod net;
mod probe;
mod site;
