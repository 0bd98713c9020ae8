"""A compile cache that is carried by a real BuildKit, and what empties it there: an engine of its own, small mounts."""

import json
import shutil
from dataclasses import replace

import pytest

from build import ccachetar, compilecache, dockerapi, engine, host, private
from build.buildx import Request, build
from tests.engine.kit import own_settings
from tests.test_ccachetar import HELD, TIME, files, folder

# Fills a cache mount, in a stage that is called as the one that compiles; `other` is built on it and has another mount.
STEP = (
    "RUN --network=none --mount=type=tmpfs,target=/mnt --mount=type=bind,from=builder,target=/mnt/builder "
    "--mount=type=bind,source=files,target=/mnt/files --mount=type=cache,id={mount},target=/mnt/ccache {command}\n"
)
FILL = "import shutil; shutil.copytree('/mnt/files', '/mnt/ccache', dirs_exist_ok=True)"
STAGE = "native-amd64"


class Lab:
    def __init__(self, base):
        self.settings, self.base = own_settings(base), base
        self.engine = private.up(self.settings.store, host.tools(self.settings))
        self.argv, self.env = engine.buildx(self.engine, self.settings)

    def place(self, mount, directory):
        return compilecache.Place(
            mount=mount, folder=directory, buildx=self.argv, env=self.env, builder=None,
            root=host.builder_tar(self.settings), context=self.settings.store / "contexts/test/ccache",
        )  # fmt: skip

    def build(self, mount, held, *, stage=STAGE, **more):
        """Build a stage, whose step puts these files into the mount where BuildKit runs it."""
        context = self.base / "context"
        shutil.rmtree(context / "files", ignore_errors=True)
        folder(context / "files", held)
        if not (context / "builder.tar").exists():
            shutil.copy(host.builder_tar(self.settings), context / "builder.tar")
        text = "FROM scratch AS builder\nADD builder.tar /\n"
        for name, below, cache in ((STAGE, "scratch", mount), ("other", STAGE, f"{mount}-other")):
            command = [*compilecache.COMMAND[:4], "-c", FILL, cache]  # its name: it is no part of BuildKit's key
            text += f"FROM {below} AS {name}\n" + STEP.format(mount=cache, command=json.dumps(command))
        (context / "Dockerfile").write_text(text)
        request = Request(
            context=context, named=(), epoch=0, output="type=cacheonly", metadata=self.base / "metadata",
            log=self.base / "log", stage=stage,
        )  # fmt: skip
        build(self.argv, self.env, replace(request, **more))

    def count(self, mount):
        """How many files are in a mount."""
        return compilecache._run(self.place(mount, self.base), "look").files

    def kept(self):
        """What BuildKit keeps, in its words."""
        client = dockerapi.connect(self.engine.url)
        found = [entry["Description"] for entry in client.df()["BuildCache"] or []]
        client.close()
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    private.remove(made.settings.store)


def test_what_was_compiled_comes_into_an_empty_mount_to_the_byte_and_nothing_else_is_left(lab, tmp_path, capsys):
    """The engine collects no garbage: what the steps pack and unpack would stay for good."""
    first, second = (lab.place(f"ccache-{name}", tmp_path / name) for name in "ab")
    with compilecache.carried(first):
        lab.build(first.mount, HELD)
    second.folder.mkdir()
    shutil.copy(first.tar, second.tar)
    with compilecache.carried(second):
        assert lab.count(second.mount) == len(HELD), "before the build"
        second.tar.unlink()
    assert second.tar.read_bytes() == first.tar.read_bytes()
    ccachetar.take(second.tar, folder(tmp_path / "out", {}))
    assert files(tmp_path / "out") == HELD
    said = capsys.readouterr().err
    assert "take the compile cache" in said
    assert "warning" not in said
    kept = [word for word in lab.kept() if FILL not in word]
    mounts = [word for word in kept if '"/ccache-' in word]
    assert len(mounts) == 1, "ccache-b; the other one is named after the step that filled it"
    assert [word for word in kept if "ccachetar.py" in word or compilecache.SEED in word] == mounts


def test_an_older_mount_gets_what_it_lacks_and_keeps_its_own(lab, tmp_path, capsys):
    place, own = lab.place("ccache-c", tmp_path / "kept"), {"b/stats": b"own", "1/2/own0R": b"own"}
    place.folder.mkdir()
    ccachetar.give(folder(tmp_path / "theirs", HELD, TIME + 9_000_000), place.tar)
    lab.build(place.mount, own)
    with compilecache.carried(place):
        pass
    ccachetar.take(place.tar, folder(tmp_path / "out", {}))
    assert files(tmp_path / "out") == {**HELD, **own}
    assert "warning" not in capsys.readouterr().err


def test_buildkit_empties_the_mounts_of_what_is_made_anew(lab):
    """What the help of `build` and docs/source.md say of --no-cache, and of --cold, which names the compiling stages."""
    first, second = ({f"9/{name}0R": b"x"} for name in ("first", "second"))
    lab.build("ccache-d", HELD)
    lab.build("ccache-d", HELD, stage="other", fresh=("other",))
    assert lab.count("ccache-d") == len(HELD), "another stage is made anew"
    lab.build("ccache-d", first, fresh=("native-amd64", "native-arm64"))
    assert lab.count("ccache-d") == 1, "--cold"
    lab.build("ccache-d", second, no_cache=True)
    assert lab.count("ccache-d") == 1, "--no-cache"
