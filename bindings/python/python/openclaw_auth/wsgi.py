"""WSGI middleware: lets requests through that may come in, and answers the others.

    app = AuthMiddleware(app, engine)

Behind it, `environ["openclaw_auth"]` is the Decision. WSGI servers join repeated header lines with
commas and turn "-" into "_", so the server must refuse header names with "_" (gunicorn does), or
the proxy must take them out. A joined identity is refused.
"""

from __future__ import annotations

import time
from http.client import responses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ._engine import Reads
    from ._native import Decision


class AuthMiddleware:
    """Guards a WSGI application with Engine.authorize()."""

    def __init__(self, app: WSGIApplication, engine: Reads, *, peer: str | None = None) -> None:
        """`peer` is the address to assume where the server knows none, as behind a Unix socket."""
        self.app = app
        self.engine = engine
        self.peer = peer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        decision = authorize(self.engine, environ, self.peer)
        if decision.allowed:
            environ["openclaw_auth"] = decision
            return self.app(environ, start_response)
        if decision.penalty:
            time.sleep(decision.penalty)
        body = decision.body()
        status = decision.http_status
        headers = [*decision.headers(), ("content-length", str(len(body)))]
        start_response(f"{status} {responses.get(status, 'Refused')}", headers)
        return [body]


def authorize(engine: Reads, environ: Mapping[str, Any], peer: str | None = None) -> Decision:
    """Judges an environment of WSGI."""
    lines = [
        (name[5:].replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    upgrade = str(environ.get("HTTP_UPGRADE", "")).lower()
    return engine.authorize(
        environ.get("REMOTE_ADDR") or peer,
        lines,
        websocket=upgrade == "websocket",
        tls=environ.get("wsgi.url_scheme") == "https",
    )
