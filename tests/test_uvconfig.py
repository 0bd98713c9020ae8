"""The user's own settings of uv: how an index is reached counts, what is taken from it does not. Real uv."""

import tomllib
from pathlib import Path

import pytest

from build import index, uvconfig
from build.errors import ResolveError, UsageError
from build.index import Environment
from tests import indexkit

GB10 = Environment(platform="aarch64-manylinux_2_39", python="3.13")


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The home of a user whose uv reads configuration files, and a system that has none."""
    for name in ("UV_NO_CONFIG", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return tmp_path / "home"


@pytest.fixture
def served(home):
    """An index that has a 1, a 2 and a pre-release of a 3."""
    with indexkit.serve() as found:
        for version in ("1", "2", "3rc1"):
            found.add("a", version, requires=["b"])
            found.add("b", version)
        yield found


def configure(folder, text):
    path = folder / "uv" / "uv.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def user(home, text):
    return configure(home / ".config", text)


def system(home, text):
    return configure(home.parent / "system", text)


def said(**environ):
    return tomllib.loads(uvconfig.text(environ))


def versions():
    return {item.name: item.version for item in index.resolve(["a"], [], GB10)}


@pytest.mark.parametrize(
    "decides",
    [
        'exclude-newer = "2020-01-01T00:00:00Z"',
        'exclude-newer-package = { a = "2020-01-01T00:00:00Z" }',
        'constraint-dependencies = ["a<2"]',
        'override-dependencies = ["b==1"]',
        'exclude-dependencies = ["b"]',
        'prerelease = "allow"',
        'resolution = "lowest"',
        "no-binary = true",
        'no-binary-package = ["a"]',
        '[[dependency-metadata]]\nname = "a"\nversion = "2"\nrequires-dist = []',
        '[pip]\nresolution = "lowest"',
        '[pip]\nprerelease = "allow"',
        "[pip]\nno-deps = true",
        '[pip]\nno-binary = [":all:"]',
        '[pip]\nno-emit-package = ["b"]',
        '[pip]\nexclude-newer = "2020-01-01T00:00:00Z"',
    ],
)
def test_a_user_s_configuration_does_not_decide_what_is_resolved(served, home, decides):
    user(home, f'index-url = "{served.url}"\n{decides}\n')
    assert versions() == {"a": "2", "b": "2"}


def test_an_index_of_the_user_s_does_not_decide_by_time(served, home):
    user(home, f'[[index]]\nurl = "{served.url}"\ndefault = true\nexclude-newer = "2020-01-01T00:00:00Z"\n')
    assert versions() == {"a": "2", "b": "2"}


@pytest.mark.parametrize("table", ["", "[pip]\n"])
def test_a_folder_of_wheels_beside_the_configuration_and_no_index(served, home, table):
    path = user(home, f'{table}no-index = true\nfind-links = ["wheels"]\n')
    kept = served.files["a"][1]
    (path.parent / "wheels").mkdir()
    (path.parent / "wheels" / kept.name).write_bytes(kept.data)
    (found,) = index.locate([("a", "2")], GB10).values()
    assert (found.file, found.sha256) == (kept.name, kept.sha256)
    assert served.asked == []


def test_the_system_s_index_counts_and_the_user_s_wins(served, home, monkeypatch):
    system(home, f'[[index]]\nurl = "{served.url}"\ndefault = true\n\n[pip]\nresolution = "lowest"\n')
    assert versions() == {"a": "2", "b": "2"}
    with indexkit.serve() as mine:
        mine.add("a", "1.5")
        path = user(home, f'[[index]]\nname = "mine"\nurl = "{mine.url}"\ndefault = true\n')
        assert versions() == {"a": "1.5"}
        path.unlink()
        elsewhere = configure(home / "elsewhere", f'index-url = "{mine.url}"\n')
        monkeypatch.setenv("UV_CONFIG_FILE", str(elsewhere))
        assert versions() == {"a": "1.5"}


def test_what_says_that_nothing_is_asked_counts(served, home):
    user(home, f'offline = true\nindex-url = "{served.url}"\n')
    with pytest.raises(ResolveError, match="network was disabled"):
        versions()
    assert served.asked == []


def test_files_are_joined_as_uv_joins_them(home):
    user(
        home,
        'index-strategy = "first-index"\nfind-links = ["https://a.invalid"]\n[pip]\nindex-url = "https://u.invalid"',
    )
    system(
        home,
        'index-strategy = "unsafe-best-match"\nfind-links = ["https://b.invalid"]\nnative-tls = true\n[pip]\nno-index = true',
    )
    both = said(HOME=str(home), XDG_CONFIG_DIRS=f"{home}:{home.parent / 'system'}")
    assert both == {
        "index-strategy": "first-index",
        "find-links": ["https://a.invalid", "https://b.invalid"],
        "native-tls": True,
        "pip": {"index-url": "https://u.invalid", "no-index": True},
    }


def test_a_path_counts_from_the_file_that_says_it(home):
    path = user(home, 'find-links = ["wheels", "/wheels"]\n[[index]]\nurl = "../index"\nname = "wheels"\n')
    assert said(HOME=str(home), XDG_CONFIG_DIRS="/nowhere") == {
        "find-links": [str(path.parent / "wheels"), "/wheels"],
        "index": [{"url": str(path.parent / "../index"), "name": "wheels"}],
    }


def test_which_files_apply(home):
    user(home, "offline = true\n")
    configure(home / "xdg", "no-index = true\n")
    apart = configure(home / "apart", "native-tls = true\n")
    nowhere = {"HOME": str(home), "XDG_CONFIG_DIRS": "/nowhere"}
    assert said(**nowhere) == {"offline": True}
    assert said(**nowhere, UV_NO_CONFIG="0") == {"offline": True}
    assert said(**nowhere, UV_NO_CONFIG="true") == {}
    assert said(**nowhere, XDG_CONFIG_HOME=str(home / "xdg")) == {"no-index": True}
    assert said(**nowhere, UV_CONFIG_FILE=str(apart), UV_NO_CONFIG="1") == {"native-tls": True}


@pytest.mark.parametrize("content", [b"index-url =", b"\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = Path(tmp_path / "uv.toml")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"uv\.toml, which configures uv") as caught:
        uvconfig.text({"UV_CONFIG_FILE": str(path)})
    assert "UV_NO_CONFIG" in caught.value.todo
