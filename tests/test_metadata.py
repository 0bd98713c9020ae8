"""METADATA of wheels: from the store, from PEP 658's files, from the end of a wheel on a real server."""

import hashlib
import io
import os
import zipfile

import pytest

from build import metadata, store
from build.metadata import Metadata
from build.models import Wheel
from tests import indexkit

BIG = os.urandom(300_000)  # does not compress: METADATA is not in the part that is asked for first
HEADERS = ("Requires-Python: >=3.10", "Provides-Extra: fast")
REQUIRES = ("b>=1", 'c; extra == "fast"')
SAID = Metadata(requires=REQUIRES, extras=("fast",), requires_python=">=3.10")


@pytest.fixture
def served():
    with indexkit.serve() as index:
        yield index


def put(index, name="a", **more):
    """A wheel on the index, as a lock names it, and its address."""
    kept = index.add(name, "1", requires=REQUIRES, headers=HEADERS, **more)
    wheel = Wheel(name=name, version="1", file=kept.name, sha256=kept.sha256, size=len(kept.data))
    return wheel, {kept.sha256: index.address(kept)}


def big(index):
    """The same with METADATA at the beginning, and so many files that the archive's directory is long."""
    put(index)
    kept = index.files["a"][0]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a-1.dist-info/METADATA", kept.metadata)
        archive.writestr("a/data", BIG)
        for number in range(3000):
            archive.writestr(f"a/{number:04}.py", b"")
    kept.data = out.getvalue()
    wheel = Wheel(name="a", version="1", file=kept.name, sha256=kept.sha256, size=len(kept.data))
    return wheel, {kept.sha256: index.address(kept)}


def keep(folder, data):
    sha256 = hashlib.sha256(data).hexdigest()
    path = store.blob(folder, sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


def fetched(index):
    return [(path.rsplit("/", 1)[-1], asked) for path, asked in index.asked]


def test_the_store_is_asked_first(served, tmp_path):
    wheel, urls = put(served)
    keep(tmp_path, served.files["a"][0].data)
    assert metadata.read_all(tmp_path, [wheel], urls) == {"a": SAID}
    assert served.asked == []


def test_metadata_files_spare_the_wheel(served, tmp_path):
    served.serves_metadata = True
    wheel, urls = put(served, files={"data": BIG})
    assert metadata.read_all(tmp_path, [wheel], urls) == {"a": SAID}
    assert fetched(served) == [(f"{wheel.file}.metadata", "")]


def test_the_end_of_a_wheel_is_enough(served, tmp_path):
    wheel, urls = put(served, files={"data": BIG})
    assert metadata.read_all(tmp_path, [wheel], urls) == {"a": SAID}
    last = f"bytes={wheel.size - metadata.TAIL}-{wheel.size - 1}"
    assert fetched(served) == [(f"{wheel.file}.metadata", ""), (wheel.file, last)]
    assert not any(tmp_path.iterdir())


def test_a_wheel_with_a_long_directory_takes_a_few_more_requests(served, tmp_path):
    wheel, urls = big(served)
    assert metadata.read_all(tmp_path, [wheel], urls) == {"a": SAID}
    spans = [asked.removeprefix("bytes=").split("-") for _, asked in fetched(served) if asked]
    assert len(spans) <= 4
    assert sum(int(last) - int(first) + 1 for first, last in spans) < wheel.size


def test_many_wheels_ask_a_server_for_metadata_files_hardly_more_than_once(served, tmp_path):
    wheels, urls = [], {}
    for number in range(30):
        wheel, address = put(served, f"a{number}")
        wheels.append(wheel)
        urls |= address
    assert metadata.read_all(tmp_path, wheels, urls) == {wheel.name: SAID for wheel in wheels}
    assert sum(name.endswith(".metadata") for name, _ in fetched(served)) <= metadata.WORKERS


@pytest.mark.parametrize("fault", ["404", "500", "login", "cut"])
def test_what_cannot_be_read_in_part_is_left_to_be_fetched(served, tmp_path, fault):
    wheel, urls = put(served)
    served.file_fault = fault
    assert metadata.read_all(tmp_path, [wheel], urls) == {}
    assert metadata.read_all(tmp_path, [wheel], {}) == {}


def test_a_server_without_ranges_does_not_send_the_whole_wheel(served, tmp_path):
    served.serves_ranges = False
    wheel, urls = put(served, files={"data": BIG})
    assert metadata.read_all(tmp_path, [wheel], urls) == {}


def test_another_file_under_the_wheel_s_name(served, tmp_path):
    wheel, urls = put(served)
    served.files["a"][0].data += b"x"
    assert metadata.read_all(tmp_path, [wheel], urls) == {}
    served.files["a"][0].data = b"x" * wheel.size
    assert metadata.read_all(tmp_path, [wheel], urls) == {}


def test_metadata_of_another_time_and_in_other_words():
    said = "Metadata-Version: 2.1\nName: ü\nRequires-Dist: b\n (>=1)\nRequires-Dist: c\nrequires-dist: d\n\nRequires-Dist: e"
    assert metadata.parse(said).requires == ("b (>=1)", "c", "d")
