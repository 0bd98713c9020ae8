"""Where .debs are fetched from: the user's choice, the host's sources, in that order; never a host of ours."""

import pytest

from build import debmirror
from tests.debkit import deb_bytes, put, set_of

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
def host(tmp_path):
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path


def of_host(host):
    return debmirror._of_host(host / "apt", host / "os-release")


def test_the_users_choice_comes_first(tmp_path):
    chosen = {debmirror.VARIABLE: "https://a.example/debian  file:///b"}
    assert debmirror.mirrors(tmp_path, environment=chosen) == ("https://a.example/debian", "file:///b")


def test_deb822_sources_of_debian_itself(host):
    (host / "apt/sources.list.d/debian.sources").write_text(DEB822)
    assert of_host(host) == ("http://first.example/debian", "http://second.example/debian")


def test_one_line_sources(host):
    (host / "apt/sources.list").write_text(
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/x.gpg] http://one.example/debian/ bookworm main contrib\n"
        "deb http://one.example/debian bookworm main\n"
        "deb-src http://two.example/debian bookworm main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
    )
    (host / "apt/sources.list.d/other.list").write_text("deb http://three.example/debian bookworm main\n")
    assert of_host(host) == ("http://one.example/debian", "http://three.example/debian")


def test_another_distribution_has_no_debian_mirror(host):
    (host / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n")
    (host / "apt/sources.list").write_text("deb http://ubuntu.example/ubuntu noble main\n")
    assert of_host(host) == ()


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
