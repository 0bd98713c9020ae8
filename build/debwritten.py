"""What Debian's scripts write from files that packages list, and the links that they make: whether it is that.

What an attacker would like to change is here: which certificates are trusted, how su asks, who may log in, which
library a name stands for, which program. Each function says who writes the file, and what is wrong with it.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Iterator, Mapping

from build.debformats import parse_alternative, parse_cache
from build.imageview import SYMLINK, Seen, View
from build.layertar import FILE

USERS = {  # ours, of rootfs_hook.sh, after those of base-passwd
    "etc/passwd": ("usr/share/base-passwd/passwd.master", "spark:*:1000:1000::/home/spark:/bin/bash\n"),
    "etc/group": ("usr/share/base-passwd/group.master", "spark:x:1000:\n"),
}
# What pam-auth-update writes into the templates for its one profile, `unix`, where no password is asked of root.
PAM = {
    "account_primary": "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so \n",
    "auth_primary": "auth\t[success=1 default=ignore]\tpam_unix.so nullok\n",
    "password_primary": "password\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n",
    "session_primary": "session\t[default=1]\t\t\tpam_permit.so\n",
    "session_nonint_primary": "session\t[default=1]\t\t\tpam_permit.so\n",
    "account_additional": "", "auth_additional": "", "password_additional": "",
    "session_additional": "session\trequired\tpam_unix.so \n",
    "session_nonint_additional": "session\trequired\tpam_unix.so \n",
}  # fmt: skip
# update-alternatives: name → the package that offers it. Nothing else chooses between programs in our images.
ALTERNATIVES = {
    "awk": "mawk", "c++": "g++", "c89": "gcc", "c99": "gcc", "cc": "gcc", "cpp": "cpp", "pager": "util-linux",
    "rmt": "tar", "which": "debianutils",
}  # fmt: skip
CHOSEN, ADMIN = "etc/alternatives/", "var/lib/dpkg/alternatives/"
CERTIFICATES, BUNDLE, CONF = "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "etc/ca-certificates.conf"
SOURCES = "usr/share/ca-certificates/"
SHELLS = "usr/share/debianutils/shells"  # a file, and a folder of that name with .d
UNITS = "etc/systemd/system/"  # deb-systemd-helper enables what packages bring; no systemd runs in a container
HELPER = "var/lib/systemd/deb-systemd-helper-enabled"
DIVERSIONS, CACHE = "var/lib/dpkg/diversions", "etc/ld.so.cache"
KEPT = {
    *USERS, *(source for source, _ in USERS.values()), BUNDLE, CONF, DIVERSIONS, CACHE, "etc/shells",
    "var/lib/shells.state",
}  # fmt: skip
KEPT_BELOW = (ADMIN, SOURCES, SHELLS, "usr/share/pam/", "etc/pam.d/common-", HELPER)

Told = tuple[str, bool, str]  # the package that writes it, whether its bytes were compared, what is wrong


def is_kept(path: str) -> bool:
    """Whether the contents there are needed."""
    return path in KEPT or path.startswith(KEPT_BELOW)


class Written:
    """What scripts of Debian's packages wrote in one image. ``owner``: path → the package that lists it."""

    def __init__(self, view: View, owner: Mapping[str, str]) -> None:
        self.view = view
        self.owner = owner
        self.links = dict(self._alternatives())
        self.asked = {
            BUNDLE: self._bundle, CONF: self._conf, DIVERSIONS: self._diversions, CACHE: self._cache,
            "etc/shells": self._shells, "var/lib/shells.state": self._shells,
        }  # fmt: skip

    def of(self, seen: Seen) -> Told | None:
        """Who writes the path, and what is wrong with it; None where it is none of these."""
        path = seen.path
        if seen.kind == FILE and (found := self._file(path)):
            return found
        if path in self.links:
            package, link = self.links[path]
            good = seen.kind == SYMLINK and seen.link == link
            return package, True, "" if good else f"it should be a link to {link}"
        return self._certificate(seen) if path.startswith(CERTIFICATES) else self._unit(seen)

    def _file(self, path: str) -> Told | None:
        if path in self.asked:
            package, fault = self.asked[path](path)
            return package, True, fault
        if path in USERS:
            source, user = USERS[path]
            good = self._is_listed(source) and self.view.text(path) == self.view.text(source) + user
            return "base-passwd", True, "" if good else f"it is not {source} with our user"
        if path.startswith("etc/pam.d/common-"):
            return "libpam-runtime", True, self._pam(path)
        if path.startswith(ADMIN) and path.removeprefix(ADMIN) in ALTERNATIVES:
            return ALTERNATIVES[path.removeprefix(ADMIN)], True, self._choices(path.removeprefix(ADMIN))
        return self._helper(path)

    def _is_listed(self, path: str) -> bool:
        return self.view.plain(path.strip("/")) in self.owner and self.view.plain(path.strip("/")) in self.view.paths

    # Alternatives: a file for each says which link, which choices; dpkg's update-alternatives(1)

    def _alternatives(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """The links that the files tell of, each with its package and where it leads."""
        for name, package in ALTERNATIVES.items():
            generic, choices = parse_alternative(name, self.view.text(ADMIN + name))
            if not choices or self._choices(name):
                continue
            for (slave, link), target in zip(generic, choices[0], strict=True):
                if target and self._is_listed(target):
                    yield CHOSEN + slave, (package, target)
                    yield self.view.plain(link.strip("/")), (package, f"/{CHOSEN}{slave}")

    def _choices(self, name: str) -> str:
        generic, choices = parse_alternative(name, self.view.text(ADMIN + name))
        if len(choices) != 1:
            return "it should offer one choice"
        for (_, link), target in zip(generic, choices[0], strict=True):
            plain, at = self.view.plain(target.strip("/")), self.view.plain(link.strip("/"))
            if target and self.owner.get(plain) != ALTERNATIVES[name]:
                return f"{target} is not of {ALTERNATIVES[name]}"
            if at in self.owner:
                return f"{link} is another package's"
        return ""

    # Certificates: update-ca-certificates(8)

    def _certificate(self, seen: Seen) -> Told | None:
        name = posixpath.basename(seen.path)
        if seen.kind != SYMLINK or posixpath.dirname(seen.path) + "/" != CERTIFICATES:
            return None
        target = self.view.pointed(seen)
        if name.endswith(".pem"):
            good = target in self._enabled() and posixpath.basename(target)[:-4] == name[:-4]
        else:  # by the hash of its subject (openssl rehash)
            there = self.view.paths.get(target)
            good = bool(re.fullmatch(r"[0-9a-f]{8}\.\d", name) and re.fullmatch(r"[^/]+\.pem", seen.link) and there)
        return "ca-certificates", True, "" if good else "it leads to no certificate of ca-certificates"

    def _bundle(self, _: str) -> tuple[str, str]:
        held = b"".join(self.view.kept.get(path, b"") for path in self._enabled())
        good = self.view.kept.get(BUNDLE) == held != b""
        return "ca-certificates", "" if good else "it does not hold the certificates of ca-certificates, and them only"

    def _conf(self, path: str) -> tuple[str, str]:
        rows = [row for row in self.view.text(path).splitlines() if row and row[0] not in "#!"]
        good = [SOURCES + row for row in rows] == self._enabled()
        return "ca-certificates", "" if good else "it names what is no certificate of ca-certificates"

    def _enabled(self) -> list[str]:
        """The certificates that ca-certificates lists, those that its file enables, in the order there."""
        rows = [SOURCES + row for row in self.view.text(CONF).splitlines() if row and row[0] not in "#!"]
        return [path for path in rows if self.owner.get(path) == "ca-certificates"]

    # The rest

    def _pam(self, path: str) -> str:
        source = f"usr/share/pam/{posixpath.basename(path)}"
        template = self.view.text(source)
        filled = re.sub(r"(?m)^\$(\w+)\n", lambda found: PAM.get(found[1], found[0]), template)
        good = self._is_listed(source) and filled == self.view.text(path)
        return "" if good else f"it is not {source} with the profile `unix`"

    def _shells(self, path: str) -> tuple[str, str]:
        rows = [row for row in self.view.text(path).splitlines() if not row.startswith("#")]
        listed = {
            self.view.plain(row.strip("/"))
            for file in self.view.kept if file.startswith(SHELLS) and file in self.owner
            for row in self.view.text(file).splitlines()
        }  # fmt: skip
        strays = [row for row in rows if self.view.plain(row.strip("/")) not in listed]
        return "debianutils", f"{strays[0]} is no package's shell" if strays else ""

    def _diversions(self, path: str) -> tuple[str, str]:
        """Triples of lines: a path, its other name, the package that asked. All are for the merge of /usr."""
        rows = self.view.text(path).splitlines()
        good = len(rows) % 3 == 0 and all(name.endswith(".usr-is-merged") for name in rows[1::3])
        return "dpkg", "" if good else "it diverts more than the merge of /usr does"

    def _cache(self, path: str) -> tuple[str, str]:
        """Names of libraries with the files that they stand for (ldconfig(8))."""
        try:
            pairs = parse_cache(self.view.kept.get(path, b""))
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            return "libc-bin", f"it cannot be read: {error}"
        for name, file in pairs:
            if posixpath.basename(file) != name or not self._is_listed(file):
                return "libc-bin", f"{name} stands for {file}, which is no Debian package's of that name"
        return "libc-bin", ""

    def _unit(self, seen: Seen) -> Told | None:
        """A link to a unit that a package lists."""
        if found := re.fullmatch(rf"{UNITS}[a-z.-]+\.wants/([^/]+)", seen.path):
            package = self.owner.get(f"usr/lib/systemd/system/{found[1]}", "")
            good = seen.kind == SYMLINK and seen.link == f"/lib/systemd/system/{found[1]}"
            return (package, True, "" if good else "it should be a link to the unit") if package else None
        return None

    def _helper(self, path: str) -> Told | None:
        """What deb-systemd-helper notes of such links: an empty file for each, and a file that names them."""
        found = re.fullmatch(rf"{HELPER}/(?:([a-z.-]+\.wants)/)?([^/]+?)(\.dsh-also)?", path)
        package = self.owner.get(f"usr/lib/systemd/system/{found[2]}", "") if found else ""
        if found is None or not package:
            return None
        wants = (line.strip("/") for line in self.view.text(path).splitlines())
        good = bool(found[1]) != bool(found[3]) and all(line in self.view.paths for line in wants)
        return package, True, "" if good else "it tells of a link that is not there"
