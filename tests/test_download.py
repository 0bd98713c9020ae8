"""Downloads against a real server on loopback that cuts, lies, fails and stalls."""

import contextlib
import hashlib
import http.server
import os
import socketserver
import threading
from typing import ClassVar

import pytest

from build import download, receive, store
from build.download import Download
from build.errors import GoneError, HashMismatchError, NetworkError, OfflineError, SpaceError

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
    monkeypatch.setattr(receive, "BACKOFF_SECONDS", 0.001)
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
        download.fetch(tmp_path, [item(f"{host}/cut/{receive.TRIES}/a")])
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


def test_a_file_that_is_gone_is_not_asked_for_twice(tmp_path, host):
    with pytest.raises(GoneError, match="gone from every place") as caught:
        download.fetch(tmp_path, [item(f"{host}/missing/0/a", f"{host}/missing/0/b")])
    assert caught.value.why == "a.whl"
    assert len(Handler.seen) == 2


def test_what_is_gone_is_told_together_when_all_else_is_there(tmp_path, host):
    gone = [
        Download(file=f"{n}.deb", sha256=f"{n:064x}", size=9, urls=(f"{host}/missing/0/{n}",), gone="ask a snapshot")
        for n in range(12)
    ]
    with pytest.raises(GoneError, match="12 locked files") as caught:
        download.fetch(tmp_path, [*gone, item(f"{host}/ok/0/a")])
    assert all(one.file in caught.value.why for one in gone)
    assert caught.value.todo == "ask a snapshot"
    assert store.has(tmp_path, SHA256, SIZE)


def test_a_place_that_fails_otherwise_makes_a_file_missing_not_gone(tmp_path, host):
    with pytest.raises(NetworkError, match="could not be had") as caught:
        download.fetch(tmp_path, [item(f"{host}/missing/0/a", "http://127.0.0.1:9/a")])
    assert not isinstance(caught.value, GoneError)
    assert "404" in caught.value.why


def test_a_body_without_end_is_not_written_to_the_disk(tmp_path, host):
    with pytest.raises(HashMismatchError):
        download.fetch(tmp_path, [item(f"{host}/ok/0/a", size=1000)])
    assert not list((tmp_path / "partial").iterdir())


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
    many = [item(f"{host}/html/0/{n}", file=f"{n}.whl", sha256=f"{n:064x}") for n in range(50)]
    with pytest.raises(HashMismatchError):
        download.fetch(tmp_path, many)
    assert len(Handler.seen) < 50


def test_bytes_of_an_earlier_run_are_not_blamed_on_the_place(tmp_path, host):
    part = tmp_path / "partial" / SHA256
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1_000_000)
    download.fetch(tmp_path, [item(f"{host}/ok/0/a")])
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA
    assert [said for _, said in Handler.seen] == ["bytes=1000000-", ""]


def test_bytes_of_an_earlier_run_are_started_anew_even_at_the_last_try(tmp_path, host):
    part = tmp_path / "partial" / SHA256
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1_000_000)
    download.fetch(tmp_path, [item(f"{host}/status/4/a")])
    assert store.blob(tmp_path, SHA256).read_bytes() == DATA


def test_the_ca_bundle_of_the_other_tools_is_used(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/some/bundle.crt")
    assert receive.session(8).verify == "/some/bundle.crt"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/other.crt")
    assert receive.session(8).verify is True  # requests reads that one itself


def folder_with(folder, data: bytes, sha256: str = SHA256):
    """An exported folder that has ``data`` under the name of the locked file."""
    place = store.blob(folder, sha256)
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    return folder


def test_an_exported_folder_is_taken_first_and_by_copy(tmp_path, host):
    told: list[int] = []
    folder = folder_with(tmp_path / "stick", DATA)
    root = tmp_path / "store"
    assert download.fetch(root, [item(f"{host}/ok/0/a")], folders=[folder], offline=True, progress=told.append) == SIZE
    assert Handler.seen == []
    assert sum(told) == SIZE
    store.blob(folder, SHA256).write_bytes(b"an edit of the folder")
    assert store.blob(root, SHA256).read_bytes() == DATA


BAD = {"truncated": DATA[:-1], "altered": DATA[:-1] + b"x", "swapped": b"another file", "empty": b""}


@pytest.mark.parametrize("kind", BAD)
def test_wrong_bytes_in_a_folder_are_refused_by_name_and_the_network_is_asked(tmp_path, host, capsys, kind):
    folder = folder_with(tmp_path / "stick", BAD[kind])
    root = tmp_path / "store"
    download.fetch(root, [item(f"{host}/ok/0/a")], folders=[folder])
    assert store.blob(root, SHA256).read_bytes() == DATA
    assert len(Handler.seen) == 1
    said = capsys.readouterr().err
    assert f"a.whl is not taken from {store.blob(folder, SHA256)}" in said


@pytest.mark.parametrize("kind", BAD)
def test_wrong_bytes_in_a_folder_are_a_mismatch_without_a_network(tmp_path, kind):
    folder = folder_with(tmp_path / "stick", BAD[kind])
    with pytest.raises(HashMismatchError, match="exported") as caught:
        download.fetch(tmp_path / "store", [item()], folders=[folder], offline=True)
    assert "a.whl" in caught.value.why
    assert not store.has(tmp_path / "store", SHA256, SIZE)
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_a_link_or_a_pipe_in_a_folder_is_no_file(tmp_path, capsys):
    (tmp_path / "data").write_bytes(DATA)
    linked, piped = (store.blob(tmp_path / name, SHA256) for name in ("linked", "piped"))
    for place in (linked, piped):
        place.parent.mkdir(parents=True)
    linked.symlink_to(tmp_path / "data")
    os.mkfifo(piped)
    folders = [tmp_path / "linked", tmp_path / "piped"]
    with pytest.raises(HashMismatchError):
        download.fetch(tmp_path / "store", [item()], folders=folders, offline=True)
    said = capsys.readouterr().err
    assert "it is a link" in said
    assert "it is no plain file" in said


def test_the_second_folder_has_what_the_first_lacks(tmp_path):
    folders = [tmp_path / "none", folder_with(tmp_path / "bad", b"x"), folder_with(tmp_path / "good", DATA)]
    download.fetch(tmp_path / "store", [item()], folders=folders, offline=True)
    assert store.blob(tmp_path / "store", SHA256).read_bytes() == DATA


def test_offline_names_the_folders_that_were_looked_into(tmp_path):
    with pytest.raises(OfflineError) as caught:
        download.fetch(tmp_path / "store", [item()], folders=[tmp_path / "stick"], offline=True)
    assert str(tmp_path / "stick") in caught.value.why


def test_what_folders_have_can_be_taken_in_alone(tmp_path):
    other = item(file="b.whl", sha256="0" * 64)
    assert download.take_in(tmp_path / "store", [item(), other], [folder_with(tmp_path / "stick", DATA)]) == SIZE
    assert download.missing(tmp_path / "store", [item(), other]) == (other,)
