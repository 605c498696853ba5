"""Status and doctor, and the command on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import openclaw_auth
from openclaw_auth import AsyncEngine, doctor
from openclaw_auth.__main__ import main

from conftest import KEYS, Make, run

CONFIG = {
    "agents": {"defaults": {"model": {"primary": "openai/gpt-5"}}},
    "models": {"providers": {"openai": {"baseUrl": "https://x.test", "models": [{"id": "gpt-5"}]}}},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, with a key in the environment."""
    tmp_path.chmod(0o700)
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_KEYS")) or name.startswith(("OPENCLAW", "AWS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[0])
    state = tmp_path / ".openclaw"
    state.mkdir(mode=0o700)
    config = state / "openclaw.json"
    config.write_text(json.dumps(CONFIG))
    config.chmod(0o600)
    return tmp_path


def test_status(make: Make) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEYS[0]})
    status = engine.status()
    assert (status["agentId"], status["resolvedDefault"]) == ("main", "openai/gpt-5")
    assert [row["provider"] for row in status["auth"]["providers"]] == ["openai"]
    assert status["auth"]["providers"][0]["effective"]["kind"] == "env"
    assert status["check"]["exitCode"] == 0 and "CANARY" not in json.dumps(status)
    assert engine.status(providers=["openai"], warn_within=0, agent="main")["auth"]["oauth"]["warnAfterMs"] == 0
    assert run(AsyncEngine(engine).status())["agentId"] == "main"
    with pytest.raises(openclaw_auth.OpenClawAuthError) as caught:
        engine.status(providers=["nobody"])
    assert caught.value.code == "unknown_provider"


def test_doctor(make: Make, home: Path) -> None:
    engine = make(CONFIG, env={"OPENAI_API_KEY": KEYS[0]})
    report = engine.doctor()
    assert report["checksRun"] > 10 and isinstance(report["ok"], bool)
    assert run(AsyncEngine(engine).doctor(skip=[]))["checksRun"] == report["checksRun"]
    assert doctor()["checksRun"] > 10
    (home / "broken.json").write_text("{")
    broken = doctor(home / "broken.json", state_dir=home / ".openclaw")
    assert not broken["ok"]
    assert {"checkId", "severity", "message", "fixable"} <= set(broken["findings"][0])
    with pytest.raises(openclaw_auth.ArgumentError):
        engine.doctor(only=["no such check"])


def test_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    text = capsys.readouterr().out
    assert "openai/gpt-5" in text and "CANARY" not in text
    assert max(map(len, text.splitlines())) <= 80 or str(home) in text
    assert main(["status", "--json", "--check"]) == 0
    assert json.loads(capsys.readouterr().out)["resolvedDefault"] == "openai/gpt-5"
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schemaVersion"] == 1
    broken = home / "broken.json"
    broken.write_text("{")
    assert main(["doctor", "--config", str(broken), "--check"]) == 1
    assert "error" in capsys.readouterr().out
    assert main(["status", "--config", str(broken)]) == 1
    assert "[config_" in capsys.readouterr().err


def test_command_line(home: Path) -> None:
    command = [sys.executable, "-m", "openclaw_auth"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == openclaw_auth.__version__
    assert subprocess.run(command, capture_output=True).returncode == 2
    shown = subprocess.run([*command, "status"], capture_output=True, text=True, check=True)
    assert "openai" in shown.stdout
