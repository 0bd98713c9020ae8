"""docs/example with the real cosign: each command of the page, word for word; and that each can fail."""

import shlex
import shutil

import pytest

from tests.engine import registrykit
from tests.test_example import EXAMPLE, commands

pytestmark = pytest.mark.engine
LINES = [line for line in commands() if line.startswith("cosign ")]


@pytest.mark.parametrize("line", LINES)
def test_the_command_verifies(line, tmp_path):
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    done = registrykit.cosign(*shlex.split(line)[1:], cwd=tmp_path)
    assert "Verified OK" in done.stdout + done.stderr


@pytest.mark.parametrize("line", LINES)
def test_and_fails_for_another_image(line, tmp_path):
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    with open(tmp_path / "manifest.json", "ab") as stream:
        stream.write(b"\n")
    done = registrykit.cosign(*shlex.split(line)[1:], cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "Verified OK" not in done.stdout + done.stderr
