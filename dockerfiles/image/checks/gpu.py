"""What only a GPU shows. Skipped, with the reason, where the container has none."""

from __future__ import annotations

import ctypes
import os
import subprocess

from .events import Context, Failed, Outcome, Skipped

CUDA_SUCCESS = 0


def device_count() -> int:
    """How many devices the real driver has. Raises :class:`Skipped` where there is no driver or no device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise Skipped(f"no NVIDIA driver in the container ({error})") from error
    if (status := driver.cuInit(0)) != CUDA_SUCCESS:
        raise Skipped(f"the driver has no usable device (cuInit gives {status})")
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != CUDA_SUCCESS or not count.value:
        raise Skipped("the driver has no device")
    return count.value


def check_driver(context: Context) -> Outcome:  # noqa: ARG001 - all checks are called alike
    """The driver answers and names its devices."""
    count = device_count()
    driver = ctypes.CDLL("libcuda.so.1")
    version, name = ctypes.c_int(), ctypes.create_string_buffer(100)
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetName(name, 100, 0)
    return Outcome({"devices": count, "driver's CUDA": version.value, "device 0": name.value.decode()})


def check_torch(context: Context) -> Outcome:  # noqa: ARG001 - all checks are called alike
    """torch sees the device and a kernel of its own runs right."""
    device_count()
    import torch  # noqa: PLC0415

    if not torch.cuda.is_available():
        raise Failed("the driver has a device but torch sees none")
    left = torch.arange(64 * 64, device="cuda", dtype=torch.float32).reshape(64, 64)
    same = bool(torch.equal((left @ torch.eye(64, device="cuda")).cpu(), left.cpu()))
    evidence = {
        "device": torch.cuda.get_device_name(0),
        "capability": list(torch.cuda.get_device_capability(0)),
        "architectures of torch": torch.cuda.get_arch_list(),
        "product with one": same,
    }
    if not same:
        raise Failed("a product with the unit matrix is wrong", evidence)
    return Outcome(evidence)


RUN_KERNEL = r"""
#include <cstdio>
__global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }
int main() {
  float host[32], *device;
  for (int i = 0; i < 32; i++) host[i] = i;
  cudaMalloc(&device, sizeof host);
  cudaMemcpy(device, host, sizeof host, cudaMemcpyHostToDevice);
  twice<<<1, 32>>>(device);
  cudaError_t status = cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
  for (int i = 0; i < 32; i++)
    if (host[i] != 2.0f * i) { printf("wrong at %d: %s\n", i, cudaGetErrorString(status)); return 1; }
  printf("right\n");
}
"""


def check_kernel(context: Context) -> Outcome:
    """A kernel that the image's own nvcc compiled for this device runs on it."""
    device_count()
    nvcc = os.path.join(os.environ.get("CUDA_HOME", ""), "bin", "nvcc")
    source, program = context.scratch / "run.cu", context.scratch / "run"
    source.write_text(RUN_KERNEL)
    build = [nvcc, "-arch=native", "-o", str(program), str(source)]
    for command in (build, [str(program)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise Failed(f"{command[0]} ended with {done.returncode}", {"output": (done.stdout + done.stderr)[-2000:]})
    return Outcome({"command": build, "output": done.stdout.strip()})
