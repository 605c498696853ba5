"""Both vendors on one loopback port. What happens to a request is written in its key."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECES = ["one ", "two ", "three"]

OPENAI_LIMITS = {
    "retry-after": "20",
    "retry-after-ms": "20000",
    "x-ratelimit-limit-requests": "3",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "20s",
}
ANTHROPIC_LIMITS = {
    "retry-after": "20",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
}


def openai_error(message, kind, code):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_error(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01"}


# By vendor and the word in the key: status, headers, body.
REFUSALS = {
    ("openai", "limited"): (
        429,
        OPENAI_LIMITS,
        openai_error(
            "Rate limit reached for gpt-5 on requests per min (RPM): Limit 3, Used 3.",
            "requests",
            "rate_limit_exceeded",
        ),
    ),
    ("openai", "quota"): (
        429,
        {},
        openai_error(
            "You exceeded your current quota, please check your plan.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),
    ("openai", "revoked"): (
        401,
        {},
        openai_error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    ),
    ("openai", "bad"): (
        400,
        {},
        openai_error("Unknown parameter: 'x'.", "invalid_request_error", "unknown_parameter"),
    ),
    ("openai", "broken"): (
        500,
        {},
        openai_error("The server had an error.", "server_error", None),
    ),
    ("anthropic", "limited"): (
        429,
        ANTHROPIC_LIMITS,
        anthropic_error("rate_limit_error", "This request would exceed your rate limit."),
    ),
    ("anthropic", "quota"): (
        429,
        {"retry-after": "3600"},
        anthropic_error("rate_limit_error", "You have used up your monthly usage limit."),
    ),
    ("anthropic", "revoked"): (
        401,
        {},
        anthropic_error("authentication_error", "invalid x-api-key"),
    ),
    ("anthropic", "bad"): (
        400,
        {},
        anthropic_error("invalid_request_error", "max_tokens: Field required"),
    ),
    ("anthropic", "broken"): (
        500,
        {},
        anthropic_error("api_error", "Internal server error"),
    ),
}


def openai_answer(model):
    choice = {"message": {"role": "assistant", "content": "".join(PIECES)}}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice | {"index": 0, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }


def anthropic_answer(model, text):
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn" if text else None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 3},
    }


def openai_events(model):
    for index, piece in enumerate(PIECES):
        end = "stop" if index == len(PIECES) - 1 else None
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": end}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        yield f"data: {json.dumps(chunk | {'model': model, 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"


def anthropic_events(model):
    def event(kind, **members):
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n"

    start = event("message_start", message=anthropic_answer(model, ""))
    block = {"type": "text", "text": ""}
    start += event("content_block_start", index=0, content_block=block)
    for piece in PIECES:
        delta = {"type": "text_delta", "text": piece}
        yield start + event("content_block_delta", index=0, delta=delta)
        start = ""
    end = event("content_block_stop", index=0)
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    end += event("message_delta", delta=delta, usage={"output_tokens": 3})
    yield end + event("message_stop")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        _, word, provider = self.path.split("/")
        notes = self.server.notes.setdefault(provider, {"seen": [], "bodies": []})
        if word == "go":
            self.server.gate(provider).set()
        self.whole(200, {}, notes)
        if word == "seen":
            self.server.notes.pop(provider)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        key = self.headers.get("x-api-key") or self.headers["authorization"].removeprefix("Bearer ")
        # sk-<word>-<provider>
        _, word, provider = key.split("-", 2)
        vendor = provider.split("-")[0]
        notes = self.server.notes.setdefault(provider, {"seen": [], "bodies": []})
        notes["seen"].append(word)
        notes["bodies"].append(hashlib.sha256(body).hexdigest())
        notes["gatewayToken"] = self.server.token in str(self.headers)
        if refusal := REFUSALS.get((vendor, word)):
            return self.whole(*refusal)
        asked = json.loads(body)
        model = asked["model"]
        if not asked.get("stream"):
            is_openai = vendor == "openai"
            text = "".join(PIECES)
            return self.whole(
                200, {}, openai_answer(model) if is_openai else anthropic_answer(model, text)
            )
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = openai_events(model) if vendor == "openai" else anthropic_events(model)
        try:
            for index, event in enumerate(events):
                if index == 1:
                    # The client must have got the first piece before the second is sent.
                    notes["unbuffered"] = self.server.gate(provider).wait(10)
                data = event.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            # The client has left.
            self.close_connection = True

    def whole(self, status, headers, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, token):
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.notes = {}
        self.gates = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gate(self, provider):
        with self.lock:
            return self.gates.setdefault(provider, threading.Event())
