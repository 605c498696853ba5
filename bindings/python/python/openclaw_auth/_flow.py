"""Leasing for HTTP clients; httpx and httpx2 share it."""

from __future__ import annotations

from ._async import AsyncEngine
from ._engine import Engine, LeaseReads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, MutableMapping
    from typing import Any

    from ._native import Verdict

# Providers that take a key in a header of their own; all others take `Authorization: Bearer`.
OWN_HEADERS = {"anthropic": "x-api-key", "google": "x-goog-api-key"}
# Headers in which clients put the key that they were made with.
CREDENTIAL_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")


class Placement:
    """Which credential goes into which header."""

    def __init__(self, header: str | None, scheme: str | None) -> None:
        self._header = header
        self._scheme = scheme

    def apply(self, headers: MutableMapping[str, str], lease: LeaseReads) -> None:
        """Puts the credential in, in place of whatever the client had."""
        header, scheme = self._header, self._scheme
        if header is None:
            own = OWN_HEADERS.get(lease.provider) if lease.kind == "api_key" else None
            header = own or "authorization"
        if scheme is None:
            scheme = "Bearer " if header.lower() == "authorization" else ""
        for name in CREDENTIAL_HEADERS:
            headers.pop(name, None)
        # No local variable holds the secret: tracebacks would show it.
        if lease.secret:
            headers[header] = f"{scheme}{lease.secret}"


def goes_on(verdict: Verdict) -> bool:
    """Whether to send again: other keys help against rate limits, fresh tokens against refusals."""
    return verdict.kind == "retry" and (verdict.reason == "rate_limit" or verdict.renewed)


class LeaseFlow(Placement):
    """Leases a credential for each request and turns to the next one on a rate limit."""

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        provider: str,
        *,
        model: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        header: str | None = None,
        scheme: str | None = None,
    ) -> None:
        """`header` and `scheme` say where the credential goes.

        The default is `Authorization: Bearer`, or the header that the provider is known to want.
        """
        super().__init__(header, scheme)
        self._engine = engine.sync if isinstance(engine, AsyncEngine) else engine
        self._async_engine = AsyncEngine(self._engine)
        self._provider = provider
        self._wish: dict[str, Any] = {"model": model, "agent": agent, "session": session}

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """For clients that block."""
        with self._engine.lease(self._provider, **self._wish) as lease:
            while True:
                self.apply(request.headers, lease)
                response = yield request
                # Only bodies of failures: successful answers may be streams.
                body = response.read() if response.status_code >= 400 else None
                status, headers = response.status_code, response.headers.raw
                verdict = lease.report(status, headers=headers, body=body)
                if not goes_on(verdict) or not _is_replayable(request):
                    return

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """For asynchronous clients."""
        async with await self._async_engine.lease(self._provider, **self._wish) as lease:
            while True:
                self.apply(request.headers, lease)
                response = yield request
                body = await response.aread() if response.status_code >= 400 else None
                status, headers = response.status_code, response.headers.raw
                verdict = await lease.report(status, headers=headers, body=body)
                if not goes_on(verdict) or not _is_replayable(request):
                    return

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._provider}>"


def _is_replayable(request: Any) -> bool:
    """Whether the body can be sent again: a stream is used up."""
    return type(request.stream).__name__ == "ByteStream"
