"""A server that speaks OpenAI's API on loopback and misbehaves as a test tells it to. Standard library only."""

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What the server does with one request."""

    status: int = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    delay: float = 0.0
    reset_after: int | None = None
    """Send so many bytes of the body, then reset the connection."""
    trickle: float = 0.0
    """Seconds between two bytes of the body."""
    events: list | None = None
    """In place of a body, a stream of events: (seconds before it, JSON or "[DONE]")."""


def said(text, *, finish="stop", usage=True, **message):
    """A chat completion."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
    }
    if usage:
        body["usage"] = {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
    return Answer(body=body)


def grown(*parts, before=0.0, between=0.0, finish="stop", usage=True, done=True, name="content"):
    """A chat completion as a stream of events: a role, then the parts of the text, then why it ended and the counts."""

    def event(delta, reason=None, **more):
        return {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}

    events = [(0.0, event({"role": "assistant", "content": ""}))]
    events += [(between if number else before, event({name: part})) for number, part in enumerate(parts)]
    events += [(0.0, event({}, finish))] if finish else []
    events += [(0.0, {"id": "chatcmpl-1", "choices": [], "usage": said("").body["usage"]})] if usage else []
    return Answer(events=[*events, (0.0, "[DONE]")] if done else events)


def error(status, message, *, code=None, param=None, kind="invalid_request_error", **headers):
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def prompt_of(body):
    """The text of the last message."""
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


class Scripted(ThreadingHTTPServer):
    """Answers by `script(number of the request, its JSON)`; keeps paths, headers, bodies and times of arrival."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.requests = []
        self.lock = threading.Lock()
        self.active = self.most_active = 0
        self.other = {}
        """(method, path) → function of (path, raw body): everything that is not a completion."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def bodies(self):
        return [body for _, _, body, _ in self.requests]

    @property
    def times(self):
        return [at for *_, at in self.requests]

    def handle_error(self, *_):
        pass  # clients that leave are a part of the tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        self._other("GET", b"")

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.endswith("completions"):
            return self._other("POST", raw)
        server = self.server
        body = json.loads(raw)
        with server.lock:
            number = len(server.requests)
            server.requests.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()}, body, time.monotonic())
            )
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try:
            answer = server.script(number, body)
            time.sleep(answer.delay)
        finally:
            with server.lock:
                server.active -= 1
        return self._send(answer)

    def _other(self, method, raw):
        for (wanted, prefix), function in self.server.other.items():
            if method == wanted and self.path.startswith(prefix):
                return self._send(function(self.path, raw))
        return self._send(error(404, f"no {method} {self.path}"))

    def _stream(self, answer):
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for seconds, event in answer.events:
            time.sleep(seconds)
            data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _send(self, answer):
        if answer.events is not None:
            return self._stream(answer)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.reset_after is not None:
            self.wfile.write(body[: answer.reset_after])
            self.wfile.flush()
            # A close that does not linger is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return None
        for byte in body if answer.trickle else b"":
            time.sleep(answer.trickle)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
        self.wfile.write(b"" if answer.trickle else body)
        return None

    def log_message(self, *_):
        pass


@contextmanager
def serving(script=lambda number, body: said(prompt_of(body))):
    """A running server, by default one that says what it is told."""
    with Scripted(script) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
