"""What a Dockerfile of the source lane takes in: stages by the machine that builds, contexts beside the layers."""

import pytest

from build import dockerlines, nativebuild, recipe, steps
from build.models import Settings
from build.settings import REPO

GOOD = """\
FROM --platform=$BUILDPLATFORM scratch AS compile
ADD compile.tar /
FROM --platform=linux/arm64 scratch AS toolkit
RUN --network=none --mount=type=bind,from=layer-torch,target=/mnt/wheels ["x"]
FROM toolkit AS native-arm64
RUN --network=none --mount=type=bind,from=native-source,target=/mnt/source \\
    --mount=type=cache,id=ccache-1,target=/mnt/ccache --mount=type=secret,id=asked,target=/mnt/asked.json ["x"]
FROM toolkit AS native-amd64
RUN --network=none --mount=type=bind,from=dep-cutlass,target=/mnt/deps/cutlass ["x"]
FROM native-${BUILDARCH} AS native
FROM --platform=linux/arm64 toolkit AS runtime
RUN --network=none --mount=type=bind,from=native,source=/out,target=/mnt/native ["x"]
COPY --from=native /out /
"""
OTHERS = ("native-source", "dep-cutlass")
SOURCE_LANE = ("canary", "canary-0.32", "g27-rehearsal", "g27")


def faults(text=GOOD, others=OTHERS):
    return list(dockerlines.faults(text, ["torch"], others))


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_stages_of_both_machines_and_further_contexts_are_known():
    assert faults() == []


@pytest.mark.parametrize("other", OTHERS)
def test_a_context_that_nobody_named_is_found(other):
    left = [name for name in OTHERS if name != other]
    assert faults(others=left) == [f"the Dockerfile copies from {other}, which no lock names"]


def test_another_context_need_not_be_used():
    """Layers must be, or the image would lack them: a machine of its own kind reads no compilers for another."""
    assert faults(others=(*OTHERS, "native-host")) == []


@pytest.mark.parametrize("machine", dockerlines.MACHINES)
def test_a_stage_that_one_machine_lacks_is_found(machine):
    text = changed(f"AS native-{machine}", "AS native-riscv64")
    assert faults(text) == ["the Dockerfile is based on native-${BUILDARCH}, which no lock names"]


@pytest.mark.parametrize(
    "image",
    [
        "native-$BUILDARCH", "native-${TARGETARCH}", "native-${BUILDPLATFORM}", "native-${BUILDARCH:-amd64}", "${NATIVE}",
        "${BUILDARCH}", "alpine-${BUILDARCH}", "native-${BUILDARCH}-${BUILDARCH}", "registry.invalid/native-${BUILDARCH}",
        "native-${BUILDARCH}:latest", "${BUILDARCH}/native",
    ],
)  # fmt: skip
def test_other_bases_with_a_variable_are_found(image):
    assert faults(changed("native-${BUILDARCH}", image)) == [f"the Dockerfile is based on {image}, which no lock names"]


def test_a_stage_may_not_be_used_before_it_is_there():
    late = "FROM native-${BUILDARCH} AS native\n"
    assert faults(late + GOOD.replace(late, "")) != []


@pytest.mark.parametrize("line", ["COPY --from=native-${BUILDARCH} /out /", "COPY --from=native-$BUILDARCH /out /"])
def test_where_buildkit_would_not_read_the_variable_it_is_no_stage(line):
    (fault,) = faults(changed("COPY --from=native /out /", line))
    assert fault.startswith("the Dockerfile copies from native-$")


def test_a_mount_of_what_nobody_named_is_found_among_others():
    text = changed("--mount=type=cache,id=ccache-1", "--mount=type=bind,from=alpine,target=/x --mount=type=cache,id=c")
    assert faults(text) == ["the Dockerfile copies from alpine, which no lock names"]


def test_a_cache_that_comes_from_an_image_is_found():
    text = changed("type=cache,id=ccache-1", "type=cache,from=busybox,id=ccache-1")
    assert faults(text) == ["the Dockerfile copies from busybox, which no lock names"]


# --- ours ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=SOURCE_LANE)
def job(request, tmp_path):
    return steps.load(Settings(repo=REPO, store=tmp_path), request.param)


def test_the_rendered_dockerfile_has_no_faults_and_needs_each_context(job):
    text = recipe.dockerfile(job, chain="")
    layers = [layer.name for layer in recipe.grouped(job)]
    others = nativebuild.context_names(job)
    assert list(dockerlines.faults(text, layers, others)) == []
    for name in others:
        left = [other for other in others if other != name]
        assert list(dockerlines.faults(text, layers, left)) == [
            f"the Dockerfile copies from {name}, which no lock names"
        ] * (2 * 2 if name in ("native-source", "native-tools") or name.startswith("dep-") else 2)


def test_a_target_of_the_wheel_lane_has_no_further_contexts(tmp_path):
    assert nativebuild.context_names(steps.load(Settings(repo=REPO, store=tmp_path), "tiny")) == ()
