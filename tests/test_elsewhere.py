"""The build elsewhere, as far as it goes without root: the plan, the copies, what is written out."""

import hashlib
import json
import os

import pytest

from build import clone, conditions, elsewhere, results, store
from build.elsewhere import Plan
from tests.test_clone import repo  # noqa: F401 - a fixture
from tests.test_results import RESULT


def plan(folder, **more):
    values = {
        "target": "tiny", "vary": ("path", "tz"), "repo": str(folder / "repo"), "store": str(folder / "store"),
        "blobs": (), "work": str(folder / "work"), "disk": "", "point": str(folder / "point"), "expected": "sha256:m",
    }  # fmt: skip
    return Plan(**{**values, **more})


def test_a_plan_is_read_as_it_was_written(tmp_path):
    made = plan(tmp_path, blobs=("a", "b"))
    made.write(tmp_path / "plan")
    assert elsewhere.read(str(tmp_path / "plan")) == made


def test_the_place_has_a_name_of_its_own_where_the_path_is_varied(tmp_path):
    assert os.fsencode(plan(tmp_path).place).endswith(conditions.PATH.encode())
    assert plan(tmp_path, vary=("tz",)).place == tmp_path / "point" / "place"


def test_locked_files_are_copied_and_not_linked(tmp_path):
    data = b"a wheel"
    name = hashlib.sha256(data).hexdigest()
    there = store.blob(tmp_path / "store", name)
    there.parent.mkdir(parents=True)
    there.write_bytes(data)
    elsewhere.copy_blobs(tmp_path / "store", tmp_path / "other", [name])
    copy = store.blob(tmp_path / "other", name)
    assert copy.read_bytes() == data
    assert copy.stat().st_ino != there.stat().st_ino


def test_what_goes_in_is_old_where_the_clock_is_varied(repo, tmp_path):  # noqa: F811
    made = plan(tmp_path, vary=("clock",))
    (tmp_path / "work").mkdir()
    clone.copy(repo, made.clone)
    elsewhere.hand_over(made)
    times = {int(path.stat().st_mtime) for path in made.place.rglob("*")}
    assert times == {conditions.OLD}


def content(folder):
    """A content store that holds the image of a result: its manifest, its config, one layer."""

    def blob(data):
        name = hashlib.sha256(data).hexdigest()
        (folder / "sha256").mkdir(parents=True, exist_ok=True)
        (folder / "sha256" / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    made = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(b"{}"),
        "layers": [blob(b"layer")],
    }
    return blob(json.dumps(made).encode())["digest"]


@pytest.mark.parametrize("as_expected", [True, False])
def test_the_image_is_written_out_only_where_it_is_not_the_expected_one(tmp_path, as_expected):
    digest = content(tmp_path / "content")
    found = results.Result(**{**RESULT.__dict__, "manifest": digest})
    made = plan(tmp_path, expected=digest if as_expected else "sha256:other")
    results.write(made.clone, found)
    elsewhere.write_out(made, found, tmp_path / "content")
    assert results.read(made.out, "tiny") == found
    assert made.image.exists() is not as_expected
    if not as_expected:
        index = json.loads((made.image / "index.json").read_text())
        (described,) = index["manifests"]
        manifest = (made.image / "blobs" / digest.replace(":", "/")).read_bytes()
        assert described == {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": len(manifest),
        }  # fmt: skip
        layer = json.loads(manifest)["layers"][0]["digest"].replace(":", "/")
        assert (made.image / "blobs" / layer).read_bytes() == b"layer"
