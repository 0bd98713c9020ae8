"""BuildKit's door: what is asked, what is shown, and what a failure says. The program here is a script that prints."""

import os
import sys
from dataclasses import replace

import pytest

from build import buildx
from build.errors import EmulationError, ImageBuildError, SpaceError


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


def test_caches_are_asked_for_as_they_were_written_and_nothing_is_where_none_was(tmp_path):
    plain = buildx.Request(
        context=tmp_path, named=(), epoch=7, output="o", metadata=tmp_path / "m", log=tmp_path / "l"
    )  # fmt: skip
    assert not [word for word in buildx.arguments(plain) if word.startswith("--cache")]
    argv = buildx.arguments(replace(plain, cache_to=("type=local,dest=a", "b"), cache_from=("c",)))
    asked = [(option, argv[place + 1]) for place, option in enumerate(argv) if option.startswith("--cache-")]
    assert asked == [("--cache-from", "c"), ("--cache-to", "type=local,dest=a"), ("--cache-to", "b")]
    assert [word for word in argv if word not in {part for pair in asked for part in pair}] == buildx.arguments(plain)


def test_a_cache_that_gives_nothing_is_told_while_the_build_goes_on(ask, capsys):
    lines = (
        "#4 importing cache manifest from h:1/c",
        "#5 [a 1/1] RUN x",
        "#4 ERROR: h:1/c: not found",
        "#5 ERROR: other",
    )
    ask(f"print({chr(10).join(lines)!r}){WRITE}")
    said = capsys.readouterr().err
    assert "warning: nothing is taken from a cache: importing cache manifest from h:1/c: h:1/c: not found" in said
    assert "other" not in said


def test_a_cache_that_was_taken_is_not_spoken_of(ask, capsys):
    ask(f"print('#4 importing cache manifest from h:1/c'); print('#4 DONE 0.1s'){WRITE}")
    assert "cache" not in capsys.readouterr().err


def test_a_cache_that_could_not_be_sent_is_no_failure_of_a_step(ask):
    lines = "#4 [a 1/1] RUN x", "#4 DONE 0.1s", "#9 exporting cache to registry", "#9 ERROR: 401 Unauthorized"
    with pytest.raises(ImageBuildError, match="its build cache could not be sent") as caught:
        ask(f"print({chr(10).join(lines)!r}); sys.exit(1)")
    assert caught.value.why == "exporting cache to registry: 401 Unauthorized"
    assert "--cache-to" in caught.value.todo


def test_a_failing_step_is_not_taken_for_the_cache(ask):
    lines = "#9 exporting cache to registry", "#9 DONE 0.1s", "#4 ERROR: process did not complete"
    with pytest.raises(ImageBuildError, match="^BuildKit failed"):
        ask(f"print({chr(10).join(lines)!r}); sys.exit(1)")


def test_a_program_of_another_architecture_is_told_as_such(ask):
    with pytest.raises(EmulationError, match="the machine that builds cannot run") as caught:
        ask("print('#7 0.1 exec /usr/bin/gcc: exec format error'); sys.exit(1)")
    assert "qemu-user-static" in caught.value.todo
