"""Engines, leases and sign-ins for threads."""

from __future__ import annotations

from . import _native
from ._errors import ArgumentError, OpenClawAuthError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Any, Literal, NoReturn, TypeAlias

    from typing_extensions import Self

    from ._types import (
        ChatReply,
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
        SecretRef,
        StatusReport,
        TokenRequest,
    )

    Text: TypeAlias = bytes | str
    Headers: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[Text, Text]]
    Path: TypeAlias = str | PathLike[str]
    Probe: TypeAlias = Literal["auto", "force", "never"]
    Transport: TypeAlias = Literal["cancelled", "connect", "dns", "reset", "timeout", "tls"]


class Reads:
    """What never waits, for threads and for asyncio."""

    __slots__ = ("_core", "_log_events")
    _core: _native.Engine
    _log_events: bool

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._core.closed

    @property
    def generation(self) -> int:
        """Number of the generation in use, from 1 up."""
        return self._core.generation

    @property
    def degraded(self) -> bool:
        """Whether the last reload failed, so that older secrets are in use."""
        return self._core.degraded

    @property
    def leases_out(self) -> int:
        """Number of leases that are neither reported nor closed."""
        return self._core.leases_out

    def secret(self, path: str) -> str:
        """The secret at a path such as "models.providers.openai.apiKey", in this generation.

        Several secrets that belong together are read from one snapshot().
        """
        return self._core.secret(path)

    def snapshot(self) -> _native.Snapshot:
        """Everything of the generation in use, for as long as one piece of work needs it."""
        return self._core.snapshot()

    def authorize(
        self,
        peer: str | None,
        headers: Headers | None = None,
        *,
        local: str | None = None,
        websocket: bool = False,
        tls: bool = False,
        token: str | None = None,
        password: str | None = None,
    ) -> _native.Decision:
        """Judges a request: whether it may come in, and as whom.

        `peer` is the address of the other end of the connection, with or without port, and never
        one that a header tells. `headers` are all header lines in the order of arrival, repeated
        ones too: pairs of bytes or of texts. A dictionary has lost repeated lines, so it is only
        right where the server has refused or joined them. `token` and `password` were given by
        other means than a header. `tls` says that this program itself ended TLS.
        """
        return self._core.authorize(peer, headers, local, websocket, tls, token, password)

    def events(self) -> list[Event]:
        """Takes the events that wait, oldest first.

        There are none when they go to `logging` (`log=True`, the default).
        """
        return self._core.events()

    def env_candidates(self, provider: str) -> list[tuple[str, str]]:
        """Keys of a provider beyond its profiles: ids and kinds, in the order they are tried."""
        return self._core.env_candidates(provider)

    def session(self, key: str) -> dict[str, Any]:
        """What is remembered about a session, with the keys of OpenClaw's session entries."""
        return self._core.session(key)

    def set_session(self, key: str, entry: Mapping[str, Any]) -> None:
        """Replaces what is remembered about a session; an empty entry forgets it."""
        self._core.set_session(key, entry)

    def export_sessions(self) -> Any:
        """Everything remembered about sessions, to be stored by the caller."""
        return self._core.export_sessions()

    def import_sessions(self, sessions: Any) -> None:
        """Takes over what export_sessions() gave."""
        self._core.import_sessions(sessions)

    def add_rules(self, rules: Any) -> None:
        """Registers secret surfaces of the host; they count from the next reload."""
        self._core.add_rules(rules)

    def oauth_providers(self) -> list[str]:
        """Ids of the providers that can be signed in to."""
        return self._core.oauth_providers()

    def _log(self) -> None:
        """Hands the events that wait to `logging`."""
        if not self._log_events or self._core.closed:
            return
        while (event := self._core.next_event()) is not None:
            _emit(event)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled: it holds secrets")

    def __repr__(self) -> str:
        try:
            state = f"generation={self._core.generation}"
        except OpenClawAuthError as error:  # closed, or from before a fork
            state = error.code
        return f"<{type(self).__name__} {state}>"


def _emit(event: Event) -> None:
    # Imported with the first event: it would double the time of `import openclaw_auth`.
    import logging

    level = logging.WARNING if event["level"] == "warn" else logging.INFO
    logging.getLogger("openclaw_auth").log(
        level, "%s: %s", event["code"], event["message"], extra={"openclaw_auth": event}
    )


class Engine(Reads):
    """Everything that belongs to one configuration, kept current. Any thread may use it."""

    __slots__ = ("__weakref__",)

    def __init__(self, native: _native.Engine, *, log: bool = True) -> None:
        """Not for callers: engines are made by open()."""
        self._core = native
        self._log_events = log
        self._log()

    @classmethod
    def open(
        cls,
        config_path: Path | None = None,
        *,
        config: str | Mapping[str, Any] | None = None,
        state_dir: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        inherit_env: bool = True,
        allow_exec: bool = True,
        strict_env: bool = False,
        require_access: bool = False,
        run_exec_always: bool = False,
        deadline: float | None = None,
        auth_mode: Literal["none", "token", "password", "trusted-proxy"] | None = None,
        token: str | None = None,
        password: str | None = None,
        log: bool = True,
    ) -> Self:
        """Reads the configuration and resolves every active secret. Waits for programs and files.

        Without arguments it reads what OpenClaw reads: $OPENCLAW_CONFIG_PATH or
        ~/.openclaw/openclaw.json, and the environment. `config` is the configuration itself, as
        JSON5 text or as a dictionary. `env` holds variables that win over those of the process
        (None takes one away); with `inherit_env=False` only they are seen. `deadline` is in
        seconds. `require_access` makes missing access settings an error, as a server wants it.

        Raises ConfigError with every problem, or SecretError with every secret that could not be
        resolved. With `log`, events go to the logger "openclaw_auth".
        """
        options = _native.Options(
            config_path=config_path,
            config=config,
            state_dir=state_dir,
            env=env,
            inherit_env=inherit_env,
            allow_exec=allow_exec,
            strict_env=strict_env,
            require_access=require_access,
            run_exec_always=run_exec_always,
            deadline=deadline,
            auth_mode=auth_mode,
            token=token,
            password=password,
        )
        # What a traceback with local variables would show.
        del config, env, token, password
        return cls(_native.Engine.open(options), log=log)

    @classmethod
    def _to_look_at(cls, config_path: Path | None, *, allow_exec: bool) -> Self:
        """For status: secrets that do not resolve are reported, not refused."""
        options = _native.Options(
            config_path=config_path,
            allow_exec=allow_exec,
            run_exec_always=True,
            tolerate_unresolved=True,
        )
        return cls(_native.Engine.open(options), log=False)

    def close(self) -> None:
        """Writes usage that waits for the stores, and lets go. Snapshots stay valid."""
        self._log()
        self._core.close()

    def reload(self, config: str | None = None) -> ReloadReport:
        """Reads and resolves everything again and swaps it in as one. Waits.

        On failure the last good snapshot stays in use, and `degraded` says so. `config` is a
        JSON5 text to use this once instead of the file.
        """
        try:
            return self._core.reload(config)
        finally:
            del config
            self._log()

    def preflight(
        self,
        config: str | None = None,
        *,
        allow_exec: bool = False,
        paths: Sequence[str] | None = None,
    ) -> PreflightReport:
        """Checks a configuration text, or what is on disk, as a reload would; changes nothing."""
        return self._core.preflight(config, allow_exec, paths)

    def audit(self, *, allow_exec: bool = False) -> dict[str, Any]:
        """Looks for plain secrets, references that do not resolve, and leftovers. Waits."""
        return self._core.audit(allow_exec)

    def status(
        self,
        *,
        agent: str | None = None,
        providers: Sequence[str] | None = None,
        warn_within: float | None = None,
    ) -> StatusReport:
        """Models, credentials and how long they last. Changes nothing and contacts nobody.

        `warn_within` is how soon the end of a token is worth a warning, in seconds (default: a day).
        """
        return self._core.status(agent, providers, warn_within)

    def doctor(
        self,
        *,
        agent: str | None = None,
        only: Sequence[str] | None = None,
        skip: Sequence[str] | None = None,
        deep: bool = False,
        allow_exec: bool = False,
    ) -> DoctorReport:
        """Everything that is wrong with the installation, as it is on disk now. Changes nothing.

        `deep` also contacts token endpoints and the running gateway; `allow_exec` runs exec
        providers. The function doctor() examines an installation that cannot be opened.
        """
        return self._core.doctor(agent, only, skip, deep, allow_exec)

    def restore_redacted(self, proposed: Mapping[str, Any]) -> Any:
        """Puts back what Snapshot.config() has redacted. May hold literal secrets."""
        return self._core.restore_redacted(proposed)

    def files_changed(self) -> bool:
        """Whether a file behind the configuration has changed; then reload()."""
        return self._core.files_changed()

    def lease(
        self,
        provider: str | None = None,
        *,
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
        probe: Probe | None = None,
        min_valid: float | None = None,
        refresh: bool = True,
        max_attempts: int | None = None,
    ) -> Lease:
        """Lends a credential for one upstream call. Waits only for an OAuth refresh.

        `models` is a fallback chain of "provider/model" instead of `provider` and `model`. `session`
        keeps a conversation with one account. Raises NoCredentialsError, or UnavailableError with
        `retry_after`.
        """
        try:
            native = self._core.lease(
                provider,
                model,
                models,
                agent,
                session,
                new_session,
                compaction_count,
                profile,
                prefer,
                exclude,
                env,
                probe,
                min_valid,
                refresh,
                max_attempts,
            )
        finally:
            self._log()
        assert native is not None  # only without waiting
        return Lease(native, self)

    def flush(self) -> bool:
        """Writes all usage that waits for the stores. Whether nothing is left."""
        return self._core.flush()

    def profiles(self, provider: str | None = None, *, agent: str | None = None) -> ProfileList:
        """Every stored credential and key of an agent, without secrets."""
        return self._core.profiles(agent, provider)

    def add_profile(
        self,
        profile_id: str,
        provider: str,
        secret: str | None = None,
        *,
        ref: SecretRef | str | None = None,
        kind: Literal["api_key", "token"] = "api_key",
        expires_at: int | None = None,
        email: str | None = None,
        display_name: str | None = None,
        agent: str | None = None,
        replace: bool = False,
    ) -> None:
        """Stores a key or token, itself or as a reference. Written and synced on return."""
        self._core.add_profile(
            profile_id,
            provider,
            kind,
            secret,
            _label(ref),
            expires_at,
            email,
            display_name,
            agent,
            replace,
        )

    def remove_profile(self, profile_id: str, *, agent: str | None = None) -> None:
        """Removes a stored credential and wherever it is named."""
        self._core.remove_profile(profile_id, agent)

    def profile_order(
        self,
        provider: str,
        *,
        model: str | None = None,
        prefer: str | None = None,
        agent: str | None = None,
    ) -> list[str]:
        """The profiles of a provider in the order in which they would be tried now."""
        return self._core.profile_order(provider, model, prefer, agent)

    def order(self, provider: str, *, agent: str | None = None) -> Order:
        """Stored and effective order of a provider."""
        return self._core.order(provider, agent)

    def set_order(
        self, provider: str, ids: Sequence[str] | None, *, agent: str | None = None
    ) -> None:
        """Sets the order of a provider; None takes it away."""
        self._core.set_order(provider, ids, agent)

    def clear_cooldown(
        self,
        profile_id: str | None = None,
        *,
        what: Literal["all", "cooldown", "disabled", "models"] = "all",
        agent: str | None = None,
    ) -> None:
        """Takes windows away from a profile, or from all."""
        self._core.clear_cooldown(profile_id, what, agent)

    def eligibility(self, profile_id: str, provider: str, *, agent: str | None = None) -> str:
        """"ok", or why a profile may not be used for a provider."""
        return self._core.eligibility(profile_id, provider, agent)

    def chat(
        self,
        session: str,
        message: str,
        *,
        shown: str | None = None,
        agent: str | None = None,
    ) -> ChatReply | None:
        """Carries out the `/model` directive in a message; None when there is none."""
        return self._core.chat(session, message, shown, agent)

    def models(self, session: str, *, agent: str | None = None) -> list[ModelChoice]:
        """The models that can be selected, with the state of their credentials."""
        return self._core.models(session, agent)

    def model_chain(
        self,
        requested: str | None = None,
        *,
        fallbacks: Sequence[str] | None = None,
        agent: str | None = None,
    ) -> list[str]:
        """The models of a fallback chain."""
        return self._core.model_chain(requested, fallbacks, agent)

    def oauth(
        self,
        provider: str,
        *,
        agent: str | None = None,
        profile_id: str | None = None,
        replace: bool = False,
        timeout: float | None = None,
    ) -> OAuthFlow:
        """Starts a sign-in at a provider such as "openai-codex"."""
        return OAuthFlow(self._core.oauth(provider, agent, profile_id, replace, timeout), self)

    def oauth_token(
        self,
        profile_id: str,
        *,
        min_valid: float = 0,
        force: bool = False,
        agent: str | None = None,
    ) -> OAuthToken:
        """The access token of a profile, refreshed when it is due."""
        try:
            return self._core.oauth_token(profile_id, min_valid, force, agent)
        finally:
            self._log()

    def oauth_unauthorized(
        self, profile_id: str, refused: str, *, agent: str | None = None
    ) -> OAuthToken:
        """Another access token than the one that the provider has just refused."""
        try:
            return self._core.oauth_unauthorized(profile_id, refused, agent)
        finally:
            del refused
            self._log()

    def oauth_link(self, program: str, *, agent: str | None = None) -> LoginDone:
        """Links a profile to the login of "codex-cli" or "claude-cli", read-only."""
        return self._core.oauth_link(program, agent)

    def oauth_profiles(self, *, agent: str | None = None) -> list[tuple[str, str]]:
        """Profiles of type "oauth": ids and providers."""
        return self._core.oauth_profiles(agent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def doctor(
    config_path: Path | None = None,
    *,
    state_dir: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    inherit_env: bool = True,
    agent: str | None = None,
    only: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    deep: bool = False,
    allow_exec: bool = False,
) -> DoctorReport:
    """Engine.doctor() for an installation that need not be able to open."""
    options = _native.Options(
        config_path=config_path, state_dir=state_dir, env=env, inherit_env=inherit_env
    )
    del env
    return options.doctor(agent, only, skip, deep, allow_exec)


def _label(ref: SecretRef | str | None) -> str | None:
    if ref is None or isinstance(ref, str):
        return ref
    try:
        return f"{ref['source']}:{ref['provider']}:{ref['id']}"
    except (KeyError, TypeError) as error:
        message = "`ref` must have `source`, `provider` and `id`"
        raise ArgumentError(message, code="invalid_argument") from error


class LeaseReads:
    """A lent credential: what does not wait."""

    __slots__ = ("__weakref__", "_core", "_engine")

    def __init__(self, native: _native.Lease, engine: Engine) -> None:
        """Not for callers: leases are made by Engine.lease()."""
        self._core = native
        self._engine = engine

    @property
    def secret(self) -> str:
        """The secret; empty for kinds that need none. Do not keep it."""
        return self._core.secret

    @property
    def id(self) -> str:
        """Identifies the lease: 32 hex digits."""
        return self._core.id

    @property
    def chain_id(self) -> str:
        """Identifies all leases of one upstream call."""
        return self._core.chain_id

    @property
    def attempt(self) -> int:
        """Number of the lease in its chain, from 1."""
        return self._core.attempt

    @property
    def candidate_id(self) -> str:
        """Such as "anthropic:work" or "env:OPENAI_API_KEYS#2"."""
        return self._core.candidate_id

    @property
    def profile_id(self) -> str | None:
        """Profile id, when the credential is a profile."""
        return self._core.profile_id

    @property
    def provider(self) -> str:
        """Provider, in normal form."""
        return self._core.provider

    @property
    def model(self) -> str | None:
        """Model, when one was asked for."""
        return self._core.model

    @property
    def kind(self) -> str:
        """"api_key", "token", "oauth", "aws_sdk" or "none"."""
        return self._core.kind

    @property
    def source(self) -> str:
        """Where the credential comes from."""
        return self._core.source

    @property
    def expires_at(self) -> int | None:
        """End of the token, in milliseconds since 1970."""
        return self._core.expires_at

    @property
    def account_id(self) -> str | None:
        """Account id of OAuth, for providers that want it in a header."""
        return self._core.account_id

    @property
    def probe(self) -> bool:
        """Whether the credential is on trial before the end of its window."""
        return self._core.probe

    @property
    def warning(self) -> str | None:
        """"in_cooldown" or "expires_soon"."""
        return self._core.warning

    @property
    def switched_model(self) -> bool:
        """Whether the model is another one than the attempt before had."""
        return self._core.switched_model

    @property
    def closed(self) -> bool:
        """Whether the credential was given back."""
        return self._core.closed

    def to_dict(self) -> LeaseInfo:
        """Everything but the secret, as the JSON object of every language."""
        return self._core.to_dict()

    def close(self) -> None:
        """Gives the credential back. Without a report before, nothing is held against it."""
        self._core.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled: it holds a secret")

    def __repr__(self) -> str:
        # "<Lease openai env:OPENAI_API_KEY>": ids only.
        return f"<{type(self).__name__}{repr(self._core)[6:]}"


class Lease(LeaseReads):
    """A credential, lent. Report what became of it, or close it."""

    __slots__ = ()

    def report(
        self,
        status: int | None = None,
        *,
        headers: Headers | None = None,
        body: Text | None = None,
        message: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        transport: Transport | None = None,
        reason: str | None = None,
    ) -> _native.Verdict:
        """Reports the outcome of the upstream call and says what to do next.

        A status below 400 without more is a success. `headers` and `body` are those of the answer;
        `code`, `kind` and `message` those of its error, when the caller has parsed it; `transport`
        is a failure below HTTP. After the verdict "retry" this lease holds the next credential.
        """
        try:
            verdict = self._core.report(
                status, headers, body, message, code, kind, transport, reason
            )
        finally:
            self._engine._log()
        assert verdict is not None  # only without waiting
        return verdict

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class FlowReads:
    """A sign-in under way: what does not wait."""

    __slots__ = ("__weakref__", "_core", "_engine")

    def __init__(self, native: _native.OAuthFlow, engine: Engine) -> None:
        """Not for callers: sign-ins are made by Engine.oauth()."""
        self._core = native
        self._engine = engine

    @property
    def url(self) -> str:
        """The address that a person opens in a browser. It holds no secret."""
        return self._core.url

    @property
    def state(self) -> str:
        """The value that tells answers of this sign-in from others."""
        return self._core.state

    @property
    def redirect_uri(self) -> str:
        """Where the browser comes back to."""
        return self._core.redirect_uri

    @property
    def addresses(self) -> list[str]:
        """The addresses that are listened on; empty when only pasting is possible."""
        return self._core.addresses

    @property
    def remote(self) -> bool:
        """Whether the person's browser is probably on another machine."""
        return self._core.remote

    @property
    def remaining(self) -> float:
        """Seconds until the sign-in is given up."""
        return self._core.remaining

    @property
    def provider(self) -> str:
        """Id of the provider."""
        return self._core.provider

    @property
    def label(self) -> str:
        """Name of the provider for people."""
        return self._core.label

    @property
    def ended(self) -> bool:
        """Whether nothing can complete it any more."""
        return self._core.ended

    def warnings(self) -> list[str]:
        """What a person should know; taken once."""
        return self._core.warnings()

    def request(self, text: str) -> TokenRequest:
        """The token request, for hosts that send it themselves; then accept()."""
        return self._core.request(text)

    def close(self) -> None:
        """Ends the sign-in and stops listening."""
        self._core.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled: it holds secrets")


class OAuthFlow(FlowReads):
    """A sign-in under way. Show `url`, then wait(), or complete() with what a person pastes."""

    __slots__ = ()

    def listen(self, timeout: float) -> str | None:
        """Waits for the browser so many seconds; gives the address that came, for complete()."""
        return self._core.listen(timeout)

    def complete(self, text: str) -> LoginDone:
        """Completes with the address that arrived or with pasted text, and stores the profile."""
        try:
            return self._core.complete(text)
        finally:
            del text
            self._engine._log()

    def wait(self) -> LoginDone:
        """Waits for the browser until the sign-in is complete, or its time is over."""
        while True:
            if (address := self._core.listen(self.remaining + 0.1)) is not None:
                return self.complete(address)

    def accept(self, http_status: int, body: str) -> LoginDone:
        """Completes with the answer to the token request that the host has sent itself."""
        try:
            return self._core.accept(http_status, body)
        finally:
            del body
            self._engine._log()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
