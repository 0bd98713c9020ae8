"""Which modules are compiled, and that bytecode depends on nothing but its source."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build import bytecode
from build.errors import PatternError
from build.settings import REPO

PROGRAM = REPO / "dockerfiles" / "image" / "checks" / "bytecompile.py"
RECORDS = {
    "one": {"one/a.py": "1", "one/b.so": "2", "one/sub/c.py": "3", "../../../bin/d.py": "4"},
    "two": {"two.py": "5"},
}


def test_only_sources_that_are_there_are_compiled():
    assert bytecode.find(RECORDS, ["one/**", "*.py"], {"one/sub/c.py"}) == {"one": ("one/a.py",), "two": ("two.py",)}
    assert bytecode.find(RECORDS, [], ()) == {}


def test_patterns_that_match_nothing_are_told_with_what_is_near():
    with pytest.raises(PatternError, match="is not there") as caught:
        bytecode.find(RECORDS, ["ones/**", "two/*.py"], ())
    assert caught.value.why.splitlines() == [
        "ones/**: no wheel brings it; site-packages has one",
        "       two/*.py: no wheel brings it; site-packages has two.py",
    ]


COMMAND = [sys.executable, "-S", "-B", str(PROGRAM)]  # without -I: hash seeds are tried


def compiled(sources, **environment):
    """What a fresh process makes of sources: the bytes of each file of bytecode, by the source's name."""
    subprocess.run(
        COMMAND, check=True, env={**os.environ, **environment}, input="\n".join(map(str, sources)).encode()
    )  # fmt: skip
    made = {}
    for source in sources:
        path = importlib.util.cache_from_source(str(source))
        if os.path.exists(path):
            with open(path, "rb") as stream:
                made[source.name] = stream.read()
            os.unlink(path)
    return made


def test_bytecode_is_the_same_in_any_order_by_any_process(tmp_path):
    """Over sources that share many names with each other, and with none that the process itself has loaded."""
    sources = []
    for name in ("argparse", "configparser", "csv", "json.decoder", "optparse", "pdb", "smtplib", "tarfile"):
        sources.append(tmp_path / f"{name.replace('.', '_')}.py")
        sources[-1].write_bytes(Path(importlib.util.find_spec(name).origin).read_bytes())
    (tmp_path / "broken.py").write_text("print 'for another Python'\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "warns.py").write_text("x = '\\d'\n")
    sources += [tmp_path / name for name in ("broken.py", "latin.py", "warns.py")]
    first = compiled(sources, PYTHONHASHSEED="1")
    assert set(first) == {source.name for source in sources} - {"broken.py", "latin.py"}
    assert compiled(sources[::-1], PYTHONHASHSEED="2") == first
    assert {name: made for source in sources for name, made in compiled([source]).items()} == first


def test_bytecode_of_another_version_of_a_file_is_not_run(tmp_path):
    """The file's time and size stay as they are: only its hash tells that it is another."""
    source = tmp_path / "m.py"
    source.write_text("said = 1\n")
    os.utime(source, (315532800, 315532800))
    subprocess.run(COMMAND, check=True, input=str(source).encode())
    assert os.path.exists(importlib.util.cache_from_source(str(source)))
    source.write_text("said = 2\n")
    os.utime(source, (315532800, 315532800))
    told = subprocess.run(
        [sys.executable, "-Bc", "import m; print(m.said, m.__cached__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == ["2", importlib.util.cache_from_source(str(source))]
