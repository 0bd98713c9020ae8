"""Every file of an image has an owner and its owner's bytes: that a true image is explained, and each tampering is seen."""

import json
import tarfile
from dataclasses import replace

import pytest

from build import accounted, debclaims, debrules, debwritten, ociimage, rootfs
from build.claims import DEB, GENERATED, KINDS, OURS, PATCH, WHEEL, Patch
from build.errors import HashMismatchError
from tests.accountkit import INFO, Deb, Layer, Small, cache, md5, recorded, sha256
from tests.imagekit import SITE, entry, image, tar

PLAIN_RECORD = f"{SITE}/plain_one-2.0.dist-info/RECORD"
PATCHED_INFO = f"{SITE}/patchy-1.0+spark.dist-info"


@pytest.fixture
def made():
    return Small()


def told(found):
    """What was found, as (path, reason); missing paths come with "missing"."""
    return [(item.path, item.reason) for item in found.unexplained] + [(i.path, "missing") for i in found.missing]


def test_all_of_a_true_image_is_explained(made, tmp_path):
    found = made.account(tmp_path)
    assert told(found) == []
    assert found.is_complete
    assert (found.packages, found.lists, found.excused) == (14, 0, ())
    shares = found.shares
    assert tuple(shares) == KINDS
    assert (shares[PATCH].files, shares[PATCH].compared) == (2, 2)
    assert shares[WHEEL].files - shares[WHEEL].compared == 2  # RECORDs
    assert (shares[DEB].files, shares[DEB].compared) == (18, 18)
    assert shares[OURS].links == 6
    assert shares[GENERATED].compared < shares[GENERATED].files  # what only has a place
    assert shares["bytecode"].compared == 0
    entries = sum(share.files + share.links for share in shares.values()) + found.folders
    assert entries == len({path for layer in made.layers for path in layer})


def test_with_the_lists_of_the_locked_files_all_is_explained_too(made, tmp_path):
    found = made.account(tmp_path, made.named(lists=made.lists()))
    assert (told(found), found.lists, found.packages) == ([], 14, 14)


def test_who_knows_only_names_is_told_of_what_they_cannot_explain(made, tmp_path):
    found = made.account(tmp_path, made.named(own=None, manifest=None, bytecode=None))
    assert told(found) == []
    found = made.account(tmp_path, made.named(patched={}))
    assert (f"{SITE}/patchy/a.py", "it is in layer 2 too, and no patch is said to change it") in told(found)


def rewrite(layer, path, content, **facts):
    layer.put(path, content, **{"mode": layer[path][0].mode, **facts})


def appended(layer, path, text):
    rewrite(layer, path, layer.content(path) + text.encode())


def appended_json(made, **members):
    told = {**json.loads(made.manifest.content("opt/spark/manifest.json")), **members}
    rewrite(made.manifest, "opt/spark/manifest.json", json.dumps(told).encode())


def mode(layer, path, value):
    layer[path][0].mode = value


TAMPERED = {
    # what nobody lists
    "a file in the venv": (
        lambda m: m.more.append(added(f"{SITE}/sitecustomize.py", b"x")), f"{SITE}/sitecustomize.py", "nobody lists",
    ),
    "a file in Debian's": (lambda m: m.more.append(added("usr/bin/evil", b"x")), "usr/bin/evil", "nobody lists"),
    "a file that a loader reads": (
        lambda m: m.more.append(added("etc/ld.so.preload", b"x")), "etc/ld.so.preload", "nobody lists",
    ),
    "a file of the user": (lambda m: m.more.append(added("home/spark/.bashrc")), "home/spark/.bashrc", "nobody lists"),
    "a file in ours": (lambda m: m.ours.put("opt/spark/checks/two.py"), "opt/spark/checks/two.py", "nobody lists"),
    "an empty folder": (lambda m: m.ours.dir("opt/other"), "opt/other", "an empty folder that nobody lists"),
    "a link in a wheel's folder": (
        lambda m: m.wheels.link(f"{SITE}/plain_one/out", "/usr/bin/bash"), f"{SITE}/plain_one/out", "/usr/bin/bash that",
    ),
    "bytecode without a source": (
        lambda m: m.wheels.put(f"{SITE}/plain_one/__pycache__/evil.cpython-313.pyc"),
        f"{SITE}/plain_one/__pycache__/evil.cpython-313.pyc", "nobody lists",
    ),
    "bytecode for another Python": (
        lambda m: m.wheels.put(f"{SITE}/plain_one/__pycache__/__init__.cpython-314.pyc"),
        f"{SITE}/plain_one/__pycache__/__init__.cpython-314.pyc", "nobody lists",
    ),
    "bytecode that the target does not ask for": (
        lambda m: m.wheels.put(f"{SITE}/patchy/__pycache__/b.cpython-313.pyc"),
        f"{SITE}/patchy/__pycache__/b.cpython-313.pyc", "patchy/b.py is not among the sources",
    ),
    "Debian's bytecode without a source": (
        lambda m: m.rootfs.put("usr/lib/python3.13/__pycache__/x.cpython-313.pyc"),
        "usr/lib/python3.13/__pycache__/x.cpython-313.pyc", "nobody lists",
    ),
    "a dist-info without a RECORD": (
        lambda m: m.wheels.put(f"{SITE}/evil-1.dist-info/METADATA"), f"{SITE}/evil-1.dist-info/METADATA", "nobody",
    ),
    # another content
    "a wheel's byte": (
        lambda m: rewrite(m.wheels, f"{SITE}/plain_one/__init__.py", b"x = 2\n"), f"{SITE}/plain_one/__init__.py",
        "not those in the RECORD of plain-one",
    ),
    "a program's byte": (lambda m: rewrite(m.wheels, "opt/venv/bin/plain", b"#!"), "opt/venv/bin/plain", "not those in"),
    "a Debian file's byte": (
        lambda m: rewrite(m.rootfs, "usr/bin/bash", b"\x7fELF Bash"), "usr/bin/bash", "not those that bash lists",
    ),
    "a conffile's byte": (lambda m: rewrite(m.rootfs, "etc/bash.bashrc", b"x"), "etc/bash.bashrc", "not those that"),
    "our file's byte": (lambda m: rewrite(m.ours, "opt/spark/checks/one.py", b"x"), "opt/spark/checks/one.py", "clone's"),
    "a patched file's byte": (
        lambda m: rewrite(m.patched, f"{SITE}/patchy/a.py", b"a = 3\n"), f"{SITE}/patchy/a.py", "patches of the lock",
    ),
    "a released file that is patched": (
        lambda m: rewrite(m.wheels, f"{SITE}/patchy/a.py", b"a = 0\n"), f"{SITE}/patchy/a.py", "layer 2 has another",
    ),
    "the venv's configuration": (
        lambda m: appended(m.ours, "opt/venv/pyvenv.cfg", "x = y\n"), "opt/venv/pyvenv.cfg", "what ours does",
    ),
    "what the image says of itself": (
        lambda m: appended_json(m, target="other"), "opt/spark/manifest.json", "what the lock's image says of itself",
    ),
    "a manifest that is none": (
        lambda m: rewrite(m.manifest, "opt/spark/manifest.json", b"[]"), "opt/spark/manifest.json", "it is no manifest",
    ),
    "a list of our links": (lambda m: appended_json(m, own=[]), "opt/spark/own.json", "do not list the same files"),
    "an installer's note": (
        lambda m: rewrite(m.wheels, "opt/spark/released/patchy/INSTALLER", b"pip"),
        "opt/spark/released/patchy/INSTALLER", "not those in its RECORD",
    ),
    # kinds, modes, owners
    "set-uid": (lambda m: mode(m.rootfs, "usr/bin/bash", 0o4755), "usr/bin/bash", "its mode is 4755"),
    "set-uid in the venv": (lambda m: mode(m.wheels, "opt/venv/bin/plain", 0o4755), "opt/venv/bin/plain", "4755"),
    "su without": (lambda m: mode(m.rootfs, "usr/bin/su", 0o755), "usr/bin/su", "should be 4755"),
    "writable by all": (lambda m: mode(m.wheels, SITE, 0o777), SITE, "its mode is 0777 and should be 0755"),
    "another owner": (
        lambda m: setattr(m.wheels[f"{SITE}/plain_one/__init__.py"][0], "uid", 1000),
        f"{SITE}/plain_one/__init__.py", "its owner is 1000:0",
    ),
    "a capability": (
        lambda m: setattr(m.rootfs["usr/bin/bash"][0], "pax_headers", {"SCHILY.xattr.security.capability": "x"}),
        "usr/bin/bash", "it has SCHILY.xattr.security.capability",
    ),
    "a device": (
        lambda m: m.rootfs.update({"usr/bin/mem": entry("usr/bin/mem", type=tarfile.CHRTYPE)}),
        "usr/bin/mem", "a character device",
    ),
    "a pipe": (lambda m: m.rootfs.update({"run/p": entry("run/p", type=tarfile.FIFOTYPE)}), "run/p", "a fifo"),
    "a file for a link": (lambda m: m.ours.put("opt/venv/bin/python", b"#!"), "opt/venv/bin/python", "should be a link"),
    "a link for a file": (
        lambda m: m.wheels.link(f"{SITE}/plain_one/__init__.py", "../patchy/b.py"),
        f"{SITE}/plain_one/__init__.py", "and it is a symbolic link",
    ),
    "a link for a Debian file": (
        lambda m: m.rootfs.link("usr/bin/bash", "mawk"), "usr/bin/bash", "bash has a file there, and it is a link",
    ),
    "a link for a Debian folder": (
        lambda m: (m.rootfs.pop("usr/share/pam/common-auth"), m.rootfs.link("usr/share/pam", "base-files")),
        "usr/share/pam", "libpam-runtime has a folder there",
    ),
    "a hard link to a file that must be another": (
        lambda m: m.rootfs.update({"usr/bin/mawk": entry("usr/bin/mawk", type=tarfile.LNKTYPE, linkname="usr/bin/bash")}),
        "usr/bin/mawk", "not those that mawk lists",
    ),
    "a hard link to nothing": (
        lambda m: m.rootfs.update({"usr/bin/z": entry("usr/bin/z", type=tarfile.LNKTYPE, linkname="../etc/x")}),
        "usr/bin/z", "a hard link to no file of its layer",
    ),
    # layers
    "a whiteout": (lambda m: m.more.append(added("usr/bin/.wh.bash")), "usr/bin/bash", "a whiteout"),
    "a whiteout of all": (lambda m: m.more.append(added("usr/bin/.wh..wh..opq")), "usr/bin/*", "a whiteout"),
    "a path in two layers": (
        lambda m: m.more.append(added("usr/bin/bash", b"\x7fELF bash")), "usr/bin/bash", "it is in layer 1 too",
    ),
    "a patched path in three": (
        lambda m: m.more.append(added(f"{SITE}/patchy/a.py", b"a = 2\n")), f"{SITE}/patchy/a.py", "more than two layers",
    ),
    "a file for a folder": (lambda m: m.more.append(added("opt/spark", b"")), "opt/spark", "it is in layer 5 too"),
    "a file through a link": (lambda m: m.more.append(through()), "bin/evil", "it lies below bin, which is no folder"),
    "a path that climbs": (lambda m: m.more.append(added("usr/../etc/x", b"")), "usr/../etc/x", "no plain path"),
    # links
    "a package's link out of Debian's": (
        lambda m: m.rootfs.link("usr/bin/rbash", "/opt/venv/bin/plain"), "usr/bin/rbash", "which no Debian package has",
    ),
    "an alternative of another package": (
        lambda m: rewrite(m.rootfs, "var/lib/dpkg/alternatives/awk", b"auto\n/usr/bin/awk\n\n/usr/bin/bash\n5\n\n"),
        "var/lib/dpkg/alternatives/awk", "/usr/bin/bash is not of mawk",
    ),
    "a new alternative": (
        lambda m: m.rootfs.put("var/lib/dpkg/alternatives/ls", b"auto\n/usr/bin/ls\n\n/usr/bin/bash\n5\n\n"),
        "var/lib/dpkg/alternatives/ls", "nobody lists",
    ),
    "an alternative's link": (
        lambda m: m.rootfs.link("etc/alternatives/awk", "/usr/bin/bash"), "etc/alternatives/awk", "link to /usr/bin/mawk",
    ),
    "a link of the toolkit": (
        lambda m: m.ours.link(f"{SITE}/nvidia/cu13/lib/libcublas.so", "../../../plain_one/lib/libx.so.13"),
        f"{SITE}/nvidia/cu13/lib/libcublas.so", "the library beside it",
    ),
    "a certificate's link": (
        lambda m: m.rootfs.link("etc/ssl/certs/Evil.pem", "/opt/venv/evil.pem"), "etc/ssl/certs/Evil.pem", "no certificate",
    ),
    # what Debian's scripts write
    "a certificate more": (
        lambda m: appended(m.rootfs, "etc/ssl/certs/ca-certificates.crt", "-----BEGIN-----\nevil\n"),
        "etc/ssl/certs/ca-certificates.crt", "and them only",
    ),
    "a user more": (lambda m: appended(m.rootfs, "etc/passwd", "evil::0:0::/:/bin/bash\n"), "etc/passwd", "our user"),
    "su without a question": (
        lambda m: rewrite(m.rootfs, "etc/pam.d/common-auth", b"auth\tsufficient\tpam_permit.so\n"),
        "etc/pam.d/common-auth", "the profile `unix`",
    ),
    "another library of a name": (
        lambda m: rewrite(m.rootfs, "etc/ld.so.cache", cache(("libz.so.1", "/opt/venv/evil/libz.so.1"))),
        "etc/ld.so.cache", "which is no Debian package's",
    ),
    "a cache that is none": (lambda m: rewrite(m.rootfs, "etc/ld.so.cache", b"x" * 60), "etc/ld.so.cache", "another form"),
    "a cache that is cut": (
        lambda m: rewrite(m.rootfs, "etc/ld.so.cache", cache(("a", "/b"))[:50]), "etc/ld.so.cache", "cannot be read",
    ),
    "a profile": (lambda m: rewrite(m.rootfs, "etc/profile", b"evil\n"), "etc/profile", "a copy of usr/share/base-files"),
    "a machine's id": (lambda m: rewrite(m.rootfs, "etc/machine-id", b"1\n"), "etc/machine-id", "does not hold"),
    "a shell": (lambda m: appended(m.rootfs, "etc/shells", "/opt/evil\n"), "etc/shells", "/opt/evil is no package's"),
    "a diversion": (
        lambda m: appended(m.rootfs, "var/lib/dpkg/diversions", "/usr/bin/su\n/usr/bin/su2\nbash\n"),
        "var/lib/dpkg/diversions", "more than the merge of /usr",
    ),
    "a unit that nobody brings": (
        lambda m: m.rootfs.link("etc/systemd/system/x.target.wants/evil.service", "/opt/x"),
        "etc/systemd/system/x.target.wants/evil.service", "nobody lists",
    ),
    # lists
    "a RECORD's row for a file elsewhere": (
        lambda m: appended(m.wheels, PLAIN_RECORD, "../../../../../etc/x,,\n"), PLAIN_RECORD, "is not in the venv",
    ),
    "a row without a digest": (
        lambda m: (appended(m.wheels, PLAIN_RECORD, "plain_one/y.py,,\n"), m.wheels.put(f"{SITE}/plain_one/y.py")),
        f"{SITE}/plain_one/y.py", "gives no sha256",
    ),
    "a row twice": (lambda m: appended(m.wheels, PLAIN_RECORD, "plain_one/__init__.py,,\n"), PLAIN_RECORD, "in it twice"),
    "a row of another wheel's file": (
        lambda m: appended(m.wheels, PLAIN_RECORD, f"patchy/b.py,{recorded(b'b = 1' + bytes([10]))},\n"),
        f"{SITE}/patchy/b.py", "both list it",
    ),
    "no CSV": (lambda m: rewrite(m.wheels, PLAIN_RECORD, b'"a\nb'), PLAIN_RECORD, "it is no RECORD"),
    "a row more in a patched RECORD": (
        lambda m: (
            appended(m.patched, f"{PATCHED_INFO}/RECORD", f"patchy/evil.py,{recorded(b'x')},\n"),
            m.patched.put(f"{SITE}/patchy/evil.py", b"x"),
        ),
        f"{PATCHED_INFO}/RECORD", "tells of patchy/evil.py otherwise than the wheel's",
    ),
    "a compiled library of a wheel": (
        lambda m: m.ours.put("opt/spark/compiled.json", b'{"plain_one/lib/libx.so.13": {}}'),
        "opt/spark/compiled.json", "nothing of this image was compiled",
    ),
    "other METADATA of a patched wheel": (
        lambda m: rewrite(m.patched, f"{PATCHED_INFO}/METADATA", b"Name: patchy\nVersion: 1.0+spark\n\nOther\n"),
        f"{PATCHED_INFO}/METADATA", "more than version and requirements",
    ),
    "a wheel of another version": (
        lambda m: renamed(m, "plain_one-2.0", "plain_one-2.1"),
        f"{SITE}/plain_one-2.1.dist-info/RECORD", "plain-one is 2.1, and the lock has 2.0",
    ),
    "METADATA of another version": (
        lambda m: renamed(m, "plain_one-2.0", "plain_one-2.1"),
        f"{SITE}/plain_one-2.1.dist-info/METADATA", "it is of Plain.One 2.0, and its folder of plain-one 2.1",
    ),
    "a wheel that is not in the lock": (
        lambda m: wheel(m, "evil-1.dist-info"), f"{SITE}/evil-1.dist-info/RECORD", "evil 1 is not in the lock",
    ),
    "a wheel twice": (
        lambda m: wheel(m, "Plain.One-2.0.dist-info"), PLAIN_RECORD, "plain-one is installed twice",
    ),
    "a wheel for another Python": (
        lambda m: wheel(m, "evil-1.dist-info", SITE.replace("3.13", "3.14")),
        f"{SITE.replace('3.13', '3.14')}/evil-1.dist-info/RECORD", "packages are in",
    ),
    "a .deb that is not in the lock": (lambda m: deb(m, "evil"), "var/lib/dpkg/status", "evil 1-1 is not in the lock"),
    "a .deb of another version": (
        lambda m: (setattr(m.debs["bash"], "version", "5.3"), m.write_lists()),
        "var/lib/dpkg/status", "bash is 5.3, and the lock has 5.2-1",
    ),
    "a .deb for another machine": (
        lambda m: (setattr(m.debs["bash"], "arch", "amd64"), m.write_lists()), "var/lib/dpkg/status", "is for amd64",
    ),
    "a .deb that is half installed": (
        lambda m: rewrite(
            m.rootfs, "var/lib/dpkg/status", m.rootfs.content("var/lib/dpkg/status").replace(b"install ok", b"hold ok", 1)
        ),
        "var/lib/dpkg/status", "'hold ok installed'",
    ),
    "a list of no package": (
        lambda m: m.rootfs.put(f"{INFO}/evil.list", b"/usr/bin/evil\n"), f"{INFO}/evil.list", "does not name its package",
    ),
    "a script of no package": (
        lambda m: m.rootfs.put(f"{INFO}/evil.postinst", b"#!"), f"{INFO}/evil.postinst", "evil would have made it",
    ),
    "a listed file without a digest": (
        lambda m: (m.debs["bash"].others.append("usr/bin/x"), m.write_lists(), m.rootfs.put("usr/bin/x", b"x")),
        "usr/bin/x", "bash lists it without a digest",
    ),
    "a digest of a file that is not listed": (
        lambda m: (m.debs["bash"].more_md5.update({"usr/bin/x": md5(b"x")}), m.write_lists()),
        f"{INFO}/bash:arm64.list", "it does not have usr/bin/x",
    ),
    "a Debian list of the venv": (
        lambda m: (m.debs["bash"].others.append("opt/venv/x"), m.write_lists()), f"{INFO}/bash:arm64.list", "opt/venv/x",
    ),
    "a file of two packages": (
        lambda m: (m.debs["mawk"].files.update({"usr/bin/bash": b"\x7fELF bash"}), m.write_lists()),
        "usr/bin/bash", "bash and mawk both list it",
    ),
    "lines that are no digests": (
        lambda m: rewrite(m.rootfs, f"{INFO}/bash:arm64.md5sums", b"x\n"), f"{INFO}/bash:arm64.md5sums", "no line as dpkg",
    ),
    "a left-out file that is there": (
        lambda m: rewrite(m.wheels, "opt/spark/left-out/other.json", b'{"plain_one/__init__.py": {}}'),
        "opt/spark/left-out/other.json", "said to be left out, and is there",
    ),
    # what is not there
    "a wheel's file gone": (
        lambda m: m.wheels.pop(f"{SITE}/plain_one/__init__.py"), f"{SITE}/plain_one/__init__.py", "missing",
    ),
    "a Debian file gone": (lambda m: m.rootfs.pop("usr/bin/bash"), "usr/bin/bash", "missing"),
    "our file gone": (lambda m: m.ours.pop("opt/spark/checks/one.py"), "opt/spark/checks/one.py", "missing"),
    "a patched file gone": (lambda m: m.patched.pop(f"{SITE}/patchy/new.py"), f"{SITE}/patchy/new.py", "missing"),
    "a licence gone": (
        lambda m: m.rootfs.pop("usr/share/doc/base-files/copyright"), "usr/share/doc/base-files/copyright", "missing",
    ),
    "a wheel gone": (
        lambda m: [m.wheels.pop(path) for path in list(m.wheels) if "plain_one-2.0" in path], "wheel plain-one 2.0",
        "missing",
    ),
    "a .deb gone": (lambda m: (m.debs.pop("mawk"), m.write_lists()), "deb mawk 1-1", "missing"),
    "a list gone": (lambda m: m.rootfs.pop(f"{INFO}/bash:arm64.list"), f"{INFO}/bash.list", "missing"),
    "the released RECORD gone": (
        lambda m: m.wheels.pop("opt/spark/released/patchy/RECORD"), f"{PATCHED_INFO}/RECORD", "there is no opt/spark/rel",
    ),
    "the manifest gone": (lambda m: m.manifest.clear(), "opt/spark/manifest.json", "missing"),
}  # fmt: skip


def added(path, content=b""):
    layer = Layer()
    layer[path] = entry(path, content)
    return layer


def through():
    return Layer({"bin/evil": entry("bin/evil", b"x")})


def deb(made, name):
    made.debs[name] = Deb(name)
    made.write_lists()


def wheel(made, info, site=SITE):
    name, version = info.removesuffix(".dist-info").rsplit("-", 1)
    metadata = f"Name: {name}\nVersion: {version}\n\n".encode()
    made.wheels.put(f"{site}/{info}/METADATA", metadata)
    made.wheels.put(f"{site}/{info}/RECORD", f"{info}/METADATA,{recorded(metadata)},\n{info}/RECORD,,\n".encode())


def renamed(made, old, new):
    for path in [path for path in made.wheels if old in path]:
        info, content = made.wheels.pop(path)
        made.wheels.put(
            path.replace(old, new), content.replace(old.encode(), new.encode()), type=info.type, mode=info.mode
        )


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampering_is_seen(made, tmp_path, what):
    change, path, reason = TAMPERED[what]
    change(made)
    found = told(made.account(tmp_path))
    assert [row for row in found if row[0] == path and reason in row[1]], found


def test_a_finding_says_its_layer(made, tmp_path):
    made.more.append(added("usr/bin/evil", b"x"))
    (finding,) = made.account(tmp_path).unexplained
    assert finding == (6, "usr/bin/evil", "a file that nobody lists")


def test_a_folder_is_told_only_where_nothing_below_it_is(made, tmp_path):
    made.ours.put("opt/evil/deep/x")
    assert told(made.account(tmp_path)) == [("opt/evil/deep/x", "a file that nobody lists")]


# What the lists of an image cannot show, and those of the locked files can


def extra_row(made):
    made.wheels.put(f"{SITE}/plain_one/evil.py", b"evil")
    appended(made.wheels, PLAIN_RECORD, f"plain_one/evil.py,{recorded(b'evil')},4\n")


def changed_row(made):
    rewrite(made.wheels, f"{SITE}/plain_one/__init__.py", b"evil")
    text = made.wheels.content(PLAIN_RECORD).replace(recorded(b"x = 1\n").encode(), recorded(b"evil").encode())
    rewrite(made.wheels, PLAIN_RECORD, text)


def both_records(made):
    for layer, path in ((made.wheels, "opt/spark/released/patchy/RECORD"), (made.patched, f"{PATCHED_INFO}/RECORD")):
        appended(layer, path, f"patchy/evil.py,{recorded(b'evil')},\n")
    made.patched.put(f"{SITE}/patchy/evil.py", b"evil")


def debian_list(made):
    made.debs["bash"].files["usr/bin/evil"] = b"evil"
    made.rootfs.put("usr/bin/evil", b"evil")
    made.write_lists()


def debian_digest(made):
    made.debs["bash"].files["usr/bin/bash"] = b"evil"
    made.rootfs.put("usr/bin/bash", b"evil")
    made.write_lists()


def conffile_digest(made):
    made.debs["bash"].conffiles["etc/bash.bashrc"] = b"evil"
    made.rootfs.put("etc/bash.bashrc", b"evil")
    made.write_lists()


BASH_LIST = (f"{INFO}/bash:arm64.list", "it and bash.md5sums are not those of the locked package")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (extra_row, (PLAIN_RECORD, "it does not say what the locked wheel says")),
        (changed_row, (PLAIN_RECORD, "it does not say what the locked wheel says")),
        (both_records, ("opt/spark/released/patchy/RECORD", "it does not say what the locked wheel says")),
        (debian_list, BASH_LIST),
        (debian_digest, BASH_LIST),
        (conffile_digest, BASH_LIST),
    ],
)
def test_an_edited_list_is_seen_with_the_locked_files_lists_alone(made, tmp_path, change, finding):
    change(made)
    assert told(made.account(tmp_path / "a")) == []
    assert told(made.account(tmp_path / "b", made.named(lists=made.lists()))) == [finding]


# What is declared


def test_a_record_that_is_known_to_lie_is_excused_for_the_bytes_that_the_wheel_has(made, tmp_path):
    path = f"{SITE}/plain_one/lib/libx.so.13"
    rewrite(made.wheels, path, b"published so")
    known = {"plain-one": {"plain_one/lib/libx.so.13": sha256(b"published so")}}
    found = made.account(tmp_path / "a", made.named(contradicted=known))
    assert told(found) == []
    assert found.excused == ((2, path, "the published RECORD of plain-one does not fit it"),)
    unknown = made.account(tmp_path / "b", made.named(contradicted={"plain-one": {}}))
    assert unknown.is_complete
    assert unknown.shares[WHEEL].compared == found.shares[WHEEL].compared - 1
    rewrite(made.wheels, path, b"evil")
    assert told(made.account(tmp_path / "c", made.named(contradicted=known)))[0][0] == path
    rewrite(made.wheels, path, b"published so")
    rewrite(made.wheels, f"{SITE}/plain_one/__init__.py", b"evil")
    assert told(made.account(tmp_path / "d", made.named(contradicted=known)))[0][0] == f"{SITE}/plain_one/__init__.py"


def native(made, path="patchy/_C.so"):
    made.ours.put("opt/spark/compiled.json", json.dumps({path: {"bytes": 4}}).encode())
    made.ours.put(f"{SITE}/{path}", b"\x7fELF")
    appended(made.patched, f"{PATCHED_INFO}/RECORD", f"{path},{recorded(bytes([127]) + b'ELF')},4\n")


def test_compiled_libraries_are_of_the_distribution_that_is_compiled(made, tmp_path):
    native(made)
    found = made.account(tmp_path / "a", made.named(native="patchy"))
    assert (told(found), found.shares["compiled by us"].compared) == ([], 1)
    assert told(made.account(tmp_path / "b")) != []
    rewrite(made.ours, f"{SITE}/patchy/_C.so", b"evil")
    assert told(made.account(tmp_path / "c", made.named(native="patchy")))[0][0] == f"{SITE}/patchy/_C.so"


def test_what_a_wheel_brings_was_not_compiled(made, tmp_path):
    made.ours.put("opt/spark/compiled.json", b'{"patchy/b.py": {}}')
    found = told(made.account(tmp_path, made.named(native="patchy")))
    assert ("opt/spark/compiled.json", "patchy/b.py is in the wheel already") in found
    assert ("opt/spark/compiled.json", "patchy/b.py is no library") in found


def test_a_patch_that_names_another_released_file_is_seen(made, tmp_path):
    patched = {**made.named().patched, "patchy/b.py": Patch(distribution="patchy", before="0", after="1")}
    found = dict(told(made.account(tmp_path, made.named(patched=patched))))
    assert found["opt/spark/released/patchy/RECORD"] == "it has another patchy/b.py than the one that is patched"


# The tables, against what they are about


def test_what_the_root_file_system_is_made_without_may_be_absent():
    def places(patterns):
        return [pattern.strip("/").replace("*", "x") for pattern in patterns]

    assert all(map(debclaims.ABSENT.fullmatch, places(rootfs.EXCLUDED)))
    assert not any(map(debclaims.ABSENT.fullmatch, [*places(rootfs.INCLUDED), "usr/bin/x", "etc/x", "var/cache"]))


def test_our_user_is_the_hook_s():
    hook = rootfs.HOOK.read_text(encoding="utf-8")
    for path, (_, line) in debwritten.USERS.items():
        assert f"echo '{line.strip()}' >> \"$root/{path}\"" in hook


def test_every_rule_tells_one_thing():
    tables = (debrules.FOLDERS, debrules.LINKS, debrules.HOLDS, debrules.COPIES)
    paths = [path for table in tables for path in table]
    assert len(paths) == len(set(paths))
    assert not [path for path in paths if path.startswith("/") or path.endswith("/")]


# Layers


def test_damaged_layers_are_refused(made, tmp_path):
    whole = made.image(tmp_path)
    last = whole.layers[1]
    other = replace(last, diff_id="sha256:" + "0" * 64)
    damaged = replace(whole, layers=(whole.layers[0], other, *whole.layers[2:]))
    with pytest.raises(HashMismatchError, match=r"layer 2 \(x\) of small is damaged"):
        accounted.account(damaged, made.named())


def test_bytes_are_told_as_they_are_read(made, tmp_path):
    whole, seen = made.image(tmp_path), []
    accounted.account(whole, made.named(), progress=seen.append)
    assert sum(seen) == sum(layer.size for layer in whole.layers)


def test_an_image_of_nothing_lacks_everything(made, tmp_path):
    empty = ociimage.read("empty", image(tar()).folder(tmp_path))
    found = accounted.account(empty, made.named())
    assert not found.is_complete
    assert {item.path for item in found.missing} >= {"wheel plain-one 2.0", "deb bash 5.2-1", "opt/spark/manifest.json"}


def test_folders_that_a_layer_does_not_write_down_are_no_fault(made, tmp_path):
    for path in ("usr", "usr/bin"):
        made.rootfs.pop(path)
    found = [path for path, reason in told(made.account(tmp_path)) if reason != "missing"]
    assert found == []


def test_links_that_go_in_a_circle_end(made, tmp_path):
    made.rootfs.link("usr/bin/rbash", "rbash2/x")
    made.rootfs.link("usr/bin/rbash2", "rbash/x")
    assert ("usr/bin/rbash", "it leads to rbash2/x, which no Debian package has") in told(made.account(tmp_path))


# Everything once: what of a small image can be changed without being seen is what the docstring says

PLACED = {
    f"{SITE}/nvidia/cu13/lib/stubs/libcuda.so", f"{SITE}/plain_one/__pycache__/__init__.cpython-313.pyc",
    "usr/lib/python3.13/__pycache__/os.cpython-313.pyc", "var/lib/dpkg/status", f"{INFO}/bash.postinst",
    "etc/ld.so.cache",  # what follows its strings
}  # fmt: skip


def entries(made):
    return [(number, path, item[0]) for number, layer in enumerate(made.layers) for path, item in layer.items()]


def is_seen(folder, change):
    """Whether an account of the image, changed, complains."""
    made = Small()
    change(made)
    return not made.account(folder).is_complete


def test_every_byte_is_compared_but_for_what_has_a_place_alone(made, tmp_path):
    files = [(number, path) for number, path, info in entries(made) if info.isfile()]
    unseen = {
        path for at, (number, path) in enumerate(files)
        if not is_seen(tmp_path / str(at), lambda m, n=number, p=path: appended(m.layers[n], p, "\nx"))
    }  # fmt: skip
    assert unseen == PLACED


def test_every_path_that_becomes_a_link_is_seen(made, tmp_path):
    for at, (number, path, info) in enumerate(entries(made)):
        if not info.isdir():
            assert is_seen(tmp_path / str(at), lambda m, n=number, p=path: m.layers[n].link(p, "/opt/venv")), path


def test_every_set_id_bit_is_seen(made, tmp_path):
    for _, _, info in entries(made):
        info.mode ^= 0o6000
    told_of = {item.path for item in made.account(tmp_path).unexplained if item.reason.startswith("its mode is")}
    assert told_of == {path for _, path, info in entries(made) if not info.issym()}


def test_every_path_more_is_seen(made, tmp_path):
    folders = {path for _, path, info in entries(made) if info.isdir()}
    made.more.append(Layer({f"{path}/evil": entry(f"{path}/evil", b"x") for path in folders}))
    told_of = {item.path for item in made.account(tmp_path).unexplained}
    assert told_of == {f"{path}/evil" for path in folders}
