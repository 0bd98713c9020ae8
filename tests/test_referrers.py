"""What is attached to a digest: by the registry's own list, and by the tag that clients keep up where it has none."""

import json
import threading

import pytest

from build import referrers, upload
from build.errors import RegistryError
from build.referrers import Part
from build.registry import INDEX, MANIFEST, Manifest
from tests import registryserver
from tests.registryserver import ALWAYS, blob, repository, sha

NAME = "team/app"
SUBJECT = Manifest(media_type=MANIFEST, data=b'{"schemaVersion":2}')
TAG = referrers.fallback_tag(SUBJECT.digest)
KIND = "application/vnd.example.thing"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)
    monkeypatch.setattr(referrers.time, "sleep", lambda _: None)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        made.repo(NAME).manifests[SUBJECT.digest] = (MANIFEST, SUBJECT.data)
        yield made


def thing(text, *, subject=SUBJECT, **annotations):
    """An artifact of one blob, and its part."""
    part = Part(media_type="text/plain", blob=blob(text.encode()), title=f"{text}.txt")
    return referrers.artifact(KIND, [part], subject=subject, annotations=annotations), [part]


def attach(server, text, **annotations):
    made, parts = thing(text, **annotations)
    return made, referrers.attach(repository(server), made, parts)


def listed(server):
    return {item.digest for item in referrers.of(repository(server), SUBJECT.digest)}


def index(server):
    repo = server.repos[NAME]
    return json.loads(repo.manifests[repo.tags[TAG]][1]) if TAG in repo.tags else None


def put_index(server, told, kind=INDEX):
    repo, data = server.repo(NAME), json.dumps(told).encode()
    repo.manifests[sha(data)] = (kind, data)
    repo.tags[TAG] = sha(data)


def test_an_artifact_is_the_same_for_the_same_values():
    made, (part,) = thing("a", b="2", a="1")
    assert made == thing("a", a="1", b="2")[0]
    assert made.content["subject"] == {"mediaType": MANIFEST, "digest": SUBJECT.digest, "size": len(SUBJECT.data)}
    assert made.content["config"]["digest"] == sha(b"{}")
    assert made.content["layers"] == [part.descriptor]
    assert part.descriptor["annotations"] == {"org.opencontainers.image.title": "a.txt"}
    assert "subject" not in thing("a", subject=None)[0].content


@pytest.mark.parametrize("api", [True, False])
def test_what_is_attached_is_listed(server, api):
    server.referrers = api
    assert referrers.of(repository(server), SUBJECT.digest) == ()
    one, sent = attach(server, "one", by="me")
    two, _ = attach(server, "two")
    assert sent > len(one.data)
    found = {item.digest: item for item in referrers.of(repository(server), SUBJECT.digest)}
    assert found.keys() == {one.digest, two.digest}
    assert found[one.digest].artifact_type == KIND
    assert found[one.digest].annotations == {"by": "me"}
    assert (index(server) is None) is api


@pytest.mark.parametrize("api", [True, False])
def test_what_is_there_is_not_sent_again(server, api):
    server.referrers = api
    attach(server, "one")
    server.asked.clear()
    assert attach(server, "one")[1] == 0
    assert server.count("PUT") == server.count("POST") == 0


def test_a_row_that_was_lost_comes_back(server):
    server.referrers = False
    one, _ = attach(server, "one")
    put_index(server, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    attach(server, "one")
    assert listed(server) == {one.digest}


def test_what_belongs_to_nothing_is_in_no_list(server):
    server.referrers = False
    made, parts = thing("one", subject=None)
    referrers.attach(repository(server), made, parts)
    assert made.digest in server.repos[NAME].manifests
    assert index(server) is None


def test_a_registry_that_lists_without_saying_so(server):
    server.fault("PUT", "manifests", changed={"OCI-Subject": None})
    one, _ = attach(server, "one")
    assert listed(server) == {one.digest}
    assert index(server) is None


def test_others_rows_and_words_stay(server):
    server.referrers = False
    theirs = {"mediaType": MANIFEST, "digest": SUBJECT.digest, "size": 19, "platform": {"os": "linux"}, "x": 1}
    put_index(server, {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [theirs], "annotations": {"by": "others"}, "artifactType": "y",
    })  # fmt: skip
    one, _ = attach(server, "one")
    told = index(server)
    assert told["manifests"][0] == theirs
    assert [row["digest"] for row in told["manifests"]] == [SUBJECT.digest, one.digest]
    assert (told["annotations"], told["artifactType"]) == ({"by": "others"}, "y")


def test_who_writes_at_the_same_time_is_not_lost(server):
    """Another one read the list before us and writes it after us: we see that, and add our row to theirs."""
    server.referrers = False
    theirs = {"mediaType": MANIFEST, "digest": SUBJECT.digest, "size": 19}

    def meanwhile(_):
        put_index(server, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [theirs]})

    server.fault("GET", f"manifests/{TAG}")  # before it is written
    server.fault("GET", f"manifests/{TAG}", before=meanwhile)  # read again
    one, _ = attach(server, "one")
    assert listed(server) == {SUBJECT.digest, one.digest}


def test_several_who_attach_at_once_are_all_listed_in_the_end(server):
    server.referrers = False
    made = [thing(f"thing {number}") for number in range(4)]

    def bring(item):
        for _ in range(3):  # as a push that is run again does
            try:
                referrers.attach(repository(server), *item)
            except RegistryError:
                continue

    threads = [threading.Thread(target=bring, args=(item,)) for item in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for item in made:
        referrers.attach(repository(server), *item)
    assert listed(server) == {manifest.digest for manifest, _ in made}


def test_a_list_that_does_not_stay_is_said(server):
    server.referrers = False
    empty = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    server.fault("GET", f"manifests/{TAG}", times=ALWAYS, before=lambda _: put_index(server, empty))
    with pytest.raises(RegistryError, match="does not keep the list"):
        attach(server, "one")
    assert server.count("PUT", TAG) == referrers.TRIES


def test_lists_come_in_pages(server):
    server.page = 2
    made = {attach(server, f"thing {number}")[0].digest for number in range(5)}
    assert listed(server) == made
    assert server.count("GET", r"referrers/.*start=4") >= 1


def test_a_list_without_an_end_has_one(server, monkeypatch):
    monkeypatch.setattr(referrers, "LIST_LIMIT", 6)
    path = f"/v2/{NAME}/referrers/{SUBJECT.digest}"
    headers = {"Link": f'<{path}?n=1>; rel="next"', "Content-Type": INDEX}
    server.fault("GET", "referrers", times=ALWAYS, status=200, body=b'{"manifests": []}', headers=headers)
    assert listed(server) == set()
    assert server.count("GET", "referrers") == 6


@pytest.mark.parametrize(
    "fault",
    [{"status": status} for status in (400, 404, 405, 406, 501)]
    + [{"status": 200, "body": b"<html>", "headers": {"Content-Type": "text/html"}}, {"status": 200, "body": b"{}"}],
)
def test_a_registry_without_the_list_is_known_by_any_of_its_answers(server, fault):
    server.referrers = False
    server.fault("GET", "referrers", times=ALWAYS, **fault)
    one, _ = attach(server, "one")
    assert listed(server) == {one.digest}
    assert index(server)["manifests"][0]["digest"] == one.digest


@pytest.mark.parametrize("api", [True, False])
@pytest.mark.parametrize("told", [[], {}, {"manifests": 5}, {"manifests": None}, "x", 5])
def test_what_is_no_list_is_said(server, api, told):
    server.referrers = api
    put_index(server, told)
    if api:
        body = json.dumps(told).encode()
        server.fault("GET", "referrers", status=200, body=body, headers={"Content-Type": INDEX})
    with pytest.raises(RegistryError, match="no index"):
        listed(server)


@pytest.mark.parametrize(
    "row",
    [
        5,
        None,
        "x",
        {},
        {"digest": 5},
        {"digest": "sha256:../../x"},
        {"digest": f"sha256:{'A' * 64}"},
        {"digest": ["x"]},
    ],
)
def test_rows_that_name_nothing_are_passed_over(server, row):
    server.referrers = False
    good = {"digest": SUBJECT.digest, "annotations": {"a": 5}}
    put_index(server, {"manifests": [row, good]})
    (found,) = referrers.of(repository(server), SUBJECT.digest)
    assert (found.digest, found.artifact_type, found.annotations) == (SUBJECT.digest, "", {"a": "5"})


@pytest.mark.parametrize("annotations", [["x"], "text", 5, None])
def test_annotations_of_any_kind(server, annotations):
    server.referrers = False
    put_index(server, {"manifests": [{"digest": SUBJECT.digest, "annotations": annotations}]})
    (found,) = referrers.of(repository(server), SUBJECT.digest)
    assert found.annotations == {}


def test_nothing_is_listed_where_a_blob_did_not_arrive(server):
    server.referrers = False
    server.fault("PATCH", "uploads", times=ALWAYS, status=400)
    with pytest.raises(RegistryError):
        attach(server, "one")
    assert index(server) is None
    assert list(server.repos[NAME].manifests) == [SUBJECT.digest]


def test_bytes_as_a_blob_can_be_read_again():
    made = referrers.bytes_blob(b"abc")
    assert isinstance(made, upload.Blob)
    for _ in range(2):
        with made.open() as stream:
            assert stream.read() == b"abc"
    assert (made.digest, made.size) == (sha(b"abc"), 3)
