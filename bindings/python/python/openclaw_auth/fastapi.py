"""FastAPI dependencies.

    guard = Guard(engine)

    @app.get("/me")
    def me(decision: Annotated[Decision, Depends(guard)]) -> str: ...

`Guard` judges by itself; behind asgi.AuthMiddleware, `current_decision` gives what was decided.
"""


import asyncio
import json

from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

from . import asgi
from ._engine import Reads
from ._native import Decision


class Guard:
    """A dependency that lets requests and WebSockets through that may come in."""

    def __init__(self, engine: Reads, *, peer: str | None = None) -> None:
        """`peer` is the address to assume where the server knows none."""
        self.engine = engine
        self.peer = peer

    async def __call__(self, connection: HTTPConnection) -> Decision:
        """Raises what FastAPI answers with the status and body of the refusal."""
        decision = asgi.authorize(self.engine, connection.scope, self.peer)
        if decision.allowed:
            return decision
        await asyncio.sleep(decision.penalty)
        if connection.scope["type"] == "websocket":
            reason = "" if decision.hides_reason else decision.code
            raise WebSocketException(decision.ws_close_code or 1008, reason)
        error = json.loads(decision.body())["error"]
        headers = dict(decision.headers())
        del headers["content-type"]
        raise HTTPException(decision.http_status, detail=error, headers=headers)


def current_decision(connection: HTTPConnection) -> Decision:
    """The decision that let the request in through asgi.AuthMiddleware."""
    decision = getattr(connection.state, "openclaw_auth", None)
    if not isinstance(decision, Decision):
        raise RuntimeError("openclaw_auth.asgi.AuthMiddleware is not around this application")
    return decision
