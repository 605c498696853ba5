"""Eight threads judge and lease while one reloads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from openclaw_auth import Engine

from conftest import KEYS, TOKEN, Make

ROUNDS = 400


def text(token: str) -> str:
    return '{gateway: {auth: {mode: "token", token: "%s"}}}' % token


def test_threads(make: Make) -> None:
    tokens = [f"{TOKEN}-{n}" for n in range(2)]
    engine = make(text(tokens[0]), env={"OPENAI_API_KEYS": ",".join(KEYS)})
    done = threading.Event()

    def reload() -> int:
        turns = 0
        while not done.is_set():
            turns += 1
            engine.reload(text(tokens[turns % 2]))
        return turns

    def work(engine: Engine) -> int:
        for _ in range(ROUNDS):
            # One snapshot is one generation: exactly one of the tokens is right in it.
            snapshot = engine.snapshot()
            right = [snapshot.authorize("192.0.2.1", token=token).allowed for token in tokens]
            assert right.count(True) == 1
            decision = engine.authorize("192.0.2.1", [(b"authorization", b"Bearer " + tokens[0].encode())])
            assert decision.code in (None, "token_mismatch", "rate_limited")
            with engine.lease("openai") as lease:
                assert lease.secret in KEYS
                assert lease.report(200).kind == "done"
        return ROUNDS

    with ThreadPoolExecutor(9) as pool:
        reloads = pool.submit(reload)
        workers = [pool.submit(work, engine) for _ in range(8)]
        assert sum(worker.result(60) for worker in workers) == 8 * ROUNDS
        done.set()
        assert reloads.result(60) > 3
    assert engine.leases_out == 0
    assert engine.generation > 3
