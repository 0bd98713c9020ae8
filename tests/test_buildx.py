"""BuildKit's door: what is asked, what is shown, and what a failure says. The program here is a script that prints."""

import os
import sys

import pytest

from build import buildx
from build.errors import ImageBuildError, SpaceError


@pytest.fixture
def ask(tmp_path):
    """Run a script as buildx; it may write BuildKit's metadata where it was told to."""

    def run(script: str):
        program = tmp_path / "buildx"
        program.write_text(f"import sys\n{script}\n")
        request = buildx.Request(
            context=tmp_path,
            named=(("layer-a", tmp_path / "a"),),
            epoch=7,
            output="type=cacheonly",
            metadata=tmp_path / "metadata.json",
            log=tmp_path / "logs" / "build.log",
        )
        return buildx.build([sys.executable, os.fspath(program)], {}, request), request

    return run


WRITE = """
path = sys.argv[sys.argv.index("--metadata-file") + 1]
open(path, "w").write('{"containerimage.digest": "sha256:1"}')
"""


def test_the_metadata_comes_back_and_slow_steps_are_shown(ask, capsys):
    metadata, request = ask(f"print('#5 [rootfs 1/1] ADD rootfs.tar /'); print('#5 DONE 3.0s'){WRITE}")
    assert metadata == {"containerimage.digest": "sha256:1"}
    assert "ADD rootfs.tar / (3.0 s)" in capsys.readouterr().err
    assert "#5 DONE 3.0s" in request.log.read_text()


def test_a_failure_shows_the_last_lines_and_where_the_log_is(ask, tmp_path):
    with pytest.raises(ImageBuildError, match="BuildKit failed") as caught:
        ask("print('#7 ERROR: process did not complete'); sys.exit(1)")
    assert "did not complete" in caught.value.why
    assert str(tmp_path / "logs" / "build.log") in caught.value.todo


def test_a_full_disk_is_told_as_such(ask):
    with pytest.raises(SpaceError, match="disk filled up"):
        ask("print('ERROR: write /x: no space left on device'); sys.exit(1)")


def test_steps_get_no_network_and_the_epoch(tmp_path):
    request = buildx.Request(
        context=tmp_path, named=(), epoch=7, output="o", metadata=tmp_path / "m", log=tmp_path / "l", builder="farm",
        no_cache=True,
    )  # fmt: skip
    argv = buildx.arguments(request)
    assert argv[argv.index("--network") + 1] == "none"
    assert "SOURCE_DATE_EPOCH=7" in argv
    assert argv[argv.index("--builder") + 1] == "farm"
    assert "--no-cache" in argv
    assert argv[argv.index("--provenance") + 1] == "false"


def test_the_image_is_zstd_oci_and_annotated():
    said = buildx.image_output(("a:1", "a:2"), {"org.opencontainers.image.version": "0.32.0"})
    assert said.startswith("type=image,")
    assert '"name=a:1,a:2"' in said
    assert "compression=zstd" in said
    assert "annotation.org.opencontainers.image.version=0.32.0" in said
