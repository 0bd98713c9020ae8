"""An engine on another machine, reached as Docker does it: ``ssh HOST docker system dial-stdio``.

The user's own ``ssh`` is run, with its configuration, keys and agent; it asks for a passphrase on the terminal, if it
must. Each connection to a Unix socket here is one to the engine there: the program gets the connection as its standard
input and output. (The Docker SDK has this too, and loads paramiko for it, which we have no other need of.)
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from build import proc
from build.errors import UsageError

SCHEME = "ssh://"
CONNECT_SECONDS = 10
END_SECONDS = 5
USERS = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY")


@dataclass(kw_only=True)
class Tunnel:
    """A way to an engine: ``url`` is that of a Unix socket of ours; :meth:`said` what ssh complained of."""

    url: str
    log: Path
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def said(self) -> str:
        """The last line that ssh wrote, where it failed; empty where it did not."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def command(url: str) -> list[str]:
    """The argument list for ``ssh://[USER@]HOST[:PORT][/SOCKET]``, as the Docker CLI reads such a URL.

    >>> command("ssh://spark@worker:2222")[3:]
    ['-l', 'spark', '-p', '2222', '--', 'worker', 'docker system dial-stdio']
    >>> command("ssh://worker/run/user/1000/docker.sock")[-1]
    'docker --host unix:///run/user/1000/docker.sock system dial-stdio'
    """
    where, slash, path = url.removeprefix(SCHEME).partition("/")
    user, _, place = where.rpartition("@")
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    host = host if colon else place
    if not host or ":" in user or (colon and not port.isdecimal()):
        raise UsageError(
            f"{proc.quote([url])} names no machine",
            why="that is ssh://[USER@]HOST[:PORT][/SOCKET]; a password has no place in it",
            todo="what else ssh is to know goes into ~/.ssh/config",
        )
    argv = ["ssh", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    argv += ["-l", user] if user else []
    argv += ["-p", port] if colon else []
    there = ["docker", *(["--host", f"unix:///{path}"] if slash and path else []), "system", "dial-stdio"]
    return [*argv, "--", host.strip("[]"), shlex.join(there)]  # the shell over there splits it again


@contextlib.contextmanager
def opened(url: str) -> Iterator[Tunnel]:
    """A tunnel to the engine at an ``ssh://`` URL; ssh is first run by who connects to it."""
    argv = command(url)
    with tempfile.TemporaryDirectory(prefix="spark-ssh-") as name, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(name)  # of mode 0700: nobody else comes in
        listener.bind(str(folder / "docker.sock"))
        listener.listen()
        tunnel = Tunnel(url=f"unix://{folder}/docker.sock", log=folder / "ssh.log")
        with open(tunnel.log, "wb") as log:
            thread = threading.Thread(target=_accept, args=(listener, argv, log, tunnel), daemon=True)
            thread.start()
            try:
                yield tunnel
            finally:
                listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever
                thread.join()
                _end(tunnel)


def _accept(listener: socket.socket, argv: list[str], log: IO[bytes], tunnel: Tunnel) -> None:
    environment = proc.base_env({name: os.environ[name] for name in USERS if name in os.environ})
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                end = connection.fileno()
                child = subprocess.Popen(argv, stdin=end, stdout=end, stderr=log, env=environment)
            except OSError as error:
                log.write(f"ssh cannot be run: {error.strerror}\n".encode())
                log.flush()
            else:
                tunnel.children.append(child)


def _end(tunnel: Tunnel) -> None:
    """They end by themselves when their connection is closed; who does not is ended."""
    for child in tunnel.children:
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
