"""Where .debs are fetched from: the user's choice, the host's sources, then snapshots; never a host of ours."""

import shutil

import pytest

from build import debmirror, host, receive, store
from build.errors import GoneError, HashMismatchError, NetworkError, OfflineError, UsageError
from build.models import Settings
from tests.debkit import deb_bytes, put, set_of
from tests.mirrorkit import DATE, DAY, Archive, serve, snapshot_id

DEB822 = """\
# a comment
Types: deb
URIs: http://first.example/debian/ http://second.example/debian
# another
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://first.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://elsewhere.example/linux/debian
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: https://sources.example/debian
Suites: bookworm
Components: main
"""


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path


def of_host(machine):
    return debmirror._of_host(machine / "apt", machine / "os-release")


def test_the_users_choice_comes_first(tmp_path):
    chosen = {debmirror.VARIABLE: "https://a.example/debian  http://b.example"}
    assert debmirror.mirrors(tmp_path, environment=chosen) == ("https://a.example/debian", "http://b.example")


@pytest.mark.parametrize("root", ["file:///b", "b.example/debian", "/srv/debian"])
def test_a_place_that_no_one_can_fetch_from_is_no_choice(tmp_path, root):
    with pytest.raises(UsageError, match=debmirror.VARIABLE):
        debmirror.mirrors(tmp_path, environment={debmirror.VARIABLE: f"http://b.example {root}"})
    with pytest.raises(UsageError, match=debmirror.SNAPSHOT_VARIABLE):
        debmirror.snapshot({debmirror.SNAPSHOT_VARIABLE: root})


def test_deb822_sources_of_debian_itself(machine):
    (machine / "apt/sources.list.d/debian.sources").write_text(DEB822)
    assert of_host(machine) == ("http://first.example/debian", "http://second.example/debian")


def test_one_line_sources(machine):
    (machine / "apt/sources.list").write_text(
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/x.gpg] http://one.example/debian/ bookworm main contrib\n"
        "deb http://one.example/debian bookworm main\n"
        "deb-src http://two.example/debian bookworm main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
    )
    (machine / "apt/sources.list.d/other.list").write_text("deb http://three.example/debian bookworm main\n")
    assert of_host(machine) == ("http://one.example/debian", "http://three.example/debian")


def test_another_distribution_has_no_debian_mirror(machine):
    (machine / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n")
    (machine / "apt/sources.list").write_text("deb http://ubuntu.example/ubuntu noble main\n")
    assert of_host(machine) == ()


def test_mmdebstraps_own_default(tmp_path):
    script = tmp_path / "mmdebstrap"
    script.write_text("    my $mirror    = 'http://default.example/debian';\n")
    assert debmirror._default_mirror(script) == ("http://default.example/debian",)


def test_downloads_have_every_mirror_and_quoted_paths(tmp_path):
    deb = put(tmp_path, deb_bytes([]))
    (item,) = debmirror.downloads(set_of(deb), ["http://a.example/debian/", "http://b.example/debian"])
    assert item.urls == (
        "http://a.example/debian/pool/main/t/thing/thing_1_all.deb",
        "http://b.example/debian/pool/main/t/thing/thing_1_all.deb",
    )
    assert (item.sha256, item.size, item.file) == (deb.sha256, deb.size, deb.file)


# Fetching


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(receive, "BACKOFF_SECONDS", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "web/archive/debian").mkdir(parents=True)
    with serve(tmp_path / "web") as server:
        monkeypatch.setenv(debmirror.VARIABLE, f"{server.url}/debian {server.url}/second")
        monkeypatch.delenv(debmirror.SNAPSHOT_VARIABLE, raising=False)
        yield server


@pytest.fixture
def archive(tmp_path):
    """A mirror, and another of the same content."""
    for name in ("second", "debian"):
        archive = Archive(tmp_path / f"web/{name}")
        for package in ("one", "two", "three"):
            archive.add(package)
    return archive


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path, store=tmp_path / "store")


def drop(archive, *names):
    """Take packages off both mirrors, as an archive does with what was superseded."""
    for name in names:
        for mirror in ("debian", "second"):
            (archive.root.parent / mirror / f"pool/main/{name}_1.0-1_arm64.deb").unlink()


def keep(archive, *times):
    """A snapshot archive that took all of it in at each of these times."""
    for seconds in times:
        place = archive.root.parent / f"archive/debian/{snapshot_id(seconds)}"
        place.mkdir()
        (place / "pool").symlink_to(archive.root.parent / "kept")
    (archive.root / "pool").rename(archive.root.parent / "kept")
    for mirror in ("debian", "second"):
        shutil.copytree(archive.root.parent / "kept", archive.root.parent / mirror / "pool", dirs_exist_ok=True)


def held(settings, debset):
    return {deb.name for deb in debset.debs if store.has(settings.store, deb.sha256, deb.size)}


def test_what_is_current_comes_from_the_mirror_and_from_nowhere_else(archive, server, settings, monkeypatch):
    monkeypatch.setenv(debmirror.SNAPSHOT_VARIABLE, f"{server.url}/")
    debset = archive.locked()
    assert host.fetch_debs(settings, debset) == sum(deb.size for deb in debset.debs)
    assert held(settings, debset) == {"one", "two", "three"}
    assert sorted(server.asked) == sorted(f"/debian/{deb.path}" for deb in debset.debs)
    assert host.fetch_debs(settings, debset) == 0
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("taken", "without"),
    [(DATE, DATE - DAY), (DATE + DAY // 4, DATE - DAY), (DATE, DATE + DAY // 4)],
)
def test_what_was_superseded_comes_from_the_snapshot_of_its_time(
    archive, server, settings, monkeypatch, taken, without
):
    monkeypatch.setenv(debmirror.SNAPSHOT_VARIABLE, server.url)
    debset = archive.locked()
    keep(archive, taken)
    (archive.root.parent / f"archive/debian/{snapshot_id(without)}/pool/main").mkdir(parents=True)
    drop(archive, "two")
    host.fetch_debs(settings, debset)
    assert held(settings, debset) == {"one", "two", "three"}
    asked = {path.rpartition("/")[2] for path in server.asked if path.startswith("/archive")}
    assert asked == {"two_1.0-1_arm64.deb"}


def test_the_mirror_may_name_its_snapshots(archive, server, settings):
    debset = archive.locked()
    keep(archive, DATE)
    drop(archive, "one", "two")
    release = archive.root / "dists/trixie/InRelease"
    release.parent.mkdir(parents=True)
    release.write_text(f"Hash: SHA256\n\nSuite: stable\nSnapshots: {server.url}/archive/debian/@SNAPSHOTID@/\n")
    host.fetch_debs(settings, debset)
    assert held(settings, debset) == {"one", "two", "three"}


def test_what_is_nowhere_any_more_is_named_all_of_it_and_the_rest_is_fetched(archive, server, settings, monkeypatch):
    debset = archive.locked()
    drop(archive, "one", "two")
    for named in (False, True):
        if named:
            keep(archive, DATE)
            shutil.rmtree(archive.root.parent / "kept")
            monkeypatch.setenv(debmirror.SNAPSHOT_VARIABLE, server.url)
        with pytest.raises(GoneError) as caught:
            host.fetch_debs(settings, debset)
        assert "one_1.0-1_arm64.deb, two_1.0-1_arm64.deb" in caught.value.why
        for advice in ("--exported", debmirror.SNAPSHOT_VARIABLE, "nox -s lock"):
            assert advice in caught.value.todo
    assert caught.value.exit_code == 23
    assert held(settings, debset) == {"three"}


def swap(path):
    path.write_bytes(b"x" + path.read_bytes()[1:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def page(path):
    path.write_bytes(b"<html>sign in</html>")


@pytest.mark.parametrize("spoil", [swap, cut, page])
def test_wrong_bytes_are_refused_wherever_they_come_from(archive, server, settings, spoil):
    debset = archive.locked()
    name = "pool/main/two_1.0-1_arm64.deb"
    spoil(archive.root / name)
    host.fetch_debs(settings, debset)
    assert held(settings, debset) == {"one", "two", "three"}
    other = Settings(repo=settings.repo, store=settings.store.with_name("other"))
    spoil(archive.root.parent / "second" / name)
    with pytest.raises(HashMismatchError, match=r"two_1\.0-1_arm64\.deb"):
        host.fetch_debs(other, debset)
    assert "two" not in held(other, debset)


def test_a_mirror_that_fails_is_not_one_that_lost_a_package(archive, server, settings):
    debset = archive.locked()
    server.faults["/debian/pool"] = 500
    host.fetch_debs(settings, debset)
    other = Settings(repo=settings.repo, store=settings.store.with_name("other"))
    server.faults["/second/pool"] = 404
    with pytest.raises(NetworkError) as caught:
        host.fetch_debs(other, debset)
    assert not isinstance(caught.value, GoneError)


def test_offline_asks_no_one(archive, server, settings):
    offline = Settings(repo=settings.repo, store=settings.store, offline=True)
    with pytest.raises(OfflineError):
        host.fetch_debs(offline, archive.locked())
    assert server.asked == []


def test_an_exported_folder_is_enough_and_no_mirror_is_asked(archive, server, settings, tmp_path):
    debset = archive.locked()
    host.fetch_debs(Settings(repo=tmp_path, store=tmp_path / "folder"), debset)
    server.asked.clear()
    exported = Settings(repo=tmp_path, store=settings.store, exported=(tmp_path / "folder",))
    host.fetch_debs(exported, debset)
    assert held(settings, debset) == {"one", "two", "three"}
    assert server.asked == []


def test_what_an_exported_folder_lacks_comes_from_the_mirrors(archive, server, tmp_path):
    debset = archive.locked()
    (tmp_path / "folder").mkdir()
    exported = Settings(repo=tmp_path, store=tmp_path / "store", exported=(tmp_path / "folder",))
    host.fetch_debs(exported, debset)
    assert held(exported, debset) == {"one", "two", "three"}
