"""Decisions about requests, in every form in which Python has headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine

from conftest import PROXY, SHARED, TOKEN, Make


def test_headers_in_every_form(make: Make) -> None:
    engine = make(PROXY)
    user = "X-Forwarded-User", "ann@example.com"

    class Own(Mapping[str, str]):
        def __getitem__(self, key: str) -> str:
            return {user[0]: user[1]}[key]

        def __iter__(self) -> Any:
            return iter([user[0]])

        def __len__(self) -> int:
            return 1

    pairs = [(user[0].encode(), user[1].encode())]
    forms: list[Any] = [pairs, [user], [list(user)], dict([user]), dict(pairs), iter([user]), tuple(pairs), Own()]
    for headers in forms:
        decision = engine.authorize("10.0.0.9:5000", headers)
        assert decision and decision.user == "ann@example.com", headers
    assert decision.method == "trusted-proxy"
    assert (decision.peer_ip, decision.generation, decision.code) == ("10.0.0.9", 1, None)
    assert (decision.http_status, decision.ws_close_code, decision.challenge) == (200, None, None)
    assert decision.body() == b"" and decision.headers() == []
    assert decision.to_dict()["user"] == "ann@example.com"
    assert repr(decision) == "<Decision allowed method=trusted-proxy user=ann@example.com>"
    assert AsyncEngine(engine).authorize("10.0.0.9", pairs).user == "ann@example.com"


@pytest.mark.parametrize("alias", [
    b"x_forwarded_user", b"X-Forwarded_User", b"x.forwarded.user", b"x-forwarded-user", b"x-forwarded\xffuser",
    "x-forwarded\u00ffuser", b"x~forwarded~user",
])
def test_doubled_and_look_alike_names_are_refused(make: Make, alias: Any) -> None:
    headers = [(b"x-forwarded-user", b"ann"), (alias, "eve" if isinstance(alias, str) else b"eve")]
    decision = make(PROXY).authorize("10.0.0.9", headers)
    assert (decision.allowed, decision.code) == (False, "trusted_proxy_ambiguous_header")
    assert decision.header == "x-forwarded-user" and decision.reason in ("alias", "repeated")


def test_values_are_bytes(make: Make) -> None:
    engine = make(PROXY)
    for name in ("Zoë", "Łukasz"):
        raw = name.encode()
        for value in (raw, raw.decode("latin-1")):
            assert engine.authorize("10.0.0.9", [("x-forwarded-user", value)]).user == name
    with pytest.raises(openclaw_auth.ArgumentError):
        engine.authorize("10.0.0.9", [("x-forwarded-user", "Łukasz")])
    for wrong in ([1], [("a",)], [("a", 1)], [(None, "a")], 5):
        with pytest.raises((openclaw_auth.ArgumentError, TypeError)):
            engine.authorize("10.0.0.9", wrong)  # type: ignore[arg-type]


def test_refusals(make: Make) -> None:
    engine = make(SHARED)
    decision = engine.authorize("192.0.2.1:1", [])
    assert not decision and decision.message == "a gateway token is required"
    assert (decision.http_status, decision.ws_close_code) == (401, 1008)
    assert decision.challenge == 'Bearer realm="openclaw"'
    assert dict(decision.headers())["www-authenticate"] == decision.challenge
    assert json.loads(decision.body())["error"]["code"] == "token_missing"
    assert repr(decision) == "<Decision denied code=token_missing>"
    assert (decision.user, decision.method, decision.client_ip, decision.peer_ip) == (None,) * 4
    assert (decision.retry_after, decision.local_peer, decision.hides_reason) == (None, False, False)
    assert engine.authorize("192.0.2.1", token=TOKEN).method == "token"
    assert engine.authorize("192.0.2.1", password=TOKEN)
    assert engine.authorize("192.0.2.1", [("authorization", f"Bearer {TOKEN}")], local="192.0.2.2", tls=True)
    assert make(PROXY).authorize("8.8.8.8", []).code == "trusted_proxy_untrusted_source"
    assert make(PROXY).authorize(None, []).http_status == 403
    assert make(PROXY)._core.authorize_nothing().code == "trusted_proxy_no_request"


def test_too_many_attempts_wait(make: Make) -> None:
    limited = {"gateway": {"auth": {**SHARED["gateway"]["auth"], "rateLimit": {"maxAttempts": 2}}}}
    engine = make(limited, clock=1_800_000_000_000)
    decisions = [engine.authorize("192.0.2.1", token="wrong") for _ in range(4)]
    assert decisions[0].code == "token_mismatch" and decisions[0].penalty >= 0
    assert decisions[-1].code == "rate_limited" and decisions[-1].http_status == 429
    assert decisions[-1].retry_after and "retry-after" in dict(decisions[-1].headers())


def test_hidden_reasons(make: Make) -> None:
    engine = make({"gateway": {**SHARED["gateway"], "http": {"hideAuthReasons": True}}}, log=False)
    decision = engine.authorize("192.0.2.1", [])
    if decision.hides_reason:
        assert json.loads(decision.body()) == {"error": {"message": "Unauthorized", "type": "unauthorized"}}


def test_overrides(make: Make) -> None:
    engine = make({}, auth_mode="password", password="a-long-password-for-tests", require_access=True)
    assert engine.authorize("192.0.2.1", password="a-long-password-for-tests").method == "password"
    with pytest.raises(openclaw_auth.ConfigError):
        make({}, require_access=True)
