"""What lies in a Debian root that no package lists: who makes it, where it leads or what it must hold.

Packages' scripts, dpkg and the hook of our root file system (``rootfs_hook.sh``) write some 1,600 paths while packages
are configured. Each is named here, or follows from a listed file; found by looking at the images of all targets. A rule
holds only where its package is installed. The bytes of a few follow from nothing that is listed: :data:`PLACED`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from build import debwritten
from build.claims import GENERATED, Verdict
from build.imageview import FOLDER, SYMLINK, Seen, View

PYTHON = "python3.13"  # the suite's
HOOK = ""  # not a package: build/rootfs_hook.sh, or mmdebstrap which runs it
# Folders that may be empty, by who makes them.
FOLDERS = {
    "etc/opt": "base-files", "media": "base-files", "mnt": "base-files", "opt": "base-files", "srv": "base-files",
    "var/mail": "base-files", "var/opt": "base-files",
    **{f"usr/local{path}": "base-files" for path in (
        "", "/bin", "/etc", "/games", "/include", "/lib", "/libexec", "/sbin", "/share", "/share/man", "/src",
    )},
    f"usr/local/lib/{PYTHON}": f"{PYTHON}-minimal", f"usr/local/lib/{PYTHON}/dist-packages": f"{PYTHON}-minimal",
    "usr/local/share/ca-certificates": "ca-certificates",  # certificates of the owner, of whom there is none
    "home/spark": HOOK,
    "cache": HOOK,  # dockerfiles/lane/ours.py: for a volume
}  # fmt: skip
LINKS = {  # path → who makes it, where it leads
    "bin": ("base-files", "usr/bin"),
    "lib": ("base-files", "usr/lib"),
    "sbin": ("base-files", "usr/sbin"),
    "etc/dpkg/origins/default": ("base-files", "debian"),
    "etc/localtime": ("tzdata", "/usr/share/zoneinfo/Etc/UTC"),
    "usr/local/man": ("base-files", "share/man"),
    "var/spool/mail": ("base-files", "../mail"),
}
HOLDS = {  # path → who writes it, its bytes
    "etc/environment": ("libpam-modules", b""),  # for su and login: nothing
    "etc/fstab": (HOOK, b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"),  # mmdebstrap
    "etc/hosts": (
        "netbase",
        b"""127.0.0.1\tlocalhost
::1\t\tlocalhost ip6-localhost ip6-loopback
ff02::1\t\tip6-allnodes
ff02::2\t\tip6-allrouters

""",
    ),
    "etc/machine-id": (HOOK, b""),  # each machine has its own
    "etc/networks": ("netbase", b"default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n"),
    "etc/python3/debian_config": (
        "python3-minimal",
        b"[DEFAULT]\n# how to byte-compile (comma separated: standard, optimize)\nbyte-compile = standard\n",
    ),
    "etc/security/opasswd": ("libpam-modules", b""),  # old passwords
    "etc/subgid": ("base-passwd", b""),
    "etc/subuid": ("base-passwd", b""),
    "var/lib/dpkg/arch-native": ("dpkg", b"arm64\n"),
    "var/lib/dpkg/info/format": ("dpkg", b"1\n"),
    "var/lib/dpkg/triggers/Lock": ("dpkg", b""),
    "var/lib/dpkg/triggers/Unincorp": ("dpkg", b""),
    f"var/lib/python/{PYTHON}_installed": (f"{PYTHON}-minimal", b""),
    "var/lib/pam/seen": ("libpam-runtime", b"unix\nmkhomedir\n"),
}
COPIES = {  # path → who copies it there, the listed file that it is a copy of
    "etc/inputrc": ("readline-common", "usr/share/readline/inputrc"),
    "etc/motd": ("base-files", "usr/share/base-files/motd"),
    "etc/nsswitch.conf": ("libc-bin", "usr/share/libc-bin/nsswitch.conf"),
    "etc/profile": ("base-files", "usr/share/base-files/profile"),
    "root/.bashrc": ("base-files", "usr/share/base-files/dot.bashrc"),
    "root/.profile": ("base-files", "usr/share/base-files/dot.profile"),
    "usr/share/info/dir": ("base-files", "usr/share/base-files/info.dir"),
}
# By place alone: nothing that is listed tells their bytes. All are read by dpkg or by packages' scripts only, which
# nobody runs in a container as a rule, but Python's bytecode.
PLACED = (
    (r"var/lib/dpkg/status", "dpkg"),  # believed: see what the lock names
    (r"var/lib/dpkg/triggers/(?:File|ldconfig|update-ca-certificates(?:-fresh)?)", "dpkg"),
    (r"var/lib/pam/(?:account|auth|password|session|session-noninteractive)", "libpam-runtime"),
)
CONTROL = re.compile(  # what dpkg keeps of each package; its scripts run when it is upgraded or removed
    r"var/lib/dpkg/info/([^/:]+)(?::[a-z0-9]+)?\."
    r"(?:list|md5sums|conffiles|config|postinst|postrm|preinst|prerm|shlibs|symbols|templates|triggers)"
)
TAG = f"cpython-{PYTHON.removeprefix('python').replace('.', '')}"
BYTECODE = re.compile(rf"(usr/(?:lib|share)/python3[^/]*(?:/[^/]+)*)/__pycache__/([^/]+)\.{TAG}\.pyc")
# A link of dpkg's that leads to what no package lists, and is to.
OUTWARD = {"var/lock": "/run/lock"}  # base-files; /run is empty until something runs


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the packages' lists say: path → package (links of a merged /usr resolved), and which are installed."""

    owner: Mapping[str, str]
    packages: Collection[str]


def is_kept(path: str) -> bool:
    """Whether a rule looks at the contents there."""
    return path in HOLDS or debwritten.is_kept(path)


class Rules:
    """The rules for one image."""

    def __init__(self, view: View, facts: Facts) -> None:
        self.view = view
        self.facts = facts
        self.written = debwritten.Written(view, facts.owner)

    def of(self, seen: Seen) -> Verdict | None:
        """What the rules say of a path that no package lists; None where none is for it."""
        found = self._fixed(seen)
        if found is None:
            found = self.written.of(seen)
        if found is None:
            found = self._placed(seen)
        if found is None:
            return None
        package, compared, fault = found
        if package != HOOK and package not in self.facts.packages:
            fault = fault or f"{package} would have made it, and is not installed"
        return Verdict(GENERATED, compared=compared, fault=fault)

    def leads_out(self, seen: Seen) -> str:
        """The fault of a package's link that leads to nothing of Debian's; empty where it does not."""
        if OUTWARD.get(seen.path) == seen.link:
            return ""
        target = self.view.pointed(seen)
        there = self.view.paths.get(target)
        if target in self.facts.owner or (there and self._is_explained(there)):
            return ""
        return f"it leads to {seen.link}, which no Debian package has"

    def _is_explained(self, seen: Seen) -> bool:
        verdict = self.of(seen)
        return verdict is not None and not verdict.fault

    def _fixed(self, seen: Seen) -> tuple[str, bool, str] | None:
        path = seen.path
        if path in FOLDERS:
            return FOLDERS[path], False, "" if seen.kind == FOLDER else "it should be a folder"
        if path in LINKS:
            package, link = LINKS[path]
            good = seen.kind == SYMLINK and seen.link == link
            return package, True, "" if good else f"it should be a link to {link}"
        if path in HOLDS:
            package, data = HOLDS[path]
            return package, True, "" if self.view.kept.get(path) == data else "it does not hold what it should"
        if path in COPIES:
            package, source = COPIES[path]
            of = self.view.paths.get(source)
            good = of is not None and source in self.facts.owner and of.sha256 == seen.sha256 != ""
            return package, True, "" if good else f"it should be a copy of {source}"
        return None

    def _placed(self, seen: Seen) -> tuple[str, bool, str] | None:
        if seen.kind in (FOLDER, SYMLINK):
            return None
        for pattern, package in PLACED:
            if re.fullmatch(pattern, seen.path):
                return package, False, ""
        if found := CONTROL.fullmatch(seen.path):
            return found[1], False, ""
        if found := BYTECODE.fullmatch(seen.path):
            package = self.facts.owner.get(f"{found[1]}/{found[2]}.py", "")
            return (package, False, "") if package else None
        return None
