//! The running server, seen from the wire.

mod forwarding;
mod life;
mod metrics;
mod requests;
mod rotation;
mod routes;
mod storms;
mod threats;
mod vendor;
mod websocket;
