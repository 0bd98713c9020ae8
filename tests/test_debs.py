"""Resolving: what is asked of apt, and apt's own answers from a small signed archive on loopback."""

import dataclasses
import hashlib

import pytest

from build import apt, debs
from build.errors import ResolveError
from tests.mirrorkit import DATE, DAY, Archive, date_text, new_key, serve, snapshot_id

TABLES = {
    "rootfs": {"trixie": {"suite": "trixie", "packages": ["python3"]}},
    "root": {"tools": {"suite": "trixie", "architectures": ["amd64", "arm64"], "packages": ["runc"]}},
}
PROGRAMS = ("apt-get", "apt-cache", "gpg", "gpgconf")


def test_a_request_for_each_table_and_architecture():
    found = debs.requests(TABLES)
    assert [(item.root, item.arch, item.essential) for item in found] == [
        ("trixie", "arm64", True),
        ("tools", "amd64", False),
        ("tools", "arm64", False),
    ]
    assert found[1].intent == found[2].intent != found[0].intent


def test_the_intent_changes_with_the_table():
    edited = {"rootfs": {"trixie": {"suite": "trixie", "packages": ["python3", "gcc"]}}}
    assert debs.requests(TABLES)[0].intent != debs.requests(edited)[0].intent


@pytest.fixture
def key(tmp_path, monkeypatch):
    monkeypatch.setattr(apt, "RETRIES", 0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with new_key(tmp_path / "gpg") as key:
        yield key


def filled(archive):
    archive.add("base", Essential="yes")
    archive.add("thing", Depends="lib (>= 1), alias", Recommends="extra")
    for name in ("lib", "extra", "alias"):
        archive.add(name)
    archive.publish()
    return archive


@pytest.fixture
def archive(tmp_path, key):
    return filled(Archive(tmp_path / "web/debian", key))


@pytest.fixture
def server(tmp_path):
    (tmp_path / "web/archive/debian").mkdir(parents=True)
    with serve(tmp_path / "web") as server:
        yield server


@pytest.fixture
def resolve(tmp_path, key, server):
    """Resolve packages against the archive (or other mirrors), in a state of its own unless one is named."""

    def ask(*packages, mirrors=(), state="state", keyring=key.keyring, essential=False, **options):
        request = debs.Request(
            root="tiny", suite="trixie", arch="arm64", packages=packages, essential=essential, intent="0" * 64
        )
        asked = mirrors or [f"{server.url}/debian"]
        return debs.resolve(request, asked, tmp_path / state, keyring=keyring, **options)

    return ask


def versions(debset):
    return {deb.name: deb.version for deb in debset.debs}


@pytest.mark.programs(*PROGRAMS)
def test_apt_resolves_without_recommends_and_with_essentials(archive, resolve):
    found = resolve("thing", essential=True)
    assert [deb.name for deb in found.debs] == ["alias", "base", "lib", "thing"]
    path = archive.root / found.debs[3].path
    assert found.debs[3].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.released == DATE
    assert debs.with_epoch(found, [3, 7, 5]).epoch == 7
    assert list(versions(resolve("lib"))) == ["lib"]


@pytest.mark.programs(*PROGRAMS)
def test_the_next_mirror_is_asked_where_one_does_not_answer(archive, server, resolve):
    mirrors = [f"{server.url}/nowhere", "http://127.0.0.1:9/debian", f"{server.url}/debian"]
    assert list(versions(resolve("lib", mirrors=mirrors))) == ["lib"]
    with pytest.raises(ResolveError, match="no Debian mirror gave a signed trixie for arm64") as caught:
        resolve("lib", mirrors=mirrors[:2])
    assert "does not have a Release file" in caught.value.why
    assert "onnect" in caught.value.why  # "Could not connect", "Unable to connect"


@pytest.mark.programs(*PROGRAMS)
def test_what_a_mirror_said_earlier_is_no_answer_once_it_is_away(archive, server, resolve):
    resolve("lib")
    server.faults["InRelease"] = 500
    with pytest.raises(ResolveError, match="no Debian mirror") as caught:
        resolve("lib")
    assert "500" in caught.value.why
    server.faults.clear()
    assert versions(resolve("lib")) == {"lib": "1.0-1"}


@pytest.mark.programs(*PROGRAMS)
def test_an_update_that_was_cut_is_taken_up_again(archive, server, resolve):
    server.faults["Packages"] = b"<html>"
    with pytest.raises(ResolveError, match="no Debian mirror"):
        resolve("lib")
    server.faults.clear()
    assert versions(resolve("lib")) == {"lib": "1.0-1"}


def unsign(archive, _server):
    release = archive.root / "dists/trixie/InRelease"
    release.rename(release.with_name("Release"))


def edit_release(archive, _server):
    release = archive.root / "dists/trixie/InRelease"
    release.write_text(release.read_text().replace("Origin: Test", "Origin: Text"))


def edit_packages(archive, _server):
    packages = archive.root / "dists/trixie/main/binary-arm64/Packages.xz"
    packages.write_bytes(packages.read_bytes()[:-4] + b"abcd")


def cut_packages(archive, _server):
    packages = archive.root / "dists/trixie/main/binary-arm64/Packages.xz"
    packages.write_bytes(packages.read_bytes()[:-4])


def sign_in(_archive, server):
    server.faults["/debian"] = b"<html>sign in</html>"


def expire(archive, _server):
    archive.publish(Valid_Until=date_text(DATE + DAY))


def hang(_archive, server):
    server.faults["/debian"] = "hang"


@pytest.mark.programs(*PROGRAMS)
@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (unsign, "is not signed"),
        (edit_release, "signatures were invalid|manipulated"),
        (edit_packages, "Hash Sum mismatch"),
        (cut_packages, "unexpected size"),
        (sign_in, "does the network require authentication"),
        (expire, "is expired"),
        (hang, "timed out|Connection failed"),
    ],
)
def test_an_archive_that_cannot_be_trusted_is_refused(archive, server, resolve, monkeypatch, trouble, why):
    monkeypatch.setattr(apt, "TIMEOUT_SECONDS", 1)
    trouble(archive, server)
    with pytest.raises(ResolveError, match="no Debian mirror gave a signed trixie") as caught:
        resolve("lib")
    assert any(part in caught.value.why for part in why.split("|")), caught.value.why
    assert "Hashes of" not in caught.value.why


@pytest.mark.programs(*PROGRAMS)
def test_a_mirror_that_trickles_is_given_up(archive, server, resolve, monkeypatch):
    monkeypatch.setattr(apt, "UPDATE_SECONDS", 1)
    server.faults["InRelease"] = "trickle"
    with pytest.raises(ResolveError, match="no Debian mirror gave a signed trixie") as caught:
        resolve("lib")
    assert caught.value.why == "apt-get took longer than 1 s and was ended"


@pytest.mark.programs(*PROGRAMS)
def test_another_key_is_refused(tmp_path, archive, resolve):
    with new_key(tmp_path / "other") as other, pytest.raises(ResolveError, match="no Debian mirror") as caught:
        resolve("lib", keyring=other.keyring)
    assert "public key is not available" in caught.value.why or "Missing key" in caught.value.why
    assert "debian-archive-keyring" in caught.value.todo


@pytest.mark.programs("apt-get")
def test_no_keys_and_no_mirror(tmp_path):
    request = debs.requests(TABLES)[0]
    with pytest.raises(ResolveError, match="keys of Debian's archive"):
        debs.resolve(request, ["file:///x"], tmp_path, keyring=tmp_path / "none")
    (tmp_path / "some").touch()
    with pytest.raises(ResolveError, match="no Debian mirror is known"):
        debs.resolve(request, [], tmp_path, keyring=tmp_path / "some")


# What apt says


@pytest.mark.programs(*PROGRAMS)
def test_a_package_that_does_not_exist_and_the_nearest_that_does(archive, resolve):
    with pytest.raises(ResolveError, match="apt finds no way to install the packages of 'tiny' for arm64") as caught:
        resolve("thnig")
    assert "thnig" in caught.value.why
    assert caught.value.why.endswith("the archive has thing")


@pytest.mark.programs(*PROGRAMS)
def test_packages_that_cannot_be_had_together(archive, resolve):
    archive.add("foe", Conflicts="lib")
    archive.add("lost", Depends="nowhere (>= 2)")
    archive.publish()
    with pytest.raises(ResolveError) as caught:
        resolve("thing", "foe")
    assert caught.value.why.startswith("foe : Conflicts: lib")
    assert "held broken packages" not in caught.value.why
    with pytest.raises(ResolveError, match="apt finds no way") as caught:
        resolve("lost")
    assert "lost : Depends: nowhere (>= 2)" in caught.value.why


# What was locked before


@pytest.mark.programs(*PROGRAMS)
def test_a_new_date_of_the_archive_alone_changes_nothing(archive, resolve):
    before = debs.with_epoch(resolve("thing"), [5])
    archive.publish(DATE + DAY)
    assert resolve("thing", before=before) is before
    archive.add("lib", "1.1-1")
    archive.publish(DATE + 2 * DAY)
    found = resolve("thing", before=before)
    assert (versions(found)["lib"], found.released) == ("1.1-1", DATE + 2 * DAY)


@pytest.mark.programs(*PROGRAMS)
def test_a_mirror_that_is_behind_the_lock_is_passed_over(tmp_path, key, server, archive, resolve):
    newer = filled(Archive(tmp_path / "web/newer", key))
    newer.publish(DATE + DAY)
    mirrors = [f"{server.url}/debian", f"{server.url}/newer"]
    before = dataclasses.replace(resolve("lib"), released=DATE + DAY, debs=())
    assert resolve("lib", mirrors=mirrors, before=before).released == DATE + DAY
    with pytest.raises(ResolveError, match="no Debian mirror") as caught:
        resolve("lib", before=before)
    assert "lags: it is of 2026-09-21 00:00:00 UTC, and the lock knows 2026-09-22" in caught.value.why
    assert resolve("lib", before=dataclasses.replace(before, suite="forky")).released == DATE


# As it stood


@pytest.fixture
def snapshots(tmp_path, key):
    """States of DATE (lib 1.0-1) and of two days later (lib 1.1-1), each taken in six hours after its date."""
    states = {}
    for date, version in ((DATE, "1.0-1"), (DATE + 2 * DAY, "1.1-1")):
        taken = date + DAY // 4
        states[date] = filled(Archive(tmp_path / f"web/archive/debian/{snapshot_id(taken)}", key))
        states[date].add("lib", version)
        states[date].publish(date, Valid_Until=date_text(date + DAY))
    return states


@pytest.mark.programs(*PROGRAMS)
def test_an_instant_after_the_release_is_the_state_of_today(archive, server, resolve):
    assert resolve("lib", as_of=DATE, snapshot=f"{server.url}/nowhere/@SNAPSHOTID@/").released == DATE
    assert resolve("lib", as_of=DATE + DAY).released == DATE
    assert not [path for path in server.asked if "nowhere" in path]


@pytest.mark.programs(*PROGRAMS)
@pytest.mark.parametrize(("as_of", "version"), [(DATE + DAY, "1.0-1"), (DATE + 3 * DAY, "1.1-1")])
def test_an_instant_before_the_release_is_asked_of_the_snapshots(archive, server, snapshots, resolve, as_of, version):
    archive.add("lib", "1.2-1")
    archive.publish(DATE + 9 * DAY)
    found = resolve("thing", as_of=as_of, snapshot=f"{server.url}/archive/debian/@SNAPSHOTID@/")
    assert versions(found)["lib"] == version
    assert found.released == next(date for date, state in snapshots.items() if version in state.records["lib"])


@pytest.mark.programs(*PROGRAMS)
def test_the_archive_itself_may_name_its_snapshots(archive, server, snapshots, resolve):
    archive.publish(DATE + 9 * DAY, Snapshots=f"{server.url}/archive/debian/@SNAPSHOTID@/")
    assert resolve("lib", as_of=DATE + DAY).released == DATE


@pytest.mark.programs(*PROGRAMS)
def test_a_snapshot_is_verified_as_any_archive_is(archive, server, snapshots, resolve):
    archive.publish(DATE + 9 * DAY)
    edit_release(snapshots[DATE], server)
    with pytest.raises(ResolveError, match="the snapshot archive gave no signed trixie of 2026-09-22") as caught:
        resolve("lib", as_of=DATE + DAY, snapshot=f"{server.url}/archive/debian/@SNAPSHOTID@/")
    assert "signatures were invalid" in caught.value.why or "manipulated" in caught.value.why


@pytest.mark.programs(*PROGRAMS)
def test_a_snapshot_from_after_the_instant_is_no_answer(archive, server, resolve):
    archive.publish(DATE + 9 * DAY)
    with pytest.raises(ResolveError, match="cannot tell how trixie stood at 2026-09-22 00:00:00 UTC"):
        resolve("lib", as_of=DATE + DAY, snapshot=f"{server.url}/debian")


@pytest.mark.programs(*PROGRAMS)
def test_without_snapshots_an_instant_before_the_release_cannot_be_told(archive, resolve):
    archive.publish(DATE + 9 * DAY)
    with pytest.raises(ResolveError, match="no Debian mirror can tell how trixie stood at 2026-09-22 00:00") as caught:
        resolve("lib", as_of=DATE + DAY)
    assert "the archive is of 2026-09-30 00:00:00 UTC already" in caught.value.why
    assert "SPARK_RUNTIME_DEBIAN_SNAPSHOT" in caught.value.todo
    assert "from 2026-09-30 00:00:00 UTC on" in caught.value.todo
