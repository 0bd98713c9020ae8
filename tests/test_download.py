"""Downloads against a real server on loopback that cuts, lies, fails and stalls."""

import contextlib
import hashlib
import http.server
import socketserver
import threading
from typing import ClassVar

import pytest

from build import download, store
from build.download import Download
from build.errors import HashMismatchError, NetworkError, OfflineError, SpaceError

DATA = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves DATA; a path's words say what goes wrong: /cut/2/…: the first two answers are cut half-way."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self):
        kind, count = self.path.split("/")[1:3]
        earlier = sum(1 for path, _ in self.seen if path == self.path)
        self.seen.append((self.path, self.headers.get("Range", "")))
        troubled = earlier < int(count)
        if kind == "status" and troubled:
            self.send_error(503)
        elif kind == "missing":
            self.send_error(404)
        elif kind == "html":
            self.reply(200, b"<html>sign in</html>")
        elif kind == "wrong":
            self.reply(200, DATA[:-1] + b"x")
        elif kind == "norange":
            self.reply(200, DATA, cut=troubled)
        else:
            start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
            self.reply(206 if start else 200, DATA[start:], cut=kind == "cut" and troubled)

    def reply(self, status, body, *, cut=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
            self.connection.close()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def host():
    Handler.seen.clear()
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


SIZE = len(DATA)


def item(*urls, file="a.whl", sha256=SHA256, size=SIZE) -> Download:
    return Download(file=file, sha256=sha256, size=size, urls=urls)


def test_a_file_comes_in_once_and_is_never_fetched_again(tmp_path, host):
    told: list[int] = []
    wanted = [item(f"{host}/ok/0/a"), item(f"{host}/ok/0/a")]
    assert download.fetch(tmp_path, wanted, progress=told.append) == len(DATA)
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA
    assert sum(told) == len(DATA)
    assert download.fetch(tmp_path, wanted) == 0
    assert len(Handler.seen) == 1
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_cut_connection_is_resumed_where_it_stopped(tmp_path, host):
    download.fetch(tmp_path, [item(f"{host}/cut/2/a")])
    first, *later = (said for _, said in Handler.seen)
    offsets = [int(said.removeprefix("bytes=").removesuffix("-")) for said in later]
    assert first == ""
    assert len(offsets) == 2
    assert 0 < offsets[0] < offsets[1] < len(DATA)
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA


def test_a_download_that_never_ends_well_is_resumed_by_the_next_run(tmp_path, host):
    with pytest.raises(NetworkError, match=r"a\.whl") as caught:
        download.fetch(tmp_path, [item(f"{host}/cut/{download.TRIES}/a")])
    assert "cut" in caught.value.why or "IncompleteRead" in caught.value.why
    assert (tmp_path / "partial" / SHA256).stat().st_size > 0
    assert not store.has(tmp_path, SHA256, len(DATA))
    download.fetch(tmp_path, [item(f"{host}/ok/0/a")])
    assert Handler.seen[-1][1].startswith("bytes=")
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA


def test_a_server_without_ranges_is_read_from_the_start_again(tmp_path, host):
    download.fetch(tmp_path, [item(f"{host}/norange/1/a")])
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA


def test_a_failing_server_is_asked_again(tmp_path, host):
    download.fetch(tmp_path, [item(f"{host}/status/3/a")])
    assert len(Handler.seen) == 4


@pytest.mark.parametrize("bad", ["wrong", "html"])
def test_other_bytes_are_refused_and_removed(tmp_path, host, bad):
    with pytest.raises(HashMismatchError, match="other bytes") as caught:
        download.fetch(tmp_path, [item(f"{host}/{bad}/0/a")])
    assert SHA256 in caught.value.why or "instead of 3.1 MB" in caught.value.why
    assert not store.has(tmp_path, SHA256, len(DATA))
    assert list((tmp_path / "partial").iterdir()) == []


def test_the_next_place_is_tried_after_a_wrong_or_missing_one(tmp_path, host):
    download.fetch(tmp_path, [item(f"{host}/missing/0/a", f"{host}/wrong/0/a", f"{host}/ok/0/a")])
    assert store.has(tmp_path, SHA256, len(DATA))
    assert [path.split("/")[1] for path, _ in Handler.seen] == ["missing", "wrong", "ok"]


def test_a_missing_file_is_not_asked_for_twice(tmp_path, host):
    with pytest.raises(NetworkError, match="could not be had") as caught:
        download.fetch(tmp_path, [item(f"{host}/missing/0/a")])
    assert "404" in caught.value.why
    assert len(Handler.seen) == 1


def test_nobody_listens(tmp_path):
    with pytest.raises(NetworkError, match=r"a\.whl"):
        download.fetch(tmp_path, [item("http://127.0.0.1:9/a")])


def test_no_place_is_known(tmp_path):
    with pytest.raises(NetworkError, match=r"a\.whl") as caught:
        download.fetch(tmp_path, [item()])
    assert "no place" in caught.value.why


def test_offline_names_what_is_missing(tmp_path):
    with pytest.raises(OfflineError, match="--offline") as caught:
        download.fetch(tmp_path, [item("http://127.0.0.1:9/a")], offline=True)
    assert "a.whl" in caught.value.why


def test_space_is_checked_before_anything_is_asked_for(tmp_path, host):
    huge = item(f"{host}/ok/0/a", size=10**18)
    with pytest.raises(SpaceError, match="not enough disk space"):
        download.fetch(tmp_path, [huge])
    assert Handler.seen == []


def test_credentials_of_an_index_are_not_shown(tmp_path, host):
    url = f"{host}/missing/0/a".replace("http://", "http://user:secret@")
    with pytest.raises(NetworkError) as caught:
        download.fetch(tmp_path, [item(url)])
    assert "secret" not in str(caught.value)


def test_one_failure_stops_the_others(tmp_path, host):
    many = [item(f"{host}/missing/0/{n}", file=f"{n}.whl", sha256=f"{n:064x}") for n in range(50)]
    with pytest.raises(NetworkError):
        download.fetch(tmp_path, many)
    assert len(Handler.seen) < 50


def test_bytes_of_an_earlier_run_are_not_blamed_on_the_place(tmp_path, host):
    part = tmp_path / "partial" / SHA256
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1_000_000)
    download.fetch(tmp_path, [item(f"{host}/ok/0/a")])
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA
    assert [said for _, said in Handler.seen] == ["bytes=1000000-", ""]


def test_the_ca_bundle_of_the_other_tools_is_used(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/some/bundle.crt")
    assert download._session().verify == "/some/bundle.crt"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/other.crt")
    assert download._session().verify is True  # requests reads that one itself
