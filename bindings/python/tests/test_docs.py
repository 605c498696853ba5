"""The programs in docs/python.md run, against a provider on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from conftest import KEYS, ROOT, TOKEN, Upstream
from test_clients import anthropic_answer, openai_answer


def test_programs_in_the_page(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "models": {"providers": {"openai": {"baseUrl": "https://x.test", "apiKey": "${OPENAI_API_KEY}"}}},
        "gateway": {"auth": {"mode": "token", "token": TOKEN}},
    }
    (tmp_path / "openclaw.json").write_text(json.dumps(settings))
    for name, value in {
        "OPENCLAW_CONFIG_PATH": str(tmp_path / "openclaw.json"),
        "OPENCLAW_STATE_DIR": str(tmp_path),
        "OPENAI_API_KEY": KEYS[0],
        "OPENAI_API_KEYS": ",".join(KEYS[1:]),
        "ANTHROPIC_API_KEY": "sk-ant-CANARY-0123456789",
    }.items():
        monkeypatch.setenv(name, value)
    upstream.limited = {KEYS[1]}

    def answer(path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
        return (openai_answer if "chat" in path else anthropic_answer)(path, body)

    upstream.answer = answer
    calls: list[str] = []

    def call_the_provider(secret: str) -> tuple[int, dict[str, str], bytes]:
        calls.append(secret)
        return (429 if len(calls) == 1 else 200), {}, b""

    names: dict[str, Any] = {"call_the_provider": call_the_provider}
    page = (ROOT / "docs/python.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(programs) == 7
    for program in programs:
        program = program.replace("https://api.openai.com", upstream.url)
        program = program.replace("https://api.anthropic.com", upstream.url)
        exec(compile(program, "docs/python.md", "exec"), names)
    assert names["key"] == KEYS[0] and names["report"]["unchanged"]
    assert len(calls) == 2 and calls[0] != calls[1]
    assert names["answer"].choices[0].message.content == names["text"] == "hello"
    assert isinstance(names["app"].app, Starlette)
    assert "/me" in names["api"].openapi()["paths"]
    assert callable(names["sign_in"])
    for name in ("openai", "anthropic", "engine"):
        names[name].close()
