"""A server on this machine that speaks Chat Completions and Responses, and is strict about it."""

import json
import re
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHAT = {"model", "messages", "stream", "temperature", "stop", "max_tokens"}
RESPONSES = {"model", "input", "instructions", "stream", "store", "temperature"}
ITEM = {"role", "content", "name", "tool_calls", "tool_call_id"}


class Wrong(Exception):
    """What the server refuses, and how."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """Says `words`, remembers the `requests` it got, and does what `faults` say, one a request.

    A fault is a status to answer with, "cut" (the connection breaks in mid-stream), "short" (the
    stream ends in order, but too soon) or "hang" (it says nothing until it is closed).
    """

    daemon_threads = True

    def __init__(self, *words):
        super().__init__(("127.0.0.1", 0), Handler)
        self.words = words or ("Hello ", "there, ", "friend.")
        self.key, self.model, self.alternate = "right", "llama3", True
        self.requests, self.faults, self.closing = [], deque(), threading.Event()

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """A client that has gone is no concern of ours."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """It is silent."""

    def do_GET(self):
        """The list of models."""
        self.answering(self.models)

    def do_POST(self):
        """An answer."""
        self.answering(self.speak)

    def answering(self, work):
        """Do it, or say what is wrong."""
        try:
            self.check_key()
            work()
        except Wrong as wrong:
            self.send(wrong.status, {"error": {"message": str(wrong), "type": "invalid"}})

    def check_key(self):
        """Only who has the key gets in."""
        if self.headers.get("Authorization") != f"Bearer {self.server.key}":
            raise Wrong(401, "Incorrect API key provided")

    def models(self):
        """What there is."""
        data = [{"id": self.server.model, "object": "model", "created": 1, "owned_by": "us"}]
        self.send(200, {"object": "list", "data": data})

    def speak(self):
        """Check the request, then answer it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        fault = self.server.faults.popleft() if self.server.faults else None
        if fault == "hang":
            self.server.closing.wait()
            self.close_connection = True
            return
        if isinstance(fault, int):
            raise Wrong(fault, f"injected {fault}")
        chat = self.path.endswith("/chat/completions")
        check_chat(body, self.server.alternate) if chat else check_responses(body)
        if body["model"] != self.server.model:
            raise Wrong(404, f"model '{body['model']}' not found")
        events = [*(chunks if chat else stream_events)(self.server.words)]
        if body.get("stream"):
            self.stream(events, fault)
        else:
            self.send(200, (completion if chat else response)("".join(self.server.words)))

    def send(self, status, data):
        """One whole answer."""
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(text)

    def stream(self, events, fault):
        """An answer in pieces."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events[:2] if fault else [*events, "[DONE]"]:
            text = event if isinstance(event, str) else json.dumps(event)
            name = "" if isinstance(event, str) or "type" not in event else event["type"]
            self.chunk((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        if fault == "cut":
            self.close_connection = True
        else:
            self.chunk("")

    def chunk(self, text):
        """A piece of the body."""
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def check_chat(body, alternate):
    """Refuse what a strict server refuses."""
    if unknown := set(body) - CHAT:
        raise Wrong(400, f"unknown fields: {sorted(unknown)}")
    roles = []
    for item in body["messages"]:
        if unknown := set(item) - ITEM:
            raise Wrong(400, f"unknown fields of a message: {sorted(unknown)}")
        if not isinstance(item.get("content"), str) or not item["content"].strip():
            raise Wrong(400, "a message without content")
        if "name" in item and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", item["name"]):
            raise Wrong(400, f"invalid name {item['name']!r}")
        roles.append(item["role"])
    if roles[:1] == ["system"]:
        del roles[0]
    if alternate and roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise Wrong(400, "roles must alternate user/assistant/user/assistant/...")
    if alternate and roles[-1:] != ["user"]:
        raise Wrong(400, "the last message must be from the user")


def check_responses(body):
    """Refuse what keeps state, and items whose type has to be guessed."""
    if unknown := set(body) - RESPONSES:
        raise Wrong(400, f"unknown fields: {sorted(unknown)}")
    if body.get("store") is not False:
        raise Wrong(400, "nothing is stored here")
    for item in body["input"]:
        if set(item) != {"type", "role", "content"} or item["type"] != "message":
            raise Wrong(400, "cannot determine the type of an item")


def completion(text):
    """A whole chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def chunks(words):
    """A chat completion in chunks; the last one only counts."""
    common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for word in words:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield {**common, "choices": [choice]}
    yield {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    yield {**common, "choices": [], "usage": usage}


def response(text, status="completed"):
    """A whole response."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": status}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "output": [{**item, "content": content}],
    }


def stream_events(words):
    """A response in events, one of them of a kind nobody knows."""
    number = 0
    for word in words:
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        delta = {"type": "response.output_text.delta", "delta": word, "sequence_number": number}
        yield {**delta, **where}
        number += 1
    yield {"type": "response.news.of.tomorrow", "sequence_number": number}
    done = {"type": "response.completed", "response": response("".join(words))}
    yield {**done, "sequence_number": number + 1}


@contextmanager
def serving(*words):
    """A server that runs meanwhile."""
    server = Server(*words)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
