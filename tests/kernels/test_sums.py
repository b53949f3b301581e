"""Fused kernels with column sums against NumPy in float64, under every order of threads."""
import numpy as np
import pytest
from harness import check_nvrtc, emulator

from gpukeras.devices.array import RAW
from gpukeras.devices.codegen import FusedModule
from gpukeras.graph import TensorType
from gpukeras.ops import math as m
from gpukeras.ops.fused import FusedStep
from gpukeras.ops.record import In, Out, Temp, Tickets
from gpukeras.ops.sums import FusedSums, slices_of

EDGES = [(5, 1), (40, 3), (7, 33), (1000, 10), (9000, 16), (70000, 1), (3000, 100)]


def relu_grad_sums(shape, columns):
    """(g, y, mean) -> g masked by y, its column sums, and those of its product with y - mean."""
    steps = (FusedStep(m.ReluGrad(), (0, 1)), FusedStep(m.Sub(), (1, 2)),
             FusedStep(m.Mul(), (4, 5)), FusedStep(m.Mul(), (6, 3)))
    return FusedSums(3, (("float32", 0.5),), steps, (4,), shape, (4, 7), columns)


def kernel_of(op, arrays):
    types = tuple(TensorType(a.dtype.name, a.shape) for a in arrays)
    outs, module = op.infer(*types), FusedModule()
    return module.text(), module.add(op, types, outs), module, outs, types


def run(op, arrays, schedule="forward", check=""):
    _, name, module, outs, types = kernel_of(op, arrays)
    driver = emulator(check)
    driver.schedule = schedule
    plan = op.cuda.plan(op, types, outs)
    places = {In: [driver.to_device(a) for a in arrays],
              Out: [driver.to_device(np.full(t.shape, np.nan, t.dtype)) for t in outs],
              Temp: [driver.alloc(n).view(RAW, (n,)) for n in plan.temps]}
    launch, = plan.steps
    tickets = driver.to_device(np.zeros(1000, "u4"))
    args = [tickets if isinstance(a, Tickets) else places[type(a)][a.index]
            if type(a) in places else a for a in launch.args]
    kernel = driver.load(module.text(), "fused.cu").kernel(name)
    driver.launch(kernel, launch.grid, launch.block, args)
    assert not driver.download(tickets).any()
    return [driver.download(a) for a in places[Out]]


def arrays_for(shape, columns, dtype="float32"):
    rng = np.random.default_rng(5)
    return [rng.standard_normal(s).astype(dtype) for s in (shape, shape, (columns,))]


@pytest.mark.parametrize("rows, columns", EDGES)
def test_sums_of_columns_are_numpys_and_always_the_same_bits(rows, columns):
    shape = (rows // 5, 5, columns) if rows % 5 == 0 else (rows, columns)
    op, arrays = relu_grad_sums(shape, columns), arrays_for(shape, columns)
    results = [run(op, arrays, *how) for how in (("forward",), ("reverse",), ("random",),
                                                 ("random", "races"))]
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], other))
    g, y, mean = (a.astype("f8") for a in arrays)
    masked = g * (y > 0)
    np.testing.assert_array_equal(results[0][0], masked.astype("f4"))
    scale = np.sqrt(rows)
    for got, want in zip(results[0][1:], (masked, masked * (y - mean) * 0.5)):
        np.testing.assert_allclose(got, want.reshape(-1, columns).sum(0), atol=2e-6 * scale,
                                   rtol=1e-5)


def test_large_matrices_are_cut_and_small_ones_are_not():
    assert slices_of(9000 * 16, 16).slices > 1 and slices_of(64 * 16, 16).slices == 1
    assert slices_of(10**8, 64).tiles * slices_of(10**8, 64).slices <= 528


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_types_are_summed_in_their_arithmetic_type(dtype):
    op, arrays = relu_grad_sums((600, 24), 24), arrays_for((600, 24), 24, dtype)
    op = FusedSums(3, ((dtype, 0.5),), *(getattr(op, p) for p in op.params[2:]))
    _, sums, _ = run(op, arrays, check="races")
    g, y = (a.astype("f8") for a in arrays[:2])
    assert sums.dtype == dtype
    np.testing.assert_allclose(sums, (g * (y > 0)).sum(0), rtol=2e-3 if dtype == "float16" else
                               1e-12, atol=2e-2 if dtype == "float16" else 1e-12)


@pytest.mark.parametrize("columns, dtype, registers", [
    (1, "float32", 64), (10, "float32", 64), (64, "float32", 64), (64, "float16", 80)])
def test_registers_are_within_budget(columns, dtype, registers):
    shape = (4096, columns)
    op = relu_grad_sums(shape, columns)
    op = FusedSums(3, ((dtype, 0.5),), *(getattr(op, p) for p in op.params[2:]))
    _, name, module, *_ = kernel_of(op, arrays_for(shape, columns, dtype))
    check_nvrtc(module.text(), (), {name: registers})


@pytest.mark.parametrize("dtype, rows", [("float32", 8), ("float16", 16), ("float64", 4)])
def test_a_thread_reads_64_bytes_before_it_computes(dtype, rows):
    op = relu_grad_sums((4096, 64), 64)
    op = FusedSums(3, ((dtype, 0.5),), *(getattr(op, p) for p in op.params[2:]))
    text, name, module, *_ = kernel_of(op, arrays_for((4096, 64), 64, dtype))
    assert f"m += {rows} * rows" in module.text()
