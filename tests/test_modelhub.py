"""One file from a hub: what the caller is told while it comes, whatever happens on the way."""

import hashlib
import os

import pytest

from build import modelhub
from build.modelfolder import Item, Model
from tests import hubkit, modelkit

DATA = os.urandom(500_000)
ITEM = Item(path="a.bin", size=len(DATA), digest=f"sha256:{hashlib.sha256(DATA).hexdigest()}")
MODEL = Model(repo=modelkit.REPO, revision=modelkit.REVISION)


@pytest.fixture
def hub(monkeypatch):
    with hubkit.serve() as made:
        hubkit.environment(made, monkeypatch)
        made.put(MODEL.repo, MODEL.revision, {"a.bin": DATA})
        yield made


@pytest.mark.parametrize(
    ("faults", "left", "sent"),
    [
        ([], b"", 500_000),
        ([], DATA[:123_456], 500_000 - 123_456),
        ([], DATA, 0),
        ([], b"wrong" * 10, 500_000 - 50 + 500_000),
        ([{"ranges": False}], DATA[:123_456], 500_000),
        ([{"cut": 200_000}, {"ranges": False}], b"", 200_000 + 500_000),
        ([{"cut": 200_000}] * 3, b"", None),
        ([{"status": 503}] * 3, b"", 500_000),
    ],
)
def test_the_progress_ends_at_the_files_size(hub, tmp_path, faults, left, sent):
    for fault in faults:
        hub.fault("GET", "a.bin", cdn=True, **fault)
    part = tmp_path / "part"
    part.write_bytes(left)
    told: list[int] = []
    came = modelhub.receive(modelhub.find(tmp_path), MODEL, ITEM, part, told.append, lambda: None)
    assert part.read_bytes() == DATA
    assert sum(told) == len(DATA)
    assert sent is None or hub.sent == sent
    assert came <= hub.sent


def test_an_address_that_a_message_has_is_cut_to_its_host():
    from build import huberrors

    text = "Client error for url 'https://me:pw@cdn.example/x?X-Amz-Signature=abc'\nFor more: see http://docs.example/a"
    assert huberrors._words(ValueError(text)) == (
        "Client error for url 'https://cdn.example' For more: see http://docs.example"
    )
