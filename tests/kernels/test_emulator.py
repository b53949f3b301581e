"""The emulator finds planted bugs, and tells where they are."""

import numpy as np
import pytest
from harness import run_kernel

from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.emu.kernel import traffic
from gpukeras.devices.sources import expand_includes
from gpukeras.errors import DeviceError, KernelError


def run(body, x=None, block=64, grid=2, check="", schedule="forward", smem=0, args=None):
    """Runs `k(float* x, int n)` with this body; returns x afterwards."""
    text = f'#include "common.cuh"\nextern "C" __global__ void k(float* x, int n) {{\n{body}\n}}\n'
    driver = EmuDriver(schedule=schedule, check=check)
    x = np.arange(256, dtype=np.float32) if x is None else x
    device = driver.to_device(x)
    kernel = driver.load(expand_includes(text, "planted.cu"), "planted.cu").kernel("k")
    driver.launch(kernel, (grid,), (block,), args or (device, np.int32(x.size)), smem)
    return driver.download(device)


def test_a_correct_kernel_gives_numpys_result_under_every_schedule():
    x = np.random.default_rng(0).normal(size=(5, 300)).astype(np.float32)
    text = """
#include "common.cuh"
extern "C" __global__ void row_sum(const T* __restrict__ x_nc, T* y_n, int C) {
    __shared__ A scratch[32];
    A s = 0;
    for (int c = threadIdx.x; c < C; c += blockDim.x) s += x_nc[(i64)blockIdx.x * C + c];
    s = block_sum(s, scratch);
    if (threadIdx.x == 0) y_n[blockIdx.x] = s;
}
"""
    y = run_kernel(text, "row_sum", (5,), (128,), (x, np.full(5, np.nan, "f4"), np.int32(300)))[1]
    np.testing.assert_allclose(y, x.astype("f8").sum(1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("body, words", [
    ("if (threadIdx.x < 5) __syncthreads();", "barrier divergence"),
    ("if (threadIdx.x < 5) __syncthreads(); else __syncthreads();", "different __syncthreads"),
    ("if (threadIdx.x == 0) return; __syncthreads();", "exited before __syncthreads"),
    ("x[0] = __shfl_sync(0xffff0000u, 1.f, 20);", "without its own bit in the mask"),
    ("if (threadIdx.x & 1) x[0] = __shfl_sync(~0u, 1.f, 0); else __syncthreads();",
     "divergence|never arrives"),
    ("x[0] = x[1LL << 40];", "illegal memory access"),
    ("x[1LL << 40] = 1;", "illegal memory access"),
    ("x[threadIdx.x] = 7 / (int)threadIdx.x;", "integer division by zero"),
    ("extern __shared__ float s[]; s[threadIdx.x + 4] = 1;", "illegal memory access"),
], ids=lambda v: None if "|" in v else v[:40])
def test_a_plain_run_finds(body, words):
    with pytest.raises(KernelError, match=words):
        run(body, smem=256)


def test_the_error_names_kernel_line_block_and_thread():
    with pytest.raises(KernelError, match=r"\[k\].*planted.cu:3.*block \(1,0,0\) thread \(5,0,0\)"):
        run("if (blockIdx.x == 1 && threadIdx.x == 5) x[1LL << 40] = 1;")


def test_uninitialised_memory_reads_as_nan():
    y = run("__shared__ float s[64]; x[threadIdx.x] = s[threadIdx.x];")
    assert np.isnan(y[:64]).all() and not np.isnan(y[64:]).any()
    driver = EmuDriver()
    assert np.isnan(driver.download(driver.empty((9,), np.float32))).all()


MISSING_BARRIER = """
    __shared__ float s[64];
    s[threadIdx.x] = threadIdx.x;
    x[threadIdx.x] = s[63 - threadIdx.x];
"""


def test_a_missing_barrier_shows_under_schedules_and_under_the_race_check():
    results = [run(MISSING_BARRIER, grid=1, schedule=s) for s in ("forward", "reverse", "random")]
    assert any(not np.array_equal(r, results[0], equal_nan=True) for r in results[1:])
    with pytest.raises(KernelError, match=r"data race on shared memory.*planted.cu:5"):
        run(MISSING_BARRIER, grid=1, check="races")
    fixed = MISSING_BARRIER.replace("x[threadIdx", "__syncthreads(); x[threadIdx")
    np.testing.assert_array_equal(run(fixed, grid=1, check="races")[:64], np.arange(64)[::-1])


@pytest.mark.parametrize("body, words", [
    ("if (threadIdx.x == 0) x[n] = 1;", r"out of bounds: write of 4 bytes, 0 bytes away"),
    ("if (threadIdx.x == 0) x[0] = x[n];", "out of bounds: read of 4 bytes"),
    ("x[0] += 1;", "data race on global memory"),
    ("__shared__ float s[64]; s[threadIdx.x + 1] = 0; __syncthreads();"
     "x[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];", "out of bounds: write"),
    ("((int*)((char*)x + 2))[threadIdx.x] = 1;", "misaligned|data race"),
])
def test_the_checker_finds(body, words):
    with pytest.raises(KernelError, match=words):
        run(body, x=np.zeros(250, np.float32), check="races")


def test_the_checker_accepts_atomics_and_disjoint_writes():
    y = run("atomicAdd(x, 1.f); x[1 + blockIdx.x * blockDim.x + threadIdx.x] = 3;",
            x=np.zeros(129, np.float32), check="races")
    assert y[0] == 128 and (y[1:] == 3).all()


def test_a_write_through_a_const_argument_is_found():
    text = """
extern "C" __global__ void k(const float* x) {
    ((float*)x)[0] = 1;
}
"""
    with pytest.raises(KernelError, match="through a const argument"):
        run_kernel(text, "k", (1,), (1,), (np.zeros(4, np.float32),))


def test_a_write_past_the_end_inside_the_rounding_is_found_without_the_checker():
    with pytest.raises(KernelError, match="wrote past the end"):
        run("if (threadIdx.x == 0) x[n] = 1;", x=np.zeros(250, np.float32))


def test_traffic_counts_the_bytes_of_a_checked_launch():
    traffic()
    run("if (blockIdx.x == 0) x[threadIdx.x] = x[threadIdx.x] * 2;", check="memory")
    assert traffic() == {"global_read": 256, "global_written": 256,
                         "shared_read": 0, "shared_written": 0}


# ---------------------------------------------------------------- arguments

@pytest.mark.parametrize("bad, words", [
    (lambda d: (d.to_device(np.zeros(4)), np.int32(4)), "got float64, expected f4"),
    (lambda d: (np.zeros(4, "f4"), np.int32(4)), "expected a DeviceArray"),
    (lambda d: (d.to_device(np.zeros(4, "f4")), 4), "expected a NumPy scalar"),
    (lambda d: (d.to_device(np.zeros(4, "f4")), np.int64(4)), "got int64, expected i4"),
    (lambda d: (d.to_device(np.zeros(4, "f4")),), "wrong number of arguments"),
], ids=["dtype", "host array", "python int", "scalar type", "count"])
def test_arguments_are_checked_against_the_signature(bad, words):
    driver = EmuDriver()
    kernel = driver.load('extern "C" __global__ void k(float* x, int n) {}', "k.cu").kernel("k")
    with pytest.raises(KernelError, match=words):
        driver.launch(kernel, (1,), (1,), bad(driver))


@pytest.mark.parametrize("grid, block, smem", [
    ((0,), (32,), 0), ((1, 70000), (32,), 0), ((1,), (2048,), 0), ((1,), (32, 64), 0),
    ((1,), (32,), 300_000)])
def test_launches_a_gpu_refuses_are_refused(grid, block, smem):
    driver = EmuDriver()
    kernel = driver.load('extern "C" __global__ void k() {}', "k.cu").kernel("k")
    with pytest.raises(DeviceError, match=r"\[k\]"):
        driver.launch(kernel, grid, block, (), smem)


def test_device_arrays_never_become_numpy_by_themselves():
    x = EmuDriver().to_device(np.zeros(3, np.float32))
    for use in (np.asarray, lambda v: np.ones(3) + v, lambda v: v + np.ones(3), np.sum):
        with pytest.raises(TypeError):
            use(x)
    with pytest.raises(DeviceError, match="outside its buffer"):
        x.view(np.float64, (2,))


def test_freed_memory_is_refused():
    driver = EmuDriver()
    x = driver.to_device(np.zeros(3, np.float32))
    used = driver.memory_info()[0]
    driver.free(x)
    assert driver.memory_info()[0] == used - 256
    with pytest.raises(DeviceError, match="freed"):
        driver.download(x)


# ---------------------------------------------------------------- gemm

@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_gemm_is_numpys_with_strides_batch_alpha_and_beta(trans_a, trans_b):
    rng, driver = np.random.default_rng(1), EmuDriver()
    a, b, c = (rng.normal(size=s).astype("f4") for s in ((3, 4, 5), (3, 5, 6), (3, 4, 7)))
    da, db, dc = map(driver.to_device, (a.swapaxes(1, 2) if trans_a else a,
                                        b.swapaxes(1, 2) if trans_b else b, c))
    driver.gemm(da, db, dc, 4, 6, 5, trans_a, trans_b, alpha=2.0, beta=0.5, batch=3,
                stride_a=20, stride_b=30, stride_c=28, ldc=7)
    expected = np.concatenate([2 * a.astype("f8") @ b + 0.5 * c[..., :6], c[..., 6:]], axis=-1)
    np.testing.assert_allclose(driver.download(dc), expected, rtol=1e-5, atol=1e-5)


def test_gemm_with_beta_0_ignores_what_is_in_c():
    driver = EmuDriver()
    c = driver.empty((2, 2), np.float32)
    driver.gemm(driver.to_device(np.eye(2, dtype="f4")), driver.to_device(np.eye(2, dtype="f4")),
                c, 2, 2, 2)
    np.testing.assert_array_equal(driver.download(c), np.eye(2))
    with pytest.raises(DeviceError, match="does not fit"):
        driver.gemm(c, c, c, 3, 3, 3)


# ---------------------------------------------------------------- graphs

SCALE = 'extern "C" __global__ void k(float* x, const float* by, float add) ' \
        '{ x[threadIdx.x] = x[threadIdx.x] * by[0] + add; }'


def test_a_graph_runs_nothing_while_captured_and_everything_when_launched():
    driver = EmuDriver()
    x, y, by = (driver.to_device(np.full(n, 2, "f4")) for n in (4, 4, 1))
    kernel = driver.load(SCALE, "k.cu").kernel("k")
    with driver.capture() as graph:
        driver.launch(kernel, (1,), (4,), (x, by, np.float32(1)))
        driver.copy(y, x)
        driver.fill(x, 0)
    assert driver.download(x)[0] == 2 and driver.counters.launches == 0
    driver.counters.reset()
    graph.launch()
    assert driver.counters.allocations == driver.counters.downloads == 0
    assert driver.counters.launches == driver.counters.graph_launches == 1
    assert driver.download(y)[0] == 5 and driver.download(x)[0] == 0
    driver.upload(by, np.full(1, 7, "f4"))          # device memory is read at launch: 0 * 7 + 1
    graph.launch()
    assert driver.download(y)[0] == 1


def test_host_work_is_refused_while_capturing():
    driver = EmuDriver()
    x = driver.to_device(np.zeros(4, np.float32))
    with driver.capture():
        for what in (lambda: driver.alloc(4), lambda: driver.download(x), driver.synchronize,
                     lambda: driver.upload(x, np.zeros(4, "f4")), lambda: driver.free(x)):
            with pytest.raises(DeviceError, match="while a graph is captured"):
                what()
    driver.download(x)                              # allowed again


def test_scalars_of_a_graph_are_baked_in():
    driver = EmuDriver()
    x, by = driver.to_device(np.zeros(4, "f4")), driver.to_device(np.zeros(1, "f4"))
    add = np.array(3, np.float32)
    with driver.capture() as graph:
        driver.launch(driver.load(SCALE, "k.cu").kernel("k"), (1,), (4,), (x, by, add))
    add[...] = 8
    graph.launch()
    assert driver.download(x)[0] == 3


def test_a_struct_passed_by_value_must_have_the_size_of_the_kernels():
    text = "struct P { int a; float b; }; " \
           'extern "C" __global__ void k(float* x, P p) { x[0] = p.a + p.b; }'
    driver = EmuDriver()
    kernel, x = driver.load(text, "k.cu").kernel("k"), driver.to_device(np.zeros(1, "f4"))
    driver.launch(kernel, (1,), (1,), (x, np.array((3, 0.5), "i4,f4")[()]))
    assert driver.download(x)[0] == 3.5
    with pytest.raises(KernelError, match="of 8 bytes"):
        driver.launch(kernel, (1,), (1,), (x, np.array((3, 0.5), "i4,f8")[()]))
