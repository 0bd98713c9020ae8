"""Records of what was published: read as they were written, and not when anybody edited them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import lockform, published
from build.errors import LockError, NewerLockError
from build.published import Document, Place, PublishedLayer, Record, Signer

DIGEST = f"sha256:{'a' * 64}"
PLACE = Place(
    repository="ghcr.io/o/n", time="2026-01-02T03:04:05+00:00", tag="v0-0123", commit="c" * 40, remarks=("dirty checkout",),
    signer=Signer(kind="key", identity="k" * 64), documents=(Document(kind="sbom", digest=f"sha256:{'d' * 64}"),),
)  # fmt: skip
REPORT = published.Tested(
    sha256="e" * 64,
    time="2026-01-02T03:00:00+00:00",
    execution="native",
    gpu="",
    summary="2 passed",
    skipped=("gpu-x",),
)
RECORD = Record(
    target="v0", chain_id="f" * 64, manifest=DIGEST, config=DIGEST, canonical_config="1" * 64, rootfs="2" * 64,
    engine="docker.io 1", buildkit="v0.13", places=(PLACE,), reports=(REPORT,),
    layers=(PublishedLayer(diff_id=DIGEST, digest=DIGEST, size=7), PublishedLayer(diff_id=DIGEST, digest=DIGEST, size=5)),
)  # fmt: skip


def test_a_record_is_read_as_it_was_written(tmp_path):
    assert published.read(tmp_path, DIGEST) is None
    path = published.write(tmp_path, RECORD)
    assert path == tmp_path / f"lock/published/sha256-{'a' * 64}.toml"
    assert published.read(tmp_path, DIGEST) == published.read_file(path) == RECORD
    assert published.read_all(tmp_path) == (RECORD,)
    assert (RECORD.size, RECORD.time, RECORD.remarks) == (12, PLACE.time, ("dirty checkout",))
    assert (RECORD.at("ghcr.io/o/n"), RECORD.at("ghcr.io/o")) == (PLACE, None)


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLACES = st.builds(
    Place, repository=TEXT, time=TEXT, tag=TEXT, commit=TEXT, remarks=st.tuples() | st.tuples(TEXT, TEXT),
    signer=st.builds(Signer, kind=TEXT, identity=TEXT, issuer=TEXT),
    documents=st.lists(st.builds(Document, kind=TEXT, digest=TEXT), max_size=2).map(tuple),
)  # fmt: skip
REPORTS = st.builds(
    published.Tested,
    sha256=TEXT,
    time=TEXT,
    execution=TEXT,
    gpu=TEXT,
    summary=TEXT,
    skipped=st.lists(TEXT, max_size=2).map(tuple),
)
LAYERS = st.builds(PublishedLayer, diff_id=TEXT, digest=TEXT, size=st.integers(0, 1 << 62))


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(PLACES, max_size=2).map(tuple), reports=st.lists(REPORTS, max_size=2).map(tuple),
    layers=st.lists(LAYERS, max_size=2).map(tuple), target=TEXT,
)  # fmt: skip
def test_any_record_is_read_as_it_was_written(tmp_path_factory, places, reports, layers, target):
    record = replace(RECORD, places=places, reports=reports, layers=layers, target=target)
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(published.text(record), encoding="utf-8")
    assert published.read_file(path) == record


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dirty checkout", ""),
        ("size = 7", "size = 8"),
        ("native", "emulated"),
        ("schema = 1", "schema = 0"),
        ("v0-0123", "v1"),
    ],
)
def test_an_edited_record_is_refused(tmp_path, old, new):
    path = published.write(tmp_path, RECORD)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    for read in (lambda: published.read(tmp_path, DIGEST), lambda: published.read_all(tmp_path)):
        with pytest.raises(LockError, match="edited by hand"):
            read()


def test_a_newer_record_and_what_is_none_are_refused(tmp_path):
    path = published.write(tmp_path, RECORD)
    path.write_text(lockform.text("", 99, {}))
    with pytest.raises(NewerLockError):
        published.read(tmp_path, DIGEST)
    path.write_text("<html>")
    with pytest.raises(LockError, match="not TOML"):
        published.read(tmp_path, DIGEST)


def test_the_same_record_is_the_same_bytes(tmp_path):
    path = published.write(tmp_path, RECORD)
    data = path.read_bytes()
    published.write(tmp_path, RECORD)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_records_are_merged_by_place_and_report(tmp_path):
    assert published.merged(None, RECORD) == RECORD
    assert published.merged(RECORD, RECORD) == RECORD
    later = replace(PLACE, time="2027-01-01T00:00:00+00:00", remarks=())
    elsewhere = replace(later, repository="other.example/o/n")
    gpu = replace(REPORT, sha256="9" * 64, gpu="GB10")
    first = published.merged(RECORD, replace(RECORD, places=(elsewhere,), reports=(gpu,)))
    assert first.places == (PLACE, elsewhere)
    assert first.reports == (REPORT, gpu)
    assert (first.on_gpu, first.time, first.remarks) == ((gpu,), PLACE.time, ())
    again = published.merged(first, replace(RECORD, places=(later,)))
    assert again.places == (elsewhere, later)  # the newest last
    assert again.reports == (gpu, REPORT)


def test_all_records_the_newest_first(tmp_path):
    other = replace(RECORD, manifest=f"sha256:{'b' * 64}", places=(replace(PLACE, time="2027-01-01T00:00:00+00:00"),))
    published.write(tmp_path, RECORD)
    published.write(tmp_path, other)
    assert published.read_all(tmp_path) == (other, RECORD)
    assert published.read_all(tmp_path / "none") == ()
