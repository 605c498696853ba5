//! The running server, seen from the wire.

mod forwarding;
mod life;
mod requests;
mod routes;
mod websocket;
