"""Shared by all tests. They run against the installed package, never against the source tree."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

import openclaw_auth
from openclaw_auth import Engine, _native

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "gateway-token-for-tests"
KEYS = [f"sk-CANARY-{n}-0123456789abcdef" for n in range(3)]

INSTALLED = Path(openclaw_auth.__file__).resolve()
assert ROOT / "bindings" not in INSTALLED.parents, "not the installed package"

PROXY: dict[str, Any] = {
    "gateway": {
        "trustedProxies": ["127.0.0.1", "10.0.0.9"],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
    }
}
SHARED: dict[str, Any] = {"gateway": {"auth": {"mode": "token", "token": TOKEN}}}


class Make(Protocol):
    def __call__(
        self,
        config: str | dict[str, Any] | None = None,
        *,
        env: dict[str, str | None] | None = None,
        clock: int | None = None,
        **options: Any,
    ) -> Engine: ...


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens engines that see nothing of this machine, and closes them."""
    engines: list[Engine] = []

    def make(
        config: str | dict[str, Any] | None = None,
        *,
        env: dict[str, str | None] | None = None,
        clock: int | None = None,
        **options: Any,
    ) -> Engine:
        log = options.pop("log", True)
        native = _native.Options(
            config={} if config is None else config,
            state_dir=tmp_path / "state",
            env=env or {},
            inherit_env=False,
            manual_clock=clock,
            **options,
        )
        engine = Engine(_native.Engine.open(native), log=log)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def keys(make: Make) -> Engine:
    """An engine with three keys of openai and one of anthropic."""
    return make(env={"OPENAI_API_KEYS": ",".join(KEYS), "ANTHROPIC_API_KEY": "sk-ant-CANARY-9876543210"})


T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


class Upstream:
    """A model provider on loopback that limits some keys."""

    def __init__(self) -> None:
        self.limited: set[str] = set()
        self.refused: set[str] = set()
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[str, bytes], tuple[int, dict[str, str], list[bytes]]] = _plain
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                if self.headers.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("content-length") or 0))
                bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
                key = self.headers.get("x-api-key") or bearer
                upstream.seen.append(key)
                upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
                if key in upstream.limited:
                    self.send(429, {}, [b'{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}'])
                elif key in upstream.refused:
                    self.send(401, {}, [b'{"error":{"message":"Incorrect API key provided"}}'])
                else:
                    self.send(*upstream.answer(self.path, body))

            do_GET = do_POST

            def send(self, status: int, headers: dict[str, str], chunks: list[bytes]) -> None:
                self.send_response(status)
                self.send_header("content-type", headers.pop("content-type", "application/json"))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for chunk in [*chunks, b""]:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _plain(path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
    return 200, {}, [b'{"path":"%s","length":%d}' % (path.encode(), len(body))]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


def talk(port: int, lines: list[str], body: str = "") -> tuple[int, dict[str, str], str]:
    """One HTTP request with exactly these header lines; status, headers, body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = "\r\n".join([lines[0], "Connection: close", *lines[1:]])
        connection.sendall(f"{head}\r\n\r\n{body}".encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head_text, _, rest = answer.partition(b"\r\n\r\n")
    status, *fields = head_text.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in fields)}
    if headers.get("transfer-encoding") == "chunked":
        rest = b"".join(rest.split(b"\r\n")[1::2])
    return int(status.split()[1]), headers, rest.decode()
