"""ASGI, Starlette and FastAPI behind uvicorn on loopback, WebSockets included."""


import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from openclaw_auth import AsyncEngine, Decision, Engine
from openclaw_auth.asgi import AuthMiddleware
from openclaw_auth.fastapi import Guard, current_decision

from conftest import PROXY, SHARED, TOKEN, Make, run, talk


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[int]:
    """Serves on loopback; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False, ws="websockets-sansio", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


async def whoami(request: Request) -> JSONResponse:
    decision: Decision = request.state.openclaw_auth
    return JSONResponse({"user": decision.user, "method": decision.method, "client": decision.client_ip})


async def stream(request: Request) -> StreamingResponse:
    async def parts() -> Any:
        for part in ("one ", "two ", "three"):
            yield part

    return StreamingResponse(parts())


async def echo(websocket: Any) -> None:
    await websocket.accept()
    await websocket.send_text(f"{websocket.state.openclaw_auth.user}: {await websocket.receive_text()}")
    await websocket.close()


ROUTES = [Route("/", whoami, methods=["GET", "POST"]), Route("/stream", stream), WebSocketRoute("/ws", echo)]


def test_starlette_behind_a_proxy(make: Make) -> None:
    app = AuthMiddleware(Starlette(routes=ROUTES), AsyncEngine(make(PROXY)))
    with serving(app) as port:
        status, _, body = talk(port, ["GET / HTTP/1.1", "Host: a", "X-Forwarded-User: ann", "X-Forwarded-For: 192.0.2.7"])
        assert (status, json.loads(body)) == (200, {"user": "ann", "method": "trusted-proxy", "client": "192.0.2.7"})
        status, _, body = talk(port, ["GET /stream HTTP/1.1", "Host: a", "X-Forwarded-User: ann"])
        assert (status, body) == (200, "one two three")
        for forged in ("X-Forwarded-User: eve", "X_Forwarded_User: eve", "Connection: X-Forwarded-User"):
            lines = ["GET / HTTP/1.1", "Host: a", "X-Forwarded-User: ann", forged]
            status, headers, body = talk(port, lines)
            assert (status, json.loads(body)["error"]["code"]) == (400, "trusted_proxy_ambiguous_header")
            assert headers["cache-control"] == "no-store"
        status, _, body = talk(port, ["GET / HTTP/1.1", "Host: a"])
        assert (status, json.loads(body)["error"]["header"]) == (403, "x-forwarded-user")


def test_starlette_with_a_token(make: Make) -> None:
    app = Starlette(routes=ROUTES)
    app.add_middleware(AuthMiddleware, engine=make(SHARED))
    with serving(app) as port:
        status, headers, _ = talk(port, ["GET / HTTP/1.1", "Host: localhost"])
        assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="openclaw"')
        lines = ["POST / HTTP/1.1", "Host: localhost", "Content-Length: 4", f"Authorization: Bearer {TOKEN}"]
        assert talk(port, lines, "body")[0] == 200


def test_websockets(make: Make) -> None:
    app = AuthMiddleware(Starlette(routes=ROUTES), make(PROXY))
    with serving(app) as port:
        url = f"ws://127.0.0.1:{port}/ws"
        with connect(url, additional_headers={"X-Forwarded-User": "ann"}) as socket_:
            socket_.send("hello")
            assert socket_.recv() == "ann: hello"
        with pytest.raises(InvalidStatus) as caught:
            connect(url)
        response = caught.value.response
        assert response.status_code == 403
        assert json.loads(response.body or b"")["error"]["code"] == "trusted_proxy_user_missing"


def test_servers_without_websocket_responses(make: Make) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: Any) -> None:
        raise AssertionError("never reached")

    scope: dict[str, Any] = {"type": "websocket", "headers": [], "client": None, "server": ("/socket", None)}
    run(AuthMiddleware(app, make(PROXY))(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "trusted_proxy_untrusted_source"}]


def test_unix_sockets_name_no_peer(make: Make) -> None:
    reached: list[Any] = []

    async def app(scope: Any, *_: Any) -> None:
        reached.append(scope.get("state"))

    async def nothing(*_: Any) -> Any: ...

    scope = {"type": "http", "headers": [(b"x-forwarded-user", b"ann")], "client": None, "server": None}
    run(AuthMiddleware(app, make(PROXY))(dict(scope), nothing, nothing))
    assert reached == []
    run(AuthMiddleware(app, make(PROXY), peer="10.0.0.9")(dict(scope), nothing, nothing))
    assert reached[0]["openclaw_auth"].user == "ann"
    run(AuthMiddleware(app, make(PROXY))({"type": "lifespan"}, nothing, nothing))
    assert reached[1] is None


def fastapi_app(engine: Engine) -> FastAPI:
    app = FastAPI()
    guard = Guard(engine)

    @app.get("/me")
    def me(decision: Annotated[Decision, Depends(guard)]) -> dict[str, str | None]:
        return {"user": decision.user}

    @app.get("/behind")
    def behind(decision: Annotated[Decision, Depends(current_decision)]) -> dict[str, str | None]:
        return {"user": decision.user}

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, decision: Annotated[Decision, Depends(guard)]) -> None:
        await websocket.accept()
        await websocket.send_text(f"{decision.user}")
        await websocket.close()

    return app


def test_fastapi(make: Make) -> None:
    engine = make(PROXY)
    with serving(fastapi_app(engine)) as port:
        status, _, body = talk(port, ["GET /me HTTP/1.1", "Host: a", "X-Forwarded-User: ann"])
        assert (status, json.loads(body)) == (200, {"user": "ann"})
        status, headers, body = talk(port, ["GET /me HTTP/1.1", "Host: a"])
        assert (status, json.loads(body)["detail"]["code"]) == (403, "trusted_proxy_user_missing")
        assert headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
        with connect(f"ws://127.0.0.1:{port}/ws", additional_headers={"X-Forwarded-User": "ann"}) as socket_:
            assert socket_.recv() == "ann"
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://127.0.0.1:{port}/ws")
        assert caught.value.response.status_code == 403
    with serving(AuthMiddleware(fastapi_app(engine), engine)) as port:
        status, _, body = talk(port, ["GET /behind HTTP/1.1", "Host: a", "X-Forwarded-User: ann"])
        assert (status, json.loads(body)) == (200, {"user": "ann"})


def test_fastapi_without_the_middleware() -> None:
    class Bare:
        state = object()

    with pytest.raises(RuntimeError, match="AuthMiddleware"):
        current_decision(Bare())  # type: ignore[arg-type]
