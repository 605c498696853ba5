from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, final

from ._types import (
    Attempt,
    ChatReply,
    Classification,
    DecisionInfo,
    Diagnostic,
    DoctorReport,
    Event,
    LeaseInfo,
    LoginDone,
    ModelChoice,
    OAuthToken,
    Order,
    PreflightReport,
    ProfileList,
    ReloadReport,
    StatusReport,
    Surface,
    TokenRequest,
)

__all__ = [
    "Decision",
    "Engine",
    "Lease",
    "OAuthFlow",
    "Options",
    "Snapshot",
    "Verdict",
    "__version__",
    "after_fork",
    "classify",
]

__version__: str

_Text: TypeAlias = bytes | str
_Headers: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[_Text, _Text]]
_Path: TypeAlias = str | PathLike[str]

def after_fork() -> None: ...
def classify(
    status: int | None = None,
    *,
    headers: _Headers | None = None,
    body: _Text | None = None,
    message: str | None = None,
    code: str | None = None,
    kind: str | None = None,
    transport: str | None = None,
    reason: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    now: int | None = None,
) -> Classification:
    """What a provider's refusal means, without an engine. `now` is in ms since 1970."""

@final
class Options:
    def __new__(
        cls,
        *,
        config_path: _Path | None = None,
        config: str | Mapping[str, Any] | None = None,
        state_dir: _Path | None = None,
        env: Mapping[str, str | None] | None = None,
        inherit_env: bool = True,
        allow_exec: bool = True,
        strict_env: bool = False,
        require_access: bool = False,
        run_exec_always: bool = False,
        tolerate_unresolved: bool = False,
        deadline: float | None = None,
        auth_mode: str | None = None,
        token: str | None = None,
        password: str | None = None,
        manual_clock: int | None = None,
        own_addresses: Sequence[str] | None = None,
        own_addresses_fail: bool = False,
    ) -> Options: ...
    def doctor(
        self,
        agent: str | None,
        only: Sequence[str] | None,
        skip: Sequence[str] | None,
        deep: bool,
        allow_exec: bool,
    ) -> DoctorReport: ...

@final
class Decision:
    """Whether a request may come in, and as whom. True when it may."""

    @property
    def allowed(self) -> bool:
        """Whether the request may come in."""

    @property
    def method(self) -> Literal["none", "token", "password", "trusted-proxy"] | None:
        """How the caller was authenticated; None when refused."""

    @property
    def user(self) -> str | None:
        """Whom a trusted proxy named."""

    @property
    def client_ip(self) -> str | None:
        """Address of the client behind the proxies; None when unknown, never a guess."""

    @property
    def peer_ip(self) -> str | None:
        """Address of the other end of the connection."""

    @property
    def local_peer(self) -> bool:
        """Whether the peer is on this host and nobody seems to be behind it."""

    @property
    def generation(self) -> int:
        """Generation of the rules that decided."""

    @property
    def code(self) -> str | None:
        """Stable code of the refusal, such as "token_missing"."""

    @property
    def reason(self) -> str | None:
        """A stable word that tells more than the code."""

    @property
    def header(self) -> str | None:
        """The configured header that the refusal is about."""

    @property
    def message(self) -> str | None:
        """One sentence about the refusal, without values of the request."""

    @property
    def http_status(self) -> int:
        """Status to answer with: 200 when allowed."""

    @property
    def ws_close_code(self) -> int | None:
        """Code to close an open WebSocket with."""

    @property
    def challenge(self) -> str | None:
        """Value of WWW-Authenticate, exactly when the status is 401."""

    @property
    def penalty(self) -> float:
        """Seconds to wait before the refusal is sent."""

    @property
    def retry_after(self) -> float | None:
        """Seconds until another attempt makes sense."""

    @property
    def hides_reason(self) -> bool:
        """Whether callers are not to learn why (`gateway.http.hideAuthReasons`)."""

    def headers(self) -> list[tuple[str, str]]:
        """The header lines that belong to a refusal."""

    def body(self) -> bytes:
        """The JSON body of a refusal; empty when the request may come in."""

    def to_dict(self) -> DecisionInfo:
        """The decision as the JSON object of every language."""

    def __bool__(self) -> bool: ...

@final
class Snapshot:
    """The secrets and access rules of one generation. Immutable; outlives its engine."""

    @property
    def generation(self) -> int:
        """Number of the generation, from 1 up."""

    @property
    def activated_at(self) -> int:
        """When it was activated, in milliseconds since 1970."""

    @property
    def hsts(self) -> str | None:
        """Value for Strict-Transport-Security on secure connections."""

    def secret(self, path: str) -> str:
        """The secret at a path such as "models.providers.openai.apiKey"."""

    def secret_ref(self, reference: str) -> str:
        """The secret of a reference "source:provider:id" that was part of the activation."""

    def value(self, path: str) -> Any:
        """A setting that is not secret; None when there is none."""

    def config(self) -> Any:
        """The effective configuration with secrets replaced."""

    def surfaces(self) -> list[Surface]:
        """Every setting that holds a secret, without values, sorted by path."""

    def diagnostics(self) -> list[Diagnostic]:
        """What the activation noticed."""

    def authorize(
        self,
        peer: str | None,
        headers: _Headers | None = None,
        *,
        local: str | None = None,
        websocket: bool = False,
        tls: bool = False,
        token: str | None = None,
        password: str | None = None,
    ) -> Decision:
        """See Engine.authorize(); by the rules of this generation."""

@final
class Verdict:
    """What follows a report."""

    @property
    def kind(self) -> Literal["done", "retry", "exhausted"]:
        """"retry": the lease now holds the next credential; "exhausted": nothing is left."""

    @property
    def delay(self) -> float:
        """Seconds to wait before the retry."""

    @property
    def reason(self) -> str | None:
        """What the failure meant, such as "rate_limit"."""

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the provider or a credential is available again."""

    @property
    def http_status(self) -> int:
        """Status that a gateway answers with."""

    @property
    def message(self) -> str:
        """One sentence without secrets; empty after a success."""

    @property
    def renewed(self) -> bool:
        """Whether the retry is with fresh material of the same credential."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""

    @property
    def attempts(self) -> list[Attempt]:
        """Everything that was tried or passed over, when exhausted."""

    @property
    def details(self) -> dict[str, Any] | None:
        """The classification, or the end of the chain, as the JSON object of every language."""

@final
class Lease:
    @property
    def secret(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def chain_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def candidate_id(self) -> str: ...
    @property
    def profile_id(self) -> str | None: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def account_id(self) -> str | None: ...
    @property
    def probe(self) -> bool: ...
    @property
    def warning(self) -> str | None: ...
    @property
    def switched_model(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def to_dict(self) -> LeaseInfo: ...
    def report(
        self,
        status: int | None = None,
        headers: _Headers | None = None,
        body: _Text | None = None,
        message: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        transport: str | None = None,
        reason: str | None = None,
        wait: bool = True,
    ) -> Verdict | None: ...
    def close(self) -> None: ...

@final
class OAuthFlow:
    @property
    def url(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def redirect_uri(self) -> str: ...
    @property
    def addresses(self) -> list[str]: ...
    @property
    def remote(self) -> bool: ...
    @property
    def remaining(self) -> float: ...
    @property
    def provider(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    def warnings(self) -> list[str]: ...
    def listen(self, timeout: float) -> str | None: ...
    def complete(self, text: str) -> LoginDone: ...
    def request(self, text: str) -> TokenRequest: ...
    def accept(self, http_status: int, body: str) -> LoginDone: ...
    def close(self) -> None: ...

@final
class Engine:
    @staticmethod
    def open(options: Options) -> Engine: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def generation(self) -> int: ...
    @property
    def degraded(self) -> bool: ...
    @property
    def leases_out(self) -> int: ...
    def secret(self, path: str) -> str: ...
    def snapshot(self) -> Snapshot: ...
    def authorize(
        self,
        peer: str | None,
        headers: _Headers | None = None,
        local: str | None = None,
        websocket: bool = False,
        tls: bool = False,
        token: str | None = None,
        password: str | None = None,
    ) -> Decision: ...
    def authorize_nothing(self) -> Decision: ...
    def reload(self, config: str | None = None) -> ReloadReport: ...
    def preflight(
        self,
        config: str | None = None,
        allow_exec: bool = False,
        paths: Sequence[str] | None = None,
    ) -> PreflightReport: ...
    def audit(self, allow_exec: bool) -> dict[str, Any]: ...
    def status(
        self,
        agent: str | None,
        providers: Sequence[str] | None,
        warn_within: float | None,
    ) -> StatusReport: ...
    def doctor(
        self,
        agent: str | None,
        only: Sequence[str] | None,
        skip: Sequence[str] | None,
        deep: bool,
        allow_exec: bool,
    ) -> DoctorReport: ...
    def restore_redacted(self, proposed: Mapping[str, Any]) -> Any: ...
    def files_changed(self) -> bool: ...
    def events(self) -> list[Event]: ...
    def next_event(self) -> Event | None: ...
    def add_rules(self, rules: Any) -> None: ...
    def flush(self) -> bool: ...
    def advance(self, ms: int) -> None: ...
    def lease(
        self,
        provider: str | None = None,
        model: str | None = None,
        models: Sequence[str] | None = None,
        agent: str | None = None,
        session: str | None = None,
        new_session: bool = False,
        compaction_count: int = 0,
        profile: str | None = None,
        prefer: str | None = None,
        exclude: Sequence[str] | None = None,
        env: bool = True,
        probe: str | None = None,
        min_valid: float | None = None,
        refresh: bool = True,
        max_attempts: int | None = None,
        wait: bool = True,
    ) -> Lease | None: ...
    def profiles(self, agent: str | None, provider: str | None) -> ProfileList: ...
    def add_profile(
        self,
        profile_id: str,
        provider: str,
        kind: str,
        secret: str | None,
        reference: str | None,
        expires_at: int | None,
        email: str | None,
        display_name: str | None,
        agent: str | None,
        replace: bool,
    ) -> None: ...
    def remove_profile(self, profile_id: str, agent: str | None) -> None: ...
    def profile_order(
        self, provider: str, model: str | None, prefer: str | None, agent: str | None
    ) -> list[str]: ...
    def order(self, provider: str, agent: str | None) -> Order: ...
    def set_order(
        self, provider: str, ids: Sequence[str] | None, agent: str | None
    ) -> None: ...
    def clear_cooldown(self, profile_id: str | None, what: str, agent: str | None) -> None: ...
    def eligibility(self, profile_id: str, provider: str, agent: str | None) -> str: ...
    def env_candidates(self, provider: str) -> list[tuple[str, str]]: ...
    def chat(
        self, session: str, message: str, shown: str | None, agent: str | None
    ) -> ChatReply | None: ...
    def models(self, session: str, agent: str | None) -> list[ModelChoice]: ...
    def model_chain(
        self, requested: str | None, fallbacks: Sequence[str] | None, agent: str | None
    ) -> list[str]: ...
    def session(self, key: str) -> dict[str, Any]: ...
    def set_session(self, key: str, entry: Mapping[str, Any]) -> None: ...
    def export_sessions(self) -> Any: ...
    def import_sessions(self, sessions: Any) -> None: ...
    def oauth(
        self,
        provider: str,
        agent: str | None,
        profile_id: str | None,
        replace: bool,
        timeout: float | None,
    ) -> OAuthFlow: ...
    def oauth_token(
        self, profile_id: str, min_valid: float, force: bool, agent: str | None
    ) -> OAuthToken: ...
    def oauth_unauthorized(
        self, profile_id: str, refused: str, agent: str | None
    ) -> OAuthToken: ...
    def oauth_link(self, program: str, agent: str | None) -> LoginDone: ...
    def oauth_providers(self) -> list[str]: ...
    def oauth_profiles(self, agent: str | None) -> list[tuple[str, str]]: ...
