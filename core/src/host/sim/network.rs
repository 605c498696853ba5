//! A simulated network: requests are answered by a script, and nothing listens.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::host::{Http, HttpAnswer, HttpFailure, HttpFailureKind, HttpRequest, Listener, Sockets};

use super::World;

/// Answers a request.
pub(super) type Responder = dyn Fn(&HttpRequest) -> Result<HttpAnswer, HttpFailure> + Send + Sync;

/// Requests of one host.
pub(super) struct SimHttp(pub(super) Arc<World>);

impl Http for SimHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpFailure> {
        self.0.requests.lock().push(request.clone());
        let scripted = self.0.answers.lock().pop_front();
        match scripted {
            Some(respond) => respond(request),
            None => Err(HttpFailure::new(
                HttpFailureKind::NotSent,
                "nothing answers in this simulation",
            )),
        }
    }
}

/// Sockets of one host.
pub(super) struct SimSockets;

impl Sockets for SimSockets {
    fn listen(&self, _addresses: &[SocketAddr]) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::AddrInUse.into())
    }
}
