"""What compiling costs: the classes add up to what was said of a release, and to what was measured of a subset."""

import pytest

from build import costs, jobs
from build.costs import ARM_RUNNER, COSTS, GB10
from build.units import Unit
from tests import unitkit

RELEASE = unitkit.release(fa3=True)


def total(units):
    return sum(costs.cpu_seconds(unit) for unit in units)


def of(*targets):
    return [unit for unit in RELEASE if unit.target in targets]


def unit(source, *architectures, target="_C"):
    return Unit(target=target, source=source, architectures=architectures)


# Sums of the measuring session, CPU-seconds by class averages (FlashAttention 3: 35 s a file, without its C++).
@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["_vllm_fa2_C"], 4400),
        (["_C"], 3400),
        (["_moe_C"], 2300),
        (["_C_stable_libtorch"], 1400),
        (["_vllm_fa3_C"], 6800),
        (["_vllm_fa2_C", "_C", "_moe_C", "_C_stable_libtorch", "spinloop", "cumem_allocator"], 11_500),
    ],
)
def test_the_classes_add_up_to_what_was_said_of_a_release(targets, said):
    assert total(of(*targets)) == pytest.approx(said, rel=0.1)


def test_the_one_sum_that_was_measured_is_met():
    assert total(unitkit.canary()) == pytest.approx(388, rel=0.2)  # 11 compiler runs, under emulated CMake and Ninja


@pytest.mark.parametrize(
    ("source", "target", "name", "seconds"),
    [
        ("deps/vllm-flash-attn/csrc/flash_attn/src/a.cu", "_vllm_fa2_C", "FlashAttention 2", 90.9),
        ("csrc/moe/marlin_moe_wna16/sm80_kernel_bfloat16_u4b8_bfloat16.cu", "_moe_C", "Marlin for MoE", 123.1),
        ("csrc/libtorch_stable/moe/marlin_moe_wna16/sm80_kernel_x.cu", "_moe_C", "Marlin for MoE", 123.1),
        ("csrc/quantization/marlin/sm80_kernel_bfloat16_u4b8_bfloat16.cu", "_C", "Marlin", 102.0),
        ("csrc/quantization/w8a8/cutlass/c3x/scaled_mm_sm120_fp8.cu", "_C_stable_libtorch", "CUTLASS for 12.x", 97.2),
        ("csrc/quantization/w8a8/cutlass/c3x/scaled_mm_blockwise_sm120_fp8.cu", "_C", "CUTLASS for 12.x", 72.5),
        ("csrc/quantization/fp4/nvfp4_scaled_mm_sm120_kernels.cu", "_C_stable_libtorch", "CUTLASS for 12.x", 70.3),
        ("csrc/cache_kernels.cu", "_C", "CUDA", 53.9),
        ("csrc/moe/torch_bindings.cpp", "_moe_C", "C++", 21.5),
    ],
)
def test_measured_files_are_in_their_class_and_near_its_average(source, target, name, seconds):
    cost = costs.cost_of(unit(source, target=target))
    assert (cost.name, cost.measured) == (name, True)
    assert cost.seconds == pytest.approx(seconds, rel=0.3)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("csrc/quantization/marlin/sm89_kernel_fe4m3fn_u4_float16.cu", "Marlin for fp8"),
        ("csrc/moe/marlin_moe_wna16/sm89_kernel_fe4m3fn_u4_float16.cu", "Marlin for fp8"),
        ("csrc/moe/marlin_moe_wna16/ops.cu", "CUDA"),
        ("csrc/quantization/marlin/marlin.cu", "CUDA"),
        ("csrc/libtorch_stable/quantization/w8a8/cutlass/scaled_mm_c3x_sm120.cu", "CUDA"),
        ("csrc/libtorch_stable/quantization/fp4/nvfp4_blockwise_moe_kernel.cu", "other CUTLASS"),
        ("deps/qutlass/qutlass/csrc/gemm.cu", "other CUTLASS"),
        ("deps/qutlass/qutlass/csrc/bindings.cpp", "C++"),
        ("build/lane_empty__vllm_fa3_C.cpp", "empty"),
    ],
)
def test_what_was_not_measured_has_a_class_too(source, name):
    assert costs.cost_of(unit(source)).name == name


def test_every_class_is_used_and_says_where_it_comes_from():
    assert {costs.cost_of(item).name for item in RELEASE} == {cost.name for cost in COSTS} - {"empty"}
    assert len({cost.name for cost in COSTS}) == len(COSTS)
    for cost in COSTS:
        assert cost.measured != cost.basis.startswith("assumed: "), cost.name
        assert 0 < cost.memory <= jobs.HEAVY, cost.name


def test_the_heavy_ones_are_cutlass():
    heavy = [costs.cost_of(item).name for item in RELEASE if costs.cost_of(item).heavy]
    assert sorted(heavy) == ["CUTLASS for 12.x"] * 3 + ["other CUTLASS"] * 8
    assert costs.heavy_targets(RELEASE) == ("_C", "_C_stable_libtorch")
    assert costs.heavy_targets(unitkit.canary()) == ()


def test_machine_code_for_a_second_architecture_costs_as_much_again():
    seconds = [
        costs.cpu_seconds(unit("csrc/a.cu", *names))
        for names in (["default"], ["compute_80"], ["compute_80", "sm_80"], ["sm_120f", "sm_80"])
    ]
    assert seconds == [40, 40, 40, 80]


@pytest.mark.parametrize(("machine", "pools"), [(GB10, (20, 6)), (ARM_RUNNER, (2, 1))])
def test_known_machines_have_the_jobs_that_fit_them(machine, pools):
    found = jobs.plan(machine.memory, machine.count, heavy=True)
    assert (found.ordinary, found.heavy) == pools


def test_the_fastest_cores_are_busy_first():
    speeds = [GB10.speed(busy) for busy in range(1, 30)]
    assert speeds == sorted(speeds, reverse=True)
    assert ARM_RUNNER.speed(1) == ARM_RUNNER.speed(4) == 0.9
    here = costs.this_machine(jobs.memory(), 2)
    assert (here.count, here.speed(2)) == (2, 1.0)
