"""Licences out of wheels and Debian packages in a store, read once."""

import hashlib
import json

import pytest

from build import licences
from build import store as stores
from build.errors import HashMismatchError, StoreError
from build.intent import read_intent
from build.licencewords import Licence
from build.lockfile import read_lock
from build.models import Wheel
from build.settings import REPO
from tests import debkit, indexkit

FORMAT = "Format: https://x.example/1.0/\n\nFiles: *\nLicense: "
DOC = "usr/share/doc"


def put_wheel(store, name, *headers, files=None, data=None):
    file, made, _ = indexkit.wheel(name, "1.0", headers=headers, files=files)
    data = made if data is None else data
    sha256 = hashlib.sha256(data).hexdigest()
    path = stores.blob(store, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Wheel(name=name, version="1.0", file=file, sha256=sha256, size=len(data))


def put_deb(store, name, *entries, compression="xz"):
    return debkit.put(store, debkit.deb_bytes(entries, name=name, compression=compression), name=name)


def documented(store, name, licence, **more):
    folder, file = debkit.folder(f"{DOC}/{name}"), debkit.file(f"{DOC}/{name}/copyright", f"{FORMAT}{licence}\n text\n")
    return put_deb(store, name, folder, file, debkit.file(f"{DOC}/{name}/changelog"), **more)


def test_wheels_tell_theirs(tmp_path):
    a = put_wheel(tmp_path, "a", "License-Expression: MIT")
    b = put_wheel(tmp_path, "b", "License: BSD")
    assert licences.of_wheels(tmp_path, [a, b]) == {
        a.sha256: Licence(expression="MIT"),
        b.sha256: Licence(comment="BSD"),
    }


def test_only_the_wheels_own_metadata_counts(tmp_path):
    vendored = {"a/_vendor/b-1.dist-info/METADATA": b"Name: b\nLicense: GPL-3.0-only\n\n"}
    a = put_wheel(tmp_path, "a", "License: ISC", files=vendored)
    assert licences.of_wheels(tmp_path, [a])[a.sha256].expression == "ISC"


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
def test_packages_tell_theirs(tmp_path, compression):
    a = documented(tmp_path, "a", "GPL-2+", compression=compression)
    b = documented(tmp_path, "libb++", "public-domain", compression=compression)
    assert licences.of_debs(tmp_path, [a, b]) == {
        a.sha256: Licence(expression="GPL-2.0-or-later"),
        b.sha256: Licence(comment="public-domain"),
    }
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_package_may_have_anothers_copyright_file(tmp_path):
    a = documented(tmp_path, "a", "Expat")
    b = put_deb(tmp_path, "b", debkit.link(f"{DOC}/b", "a"))
    c = put_deb(tmp_path, "c", debkit.link(f"{DOC}/c", "/usr/share/doc/b"))
    d = put_deb(tmp_path, "d", debkit.folder(f"{DOC}/d"), debkit.link(f"{DOC}/d/copyright", "../a/copyright"))
    found = licences.of_debs(tmp_path, [d, c, b, a])
    assert {licence.expression for licence in found.values()} == {"MIT"}


def test_what_leads_nowhere_is_said(tmp_path):
    a = put_deb(tmp_path, "a", debkit.link(f"{DOC}/a", "b"))
    b = put_deb(tmp_path, "b", debkit.link(f"{DOC}/b", "a"))
    c = put_deb(tmp_path, "c", debkit.link(f"{DOC}/c", "gone"))
    d = put_deb(tmp_path, "d", debkit.link(f"{DOC}/d", "../../../etc/passwd"))
    e = put_deb(tmp_path, "e", debkit.file("usr/bin/e"))
    found = licences.of_debs(tmp_path, [a, b, c, d, e])
    assert found[a.sha256].comment == "its copyright file is that of a, which is not among the packages"
    assert found[c.sha256].comment == "its copyright file is that of gone, which is not among the packages"
    assert "/etc/passwd" not in found[d.sha256].expression
    assert found[d.sha256].comment.startswith("its copyright file is that of")
    assert found[e.sha256].comment == "it has no copyright file"


def test_a_link_does_not_lead_out_of_what_was_unpacked(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"{FORMAT}GPL-3\n")
    a = put_deb(tmp_path, "a", debkit.folder(f"{DOC}/a"), debkit.link(f"{DOC}/a/copyright", str(secret)))
    assert licences.of_debs(tmp_path, [a])[a.sha256].expression == ""


def test_they_are_read_once(tmp_path, monkeypatch):
    wheel, deb = put_wheel(tmp_path, "a", "License: ISC"), documented(tmp_path, "a", "Expat")
    first = licences.of_wheels(tmp_path, [wheel]), licences.of_debs(tmp_path, [deb])
    for file in (wheel, deb):
        stores.blob(tmp_path, file.sha256).unlink()
    assert (licences.of_wheels(tmp_path, [wheel]), licences.of_debs(tmp_path, [deb])) == first
    assert {path.name for path in (tmp_path / "trees").iterdir()} == {licences.name([wheel]), licences.name([deb])}


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b"{}", b'{"%s": []}', b'{"%s": 1}', b"\xff"])
def test_a_spoilt_answer_is_made_anew(tmp_path, spoilt):
    wheel = put_wheel(tmp_path, "a", "License: ISC")
    path = tmp_path / "trees" / licences.name([wheel])
    path.parent.mkdir()
    path.write_bytes(spoilt.replace(b"%s", wheel.sha256.encode()))
    assert licences.of_wheels(tmp_path, [wheel])[wheel.sha256].expression == "ISC"
    assert json.loads(path.read_bytes()) == {wheel.sha256: ["ISC", ""]}


def test_the_name_is_of_the_set(tmp_path):
    a, b = put_wheel(tmp_path, "a"), put_wheel(tmp_path, "b")
    assert licences.name([a, b]) == licences.name([b, a, a])
    assert len({licences.name([a]), licences.name([b]), licences.name([a, b]), licences.name([])}) == 4


def test_what_the_store_lacks_is_named(tmp_path):
    wheel = put_wheel(tmp_path, "a")
    stores.blob(tmp_path, wheel.sha256).unlink()
    with pytest.raises(StoreError, match=r"a-1\.0-py3-none-any\.whl is not in the store"):
        licences.of_wheels(tmp_path, [wheel])
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize("data", [b"no zip", b"PK\x03\x04cut"])
def test_a_wheel_that_cannot_be_read(tmp_path, data):
    wheel = put_wheel(tmp_path, "a", data=data)
    with pytest.raises(HashMismatchError, match="cannot be read"):
        licences.of_wheels(tmp_path, [wheel])
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize("cut", [0, 5, 200, -40])
def test_a_package_that_cannot_be_read(tmp_path, cut):
    entries = [debkit.folder(f"{DOC}/a"), debkit.file(f"{DOC}/a/copyright", FORMAT + "Expat\n" + "text\n" * 500)]
    deb = debkit.put(tmp_path, debkit.deb_bytes(entries, name="a")[:cut], name="a")
    with pytest.raises(HashMismatchError, match=r"a_1_all\.deb cannot be unpacked|cannot be unpacked"):
        licences.of_debs(tmp_path, [deb])
    assert not (tmp_path / "trees").exists()


def test_a_wheel_without_metadata_tells_nothing(tmp_path):
    out = indexkit.io.BytesIO()
    with indexkit.zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.py", b"")
    wheel = put_wheel(tmp_path, "a", data=out.getvalue())
    assert licences.of_wheels(tmp_path, [wheel]) == {wheel.sha256: Licence()}


@pytest.mark.parametrize("target", sorted(read_intent(REPO).targets))
def test_every_target_has_its_wheels_once(target):
    lock = read_lock(REPO, target)
    found = licences.wheels_of(lock)
    assert len({wheel.sha256 for wheel in found}) == len(found)
    assert set(lock.wheels) <= set(found)
    assert {item.wheel.sha256 for item in lock.native.substitutes} <= {w.sha256 for w in found} if lock.native else True
