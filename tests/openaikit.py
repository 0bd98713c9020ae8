"""A small OpenAI-compatible server on loopback, with a model that knows the suite's answers and can be told to misbehave.

    with openaikit.serve() as server:
        server.fault("trolley", stall=3)         # the next prompt with that word: three pieces, then nothing
        server.says("Oslo", calls=[("get_weather", "{")])
        ...
        assert server.asked[0]["model"] == "demo"

What it streams has vLLM's form (release 0.32): a piece with the role, thinking as `reasoning`, tool calls by index with
the name in the first piece, a piece with the finish_reason, the usage in a piece without choices, then [DONE].
"""

import contextlib
import itertools
import json
import re
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.openaianswers import Said, respond

ALWAYS = 10_000
TOKEN = re.compile(r"\s*\S{1,12}|\s+")


def tokens(text):
    return TOKEN.findall(text)


@dataclass
class Fault:
    """What goes wrong with the next requests in whose prompt ``word`` stands (anywhere; "" is every one).

    ``status``, ``body``: an answer instead. ``silent``: nothing comes, "headers" after the headers, "pings" but comments.
    ``stall``, ``cut``, ``unfinished``, ``error``, ``garbage``: after so many pieces nothing comes any more, the
    connection ends, the stream ends without a finish_reason, an error comes, something that is not JSON comes.
    ``drip``: seconds before each piece. ``html``: a page in place of an answer. ``unused``: no usage. ``endless``: a line
    without an end. ``die``: the server is gone. ``said``: these words. ``raw``: pieces, as JSON values. ``chat``: only
    chat requests; else only the address that ends so.
    """

    word: str = ""
    times: int = 1
    address: str = "/chat/completions"
    status: int = 0
    body: object = None
    silent: str = ""
    stall: int | None = None
    cut: int | None = None
    unfinished: int | None = None
    error: int | None = None
    garbage: int | None = None
    drip: float = 0.0
    html: bool = False
    unused: bool = False
    endless: bool = False
    die: bool = False
    said: Said | None = None
    raw: list | None = None


class Server(ThreadingHTTPServer):
    """``asked``: the body of each chat request. ``hung_up``: how many clients left in the middle of an answer.

    ``thinking``: under what name the model's thinking comes, "tags" for in the text, "" for none. ``prefill``,
    ``decode``: seconds for each token. ``caching``: what was read before costs nothing, and is told as cached_tokens.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.model = "demo"
        self.key = ""
        self.context = 16_384
        self.version = "0.32.0"
        self.tokenize = True
        self.usage = True
        self.thinking = "reasoning"
        self.prefill = self.decode = 0.0
        self.caching = False
        self.seen: list[list[str]] = []
        self.asked: list[dict] = []
        self.headers_seen: list[dict] = []
        self.faults: list[Fault] = []
        self.hung_up = 0
        self.gone = threading.Event()
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)

    def fault(self, word="", **what):
        made = Fault(word=word, **what)
        self.faults.append(made)
        return made

    def says(self, word, text="", *, times=ALWAYS, **what):
        return self.fault(word, said=Said(text=text, **what), times=times)

    def found_fault(self, path, prompt):
        with self.lock:
            for fault in self.faults:
                if fault.times and path.endswith(fault.address) and fault.word in prompt:
                    fault.times -= 1
                    return fault
        return Fault()

    def cached(self, prompt):
        """How many tokens of a prompt were read before, in blocks of 16."""
        if not self.caching:
            return 0
        with self.lock:
            common = (
                sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], zip(prompt, old, strict=False)))
                for old in self.seen
            )
            best = max(common, default=0) // 16 * 16
            self.seen.append(prompt)
        return min(best, len(prompt) - 1)

    def die(self):
        """Be gone as a killed process is: no new connection, the old ones cut."""
        self.gone.set()
        self.socket.close()

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.server.hung_up += 1
            self.close_connection = True

    def do_GET(self):
        self.fault = self.server.found_fault(self.path, "")
        if self.fault.status or self.fault.silent or self.fault.html:
            return self.misbehave()
        if self.path == "/version":
            return self.reply(200, {"version": self.server.version}) if self.server.version else self.refuse(404)
        if not self.admitted():
            return None
        if self.path == "/v1/models":
            model = {"id": self.server.model, "object": "model", "created": 1, "owned_by": "vllm", "root": "/models/demo",
                     "max_model_len": self.server.context}  # fmt: skip
            return self.reply(200, {"object": "list", "data": [model]})
        return self.refuse(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = "\n".join(str(message.get("content")) for message in body.get("messages", ()))
        self.fault = self.server.found_fault(self.path, prompt)
        if self.path == "/tokenize":
            count = len(self.tokens_of(body)) if self.server.tokenize else 0
            return (
                self.reply(200, {"count": count, "max_model_len": self.server.context}) if count else self.refuse(404)
            )
        if not self.admitted():
            return None
        if self.path != "/v1/chat/completions":
            return self.refuse(404)
        with self.server.lock:
            self.server.asked.append(body)
            self.server.headers_seen.append(dict(self.headers))
        if self.fault.die:
            self.server.die()
            return self.hang_up()
        if self.fault.status or self.fault.html or self.fault.silent == "all":
            return self.misbehave()
        return self.chat(body, prompt)

    def chat(self, body, prompt):
        if body["model"] != self.server.model:
            return self.refuse(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
        read = self.tokens_of(body)
        if len(read) + body["max_tokens"] > self.server.context:
            return self.refuse(400, f"This model's maximum context length is {self.server.context} tokens. However, you "
                               f"requested {body['max_tokens']} output tokens and your prompt contains {len(read)}.")  # fmt: skip
        said = self.fault.said or respond(body, prompt)
        if self.fault.said is None and not said.thinking and self.server.thinking:
            said.thinking = "Let me see what is asked of me here."
        cached = self.server.cached(read)
        time.sleep((len(read) - cached) * self.server.prefill)
        if not body.get("stream"):
            return self.whole(body, said, len(read), cached)
        return self.stream(body, said, len(read), cached)

    def tokens_of(self, body):
        return tokens("".join(f"<|{m['role']}|>{m.get('content')}{json.dumps(m.get('tool_calls', ''))}" for m in body["messages"])
                      + json.dumps(body.get("tools", [])))  # fmt: skip

    # what a model's words are on the wire

    def pieces(self, said):
        """The deltas of an answer, a token each."""
        thinking, text = said.thinking, said.text
        if thinking and self.server.thinking == "tags":
            text = f"<think>{thinking}</think>\n\n{text}"
        elif thinking and self.server.thinking:
            yield from ({self.server.thinking: word} for word in tokens(thinking))
        yield from ({"content": word} for word in tokens(text))
        for index, (name, arguments) in enumerate(said.calls):
            head = {"index": index, "id": f"call-{next(self.server.numbers)}", "type": "function"}
            yield {"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]}
            for part in (arguments[i : i + 7] for i in range(0, len(arguments), 7)):
                yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}

    def finish(self, said):
        return said.finish or ("tool_calls" if said.calls else "stop")

    def used(self, read, written, cached):
        details = {"prompt_tokens_details": {"cached_tokens": cached}} if self.server.caching else {}
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written, **details}

    def whole(self, body, said, read, cached):
        deltas = list(self.pieces(said))
        time.sleep(len(deltas) * self.server.decode)
        message = {"role": "assistant", "content": "".join(d.get("content", "") for d in deltas) or None}
        name = self.server.thinking
        if said.thinking and name not in ("", "tags"):
            message[name] = said.thinking
        if said.calls:
            message["tool_calls"] = [
                {"id": f"call-{next(self.server.numbers)}", "type": "function", "function": {"name": n, "arguments": a}}
                for n, a in said.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.finish(said)}
        usage = (
            {} if self.fault.unused or not self.server.usage else {"usage": self.used(read, len(deltas) + 1, cached)}
        )
        self.reply(
            200,
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
                **usage,
            },
        )

    def stream(self, body, said, read, cached):
        fault = self.fault
        self.begin("text/event-stream")
        if fault.silent:
            self.hang(pings=fault.silent == "pings")
        if fault.endless:
            while True:
                self.chunk(b"data: " + b"x" * 65536)
        if fault.raw is not None:
            for value in fault.raw:
                self.event(value)
            return self.end()
        self.event(self.piece(body, {"role": "assistant", "content": ""}))
        number = 0
        for number, delta in enumerate(itertools.islice(self.pieces(said), body["max_tokens"]), 1):
            time.sleep(fault.drip or self.server.decode)
            self.event(self.piece(body, delta))
            if number == fault.stall:
                self.hang()
            if number == fault.cut:
                return self.hang_up()
            if number == fault.unfinished:
                return self.end()
            if number == fault.error:
                self.event(
                    {"error": {"message": "EngineCore died: out of memory", "type": "InternalServerError", "code": 500}}
                )
                return self.end()
            if number == fault.garbage:
                self.chunk(b"data: {oops\n\n")
                return self.end()
        cut = number == body["max_tokens"]
        self.event(self.piece(body, {}, "length" if cut else self.finish(said)))
        if body.get("stream_options", {}).get("include_usage") and self.server.usage and not fault.unused:
            usage = self.used(read, number + (not cut), cached)
            self.event(
                {
                    "id": "c",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": body["model"],
                    "choices": [],
                    "usage": usage,
                }
            )
        return self.end()

    def piece(self, body, delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": [choice]}

    # bytes

    def admitted(self):
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.refuse(401, f"Incorrect API key provided: {self.headers.get('Authorization')}", "AuthenticationError")
            return False
        return True

    def misbehave(self):
        if self.fault.silent:
            return self.hang()
        if self.fault.html:
            return self.send(200, b"<html><body>It works!</body></html>", "text/html")
        return self.reply(
            self.fault.status, self.fault.body or {"error": {"message": "told to fail", "code": self.fault.status}}
        )

    def refuse(self, status, message="not here", kind="BadRequestError"):
        self.reply(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def reply(self, status, value):
        self.send(status, json.dumps(value).encode(), "application/json")

    def send(self, status, data, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, value):
        self.chunk(f"data: {json.dumps(value)}\n\n".encode())

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self):
        if self.fault.unfinished is None:
            self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def hang(self, pings=False):
        """Say no more, until the client leaves or the server is stopped."""
        while not self.server.gone.wait(0.02):
            if pings:
                self.chunk(b": ping\n\n")
            self.connection.setblocking(False)
            try:
                left = self.connection.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                left = False
            self.connection.setblocking(True)
            if left:
                break
        raise ConnectionAbortedError

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.gone.set()
            server.shutdown()
            thread.join()
