"""What the Python package costs, beside what programs do today without it, in one run."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

# Before LiteLLM is imported: it would ask the network for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "ERROR"

from litellm import Router
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from openclaw_auth import Engine

KEYS = [f"sk-bench-{n:02}-0123456789abcdef" for n in range(20)]

# What a browser behind a login proxy sends: twelve lines.
HEADERS = [
    (b"host", b"gateway.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"session=0123456789abcdef; theme=dark"),
    (b"x-request-id", b"0123456789abcdef0123456789abcdef"),
    (b"x-forwarded-for", b"192.0.2.7"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"gateway.example.com"),
    (b"x-forwarded-user", b"ann@example.com"),
    (b"connection", b"keep-alive"),
]
PROXIES = ["10.0.0.9", "10.1.0.0/16", "192.168.0.0/24"]
ALLOWED = {"ann@example.com", "bob@example.com"}


def best(call: Callable[[], Any], rounds: int) -> float:
    """Microseconds of one call: the best of many runs, as noise only adds."""
    times = []
    for _ in range(15):
        gc.collect()
        start = time.perf_counter_ns()
        for _ in range(rounds):
            call()
        times.append((time.perf_counter_ns() - start) / rounds / 1000)
    return min(times)


def drive(coroutine: Any) -> None:
    """Runs a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass


def by_hand(app: Callable[[Any], None]) -> Any:
    """The header check that people write behind uvicorn's middleware."""

    async def check(scope: Any, receive: Any, send: Any) -> None:
        headers = {}
        for name, value in scope["headers"]:
            headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        if headers.get("x-forwarded-proto") != "https":
            raise PermissionError
        user = headers.get("x-forwarded-user", "").strip()
        if not user or user not in ALLOWED:
            raise PermissionError
        app(user)

    return check


def imports(module: str) -> float:
    """Milliseconds that the import adds to the bare interpreter: best of many starts."""

    def start(statement: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return (time.perf_counter() - begin) * 1000

    return min(start(f"import {module}") for _ in range(15)) - min(start("pass") for _ in range(15))


def main() -> int:
    access = {
        "trustedProxies": PROXIES,
        "auth": {
            "mode": "trusted-proxy",
            "trustedProxy": {
                "userHeader": "x-forwarded-user",
                "requiredHeaders": ["x-forwarded-proto"],
                "allowUsers": sorted(ALLOWED),
            },
        },
    }
    engine = Engine.open(
        config={"gateway": access},
        env={"OPENAI_API_KEYS": ",".join(KEYS)},
        inherit_env=False,
        state_dir=tempfile.mkdtemp(),
    )
    scope = {"type": "http", "client": ("10.0.0.9", 5000), "scheme": "http", "headers": HEADERS}
    assert engine.authorize(scope["client"][0], scope["headers"]).user == "ann@example.com"
    authorize = best(lambda: engine.authorize(scope["client"][0], scope["headers"]), 20_000)

    users: list[str] = []
    peer = ProxyHeadersMiddleware(by_hand(users.append), trusted_hosts=PROXIES)
    # The middleware rewrites its scope, as a server makes a new one for each request.
    drive(peer(dict(scope), None, None))
    assert users == ["ann@example.com"]
    trust = best(lambda: drive(peer(dict(scope), None, None)), 5_000)

    def lease() -> None:
        with engine.lease("openai") as lent:
            lent.report(200)

    lent = best(lease, 5_000)

    router = Router(
        model_list=[
            {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", "api_key": key}}
            for key in KEYS
        ]
    )
    messages = [{"role": "user", "content": "hi"}]

    async def choose_many(rounds: int) -> float:
        start = time.perf_counter_ns()
        for _ in range(rounds):
            await router.select("gpt", {}, messages=messages)
        return (time.perf_counter_ns() - start) / rounds / 1000

    chosen = min(asyncio.run(choose_many(300)) for _ in range(7))
    chosen_sync = best(lambda: router.get_available_deployment("gpt", messages=messages), 200)
    ours_import, peer_import = imports("openclaw_auth"), imports("litellm")

    rows = [
        ("authorize an ASGI scope, 12 headers", "us", authorize, "uvicorn's trust check + headers by hand", trust, 3.0),
        ("lease + report", "us", lent, "LiteLLM get_available_deployment", chosen_sync, 12.0),
        ("lease + report", "us", lent, "LiteLLM Router.select (async)", chosen, 12.0),
        ("import", "ms", ours_import, "import litellm", peer_import, 30.0),
    ]
    print(f"{'':36} {'ours':>10} {'bound':>10} {'peer':>10}  ratio  which peer")
    missed = 0
    for name, unit, ours, which, theirs, bound in rows:
        ok = ours < bound and ours < theirs
        missed += not ok
        print(
            f"{name:36} {ours:7.2f} {unit} {bound:7.0f} {unit} {theirs:7.2f} {unit}"
            f" {theirs / ours:6.1f}  {which}{'' if ok else '  MISSED'}"
        )
    engine.close()
    return missed


if __name__ == "__main__":
    sys.exit(main())
