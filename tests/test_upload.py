"""Blobs sent to a real registry on loopback: once, on from where a cut left them, and never without being told why not."""

import io
import json
import threading
import time

import pytest

from build import registryhttp, upload
from build.errors import DeniedError, HashMismatchError, NetworkError, RegistryError
from build.registryhttp import PIECE, TRIES
from tests import registryserver
from tests.registryserver import ALWAYS, Login, blob, repository, sha

NAME = "team/app"
DATA = bytes(range(256)) * 12_000  # 3 MB
SIZE = len(DATA)
DIGEST = sha(DATA)
UPLOADS = "blobs/uploads/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        yield made


class Progress(list):
    def __call__(self, count):
        self.append(count)


def send(server, data=DATA, *, who=None, beside=""):
    """Send, and compare what is there then; the bytes that were sent."""
    told = Progress()
    sent = upload.send(repository(server, who=who), blob(data), told, beside=beside)
    assert server.repos[NAME].blobs[sha(data)] == data
    assert sum(told) in (len(data), 0)
    return sent


def arrived(server):
    """Bytes of PATCH requests that the registry took."""
    return sum(one.body for one in server.asked if one.method == "PATCH")


def ranges(server):
    return [one.headers.get("content-range", "") for one in server.asked if one.method == "PATCH"]


def test_a_blob_is_sent_once(server):
    assert send(server) == SIZE
    assert [one.method for one in server.asked] == ["HEAD", "POST", "PATCH", "PUT"]
    assert send(server) == 0
    assert [one.method for one in server.asked][4:] == ["HEAD"]


@pytest.mark.parametrize("data", [b"", b"x", b"xy"])
def test_the_smallest_blobs(server, data):
    assert send(server, data) == len(data)


def test_a_cut_is_gone_on_from_where_the_registry_is(server):
    server.fault("PATCH", UPLOADS, cut=1_000_000)
    server.fault("PATCH", UPLOADS, cut=500_001)
    send(server)
    assert arrived(server) == SIZE
    assert ranges(server) == ["", f"1000000-{SIZE - 1}", f"1500001-{SIZE - 1}"]
    assert server.count("POST") == 1


@pytest.mark.parametrize("cut", [0, 1])
def test_a_cut_before_anything_arrived_begins_anew(server, cut):
    server.fault("PATCH", UPLOADS, cut=cut)
    send(server)
    assert ranges(server) == ["", ""]


def test_a_registry_that_forgot_gets_all_of_it_again(server):
    server.resume = False
    server.fault("PATCH", UPLOADS, cut=1_000_000)
    send(server)
    assert ranges(server) == ["", ""]
    assert server.count("POST") == 2


@pytest.mark.parametrize("told", ["0-99999999", "1-5", "abc", "0-", "0-" + "9" * 6000, "bytes=0-999999", "", None])
def test_whatever_a_registry_says_of_how_much_it_has(server, told):
    server.fault("PATCH", UPLOADS, cut=1_000_000)
    server.fault("GET", UPLOADS, changed={"Range": told})
    send(server)
    assert ranges(server)[1] == (f"1000000-{SIZE - 1}" if told == "bytes=0-999999" else "")


@pytest.mark.parametrize(
    ("status", "headers"), [(503, {}), (429, {"Retry-After": "3600"}), (500, {}), (404, {}), (416, {})]
)
def test_a_patch_that_is_refused_for_now_is_sent_again(server, monkeypatch, status, headers):
    monkeypatch.setattr(registryhttp, "LONGEST_WAIT", 0.01)
    server.fault("PATCH", UPLOADS, times=2, status=status, headers=headers)
    send(server)
    assert server.count("PATCH") == 3


def test_the_wait_that_a_patch_is_asked_for_is_kept(server, monkeypatch):
    monkeypatch.setattr(registryhttp, "LONGEST_WAIT", 0.3)
    server.fault("PATCH", UPLOADS, status=429, headers={"Retry-After": "1"})
    start = time.monotonic()
    send(server, b"some")
    assert time.monotonic() - start >= 0.3


def test_a_lost_answer_to_a_patch_sends_nothing_twice(server):
    server.fault("PATCH", UPLOADS, lost=True)
    send(server)
    assert server.count("PATCH") == 1
    assert arrived(server) == SIZE


def test_a_lost_answer_to_the_end_is_no_failure(server):
    server.fault("PUT", UPLOADS, lost=True)
    send(server)
    assert server.count("PUT") == 2  # the second is answered by: no such upload
    assert arrived(server) == SIZE


def test_an_end_in_a_time_of_trouble_is_asked_for_again(server):
    server.fault("PUT", UPLOADS, times=TRIES + 1, status=503)
    send(server)
    assert arrived(server) == SIZE
    assert server.count("PUT") == TRIES + 2


def test_an_upload_that_was_dropped_before_its_end_begins_anew(server):
    server.fault("PUT", UPLOADS, before=lambda _: server.uploads.clear())
    send(server)
    assert ranges(server) == ["", ""]


def test_what_is_never_whole_is_given_up(server):
    server.fault("PATCH", UPLOADS, times=ALWAYS, cut=300_000)
    with pytest.raises(NetworkError, match="a layer could not be sent") as caught:
        upload.send(repository(server), blob(DATA), Progress())
    assert f"({TRIES} tries)" in caught.value.why
    assert server.count("PATCH") == TRIES
    assert NAME not in server.repos or not server.repos[NAME].blobs


def test_a_registry_in_endless_trouble_is_not_stormed(server):
    server.fault("PATCH|PUT|POST", UPLOADS, times=ALWAYS, status=503)
    with pytest.raises(RegistryError, match="is in trouble"):
        upload.send(repository(server), blob(DATA), Progress())
    assert len(server.asked) <= 1 + TRIES
    server.asked.clear()
    server.faults.clear()
    server.fault("PUT", UPLOADS, times=ALWAYS, status=503)
    with pytest.raises(NetworkError, match="HTTP 503|could not be sent"):
        upload.send(repository(server), blob(DATA), Progress())
    assert server.count("PUT") == TRIES * TRIES
    assert arrived(server) == SIZE


@pytest.mark.parametrize("status", [400, 405, 413, 507])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_what_is_refused_for_good_is_sent_once(server, method, status):
    server.fault(method, UPLOADS, times=ALWAYS, status=status)
    with pytest.raises(RegistryError, match="refused"):
        upload.send(repository(server), blob(DATA), Progress())
    assert server.count(method) == 1


def test_bytes_that_are_not_those_of_the_digest(server):
    bad = upload.Blob(digest=sha(b"other"), size=SIZE, open=lambda: io.BytesIO(DATA))
    with pytest.raises(RegistryError, match="did not get the bytes that were sent") as caught:
        upload.send(repository(server), bad, Progress())
    assert "DIGEST_INVALID" in caught.value.why
    assert server.repos[NAME].blobs == {}
    assert server.count("PATCH") == 1


def test_a_blob_that_is_kept_under_another_digest(server):
    server.fault("PUT", UPLOADS, changed={"Docker-Content-Digest": sha(b"other")})
    with pytest.raises(RegistryError, match="under another digest"):
        upload.send(repository(server), blob(DATA), Progress())


def test_a_file_that_is_shorter_than_was_said_is_told_at_once(server):
    short = upload.Blob(digest=DIGEST, size=SIZE, open=lambda: io.BytesIO(DATA[:-1]))
    start = time.monotonic()
    with pytest.raises(HashMismatchError, match="not whole") as caught:
        upload.send(repository(server), short, Progress())
    assert f"ends after {SIZE - 1} of {SIZE}" in caught.value.why
    assert time.monotonic() - start < 5


# from a neighbour


def test_a_blob_is_taken_over_from_a_neighbour(server):
    server.repo("team/base").blobs[DIGEST] = DATA
    assert send(server, beside="team/base") == 0
    assert server.count("PATCH") == 0


def test_a_neighbour_that_has_it_not_is_no_failure(server):
    assert send(server, beside="team/base") == SIZE


def test_the_right_to_read_there_is_asked_for(server):
    server.login = Login()
    server.repo("team/base").blobs[DIGEST] = DATA
    assert send(server, who=True, beside="team/base") == 0
    assert server.login.given[-1] == ("me", ("repository:team/app:pull,push", "repository:team/base:pull"))


def test_a_neighbour_that_does_not_let_us_in_is_no_failure(server):
    server.login = Login(rights={"team/base": set()})
    server.repo("team/base").blobs[DIGEST] = DATA
    assert send(server, who=True, beside="team/base") == SIZE


# who may


def test_a_token_that_expires_in_the_middle_is_had_anew(server):
    server.login = Login(uses=1)
    server.fault("PATCH", UPLOADS)
    server.fault("PATCH", UPLOADS, cut=1_000_000)
    assert send(server, who=True) > SIZE
    # Each of HEAD, POST, PATCH, GET, PATCH, PUT was refused with the token of the one before.
    assert len(server.login.given) == 6
    assert ranges(server) == ["", "", f"1000000-{SIZE - 1}", f"1000000-{SIZE - 1}"]


def test_a_registry_that_hangs_up_on_an_expired_token(server):
    server.login = Login()
    there = repository(server, who=True)
    there.has_blob(DIGEST)

    def expire(_):
        server.login.tokens.clear()

    server.fault("PATCH", UPLOADS, cut=100_000, before=expire)  # the bytes are refused without a word
    assert upload.send(there, blob(DATA), Progress()) >= SIZE
    assert server.repos[NAME].blobs[DIGEST] == DATA


def test_who_may_not_write_is_told_before_a_byte_is_sent(server):
    server.login = Login(rights={NAME: {"pull"}})
    with pytest.raises(DeniedError, match="does not allow us to write to team/app"):
        upload.send(repository(server, who=True), blob(DATA), Progress())
    assert server.count("PATCH") == 0
    server.login = None
    server.fault("PATCH", UPLOADS, status=403, body=json.dumps({"errors": [{"code": "DENIED"}]}).encode())
    with pytest.raises(DeniedError, match="DENIED"):
        try:
            upload.send(repository(server), blob(DATA), Progress())
        except DeniedError as error:
            raise DeniedError(error.why) from error


def test_uploads_on_another_host_go_without_our_token(server):
    server.login = Login()
    with registryserver.serve() as other:
        other.uploads, other.repos = server.uploads, server.repos
        server.uploads_at = other.uploads_at = other.url
        send(server, who=True)
        assert [one.method for one in other.asked] == ["PATCH", "PUT"]
        assert all(not one.authorization for one in other.asked)


@pytest.mark.parametrize("location", ["http://[x/y", "http://192.0.2.1/x", "ftp://127.0.0.1/x", None, ""])
def test_a_location_that_leads_nowhere_is_said(server, location):
    server.fault("POST", UPLOADS, changed={"Location": location})
    with pytest.raises(RegistryError):
        upload.send(repository(server), blob(DATA), Progress())
    assert server.count("PATCH") == 0


@pytest.mark.parametrize("form", ["{path}", "{name}", "{url}{path}", "//{place}{path}"])
def test_a_location_may_be_told_in_any_way(server, form):
    server.fault(
        "POST", UPLOADS, before=lambda _: None,
        changed={"Location": form.format(path=f"/v2/{NAME}/blobs/uploads/1", name="1", url=server.url, place=server.place)},
    )  # fmt: skip
    send(server)


# memory


class Endless(io.RawIOBase):
    """Zeros; tells how many were asked for at once, and in all."""

    def __init__(self):
        self.read_bytes = self.largest = 0

    def read(self, count=-1):
        assert count >= 0
        self.read_bytes += count
        self.largest = max(self.largest, count)
        return bytes(count)


def test_a_layer_is_not_held_in_memory(server):
    opened = []

    def open_it():
        opened.append(Endless())
        return opened[-1]

    server.fault("PATCH", UPLOADS, times=ALWAYS, cut=1_000_000)
    huge = upload.Blob(digest=DIGEST, size=1 << 40, open=open_it)
    with pytest.raises(NetworkError):
        upload.send(repository(server), huge, Progress())
    assert max(stream.largest for stream in opened) <= PIECE
    assert opened[0].read_bytes < 30_000_000  # what the sockets of both sides hold, and a piece
    assert len(opened) == TRIES


def test_several_at_once(server):
    server.login = Login()
    there = repository(server, who=True)
    there.has_blob(DIGEST)
    several = [bytes([number]) * 300_000 for number in range(8)]
    for cut in (100_000, 200_000):
        server.fault("PATCH", UPLOADS, cut=cut)
        server.fault("PUT", UPLOADS, before=lambda _: server.login.tokens.clear())
    threads = [threading.Thread(target=upload.send, args=(there, blob(data), Progress())) for data in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(server.repos[NAME].blobs) == {sha(data) for data in several}
    assert len(server.login.given) <= 4
