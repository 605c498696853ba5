//! What the probe can find.

use openclaw_auth::access::AuditSeverity::{self, Critical, Info, Warn};
use openclaw_auth::access::ChecklistLine::{self, OnlyPath, OverwritesHeaders};

/// A finding without its detail.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) severity: AuditSeverity,
    pub(super) line: ChecklistLine,
    pub(super) title: &'static str,
    pub(super) remediation: &'static str,
}

pub(super) const IDENTITY_UNEXPECTED: Row = Row {
    id: "gateway.probe.identity_unexpected",
    severity: Critical,
    line: OverwritesHeaders,
    title: "The gateway sees another user than expected",
    remediation: "Check which claim the proxy sends as the user.",
};

pub(super) const IDENTITY_SURVIVED: Row = Row {
    id: "gateway.probe.identity_header_survived",
    severity: Critical,
    line: OverwritesHeaders,
    title: "A user header of the client reaches the gateway",
    remediation: "Let the proxy replace the header, or delete it before it sets its own.",
};

pub(super) const ALIAS_SURVIVED: Row = Row {
    id: "gateway.probe.alias_survived",
    severity: Warn,
    line: OverwritesHeaders,
    title: "Another spelling of the user header reaches the gateway, which refuses it",
    remediation: "Let the proxy drop header names with other characters than letters, digits and -.",
};

pub(super) const HOP_BY_HOP: Row = Row {
    id: "gateway.probe.hop_by_hop_strips_identity",
    severity: Info,
    line: OverwritesHeaders,
    title: "A client can make the proxy drop its own user header; the request is then refused",
    remediation: "Nothing needs to be done.",
};

pub(super) const REQUIRED_SURVIVED: Row = Row {
    id: "gateway.probe.required_header_survived",
    severity: Warn,
    line: OverwritesHeaders,
    title: "A required header of the client reaches the gateway",
    remediation: "Let the proxy replace every header in requiredHeaders.",
};

pub(super) const SECRET_SURVIVED: Row = Row {
    id: "gateway.probe.secret_header_survived",
    severity: Warn,
    line: OverwritesHeaders,
    title: "A proxy secret of the client reaches the gateway",
    remediation: "Let the proxy replace the header of the secret.",
};

pub(super) const CLIENT_IP_SPOOFABLE: Row = Row {
    id: "gateway.probe.client_ip_spoofable",
    severity: Critical,
    line: OverwritesHeaders,
    title: "Clients choose the address that the gateway sees",
    remediation: "Let the proxy replace the forwarding headers, and list every proxy on the way.",
};

pub(super) const FORWARDED_SURVIVED: Row = Row {
    id: "gateway.probe.forwarded_meta_survived",
    severity: Warn,
    line: OverwritesHeaders,
    title: "Forwarding headers of the client reach the gateway",
    remediation: "Let the proxy set X-Forwarded-Proto and X-Forwarded-Host itself.",
};

pub(super) const UNAUTHENTICATED: Row = Row {
    id: "gateway.probe.unauthenticated_reached_gateway",
    severity: Critical,
    line: OverwritesHeaders,
    title: "Without a login, a forged user reaches the gateway",
    remediation: "Let the proxy ask everybody for a login on every path.",
};

pub(super) const WEBSOCKET_BYPASS: Row = Row {
    id: "gateway.probe.websocket_bypass",
    severity: Critical,
    line: OverwritesHeaders,
    title: "On WebSocket upgrades, a forged user reaches the gateway",
    remediation: "Apply the same authentication and header rules to upgrades.",
};

pub(super) const WEBSOCKET_IDENTITY: Row = Row {
    id: "gateway.probe.websocket_identity_missing",
    severity: Warn,
    line: OverwritesHeaders,
    title: "The proxy does not send the user on WebSocket upgrades",
    remediation: "Let the proxy set the user header on upgrades too.",
};

pub(super) const DIRECT_REACHABLE: Row = Row {
    id: "gateway.probe.direct_reachable",
    severity: Warn,
    line: OnlyPath,
    title: "The gateway can be reached around the proxy",
    remediation: "Firewall the port for everything but the proxy.",
};

pub(super) const DIRECT_IDENTITY: Row = Row {
    id: "gateway.probe.direct_identity_accepted",
    severity: Critical,
    line: OnlyPath,
    title: "Around the proxy, a forged user is let in",
    remediation: "Remove this host from trustedProxies, or set proxySecret.",
};
