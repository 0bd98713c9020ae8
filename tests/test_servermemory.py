"""What profiles take, and what a machine has: the real profiles on a Spark's memory."""

import pytest

from build import profiles, servermemory
from build.servermemory import Memory
from build.settings import REPO

GIB = 1 << 30
SPARK = int(119.7 * GIB)  # MemTotal of a DGX Spark
TARGETS = ("g27", "v0.22", "v0.32")


@pytest.fixture(scope="module")
def known():
    return profiles.read_all(REPO, TARGETS)


def test_what_the_cards_profile_takes(known):
    need = servermemory.need(known["k144-nospec-200k"], SPARK)
    assert (need.model, need.cache, need.reserve) == (94_000_000_000, 14 * GIB, 8388608 * 1024)
    assert need.bytes == 94_000_000_000 + 14 * GIB + 8 * GIB
    assert str(need) == "117.62 GB: 94.00 GB model, 15.03 GB KV cache, 8.59 GB that stay free"


def test_vllm_s_own_part_counts_where_it_is_more(known):
    small = known["k144-nospec-200k"].model_copy(
        update={"model": known["k144-nospec-200k"].model.model_copy(update={"bytes": 1_000_000})}
    )
    need = servermemory.need(small, 100 * GIB)
    assert need.bytes == 88 * GIB
    assert "vLLM wants 0.88 of all memory free at start" in str(need)


def test_more_is_kept_while_it_starts(known):
    profile = known["k144-nospec-200k"]
    watchdog = profile.watchdog.model_copy(update={"startup_min_available_kb": 9_000_000})
    assert servermemory.need(profile.model_copy(update={"watchdog": watchdog}), SPARK).reserve == 9_000_000 * 1024


@pytest.mark.parametrize(
    ("available", "fit"),
    [
        (118 * 10**9, ["k144-nospec-200k", "k160-mtp2-200k"]),
        (117 * 10**9, ["k160-mtp2-200k"]),
        (110 * 10**9, []),
    ],
)
def test_what_fits(known, available, fit):
    assert servermemory.fitting(known.values(), Memory(total=SPARK, available=available)) == fit


def test_as_the_kernel_tells(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       125513728 kB\nMemFree:  1 kB\nMemAvailable:   120000000 kB\nBuffers: 2 kB\n")
    assert servermemory.memory(path) == Memory(total=125513728 * 1024, available=120000000 * 1024)
    assert servermemory.memory().available > 0, "and of this machine"
