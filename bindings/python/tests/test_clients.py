"""Clients that lease: httpx, httpx2 and requests, and the clients of OpenAI and Anthropic on them."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
import requests

import openclaw_auth
import openclaw_auth.httpx
import openclaw_auth.httpx2
from openclaw_auth import AsyncEngine, Engine
from openclaw_auth.requests import LeaseAdapter

from conftest import KEYS, Make, Upstream, run

FLAVOURS = [
    pytest.param(httpx, openclaw_auth.httpx.LeaseAuth, id="httpx"),
    pytest.param(httpx2, openclaw_auth.httpx2.LeaseAuth, id="httpx2"),
]


@pytest.mark.parametrize(("library", "lease_auth"), FLAVOURS)
def test_rotates_on_rate_limits(keys: Engine, upstream: Upstream, library: Any, lease_auth: Any) -> None:
    upstream.limited = {KEYS[0], KEYS[1]}
    auth = lease_auth(keys, "openai")
    assert "CANARY" not in repr(auth)
    with library.Client(auth=auth, base_url=upstream.url) as client:
        assert client.post("/v1", json={"a": 1}).json() == {"path": "/v1", "length": 7}
        assert upstream.seen == KEYS
        # The limited ones are left alone from now on.
        assert client.get("/v1").status_code == 200
        assert upstream.seen == [*KEYS, KEYS[2]]
        upstream.limited.add(KEYS[2])
        assert client.get("/v1").status_code == 429
        assert keys.leases_out == 0
        with pytest.raises(openclaw_auth.UnavailableError):
            for _ in range(4):
                client.get("/v1")


@pytest.mark.parametrize(("library", "lease_auth"), FLAVOURS)
def test_rotates_under_asyncio(keys: Engine, upstream: Upstream, library: Any, lease_auth: Any) -> None:
    upstream.limited = {KEYS[0]}

    async def main() -> None:
        auth = lease_auth(AsyncEngine(keys), "openai", session="s")
        async with library.AsyncClient(auth=auth, base_url=upstream.url) as client:
            assert (await client.post("/v1", content=b"x")).json()["length"] == 1
        assert upstream.seen == KEYS[:2] and keys.leases_out == 0

    run(main())


@pytest.mark.parametrize(("library", "lease_auth"), FLAVOURS)
def test_other_failures_go_to_the_caller(keys: Engine, upstream: Upstream, library: Any, lease_auth: Any) -> None:
    upstream.refused = {KEYS[0]}
    with library.Client(auth=lease_auth(keys, "openai"), base_url=upstream.url) as client:
        response = client.post("/v1")
        assert (response.status_code, response.json()["error"]["message"]) == (401, "Incorrect API key provided")
        assert upstream.seen == KEYS[:1] and keys.leases_out == 0
        with pytest.raises(library.ConnectError):
            client.post("http://127.0.0.1:1/")
    assert keys.leases_out == 0


@pytest.mark.parametrize(("library", "lease_auth"), FLAVOURS)
def test_streams(keys: Engine, upstream: Upstream, library: Any, lease_auth: Any) -> None:
    upstream.answer = lambda path, body: (200, {}, [b"one ", b"two ", b"three"])
    with library.Client(auth=lease_auth(keys, "openai"), base_url=upstream.url) as client:
        with client.stream("POST", "/v1") as response:
            assert "".join(response.iter_text()) == "one two three"
        # A body that is a stream is sent once.
        upstream.limited = {KEYS[0]}
        response = client.post("/v1", content=iter([b"one", b"two"]))
        assert response.status_code == 429
        assert upstream.seen == [KEYS[0], KEYS[0]]


@pytest.mark.parametrize(("library", "lease_auth"), FLAVOURS)
def test_where_the_credential_goes(keys: Engine, upstream: Upstream, library: Any, lease_auth: Any) -> None:
    headers = {"Authorization": "Bearer placeholder", "X-Api-Key": "placeholder"}
    for provider, options, expected in (
        ("openai", {}, {"authorization": f"Bearer {KEYS[0]}"}),
        ("anthropic", {}, {"x-api-key": "sk-ant-CANARY-9876543210"}),
        ("openai", {"header": "api-key"}, {"api-key": KEYS[0]}),
        ("openai", {"scheme": "Token "}, {"authorization": f"Token {KEYS[0]}"}),
    ):
        with library.Client(auth=lease_auth(keys, provider, **options), headers=headers) as client:
            client.post(upstream.url)
        sent = upstream.headers[-1]
        names = ("authorization", "x-api-key", "api-key")
        assert {name: sent[name] for name in names if name in sent} == expected


def test_requests(keys: Engine, upstream: Upstream) -> None:
    upstream.limited = {KEYS[0], KEYS[1]}
    with requests.Session() as session:
        session.mount(upstream.url, LeaseAdapter(keys, "openai"))
        assert session.post(f"{upstream.url}/v1", json={"a": 1}).json()["length"] == 8
        assert upstream.seen == KEYS
        upstream.refused = {KEYS[2]}
        assert session.get(upstream.url).status_code == 401
    upstream.limited, upstream.refused = {"sk-ant-CANARY-9876543210"}, set()
    with requests.Session() as session:
        session.mount(upstream.url, LeaseAdapter(keys, "anthropic"))
        assert session.post(upstream.url, data=iter([b"one"])).status_code == 429
    assert keys.leases_out == 0


def events(*data: Any) -> list[bytes]:
    """Server-sent events."""
    lines = []
    for item in data:
        name = f"event: {item['type']}\n" if isinstance(item, dict) and "type" in item else ""
        text = item if isinstance(item, str) else json.dumps(item)
        lines.append(f"{name}data: {text}\n\n".encode())
    return lines


def openai_answer(path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
    assert path == "/v1/chat/completions"
    common = {"id": "c", "created": 1, "model": "gpt-5"}
    if not json.loads(body).get("stream"):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
        answer = {**common, "object": "chat.completion", "choices": [choice]}
        return 200, {}, [json.dumps(answer).encode()]
    chunks = [
        {**common, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}
        for word in ("hel", "lo")
    ]
    return 200, {"content-type": "text/event-stream"}, events(*chunks, "[DONE]")


MESSAGES: Any = [{"role": "user", "content": "hi"}]


def test_openai(keys: Engine, upstream: Upstream) -> None:
    upstream.limited, upstream.answer = {KEYS[0]}, openai_answer
    http = openai.DefaultHttpxClient(auth=openclaw_auth.httpx2.LeaseAuth(keys, "openai"))
    client = openai.OpenAI(api_key="leased", base_url=f"{upstream.url}/v1", http_client=http, max_retries=0)
    answer = client.chat.completions.create(model="gpt-5", messages=MESSAGES)
    assert answer.choices[0].message.content == "hello"
    assert upstream.seen == KEYS[:2]
    stream = client.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in stream) == "hello"
    upstream.limited = set(KEYS)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="gpt-5", messages=MESSAGES)
    assert keys.leases_out == 0
    client.close()


def test_openai_under_asyncio(keys: Engine, upstream: Upstream) -> None:
    upstream.limited, upstream.answer = {KEYS[0]}, openai_answer

    async def main() -> None:
        http = openai.DefaultAsyncHttpxClient(auth=openclaw_auth.httpx2.LeaseAuth(AsyncEngine(keys), "openai"))
        async with openai.AsyncOpenAI(
            api_key="leased", base_url=f"{upstream.url}/v1", http_client=http, max_retries=0
        ) as client:
            stream = await client.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True)
            assert "".join([part.choices[0].delta.content or "" async for part in stream]) == "hello"

    run(main())
    assert upstream.seen == KEYS[:2]


def anthropic_answer(path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
    assert path == "/v1/messages"
    usage = {"input_tokens": 1, "output_tokens": 1}
    message: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "claude",
                               "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    if not json.loads(body).get("stream"):
        message.update(content=[{"type": "text", "text": "hello"}], stop_reason="end_turn")
        return 200, {}, [json.dumps(message).encode()]
    return 200, {"content-type": "text/event-stream"}, events(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
          for word in ("hel", "lo")),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    )


def test_anthropic(make: Make, upstream: Upstream) -> None:
    ant = ["sk-ant-CANARY-0-0123456789", "sk-ant-CANARY-1-0123456789"]
    engine = make(env={"ANTHROPIC_API_KEYS": ",".join(ant)})
    upstream.limited, upstream.answer = {ant[0]}, anthropic_answer
    http = anthropic.DefaultHttpxClient(auth=openclaw_auth.httpx2.LeaseAuth(engine, "anthropic"))
    client = anthropic.Anthropic(api_key="leased", base_url=upstream.url, http_client=http, max_retries=0)
    answer: Any = client.messages.create(model="claude", max_tokens=9, messages=MESSAGES)
    assert answer.content[0].text == "hello"
    assert upstream.seen == ant
    with client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == "hello"
    assert engine.leases_out == 0
    client.close()


def test_anthropic_under_asyncio(keys: Engine, upstream: Upstream) -> None:
    upstream.answer = anthropic_answer

    async def main() -> None:
        http = anthropic.DefaultAsyncHttpxClient(auth=openclaw_auth.httpx2.LeaseAuth(keys, "anthropic"))
        async with anthropic.AsyncAnthropic(
            api_key="leased", base_url=upstream.url, http_client=http, max_retries=0
        ) as client, client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream:
            assert "".join([text async for text in stream.text_stream]) == "hello"

    run(main())
    assert upstream.seen == ["sk-ant-CANARY-9876543210"]
