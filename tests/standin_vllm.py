"""A stand-in for ``vllm serve``: takes its command line, answers GET /health, and behaves as the variable STAND_IN says.

Keys, seconds counted from its start: log (a file of JSON lines), meminfo (the file to "eat memory" in), ready (when it
opens its port; never: null), eat ([[seconds, kB available], …]), hang (when it stops answering), crash ([seconds, exit
code]; a negative code is a signal), ignore (true: SIGTERM has no effect), drain (seconds that SIGTERM takes), free
([[seconds, kB], …] after SIGTERM), code (what it ends with then), orphans (processes that outlive it, in sessions of
their own, deaf to SIGTERM), children (such that end by themselves at once: zombies, unless somebody reaps), allocate
([seconds, bytes a second], memory that is really taken).
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

HOW = json.loads(os.environ.get("STAND_IN", "{}"))
START = time.monotonic()


def log(**entry):
    if HOW.get("log"):
        with open(HOW["log"], "a") as stream:
            stream.write(json.dumps(entry) + "\n")


def available(kb):
    text = f"MemTotal:       131072000 kB\nMemFree:        {kb:>12} kB\nMemAvailable:   {kb:>12} kB\nBuffers: 1 kB\n"
    with open(HOW["meminfo"], "r+b", buffering=0) as stream:
        stream.write(text.encode())


def at(seconds, since=None):
    time.sleep(max(0.0, (since or START) + seconds - time.monotonic()))


def later(plan, since):
    for seconds, kb in plan:
        at(seconds, since)
        available(kb)


def background(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        hang = HOW.get("hang")
        if hang is not None and time.monotonic() - START > hang:
            time.sleep(3600)
        if self.path != "/health":
            self.send_error(404)
            return
        self.send_response(int(HOW.get("status", 200)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(port):
    at(HOW.get("ready") or 0)
    server = HTTPServer(("127.0.0.1", port), Health)
    log(listening=port)
    server.serve_forever()


def fork(count, end):
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if not end:
                time.sleep(600)
            os._exit(0)
        if not end:
            log(pid=pid, orphan=True)


def orphan():
    """Fork from a process in between that ends at once, so that whoever adopts orphans gets them."""
    middle = os.fork()
    if middle == 0:
        fork(HOW.get("orphans", 0), end=False)
        fork(HOW.get("children", 0), end=True)
        os._exit(0)
    os.waitpid(middle, 0)


TAKEN = []


def allocate(seconds, rate):
    at(seconds)
    while True:
        TAKEN.append(b"\x01" * (rate // 5))
        time.sleep(0.2)


def crash(code):
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(60)  # it comes, if not to this thread
    os._exit(code)


def terminated(number):
    log(signal=signal.Signals(number).name)
    if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        return
    if HOW.get("ignore"):
        return
    background(later, HOW.get("free", []), time.monotonic())
    time.sleep(HOW.get("drain", 0))
    os._exit(HOW.get("code", 0))


def main():
    names = ("PATH", "VLLM_KNOWN", "VLLM_OF_THE_FORK", "VLLM_IN_A_KERNEL", "TRITON_CACHE_DIR", "LC_CTYPE")
    log(
        pid=os.getpid(), arguments=sys.argv[1:], environment={name: os.environ.get(name) for name in names},
        ignored=[s.name for s in signal.Signals if s not in (9, 19) and signal.getsignal(s) is signal.SIG_IGN],
        blocked=sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), session=os.getsid(0),
        oom=Path("/proc/self/oom_score_adj").read_text().strip(), descriptors=sorted(os.listdir("/proc/self/fd")),
    )  # fmt: skip
    waited = {
        signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    }  # fmt: skip
    orphan()
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    if HOW.get("ready", 0) is not None:
        background(serve, int(sys.argv[sys.argv.index("--port") + 1]))
    background(later, HOW.get("eat", []), START)
    if HOW.get("crash"):
        seconds, code = HOW["crash"]
        background(lambda: (at(seconds), crash(code)))
    if HOW.get("allocate"):
        background(allocate, *HOW["allocate"])
    while True:
        terminated(signal.sigwait(waited))


if __name__ == "__main__":
    main()
