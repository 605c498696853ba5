"""The examples that every language runs. What cannot run through Python is listed with a reason."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import openclaw_auth
from openclaw_auth import Engine, Lease, classify

from conftest import ROOT, Make

VECTORS = ROOT / "tests/vectors"
ACCESS = json.loads((VECTORS / "access.json").read_text())
PROFILES = json.loads((VECTORS / "profiles.json").read_text())
SECRETS = [json.loads(line) for line in (VECTORS / "secrets.jsonl").read_text().splitlines()]

# Examples of parts that are not built yet.
LATER = {"P01", "P02", "P03", "P04", "P05", "T08"}


def facts(request: dict[str, Any]) -> dict[str, Any]:
    known = {"remote", "local", "headers", "kind", "tls", "method", "credentials"}
    assert set(request) <= known, request
    credentials = request.get("credentials") or {}
    return {
        "peer": request.get("remote"),
        # One character stands for one byte, in values as in WSGI.
        "headers": [(name, value) for name, value in request.get("headers", [])],
        "local": request.get("local"),
        "websocket": request.get("kind") == "websocket",
        "tls": request.get("tls", False),
        **{name: credentials.get(name) for name in ("token", "password")},
    }


@pytest.mark.parametrize("case", ACCESS["decisions"], ids=lambda case: str(case["id"]))
def test_access(make: Make, case: dict[str, Any]) -> None:
    expect = case["expect"]
    try:
        engine = make(
            case["config"],
            env=case.get("env"),
            require_access=True,
            own_addresses=case.get("interfaces"),
            own_addresses_fail=case.get("interfaceDiscoveryFails", False),
        )
    except openclaw_auth.ConfigError as error:
        # Settings with which no engine opens are refused with the same code.
        assert (expect["status"], expect["code"]) == (500, error.code)
        return
    request = case.get("request")
    decision = engine._core.authorize_nothing() if request is None else engine.authorize(**facts(request))
    assert decision.allowed == expect["ok"], decision
    found = {
        "method": decision.method,
        "user": decision.user,
        "clientIp": decision.client_ip,
        "code": decision.code,
        "header": decision.header,
        "reason": decision.reason,
        "status": decision.http_status,
    }
    for name, value in found.items():
        if name in expect:
            assert value == expect[name], (name, decision)


@pytest.mark.parametrize("case", ACCESS["limiter"], ids=lambda case: str(case["id"]))
def test_limiter(make: Make, case: dict[str, Any]) -> None:
    auth = case["config"]["gateway"]["auth"]
    config = {"gateway": {**case["config"]["gateway"], "auth": {**auth, "rateLimit": case["rateLimit"]}}}
    engine = make(config, clock=1_790_000_000_000)
    now = 0
    for step in case["steps"]:
        engine._core.advance(step["t"] - now)
        now = step["t"]
        given = step.get("cred")
        token = None if given is None else auth["token"] if given == "good" else "not the token at all"
        headers = [(name, value) for name, value in step.get("headers") or []]
        decision = engine.authorize(step["remote"], headers, token=token)
        assert (decision.code or "ok") == step["code"], (now, decision)
        after = dict(decision.headers()).get("retry-after")
        assert int(after or 0) == (step.get("retryAfter") or 0)


def runs(case: dict[str, Any]) -> bool:
    return case["op"] in ("load", "activate") and case["id"] not in LATER


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path.resolve()
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    mask = os.umask(0o022)
    yield folder
    os.umask(mask)


def write(path: str | Path, text: str, mode: str | None, usual: int) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(int(mode, 8) if mode else usual)


@pytest.mark.parametrize("case", [case for case in SECRETS if runs(case)], ids=lambda case: str(case["id"]))
def test_secrets(home: Path, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]) -> None:
    case = json.loads(json.dumps(case).replace("%H%", str(home)))
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    for path, file in case.get("files", {}).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if file.get("text") is not None:
            write(path, file["text"], file.get("mode"), 0o600)
        elif file.get("symlinkTo") is not None:
            Path(path).symlink_to(file["symlinkTo"])
        else:
            os.mkfifo(path, 0o600)
    for path, program in case.get("exec", {}).items():
        write(path, f"#!/bin/sh\n{program['sh']}\n", program.get("mode"), 0o700)
    if case.get("config") is not None:
        config = case["config"]
        text = config if isinstance(config, str) else json.dumps(config)
        write(home / ".openclaw/openclaw.json", text, None, 0o600)
    if case.get("workspaceDotenv") is not None:
        write(home / ".env", case["workspaceDotenv"], None, 0o600)
    then = case["then"]
    try:
        engine = Engine.open()
    except openclaw_auth.OpenClawAuthError as error:
        failed(error, then)
        return
    with engine:
        assert "error" not in then
        for path, expected in then.get("values", {}).items():
            secret = engine.secret(path)
            # Objects come as compact JSON.
            assert (secret if isinstance(expected, str) else json.loads(secret)) == expected
        for path in then.get("inactive", {}):
            with pytest.raises(openclaw_auth.SecretError):
                engine.secret(path)


def failed(error: openclaw_auth.OpenClawAuthError, then: dict[str, Any]) -> None:
    assert "error" in then or "failures" in then, error
    issues = [issue for issue in error.details.get("issues", []) if issue["severity"] == "error"]
    first = [*error.details.get("failures", []), *issues][0]
    if "error" in then:
        assert first["code"] == then["error"].lower()
    for name in ("line", "column", "reason"):
        if name in then:
            assert first[name] == then[name]
    assert "CANARY" not in str(error) + json.dumps(error.details)


@pytest.mark.parametrize("case", PROFILES["cases"], ids=lambda case: str(case["id"]))
def test_profiles(case: dict[str, Any], tmp_path: Path) -> None:
    world = World(case, tmp_path)
    try:
        for step in case["steps"]:
            getattr(world, f"do_{step['op']}")(step)
    finally:
        world.engine.close()


class World:
    """One example: a store on disk, an engine with a clock that only the example moves."""

    def __init__(self, case: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self.store = folder / "agents/main/agent/auth-profiles.json"
        if "store" in case:
            write(self.store, json.dumps(case["store"]), None, 0o600)
        options = openclaw_auth._native.Options(
            config=case.get("config", {}),
            state_dir=folder,
            env=case.get("env", {}),
            inherit_env=False,
            manual_clock=PROFILES["now"],
        )
        self.engine = Engine(openclaw_auth._native.Engine.open(options), log=False)
        if "storeLater" in case:
            write(self.store, json.dumps(case["storeLater"]), None, 0o600)
        self.leases: dict[str, Lease] = {}

    def do_advance(self, step: dict[str, Any]) -> None:
        self.engine._core.advance(step["ms"])

    def do_flush(self, step: dict[str, Any]) -> None:
        assert self.engine.flush()

    def do_eligibility(self, step: dict[str, Any]) -> None:
        assert self.engine.eligibility(step["profile"], step["provider"]) == step["expect"]

    def do_order(self, step: dict[str, Any]) -> None:
        found = self.engine.profile_order(step["provider"], model=step.get("model"), prefer=step.get("prefer"))
        assert found == step["expect"]

    def do_env(self, step: dict[str, Any]) -> None:
        assert [f"{id} {kind}" for id, kind in self.engine.env_candidates(step["provider"])] == step["expect"]

    def do_keys(self, step: dict[str, Any]) -> None:
        found = []
        try:
            with self.engine.lease(step["provider"]) as lease:
                found.append(lease.secret)
                while lease.report(429).kind == "retry":
                    found.append(lease.secret)
        except openclaw_auth.CredentialError:
            assert found == []
        assert found == step["expect"]

    def do_classify(self, step: dict[str, Any]) -> None:
        signal = {name: value for name, value in step["signal"].items() if value is not None}
        subset(step["expect"], classify(**signal, now=PROFILES["now"]))

    def do_lease(self, step: dict[str, Any]) -> None:
        names = ("provider", "model", "models", "agent", "session", "profile", "new_session", "compaction_count")
        wish = {name: step[name] for name in names if step.get(name) is not None}
        expect = step["expect"]
        try:
            lease = self.engine.lease(**wish)
        except openclaw_auth.OpenClawAuthError as error:
            assert error.code == expect.get("error"), error
            after = error.retry_after
            found = {
                "hint": error.hint,
                "reason": error.details.get("reason"),
                "reasonCode": error.details.get("reasonCode"),
                "soonest": error.details.get("soonestAvailableAt"),
                "retryAfterMs": None if after is None else round(after * 1000),
            }
            assert {name: found[name] for name in found if name in expect} == {
                name: expect[name] for name in found if name in expect
            }
            assert expect.get("messageHas", "") in error.message
            return
        assert "error" not in expect, lease
        self.leases[step.get("as", "l")] = lease
        document = lease.to_dict()
        subset(expect, {
            "candidate": lease.candidate_id,
            "credential": lease.secret,
            "kind": lease.kind,
            "model": lease.model,
            "probe": lease.probe,
            "source": lease.source,
            "warning": lease.warning,
            "skipped": [f"{skip['candidateId']} {skip['reason']}" for skip in document["skipped"]],
        })

    def do_fail(self, step: dict[str, Any]) -> None:
        lease, expect = self.leases[step["on"]], step["expect"]
        signal = {name: value for name, value in step["signal"].items() if value is not None}
        verdict = lease.report(signal.pop("status", None), **signal)
        if verdict.kind == "retry":
            assert "exhausted" not in expect, lease
            if isinstance(expect.get("retry"), str):
                assert lease.candidate_id == expect["retry"]
            if "model" in expect:
                assert lease.model == expect["model"]
            if "switchedModel" in expect:
                assert lease.switched_model == expect["switchedModel"]
            return
        assert verdict.kind == "exhausted" and "retry" not in expect, verdict
        assert verdict.details is not None
        last = verdict.details["lastError"]
        subset(expect, {
            "exhausted": verdict.reason,
            "retryable": verdict.retryable,
            "attempts": sum(attempt["outcome"] == "failed" for attempt in verdict.attempts),
            "soonest": verdict.details["soonestAvailableAt"],
            "retryAfterMs": verdict.details["retryAfterMs"],
            "advice": verdict.details["advice"],
            "lastStatus": last["status"],
            "lastMessage": last["message"],
        })

    def do_succeed(self, step: dict[str, Any]) -> None:
        try:
            verdict = self.leases[step["on"]].report(200)
        except openclaw_auth.StateError as error:
            assert error.code == step["expect"]["error"]
        else:
            assert verdict.kind == "done" and "error" not in step.get("expect", {})

    def do_release(self, step: dict[str, Any]) -> None:
        self.leases[step["on"]].close()

    def do_record(self, step: dict[str, Any]) -> None:
        store = json.loads(self.store.read_text())
        subset(step["expect"], store.get("usageStats", {}).get(step["profile"]))

    def do_events(self, step: dict[str, Any]) -> None:
        self.engine.profile_order("a")
        assert set(step["expect"]) <= {event["code"] for event in self.engine.events()}

    def do_set_session(self, step: dict[str, Any]) -> None:
        self.engine.set_session(step["session"], step["value"])

    def do_session(self, step: dict[str, Any]) -> None:
        # As the engine itself writes what is expected.
        self.engine.set_session("expected", step["expect"])
        assert self.engine.session(step["session"]) == self.engine.session("expected")

    def do_chat(self, step: dict[str, Any]) -> None:
        expect = step["expect"]
        try:
            reply = self.engine.chat(step["session"], step["message"], shown=step.get("shown"))
        except openclaw_auth.OpenClawAuthError as error:
            assert (error.code, error.message) == (expect["error"], expect["message"])
            return
        if reply is None:
            assert expect is None
            return
        assert reply["directive"]["kind"] == expect["directive"]
        assert reply["rest"] == expect.get("rest", reply["rest"])
        assert reply["session"] == expect.get("session", reply["session"])

    def do_clear(self, step: dict[str, Any]) -> None:
        self.engine.clear_cooldown(step.get("profile"), what=step["what"])


def subset(expect: Any, found: Any) -> None:
    """Whether everything that is expected is there; null stands for nothing."""
    if isinstance(expect, dict):
        for name, wanted in expect.items():
            subset(wanted, (found or {}).get(name))
    else:
        assert found == expect
