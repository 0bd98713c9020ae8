"""A small world to serve in: a venv with a stand-in vLLM, a faked meminfo, a model folder, and the real entry point."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

IMAGE = Path(__file__).parents[1] / "dockerfiles" / "image"
STAND_IN = Path(__file__).with_name("standin_vllm.py")
PROFILES = Path(__file__).parents[1] / "lock" / "profiles"
MILLION = 1_000_000  # kB that a world has to begin with
PATIENCE_SECONDS = 20

# The entry point with a clock that runs twenty times as fast; everything else is as it is in the image.
DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from serve import probe, story, watchdog
watchdog.TICK = watchdog.STARTING_EVERY = watchdog.SERVING_EVERY = float(sys.argv[2])
watchdog.LEFTOVERS = probe.PATIENCE = 0.5
story.CACHE = sys.argv[3]
sys.exit(story.main(sys.argv[4:]))
"""

PROFILE = """
schema = 1
name = "small"
summary = "for tests"
targets = ["tiny"]
environment = { VLLM_KNOWN = "1", VLLM_OF_THE_FORK = "1", VLLM_IN_A_KERNEL = "0" }

[model]
repo = "a/b"
revision = "0123456789012345678901234567890123456789"
served-name = "small"
bytes = 1000
type = "deepseek_v4"
routed-experts = 8

[serve]
context = 1000
kv-cache-memory = "1G"
kv-cache-dtype = "fp8"
batched-tokens = 100
sequences = 1
gpu-memory-utilization = "0.5"
block-size = 256
thinking = true
speculative = ""
tokenizer-mode = "deepseek_v4"
reasoning-parser = "deepseek_v4"
tool-call-parser = "deepseek_v4"
auto-tool-choice = true
prefix-caching = true
cudagraph-mode = "FULL_AND_PIECEWISE"
optional = []

[watchdog]
min-available-kb = 100000
critical-kb = 10000
patience-seconds = 2
drain-seconds = 1
history-seconds = 20
"""

# A vLLM as far as it is asked for its options: a parser, the lists of names, the table of variables.
PACKAGE = {
    "__init__.py": '__version__ = "9.9"\n',
    "envs.py": 'environment_variables: dict = {\n    "VLLM_KNOWN": lambda: 1,\n    "MAX_JOBS": lambda: 2,\n}\n',
    "kernels.py": 'import os\nSPARSE = os.getenv("VLLM_IN_A_KERNEL")\n',
    "platforms.py": 'class P:\n    device_type = "cuda"\ncurrent_platform = P()\n',
    "utils/__init__.py": "",
    "utils/argparse_utils.py": "import argparse\nclass FlexibleArgumentParser(argparse.ArgumentParser):\n    pass\n",
    "entrypoints/__init__.py": "",
    "entrypoints/launchers/__init__.py": "",
    "entrypoints/launchers/cli_args.py": """
import json
def make_arg_parser(parser):
    parser.add_argument("model_tag", nargs="?")
    for name in ("served-model-name", "host", "kv-cache-memory-bytes", "gpu-memory-utilization", "tokenizer-mode",
                 "reasoning-parser", "tool-call-parser", "ssl-certfile", "seed"):
        parser.add_argument(f"--{name}")
    for name in ("port", "max-model-len", "max-num-seqs", "max-num-batched-tokens", "block-size"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--kv-cache-dtype", choices=["auto", "fp8"])
    parser.add_argument("--enable-prefix-caching", "--no-enable-prefix-caching", action="store_true")
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    for name in ("compilation-config", "default-chat-template-kwargs", "reasoning-config", "speculative-config"):
        parser.add_argument(f"--{name}", type=json.loads)
    return parser
""",
    "tool_parsers.py": "class ToolParserManager:\n    @staticmethod\n    def list_registered():\n        return ['deepseek_v4']\n",
    "reasoning.py": "class ReasoningParserManager:\n    @staticmethod\n    def list_registered():\n        return ['deepseek_v4', 'qwen3']\n",
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def write_meminfo(path, kb):
    """The file in place, in one write, as a reader with an open descriptor sees it."""
    text = f"MemTotal:       131072000 kB\nMemFree:        {kb:>12} kB\nMemAvailable:   {kb:>12} kB\nBuffers: 1 kB\n"
    with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as stream:
        stream.write(text.encode())


def write_package(site, package=None):
    for name, text in {**PACKAGE, **(package or {})}.items():
        (site / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (site / "vllm" / name).write_text(text)


def write_model(folder, **config):
    folder.mkdir(exist_ok=True)
    told = {"model_type": "deepseek_v4", "n_routed_experts": 8, "num_hash_layers": 3, "num_hidden_layers": 43, **config}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"weights")


class World:
    """``run`` and ``start`` are the entry point; ``behave`` says what the stand-in does."""

    def __init__(self, folder):
        self.folder = folder
        self.model, self.meminfo, self.log = folder / "model", folder / "meminfo", folder / "vllm.log"
        self.profile, self.health, self.cache = folder / "small.toml", folder / "health", folder / "cache"
        self.profile.write_text(PROFILE)
        self.port = free_port()
        self.cache.mkdir()
        write_meminfo(self.meminfo, MILLION)
        write_model(self.model)
        venv = folder / "venv"
        (venv / "bin").mkdir(parents=True)
        base = Path(sys._base_executable).resolve()
        (venv / "bin" / "python").symlink_to(base)
        (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\nversion = {sys.version.split()[0]}\n")
        self.site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        write_package(self.site)
        program = venv / "bin" / "vllm"
        program.write_text(f"#!{base}\n{STAND_IN.read_text()}")
        program.chmod(0o755)
        self.manifest = folder / "manifest.json"
        self.manifest.write_text(json.dumps({"chain_id": "c0ffee"}))
        self.groups = folder / "cgroups"
        self.groups.mkdir()
        self.membership = folder / "membership"
        self.membership.write_text("0::/\n")
        self.behaviour = {}

    def behave(self, **how):
        """See :file:`standin_vllm.py`."""
        self.behaviour |= how

    def change(self, **values):
        """Other values in the profile, by their key with underscores."""
        text = self.profile.read_text()
        for name, value in values.items():
            key = name.replace("_", "-")
            lines = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in text.splitlines()]
            text = "\n".join(lines) + "\n"
        self.profile.write_text(text)

    @property
    def environment(self):
        return {
            "PATH": f"{self.folder / 'venv' / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder),
            "STAND_IN": json.dumps({"log": str(self.log), "meminfo": str(self.meminfo), **self.behaviour}),
            "SPARK_MEMINFO": str(self.meminfo), "SPARK_HEALTH": str(self.health),
            "SPARK_MANIFEST": str(self.manifest), "SPARK_CGROUPS": str(self.groups),
            "SPARK_MEMBERSHIP": str(self.membership),
        }  # fmt: skip

    def command(self, *more, tick=0.05):
        return [
            sys.executable, "-I", "-B", "-c", DRIVER, str(IMAGE), str(tick), str(self.cache),
            "--profile", str(self.profile), "--model", str(self.model), "--port", str(self.port), *more,
        ]  # fmt: skip

    def run(self, *more, **environment):
        """The whole thing to its end: exit status, standard output, standard error."""
        done = subprocess.run(
            self.command(*more), env={**self.environment, **environment}, capture_output=True, text=True, timeout=60,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def start(self, *more, tick=0.05, **environment):
        """It runs while the block does; what is left is killed."""
        said = open(self.folder / "said", "w")  # noqa: SIM115 - closed below
        process = subprocess.Popen(
            self.command(*more, tick=tick), env={**self.environment, **environment}, stdout=said, stderr=said,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        running = Running(self, process, self.folder / "said")
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            said.close()
            for pid in running.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Said:
    """What was printed, as events."""

    @property
    def events(self):
        return [json.loads(line) for line in self.err.splitlines() if line.startswith('{"spark"')]

    @property
    def names(self):
        return [event["event"] for event in self.events]

    def event(self, name):
        return next(event for event in self.events if event["event"] == name)


class Ended(Said):
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


class Running(Said):
    def __init__(self, world, process, said):
        self.world, self.process, self.place = world, process, said

    @property
    def err(self):
        return self.place.read_text()

    def until(self, condition, what=""):
        """Wait for it; fails with what was said."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what or 'it'} never came:\n{self.err}"
            time.sleep(0.02)

    def until_said(self, name, count=1):
        self.until(lambda: self.names.count(name) >= count, name)

    def logged(self):
        return [json.loads(line) for line in self.world.log.read_text().splitlines()] if self.world.log.exists() else []

    def until_logged(self, what):
        self.until(lambda: any(what in entry for entry in self.logged()), what)

    def pids(self):
        return [entry["pid"] for entry in self.logged() if "pid" in entry]

    def memory(self, kb):
        write_meminfo(self.world.meminfo, kb)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        return self.process.wait(PATIENCE_SECONDS)

    def health(self):
        """What ``health`` answers: exit status and text."""
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", str(IMAGE / "serve"), "health"],
            env=self.world.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.strip()


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
