"""build/builders.py: what kind of machine a builder is on. buildx is a script here; tests/engine has the real one."""

import sys

import pytest

from build import builders
from build.errors import EngineError

# What BuildKit does of the question: an image for arm64 whose label says what the machine is.
ANSWER = """
import pathlib, sys
from tests import imagekit
context, out = pathlib.Path(sys.argv[-1]), sys.argv[sys.argv.index("--output") + 1]
asked = "FROM scratch\\nARG BUILDARCH\\nLABEL machine=${{BUILDARCH}}\\nCOPY Dockerfile /\\n"
assert (context / "Dockerfile").read_text() == asked
assert sys.argv[sys.argv.index("--builder") + 1] == "farm" and "linux/arm64" in sys.argv
layer = imagekit.tar(imagekit.entry("Dockerfile", asked.encode()))
made = imagekit.image(layer, config={{"config": {{"Labels": {{"machine": {arch!r}}}}}}})
imagekit.written(pathlib.Path(out.removeprefix('type=oci,"dest=').removesuffix('"')), made)
"""
OLD = """
import sys
sys.exit('''ERROR: OCI exporter is not supported for the docker driver.
Switch to a different driver, or turn on the containerd image store, and try again.''')
"""


@pytest.fixture
def ask(tmp_path, request):
    def run(script, **more):
        (tmp_path / "buildx.py").write_text(script)
        folder = tmp_path / "a folder, with a comma"
        folder.mkdir()
        buildx = [sys.executable, str(tmp_path / "buildx.py")]
        return builders.machine(buildx, {"PYTHONPATH": str(request.config.rootpath)}, "farm", folder, **more)

    return run


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_it_is_what_buildkit_says(ask, arch, capsys):
    assert ask(ANSWER.format(arch=arch)) == arch
    assert f"the builder farm builds on {arch}: its steps run programs for that" in capsys.readouterr().err


def test_one_that_emulates_may_run_the_others_programs(ask, capsys):
    assert ask(ANSWER.format(arch="amd64"), wanted="arm64") == "arm64"
    assert "builds on amd64: its steps run programs for arm64" in capsys.readouterr().err


def test_a_machine_that_we_have_nothing_for_is_named(ask):
    with pytest.raises(EngineError, match="on a machine of another kind") as caught:
        ask(ANSWER.format(arch="riscv64"))
    assert "riscv64" in caught.value.why


def test_an_engine_that_writes_other_layers_is_refused(ask):
    with pytest.raises(EngineError, match="old image store") as caught:
        ask(OLD)
    assert "containerd-snapshotter" in caught.value.todo


def test_a_builder_that_does_not_answer_says_why(ask):
    with pytest.raises(EngineError, match="the builder farm cannot be used") as caught:
        ask("import sys; print('#1 ok', file=sys.stderr); sys.exit('ERROR: no builder \"farm\" found')")
    assert caught.value.why == 'no builder "farm" found'
    assert "docs/teams.md" in caught.value.todo
