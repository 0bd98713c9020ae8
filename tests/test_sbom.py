"""Bills of materials: complete, valid, the same every time, small, and no place or machine in them."""

import contextlib
import copy
import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import sbom, spdxjson, steps
from build.errors import StoreError, UnresolvedError, VerifyError
from build.intent import read_intent
from build.licencewords import OTHER, Licence
from build.models import External, GitSource, Settings, Submodule
from build.sbom import Named, identifier
from build.settings import REPO

DIGEST, COMMIT = f"sha256:{'5e' * 32}", "c0" * 20
OPEN = {"g27"}  # its vLLM could not be reached when its lock was made
TARGETS = sorted(set(read_intent(REPO).targets) - OPEN)
TOLD = Licence(expression=f"Apache-2.0 AND {OTHER} AND LicenseRef-NVIDIA-Proprietary", comment="Other/Proprietary, BSD")


@pytest.fixture
def job(tmp_path):
    return functools.partial(steps.load, Settings(repo=REPO, store=tmp_path))


def made(job, known=None, **changes):
    known = {file.sha256: TOLD for file in (*job.lock.wheels, *job.rootfs.debs)} if known is None else known
    return sbom.make(job, **{"digest": DIGEST, "commit": COMMIT, "known": known, **changes})


def related(document, kind):
    return {
        (row["spdxElementId"], row["relatedSpdxElement"])
        for row in document["relationships"]
        if row["relationshipType"] == kind
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_valid_and_complete_one(job, target):
    of = job(target)
    data = made(of)
    document = json.loads(data)
    assert spdxjson.faults(document) == ()
    found = sbom.packages(document)
    assert found == sbom.expected(of, digest=DIGEST, commit=COMMIT)
    named = set(found.values())
    image = identifier("image", f"spark-runtime {target}")
    assert found[image] == Named("image", f"spark-runtime {target}", of.target.version, "5e" * 32)
    assert {Named("wheel", w.name, w.version, w.sha256) for w in of.lock.wheels} <= named
    assert {Named("deb", deb.name, deb.version, deb.sha256) for deb in of.rootfs.debs} <= named
    assert {Named("patch", p.path.as_posix(), "", p.ref.sha256) for p in of.series.patches} <= named
    assert Named("repository", "spark-runtime", COMMIT, "") in named
    assert {row.kind for row in named} - {"image", "wheel", "deb", "source", "git", "patch", "repository"} == set()
    contained = {other for one, other in related(document, "CONTAINS") if one == image}
    assert contained == {key for key, row in found.items() if row.kind in ("wheel", "deb")}
    assert related(document, "DESCRIBES") == {("SPDXRef-DOCUMENT", image)}
    for kind in ("PATCH_FOR", "PATCH_APPLIED"):
        assert {one for one, _ in related(document, kind)} == {key for key, row in found.items() if row.kind == "patch"}
    used = {
        identifier
        for row in document["relationships"]
        for identifier in (row["spdxElementId"], row["relatedSpdxElement"])
    }
    assert used == {"SPDXRef-DOCUMENT", *found}  # nothing hangs in the air, nothing is left out


@pytest.mark.parametrize("target", TARGETS)
def test_no_place_and_no_machine_is_in_it(job, target, tmp_path):
    text = made(job(target)).decode()
    assert "://" not in text
    assert str(REPO) not in text
    assert str(tmp_path) not in text
    assert not re.search(r"/(home|root|tmp|work)/", text)
    assert {row["downloadLocation"] for row in json.loads(text)["packages"]} == {"NOASSERTION"}


def test_the_largest_is_small(job):
    assert len(made(job("v0.32"))) < 250_000


def test_a_wheel_lane_is_patched_from_its_source_archive(job):
    document = json.loads(made(job("v0.32")))
    archive = identifier("source", "vllm-0.32.0.tar.gz")
    assert archive in {other for _, other in related(document, "GENERATED_FROM")}
    of_vllm = {one for one, other in related(document, "PATCH_FOR") if other == archive}
    assert of_vllm == {one for one, other in related(document, "PATCH_APPLIED") if other == identifier("wheel", "vllm")}


def test_a_source_lane_names_what_was_compiled(job):
    of = job("canary")
    document = json.loads(made(of))
    generated = related(document, "GENERATED_FROM")
    image = identifier("image", "spark-runtime canary")
    (substitute,) = of.lock.native.substitutes
    assert (image, identifier("source", substitute.wheel.file)) in generated
    assert (identifier("wheel", "vllm"), identifier("source", "vllm-0.22.0.tar.gz")) in generated
    of = job("g27-rehearsal")  # here the substitute's wheel is in the image too
    generated = related(json.loads(made(of)), "GENERATED_FROM")
    assert (identifier("image", "spark-runtime g27-rehearsal"), identifier("wheel", "flashinfer-python")) in generated


def test_git_sources_have_their_commits_and_trees(job):
    of = job("canary")
    module = Submodule(path="third/c u", url="https://git.example/c", commit="aa" * 20, tree="bb" * 20)
    source = GitSource(
        url="https://github.com/NVIDIA/cutlass.git", tag="v4", commit="cc" * 20, tree="dd" * 20, submodules=(module,)
    )
    component = replace(of.lock.components[0], archive=None, git=source)
    external = External(name="cutlass", source=source)
    of = replace(of, lock=replace(of.lock, components=(component,), externals=(external,), unresolved=()))
    document = json.loads(made(of))
    assert spdxjson.faults(document) == ()
    found = sbom.packages(document)
    assert found == sbom.expected(of, digest=DIGEST, commit=COMMIT)
    assert found[identifier("git", "cutlass")] == Named("git", "cutlass", "cc" * 20, "")
    assert found[identifier("git", "vllm/third/c u")].version == "aa" * 20
    (row,) = [row for row in document["packages"] if row["name"] == "cutlass"]
    assert {ref["referenceLocator"] for ref in row["externalRefs"]} == {
        f"pkg:github/nvidia/cutlass@{'cc' * 20}", f"swh:1:rev:{'cc' * 20}", f"swh:1:dir:{'dd' * 20}",
    }  # fmt: skip
    assert "git.example" not in json.dumps(document)
    assert (identifier("wheel", "vllm"), identifier("git", "vllm")) in related(document, "GENERATED_FROM")
    declared = {row["name"]: row.get("licenseDeclared") for row in document["packages"]}
    assert declared["vllm"] == TOLD.expression
    assert {declared["cutlass"], declared["vllm/third/c u"], declared["cutlass/third/c u"]} == {None}


def test_package_urls(job):
    rows = {row["SPDXID"]: row for row in json.loads(made(job("v0.32")))["packages"]}
    urls = {key: [ref["referenceLocator"] for ref in row.get("externalRefs", ())] for key, row in rows.items()}
    assert urls[identifier("image", "spark-runtime v0.32")] == [
        f"pkg:oci/spark-runtime@sha256%3A{'5e' * 32}?arch=arm64"
    ]
    assert [key for key, row in rows.items() if row.get("primaryPackagePurpose") == "CONTAINER"] == [
        identifier("image", "spark-runtime v0.32")
    ]
    assert urls[identifier("wheel", "vllm")] == ["pkg:pypi/vllm@0.32.0"]
    (cxx,) = urls[identifier("deb", "libstdc++6")]
    assert re.fullmatch(r"pkg:deb/debian/libstdc%2B%2B6@[\w.-]+\?arch=arm64&distro=trixie", cxx)
    (tzdata,) = urls[identifier("deb", "tzdata")]
    assert "?arch=all&" in tzdata
    assert urls[identifier("source", "vllm-0.32.0.tar.gz")] == ["pkg:pypi/vllm@0.32.0?file_name=vllm-0.32.0.tar.gz"]
    assert urls[identifier("repository", "spark-runtime")] == [f"swh:1:rev:{COMMIT}"]


def test_licences_are_declared_and_nothing_else(job):
    of = job("tiny")
    known = {of.lock.wheels[0].sha256: Licence(expression="MIT"), of.lock.wheels[1].sha256: Licence(comment="BSD")}
    rows = {row["name"]: row for row in json.loads(made(of, known))["packages"]}
    assert rows["jinja2"]["licenseDeclared"] == "MIT"
    assert rows["jinja2-3.1.6.tar.gz"]["licenseDeclared"] == "MIT"  # of the same release
    assert (rows["markupsafe"].get("licenseDeclared"), rows["markupsafe"]["licenseComments"]) == (None, "BSD")
    assert "licenseDeclared" not in rows["libc6"]
    assert {key for row in rows.values() for key in row if key.startswith("licen")} == {
        "licenseDeclared",
        "licenseComments",
    }


def test_our_own_licence_is_that_of_the_repository():
    assert (REPO / "LICENSE").read_text(encoding="utf-8").startswith(f"{sbom.OUR_LICENCE.expression} License\n")


PROGRAM = """
import sys
from pathlib import Path
from build import sbom, steps
from build.licencewords import Licence
from build.models import Settings
job = steps.load(Settings(repo=Path(sys.argv[1]), store=Path(sys.argv[2])), "canary")
known = {file.sha256: Licence(expression="MIT AND LicenseRef-B AND LicenseRef-A") for file in job.lock.wheels}
sys.stdout.buffer.write(sbom.make(job, digest=sys.argv[3], commit=sys.argv[4], known=known))
"""


def test_it_is_the_same_in_every_process(tmp_path):
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, REPO, tmp_path, DIGEST, COMMIT],
            cwd=REPO, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout
        for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"))
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["spdxVersion"] == "SPDX-2.3"


def test_it_hangs_on_the_digest_and_the_commit(job):
    of = job("tiny")
    first, second, third = made(of), made(of, digest=f"sha256:{'0' * 64}"), made(of, commit="0" * 40)
    spaces = {json.loads(data)["documentNamespace"] for data in (first, second, third)}
    assert len(spaces) == 3
    assert made(of) == first


def test_what_a_lock_leaves_open_has_none(job):
    for target in OPEN:
        with pytest.raises(UnresolvedError):
            made(job(target))


@pytest.mark.parametrize("wrong", [{"digest": "latest"}, {"digest": "sha256:0"}, {"commit": ""}, {"commit": "main"}])
def test_it_is_of_a_digest_and_a_commit(job, wrong):
    with pytest.raises(ValueError, match="no digest or commit"):
        made(job("tiny"), **wrong)


def test_licences_are_read_from_the_store(job):
    with pytest.raises(StoreError, match="not in the store"):
        sbom.read_licences(job("tiny"))


# Reading one back


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    of = steps.load(Settings(repo=REPO, store=tmp_path_factory.mktemp("store")), "tiny")
    return json.loads(made(of)), sbom.expected(of, digest=DIGEST, commit=COMMIT)


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc["packages"].pop(),
        lambda doc: doc["packages"][3].update(versionInfo="9"),
        lambda doc: doc["packages"][3]["checksums"][0].update(checksumValue="0" * 64),
        lambda doc: doc["packages"][3].pop("checksums"),
        lambda doc: doc["packages"].append({"SPDXID": "SPDXRef-wheel-more", "name": "more"}),
        lambda doc: doc["files"].pop(),
        lambda doc: doc["files"][0]["checksums"][1].update(checksumValue="0" * 64),
    ],
)
def test_a_changed_one_is_another(document, change):
    data, expected = document
    changed = copy.deepcopy(data)
    change(changed)
    assert sbom.packages(data) == expected
    assert sbom.packages(changed) != expected


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc.clear(),
        lambda doc: doc.update(packages=None),
        lambda doc: doc.update(packages=[None]),
        lambda doc: doc["packages"][3].pop("SPDXID"),
        lambda doc: doc["packages"][3].update(name="another"),
        lambda doc: doc["packages"][3].update(SPDXID="SPDXRef-thing-another", name="another"),
        lambda doc: doc["packages"][3]["checksums"].append({"algorithm": "SHA256", "checksumValue": "0" * 64}),
        lambda doc: doc["packages"].append(doc["packages"][3]),
        lambda doc: doc.update(files=[{}]),
    ],
)
def test_one_that_is_not_ours_is_said_to_be(document, change):
    changed = copy.deepcopy(document[0])
    change(changed)
    with pytest.raises(VerifyError, match="bill of materials"):
        sbom.packages(changed)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3) | st.dictionaries(
    st.sampled_from(["packages", "files", "SPDXID", "name", "checksums", "algorithm", "checksumValue", "x"]), x, max_size=4,
), max_leaves=12))  # fmt: skip
def test_anything_else_is_an_error_too(value):
    with contextlib.suppress(VerifyError):
        assert isinstance(sbom.packages(value), dict)


@given(st.sampled_from(sbom.KINDS), *[st.text("ab09+._-/2bf", max_size=8)] * 2)
def test_identifiers_are_valid_and_differ(kind, one, other):
    assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", identifier(kind, one))
    assert (identifier(kind, one) == identifier(kind, other)) == (one == other)
