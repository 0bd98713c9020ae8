"""What the tests of git sources share: looking up, cloning, looking at what is left."""

from build import gitsource
from tests import gitkit

NOWHERE = "git://127.0.0.1:1/nothing"
UNKNOWN = "1" * 40


def resolve(settings, url, *, mirrors=(), tag="v1", commit="", locked=None):
    return gitsource.resolve(
        settings, "a", url=url, mirrors=mirrors, tag=tag, commit=commit, version="1.0", locked=locked
    )


def clone(remote, folder):
    """A mirror: another repository with the same commits."""
    gitkit.git("clone", "--quiet", "--mirror", remote.url, folder, cwd=remote.folder)
    return gitkit.Remote(folder)


def leftovers(settings):
    return [path for name in ("trees", "scratch") for path in (settings.store / name).glob("*")]


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
