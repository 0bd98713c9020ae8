"""A small signed Debian archive in a folder, and a server of it on loopback that can be told to misbehave."""

import contextlib
import email.utils
import hashlib
import http.server
import lzma
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from build.apt import stanzas
from build.models import Deb, DebSet
from tests.debkit import EPOCH, deb_bytes, file

DAY = 86_400
DATE = 1_790_000_000 - 1_790_000_000 % DAY  # of a Release file, where a test names no other: 2026-09-21


def date_text(seconds):
    return email.utils.formatdate(seconds, usegmt=True).replace("GMT", "UTC")


def snapshot_id(seconds):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


@dataclass(frozen=True)
class Key:
    """A key of our own; ``keyring`` is what apt is given."""

    home: Path
    keyring: Path

    def gpg(self, *arguments):
        run = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", *arguments]
        subprocess.run(run, check=True, capture_output=True)

    def clearsign(self, text, target):
        plain = target.with_name("Release")
        plain.write_text(text)
        self.gpg("--output", str(target), "--clearsign", str(plain))
        plain.unlink()


@contextlib.contextmanager
def new_key(folder):
    folder.mkdir(mode=0o700)
    key = Key(folder, folder / "keyring.gpg")
    key.gpg("--passphrase", "", "--quick-generate-key", "test@test.example", "ed25519")
    key.gpg("--output", str(key.keyring), "--export")
    try:
        yield key
    finally:
        subprocess.run(["gpgconf", "--homedir", str(folder), "--kill", "all"], check=False, capture_output=True)


@dataclass
class Archive:
    """The packages of one suite and architecture; ``publish`` writes what apt reads."""

    root: Path
    key: Key | None = None
    records: dict[str, str] = field(default_factory=dict)

    def add(self, name, version="1.0-1", *, content="", **fields):
        """A package (in place of one of that name); fields as in its control file."""
        fields = {"Package": name, "Version": version, "Architecture": "arm64", **fields, "Description": "a thing"}
        control = "".join(f"{key}: {value}\n" for key, value in fields.items())
        data = deb_bytes([file("file", content or f"{name} {version}")], control=control)
        path = f"pool/main/{name}_{version}_arm64.deb"
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        place = {"Filename": path, "Size": len(data), "SHA256": hashlib.sha256(data).hexdigest()}
        self.records[name] = control + "".join(f"{key}: {value}\n" for key, value in place.items())
        return target

    def locked(self, released=DATE):
        """All its packages, as a lock names them."""
        records = [stanzas(text)[0] for text in self.records.values()]
        debs = (
            Deb(
                file=os.path.basename(record["Filename"]),
                sha256=record["SHA256"],
                size=int(record["Size"]),
                name=record["Package"],
                version=record["Version"],
                arch=record["Architecture"],
                path=record["Filename"],
            )
            for record in records
        )
        return DebSet(root="tiny", suite="trixie", arch="arm64", epoch=EPOCH, released=released, debs=tuple(debs))

    def publish(self, date=DATE, **fields):
        """Sign what was added, as of ``date``; ``fields`` come into the Release file."""
        folder = self.root / "dists/trixie"
        lists = folder / "main/binary-arm64"
        lists.mkdir(parents=True, exist_ok=True)
        plain = "\n".join(self.records.values()).encode()
        (lists / "Packages.xz").write_bytes(lzma.compress(plain))
        sums = {"main/binary-arm64/Packages": plain, "main/binary-arm64/Packages.xz": lzma.compress(plain)}
        release = {
            "Origin": "Test",
            "Suite": "stable",
            "Codename": "trixie",
            "Date": date_text(date),
            "Architectures": "arm64",
            "Components": "main",
            **{name.replace("_", "-"): value for name, value in fields.items()},
            "SHA256": "",
        }
        text = "".join(f"{key}: {value}\n" for key, value in release.items())
        text += "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in sums.items())
        self.key.clearsign(text, folder / "InRelease")
        os.utime(folder / "InRelease", (date, date))  # what the server says of it, and apt asks by


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, but for what ``server.faults`` says: (part of a path) → a status, bytes to send, "hang", "trickle".

    Below ``/archive/debian/<time>/`` an instant between two snapshots redirects to the earlier one.
    """

    def do_GET(self):
        self.server.asked.append(self.path)
        fault = next((what for part, what in self.server.faults.items() if part in self.path), None)
        if fault == "hang":
            self.server.ended.wait(60)
        elif fault == "trickle":
            self.trickle()
        elif isinstance(fault, int):
            self.send_error(fault)
        elif isinstance(fault, bytes):
            self.reply(fault)
        elif not self.redirected():
            super().do_GET()

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def trickle(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.ended.wait(0.1):
                self.wfile.write(b"x")

    def redirected(self):
        parts = self.path.split("/")
        if parts[1:3] != ["archive", "debian"]:
            return False
        known = sorted(os.listdir(f"{self.directory}/archive/debian"))
        earlier = [name for name in known if name <= parts[3]]
        if parts[3] in known or not earlier:
            return False
        self.send_response(302)
        self.send_header("Location", "/".join([*parts[:3], earlier[-1], *parts[4:]]))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    """``asked``: the paths, in order."""

    def __init__(self, root):
        super().__init__(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(root)))
        self.asked, self.faults, self.ended = [], {}, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


@contextlib.contextmanager
def serve(root):
    with Server(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
