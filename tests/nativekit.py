"""A repository whose target is of the source lane, over a small CMake project; and that target without `lock`'s runs."""

import argparse
import copy
import hashlib
import shutil

from build import madewheel, nativelock, series, store
from build.commands import lock
from build.models import Component, Lock, Native, Settings, SourceArchive
from build.tables import TargetIntent
from tests import gitkit, lockkit

NOWHERE = "git://127.0.0.1:1"  # nobody listens there
CMAKE = b"""\
cmake_minimum_required(VERSION 3.26)
project(demo_ext LANGUAGES CXX)
include(FetchContent)
FetchContent_Declare(
  alpha
  GIT_REPOSITORY https://git.example/alpha.git
  GIT_TAG v4
)
include(cmake/more.cmake)
"""
MORE = b"""\
set(BETA_TAG "0123abcd")
FetchContent_Declare(Beta GIT_REPOSITORY https://git.example/beta GIT_TAG ${BETA_TAG})
if(FOR_CPUS)
  FetchContent_Declare(onednn GIT_REPOSITORY https://git.example/onednn GIT_TAG v3)
endif()
FetchContent_Declare(gamma URL https://git.example/gamma.tgz URL_HASH SHA256=00)
"""
KERNEL = b"int one() {\n  return 1;\n}\n"
PYPROJECT = b'[project]\nname = "app"\ndynamic = ["version", "dependencies"]\n[tool.setuptools_scm]\n'
FILES = {
    "pyproject.toml": PYPROJECT,
    "src/app.py": lockkit.MODULE,
    "requirements/run.txt": lockkit.PINS,
    "CMakeLists.txt": CMAKE,
    "cmake/more.cmake": MORE,
    "csrc/one.cpp": KERNEL,
}
PATHS = (("src/", ""),)
SOURCES = ("CMakeLists.txt", "cmake/", "csrc/")
BETA = {"include/beta.h": b"#define BETA 1\n", "LICENSE": b"Do.\n"}
REQUIREMENTS = ["torch==2.0", "cuda-toolkit[nvcc,nvvm]==13.0.2"]
STAND_INS = """
[targets.demo.native.substitutes.beta]
wheel = "kit==1.0"
path = "kit/beta"
reason = "no git host in this test"

[targets.demo.native.stubs.gamma]
files = { "README" = "" }
reason = "not compiled here"
"""
NATIVE = (
    """
[targets.demo.native]
component = "app"
origin = "archive"
project = "demo_ext"
sources = ["CMakeLists.txt", "cmake/", "csrc/"]
architectures = "12.1a"
requirements = ["cmake==4.1.2"]
targets = ["_C"]
"""
    + STAND_INS
    + """
[targets.demo.native.unused]
onednn = "of the CPU build"

[targets.demo.externals.alpha]
"""
)


def patch(path, before, after):
    """A patch with its provenance: one hunk over all of a file. ``before``: None where it is a new one."""
    old, new = ([] if data is None else data.splitlines() for data in (before, after))
    lines = ["diff --git a/{0} b/{0}", *(["new file mode 100644"] if before is None else [])]
    lines += ["--- a/{0}" if before is not None else "--- /dev/null", "+++ b/{0}"]
    text = "\n".join(lines).format(path) + f"\n@@ -{min(len(old), 1)},{len(old)} +1,{len(new)} @@\n"
    common = 0
    while common < min(len(old), len(new)) and old[common] == new[common]:
        common += 1
    rows = [*((" ", line) for line in old[:common]), *(("-", line) for line in old[common:])]
    rows += [("+", line) for line in new[common:]]
    return lockkit.HEADER + text + "".join(f"{sign}{line.decode()}\n" for sign, line in rows)


KERNEL_PATCH = patch("csrc/one.cpp", KERNEL, KERNEL.replace(b"1;", b"2;"))


class World(lockkit.World):
    """The target `demo` of the source lane: `app` is compiled, `alpha` is an external source with a submodule.

    ``origin``: "archive" or "git". The remotes are below ``srv``; ``at``: the URL that the intent knows it by, which
    is one that nobody answers where none is given.
    """

    def __init__(self, folder, index, capsys, *, origin="archive", at=NOWHERE):
        super().__init__(folder, index, capsys)
        self.srv = folder / "srv"
        inner = gitkit.repository(self.srv / "inner", {"inner.h": b"i\n"})
        self.alpha = gitkit.repository(self.srv / "alpha", {"alpha.h": b"a\n"}).submodule("deps/in", "../inner", inner)
        self.alpha.tag("v4")
        self.app = gitkit.repository(self.srv / "app", {**FILES, "only/git.txt": b"no archive has it\n"})
        self.archive(**FILES)
        self.patch("0002-kernel.patch", KERNEL_PATCH)
        index.add("torch", "2.0", files={"torch/__init__.py": b""})
        for machine in ("aarch64", "x86_64"):
            index.add("cmake", "4.1.2", tags=f"py3-none-manylinux_2_17_{machine}")
        index.add("kit", "1.0", files={f"kit/beta/{path}": data for path, data in BETA.items()})
        extras = ("nvcc", "nvvm")
        index.add(
            "cuda-toolkit", "13.0.2", headers=[f"Provides-Extra: {name}" for name in extras],
            requires=['nvidia-cuda-nvcc==13.0.1; extra == "nvcc"', 'nvidia-nvvm==13.0.1; extra == "nvvm"'],
        )  # fmt: skip
        for name in ("nvidia-cuda-nvcc", "nvidia-nvvm"):
            for machine in ("aarch64", "x86_64"):
                index.add(name, "13.0.1", tags=f"py3-none-manylinux_2_17_{machine}")
        self.edit('requirements = ["app==1.0"]', f"requirements = {REQUIREMENTS}".replace("'", '"'))
        self.edit('lane = "wheel"\nsummary = "for', 'lane = "source"\nsummary = "for')
        self.edit('series = "demo"\nrootfs = "tiny"', 'series = "demo"\nrootfs = "trixie"')  # where compilers are
        self.intent.write_text(self.intent.read_text() + NATIVE + f'git = "{at}/alpha"\ntag = "v4"\n')
        if origin == "git":
            self.edit('origin = "archive"', 'origin = "git"')
            self.edit(STAND_INS, "")  # are for release archives
            self.edit('onednn = "of the CPU build"', 'onednn = "of the CPU build"\nbeta = "unused"\ngamma = "unused"')
            self.name_commit(at, self.app.head)

    def copied(self, folder):
        """This world in another folder, on a machine without an index."""
        other = copy.copy(self)
        for name, place in (("repo", self.repo), ("srv", self.srv), ("store", self.settings.store)):
            shutil.copytree(place, folder / name, symlinks=True)
        other.repo, other.srv, other.intent = folder / "repo", folder / "srv", folder / "repo/lock/targets.toml"
        other.settings = Settings(repo=other.repo, store=folder / "store")
        other.app, other.alpha = (gitkit.Remote(other.srv / name) for name in ("app", "alpha"))
        return other

    def lock(self, **asked):
        """A run of `lock`, and what it printed: nothing where nobody captures that."""
        if self.capsys is not None:
            return super().lock(**asked)
        given = {"target": None, "upgrade": None, "as_of": None, "check": False, "dry_run": False, **asked}
        return lock.run(argparse.Namespace(**given), self.settings)

    def name_commit(self, at, commit):
        """Let the intent say where `app` is on a git host, and which commit of it."""
        self.edit('distribution = "app"', f'distribution = "app"\ngit = "{at}/app"\ncommit = "{commit}"')

    def reach(self, monkeypatch, where):
        """From now on git finds what is nowhere below another URL, as a user's own mirror has it."""
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{where}/.insteadOf")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"{NOWHERE}/")

    def trees(self):
        return {path.name for path in (self.settings.store / "trees").glob("*")}


def target(**native):
    """The target of a `World` as its intent has it, with other keys in its native table."""
    shared = {"sources": list(SOURCES), "origin": "archive", "project": "demo_ext", "architectures": "12.1a"}
    shared |= {"component": "app", "requirements": ["cmake==4.1.2"], "targets": ["_C"]}
    shared |= {"unused": dict.fromkeys(("beta", "gamma", "onednn"), "why not")}
    table = {
        "lane": "source", "summary": "s", "version": "1.0", "series": "demo", "rootfs": "tiny", "python": "3.13",
        "platform": "aarch64-manylinux_2_39", "local-version": "spark", "gb10": "unproven", "gb10-seen": "",
        "requirements": ["dep==1.0"], "constraints": [], "smoke": "tiny",
        "components": {"app": {"distribution": "app", "paths": dict(PATHS)}},
        "externals": native.pop("externals", {"alpha": {"git": "https://git.example/alpha", "tag": "v4"}}),
        "native": shared | native,
    }  # fmt: skip
    return TargetIntent.model_validate(table)


def keep(settings, data):
    """Bytes in the store, as a locked source archive."""
    digest = hashlib.sha256(data).hexdigest()
    place = store.blob(settings.store, digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return SourceArchive(name="app", version="1.0", file="app-1.0.tar.gz", sha256=digest, size=len(data))


def source(settings, files=FILES):
    """`app`, from an archive with these files that the store has."""
    archive = keep(settings, lockkit.sdist("app", "1.0", files))
    return Component(name="app", distribution="app", paths=PATHS, archive=archive, git=None, files=())


def bare_lock(component, *, requires=("dep==1.0",)):
    """A lock of the source lane with a component and nothing else."""
    native = Native(component=component.name, sources=SOURCES, requires=requires, tools=(), hosts=())
    return Lock(
        target="demo", intent="", epoch=0, python="3.13", platform="aarch64-manylinux_2_39", tools=(), wheels=(),
        patches=(), components=(component,), native=native,
    )  # fmt: skip


def plant(repo, patches):
    """A series of patches of `app`, by file name."""
    folder = repo / "patches" / "demo" / "app"
    folder.mkdir(parents=True)
    for name, text in patches.items():
        (folder / name).write_text(text)
    (folder.parent / "series").write_text("".join(f"app/{name}\n" for name in patches))
    return series.read(repo, "demo", ("app",))


def account(folder, wanted, patches=None, files=FILES):
    """What `lock` says that a tree would fetch, once a series is applied; raises where the target does not name it."""
    settings = Settings(repo=folder / "repo", store=folder / "store", offline=True)
    found = plant(settings.repo, patches or {"0001-code.patch": lockkit.CODE_PATCH})
    draft = madewheel.add(settings, bare_lock(source(settings, files)), "1.0")
    made = nativelock.account(settings, wanted, draft, found)
    return [(item.name, item.url, item.tag) for item in made.native.fetched]
