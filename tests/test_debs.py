"""Resolving: what is asked of apt, and apt's own answers from a small archive made here."""

import gzip
import hashlib
import subprocess

import pytest

from build import debs
from build.errors import ResolveError

TABLES = {
    "rootfs": {"trixie": {"suite": "trixie", "packages": ["python3"]}},
    "root": {"tools": {"suite": "trixie", "architectures": ["amd64", "arm64"], "packages": ["runc"]}},
}


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


def package(name, *, depends="", essential=False, recommends=""):
    fields = {
        "Package": name,
        "Version": "1.0-1",
        "Architecture": "arm64",
        "Essential": "yes" if essential else "",
        "Depends": depends,
        "Recommends": recommends,
        "Filename": f"pool/main/{name}_1.0-1_arm64.deb",
        "Size": "10",
        "SHA256": hashlib.sha256(name.encode()).hexdigest(),
        "Description": "a thing",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


@pytest.fixture
def archive(tmp_path):
    """A signed archive of our own and the keyring for it."""
    root = tmp_path / "archive"
    folder = root / "dists/trixie/main/binary-arm64"
    folder.mkdir(parents=True)
    records = [
        package("base", essential=True),
        package("thing", depends="lib (>= 1), alias", recommends="extra"),
        package("lib"),
        package("extra"),
        package("alias"),
    ]
    packages = "\n".join(records).encode()
    data = gzip.compress(packages, mtime=0)
    (folder / "Packages.gz").write_bytes(data)
    release = (
        "Origin: Test\nSuite: stable\nCodename: trixie\nArchitectures: arm64\nComponents: main\n"
        "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-arm64/Packages.gz\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-arm64/Packages\n"
    )
    (root / "dists/trixie/Release").write_text(release)
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    keyring = tmp_path / "keyring.gpg"
    run = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    who = "test@test.example"
    for arguments in (
        ["--passphrase", "", "--quick-generate-key", who, "rsa2048"],
        ["--output", str(keyring), "--export", who],
        ["--output", str(root / "dists/trixie/InRelease"), "--clearsign", str(root / "dists/trixie/Release")],
    ):
        subprocess.run([*run, *arguments], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
    return f"file://{root}", keyring


def request(*packages, essential=True):
    return debs.Request(
        root="tiny", suite="trixie", arch="arm64", packages=packages, essential=essential, intent="0" * 64
    )


@pytest.mark.programs("apt-get", "apt-cache", "gpg", "gpgconf")
def test_apt_resolves_without_recommends_and_with_essentials(tmp_path, archive):
    mirror, keyring = archive
    found = debs.resolve(request("thing"), [mirror], tmp_path / "state", keyring=keyring)
    assert [deb.name for deb in found.debs] == ["alias", "base", "lib", "thing"]
    assert found.debs[3].path == "pool/main/thing_1.0-1_arm64.deb"
    assert found.debs[3].sha256 == hashlib.sha256(b"thing").hexdigest()
    assert debs.with_epoch(found, [3, 7, 5]).epoch == 7
    few = debs.resolve(request("lib", essential=False), [mirror], tmp_path / "state", keyring=keyring)
    assert [deb.name for deb in few.debs] == ["lib"]


@pytest.mark.programs("apt-get", "apt-cache", "gpg", "gpgconf")
def test_the_next_mirror_is_asked_and_a_wrong_key_is_an_error(tmp_path, archive):
    mirror, keyring = archive
    nowhere = f"file://{tmp_path}/nowhere"
    found = debs.resolve(request("lib"), [nowhere, mirror], tmp_path / "state", keyring=keyring)
    assert {deb.name for deb in found.debs} == {"base", "lib"}
    other = tmp_path / "other.gpg"
    other.write_bytes(b"")
    with pytest.raises(ResolveError, match="no Debian mirror gave a signed trixie"):
        debs.resolve(request("lib"), [mirror], tmp_path / "fresh", keyring=other)


@pytest.mark.programs("apt-get", "apt-cache", "gpg", "gpgconf")
def test_a_package_that_does_not_exist(tmp_path, archive):
    mirror, keyring = archive
    with pytest.raises(ResolveError, match="apt finds no way") as caught:
        debs.resolve(request("nosuch"), [mirror], tmp_path / "state", keyring=keyring)
    assert "nosuch" in caught.value.why


@pytest.mark.programs("apt-get")
def test_no_keys(tmp_path):
    with pytest.raises(ResolveError, match="keys of Debian's archive"):
        debs.resolve(request("lib"), ["file:///x"], tmp_path, keyring=tmp_path / "none")
