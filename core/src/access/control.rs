//! The decision itself.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::address::parse_peer;
use super::allow_users::{AllowUsers, Listed};
use super::client_ip::ClientIpSource;
use super::credentials::{Presented, Secret};
use super::digest::Digest;
use super::headers::{HeaderPlan, Slot, Slots};
use super::limiter::{Attempt, Key, Limiter, Limits, Rule, Subject};
use super::origin::{Hosts, OriginFacts, Origins};
use super::ranges::ProxyRanges;
use super::same_host::OwnAddresses;
use super::trusted_proxy::TrustedProxy;
use super::user::trim_blanks;
use super::{AccessRequest, Admitted, AuthMethod, ConnectionKind, Denied, Identity};
use crate::error::Code;
use crate::host::{Clock, Interfaces};
use crate::text::CText;

/// The access policy of one configuration. Immutable and shared between threads; a reload makes a
/// new one around the same [`Limiter`].
pub struct AccessControl {
    pub(super) policy: Policy,
    pub(super) own: OwnAddresses,
    limiter: Arc<Limiter>,
    clock: Arc<dyn Clock>,
}

/// The compiled settings.
pub(super) struct Policy {
    pub(super) mode: AuthMethod,
    pub(super) proxies: ProxyRanges,
    pub(super) plan: HeaderPlan,
    /// `gateway.auth.trustedProxy`, in trusted-proxy mode.
    pub(super) trusted: Option<TrustedProxy>,
    pub(super) token: Option<Digest>,
    /// In trusted-proxy mode: the password of callers on this host.
    pub(super) password: Option<Digest>,
    pub(super) client_ip: ClientIpSource,
    pub(super) origins: Origins,
    pub(super) hosts: Hosts,
    /// `None` when limiting is switched off.
    pub(super) limits: Option<Limits>,
    pub(super) exempt_loopback: bool,
    pub(super) hsts: Option<CText>,
    pub(super) wanted: CText,
    pub(super) hide_reasons: bool,
    pub(super) admins: Option<AllowUsers>,
}

impl AccessControl {
    pub(super) fn new(
        policy: Policy,
        limiter: Arc<Limiter>,
        interfaces: Arc<dyn Interfaces>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let own = OwnAddresses::new(interfaces);
        if policy
            .trusted
            .as_ref()
            .is_some_and(|trusted| trusted.allow_loopback != Some(true))
        {
            own.read(Now::Ask(&*clock).millis());
        }
        Self {
            policy,
            own,
            limiter,
            clock,
        }
    }

    /// Decides whether a request may come in, and as whom. `None` is a request of which nothing
    /// is known.
    ///
    /// # Errors
    ///
    /// The denial. Nothing is allocated for it.
    pub fn authorize(&self, request: Option<&AccessRequest<'_>>) -> Result<Identity, Denied> {
        self.judge(request).map(Admitted::into_identity)
    }

    /// [`AccessControl::authorize`] without copying: the user is borrowed from the request.
    ///
    /// # Errors
    ///
    /// The denial. Nothing is allocated for it.
    pub fn judge<'r>(&self, request: Option<&AccessRequest<'r>>) -> Result<Admitted<'r>, Denied> {
        self.guarded(request, Now::Ask(&*self.clock))
    }

    /// [`AccessControl::authorize`] at a given moment of the monotonic clock.
    ///
    /// # Errors
    ///
    /// The denial.
    pub fn authorize_at(
        &self,
        request: Option<&AccessRequest<'_>>,
        now: Duration,
    ) -> Result<Identity, Denied> {
        self.guarded(request, Now::At(now))
            .map(Admitted::into_identity)
    }

    /// Judges somebody again who has been let in, by the rules that hold now. Nothing is counted
    /// as an attempt: the caller did not try anything, the settings have changed.
    ///
    /// # Errors
    ///
    /// The denial.
    pub fn authorize_again(&self, request: &AccessRequest<'_>) -> Result<Identity, Denied> {
        self.guarded(Some(request), Now::Again(&*self.clock))
            .map(Admitted::into_identity)
    }

    /// How callers are authenticated.
    pub fn mode(&self) -> AuthMethod {
        self.policy.mode
    }

    /// Whether the bytes of this connection are protected on the way from the client: by TLS of
    /// the gateway, or of a trusted proxy that says so.
    pub fn is_secure(&self, request: &AccessRequest<'_>) -> bool {
        let trusted = || {
            let peer = request.remote.and_then(parse_peer);
            peer.is_some_and(|peer| self.policy.proxies.contains(peer))
        };
        request.tls || (trusted() && is_https(&self.policy.plan.scan(request.headers)))
    }

    /// Whether an address is one of the trusted proxies.
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.policy.proxies.contains(peer.to_canonical())
    }

    /// Address of the client behind the trusted proxies; `None` when unknown, never a guess. Says
    /// nothing about whether the request may come in.
    pub fn client_address(&self, request: &AccessRequest<'_>) -> Option<IpAddr> {
        self.client_ip(&self.facts(request))
    }

    /// The names of all header lines that any decision by this policy looks at: in lower case,
    /// with `-` for whatever is neither letter nor digit, sorted and separated by commas; a name
    /// that ends in `*` stands for all that begin so.
    ///
    /// Whoever passes only some lines of a request compares names folded in the same way, passes
    /// every line that fits, and at least one line if there were any.
    pub fn wanted_headers(&self) -> &CText {
        &self.policy.wanted
    }

    /// The configured value for `Strict-Transport-Security`. It may be sent on secure connections
    /// only: [`AccessControl::strict_transport_security`] tells which are.
    pub fn hsts(&self) -> Option<&CText> {
        self.policy.hsts.as_ref()
    }

    /// Whether the peer is on this host and no header says that somebody is behind it.
    pub fn is_local_direct(&self, request: &AccessRequest<'_>) -> bool {
        self.facts(request).local_direct()
    }

    /// The `Strict-Transport-Security` header for every answer on this connection, if any.
    /// RFC 6797 forbids it on connections that are not secure.
    pub fn strict_transport_security(&self, request: &AccessRequest<'_>) -> Option<&str> {
        self.policy
            .hsts
            .as_ref()
            .filter(|_| self.is_secure(request))
            .map(CText::as_str)
    }

    /// The table of wrong attempts, for showing how full it is.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Whether answers are to hide why a caller was refused (`gateway.http.hideAuthReasons`).
    pub fn hides_reasons(&self) -> bool {
        self.policy.hide_reasons
    }

    /// Whether the caller may administer the gateway: everybody who knows the shared secret, local
    /// callers without authentication, and the proxy's users unless `gateway.auth.adminUsers`
    /// names others.
    pub fn is_admin(&self, identity: &Identity) -> bool {
        match (identity.method, &identity.user, &self.policy.admins) {
            (AuthMethod::Token | AuthMethod::Password, ..) => true,
            (AuthMethod::None, ..) => identity.local_direct,
            (AuthMethod::TrustedProxy, Some(_), None) => true,
            (AuthMethod::TrustedProxy, Some(user), Some(admins)) => admins.find(user) != Listed::No,
            (AuthMethod::TrustedProxy, None, _) => false,
        }
    }

    /// A panic, for example in a caller's [`super::Headers`], must not become an admission.
    fn guarded<'r>(
        &self,
        request: Option<&AccessRequest<'r>>,
        now: Now<'_>,
    ) -> Result<Admitted<'r>, Denied> {
        catch_unwind(AssertUnwindSafe(|| self.decide(request, now)))
            .unwrap_or_else(|_| Err(Denied::new(Code::InternalError)))
    }

    fn decide<'r>(
        &self,
        request: Option<&AccessRequest<'r>>,
        now: Now<'_>,
    ) -> Result<Admitted<'r>, Denied> {
        if self.policy.mode == AuthMethod::TrustedProxy {
            return self.by_proxy(request, now);
        }
        const NO_LINES: [(&str, &[u8]); 0] = [];
        let nothing = AccessRequest {
            remote: None,
            local: None,
            headers: &NO_LINES,
            kind: ConnectionKind::Http,
            tls: false,
            credentials: None,
        };
        let facts = self.facts(request.unwrap_or(&nothing));
        match self.policy.mode {
            AuthMethod::None => self.openly(&facts),
            AuthMethod::Password => self.by_secret(&facts, &PASSWORD, self.policy.password, now),
            _ => self.by_secret(&facts, &TOKEN, self.policy.token, now),
        }
    }

    fn facts<'a>(&self, request: &AccessRequest<'a>) -> Facts<'a> {
        let peer = request.remote.and_then(parse_peer);
        Facts {
            request: *request,
            peer,
            trusted: peer.is_some_and(|peer| self.policy.proxies.contains(peer)),
            slots: self.policy.plan.scan(request.headers),
        }
    }

    fn openly<'r>(&self, facts: &Facts<'r>) -> Result<Admitted<'r>, Denied> {
        if facts.slots.evidence && !facts.trusted {
            return Err(Denied::new(Code::ProxyAttributionRequired));
        }
        if facts.slots.any {
            self.check_host(facts)?;
        }
        self.check_origin(facts, Code::OriginNotAllowed)?;
        Ok(self.admitted(facts, AuthMethod::None))
    }

    fn by_secret<'r>(
        &self,
        facts: &Facts<'r>,
        codes: &SecretCodes,
        configured: Option<Digest>,
        now: Now<'_>,
    ) -> Result<Admitted<'r>, Denied> {
        let presented = Presented::find(&facts.request, &facts.slots)
            .map_err(|_| Denied::new(Code::CredentialAmbiguous))?;
        let configured = configured.ok_or_else(|| Denied::new(codes.missing_config))?;
        if facts.request.kind == ConnectionKind::WebSocket || presented.is_ambient() {
            self.check_origin(facts, Code::OriginNotAllowed)?;
        }
        // Either slot will do: callers do not always know which mode the gateway is in.
        let secret = match codes.method {
            AuthMethod::Token => presented.token().or(presented.password()),
            _ => presented.password().or(presented.token()),
        };
        self.settle(facts, codes, configured, secret, now)
    }

    /// Compares a presented secret, within the limits.
    pub(super) fn settle<'r>(
        &self,
        facts: &Facts<'r>,
        codes: &SecretCodes,
        configured: Digest,
        secret: Option<Secret<'_>>,
        now: Now<'_>,
    ) -> Result<Admitted<'r>, Denied> {
        let admitted = self.admitted(facts, codes.method);
        let right = secret.map(|secret| secret.digest().matches(&configured));
        let Some(limits) = self.policy.limits.as_ref().filter(|_| now.is_attempt()) else {
            return match right {
                Some(true) => Ok(admitted),
                Some(false) => Err(Denied::new(codes.mismatch)),
                None => Err(Denied::new(codes.missing)),
            };
        };
        let (subject, rule) = self.subject(facts, admitted.client_ip);
        let key = Key::new(SHARED_SECRET, subject);
        let Some(right) = right else {
            return Err(match self.limiter.check(key, rule, limits, now.get()) {
                Some(retry_after_ms) => Denied::rate_limited(retry_after_ms),
                None => Denied::new(codes.missing),
            });
        };
        match self.limiter.settle(key, rule, limits, now.get(), right) {
            Attempt::Accepted => Ok(admitted),
            Attempt::Limited { retry_after_ms } => Err(Denied::rate_limited(retry_after_ms)),
            Attempt::Wrong { penalty_ms } => Err(Denied {
                penalty_ms,
                ..Denied::new(codes.mismatch)
            }),
        }
    }

    /// Whose attempts count together.
    fn subject(&self, facts: &Facts<'_>, client: Option<IpAddr>) -> (Subject, Rule) {
        let Some(peer) = facts.peer else {
            return (Subject::Unknown, Rule::Lockout);
        };
        let origin = facts.slots.line(Slot::Origin);
        if facts.local_direct() && origin.count > 0 {
            // A page in a browser on this host, guessing from behind the loopback exemption.
            return (
                self.limiter.origin(trim_blanks(origin.value)),
                Rule::Lockout,
            );
        }
        match client {
            Some(client) if facts.trusted => (Subject::address(client), Rule::Lockout),
            _ if facts.trusted || (peer.is_loopback() && facts.slots.evidence) => {
                (Subject::Unattributed(peer), Rule::WindowOnly)
            }
            _ if peer.is_loopback() && self.policy.exempt_loopback => {
                (Subject::address(peer), Rule::Exempt)
            }
            _ => (Subject::address(peer), Rule::Lockout),
        }
    }

    /// Against re-bound names; only loopback connections can come from one.
    pub(super) fn check_host(&self, facts: &Facts<'_>) -> Result<(), Denied> {
        let host = facts.slots.line(Slot::Host).single();
        if facts.is_loopback() && !self.policy.hosts.accepts(host, &self.policy.origins) {
            return Err(Denied::new(Code::HostNotAllowed));
        }
        Ok(())
    }

    pub(super) fn check_origin(&self, facts: &Facts<'_>, code: Code) -> Result<(), Denied> {
        let origin = facts.slots.line(Slot::Origin);
        if origin.count == 0 {
            return Ok(());
        }
        let by_proxy = self.policy.mode == AuthMethod::TrustedProxy;
        let proxied = by_proxy && facts.trusted && is_https(&facts.slots);
        let refusal = self.policy.origins.refusal(&OriginFacts {
            count: origin.count,
            origin: trim_blanks(origin.value),
            host: facts.slots.line(Slot::Host).single(),
            proxy_host: facts
                .slots
                .line(Slot::ForwardedHost)
                .single()
                .filter(|_| proxied),
            local_pages: !by_proxy && facts.local_direct(),
        });
        refusal.map_or(Ok(()), |reason| Err(Denied::because(code, reason)))
    }

    pub(super) fn admitted<'r>(&self, facts: &Facts<'r>, method: AuthMethod) -> Admitted<'r> {
        Admitted {
            method,
            user: None,
            client_ip: self.client_ip(facts),
            peer_ip: facts.peer,
            local_direct: facts.local_direct(),
        }
    }

    pub(super) fn client_ip(&self, facts: &Facts<'_>) -> Option<IpAddr> {
        match facts.trusted {
            false => facts.peer,
            true => {
                let Policy {
                    client_ip, proxies, ..
                } = &self.policy;
                client_ip.client(&facts.slots, facts.request.headers, proxies)
            }
        }
    }
}

impl fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessControl")
            .field("mode", &self.policy.mode)
            .finish_non_exhaustive()
    }
}

/// What is known about a request.
pub(super) struct Facts<'a> {
    pub(super) request: AccessRequest<'a>,
    /// The address of the transport peer.
    pub(super) peer: Option<IpAddr>,
    /// The peer is a trusted proxy.
    pub(super) trusted: bool,
    pub(super) slots: Slots<'a>,
}

impl Facts<'_> {
    pub(super) fn is_loopback(&self) -> bool {
        self.peer.is_some_and(|peer| peer.is_loopback())
    }

    /// The peer is on this host, and nobody seems to be behind it.
    pub(super) fn local_direct(&self) -> bool {
        self.is_loopback() && !self.slots.evidence
    }
}

/// The codes that belong to a kind of shared secret.
pub(super) struct SecretCodes {
    method: AuthMethod,
    missing_config: Code,
    missing: Code,
    mismatch: Code,
}

const TOKEN: SecretCodes = SecretCodes {
    method: AuthMethod::Token,
    missing_config: Code::TokenMissingConfig,
    missing: Code::TokenMissing,
    mismatch: Code::TokenMismatch,
};

pub(super) const PASSWORD: SecretCodes = SecretCodes {
    method: AuthMethod::Password,
    missing_config: Code::PasswordMissingConfig,
    missing: Code::PasswordMissing,
    mismatch: Code::PasswordMismatch,
};

/// The limiter's scope for gateway token and password.
const SHARED_SECRET: &str = "shared-secret";

/// The moment of a decision. The clock is asked only when a rule needs it.
#[derive(Clone, Copy)]
pub(super) enum Now<'c> {
    /// For somebody who has been let in before.
    Again(&'c dyn Clock),
    Ask(&'c dyn Clock),
    At(Duration),
}

impl Now<'_> {
    pub(super) fn get(self) -> Duration {
        match self {
            Self::Again(clock) | Self::Ask(clock) => clock.monotonic(),
            Self::At(now) => now,
        }
    }

    /// Whether the decision is about somebody who tries to come in.
    fn is_attempt(self) -> bool {
        !matches!(self, Self::Again(_))
    }

    pub(super) fn millis(self) -> u64 {
        u64::try_from(self.get().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The proxy says, in exactly one line, that the client uses TLS.
fn is_https(slots: &Slots<'_>) -> bool {
    let proto = slots.line(Slot::ForwardedProto).single();
    proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}
