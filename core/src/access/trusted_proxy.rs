//! The decision in trusted-proxy mode.

use std::net::IpAddr;
use std::sync::Arc;

use super::address::parse_peer;
use super::allow_users::{AllowUsers, Listed};
use super::control::{AccessControl, Facts, Now, PASSWORD};
use super::credentials::Presented;
use super::digest::Digest;
use super::headers::{Slot, Slots};
use super::user::{UserValue, is_placeholder, read_user, trim_blanks};
use super::{AccessRequest, Admitted, AuthMethod, Denied};
use crate::error::Code;

/// `gateway.auth.trustedProxy`, compiled. Header names are spelled as configured.
pub(super) struct TrustedProxy {
    pub(super) user_header: Arc<str>,
    pub(super) secret: Option<ProxySecret>,
    pub(super) required: Box<[Arc<str>]>,
    pub(super) users: AllowUsers,
    pub(super) allow_loopback: Option<bool>,
    pub(super) require_client_ip: bool,
}

/// A secret that only the proxy knows and sends along.
pub(super) struct ProxySecret {
    pub(super) header: Arc<str>,
    pub(super) current: Digest,
    /// Accepted too, while the proxy changes from one to the other.
    pub(super) previous: Option<Digest>,
}

impl AccessControl {
    /// The first step that fails decides. Nothing in a header is believed before the source is
    /// known to be a trusted proxy.
    pub(super) fn by_proxy<'r>(
        &self,
        request: Option<&AccessRequest<'r>>,
        now: Now<'_>,
    ) -> Result<Admitted<'r>, Denied> {
        let Some(settings) = &self.policy.trusted else {
            return Err(Denied::new(Code::TrustedProxyConfigMissing));
        };
        if self.policy.proxies.is_empty() {
            return Err(Denied::new(Code::TrustedProxyNoProxiesConfigured));
        }
        let request = request.ok_or_else(|| Denied::new(Code::TrustedProxyNoRequest))?;
        let peer = request.remote.and_then(parse_peer);
        if let Some(decision) = self.by_local_password(request, peer, now) {
            return decision;
        }
        let peer = self.trusted_source(request, peer)?;
        self.check_same_host(settings, request, peer, now)?;
        let slots = self.policy.plan.scan(request.headers);
        let facts = Facts {
            request: *request,
            peer: Some(peer),
            trusted: true,
            slots,
        };
        self.check_host(&facts)?;
        let slots = &facts.slots;
        settings.check_ambiguity(slots)?;
        settings.check_secret(slots)?;
        settings.check_required(slots)?;
        let user = settings.user(slots)?;
        let admitted = self.admitted(&facts, AuthMethod::TrustedProxy);
        if settings.require_client_ip && admitted.client_ip.is_none() {
            return Err(Denied::new(Code::ProxyAttributionRequired));
        }
        self.check_origin(&facts, Code::TrustedProxyOriginNotAllowed)?;
        Ok(Admitted {
            user: Some(settings.users.canonical(user)),
            ..admitted
        })
    }

    /// Callers on this host that bypass the proxy may have a password. Whatever looks like a
    /// request of the proxy is not one of theirs.
    fn by_local_password<'r>(
        &self,
        request: &AccessRequest<'r>,
        peer: Option<IpAddr>,
        now: Now<'_>,
    ) -> Option<Result<Admitted<'r>, Denied>> {
        let configured = self.policy.password?;
        let peer = peer.filter(|peer| peer.is_loopback())?;
        let facts = Facts {
            request: *request,
            peer: Some(peer),
            trusted: self.policy.proxies.contains(peer),
            slots: self.policy.plan.scan(request.headers),
        };
        let from_proxy = [Slot::User, Slot::Secret]
            .iter()
            .any(|slot| facts.slots.line(*slot).count > 0);
        if from_proxy || !facts.local_direct() {
            return None;
        }
        let secret = Presented::find(request, &facts.slots).ok()?.password()?;
        Some(self.settle(&facts, &PASSWORD, configured, Some(secret), now))
    }

    fn trusted_source(
        &self,
        request: &AccessRequest<'_>,
        peer: Option<IpAddr>,
    ) -> Result<IpAddr, Denied> {
        let reason = match (request.remote, peer) {
            (_, Some(peer)) if self.policy.proxies.contains(peer) => return Ok(peer),
            (_, Some(_)) => "not_listed",
            (Some(_), None) => "unparseable_remote",
            (None, None) => "no_remote_address",
        };
        Err(Denied::because(Code::TrustedProxyUntrustedSource, reason))
    }

    /// From this host's own addresses every local process connects, not only a proxy. Unless
    /// switched, such an address must be named: a wide range that merely covers it is not enough.
    fn check_same_host(
        &self,
        settings: &TrustedProxy,
        request: &AccessRequest<'_>,
        peer: IpAddr,
        now: Now<'_>,
    ) -> Result<(), Denied> {
        let named = match settings.allow_loopback {
            Some(true) => return Ok(()),
            Some(false) => false,
            None if peer.is_loopback() => self.policy.proxies.names_loopback(peer),
            None => self.policy.proxies.names_single(peer),
        };
        if named {
            return Ok(());
        }
        let reason = if settings.allow_loopback.is_some() {
            "disabled"
        } else {
            "not_named"
        };
        if peer.is_loopback() {
            return Err(Denied::because(Code::TrustedProxyLoopbackSource, reason));
        }
        let one_address = request.local.and_then(parse_peer) == Some(peer);
        let is_own = if one_address {
            Some(true)
        } else {
            self.own.contains(peer, now.millis())
        };
        match is_own {
            Some(false) => Ok(()),
            Some(true) => Err(Denied::because(
                Code::TrustedProxyLocalInterfaceSource,
                reason,
            )),
            None => Err(Denied::new(Code::TrustedProxyLocalInterfaceCheckFailed)),
        }
    }
}

impl TrustedProxy {
    fn check_ambiguity(&self, slots: &Slots<'_>) -> Result<(), Denied> {
        let secret = self
            .secret
            .as_ref()
            .map(|secret| (Slot::Secret, &secret.header));
        for (slot, header) in [Some((Slot::User, &self.user_header)), secret]
            .into_iter()
            .flatten()
        {
            if let Some(reason) = slots.ambiguity(slot) {
                let code = Code::TrustedProxyAmbiguousHeader;
                return Err(Denied::header_because(code, header, Some(reason)));
            }
        }
        Ok(())
    }

    fn check_secret(&self, slots: &Slots<'_>) -> Result<(), Denied> {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let refuse = |code| Err(Denied::header_because(code, &secret.header, None));
        let presented = trim_blanks(slots.line(Slot::Secret).value);
        if presented.is_empty() {
            return refuse(Code::TrustedProxySecretMissing);
        }
        let presented = Digest::of(presented);
        // Both comparisons are always made, so that timing does not tell which one fits.
        let current = presented.matches(&secret.current);
        let previous = secret
            .previous
            .is_some_and(|previous| presented.matches(&previous));
        match current | previous {
            true => Ok(()),
            false => refuse(Code::TrustedProxySecretMismatch),
        }
    }

    fn check_required(&self, slots: &Slots<'_>) -> Result<(), Denied> {
        let missing = usize::try_from(slots.required.trailing_ones()).ok();
        match missing.and_then(|first| self.required.get(first)) {
            None => Ok(()),
            Some(header) => Err(Denied::header_because(
                Code::TrustedProxyMissingHeader,
                header,
                None,
            )),
        }
    }

    /// The user, checked against the allow list.
    fn user<'h>(&self, slots: &Slots<'h>) -> Result<&'h str, Denied> {
        let missing = |reason| self.refuse(Code::TrustedProxyUserMissing, reason);
        let line = slots.line(Slot::User);
        if line.count == 0 {
            return Err(missing("absent"));
        }
        let user = match read_user(line.value) {
            UserValue::Text(user) => user,
            UserValue::Blank => return Err(missing("blank")),
            UserValue::Invalid(reason) => {
                return Err(self.refuse(Code::TrustedProxyUserInvalid, reason));
            }
        };
        let listed = if self.users.is_open() {
            Listed::No
        } else {
            self.users.find(user)
        };
        if listed == Listed::ByName {
            return Ok(user);
        }
        if is_placeholder(user) {
            return Err(missing("placeholder"));
        }
        if user.contains(',') {
            // A proxy that joins lines has added its user to one that the client sent.
            return Err(self.refuse(Code::TrustedProxyUserInvalid, "list"));
        }
        match listed == Listed::ByDomain || self.users.is_open() {
            true => Ok(user),
            false => Err(Denied::new(Code::TrustedProxyUserNotAllowed)),
        }
    }

    fn refuse(&self, code: Code, reason: &'static str) -> Denied {
        Denied::header_because(code, &self.user_header, Some(reason))
    }
}
