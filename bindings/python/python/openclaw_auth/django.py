"""Django middleware. First in `MIDDLEWARE`:

    MIDDLEWARE = ["openclaw_auth.django.AuthMiddleware", ...]
    OPENCLAW_AUTH = {"require_access": True}  # arguments of Engine.open(), or an Engine

Works under WSGI and ASGI. Views find the Decision in `request.openclaw_auth`.
"""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]

from . import asgi, wsgi
from ._engine import Engine, Reads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase  # type: ignore[import-untyped]

    from ._native import Decision


class AuthMiddleware:
    """Guards every view with Engine.authorize()."""

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        self.engine = _engine(getattr(settings, "OPENCLAW_AUTH", {"require_access": True}))

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._later(request)
        decision = self._judge(request)
        if decision.allowed:
            return self.get_response(request)
        time.sleep(decision.penalty)
        return _refusal(decision)

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        decision = self._judge(request)
        if decision.allowed:
            response: Any = self.get_response(request)
            answer: HttpResponseBase = await response
            return answer
        await asyncio.sleep(decision.penalty)
        return _refusal(decision)

    def _judge(self, request: HttpRequest) -> Decision:
        scope = getattr(request, "scope", None)
        if scope is not None:
            # Under ASGI: the lines themselves, not what Django has joined.
            decision = asgi.authorize(self.engine, scope)
        else:
            decision = wsgi.authorize(self.engine, request.META)
        if decision.allowed:
            request.openclaw_auth = decision
        return decision


def _engine(setting: Any) -> Reads:
    return setting if isinstance(setting, Reads) else Engine.open(**setting)


def _refusal(decision: Decision) -> HttpResponse:
    headers = dict(decision.headers())
    return HttpResponse(decision.body(), status=decision.http_status, headers=headers)
