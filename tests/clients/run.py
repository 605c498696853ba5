"""The vendors' own client libraries, talking through the gateway to an upstream that uses up
limits. `run.py GATEWAY-PROGRAM`. The last line is `N passed, N failed`."""

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import urllib.request
from pathlib import Path

import anthropic
import openai

from upstream import PIECES, Upstream

FOLDER = Path(__file__).parent
CASES = json.loads((FOLDER / "cases.json").read_text())
TOKEN = "the-token-of-the-gateway-0123456789"
LANGUAGES = ["python", "node"]
VENDORS = {"openai": "openai-completions", "anthropic": "anthropic-messages"}


def providers(upstream):
    """One provider for each case, so that no limit of one case is known in another."""
    entries, env = {}, {}
    for language in LANGUAGES:
        for vendor, api in VENDORS.items():
            for case in CASES:
                provider = f"{vendor}-{language}-{case['name']}"
                base = f"{upstream.url}/v1" if vendor == "openai" else upstream.url
                entries[provider] = {"baseUrl": base, "api": api, "models": [{"id": "m"}]}
                keys = [f"sk-{word}-{provider}" for word in case["keys"]]
                env[f"{provider.upper().replace('-', '_')}_API_KEYS"] = ",".join(keys)
    return entries, env


class Client:
    """Both libraries with one face. Retries of their own are switched off."""

    def __init__(self, vendor, gateway, provider, by_model):
        self.vendor = vendor
        self.model = f"{provider}/m" if by_model else "m"
        base = gateway if by_model else f"{gateway}/proxy/{provider}"
        if vendor == "openai":
            self.client = openai.OpenAI(api_key=TOKEN, base_url=f"{base}/v1", max_retries=0)
            self.error = openai.APIStatusError
        else:
            self.client = anthropic.Anthropic(auth_token=TOKEN, base_url=base, max_retries=0)
            self.error = anthropic.APIStatusError

    def asked(self, text):
        return {"model": self.model, "messages": [{"role": "user", "content": text}]}

    def whole(self, text):
        if self.vendor == "openai":
            answer = self.client.chat.completions.create(**self.asked(text))
            return answer.choices[0].message.content
        return self.client.messages.create(max_tokens=9, **self.asked(text)).content[0].text

    def pieces(self, text):
        """The stream, which can be closed, and its pieces."""
        if self.vendor == "openai":
            stream = self.client.chat.completions.create(stream=True, **self.asked(text))
            return stream, (chunk.choices[0].delta.content for chunk in stream)
        stream = self.client.messages.create(max_tokens=9, stream=True, **self.asked(text))
        deltas = (event for event in stream if event.type == "content_block_delta")
        return stream, (event.delta.text for event in deltas)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def check(vendor, case, gateway, upstream):
    provider = f"{vendor}-python-{case['name']}"
    client = Client(vendor, gateway, provider, case.get("byModel", False))
    text = "x" * 2_000_000 if case.get("large") else "hello"
    if status := case.get("status"):
        try:
            client.whole(text)
        except client.error as error:
            assert error.status_code == status, error
            if status == 429:
                assert 1 <= int(error.response.headers["retry-after"]) <= 20, "soonest"
        else:
            raise AssertionError("no error")
    elif case.get("stream"):
        stream, pieces = client.pieces(text)
        got = [next(pieces)]
        if case.get("cancel"):
            stream.close()
        get(f"{upstream}/go/{provider}")
        if not case.get("cancel"):
            got += list(pieces)
            assert got == PIECES, got
    else:
        assert client.whole(text) == "".join(PIECES)
    notes = get(f"{upstream}/seen/{provider}")
    assert notes["seen"] == case["seen"], notes
    assert len(set(notes["bodies"])) == 1, "every key got the same body"
    assert not notes["gatewayToken"], "the gateway's token went upstream"
    if case.get("stream") and not case.get("cancel"):
        assert notes["unbuffered"], "the first piece came late"


def run_python(gateway, upstream):
    passed = failed = 0
    for vendor in VENDORS:
        for case in CASES:
            try:
                check(vendor, case, gateway, upstream)
                passed += 1
            except Exception:
                failed += 1
                print(f"FAILED python {vendor} {case['name']}")
                traceback.print_exc()
    return passed, failed


def run_node(gateway, upstream):
    command = ["node", str(FOLDER / "client.mjs"), gateway, upstream, TOKEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    if not counts or done.returncode not in (0, 1):
        print(done.stdout, done.stderr)
        return 0, 1
    if counts[2] != "0":
        print(done.stdout, done.stderr)
    return int(counts[1]), int(counts[2])


def main():
    upstream = Upstream(TOKEN)
    entries, env = providers(upstream)
    config = {
        "gateway": {"auth": {"mode": "token", "token": TOKEN}},
        "models": {"providers": entries},
    }
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as state:
        path = Path(state) / "openclaw.json"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        log = Path(state) / "access.log"
        command = [sys.argv[1], "gateway", "run", "--host", "127.0.0.1", "--port", "0"]
        gateway = subprocess.Popen(
            [*command, "--config", str(path), "--access-log", str(log)],
            env=env | {"HOME": state, "OPENCLAW_STATE_DIR": state},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = gateway.stdout.readline().removeprefix("listening on ").strip()
            counts = [run_python(url, upstream.url), run_node(url, upstream.url)]
        finally:
            gateway.terminate()
            gateway.wait(30)
        # No key is ever written down.
        counts.append((0, 1) if "sk-" in log.read_text() else (1, 0))
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
