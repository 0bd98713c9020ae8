"""A stand-in for vLLM's program in a container: says what vLLM says while it starts, then answers as its API server does.

The variable STAND_IN is JSON; seconds are counted from its start: shards (how many it "loads", one each ``pace``), ready
(when it answers; null: never), crash ([seconds, exit code]), hang (when it stops to answer), drain (seconds that SIGTERM
takes), quiet (true: it says nothing), name (of the model that it serves; default: as it was told).
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOW = json.loads(os.environ.get("STAND_IN", "{}"))
START = time.monotonic()


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def say(text):
    if not HOW.get("quiet"):
        print(text, file=sys.stderr, flush=True)


def at(seconds):
    time.sleep(max(0.0, START + seconds - time.monotonic()))


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        if HOW.get("hang") is not None and time.monotonic() - START > HOW["hang"]:
            time.sleep(3600)
        key = os.environ.get("VLLM_API_KEY")
        if self.path.startswith("/v1") and key and self.headers.get("Authorization") != f"Bearer {key}":
            return self.answer(401, {"error": "Unauthorized"})
        if self.path == "/health":
            return self.answer(200, {})
        if self.path == "/v1/models":
            return self.answer(200, {"data": [{"id": HOW.get("name") or option("--served-model-name")}]})
        if self.path == "/v1/seen":  # for tests: what the container is like from inside
            return self.answer(200, seen())
        return self.answer(404, {})

    def answer(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def seen():
    return {
        "argv": sys.argv[1:], "environment": dict(os.environ), "uid": os.getuid(), "model": sorted(os.listdir(sys.argv[2])),
        "may": {path: may(path) for path in ("/", sys.argv[2], "/cache", "/tmp", "/dev/shm", "/home/spark")},
        "status": open("/proc/self/status").read(), "limits": open("/proc/self/limits").read(),
    }  # fmt: skip


def may(folder):
    try:
        with open(os.path.join(folder, ".probe"), "w") as stream:
            stream.write("x")
        os.unlink(os.path.join(folder, ".probe"))
    except OSError as error:
        return error.strerror
    return "write"


def load():
    say(f"INFO 01-01 00:00:00 [gpu_model_runner.py:1] Starting to load model {sys.argv[2]}...")
    shards = HOW.get("shards", 0)
    for done in range(1, shards + 1):
        time.sleep(HOW.get("pace", 0))
        say(
            f"Loading safetensors checkpoint shards: {100 * done // shards:3}% Completed | {done}/{shards} [00:01<00:01,  1.00it/s]"
        )
    if shards:
        say("INFO 01-01 00:00:00 [default_loader.py:1] Loading weights took 1.00 seconds")


def serve():
    load()
    if "ready" in HOW and HOW["ready"] is None:
        return
    at(HOW.get("ready", 0))
    say("INFO 01-01 00:00:00 [api_server.py:1] Starting vLLM server on http://0.0.0.0")
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Api).serve_forever()


def main():
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    threading.Thread(target=serve, daemon=True).start()
    if HOW.get("crash"):
        seconds, code = HOW["crash"]
        at(seconds)
        say("RuntimeError: CUDA error: out of memory")
        os._exit(code)
    signal.sigwait(ends)
    time.sleep(HOW.get("drain", 0))
    os._exit(0)


if __name__ == "__main__":
    main()
