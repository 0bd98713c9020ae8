"""How many compilers run at once: by memory first, with the numbers said, and refused where not one fits."""

from pathlib import Path

import pytest

from build import jobs
from build.jobs import GIB, Memory


def has(gib: float, *, unified: bool = False) -> Memory:
    return Memory(available=int(gib * GIB), said_by="MemAvailable", unified=unified)


@pytest.mark.parametrize(
    ("memory", "cores", "heavy", "expected"),
    [
        (has(112, unified=True), 20, True, (20, 6)),  # a GB10 with nothing loaded
        (has(11.5), 4, True, (1, 1)),  # nothing fits beside one of the largest
        (has(14.4), 4, True, (1, 1)),
        (has(14.5), 4, True, (2, 1)),
        (has(15), 4, True, (2, 1)),  # a runner with 16 GB
        (has(16), 4, True, (2, 1)),
        (has(16), 4, False, (3, 0)),
        (has(23), 2, False, (2, 0)),
        (has(6.6), 8, False, (1, 0)),
        (has(500), 64, True, (64, 47)),
    ],
)
def test_the_pools_fit_into_memory(memory, cores, heavy, expected):
    found = jobs.plan(memory, cores, heavy=heavy)
    assert (found.ordinary, found.heavy) == expected
    assert "GiB of memory by MemAvailable" in found.reason


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("gib", [7, 12, 16, 24, 33, 64, 112, 500])
@pytest.mark.parametrize("cores", [1, 2, 4, 20, 64])
def test_what_runs_at_once_never_needs_more_than_there_is(gib, cores, heavy):
    memory = has(gib)
    room = memory.available - memory.reserve
    try:
        found = jobs.plan(memory, cores, heavy=heavy)
    except jobs.NoRoomError:
        assert room < (jobs.HEAVY if heavy else jobs.ORDINARY)
        return
    assert 1 <= found.ordinary <= cores
    assert found.ordinary * jobs.ORDINARY <= room
    if heavy:
        assert 1 <= found.heavy <= found.ordinary
        assert found.heavy * jobs.HEAVY + (found.ordinary - found.heavy) * jobs.BESIDE <= room


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("heavy", [False, True])
def test_on_every_machine_what_runs_at_once_fits_and_more_memory_is_never_less_at_once(heavy, unified):
    """From the least memory that there is a plan for to 200 GiB, in steps of a quarter GiB, and 1 to 64 cores."""
    least = (jobs.HEAVY if heavy else jobs.ORDINARY) + has(0, unified=unified).reserve
    for cores in range(1, 65):
        before = (0, 0)
        for quarters in range(int(least / GIB * 4), 801):
            memory = has(quarters / 4, unified=unified)
            room = memory.available - memory.reserve
            found = jobs.plan(memory, cores, heavy=heavy)
            at = (cores, quarters / 4, found)
            assert 1 <= found.ordinary <= cores, at
            assert found.ordinary * jobs.ORDINARY <= room, at
            assert (1 <= found.heavy <= found.ordinary) if heavy else found.heavy == 0, at
            if heavy:
                assert found.heavy * jobs.HEAVY + (found.ordinary - found.heavy) * jobs.BESIDE <= room, at
            # At a step of `ordinary` there may be fewer heavy ones: their room is taken by what runs beside them.
            assert (found.ordinary, found.heavy) >= before, at
            before = (found.ordinary, found.heavy)


@pytest.mark.parametrize("heavy", [False, True])
def test_the_least_memory_is_the_largest_compiler_s(heavy):
    least = (jobs.HEAVY if heavy else jobs.ORDINARY) + jobs.RESERVE
    enough = Memory(available=int(least), said_by="MemAvailable", unified=False)
    assert (jobs.plan(enough, 64, heavy=heavy).ordinary, jobs.plan(enough, 64, heavy=heavy).heavy) == (1, int(heavy))
    with pytest.raises(jobs.NoRoomError):
        jobs.plan(Memory(available=int(least) - 1, said_by="MemAvailable", unified=False), 64, heavy=heavy)


def test_too_little_memory_is_refused_with_the_numbers():
    with pytest.raises(jobs.NoRoomError, match=r"up to 9\.5 GiB and 8\.0 GiB may be used.*10\.0 GiB"):
        jobs.plan(has(10), 8, heavy=True)
    with pytest.raises(jobs.NoRoomError, match="the GPU lives there too"):
        jobs.plan(has(12, unified=True), 8, heavy=False)
    with pytest.raises(jobs.NoRoomError, match=r"0\.0 GiB may be used"):
        jobs.plan(has(1), 8, heavy=False)


def test_a_wish_overrides_and_what_there_is_is_said_all_the_same():
    found = jobs.plan(has(3), 2, heavy=True, wished=7)
    assert (found.ordinary, found.heavy) == (7, 1)
    assert "as asked for" in found.reason
    assert "3.0 GiB" in found.reason


def kernel(root: Path, *, available: int, group: str = "/", limits: dict[str, tuple[str, int, int]] | None = None):
    """A /proc and a /sys/fs/cgroup; ``limits``: folder → memory.max, memory.current, inactive files (GiB)."""
    proc, cgroup = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {available * GIB // 1024} kB\n", encoding="utf-8")
    (proc / "self" / "cgroup").write_text(f"1:name=systemd:/x\n0::{group}\n", encoding="utf-8")
    for name, (limit, current, inactive) in (limits or {}).items():
        folder = cgroup / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(limit if limit == "max" else str(int(limit) * GIB), encoding="utf-8")
        (folder / "memory.current").write_text(str(current * GIB), encoding="utf-8")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive * GIB}\n", encoding="utf-8")
    return proc, cgroup


def test_the_machine_says_what_is_available(tmp_path):
    found = jobs.memory(*kernel(tmp_path, available=20, limits={"": ("max", 3, 0)}))
    assert found == Memory(available=20 * GIB, said_by="MemAvailable", unified=False)


def test_the_tightest_cgroup_above_counts(tmp_path):
    limits = {"a": ("16", 9, 1), "a/b": ("max", 2, 0), "a/b/c": ("12", 1, 0), "other": ("1", 1, 0)}
    found = jobs.memory(*kernel(tmp_path, available=20, group="/a/b/c", limits=limits))
    assert (found.available, found.said_by) == (8 * GIB, "the limit of the cgroup a")


def test_a_cgroup_that_is_full_leaves_nothing(tmp_path):
    found = jobs.memory(*kernel(tmp_path, available=20, group="/a", limits={"a": ("4", 5, 0)}))
    assert found.available == 0


def test_a_cgroup_cannot_lead_out_of_the_hierarchy(tmp_path):
    proc, cgroup = kernel(tmp_path, available=20, group="/../../elsewhere", limits={"": ("max", 0, 0)})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "memory.max").write_text("1", encoding="utf-8")
    assert jobs.memory(proc, cgroup).available == 20 * GIB


def test_a_gpu_in_the_same_memory_is_seen(tmp_path):
    proc, cgroup = kernel(tmp_path, available=20)
    place = proc / "driver" / "nvidia" / "gpus" / "000f:01:00.0"
    place.mkdir(parents=True)
    (place / "information").write_text("Model: \t\t NVIDIA GB10\nIRQ: 1\n", encoding="utf-8")
    assert jobs.memory(proc, cgroup).unified


def test_a_kernel_without_the_number_is_refused(tmp_path):
    proc, cgroup = kernel(tmp_path, available=20)
    (proc / "meminfo").write_text("MemTotal: 5 kB\n", encoding="utf-8")
    with pytest.raises(jobs.NoRoomError, match="does not tell"):
        jobs.memory(proc, cgroup)


def test_this_machine_answers():
    assert jobs.memory().available > 0
