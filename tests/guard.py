"""Keeps fast tests from touching the world: one audit hook, switched on around each of them.

Allowed without asking: this Python and the tools of its environment, connections to this machine, Unix sockets,
and writing anywhere but in the repository and in the user's home. A test that runs other programs names them:
``@pytest.mark.programs("git")``; where one is not installed the test is skipped, with the reason.
"""

import os
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HOME = Path.home()
CACHES = ("__pycache__", ".pytest_cache", ".hypothesis")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TouchedTheWorldError(AssertionError):
    """A fast test did what only an engine test may do."""


@dataclass
class Guard:
    """What the running test may do; ``active`` between its set-up and its end."""

    active: bool = False
    programs: frozenset[str] = frozenset()
    writable: tuple[str, ...] = field(default_factory=tuple)

    def __call__(self, event, arguments):
        """The audit hook: raising here stops the operation before it happens."""
        if not self.active:
            return
        if event == "open":
            self.check_open(*arguments)
        elif event == "socket.connect":
            self.check_address(arguments[1])
        elif event == "socket.getaddrinfo":
            self.check_host(arguments[0])
        elif event == "subprocess.Popen":
            self.check_program(arguments[0])
        elif event == "os.system":
            self.check_program("sh")

    def check_open(self, path, _mode, flags):
        if not flags & WRITING or isinstance(path, int):
            return
        place = os.path.abspath(os.fsdecode(path))
        if any(f"/{cache}/" in place for cache in CACHES) or place.startswith(self.writable):
            return
        if place.startswith((f"{REPO}/", f"{HOME}/")):
            raise TouchedTheWorldError(f"a fast test writes to {place}: use tmp_path")

    def check_address(self, address):
        if isinstance(address, tuple):  # else a path: AF_UNIX
            self.check_host(address[0])

    def check_host(self, host):
        name = host.decode() if isinstance(host, bytes) else host
        if name in (None, "", "localhost"):
            return
        try:
            local = ip_address(name).is_loopback
        except ValueError:
            local = False
        if not local:
            raise TouchedTheWorldError(f"a fast test reaches for {name}: serve what it needs on 127.0.0.1")

    def check_program(self, program):
        name = os.path.basename(os.fsdecode(program))
        ours = os.path.dirname(os.fsdecode(program)) == os.path.dirname(sys.executable)
        if not (ours or name.startswith("python") or name in self.programs):
            raise TouchedTheWorldError(
                f"a fast test runs {name}: mark it @pytest.mark.programs({name!r}), or make it an engine test"
            )


GUARD = Guard()
