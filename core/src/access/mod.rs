//! Who may use the gateway, and as whom.
//!
//! [`AccessControl::load`] compiles the `gateway` part of a configuration into an immutable
//! policy; [`AccessControl::authorize`] then decides one request by it. Whatever cannot be decided
//! is a denial with a code of its own. Deciding does no I/O, except that the list of this host's
//! own addresses is refreshed every 30 seconds when a rule needs it.

mod address;
mod allow_users;
mod answer;
mod audit;
mod client_ip;
mod compile;
mod control;
mod credentials;
mod digest;
mod headers;
mod hsts;
mod limiter;
mod load;
mod origin;
mod ranges;
mod request;
mod same_host;
mod settings;
#[cfg(test)]
mod tests;
mod trusted_proxy;
mod user;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use crate::error::Code;

pub use address::parse_peer;
pub use answer::{JSON_HEADERS, SECURITY_HEADERS, decision_to_json};
pub use audit::{
    AuditFinding, AuditInput, AuditSeverity, CertificateFacts, ChecklistLine, FileFact, FileFacts,
    audit, sort_findings,
};
pub(crate) use compile::DEFAULT_SECRET_HEADER;
pub use control::AccessControl;
pub use limiter::{Attempt, Key, Limiter, Limits, Rule, Subject};
pub use load::{AccessInput, AccessLoad, Overrides, Problem, SecretInput};
pub use request::OwnedRequest;

/// What a connection is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ConnectionKind {
    /// An ordinary HTTP request.
    #[default]
    Http,
    /// A request to upgrade to a WebSocket.
    WebSocket,
}

/// The header lines of a request.
pub trait Headers {
    /// Shows every field line in arrival order: its name as received, and its raw value without
    /// the line ending. Repeated lines must all be shown, because security depends on seeing them.
    /// Trailer fields are not headers.
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for &[(N, V)] {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in *self {
            visit(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> Headers for [(N, V); LEN] {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            visit(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            visit(name.as_ref(), value.as_ref());
        }
    }
}

/// The facts about one request that a decision rests on.
#[derive(Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Address of the transport peer, with or without port: `10.0.0.1:51234`, `[::1]:80`.
    pub remote: Option<&'a str>,
    /// Own address of the same connection, if known.
    pub local: Option<&'a str>,
    /// The header lines.
    pub headers: &'a dyn Headers,
    /// What the connection is opened for.
    pub kind: ConnectionKind,
    /// The gateway itself terminated TLS on this connection.
    pub tls: bool,
    /// Token and password given by other means; `None` takes them from the headers.
    pub credentials: Option<Credentials<'a>>,
}

/// A token and a password that did not come in headers.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The token; empty counts as absent.
    pub token: Option<&'a [u8]>,
    /// The password; empty counts as absent.
    pub password: Option<&'a [u8]>,
}

/// How a caller is, or was, authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// Not at all.
    None,
    /// By the shared password.
    Password,
    /// By the shared token.
    Token,
    /// By a proxy that says who the user is.
    TrustedProxy,
}

impl AuthMethod {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::None, Self::Token, Self::Password, Self::TrustedProxy];

    /// The word used in configuration files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Token => "token",
            Self::TrustedProxy => "trusted-proxy",
        }
    }

    /// The method with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }
}

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Identity {
    /// How the caller was authenticated.
    pub method: AuthMethod,
    /// The user; present exactly when a trusted proxy named it.
    pub user: Option<String>,
    /// Address of the client behind the proxies; `None` when unknown, never a guess.
    pub client_ip: Option<IpAddr>,
    /// Address of the transport peer.
    pub peer_ip: Option<IpAddr>,
    /// The peer is on this host and no header says that somebody else is behind it.
    pub local_direct: bool,
}

/// Who may come in, borrowed from the request: made without allocating, except for a user whose
/// capital letters the allow list tells to fold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Admitted<'r> {
    /// As [`Identity::method`].
    pub method: AuthMethod,
    /// As [`Identity::user`].
    pub user: Option<Cow<'r, str>>,
    /// As [`Identity::client_ip`].
    pub client_ip: Option<IpAddr>,
    /// As [`Identity::peer_ip`].
    pub peer_ip: Option<IpAddr>,
    /// As [`Identity::local_direct`].
    pub local_direct: bool,
}

impl Admitted<'_> {
    /// The same, independent of the request.
    pub fn into_identity(self) -> Identity {
        Identity {
            method: self.method,
            user: self.user.map(Cow::into_owned),
            client_ip: self.client_ip,
            peer_ip: self.peer_ip,
            local_direct: self.local_direct,
        }
    }
}

/// Why a request was refused.
///
/// Small, and made without allocating: texts are put together when they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Denied {
    code: Code,
    header: Option<Arc<str>>,
    reason: Option<&'static str>,
    retry_after_ms: Option<u64>,
    penalty_ms: u32,
}

impl Denied {
    fn new(code: Code) -> Self {
        Self {
            code,
            header: None,
            reason: None,
            retry_after_ms: None,
            penalty_ms: 0,
        }
    }

    fn because(code: Code, reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(code)
        }
    }

    fn header_because(code: Code, header: &Arc<str>, reason: Option<&'static str>) -> Self {
        Self {
            header: Some(Arc::clone(header)),
            reason,
            ..Self::new(code)
        }
    }

    fn rate_limited(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms.max(1)),
            ..Self::new(Code::RateLimited)
        }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The configured header that the denial is about, as spelled in the configuration.
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// A stable word that tells more than the code.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// Milliseconds until another attempt makes sense; only for `rate_limited`, at least 1.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// Milliseconds that the host should wait before it answers.
    pub fn penalty_ms(&self) -> u32 {
        self.penalty_ms
    }
}
