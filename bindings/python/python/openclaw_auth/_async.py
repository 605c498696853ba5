"""Engines, leases and sign-ins for asyncio: the same names as coroutines.

What never waits runs at once. What may wait goes to a thread; when a task is cancelled meanwhile,
the call ends by itself and what it brings (a lease, say) is given back.
"""

from __future__ import annotations

import asyncio
from functools import partial

from ._engine import Engine, FlowReads, LeaseReads, Reads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Literal

    from typing_extensions import Self

    from . import _native
    from ._engine import Headers, Path, Probe, Text, Transport
    from ._types import (
        ChatReply,
        DoctorReport,
        LoginDone,
        ModelChoice,
        OAuthToken,
        Order,
        PreflightReport,
        ProfileList,
        ReloadReport,
        SecretRef,
        StatusReport,
    )


class AsyncEngine(Reads):
    """An Engine for asyncio. Any number of tasks may use it."""

    __slots__ = ("__weakref__", "sync")
    sync: Engine
    """The same engine for threads."""

    def __init__(self, engine: Engine) -> None:
        """Wraps an engine that is already open."""
        self.sync = engine
        self._core = engine._core
        self._log_events = engine._log_events

    @classmethod
    async def open(
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
        """See Engine.open()."""
        call = partial(
            Engine.open,
            config_path,
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
            log=log,
        )
        # What a traceback with local variables would show.
        del config, env, token, password
        task = asyncio.to_thread(call)
        del call
        return cls(await task)

    async def close(self) -> None:
        """See Engine.close()."""
        await asyncio.to_thread(self.sync.close)

    async def reload(self, config: str | None = None) -> ReloadReport:
        """See Engine.reload()."""
        return await asyncio.to_thread(self.sync.reload, config)

    async def preflight(
        self,
        config: str | None = None,
        *,
        allow_exec: bool = False,
        paths: Sequence[str] | None = None,
    ) -> PreflightReport:
        """See Engine.preflight()."""
        call = partial(self.sync.preflight, config, allow_exec=allow_exec, paths=paths)
        return await asyncio.to_thread(call)

    async def audit(self, *, allow_exec: bool = False) -> dict[str, Any]:
        """See Engine.audit()."""
        return await asyncio.to_thread(partial(self.sync.audit, allow_exec=allow_exec))

    async def status(
        self,
        *,
        agent: str | None = None,
        providers: Sequence[str] | None = None,
        warn_within: float | None = None,
    ) -> StatusReport:
        """See Engine.status()."""
        call = partial(
            self.sync.status, agent=agent, providers=providers, warn_within=warn_within
        )
        return await asyncio.to_thread(call)

    async def doctor(
        self,
        *,
        agent: str | None = None,
        only: Sequence[str] | None = None,
        skip: Sequence[str] | None = None,
        deep: bool = False,
        allow_exec: bool = False,
    ) -> DoctorReport:
        """See Engine.doctor()."""
        call = partial(
            self.sync.doctor, agent=agent, only=only, skip=skip, deep=deep, allow_exec=allow_exec
        )
        return await asyncio.to_thread(call)

    async def restore_redacted(self, proposed: Mapping[str, Any]) -> Any:
        """See Engine.restore_redacted()."""
        return await asyncio.to_thread(self.sync.restore_redacted, proposed)

    async def files_changed(self) -> bool:
        """See Engine.files_changed()."""
        return await asyncio.to_thread(self.sync.files_changed)

    async def lease(
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
    ) -> AsyncLease:
        """See Engine.lease(). Goes to a thread only where a token may have to be refreshed."""
        lend: Callable[..., _native.Lease | None] = partial(
            self._core.lease,
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
        try:
            native = lend(wait=False)
            if native is None:
                native = await asyncio.to_thread(lend)
        finally:
            self._log()
        assert native is not None  # only without waiting
        return AsyncLease(native, self.sync)

    async def flush(self) -> bool:
        """See Engine.flush()."""
        return await asyncio.to_thread(self.sync.flush)

    async def profiles(
        self, provider: str | None = None, *, agent: str | None = None
    ) -> ProfileList:
        """See Engine.profiles()."""
        return await asyncio.to_thread(self.sync.profiles, provider, agent=agent)

    async def add_profile(
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
        """See Engine.add_profile()."""
        call = partial(
            self.sync.add_profile,
            profile_id,
            provider,
            secret,
            ref=ref,
            kind=kind,
            expires_at=expires_at,
            email=email,
            display_name=display_name,
            agent=agent,
            replace=replace,
        )
        del secret
        task = asyncio.to_thread(call)
        del call
        await task

    async def remove_profile(self, profile_id: str, *, agent: str | None = None) -> None:
        """See Engine.remove_profile()."""
        await asyncio.to_thread(self.sync.remove_profile, profile_id, agent=agent)

    async def profile_order(
        self,
        provider: str,
        *,
        model: str | None = None,
        prefer: str | None = None,
        agent: str | None = None,
    ) -> list[str]:
        """See Engine.profile_order()."""
        call = partial(
            self.sync.profile_order, provider, model=model, prefer=prefer, agent=agent
        )
        return await asyncio.to_thread(call)

    async def order(self, provider: str, *, agent: str | None = None) -> Order:
        """See Engine.order()."""
        return await asyncio.to_thread(self.sync.order, provider, agent=agent)

    async def set_order(
        self, provider: str, ids: Sequence[str] | None, *, agent: str | None = None
    ) -> None:
        """See Engine.set_order()."""
        await asyncio.to_thread(self.sync.set_order, provider, ids, agent=agent)

    async def clear_cooldown(
        self,
        profile_id: str | None = None,
        *,
        what: Literal["all", "cooldown", "disabled", "models"] = "all",
        agent: str | None = None,
    ) -> None:
        """See Engine.clear_cooldown()."""
        call = partial(self.sync.clear_cooldown, profile_id, what=what, agent=agent)
        await asyncio.to_thread(call)

    async def eligibility(
        self, profile_id: str, provider: str, *, agent: str | None = None
    ) -> str:
        """See Engine.eligibility()."""
        return await asyncio.to_thread(self.sync.eligibility, profile_id, provider, agent=agent)

    async def chat(
        self,
        session: str,
        message: str,
        *,
        shown: str | None = None,
        agent: str | None = None,
    ) -> ChatReply | None:
        """See Engine.chat()."""
        call = partial(self.sync.chat, session, message, shown=shown, agent=agent)
        return await asyncio.to_thread(call)

    async def models(self, session: str, *, agent: str | None = None) -> list[ModelChoice]:
        """See Engine.models()."""
        return await asyncio.to_thread(self.sync.models, session, agent=agent)

    async def model_chain(
        self,
        requested: str | None = None,
        *,
        fallbacks: Sequence[str] | None = None,
        agent: str | None = None,
    ) -> list[str]:
        """See Engine.model_chain()."""
        call = partial(self.sync.model_chain, requested, fallbacks=fallbacks, agent=agent)
        return await asyncio.to_thread(call)

    async def oauth(
        self,
        provider: str,
        *,
        agent: str | None = None,
        profile_id: str | None = None,
        replace: bool = False,
        timeout: float | None = None,
    ) -> AsyncOAuthFlow:
        """See Engine.oauth()."""
        begin = partial(self._core.oauth, provider, agent, profile_id, replace, timeout)
        return AsyncOAuthFlow(await asyncio.to_thread(begin), self.sync)

    async def oauth_token(
        self,
        profile_id: str,
        *,
        min_valid: float = 0,
        force: bool = False,
        agent: str | None = None,
    ) -> OAuthToken:
        """See Engine.oauth_token()."""
        call = partial(
            self.sync.oauth_token, profile_id, min_valid=min_valid, force=force, agent=agent
        )
        return await asyncio.to_thread(call)

    async def oauth_unauthorized(
        self, profile_id: str, refused: str, *, agent: str | None = None
    ) -> OAuthToken:
        """See Engine.oauth_unauthorized()."""
        task = asyncio.to_thread(self.sync.oauth_unauthorized, profile_id, refused, agent=agent)
        del refused
        return await task

    async def oauth_link(self, program: str, *, agent: str | None = None) -> LoginDone:
        """See Engine.oauth_link()."""
        return await asyncio.to_thread(self.sync.oauth_link, program, agent=agent)

    async def oauth_profiles(self, *, agent: str | None = None) -> list[tuple[str, str]]:
        """See Engine.oauth_profiles()."""
        return await asyncio.to_thread(self.sync.oauth_profiles, agent=agent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncLease(LeaseReads):
    """A credential, lent. Report what became of it, or close it."""

    __slots__ = ()

    async def report(
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
        """See Lease.report(). Goes to a thread only to refresh a refused OAuth token."""
        tell: Callable[..., _native.Verdict | None] = partial(
            self._core.report, status, headers, body, message, code, kind, transport, reason
        )
        try:
            verdict = tell(wait=False)
            if verdict is None:
                verdict = await asyncio.to_thread(tell)
        finally:
            self._engine._log()
        assert verdict is not None  # only without waiting
        return verdict

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncOAuthFlow(FlowReads):
    """A sign-in under way. Show `url`, then wait(), or complete() with what a person pastes."""

    __slots__ = ()

    async def listen(self, timeout: float) -> str | None:
        """See OAuthFlow.listen()."""
        end = asyncio.get_running_loop().time() + timeout
        while (left := end - asyncio.get_running_loop().time()) > 0:
            # In slices, so that a cancelled task does not leave a thread behind for minutes.
            address = await asyncio.to_thread(self._core.listen, min(left, 0.5))
            if address is not None:
                return address
        return None

    async def complete(self, text: str) -> LoginDone:
        """See OAuthFlow.complete()."""
        task = asyncio.to_thread(self._core.complete, text)
        del text
        try:
            return await task
        finally:
            self._engine._log()

    async def wait(self) -> LoginDone:
        """See OAuthFlow.wait()."""
        while True:
            if (address := await self.listen(self.remaining + 0.1)) is not None:
                return await self.complete(address)

    async def accept(self, http_status: int, body: str) -> LoginDone:
        """See OAuthFlow.accept()."""
        task = asyncio.to_thread(self._core.accept, http_status, body)
        del body
        try:
            return await task
        finally:
            self._engine._log()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
