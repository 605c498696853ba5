"""Signing in and refreshing against a provider on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine, AsyncLease, Engine

from conftest import Make, Upstream, run


class Provider:
    """Answers token requests; tokens are numbered."""

    def __init__(self, upstream: Upstream) -> None:
        self.grants: list[dict[str, str]] = []
        self.delay = 0.0
        self.url = upstream.url
        upstream.answer = self.answer

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
        if path != "/token":
            return 200, {}, [b"{}"]
        self.grants.append({name: values[0] for name, values in parse_qs(body.decode()).items()})
        time.sleep(self.delay)
        number = len(self.grants)
        tokens = {
            "access_token": f"access-CANARY-{number}",
            "refresh_token": f"refresh-CANARY-{number}",
            "expires_in": 3600,
            "token_type": "Bearer",
        }
        return 200, {}, [json.dumps(tokens).encode()]


@pytest.fixture
def provider(upstream: Upstream) -> Provider:
    return Provider(upstream)


@pytest.fixture
def engine(make: Make, provider: Provider) -> Engine:
    description = {
        "label": "Test",
        "authorizeUrl": f"{provider.url}/authorize",
        "tokenUrl": f"{provider.url}/token",
        "clientId": "client",
        "redirectUri": "http://localhost:{port}/auth/callback",
        "redirectPorts": [0],
    }
    return make({"oauth": {"providers": {"test": description}}})


def visit(url: str) -> None:
    """What a browser does after the person has agreed."""
    query = parse_qs(urlsplit(url).query)
    back = f"{query['redirect_uri'][0]}?code=code-CANARY&state={query['state'][0]}"
    threading.Thread(target=lambda: urllib.request.urlopen(back).read()).start()


def test_sign_in(engine: Engine, provider: Provider) -> None:
    with engine.oauth("test", profile_id="test:me", timeout=20) as flow:
        assert flow.url.startswith(f"{provider.url}/authorize?") and flow.state in flow.url
        assert (flow.provider, flow.label, flow.ended) == ("test", "Test", False)
        assert flow.redirect_uri.startswith("http://localhost:") and flow.addresses
        assert 0 < flow.remaining <= 20
        assert flow.warnings() == [] and flow.remote in (True, False)
        assert flow.listen(0.05) is None
        visit(flow.url)
        done = flow.wait()
        assert (done["profileId"], done["provider"], done["type"]) == ("test:me", "test", "oauth")
        assert flow.ended
    assert provider.grants[0]["code"] == "code-CANARY"
    assert engine.oauth_profiles() == [("test:me", "test")]
    assert "test" in engine.oauth_providers()
    token = engine.oauth_token("test:me")
    assert (token["access"], token["source"], token["warning"]) == ("access-CANARY-1", "stored", None)
    assert engine.oauth_token("test:me", min_valid=60, force=True)["access"] == "access-CANARY-2"
    assert engine.oauth_unauthorized("test:me", "access-CANARY-2")["access"] == "access-CANARY-3"
    with pytest.raises(openclaw_auth.StateError) as caught:
        flow.complete("x")
    assert caught.value.code == "closed"


def test_sign_in_by_pasting_under_asyncio(engine: Engine, provider: Provider) -> None:
    async def main() -> None:
        wrapped = AsyncEngine(engine)
        async with await wrapped.oauth("test", timeout=20) as flow:
            assert await flow.listen(0.01) is None
            with pytest.raises(openclaw_auth.OAuthError) as caught:
                await flow.complete(f"{flow.redirect_uri}?code=c&state=wrong")
            assert caught.value.code == "oauth_state_mismatch"
            done = await flow.complete(f"{flow.redirect_uri}?code=c&state={flow.state}")
        async with await wrapped.oauth("test", replace=True, timeout=20) as flow:
            visit(flow.url)
            assert (await flow.wait())["profileId"] == done["profileId"]
        assert [id for id, _ in await wrapped.oauth_profiles()] == [done["profileId"]]
        token = await wrapped.oauth_token(done["profileId"], force=True)
        assert token["access"] == "access-CANARY-3"
        assert (await wrapped.oauth_unauthorized(done["profileId"], token["access"]))["source"] == "refreshed"

    run(main())


def test_hosts_that_send_the_request_themselves(engine: Engine, provider: Provider) -> None:
    def answer(flow: Any) -> tuple[int, str]:
        request = flow.request(f"{flow.redirect_uri}?code=c&state={flow.state}")
        assert (request["method"], request["url"]) == ("POST", f"{provider.url}/token")
        data = urllib.request.Request(request["url"], request["body"].encode(), request["headers"])
        with urllib.request.urlopen(data) as response:
            return response.status, response.read().decode()

    with engine.oauth("test") as flow:
        assert flow.accept(*answer(flow))["provider"] == "test"

    async def main() -> None:
        async with await AsyncEngine(engine).oauth("test", replace=True) as flow:
            assert (await flow.accept(*await asyncio.to_thread(answer, flow)))["provider"] == "test"

    run(main())


def test_failures(engine: Engine, provider: Provider) -> None:
    with pytest.raises(openclaw_auth.NotFoundError):
        engine.oauth("nobody")
    with pytest.raises(openclaw_auth.OAuthError) as caught:
        engine.oauth_link("codex-cli")
    assert caught.value.code == "oauth_external_cli_missing"
    with engine.oauth("test", timeout=0.2) as flow, pytest.raises(openclaw_auth.AuthTimeoutError):
        flow.wait()
    with pytest.raises(TypeError):
        flow.__reduce__()


def sign_in(engine: Engine) -> None:
    with engine.oauth("test", profile_id="test:me") as flow:
        flow.complete(f"{flow.redirect_uri}?code=c&state={flow.state}")


def test_refused_tokens_are_refreshed_by_a_lease(engine: Engine, provider: Provider) -> None:
    sign_in(engine)
    with engine.lease("test") as lease:
        assert (lease.kind, lease.secret, lease.profile_id) == ("oauth", "access-CANARY-1", "test:me")
        assert lease.expires_at is not None
        verdict = lease.report(401)
        assert (verdict.kind, verdict.renewed, lease.secret) == ("retry", True, "access-CANARY-2")

    async def main() -> None:
        async with await AsyncEngine(engine).lease("test") as lease:
            assert isinstance(lease, AsyncLease)
            verdict = await lease.report(401)
            assert (verdict.kind, verdict.renewed, lease.secret) == ("retry", True, "access-CANARY-3")
            assert (await lease.report(200)).kind == "done"

    run(main())


def test_clients_send_again_with_a_fresh_token(engine: Engine, upstream: Upstream) -> None:
    import httpx2

    from openclaw_auth.httpx2 import LeaseAuth

    provider = Provider(upstream)
    sign_in(engine)
    upstream.refused = {"access-CANARY-1"}
    with httpx2.Client(auth=LeaseAuth(engine, "test"), base_url=provider.url) as client:
        assert client.post("/v1").status_code == 200
    assert [key for key in upstream.seen if key] == ["access-CANARY-1", "access-CANARY-2"]


def test_cancelled_while_a_token_is_refreshed(engine: Engine, provider: Provider) -> None:
    sign_in(engine)
    provider.delay = 0.5

    async def main() -> None:
        lease = await AsyncEngine(engine).lease("test")
        # Reporting a refused token waits for a refresh.
        task = asyncio.create_task(lease.report(401))
        await asyncio.sleep(0.15)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 0.3 and len(provider.grants) == 2
        lease.close()
        # What the thread brings later is given back, too.
        await asyncio.sleep(0.6)
        assert engine.oauth_token("test:me")["access"] == "access-CANARY-2"
        assert lease.closed and engine.leases_out == 0

    run(main())
