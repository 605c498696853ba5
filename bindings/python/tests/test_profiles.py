"""Stored profiles, sessions and models, for threads and asyncio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine

from conftest import Make, run

CONFIG: dict[str, Any] = {
    "agents": {"defaults": {"model": {"primary": "openai/gpt-5"}, "models": {"openai/gpt-5": {"alias": "five"}, "openai/gpt-6": {}}}},
    "models": {"providers": {"openai": {"baseUrl": "https://x.test", "models": [{"id": "gpt-5"}, {"id": "gpt-6"}]}}},
}


def test_profiles(make: Make) -> None:
    engine = make(CONFIG, env={"K": "sk-CANARY-from-env-0123456789"})
    engine.add_profile("openai:work", "openai", "sk-CANARY-work-0123456789", display_name="Work")
    reference: openclaw_auth._types.SecretRef = {"source": "env", "provider": "default", "id": "K"}
    engine.add_profile("openai:ref", "openai", ref=reference, kind="token", expires_at=4_000_000_000_000)
    listed = engine.profiles("openai")
    assert [profile["id"] for profile in listed["profiles"]] == ["openai:work", "openai:ref"]
    assert listed["profiles"][0]["label"] == "Work" and "CANARY" not in str(listed)
    assert engine.profiles()["agentId"] == "main"
    engine.set_order("openai", ["openai:ref", "openai:work"])
    assert engine.order("openai")["order"] == ["openai:ref", "openai:work"]
    assert engine.profile_order("openai", model="gpt-5", prefer="openai:work")[0] == "openai:work"
    engine.set_order("openai", None)
    assert engine.order("openai")["order"] is None
    assert engine.eligibility("openai:work", "openai") == "ok"
    with engine.lease("openai", profile="openai:work") as lease:
        assert lease.secret == "sk-CANARY-work-0123456789"
        lease.report(429)
    assert engine.flush()
    assert engine.profiles()["profiles"][0]["unavailableUntil"]
    engine.clear_cooldown("openai:work", what="all")
    assert engine.profiles()["profiles"][0]["unavailableUntil"] is None
    engine.remove_profile("openai:work")
    for code, call in (
        ("profile_not_found", lambda: engine.remove_profile("openai:work")),
        ("profile_exists", lambda: engine.add_profile("openai:ref", "openai", "x")),
        ("invalid_argument", lambda: engine.add_profile("a:b", "a")),
        ("invalid_argument", lambda: engine.add_profile("a:b", "a", "x", ref="env:default:K")),
        ("invalid_argument", lambda: engine.add_profile("a:b", "a", ref="nonsense")),
        ("invalid_argument", lambda: engine.add_profile("a:b", "a", ref={"source": "env"})),  # type: ignore[arg-type]
        ("invalid_argument", lambda: engine.add_profile("a:b", "a", "x", kind="oauth")),  # type: ignore[arg-type]
        ("invalid_argument", lambda: engine.clear_cooldown(what="some")),  # type: ignore[arg-type]
        ("unknown_agent", lambda: engine.profiles(agent="nobody")),
    ):
        with pytest.raises(openclaw_auth.OpenClawAuthError) as caught:
            call()
        assert caught.value.code == code


def test_sessions_and_models(make: Make) -> None:
    engine = make(CONFIG)
    assert engine.chat("s", "no directive here") is None
    reply = engine.chat("s", "/model openai/gpt-6 and hello")
    assert reply is not None and reply["directive"] == {"kind": "select", "model": "openai/gpt-6", "profile": None}
    assert engine.session("s") == {"providerOverride": "openai", "modelOverride": "gpt-6"}
    kinds = [("/model list", "list"), ("/model status", "status"), ("/model", "show"), ("/model 1", "pick"),
             ("/model default", "reset")]
    for message, kind in kinds:
        reply = engine.chat("s", message)
        assert reply is not None and reply["directive"]["kind"] == kind
    assert [model["model"] for model in engine.models("s")][0] == "openai/gpt-5"
    assert engine.model_chain("five", fallbacks=["openai/gpt-6"]) == ["openai/gpt-5", "openai/gpt-6"]
    engine.set_session("t", {"authProfileOverride": "openai:x"})
    saved = engine.export_sessions()
    engine.set_session("t", {})
    assert engine.session("t") == {}
    engine.import_sessions(saved)
    assert engine.session("t")["authProfileOverride"] == "openai:x"
    with pytest.raises(openclaw_auth.ArgumentError):
        engine.chat("s", "/model 99")


def test_under_asyncio(make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "c.json").write_text("{}")
        opened = await AsyncEngine.open(tmp_path / "c.json", state_dir=tmp_path / "other", inherit_env=False)
        async with opened as engine:
            await engine.add_profile("a:b", "a", "sk-CANARY-0123456789")
            assert (await engine.profiles("a"))["profiles"][0]["id"] == "a:b"
            await engine.set_order("a", ["a:b"])
            assert (await engine.order("a"))["effective"] == ["a:b"]
            assert await engine.profile_order("a") == ["a:b"]
            assert await engine.eligibility("a:b", "a") == "ok"
            await engine.clear_cooldown("a:b")
            assert await engine.flush() and await engine.files_changed()
            await engine.remove_profile("a:b")
            assert await engine.chat("s", "nothing") is None
            assert (await engine.preflight())["ok"]
            assert "findings" in await engine.audit()
            assert await engine.restore_redacted({}) == {}
            assert (await engine.reload())["generation"] == engine.generation
            assert engine.snapshot().generation == engine.generation
            assert engine.events() == [] and engine.env_candidates("a") == []
        wrapped = AsyncEngine(make(CONFIG))
        assert await wrapped.models("s")
        assert await wrapped.model_chain() == ["openai/gpt-5"]
        with pytest.raises(openclaw_auth.OpenClawAuthError):
            await wrapped.oauth_link("codex-cli")

    run(main())
