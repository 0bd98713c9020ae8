"""A repository in a registry on loopback: what is asked for comes in whole and is compared, whatever the network does."""

import contextlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import registry
from build.errors import DeniedError, ImageNotFoundError, NetworkError, RegistryError, UsageError
from build.registry import INDEX, MANIFEST, Manifest, parse
from tests import registryserver
from tests.registryserver import ALWAYS, ENDLESS, Login, repository, sha

NAME = "team/app"
DATA = bytes(range(256)) * 12_000  # 3 MB
DIGEST = sha(DATA)
MADE = Manifest(media_type=MANIFEST, data=b'{"schemaVersion":2}')
HEX = "a" * 64


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        yield made


# references

LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?"
NAMED = st.from_regex(rf"{LABEL}\.{LABEL}(\.{LABEL})?", fullmatch=True) | st.sampled_from(["localhost", "127.0.0.1"])
HOSTS = st.builds(
    "{}{}".format,
    NAMED | st.ip_addresses(v=6).map("[{}]".format),
    st.just("") | st.integers(0, 65535).map(":{}".format),
)
PART = r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4})?"
NAMES = st.from_regex(rf"{PART}(/{PART}){{0,3}}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(host=HOSTS, name=NAMES, tag=st.just("") | TAGS, digest=st.just("") | DIGESTS)
def test_a_reference_is_read_and_written(host, name, tag, digest):
    text = f"{host}/{name}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    found = parse(text)
    assert (found.host, found.name, found.tag, found.digest) == (host, name, tag, digest)
    assert str(found) == text
    assert parse(found.repository).repository == f"{host}/{name}"


@given(st.text(alphabet="aA0.-_:/@[]#?%\\ \n٣é" + "sha256", max_size=30))
def test_whatever_is_no_reference_is_refused(text):
    try:
        found = parse(text)
    except UsageError:
        return
    assert str(found) == text
    assert re.fullmatch(r"[A-Za-z0-9.\[\]:-]+/[a-z0-9._/-]+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", text, re.ASCII)
    assert ".." not in text.partition("/")[2].partition(":")[0]


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "owner/name", "ghcr.io", "ghcr.io/", "/name", "ghcr.io/Name", "ghcr.io/a/../b", "ghcr.io/a//b",
        "ghcr.io/a/", "ghcr.io/a:", "ghcr.io/a@", "ghcr.io/a:t@", f"ghcr.io/a@sha512:{HEX}", f"ghcr.io/a@sha256:{HEX}0",
        f"ghcr.io/a@sha256:{HEX.upper()}", f"ghcr.io/a@sha256:{HEX}@sha256:{HEX}", "ghcr.io/a:t:t", "ghcr.io/a\n",
        "ghcr.io/a:t\n", "ghcr..io/a", "-ghcr.io/a", "ghcr.io-/a", "ghcr.io:/a", "ghcr.io:99999/a", "ghcr.io:٣/a",
        "user@ghcr.io/a", "https://ghcr.io/a", f"{'a' * 64}.io/a", "ghcr.io/a?x", "ghcr.io/a#x", "ghcr.io/a%2e",
        "ghcr.io/a__" , "ghcr.io/.a", f"ghcr.io/a:{'t' * 129}", "ghcr.io/a:.t", "[::1]:x/a", "[::1/a",
    ],
)  # fmt: skip
def test_these_name_no_image(text):
    with pytest.raises(UsageError):
        parse(text)


def test_the_host_is_named():
    assert parse("localhost/a").host == "localhost"
    assert parse("[::1]:5000/a/b:t").host == "[::1]:5000"
    assert parse(f"ghcr.io/a:t@sha256:{HEX}").tag == "t"


# manifests


def put(server, made=MADE, tag="t"):
    repo = server.repo(NAME)
    repo.manifests[made.digest] = (made.media_type, made.data)
    repo.tags[tag] = made.digest


def test_a_manifest_by_its_tag_and_by_its_digest(server):
    put(server)
    with repository(server) as there:
        assert there.manifest("t") == there.manifest(MADE.digest) == MADE
        assert there.resolve("t") == MADE.digest
        assert there.manifest("none") is None
        assert there.manifest(f"sha256:{HEX}") is None
        assert there.resolve("none") == ""


def test_a_tag_is_resolved_where_no_header_tells(server):
    put(server)
    server.fault("HEAD", "manifests", changed={"Docker-Content-Digest": None})
    server.fault("HEAD", "manifests", changed={"Docker-Content-Digest": "md5:1"})
    assert repository(server).resolve("t") == MADE.digest
    assert repository(server).resolve("t") == MADE.digest
    assert server.count("GET", "manifests/t") == 2


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (MADE.digest, {"other": b"{}"}),
        (MADE.digest, {"other": b"{}", "changed": {"Docker-Content-Digest": sha(b"{}")}}),
        (MADE.digest, {"other": b"{}", "changed": {"Docker-Content-Digest": None}}),
        (MADE.digest, {"changed": {"Docker-Content-Digest": f"sha256:{HEX}"}}),
        ("t", {"other": b"{}"}),
        ("t", {"changed": {"Docker-Content-Digest": f"sha256:{HEX}"}}),
    ],
)
def test_other_bytes_than_were_asked_for_are_refused(server, reference, fault):
    put(server)
    server.fault("GET", "manifests", **fault)
    with pytest.raises(RegistryError, match="another manifest than was asked for"):
        repository(server).manifest(reference)


@pytest.mark.parametrize("body", [b" " * (registry.MANIFEST_LIMIT + 1), ENDLESS])
def test_a_manifest_of_any_size_is_refused(server, body):
    put(server)
    server.fault("GET", "manifests", status=200, body=body)
    with pytest.raises(RegistryError, match="a manifest of more than 4194304 bytes"):
        repository(server).manifest("t")


def test_a_manifest_that_is_cut_is_a_network_that_fails(server):
    put(server)
    server.fault("GET", "manifests", cut=3)
    with pytest.raises(NetworkError, match="hung up"):
        repository(server).manifest("t")


@pytest.mark.parametrize("data", [b"", b"[]", b"5", b"{", b"\xff", b"[" * 100_000])
def test_what_is_in_a_manifest_may_be_anything(data):
    with pytest.raises(ValueError):
        assert Manifest(media_type="x", data=data).content


def test_a_manifest_is_pushed_under_its_digest_and_a_tag(server):
    there = repository(server)
    assert there.put_manifest(MADE) is False
    assert server.repos[NAME].tags == {}
    there.put_manifest(MADE, "t")
    assert server.repos[NAME].tags == {"t": MADE.digest}
    subject = {"mediaType": MANIFEST, "digest": MADE.digest, "size": 1}
    about = Manifest(media_type=MANIFEST, data=json.dumps({"subject": subject}).encode())
    assert there.put_manifest(about) is True


def test_a_manifest_that_is_taken_for_another_one(server):
    server.fault("PUT", "manifests", changed={"Docker-Content-Digest": f"sha256:{HEX}"})
    with pytest.raises(RegistryError, match="took a manifest for another one"):
        repository(server).put_manifest(MADE)
    server.fault("PUT", "manifests", changed={"Docker-Content-Digest": None})
    repository(server).put_manifest(MADE)


def test_a_manifest_is_pushed_again_where_the_answer_was_lost(server):
    server.fault("PUT", "manifests", lost=True)
    server.fault("PUT", "manifests", status=500)
    repository(server).put_manifest(MADE)
    assert server.count("PUT", "manifests") == 3


def test_a_manifest_whose_token_expired_is_pushed_with_a_new_one(server):
    server.login = Login(uses=1)
    there = repository(server, who=True)
    for _ in range(3):
        there.put_manifest(MADE)
    assert len(server.login.given) == 3


# tags


def test_tags_come_in_pages(server):
    server.repo(NAME).tags = {f"t{number:02}": "x" for number in range(25)}
    for page in (0, 1, 10, 25):
        server.page = page
        assert repository(server).tags() == tuple(f"t{number:02}" for number in range(25))
    assert repository(server, "not/there").tags() == ()
    server.fault("GET", "tags", status=404)
    assert repository(server).tags() == ()


@pytest.mark.parametrize("told", [5, None, "abc", {"a": 1}, ["ok", "../up", 7, None, "a/b", "", "t" * 129]])
def test_only_tags_are_tags(server, told):
    server.fault("GET", "tags", status=200, body=json.dumps({"tags": told}).encode())
    assert repository(server).tags() == (("ok",) if isinstance(told, list) else ())


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"[" * 100_000])
def test_a_list_that_is_none_is_said(server, body):
    server.fault("GET", "tags", status=200, body=body)
    with pytest.raises(RegistryError, match="no JSON object"):
        repository(server).tags()


def test_a_list_without_an_end_has_one(server, monkeypatch):
    monkeypatch.setattr(registry, "PAGES", 7)
    link = {"Link": f'</v2/{NAME}/tags/list?n=1>; rel="next"'}
    server.fault("GET", "tags", times=ALWAYS, status=200, body=b'{"tags": ["t"]}', headers=link)
    assert repository(server).tags() == ("t",)
    assert server.count("GET") == 7


@pytest.mark.parametrize(
    "link",
    ["@{other}/x", ".{other}/x", "http://{other}/x", "//{other}/x", "http:@{other}/x", "\\\\{other}/x", ":80@{other}/x",
     "http://{ours}@{other}/x", "http://[x", "?", "#", "x", " http://{other}/x"],
)  # fmt: skip
def test_a_next_page_is_never_on_another_host(server, link):
    server.login = Login()
    with registryserver.serve() as other:
        to = link.format(other=other.place, ours=server.place)
        server.fault("GET", "tags", times=2, changed={"Link": f'<{to}>; rel="next"'})
        there = repository(server, who=True)
        with contextlib.suppress(RegistryError):
            there.tags()
        assert other.asked == []
        for one in server.asked:
            assert one.path.startswith("/")


def test_a_next_page_may_be_told_in_any_way(server):
    server.repo(NAME).tags = {"a": "x", "b": "x"}
    for link in (
        "list?start=1",
        f"/v2/{NAME}/tags/list?start=1",
        f"{server.url}/v2/{NAME}/tags/list?start=1",
        "?start=1",
    ):
        server.page = 1
        server.fault("GET", r"tags/list\?n=", changed={"Link": f'<{link}>; rel="next"'})
        assert repository(server).tags() == ("a", "b")


# blobs


def test_a_small_blob(server):
    server.repo(NAME).blobs[DIGEST] = DATA
    there = repository(server)
    assert there.has_blob(DIGEST)
    assert not there.has_blob(f"sha256:{HEX}")
    assert there.blob(DIGEST, len(DATA)) == DATA
    for size in (len(DATA) - 1, 0):
        with pytest.raises(RegistryError, match="other bytes for a blob"):
            there.blob(DIGEST, size)
    with pytest.raises(ImageNotFoundError, match="has no blob"):
        there.blob(f"sha256:{HEX}", 1)
    server.fault("GET", "blobs", other=DATA[:-1] + b"x")
    with pytest.raises(RegistryError, match="other bytes for a blob"):
        there.blob(DIGEST, len(DATA))


def test_a_blob_that_is_cut_is_read_on(server):
    server.repo(NAME).blobs[DIGEST] = DATA
    for cut in (1_000_000, 500_000, 0):
        server.fault("GET", "blobs", cut=cut)
    with repository(server).open_blob(DIGEST, len(DATA)) as stream:
        assert stream.read() == DATA
    asked = [one.headers.get("range") for one in server.asked]
    offsets = [int(text.removeprefix("bytes=").removesuffix("-")) for text in asked[1:]]
    assert asked[0] is None
    assert 900_000 < offsets[0] <= 1_000_000
    assert offsets[0] < offsets[1] <= 1_500_000
    assert offsets[2] == offsets[1]


def test_a_server_that_does_not_know_ranges_sends_it_again(server):
    server.ranges = False
    server.repo(NAME).blobs[DIGEST] = DATA
    for cut in (1_000_000, 400_000, 2_000_000):  # the second ends before what is known already has passed by
        server.fault("GET", "blobs", cut=cut)
    with repository(server).open_blob(DIGEST, len(DATA)) as stream:
        assert stream.read() == DATA
    assert server.count("GET", "blobs") == 4


def test_a_blob_that_is_fetched_elsewhere_is_asked_for_here_again(server):
    server.login = Login()
    with registryserver.serve() as other:
        server.repo(NAME).blobs[DIGEST] = other.repo(NAME).blobs[DIGEST] = DATA
        server.elsewhere = other.url
        other.fault("GET", "files", cut=1_000_000)
        with repository(server, who=True).open_blob(DIGEST, len(DATA)) as stream:
            assert stream.read() == DATA
        assert [one.authorization for one in other.asked] == ["", ""]
        assert other.asked[1].headers["range"].startswith("bytes=")
        assert server.count("GET", "blobs") == 3  # one was asked for a token


@pytest.mark.parametrize("cut", [0, 100])
def test_a_blob_that_never_comes_whole_is_a_network_that_fails(server, cut):
    server.repo(NAME).blobs[DIGEST] = DATA
    server.fault("GET", "blobs", times=ALWAYS, cut=cut)
    with pytest.raises(NetworkError, match="could not be read to its end"), repository(server).open_blob(
        DIGEST, len(DATA)
    ) as stream:  # fmt: skip
        stream.read()
    assert server.count("GET", "blobs") == registry.TRIES


def test_a_blob_that_is_shorter_than_was_said_is_asked_for_again_and_then_given_up(server):
    server.repo(NAME).blobs[DIGEST] = DATA
    with pytest.raises((NetworkError, RegistryError)), repository(server).open_blob(DIGEST, len(DATA) + 1) as stream:
        stream.read()
    assert server.count("GET", "blobs") <= registry.TRIES


def test_a_blob_that_never_ends_is_read_to_its_size(server):
    server.fault("GET", "blobs", status=200, body=ENDLESS)
    with repository(server).open_blob(DIGEST, 100_000) as stream:
        assert len(stream.read()) == 100_000


def test_a_layer_is_not_held_in_memory(server):
    server.repo(NAME).blobs[DIGEST] = DATA
    sizes = []
    with repository(server).open_blob(DIGEST, len(DATA)) as stream:
        raw = stream.raw
        read = raw.readinto
        raw.readinto = lambda buffer: sizes.append(len(buffer)) or read(buffer)
        while stream.read(10_000):
            pass
    assert max(sizes) <= registry.PIECE


def test_a_blob_that_may_not_be_read_is_told(server):
    server.login = Login(rights={NAME: set()})
    with pytest.raises(DeniedError, match="does not allow us to read"):
        repository(server, who=True, write=False).open_blob(DIGEST, 1)


@given(st.text(alphabet='<>;,="/@:?#rel next', max_size=40))
def test_any_link_is_a_path_or_none(link):
    import requests

    answer = requests.Response()
    answer.url, answer.headers["Link"] = "http://127.0.0.1/v2/a/tags/list", link
    path = registry.next_page(answer)
    assert not path or (path.startswith("/") and not path.startswith("//"))


def test_the_index_type_is_that_of_oci():
    assert INDEX == registryserver.INDEX
