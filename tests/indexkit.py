"""A Python index on 127.0.0.1: real pages (PEP 503, PEP 691 with PEP 700), wheels made on the fly, faults on demand."""

import contextlib
import hashlib
import html
import http.server
import io
import json
import socketserver
import threading
import zipfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

JSON = "application/vnd.pypi.simple.v1+json"
LONG_AGO = "2026-01-01T00:00:00Z"


@dataclass
class File:
    """A file of the index. ``metadata``: its METADATA, for what serves that alone (PEP 658)."""

    name: str
    data: bytes
    uploaded: str | None
    metadata: bytes

    @property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()


def wheel(name, version, *, requires=(), headers=(), files=None, tags="py3-none-any", compression=zipfile.ZIP_DEFLATED):
    """A wheel's file name, bytes and METADATA. ``headers``: further lines of METADATA."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = [
        "Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers,
        *(f"Requires-Dist: {text}" for text in requires),
    ]  # fmt: skip
    metadata = ("\n".join(lines) + "\n\nA long description.\n").encode()
    kind = "\n".join(["Wheel-Version: 1.0", "Root-Is-Purelib: true", *(f"Tag: {tag}" for tag in _single(tags)), ""])
    content = {
        **(files or {f"{name.replace('-', '_')}.py": b"x = 1\n"}),
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": kind.encode(),
    }
    rows = [f"{path},{_record_hash(data)},{len(data)}" for path, data in content.items()]
    content[f"{stem}.dist-info/RECORD"] = "\n".join([*rows, f"{stem}.dist-info/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path), data, compression)
    return f"{stem}-{tags}.whl", out.getvalue(), metadata


def _single(tags):
    python, abi, platforms = tags.split("-")
    return [f"{python}-{abi}-{platform}" for platform in platforms.split(".")]


def _record_hash(data):
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass
class Index:
    """What the index holds, how it speaks, what is wrong with it, and what it was asked.

    ``fault``, of the projects' pages, and ``file_fault``: an HTTP status, ``"hang"``, ``"login"`` (an HTML page with
    status 200 that is neither) or ``"cut"``.
    """

    files: dict[str, list[File]] = field(default_factory=dict)
    speaks_json: bool = True
    tells_size: bool = True
    tells_time: bool = True
    serves_metadata: bool = False
    serves_ranges: bool = True
    fault: str = ""
    file_fault: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def add(self, name, version, *, uploaded=LONG_AGO, **more):
        """Put a wheel on the index; its file there."""
        file, data, metadata = wheel(name, version, **more)
        kept = File(name=file, data=data, uploaded=uploaded, metadata=metadata)
        self.files.setdefault(name, []).append(kept)
        return kept

    def address(self, file):
        """Where a file is, for who does not come from a page."""
        return f"{self.url.removesuffix('/simple')}/files/{file.name}"

    def page(self, name):
        """A project's page: its media type and bytes."""
        if not self.speaks_json:
            return "text/html", "".join(["<!DOCTYPE html><html><body>", *map(self._anchor, self.files[name])]).encode()
        rows = []
        for item in self.files[name]:
            row = {"filename": item.name, "url": f"../../files/{item.name}", "hashes": {"sha256": item.sha256}}
            row |= {"size": len(item.data)} if self.tells_size else {}
            row |= {"upload-time": item.uploaded} if self.tells_time and item.uploaded else {}
            row |= {"core-metadata": True} if self.serves_metadata else {}
            rows.append(row)
        return JSON, json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": rows}).encode()

    def _anchor(self, item):
        more = ' data-core-metadata="true"' if self.serves_metadata else ""
        address = html.escape(f"../../files/{item.name}#sha256={item.sha256}")
        return f'<a href="{address}"{more}>{html.escape(item.name)}</a><br>'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: Index

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        index = self.index
        index.asked.append((self.path, self.headers.get("Range", "")))
        kind, _, name = self.path.strip("/").partition("/")
        if fault := index.fault if kind == "simple" else index.file_fault:
            return self._fail(fault)
        if kind == "simple" and name in index.files:
            return self._reply(200, *reversed(index.page(name)))
        files = {item.name: item for group in index.files.values() for item in group}
        if kind == "files" and name in files:
            return self._file(files[name].data)
        if kind == "files" and index.serves_metadata and name.removesuffix(".metadata") in files:
            return self._reply(200, files[name.removesuffix(".metadata")].metadata)
        return self._reply(404, b"nothing here")

    def _file(self, data):
        asked = self.headers.get("Range", "")
        if not (asked and self.index.serves_ranges):
            return self._reply(200, data)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        if start >= len(data):
            return self._reply(416, b"")
        span = f"bytes {start}-{end}/{len(data)}"
        return self._reply(206, data[start : end + 1], headers={"Content-Range": span})

    def _fail(self, fault):
        if fault == "hang":
            self.index.closing.wait()
            self.close_connection = True
        elif fault == "login":
            self._reply(200, b"<html><body><form>Please sign in</form></body></html>", "text/html")
        elif fault == "cut":
            self._reply(200, b'{"meta": {"api-version": "1.1"}, "name', JSON, promised=5000)
        else:
            self._reply(int(fault), b"trouble")

    def _reply(self, status, body, kind="application/octet-stream", *, headers=None, promised=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(promised or len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if self.index.serves_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if promised:
            self.close_connection = True

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *args):
        pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@contextlib.contextmanager
def serve(tls=None):
    """An empty index that answers on 127.0.0.1 until the block ends. ``tls``: an ``ssl.SSLContext``."""
    index = Index()
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index})) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        index.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/simple"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield index
        finally:
            index.closing.set()
            server.shutdown()
            thread.join()


def environment(index, folder):
    """What points uv at the index: nothing of the user's own settings, a cache of its own, no patience."""
    return {
        "UV_DEFAULT_INDEX": index.url,
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_HTTP_TIMEOUT": "1",
        "UV_HTTP_CONNECT_TIMEOUT": "1",
        "UV_HTTP_RETRIES": "0",
    }
