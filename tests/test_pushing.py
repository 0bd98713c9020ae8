"""An image pushed to a registry on loopback: all of it or no tag, and only what is missing."""

import json
import re
import threading
import time

import pytest

from build import ociimage, pushing, upload
from build.errors import DeniedError, HashMismatchError, NetworkError, PublishError, RegistryError, TagError
from build.pushing import manifest_of
from build.registry import MANIFEST, Manifest
from tests import registryserver
from tests.imagekit import entry, image, old_save, sha, tar
from tests.registryserver import ALWAYS, Login, blob, repository

NAME = "team/app"
LAYERS = [tar(entry("etc/a", bytes(range(256)) * 2000)), tar(entry("etc/b", b"b\n"))]
FIXED, MOVING = "v0-0123456789ab", "v0"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        yield made


@pytest.fixture
def made(tmp_path):
    return ociimage.read("it", image(*LAYERS, packed=bytes).folder(tmp_path / "image"))


def publish(there, made):
    """As `push` does it; what it cost."""
    manifest = manifest_of(made)
    pushing.require_free(there, FIXED, manifest.digest)
    sent = pushing.push(there, made, manifest)
    pushing.tag(there, manifest, FIXED, MOVING)
    return sent


def test_an_image_is_pushed_and_tagged(server, made):
    sent = publish(repository(server), made)
    repo = server.repos[NAME]
    assert repo.tags == {FIXED: made.manifest, MOVING: made.manifest}
    assert repo.blobs.keys() == {made.config_digest, *(layer.digest for layer in made.layers)}
    kind, data = repo.manifests[made.manifest]
    assert (kind, sha(data)) == (MANIFEST, made.manifest)
    assert (sent.blobs, sent.there) == (3, 0)
    assert sent.bytes == sum(map(len, repo.blobs.values())) + len(data)


def test_the_moving_tag_comes_last_and_the_manifest_after_its_blobs(server, made):
    publish(repository(server), made)
    puts = [re.sub(r".*/", "", one.path.split("?")[0]) for one in server.asked if one.method == "PUT"]
    assert puts[-3:] == [made.manifest, FIXED, MOVING]


def test_what_is_there_is_not_sent_again(server, made, tmp_path):
    publish(repository(server), made)
    server.asked.clear()
    assert publish(repository(server), made).there == 3
    assert server.count("POST") == server.count("PATCH") == 0
    other = ociimage.read("it", image(LAYERS[0], tar(entry("etc/b", b"c\n")), packed=bytes).folder(tmp_path / "other"))
    sent = pushing.push(repository(server), other, manifest_of(other))
    assert (sent.blobs, sent.there) == (3, 1)


def test_a_layer_that_is_there_twice_is_sent_once(server, tmp_path):
    twice = ociimage.read("it", image(LAYERS[1], LAYERS[1], packed=bytes).folder(tmp_path / "twice"))
    assert pushing.push(repository(server), twice, manifest_of(twice)).blobs == 2
    assert server.count("PATCH") == 2


BROKEN = [
    ("PATCH", "uploads", {"times": ALWAYS, "cut": 10}, NetworkError),
    ("PATCH", "uploads", {"times": ALWAYS, "status": 413}, RegistryError),
    ("POST", "uploads", {"status": 403}, DeniedError),
    ("POST", "uploads", {"times": ALWAYS, "status": 503}, RegistryError),
    ("HEAD", "blobs", {"times": ALWAYS, "status": 500}, RegistryError),
    ("PUT", "uploads", {"times": ALWAYS, "status": 503}, NetworkError),
    ("PUT", "manifests", {"status": 403}, DeniedError),
    ("PUT", "manifests", {"times": ALWAYS, "status": 500}, RegistryError),
    ("PUT", "manifests", {"changed": {"Docker-Content-Digest": f"sha256:{'0' * 64}"}}, RegistryError),
    ("GET", "manifests/sha256", {"other": b"{}"}, RegistryError),
    ("GET", "manifests/sha256", {"changed": {"Docker-Content-Digest": f"sha256:{'0' * 64}"}}, RegistryError),
    ("GET", "manifests/sha256", {"status": 404}, RegistryError),
    ("GET", "manifests/sha256", {"cut": 5}, NetworkError),
    ("HEAD", "manifests", {"status": 401, "headers": {"WWW-Authenticate": "Basic"}}, DeniedError),
]


@pytest.mark.parametrize(("method", "path", "fault", "error"), BROKEN)
def test_nothing_is_tagged_when_anything_fails(server, made, method, path, fault, error):
    server.repo(NAME).tags[MOVING] = "sha256:old"
    server.fault(method, path, **fault)
    with pytest.raises(error):
        publish(repository(server), made)
    assert server.repos[NAME].tags == {MOVING: "sha256:old"}


def test_a_password_that_is_wrong_sends_nothing(server, made):
    server.login = Login()
    with pytest.raises(DeniedError):
        publish(repository(server), made)
    assert server.count("POST|PATCH|PUT") == 0
    publish(repository(server, who=True), made)
    assert server.login.given[-1] == ("me", ("repository:team/app:pull,push",))


def test_a_push_that_was_cut_goes_on(server, made):
    fault = server.fault("PATCH", "uploads", times=ALWAYS, cut=300)  # the config is whole after some of these
    with pytest.raises(NetworkError):
        publish(repository(server), made)
    fault.times = 0
    assert publish(repository(server), made).there == 1
    assert server.repos[NAME].tags[MOVING] == made.manifest


def test_an_immutable_tag_of_another_image_is_never_moved(server, made):
    other = Manifest(media_type=MANIFEST, data=b'{"schemaVersion":2}')
    repo = server.repo(NAME)
    repo.manifests[other.digest] = (MANIFEST, other.data)
    repo.tags = {FIXED: other.digest, MOVING: other.digest}
    with pytest.raises(TagError, match="stands for another image") as caught:
        publish(repository(server), made)
    assert other.digest in caught.value.why
    with pytest.raises(TagError):  # somebody else was quicker
        pushing.tag(repository(server), manifest_of(made), FIXED, MOVING)
    assert repo.tags == {FIXED: other.digest, MOVING: other.digest}
    assert server.count("PUT") == 0


def test_a_tag_that_does_not_become_ours_is_said(server, made):
    there = repository(server)
    manifest = manifest_of(made)
    pushing.push(there, made, manifest)
    server.fault("GET", f"manifests/{FIXED}", other=b"{}", changed={"Docker-Content-Digest": sha(b"{}")})
    with pytest.raises(RegistryError, match="does not give back what was pushed"):
        pushing.tag(there, manifest, FIXED, MOVING)
    assert MOVING not in server.repos[NAME].tags


def test_a_token_that_expires_now_and_then_stops_nothing(server, made):
    server.login = Login(uses=9)
    publish(repository(server, who=True), made)
    assert server.repos[NAME].tags[MOVING] == made.manifest
    assert len(server.login.given) > 1


def test_an_image_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(PublishError, match="no manifest to publish"):
        manifest_of(ociimage.read("old", old_save(LAYERS[0]).archive(tmp_path / "old.tar")))


def test_the_media_type_is_the_manifests_own(made, tmp_path):
    assert manifest_of(made).media_type == MANIFEST  # an OCI manifest need not say it
    folder = image(LAYERS[1])
    (row,) = json.loads(folder.files["index.json"])["manifests"]
    told = json.loads(folder.files[f"blobs/{row['digest'].replace(':', '/')}"])
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    folder.files["index.json"] = json.dumps({"manifests": [folder.json({**told, "mediaType": docker})]}).encode()
    assert manifest_of(ociimage.read("it", folder.folder(tmp_path / "docker"))).media_type == docker


def test_an_image_that_changes_while_it_is_read_is_not_published(made):
    path = made.source.path / "blobs" / made.manifest.replace(":", "/")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(HashMismatchError, match="changed while it was read"):
        manifest_of(made)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: b"x" + data[1:]])
def test_a_layer_that_is_not_whole_is_not_published(server, made, change):
    path = made.source.path / made.layers[0].file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises((HashMismatchError, RegistryError)):
        publish(repository(server), made)
    assert server.repos[NAME].tags == {}
    path.unlink()
    with pytest.raises(HashMismatchError, match="is not in it"):
        raise_why(lambda: publish(repository(server), made))


def raise_why(call):
    try:
        call()
    except HashMismatchError as error:
        raise HashMismatchError(error.why) from error


def test_the_first_that_cannot_be_sent_ends_the_others_in_their_middle(server):
    """And so does Ctrl-C: nobody waits for gigabytes that are for nothing."""
    begun, slow = threading.Event(), []

    class Slow:
        def read(self, count):
            begun.set()
            time.sleep(0.01)
            slow.append(count)
            return bytes(count)

        def close(self):
            pass

    def fail():
        begun.wait(10)
        raise RegistryError("no")

    endless = upload.Blob(digest=sha(b"endless"), size=1 << 40, open=Slow)
    broken = upload.Blob(digest=sha(b"broken"), size=1, open=fail)
    start = time.monotonic()
    with pytest.raises(RegistryError, match="no"):
        pushing.send_all(repository(server), [endless, broken, endless], lambda _: None)
    assert time.monotonic() - start < 5
    assert slow


def test_bytes_that_were_sent_are_counted(server):
    told = []
    several = [blob(bytes([number]) * 1000) for number in range(7)]
    assert pushing.send_all(repository(server), several, told.append) == 7000
    assert sum(told) == 7000
