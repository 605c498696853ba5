"""A transport adapter for requests.

    session = requests.Session()
    session.mount("https://api.openai.com/", LeaseAdapter(engine, "openai"))

Each request leases a credential; on a rate limit it is sent again with the next one.
"""

from __future__ import annotations

from requests.adapters import HTTPAdapter

from ._flow import Placement, goes_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from requests import PreparedRequest, Response

    from ._engine import Engine


class LeaseAdapter(HTTPAdapter):
    """Leases a credential for each request of a requests.Session."""

    def __init__(
        self,
        engine: Engine,
        provider: str,
        *,
        model: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        header: str | None = None,
        scheme: str | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of HTTPAdapter; the others are those of httpx.LeaseAuth."""
        super().__init__(**options)
        self._engine = engine
        self._provider = provider
        self._wish: dict[str, Any] = {"model": model, "agent": agent, "session": session}
        self._placement = Placement(header, scheme)

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Sends the request with a leased credential, and again with the next one."""
        with self._engine.lease(self._provider, **self._wish) as lease:
            while True:
                self._placement.apply(request.headers, lease)
                response = super().send(request, *args, **options)
                failed = response.status_code >= 400
                verdict = lease.report(
                    response.status_code,
                    headers=response.headers,
                    body=response.content if failed else None,
                )
                replayable = request.body is None or isinstance(request.body, (bytes, str))
                if not goes_on(verdict) or not replayable:
                    return response
                response.close()
