"""Shapes of the documents that the library gives and takes. Keys are those of every language."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired
elif sys.version_info >= (3, 11):
    from typing import NotRequired


class SecretRef(TypedDict):
    """Where a secret lives."""

    source: Literal["env", "file", "exec"]
    provider: str
    id: str


class Event(TypedDict):
    """Something that happened to an engine."""

    seq: int
    dropped: int
    level: Literal["info", "warn"]
    code: str
    at: int
    generation: int
    message: str
    error: dict[str, Any] | None
    changedOwners: list[str]


class Diagnostic(TypedDict, total=False):
    """Something that loading noticed."""

    code: str
    severity: str
    path: str
    message: str
    line: int | None
    column: int | None


class ProviderReport(TypedDict):
    """What a secret provider did."""

    source: str
    provider: str
    refs: int
    runs: int
    elapsedMs: int


class ReloadReport(TypedDict):
    """What a reload did."""

    generation: int
    previousGeneration: int
    unchanged: bool
    changedPaths: list[str]
    changedOwners: list[str]
    removedPaths: list[str]
    warningCount: int
    warnings: list[Diagnostic]
    diagnostics: list[Diagnostic]
    elapsedMs: int
    providers: list[ProviderReport]


class PreflightReport(TypedDict):
    """What a reload would do."""

    ok: bool
    error: dict[str, Any] | None
    failures: list[dict[str, Any]]
    notAttempted: list[dict[str, Any]]
    diagnostics: list[Diagnostic]
    warnings: list[Diagnostic]
    activePaths: list[str]
    inactivePaths: list[str]
    refsChecked: int
    skippedExecRefs: int


class Surface(TypedDict):
    """A setting that holds a secret, without its value."""

    path: str
    state: Literal["ready", "inactive"]
    reason: str | None
    origin: str
    owners: list[str]
    ref: str | None


class Attempt(TypedDict):
    """One step of a chain of leases."""

    candidateId: str
    provider: str
    model: str | None
    outcome: Literal["skipped", "failed"]
    reason: str
    status: int | None
    code: str | None
    rule: str | None
    at: int
    message: str


class Classification(TypedDict):
    """What a failure means."""

    reason: str
    scope: Literal["account", "model", "provider", "request"]
    quota: bool
    rotatesKeys: bool
    rotatesProfiles: bool
    penalizes: bool
    retryAfterMs: int | None
    retrySource: str | None
    status: int | None
    code: str | None
    message: str
    rule: str


class LeaseMeta(TypedDict):
    """What is known about the account behind a credential."""

    accountId: str | None
    email: str | None
    projectId: str | None
    enterpriseUrl: str | None


class LeaseInfo(TypedDict):
    """Everything about a lease but the secret."""

    leaseId: str
    chainId: str
    attempt: int
    candidateId: str
    profileId: str | None
    provider: str
    model: str | None
    kind: str
    source: str
    expiresAt: int | None
    meta: LeaseMeta
    probe: bool
    warning: str | None
    skipped: list[Attempt]
    switchedModel: bool
    acquiredAt: int


class Profile(TypedDict):
    """A stored credential, without the secret."""

    id: str
    provider: str
    type: Literal["oauth", "token", "api_key"]
    masked: str
    label: str | None
    eligible: bool
    reasonCode: str
    expiresAt: int | None
    unavailableUntil: int | None
    reason: str | None
    models: dict[str, Any]
    errorCount: int
    lastUsed: int | None
    lastGood: bool
    owner: Literal["own", "main"]


class EnvKey(TypedDict):
    """A key from the environment or the configuration, without the secret."""

    id: str
    provider: str
    kind: str
    masked: str | None
    source: str


class RejectedProfile(TypedDict):
    """An entry of the store that cannot be used."""

    id: str
    reason: str


class ProfileList(TypedDict):
    """The credentials of an agent: the document of `models auth list`."""

    agentId: str
    authStorePath: str
    degraded: bool
    profiles: list[Profile]
    rejected: list[RejectedProfile]
    env: list[EnvKey]


class Order(TypedDict):
    """Stored and effective order of a provider: the document of `models auth order get`."""

    agentId: str
    agentDir: str | None
    provider: str
    authStorePath: str
    order: list[str] | None
    effective: list[str]
    source: str


class ModelChoice(TypedDict):
    """A model that can be selected."""

    number: int
    model: str
    aliases: list[str]
    availability: str
    current: bool


class ChatReply(TypedDict):
    """What came of a message with a `/model` directive."""

    directive: dict[str, Any]
    rest: str
    session: dict[str, Any]
    view: dict[str, Any]


class LoginDone(TypedDict):
    """A sign-in that worked."""

    agentId: str
    profileId: str
    provider: str
    type: Literal["oauth"]
    email: str | None
    accountId: str | None
    expiresAt: int | None
    storePath: str
    warnings: list[str]
    defaultModel: str | None


class OAuthToken(TypedDict):
    """An access token and where it comes from. Holds a secret."""

    access: str
    expiresAt: int | None
    accountId: str | None
    source: str
    warning: dict[str, Any] | None


class TokenRequest(TypedDict):
    """A token request, for hosts that send it themselves. Holds a secret."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class DecisionInfo(TypedDict, total=False):
    """A decision about a request; which keys there are depends on `ok`."""

    ok: bool
    method: str
    user: str | None
    clientIp: str | None
    peerIp: str | None
    localDirect: bool
    code: str
    header: str | None
    reason: str | None
    httpStatus: int
    message: str
    retryAfterMs: int | None
    penaltyMs: int
    wsCloseCode: int
    compatReason: str


class EffectiveCredential(TypedDict):
    """The credential that a provider's next request would use."""

    kind: Literal["profiles", "env", "models.json", "missing"]
    detail: str
    profileId: NotRequired[str]
    owner: NotRequired[Literal["own", "main"]]


class ProviderStatus(TypedDict):
    """A provider and its credentials."""

    provider: str
    effective: EffectiveCredential
    profiles: dict[str, Any]
    order: dict[str, Any]
    env: NotRequired[dict[str, str]]
    modelsJson: NotRequired[dict[str, str]]


class UnusableProfile(TypedDict):
    """What keeps a profile from being used."""

    profileId: str
    provider: str
    kind: Literal["cooldown", "disabled"]
    until: int
    remainingMs: int
    reason: NotRequired[str]
    model: NotRequired[str]


class AuthStatus(TypedDict):
    """The credentials of an agent."""

    storePath: str
    inherit: str
    shellEnvFallback: dict[str, Any]
    providersWithOAuth: list[str]
    missingProvidersInUse: list[str]
    providers: list[ProviderStatus]
    unusableProfiles: list[UnusableProfile]
    oauth: dict[str, Any]


class CheckReason(TypedDict):
    """A reason for the answer of a check."""

    severity: Literal["error", "warn"]
    provider: str
    status: str
    message: str
    profileId: NotRequired[str]
    reasonCode: NotRequired[str]


class CheckStatus(TypedDict):
    """The answer of a check: 1 for expired or missing, 2 for ending soon, else 0."""

    exitCode: int
    reasons: list[CheckReason]
    ignored: list[CheckReason]


class Hint(TypedDict):
    """What is worth knowing although nothing is wrong."""

    id: str
    provider: str
    message: str
    fix: NotRequired[str]


class StatusReport(TypedDict):
    """Models, credentials and how long they last: the document of `models status --json`."""

    schemaVersion: int
    configPath: str
    agentId: str
    agentDir: str | None
    defaultModel: str
    resolvedDefault: str
    fallbacks: list[str]
    imageModel: str | None
    imageFallbacks: list[str]
    modelConfig: NotRequired[dict[str, Any]]
    aliases: dict[str, str]
    allowed: list[str]
    auth: AuthStatus
    check: CheckStatus
    hints: list[Hint]
    diagnostics: list[Diagnostic]


class DoctorFinding(TypedDict):
    """Something that doctor found."""

    checkId: str
    severity: Literal["error", "warning", "info"]
    message: str
    fixable: bool
    path: NotRequired[str]
    line: NotRequired[int]
    column: NotRequired[int]
    agentId: NotRequired[str]
    provider: NotRequired[str]
    profileId: NotRequired[str]
    fixHint: NotRequired[str]


class DoctorReport(TypedDict):
    """Everything that is wrong with an installation: the document of `doctor --json`."""

    schemaVersion: int
    ok: bool
    checksRun: int
    checksSkipped: int
    findings: list[DoctorFinding]
