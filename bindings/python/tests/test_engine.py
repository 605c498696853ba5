"""Opening, reading, reloading; errors, events, closing, forking, interrupting."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine, Engine, OpenClawAuthError, _errors, _native

from conftest import SHARED, TOKEN, Make, run

CONFIG = {
    "models": {
        "providers": {
            "openai": {"baseUrl": "https://api.openai.com/v1", "apiKey": "${OPENAI_API_KEY}"}
        }
    }
}
PATH = "models.providers.openai.apiKey"
KEY = "sk-CANARY-0123456789"


# Two providers of files that name no file.
BROKEN = """{
  secrets: {providers: {a: {source: "file"}, b: {source: "file"}}},
  models: {providers: {
    one: {baseUrl: "https://x.test", apiKey: {source: "file", provider: "a", id: "/k"}},
    two: {baseUrl: "https://x.test", apiKey: {source: "file", provider: "b", id: "/k"}},
  }},
}"""


def sleeping(tmp_path: Path, seconds: str) -> dict[str, Any]:
    """A configuration whose secret comes from a slow program."""
    program = tmp_path / "slow"
    program.write_text(f"#!/bin/sh\nsleep {seconds}\necho slow-secret\n")
    program.chmod(0o700)
    return {
        "secrets": {"providers": {"slow": {"source": "exec", "command": str(program), "jsonOnly": False}}},
        "models": {"providers": {"openai": {"baseUrl": "https://x.test", "apiKey": {
            "source": "exec", "provider": "slow", "id": "k"}}}},
    }


def test_open_reads_a_file_and_secrets(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.write_text("{models: {providers: {openai: {baseUrl: 'https://x.test', apiKey: '${OPENAI_API_KEY}'}}}}")
    env = {"OPENAI_API_KEY": KEY, "HOME": str(tmp_path), "PATH": None}
    with Engine.open(path, state_dir=tmp_path, env=env) as engine:
        assert engine.secret(PATH) == KEY
        assert engine.secret("/models/providers/openai/apiKey") == KEY
        assert (engine.generation, engine.degraded, engine.closed) == (1, False, False)
        assert repr(engine) == "<Engine generation=1>"
        assert not engine.files_changed()
        path.write_text("{}")
        assert engine.files_changed()
    assert engine.closed
    assert repr(engine) == "<Engine closed>"


def test_snapshot_is_one_generation(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    snapshot = engine.snapshot()
    assert snapshot.secret(PATH) == KEY
    assert snapshot.secret_ref("env:default:OPENAI_API_KEY") == KEY
    assert snapshot.value("models.providers.openai.baseUrl") == "https://api.openai.com/v1"
    assert snapshot.value("models.providers.nobody") is None
    assert KEY not in str(snapshot.config())
    assert [surface["path"] for surface in snapshot.surfaces()] == [PATH]
    assert snapshot.surfaces()[0]["ref"] == "env:default:OPENAI_API_KEY"
    assert isinstance(snapshot.diagnostics(), list)
    assert snapshot.activated_at > 1_700_000_000_000
    assert snapshot.hsts is None
    assert snapshot.authorize("127.0.0.1", []).code == "token_missing_config"
    report = engine.reload('{gateway: {auth: {mode: "token", token: "t-0123456789abcdef"}}}')
    assert report["generation"] == engine.generation == 2
    assert report["removedPaths"] == [PATH]
    assert snapshot.secret(PATH) == KEY and snapshot.generation == 1
    with pytest.raises(openclaw_auth.SecretError) as caught:
        snapshot.value(PATH)
    assert caught.value.code == "secret_use_typed_read"
    engine.close()
    assert snapshot.secret(PATH) == KEY


def test_open_lists_every_failure(make: Make) -> None:
    with pytest.raises(openclaw_auth.SecretError) as caught:
        make(CONFIG)
    error = caught.value
    assert (error.code, error.status_class) == ("secret_unresolved", "secret")
    assert [failure["code"] for failure in error.details["failures"]] == ["secret_ref_not_found"]
    with pytest.raises(openclaw_auth.ConfigError) as caught_config:
        make(BROKEN)
    assert isinstance(caught_config.value, ValueError)
    assert len(caught_config.value.details["issues"]) == 2


def test_failed_reload_keeps_the_secrets_and_logs(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openclaw_auth")
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    with pytest.raises(openclaw_auth.ConfigError):
        engine.reload("{")
    assert engine.degraded and engine.secret(PATH) == KEY
    engine.reload()
    assert not engine.degraded
    codes = [record.getMessage().split(":")[0] for record in caplog.records]
    assert codes == ["SECRETS_ACTIVATED", "SECRETS_RELOADER_DEGRADED", "SECRETS_RELOADER_RECOVERED"]
    assert caplog.records[1].levelno == logging.WARNING
    assert caplog.records[1].openclaw_auth["error"]["class"] == "config"
    assert engine.events() == []


def test_events_without_logging(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY}, log=False)
    (event,) = engine.events()
    assert (event["code"], event["level"], event["seq"]) == ("SECRETS_ACTIVATED", "info", 1)
    assert engine.events() == [] and caplog.records == []


def test_preflight_and_audit(make: Make, tmp_path: Path) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    assert engine.preflight()["ok"]
    report = engine.preflight(BROKEN, allow_exec=True, paths=[PATH])
    assert not report["ok"] and report["error"] is not None
    assert report["error"]["code"].startswith("config_")
    assert "findings" in engine.audit(allow_exec=False)
    shown = engine.snapshot().config()
    assert engine.restore_redacted(shown) == CONFIG


def test_rules_of_the_host(make: Make) -> None:
    engine = make({"plugins": {"entries": {}}})
    with pytest.raises(OpenClawAuthError):
        engine.add_rules({"no": "list"})
    with pytest.raises(openclaw_auth.ArgumentError):
        engine.add_rules(object())


def test_wrong_arguments(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    with pytest.raises(openclaw_auth.NotFoundError) as caught:
        engine.secret("no.such.path")
    assert isinstance(caught.value, LookupError)
    for options in (
        {"auth_mode": "magic"},
        {"deadline": -1.0},
        {"deadline": float("nan")},
        {"config_path": "/x", "config": {}},
        {"config": {"a": b"bytes"}},
        {"config": {"a": {1, 2}}, "token": object()},
    ):
        with pytest.raises((openclaw_auth.ArgumentError, TypeError)):
            Engine.open(**options)
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(openclaw_auth.ArgumentError):
        Engine.open(config=deep)
    assert isinstance(_native.Options(config={"a": True, "b": 1.5, "c": [None, -2]}), _native.Options)


@pytest.mark.parametrize("kind", [
    getattr(openclaw_auth, name) for name in openclaw_auth.__all__ if name.endswith("Error")
], ids=lambda kind: kind.__name__)
def test_exceptions_have_fields_and_can_be_pickled(kind: type[OpenClawAuthError]) -> None:
    error = kind("what", code="c", status_class="s", hint="h", details={"a": [1]}, retry_after=1.5, retryable=True)
    assert str(error) == "what"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    for name in ("message", *_errors._FIELDS):
        assert getattr(again, name) == getattr(error, name)


def test_exceptions_are_kin_of_the_built_in_ones() -> None:
    kin = {
        "ArgumentError": ValueError, "ConfigError": ValueError, "NotFoundError": LookupError,
        "NetworkError": ConnectionError, "AuthTimeoutError": TimeoutError, "StoreError": OSError,
        "UnsupportedError": NotImplementedError, "StateError": RuntimeError, "InternalError": RuntimeError,
        "NoCredentialsError": openclaw_auth.CredentialError, "UnavailableError": openclaw_auth.CredentialError,
    }
    for name, base in kin.items():
        assert issubclass(getattr(openclaw_auth, name), base)
    assert type(_errors.build("panic", "internal", "m", None, {}, None, False)) is openclaw_auth.InternalError
    assert _errors.build("x", "routing", "m", None, {}, 1500, True).retry_after == 1.5
    assert type(_errors.build("x", "new", "m", None, {}, None, False)) is OpenClawAuthError


def test_every_code_of_the_list_has_an_exception() -> None:
    from conftest import ROOT

    text = (ROOT / "docs/errors.md").read_text()
    known = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert set(_errors._BY_CODE) <= known
    assert len(known) > 100


def test_closed_is_closed(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    engine.close()
    engine.close()
    for call in (engine.reload, engine.snapshot, engine.events, lambda: engine.secret(PATH)):
        with pytest.raises(openclaw_auth.StateError) as caught:
            call()
        assert caught.value.code == "closed"


def test_context_manager_closes_on_exceptions(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    with pytest.raises(ZeroDivisionError), engine:
        raise ZeroDivisionError
    assert engine.closed


def test_no_secret_is_shown(make: Make, tmp_path: Path) -> None:
    engine = make(SHARED, env={"OPENAI_API_KEY": KEY})
    for thing in (engine, AsyncEngine(engine), engine.lease("openai")):
        assert KEY not in repr(thing) and TOKEN not in repr(thing)
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    assert repr(engine.snapshot()) == "<Snapshot generation=1>"
    assert repr(_native.Options(token=KEY)) == "<Options>"

    def frames(error: BaseException) -> str:
        summary = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in summary.stack if "openclaw_auth" in frame.filename]
        assert ours
        return str([frame.locals for frame in ours])

    def opens() -> Engine:
        return Engine.open(config='{a: "%s"' % KEY, env={"K": KEY}, token=KEY, password=KEY)

    async def opens_async() -> AsyncEngine:
        return await AsyncEngine.open(config='{a: "%s"' % KEY, env={"K": KEY}, token=KEY, password=KEY)

    for broken in (opens, lambda: run(opens_async()), lambda: engine.reload('{a: "%s"' % KEY)):
        with pytest.raises(openclaw_auth.ConfigError) as caught:
            broken()
        assert KEY not in frames(caught.value)
        assert KEY not in str(caught.value) + str(caught.value.details)


def test_other_threads_run_while_it_waits(make: Make, tmp_path: Path) -> None:
    count = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal count
        while not done.is_set():
            count += 1
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    engine = make(sleeping(tmp_path, "0.4"))
    done.set()
    thread.join()
    assert engine.secret(PATH) == "slow-secret"
    assert count > 20


def test_ctrl_c_interrupts(tmp_path: Path) -> None:
    script = (
        "import sys, openclaw_auth\n"
        "print('ready', flush=True)\n"
        "openclaw_auth.Engine.open(config=eval(sys.argv[1]), inherit_env=False, state_dir=sys.argv[2])\n"
    )
    arguments = [sys.executable, "-c", script, repr(sleeping(tmp_path, "20")), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        error = child.stderr.read()
        child.wait(10)
    assert time.monotonic() - start < 5
    assert error.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_is_noticed(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    lease = engine.lease("openai")
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            codes = []
            for call in (lambda: engine.secret(PATH), engine.reload, lambda: lease.secret):
                try:
                    call()
                except openclaw_auth.InternalError as error:
                    codes.append(error.code)
            lease.close()
            engine.close()
            with Engine.open(config={}, inherit_env=False, state_dir="/nonexistent") as fresh:
                codes.append(str(fresh.generation))
            os.write(writer, " ".join(codes).encode())
        finally:
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1000).decode()
    os.close(reader)
    os.waitpid(child, 0)
    assert answer == "engine_after_fork engine_after_fork engine_after_fork 1"
    assert lease.secret == KEY


def test_lost_engines_and_leases_are_freed(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEY})
    leases = [engine.lease("openai") for _ in range(50)]
    assert engine.leases_out == 50
    del leases
    gc.collect()
    assert engine.leases_out == 0


def test_manual_clock_is_for_tests(make: Make) -> None:
    engine = make()
    with pytest.raises(openclaw_auth.UnsupportedError):
        engine._core.advance(5)


def test_import_is_light() -> None:
    script = (
        "import sys; before = set(sys.modules); import openclaw_auth\n"
        "print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"asyncio", "logging", "typing", "json", "httpx"} & set(eval(found))
    assert hasattr(openclaw_auth, "AsyncLease") and not hasattr(openclaw_auth, "Nothing")
    assert openclaw_auth.__version__.count(".") == 2
