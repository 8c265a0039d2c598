"""A server on this machine that speaks Chat Completions and Responses, as strictly as real ones."""

import json
import re
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMON = {"model", "messages", "stream", "temperature", "stop", "tools", "tool_choice"}
LOCAL = COMMON | {"max_tokens", "response_format", "stream_options"}
CHAT = {  # the fields that each kind of server takes
    "openai": COMMON | {"max_completion_tokens", "response_format", "stream_options", "store"},
    "ollama": LOCAL,
    "vllm": LOCAL | {"top_k"},
    "llamacpp": LOCAL | {"top_k"},
    "mistral": COMMON | {"max_tokens", "response_format"},
    "unknown": COMMON | {"max_tokens"},
}
RESPONSES = {"model", "input", "instructions", "stream", "store", "temperature", "text", "tools"}
RESPONSES |= {"max_output_tokens"}
OWNERS = {"openai": "system", "ollama": "library", "vllm": "vllm", "llamacpp": "llamacpp"}
OWNERS |= {"mistral": "mistralai", "unknown": "us"}
ITEM = {"role", "content", "name", "tool_calls", "tool_call_id"}
COUNTED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CACHED = {"prompt_tokens_details": {"cached_tokens": 4}}


class Wrong(Exception):
    """What the server refuses, and how."""

    def __init__(self, status, message, *, param=None, code=None, kind="invalid", headers=()):
        super().__init__(message)
        self.status, self.headers = status, dict(headers)
        error = {"message": message, "type": kind, "param": param, "code": code}
        self.body = {"error": error}


class Server(ThreadingHTTPServer):
    """Says `words` and calls `calls`, remembers the `requests` it got, and does as `faults` say.

    `kind` is which real server it is as strict as. A fault is for one request: a status to answer
    with, a `Wrong`, or one of these:

    * "hang": it says nothing until it is closed, or the client has gone
    * "slow": it says nothing until `go` is set
    * "drip": it speaks on and on, until the client has gone
    * "cut": the connection breaks in mid-stream; "drop": before anything is said
    * "short": the stream ends in order, but too soon
    * "malformed": what it says is no JSON; "page": what it says is a page of HTML
    * "failed": it fails before the first word, "broken": after the second
    * "length", "filter": that is why it says nothing; "long": why it says no more

    `asked` is set by each request, `left` when a client goes before its answer has ended.
    """

    daemon_threads = True
    request_queue_size = 256  # a hundred may knock at once

    def __init__(self, *words, kind="unknown", calls=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.words = words or ("Hello ", "there, ", "friend.")
        self.calls = [*calls]
        self.key, self.model, self.kind = "right", "llama3", kind
        self.alternate = kind != "openai"
        self.requests, self.faults = [], deque()
        self.connections = self.probes = 0
        self.closing, self.go, self.left = threading.Event(), threading.Event(), threading.Event()
        self.asked, self.style = threading.Event(), "openai"
        self.listing = "one"  # or "none", "page", "hang": what its list of models is

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def get_request(self):
        """A new connection."""
        self.connections += 1
        return super().get_request()

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
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length)) if length else {}
        try:
            self.check_key()
            work()
        except Wrong as wrong:
            self.send(wrong.status, wrong.body, wrong.headers)

    def check_key(self):
        """Only who has the key gets in."""
        if self.headers.get("Authorization") != f"Bearer {self.server.key}":
            raise Wrong(401, "Incorrect API key provided", code="invalid_api_key")

    def models(self):
        """What there is."""
        self.server.probes += 1
        if self.server.listing == "page":
            return self.nonsense("page")
        if self.server.listing == "hang":
            return self.hang()
        if self.path != "/v1/models":
            raise Wrong(404, "404 page not found")
        owner = OWNERS[self.server.kind]
        model = {"id": self.server.model, "object": "model", "created": 1, "owned_by": owner}
        listed = {"object": "list", "data": [model] if self.server.listing == "one" else None}
        return self.send(200, listed)

    def speak(self):
        """Check the request, then answer it."""
        server, body = self.server, self.body
        server.requests.append(body)
        server.asked.set()
        fault = server.faults.popleft() if server.faults else None
        if fault == "slow":
            fault = server.go.wait() and None
        if fault == "hang":
            return self.hang()
        if fault == "drop":
            self.close_connection = True
            return None
        if isinstance(fault, int):
            raise Wrong(fault, f"injected {fault}", headers={"retry-after-ms": "1"})
        if isinstance(fault, Wrong):
            raise fault
        chat = self.path == "/v1/chat/completions"
        if not chat and (self.path != "/v1/responses" or server.kind in ("mistral", "unknown")):
            raise Wrong(404, "404 page not found")
        (check_chat if chat else check_responses)(body, server)
        if body["model"] != server.model:
            raise Wrong(404, f"model '{body['model']}' not found", code="model_not_found")
        if fault in ("malformed", "page"):
            return self.nonsense(fault)
        words = () if fault in ("failed", "length", "filter") else server.words
        calls = server.calls.pop(0) if server.calls else ()
        said = (Chat if chat else Responses)(server, body, words, calls, fault)
        if body.get("stream"):
            return self.stream(said.events(), fault)
        if fault == "failed" and chat:
            raise Wrong(500, "it failed")
        return self.send(200, said.whole())

    def send(self, status, data, headers=()):
        """One whole answer."""
        text = json.dumps(data).encode() if not isinstance(data, bytes) else data
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def nonsense(self, fault):
        """What no client can read."""
        if fault == "page":
            return self.send(200, b"<html>Please log in.</html>", {"Content-Type": "text/html"})
        if self.body.get("stream"):
            return self.stream(['{"choices": [', "[DONE]"], None)
        return self.send(200, b'{"choices": [')

    def hang(self):
        """Silence, until somebody goes."""
        self.connection.settimeout(0.02)
        while not self.server.closing.is_set():
            try:
                if not self.connection.recv(1):
                    self.server.left.set()
                    break
            except TimeoutError:
                continue
            except OSError:
                self.server.left.set()
                break
        self.close_connection = True

    def stream(self, events, fault):
        """An answer in pieces."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if fault == "drip":
            self.event(events[0])
            return self.hang()
        for event in events[:2] if fault in ("cut", "short") else [*events, "[DONE]"]:
            self.event(event)
        if fault == "cut":
            self.close_connection = True
        else:
            self.chunk("")
        return None

    def event(self, event):
        """One event."""
        text = event if isinstance(event, str) else json.dumps(event)
        name = "" if isinstance(event, str) or "type" not in event else event["type"]
        self.chunk((f"event: {name}\n" if name else "") + f"data: {text}\n\n")

    def chunk(self, text):
        """A piece of the body."""
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


# -- what is refused -------------------------------------------------------------------------------


def refuse_unknown(given, known, where=""):
    """Refuse a field that is not known here."""
    for name in sorted(set(given) - set(known)):
        raise Wrong(400, f"Unknown parameter: '{where}{name}'.", param=f"{where}{name}")


def check_chat(body, server):
    """Refuse what a strict server refuses."""
    if server.kind == "openai" and "max_tokens" in body:
        why = "Unsupported parameter: 'max_tokens' is not supported with this model."
        raise Wrong(400, why, param="max_tokens", code="unsupported_parameter")
    refuse_unknown(body, CHAT[server.kind])
    if not body["messages"]:
        raise Wrong(400, "Invalid 'messages': empty array.", param="messages")
    for item in body["messages"]:
        check_item(item, server)
    check_order(body["messages"], server)
    for tool in body.get("tools", ()):
        check_tool(tool["function"], {"strict"} if server.kind == "openai" else set())
    if "response_format" in body:
        check_schema(body["response_format"]["json_schema"])
    if "stream_options" in body and not body.get("stream"):
        raise Wrong(400, "'stream_options' is only allowed with stream.", param="stream_options")


def check_item(item, server):
    """One message."""
    refuse_unknown(item, ITEM, "messages[].")
    content = item.get("content")
    silent = not (isinstance(content, str) and content.strip())
    if silent and item["role"] != "tool" and not item.get("tool_calls"):
        raise Wrong(400, "a message without content")
    if "name" in item and server.kind in ("mistral", "unknown"):
        raise Wrong(400, "Extra inputs are not permitted", param="messages[].name")
    if "name" in item and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", item["name"]):
        raise Wrong(400, f"invalid name {item['name']!r}", param="messages[].name")
    for call in item.get("tool_calls") or ():
        if set(call) != {"id", "type", "function"}:
            raise Wrong(400, "malformed tool call")
        refuse_unknown(call["function"], {"name", "arguments"}, "tool_calls[].function.")
        if server.kind == "mistral" and not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
            raise Wrong(400, f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, length 9")


def check_order(items, server):
    """Who may follow whom; each result its call, each call its result."""
    roles, open_calls = [], []
    for place, item in enumerate(items):
        role = item["role"]
        if role in ("system", "developer") and place and server.alternate:
            raise Wrong(400, "the system's message must come first")
        if role == "tool":
            if item["tool_call_id"] not in open_calls:
                raise Wrong(400, "messages with role 'tool' must follow one with 'tool_calls'")
            open_calls.remove(item["tool_call_id"])
        elif open_calls:
            raise Wrong(400, f"no tool messages for these tool_call_ids: {open_calls}")
        if role == "user" and server.kind == "mistral" and items[place - 1]["role"] == "tool":
            raise Wrong(400, "Unexpected role 'user' after role 'tool'")
        open_calls += [call["id"] for call in item.get("tool_calls") or ()]
        if role == "user" or (role == "assistant" and not item.get("tool_calls")):
            roles.append(role)
    if open_calls:
        raise Wrong(400, f"no tool messages for these tool_call_ids: {open_calls}")
    if server.alternate and roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise Wrong(400, "Conversation roles must alternate user/assistant/user/assistant/...")
    if server.alternate and items[-1]["role"] not in ("user", "tool"):
        raise Wrong(400, "Expected last role User or Tool for serving but got assistant")


def check_tool(function, more):
    """One tool."""
    refuse_unknown(function, {"name", "description", "parameters"} | more, "tools[].function.")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function["name"]):
        raise Wrong(400, f"invalid tool name {function['name']!r}", param="tools[].function.name")


def check_schema(form):
    """A schema; to the letter only if it can be."""
    refuse_unknown(form, {"name", "schema", "strict", "type"}, "format.")
    closed = form["schema"].get("additionalProperties") is False
    if form["strict"] and not closed:
        raise Wrong(400, "Invalid schema: 'additionalProperties' is required to be false.")


def check_responses(body, server):
    """Refuse what keeps state, and items whose type has to be guessed."""
    refuse_unknown(body, RESPONSES)
    if body.get("store") is not False:
        raise Wrong(400, "nothing is stored here")
    shapes = {
        "message": {"type", "role", "content"},
        "function_call": {"type", "call_id", "name", "arguments"},
        "function_call_output": {"type", "call_id", "output"},
    }
    called = []
    for item in body["input"]:
        if set(item) != shapes.get(item.get("type")):
            raise Wrong(400, "Cannot determine type of 'item'")
        if item["type"] == "function_call":
            called.append(item["call_id"])
        if item["type"] == "function_call_output":
            if item["call_id"] not in called:
                raise Wrong(400, f"No tool call found for output with call_id {item['call_id']}.")
            called.remove(item["call_id"])
    if called:
        raise Wrong(400, f"No tool output found for function call {called[0]}.")
    for tool in body.get("tools", ()):
        check_tool({key: tool[key] for key in tool if key != "type"}, {"strict"})
    if "text" in body:
        check_schema(body["text"]["format"])


# -- what is said ----------------------------------------------------------------------------------


class Chat:
    """A chat completion, whole or in chunks."""

    def __init__(self, server, body, words, calls, fault):
        self.server, self.body, self.words, self.fault = server, body, words, fault
        self.calls = calls
        self.common = {"id": "1", "created": 1, "model": server.model}
        why = {"length": "length", "long": "length", "filter": "content_filter"}
        self.reason = why.get(fault, "tool_calls" if calls else "stop")

    def tools(self):
        """The calls, in full."""
        for place, (call, name, arguments) in enumerate(self.calls):
            function = {"name": name, "arguments": arguments}
            yield place, {"id": call, "type": "function", "function": function}

    def whole(self):
        """All at once."""
        message = {"role": "assistant", "content": "".join(self.words) or None}
        if self.calls:
            message["tool_calls"] = [call for _, call in self.tools()]
        choice = {"index": 0, "message": message, "finish_reason": self.reason}
        usage = {} if self.server.kind == "unknown" else {"usage": {**COUNTED, **CACHED}}
        return {**self.common, "object": "chat.completion", "choices": [choice], **usage}

    def chunk(self, delta, reason=None, **more):
        """One chunk."""
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**self.common, "object": "chat.completion.chunk", "choices": [choice], **more}

    def events(self):
        """In chunks; the last one only counts, where that was asked for."""
        if self.fault == "failed":
            return [{"error": {"message": "it failed", "type": "server_error"}}]
        said = [self.chunk({"content": word}) for word in self.words]
        if self.fault == "broken":
            said.insert(2, {"error": {"message": "it failed", "type": "server_error"}})
        for place, call in self.tools():
            said += self.pieces(place, call)
        kind = self.server.kind
        usage = {"usage": {**COUNTED, **CACHED}}
        said.append(self.chunk({}, self.reason, **(usage if kind == "mistral" else {})))
        if self.body.get("stream_options", {}).get("include_usage"):
            said.append({**self.chunk({}), "choices": [], **usage})
        return said

    def pieces(self, place, call):
        """A call as servers stream it: in pieces, or whole; numbered, or all number nought."""
        if self.server.style == "whole":
            yield self.chunk({"tool_calls": [{"index": 0, **call}]})
            return
        function = call["function"]
        head = {**call, "function": {"name": function["name"], "arguments": ""}}
        yield self.chunk({"tool_calls": [{"index": place, **head}]})
        for start in range(0, len(function["arguments"]), 3):
            part = {"arguments": function["arguments"][start : start + 3]}
            yield self.chunk({"tool_calls": [{"index": place, "function": part}]})


class Responses:
    """A response, whole or in events."""

    def __init__(self, server, body, words, calls, fault):
        self.server, self.words, self.calls, self.fault = server, words, calls, fault

    def whole(self, status=None):
        """All at once."""
        why = {"filter": "content_filter"}.get(self.fault)
        why = "max_output_tokens" if self.fault in ("length", "long") else why
        status = status or ("incomplete" if why else "completed")
        status = "failed" if self.fault == "failed" else status
        output = []
        if self.words:
            part = {"type": "output_text", "text": "".join(self.words), "annotations": []}
            item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
            output.append({**item, "content": [part]})
        output += [self.call(call) for call in self.calls]
        usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        usage |= {"input_tokens_details": {"cached_tokens": 4}}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": self.server.model,
            "status": status,
            "error": {"code": "server_error", "message": "it failed"}
            if status == "failed"
            else None,
            "incomplete_details": {"reason": why} if why else None,
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "output": output,
            "usage": usage,
        }

    def call(self, call):
        """A call as an item."""
        keys = dict(zip(("call_id", "name", "arguments"), call, strict=True))
        return {"type": "function_call", "id": f"fc_{call[0]}", "status": "completed", **keys}

    def events(self):
        """In events, one of them of a kind nobody knows."""
        if self.fault == "failed":
            return [{"type": "response.failed", "sequence_number": 0, "response": self.whole()}]
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        said = [
            {"type": "response.output_text.delta", "delta": word, **where} for word in self.words
        ]
        if self.fault == "broken":
            said.insert(2, {"type": "error", "code": None, "message": "it failed", "param": None})
        said.append({"type": "response.news.of.tomorrow"})
        for place, call in enumerate(self.calls, 1):
            where = {"item_id": f"fc_{call[0]}", "output_index": place}
            empty = {**self.call(call), "arguments": ""}
            said += [
                {"type": "response.output_item.added", "output_index": place, "item": empty},
                {"type": "response.function_call_arguments.delta", "delta": call[2], **where},
                {
                    "type": "response.output_item.done",
                    "output_index": place,
                    "item": self.call(call),
                },
            ]
        end = "incomplete" if self.fault in ("length", "long", "filter") else "completed"
        said.append({"type": f"response.{end}", "response": self.whole(end)})
        return [{**event, "sequence_number": number} for number, event in enumerate(said)]


@contextmanager
def serving(*words, **options):
    """A server that runs meanwhile."""
    server = Server(*words, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.go.set()
        server.shutdown()
        thread.join()
        server.server_close()
