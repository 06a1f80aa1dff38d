"""A server that answers what drop-ins meet, for the tests of the SDKs that need one.

Theirs is made from the providers' specifications and answers everything; here are only answers of
models, since all else goes straight on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "Hi."}],
    "container": None,
    "context_management": None,
    "diagnostics": None,
    "stop_details": None,
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 3},
}
COMPLETION: dict[str, Any] = {
    "id": "c_1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": "Hi.", "refusal": None},
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
}


def message_events() -> Iterator[Mapping[str, Any]]:
    """Yield the events of Anthropic's stream."""
    yield {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    text = {"type": "text_delta", "text": "Hi."}
    yield {"type": "content_block_delta", "index": 0, "delta": text}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}


def chat_chunks() -> Iterator[Mapping[str, Any]]:
    """Yield the chunks of OpenAI's stream."""
    head = {**COMPLETION, "object": "chat.completion.chunk", "usage": None}
    for delta, reason in (({"role": "assistant", "content": "Hi."}, None), ({}, "stop")):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def answer(path: str, body: Mapping[str, Any]) -> tuple[int, str, bytes]:
    """Return status, content type and content of the answer to *body*."""
    streamed = body.get("stream") is True
    if path.endswith("/v1/messages"):
        if not streamed:
            return 200, "application/json", json.dumps(MESSAGE).encode()
        events = (f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in message_events())
        return 200, "text/event-stream", "".join(events).encode()
    if path.endswith("/chat/completions"):
        if not streamed:
            return 200, "application/json", json.dumps(COMPLETION).encode()
        chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chat_chunks())
        return 200, "text/event-stream", f"{chunks}data: [DONE]\n\n".encode()
    return 404, "application/json", b'{"error": {"message": "not here"}}'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        status, kind, content = answer(self.path.partition("?")[0].rstrip("/"), body)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients leave whenever a test ends."""


@contextmanager
def mock_server() -> Iterator[str]:
    """Serve, and give the address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
