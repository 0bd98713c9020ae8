"""A small image like ours, with everything that ours have of a kind, to be changed in one place and accounted for."""

import base64
import hashlib
import json
import struct
import tarfile
from pathlib import Path

from build import debclaims, debwritten, lockedlists, ociimage, records
from build.accounted import account
from build.claims import Named, Patch
from tests.imagekit import SITE, entry, folder, image, link, tar

INFO = "var/lib/dpkg/info"
AWK = (
    "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\n\n/usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n\n"
)
PAM = "auth\trequisite\tpam_deny.so\n"
CERTIFICATES = {"A": b"-----BEGIN-----\na\n", "B": b"-----BEGIN-----\nb\n"}
MANIFEST = {"schema": 1, "target": "small"}
CHECK = b"print('checks')\n"
STAMP = "8f0a1b2c.0"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def md5(data):
    return hashlib.md5(data).hexdigest()


def recorded(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def cache(*pairs):
    """An ``ld.so.cache`` of glibc: head, entries, and the strings that they point to."""
    strings, rows, at = b"", b"", 48 + 24 * len(pairs)
    for name, file in pairs:
        text = f"{name}\0{file}\0".encode()
        rows += struct.pack("<iIIIQ", 0xA03, at + len(strings), at + len(strings) + len(name) + 1, 0, 0)
        strings += text
    return struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", len(pairs), len(strings)) + rows + strings


class Layer(dict):
    """Path → entry (:mod:`tests.imagekit`), written in the order of paths, so that folders come first."""

    def put(self, path, content=b"", **facts):
        self.parents(path)
        self[path] = entry(path, content, **facts)

    def link(self, path, target, **facts):
        self.parents(path)
        self[path] = link(path, target, **facts)

    def dir(self, path, **facts):
        self.parents(path)
        self[path] = folder(path, **facts)

    def parents(self, path):
        for parent in list(Path(path).parents)[:-1]:
            self.setdefault(str(parent), folder(str(parent)))

    def content(self, path):
        return self[path][1]


class Deb:
    """A Debian package: what it lists, with its files and conffiles."""

    def __init__(self, name, version="1-1", arch="all"):
        self.name, self.version, self.arch = name, version, arch
        self.files, self.conffiles, self.others = {}, {}, []
        self.more_md5 = {}

    def lists(self):
        parents = {
            str(parent) for path in (*self.files, *self.conffiles, *self.others) for parent in Path(path).parents
        }
        return sorted({*self.files, *self.conffiles, *self.others, *parents} - {"."})

    def digest(self):
        return debclaims.digest_of(self.lists(), {p: md5(d) for p, d in {**self.files, **self.conffiles}.items()})

    def stanza(self):
        conffiles = "".join(f"\n /{path} {md5(data)}" for path, data in self.conffiles.items())
        return (
            f"Package: {self.name}\nStatus: install ok installed\nArchitecture: {self.arch}\nVersion: {self.version}\n"
            + (f"Conffiles:{conffiles}\n" if conffiles else "")
            + "Description: one\n more of it\n"
        )


class Small:
    """The image: Debian below, two wheels, ours, a patched wheel, the manifest; ``named`` is true of it."""

    def __init__(self):
        self.debs = {deb.name: deb for deb in _debs()}
        self.rootfs, self.wheels, self.ours, self.patched, self.manifest = (Layer() for _ in range(5))
        _rootfs(self)
        _wheels(self)
        _ours(self)
        self.more = []

    @property
    def layers(self):
        return [self.rootfs, self.wheels, self.ours, self.patched, self.manifest, *self.more]

    def write_lists(self):
        """dpkg's lists, from the packages as they are now."""
        for deb in self.debs.values():
            place = f"{INFO}/{deb.name}" + (":arm64" if deb.arch == "arm64" else "")
            listed = "".join(f"/{path}\n" for path in (".", *deb.lists()))
            self.rootfs.put(f"{place}.list", listed.encode())
            rows = {**{path: md5(data) for path, data in deb.files.items()}, **deb.more_md5}
            self.rootfs.put(f"{place}.md5sums", "".join(f"{v}  {p}\n" for p, v in rows.items()).encode())
        status = "\n".join(deb.stanza() for deb in self.debs.values())
        self.rootfs.put("var/lib/dpkg/status", status.encode())

    def record(self, layer, info, rows):
        """A RECORD with these rows: path → content, or what the row is to say."""
        text = "".join(f"{p},{recorded(d) if isinstance(d, bytes) else d},\n" for p, d in rows.items())
        layer.put(f"{SITE}/{info}/RECORD", f"{text}{info}/RECORD,,\n".encode())

    def image(self, path, name="small"):
        layers = [tar(*(layer[key] for key in sorted(layer))) for layer in self.layers]
        return ociimage.read(name, image(*layers, names=["x"] * len(layers)).folder(path))

    def account(self, path, named=None):
        return account(self.image(path), named or self.named())

    def named(self, **changes):
        facts = {
            "wheels": {"patchy": "1.0+spark", "plain-one": "2.0"},
            "debs": {deb.name: deb.version for deb in _debs()},
            "patched": {
                "patchy/a.py": Patch(distribution="patchy", before=sha256(b"a = 1\n"), after=sha256(b"a = 2\n")),
                "patchy/new.py": Patch(distribution="patchy", before="", after=sha256(b"new\n")),
            },
            "own": {"opt/spark/checks/one.py": sha256(CHECK)},
            "manifest": MANIFEST,
            "bytecode": ("plain_one/*.py",),
        }
        return Named(**{**facts, **changes})

    def lists(self):
        """What the locked files themselves would say."""
        plain = {path: records.hex_of(recorded(data)) for path, data in PLAIN.items()}
        patchy = {path: records.hex_of(recorded(data)) for path, data in PATCHY.items()}
        return {
            **{f"deb {deb.name}": deb.digest() for deb in _debs()},
            "wheel plain-one": records.digest_of(plain),
            "wheel patchy": records.digest_of(patchy),
        }


PROGRAM = lockedlists.program("plain_one.cli:main").encode()
PLAIN = {
    "../../../bin/plain": PROGRAM,
    "plain_one/__init__.py": b"x = 1\n",
    "plain_one/lib/libx.so.13": b"\x7fELF",
    "nvidia/cu13/lib/libcublas.so.13": b"\x7fELF13",
    "plain_one-2.0.dist-info/METADATA": b"Name: Plain.One\nVersion: 2.0\n\nText\n",
}
PATCHY = {
    "patchy/a.py": b"a = 1\n",
    "patchy/b.py": b"b = 1\n",
    "patchy-1.0.dist-info/METADATA": b"Name: patchy\nVersion: 1.0\nRequires-Dist: x\n\nText\n",
}
ADDED = {"INSTALLER": b"uv", "REQUESTED": b""}


def _debs():
    base, bash, passwd = Deb("base-files", "13.8"), Deb("bash", "5.2-1", "arm64"), Deb("base-passwd")
    base.others = ["bin", "sbin", "lib", "tmp", "run", "var/lock", "usr/share/doc/base-files/changelog.gz"]
    base.files = {"usr/share/base-files/profile": b"umask 022\n", "usr/share/doc/base-files/copyright": b"GPL\n"}
    bash.files = {"usr/bin/bash": b"\x7fELF bash"}
    bash.conffiles = {"etc/bash.bashrc": b"PS1=x\n"}
    bash.others = ["usr/bin/rbash"]
    passwd.files = {
        "usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\n",
        "usr/share/base-passwd/group.master": b"root:*:0:\n",
    }
    util, mawk, pam = Deb("util-linux", arch="arm64"), Deb("mawk", arch="arm64"), Deb("libpam-runtime")
    util.files = {"usr/bin/su": b"\x7fELF su", "usr/lib/systemd/system/fstrim.timer": b"[Timer]\n"}
    mawk.files = {"usr/bin/mawk": b"\x7fELF mawk"}
    mawk.others = ["usr/share/man/man1/mawk.1.gz"]
    pam.files = {"usr/share/pam/common-auth": b"$auth_primary\n" + PAM.encode() + b"$auth_additional\n"}
    libc, zlib, certs = Deb("libc-bin", arch="arm64"), Deb("zlib1g", arch="arm64"), Deb("ca-certificates")
    libc.files = {"usr/sbin/ldconfig": b"\x7fELF"}
    zlib.files = {"usr/lib/aarch64-linux-gnu/libz.so.1.3": b"\x7fELF z"}
    zlib.others = ["usr/lib/aarch64-linux-gnu/libz.so.1"]
    certs.files = {f"usr/share/ca-certificates/mozilla/{name}.crt": data for name, data in CERTIFICATES.items()}
    python, dpkg, shells = Deb("python3.13-minimal", arch="arm64"), Deb("dpkg", arch="arm64"), Deb("debianutils")
    python.files = {"usr/bin/python3.13": b"\x7fELF py", "usr/lib/python3.13/os.py": b"import posix\n"}
    shells.files = {"usr/share/debianutils/shells.d/bash": b"/bin/bash\n/usr/bin/bash\n"}
    dpkg.files = {"usr/bin/dpkg": b"\x7fELF dpkg"}
    return [base, bash, passwd, util, mawk, pam, libc, zlib, certs, python, dpkg, shells]


def _rootfs(made):
    root = made.rootfs
    for deb in made.debs.values():
        for path, data in {**deb.files, **deb.conffiles}.items():
            root.put(path, data, **({"mode": 0o4755} if path == "usr/bin/su" else {"mode": 0o644}))
    made.write_lists()
    for name in ("bin", "sbin", "lib"):
        root.link(name, f"usr/{name}")
    root.dir("home/spark", uid=1000, gid=1000)
    for path in ("opt", "run", "var/opt"):
        root.dir(path)
    root["tmp"] = entry("tmp", type=tarfile.DIRTYPE, mode=0o1777)
    root.link("var/lock", "/run/lock")
    root.link("usr/bin/rbash", "bash")
    root.link("usr/lib/aarch64-linux-gnu/libz.so.1", "libz.so.1.3")
    root.put("etc/profile", b"umask 022\n")
    for path, (source, user) in debwritten.USERS.items():
        root.put(path, root.content(source) + user.encode())
    root.put("etc/pam.d/common-auth", debwritten.PAM["auth_primary"].encode() + PAM.encode())
    root.put("etc/machine-id")
    root.put("etc/shells", b"# valid login shells\n/bin/bash\n/usr/bin/bash\n")
    root.put("etc/ld.so.cache", cache(("libz.so.1", "/lib/aarch64-linux-gnu/libz.so.1")))
    root.put("var/lib/dpkg/alternatives/awk", AWK.encode())
    root.link("etc/alternatives/awk", "/usr/bin/mawk")
    root.link("usr/bin/awk", "/etc/alternatives/awk")
    root.put("var/lib/dpkg/diversions", b"/lib64\n/.lib64.usr-is-merged\nbase-files\n")
    root.put(f"{INFO}/bash.postinst", b"#!/bin/sh\n")
    root.put("usr/lib/python3.13/__pycache__/os.cpython-313.pyc", b"code")
    root.put("etc/ca-certificates.conf", b"# made\nmozilla/A.crt\nmozilla/B.crt\n")
    root.put("etc/ssl/certs/ca-certificates.crt", b"".join(CERTIFICATES.values()))
    for name in CERTIFICATES:
        root.link(f"etc/ssl/certs/{name}.pem", f"/usr/share/ca-certificates/mozilla/{name}.crt")
    root.link(f"etc/ssl/certs/{STAMP}", "A.pem")
    enabled = "etc/systemd/system/timers.target.wants/fstrim.timer"
    root.link(enabled, "/lib/systemd/system/fstrim.timer")
    root.put(f"{debwritten.HELPER}/fstrim.timer.dsh-also", f"/{enabled}\n".encode())
    root.put(f"{debwritten.HELPER}/timers.target.wants/fstrim.timer")


def _wheels(made):
    layer = made.wheels
    for path, data in {**PLAIN, **PATCHY}.items():
        if not path.startswith(("patchy-", "../")):
            layer.put(f"{SITE}/{path}", data)
    layer.put("opt/venv/bin/plain", PROGRAM, mode=0o755)
    added = {f"plain_one-2.0.dist-info/{name}": data for name, data in ADDED.items()}
    for path, data in added.items():
        layer.put(f"{SITE}/{path}", data)
    made.record(layer, "plain_one-2.0.dist-info", {**PLAIN, **added})
    layer.put(f"{SITE}/plain_one/__pycache__/__init__.cpython-313.pyc", b"code")
    layer.dir(f"{SITE}/plain_one/empty")  # an archive may hold one
    released = {**PATCHY, **{f"patchy-1.0.dist-info/{name}": data for name, data in ADDED.items()}}
    for path, data in released.items():
        if path.startswith("patchy-"):
            layer.put(f"opt/spark/released/patchy/{Path(path).name}", data)
    text = "".join(f"{p},{recorded(d)},\n" for p, d in released.items()) + "patchy-1.0.dist-info/RECORD,,\n"
    layer.put("opt/spark/released/patchy/RECORD", text.encode())
    layer.put("opt/spark/left-out/other.json", b'{"plain_one/gone.so": {"bytes": 1}}\n')


def _ours(made):
    layer = made.ours
    layer["cache"] = entry("cache", type=tarfile.DIRTYPE, mode=0o1777)
    layer.put("opt/venv/pyvenv.cfg", b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.13\n")
    layer.link("opt/venv/lib64", "lib")
    layer.link("opt/venv/bin/python", "/usr/bin/python3.13")
    for name in ("python3", "python3.13"):
        layer.link(f"opt/venv/bin/{name}", "python")
    own = ["nvidia/cu13/lib/libcublas.so", "nvidia/cu13/lib/stubs/libcuda.so", "nvidia/cu13/lib64"]
    layer.link(f"{SITE}/{own[0]}", "libcublas.so.13")
    layer.put(f"{SITE}/{own[1]}", b"\x7fELF stub")
    layer.link(f"{SITE}/{own[2]}", "lib")
    layer.put("opt/spark/own.json", json.dumps(own).encode())
    layer.put("opt/spark/checks/one.py", CHECK)
    info = "patchy-1.0+spark.dist-info"
    metadata = PATCHY["patchy-1.0.dist-info/METADATA"].replace(b"1.0", b"1.0+spark").replace(b"Dist: x", b"Dist: y")
    rows = {
        "patchy/a.py": b"a = 2\n",
        "patchy/b.py": b"b = 1\n",
        "patchy/new.py": b"new\n",
        f"{info}/METADATA": metadata,
    }
    rows |= {f"{info}/{name}": data for name, data in ADDED.items()}
    for path, data in rows.items():
        if path != "patchy/b.py":
            made.patched.put(f"{SITE}/{path}", data)
    made.record(made.patched, info, rows)
    made.manifest.put("opt/spark/manifest.json", json.dumps({**MANIFEST, "own": own}).encode())
