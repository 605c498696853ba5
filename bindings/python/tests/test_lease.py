"""Leases: lending, reporting, rotating, giving back; for threads and asyncio."""

from __future__ import annotations

import asyncio

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine, Engine, classify

from conftest import KEYS, Make, run


def test_lease_shows_what_it_is(keys: Engine) -> None:
    with keys.lease("openai", model="gpt-5") as lease:
        assert lease.secret == KEYS[0]
        assert (lease.provider, lease.model, lease.kind, lease.attempt) == ("openai", "gpt-5", "api_key", 1)
        assert lease.candidate_id == lease.source == "env:OPENAI_API_KEYS"
        assert (lease.profile_id, lease.expires_at, lease.account_id, lease.warning) == (None,) * 4
        assert not (lease.probe or lease.switched_model or lease.closed)
        assert len(lease.id) == 32 and lease.chain_id == lease.id
        assert lease.to_dict()["leaseId"] == lease.id
        assert "CANARY" not in str(lease.to_dict()) + repr(lease)
        assert repr(lease) == "<Lease openai env:OPENAI_API_KEYS>"
        assert keys.leases_out == 1
    assert keys.leases_out == 0 and lease.closed
    assert repr(lease) == "<Lease closed>"
    with pytest.raises(openclaw_auth.StateError):
        lease.secret  # noqa: B018


def test_success(keys: Engine) -> None:
    with keys.lease("openai") as lease:
        verdict = lease.report(200, headers={"x-request-id": "1"})
        assert (verdict.kind, verdict.reason, verdict.http_status, verdict.delay) == ("done", None, 200, 0)
        assert verdict.attempts == [] and verdict.details is None and repr(verdict) == "<Verdict done>"
        with pytest.raises(openclaw_auth.StateError) as caught:
            lease.report(200)
        assert caught.value.code == "lease_finished"


def test_rate_limits_rotate_until_nothing_is_left(keys: Engine) -> None:
    with keys.lease("openai") as lease:
        first = lease.chain_id
        for attempt, key in enumerate(KEYS, 1):
            assert (lease.secret, lease.attempt, lease.chain_id) == (key, attempt, first)
            verdict = lease.report(429, headers=[(b"retry-after", b"7")], body=b'{"error":{"message":"slow down"}}')
            assert verdict.reason == "rate_limit" and not verdict.renewed
        assert verdict.kind == "exhausted" and verdict.retryable
        assert verdict.http_status == 429
        assert [step["outcome"] for step in verdict.attempts] == ["failed"] * 3
        assert verdict.retry_after is not None and 0 < verdict.retry_after <= 7
        assert verdict.details is not None and verdict.details["advice"] == "wait"
        assert "slow down" in verdict.message and "CANARY" not in str(verdict.details)
        assert repr(verdict) == "<Verdict exhausted reason=rate_limit>"
    with pytest.raises(openclaw_auth.UnavailableError) as caught:
        keys.lease("openai", probe="never")
    assert caught.value.retry_after is not None and caught.value.retry_after <= 7


def test_other_failures_do_not_rotate_keys(keys: Engine) -> None:
    for report in ({"status": 401}, {"transport": "timeout"}, {"message": "invalid request"}, {"reason": "format"},
                   {"status": 200, "code": "server_error"}, {"kind": "overloaded_error"}):
        with keys.lease("openai", probe="force") as lease:
            assert lease.report(**report).kind == "exhausted"


def test_wishes(keys: Engine) -> None:
    with keys.lease("openai", exclude=["env:OPENAI_API_KEYS"], min_valid=5, max_attempts=1) as lease:
        assert lease.secret == KEYS[1]
        assert lease.report(429).kind == "exhausted"
    with keys.lease(models=["openai/gpt-5", "anthropic/claude"], env=True, session="s") as lease:
        for _ in range(2):
            verdict = lease.report(429)
        assert (verdict.kind, lease.provider, lease.switched_model) == ("retry", "anthropic", True)
    for wrong in ({"probe": "often"}, {"min_valid": -1}, {"provider": "openai", "agent": "nobody"}):
        with pytest.raises(openclaw_auth.OpenClawAuthError):
            keys.lease(**wrong)
    with pytest.raises(openclaw_auth.NoCredentialsError):
        keys.lease("mistral")
    with pytest.raises(openclaw_auth.ArgumentError):
        keys.lease("anthropic").report(transport="pigeon")  # type: ignore[arg-type]
    with pytest.raises(openclaw_auth.ArgumentError):
        keys.lease("anthropic").report(500, body=5)  # type: ignore[arg-type]
    with pytest.raises(openclaw_auth.ArgumentError):
        keys.lease("anthropic").report(500, headers=[("a", "b", "c")])  # type: ignore[list-item]


def test_windows_end(make: Make) -> None:
    engine = make(env={"OPENAI_API_KEY": KEYS[0]}, clock=1_800_000_000_000)
    with engine.lease("openai") as lease:
        assert lease.report(429, headers={"retry-after": "30"}).kind == "exhausted"
    with pytest.raises(openclaw_auth.UnavailableError):
        engine.lease("openai", probe="never")
    engine._core.advance(31_000)
    with engine.lease("openai", probe="never") as lease:
        assert lease.secret == KEYS[0]


def test_asyncio(keys: Engine) -> None:
    async def main() -> None:
        async with AsyncEngine(keys) as engine:
            async with await engine.lease("openai") as lease:
                assert lease.secret == KEYS[0] and repr(lease).startswith("<AsyncLease openai")
                verdict = await lease.report(429)
                assert (verdict.kind, lease.secret) == ("retry", KEYS[1])
                assert (await lease.report(200)).kind == "done"
            assert engine.leases_out == 0
            with pytest.raises(openclaw_auth.NoCredentialsError):
                await engine.lease("mistral")
        assert keys.closed

    run(main())


def test_cancelled_tasks_give_leases_back(make: Make) -> None:
    # A profile of OAuth makes lending go to a thread.
    engine = make(env={"OPENAI_API_KEY": KEYS[0]})

    async def hold(engine: AsyncEngine, got: asyncio.Event) -> None:
        async with await engine.lease("openai"):
            got.set()
            await asyncio.sleep(60)

    async def main() -> None:
        wrapped, got = AsyncEngine(engine), asyncio.Event()
        task = asyncio.create_task(hold(wrapped, got))
        await got.wait()
        assert engine.leases_out == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.leases_out == 0

    run(main())


def test_classify() -> None:
    found = classify(429, headers={"retry-after": "12"}, now=1_800_000_000_000)
    assert (found["reason"], found["retryAfterMs"], found["scope"]) == ("rate_limit", 12_000, "account")
    assert classify(body=b'{"error":{"code":"context_length_exceeded"}}')["reason"] == "context_overflow"
    with pytest.raises(openclaw_auth.ArgumentError):
        classify(reason="bad luck")
