"""Signs in, or asks for a token with many threads: `worker.py login | tokens PROFILE THREADS`.

Prints one JSON value a line, and of a token only its digest.
"""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from openclaw_auth import Engine, OpenClawAuthError


def show(value: Any) -> None:
    print(json.dumps(value), flush=True)


def login(engine: Engine) -> None:
    with engine.oauth("openai-codex", timeout=30) as flow:
        show({"url": flow.url})
        show({"profileId": flow.wait()["profileId"]})


def tokens(engine: Engine, profile: str, threads: int) -> None:
    together = Barrier(threads)

    def ask(_: int) -> dict[str, Any]:
        together.wait()
        try:
            token = engine.oauth_token(profile)
        except OpenClawAuthError as error:
            return {"error": error.code, "details": error.details}
        digest = hashlib.sha256(token["access"].encode()).hexdigest()[:16]
        return {"token": digest, "source": token["source"]}

    with ThreadPoolExecutor(threads) as pool:
        show(list(pool.map(ask, range(threads))))


with Engine.open(config={}) as engine:
    match sys.argv[1:]:
        case ["login"]:
            login(engine)
        case ["tokens", profile, threads]:
            tokens(engine, profile, int(threads))
        case _:
            sys.exit(__doc__)
