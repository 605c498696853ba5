"""WSGI on wsgiref, and Django under WSGI and ASGI, on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django  # type: ignore[import-untyped]
import pytest
from django.conf import settings  # type: ignore[import-untyped]
from django.http import HttpRequest, JsonResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from openclaw_auth import Engine
from openclaw_auth.wsgi import AuthMiddleware

from conftest import PROXY, SHARED, TOKEN, Make, talk
from test_asgi import serving


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving_wsgi(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(environ["openclaw_auth"].user).encode()]


def test_wsgiref(make: Make) -> None:
    with serving_wsgi(AuthMiddleware(hello, make(PROXY))) as port:
        assert talk(port, ["GET / HTTP/1.1", "Host: a", "X-Forwarded-User: ann"])[::2] == (200, "ann")
        # What the server has joined is no name.
        for forged in ("X-Forwarded-User: eve", "X_Forwarded_User: eve"):
            status, _, body = talk(port, ["GET / HTTP/1.1", "Host: a", "X-Forwarded-User: ann", forged])
            assert status == 400, body
        status, headers, body = talk(port, ["GET / HTTP/1.1", "Host: a"])
        assert (status, json.loads(body)["error"]["code"]) == (403, "trusted_proxy_user_missing")
        assert headers["content-length"] == str(len(body))
    with serving_wsgi(AuthMiddleware(hello, make(SHARED))) as port:
        status, headers, _ = talk(port, ["GET / HTTP/1.1", "Host: localhost"])
        assert status == 401 and "www-authenticate" in headers
        lines = ["GET / HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}"]
        assert talk(port, lines)[0] == 200


def test_unknown_peers(make: Make) -> None:
    environ = {"HTTP_X_FORWARDED_USER": "ann", "REMOTE_ADDR": "", "wsgi.url_scheme": "https"}
    answers: list[str] = []

    def start(status: str, *_: Any) -> Any:
        answers.append(status)

    AuthMiddleware(hello, make(PROXY))(dict(environ), start)
    AuthMiddleware(hello, make(PROXY), peer="10.0.0.9")(dict(environ), start)
    assert answers == ["403 Forbidden", "200 OK"]


def view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.openclaw_auth.user})


async def async_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.openclaw_auth.user})


urlpatterns = [path("", view), path("async", async_view)]


@pytest.fixture(scope="module")
def site() -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["openclaw_auth.django.AuthMiddleware", "django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="not a secret",
    )
    django.setup()


def check_django(port: int) -> None:
    for place in ("/", "/async"):
        status, _, body = talk(port, [f"GET {place} HTTP/1.1", "Host: a", "X-Forwarded-User: ann"])
        assert (status, json.loads(body)) == (200, {"user": "ann"})
        lines = [f"GET {place} HTTP/1.1", "Host: a", "X-Forwarded-User: ann", "X-Forwarded-User: eve"]
        assert talk(port, lines)[0] == 400
        status, headers, body = talk(port, [f"GET {place} HTTP/1.1", "Host: a"])
        assert (status, json.loads(body)["error"]["code"]) == (403, "trusted_proxy_user_missing")
        assert headers["content-type"] == "application/json"


def test_django_under_wsgi(make: Make, site: None) -> None:
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    settings.OPENCLAW_AUTH = make(PROXY)
    with serving_wsgi(get_wsgi_application()) as port:
        check_django(port)


def test_django_under_asgi(make: Make, site: None) -> None:
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    settings.OPENCLAW_AUTH = make(PROXY)
    with serving(get_asgi_application(), lifespan="off") as port:
        check_django(port)
        # Under ASGI the lines are seen as they came.
        lines = ["GET / HTTP/1.1", "Host: a", "X-Forwarded-User: ann", "X_Forwarded_User: eve"]
        status, _, body = talk(port, lines)
        assert (status, json.loads(body)["error"]["reason"]) == (400, "alias")


def test_django_opens_an_engine(site: None, tmp_path: Any) -> None:
    from openclaw_auth.django import AuthMiddleware as Django

    settings.OPENCLAW_AUTH = {"config": SHARED, "inherit_env": False, "state_dir": tmp_path}
    middleware = Django(lambda request: JsonResponse({}))
    assert isinstance(middleware.engine, Engine) and middleware.engine.generation == 1
    middleware.engine.close()
