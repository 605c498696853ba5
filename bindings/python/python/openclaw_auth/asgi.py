"""ASGI middleware: lets requests and WebSockets through that may come in, and answers the others.

    app = AuthMiddleware(app, engine)

Put it outermost, and turn off what rewrites addresses before it (`uvicorn --no-proxy-headers`):
the decision rests on who is really at the other end. Behind it, `scope["state"]["openclaw_auth"]`
is the Decision.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any, TypeAlias

    from ._engine import Reads
    from ._native import Decision

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class AuthMiddleware:
    """Guards an ASGI application with Engine.authorize()."""

    def __init__(self, app: App, engine: Reads, *, peer: str | None = None) -> None:
        """`peer` is the address to assume where the server knows none, as behind a Unix socket.

        Without it such requests are refused by every rule that looks at addresses.
        """
        self.app = app
        self.engine = engine
        self.peer = peer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        decision = authorize(self.engine, scope, self.peer)
        if decision.allowed:
            scope.setdefault("state", {})["openclaw_auth"] = decision
            await self.app(scope, receive, send)
            return
        if decision.penalty:
            import asyncio

            await asyncio.sleep(decision.penalty)
        await refuse(decision, scope, receive, send)


def authorize(engine: Reads, scope: Scope, peer: str | None = None) -> Decision:
    """Judges a scope of type "http" or "websocket"."""
    client, server = scope.get("client"), scope.get("server")
    return engine.authorize(
        client[0] if client else peer,
        scope["headers"],
        local=server[0] if server and server[1] is not None else None,
        websocket=scope["type"] == "websocket",
        tls=scope.get("scheme") in ("https", "wss"),
    )


async def refuse(decision: Decision, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request that may not come in."""
    websocket = scope["type"] == "websocket"
    if websocket:
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            # The server answers the handshake with a bare 403.
            code, reason = decision.ws_close_code or 1008, decision.code or ""
            reason = "" if decision.hides_reason else reason
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
    kind = "websocket.http.response" if websocket else "http.response"
    body = decision.body()
    headers = [(name.encode(), value.encode()) for name, value in decision.headers()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": f"{kind}.start", "status": decision.http_status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
