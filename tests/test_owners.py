"""Whose a path is, by the lists that an image carries."""

from build import owners
from build.owners import NOBODY, OURS, SEVERAL
from tests.imagekit import SITE


def known(kept, sites=()):
    found = owners.Owners()
    found.add({path: text.encode() for path, text in kept.items()}, sites)
    return found


def test_a_python_package_owns_what_its_record_lists():
    found = known(
        {
            f"{SITE}/Typing_Ext-4.1.dist-info/RECORD": 'typing_ext/a.py,sha256=x,1\n"typing_ext/b,c.py",,\n../../../bin/te,,\n'
        }
    )
    assert found.of(f"{SITE}/typing_ext/a.py") == "typing-ext"
    assert found.of(f"{SITE}/typing_ext/b,c.py") == "typing-ext"
    assert found.of(f"{SITE}/typing_ext") == "typing-ext"
    assert found.of("opt/venv/bin/te") == "typing-ext"
    assert found.of(f"{SITE}/typing_ext/new.py") == NOBODY
    assert found.of(SITE) == NOBODY
    assert found.versions == {"typing-ext": "4.1"}


def test_a_folder_of_two_packages_is_neither_s():
    found = known({f"{SITE}/{name}-1.dist-info/RECORD": f"nvidia/{name}/x,,\n" for name in ("a", "b")})
    assert found.of(f"{SITE}/nvidia") == SEVERAL
    assert found.of(f"{SITE}/nvidia/b") == "b"


def test_a_patched_package_is_known_by_the_record_that_was_released():
    kept = {"opt/spark/released/jinja2/RECORD": "jinja2/a.py,,\n"}
    assert known(kept, [SITE]).of(f"{SITE}/jinja2/a.py") == "jinja2"
    assert known(kept).of(f"{SITE}/jinja2/a.py") == NOBODY


def test_a_debian_package_owns_what_dpkg_lists():
    found = known(
        {
            "var/lib/dpkg/info/libc6:arm64.list": "/.\n/usr\n/usr/lib/libc.so.6\n",
            "var/lib/dpkg/info/bash.list": "/usr\n/usr/bin/bash\n",
            "var/lib/dpkg/status": "Package: bash\nStatus: x\nVersion: 5.2-1\n\nPackage: libc6\nVersion: 2.41\n",
        }
    )
    assert found.of("usr/lib/libc.so.6") == "libc6"
    assert found.of("usr/bin/bash") == "bash"
    assert found.of("usr") == SEVERAL
    assert found.versions == {"bash": "5.2-1", "libc6": "2.41"}


def test_what_is_ours_is_ours_whatever_lists_say():
    found = known({"var/lib/dpkg/info/x.list": "/opt/spark/a\n"})
    assert (found.of("opt/spark"), found.of("opt/spark/a"), found.of("opt/sparkle")) == (OURS, OURS, NOBODY)


def test_lists_are_known_by_their_places():
    lists = [
        f"{SITE}/a-1.dist-info/RECORD",
        "opt/spark/released/a/RECORD",
        "var/lib/dpkg/info/a.list",
        "var/lib/dpkg/status",
    ]
    assert all(map(owners.is_list, lists))
    assert not any(
        map(owners.is_list, ["RECORD", f"{SITE}/a/RECORD", "x/var/lib/dpkg/info/a.list", "var/lib/dpkg/info/a.md5sums"])
    )


def test_the_folders_of_packages_are_found():
    assert owners.sites([f"{SITE}/a/b.py", f"{SITE}", "etc/x"]) == {SITE}
