"""Random masks made inside fused kernels: bit for bit numpy.random.Philox's, and never stored."""
import numpy as np
import pytest
from harness import check_nvrtc, emulator

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.array import RAW
from gpukeras.devices.codegen import LARGE_TILES, FusedModule, launch_shape
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder, TensorType, gradients
from gpukeras.ops import math as m
from gpukeras.ops.fused import Fused, FusedStep
from gpukeras.ops.random import Dropout, MaskBits, dropout, raw_words
from gpukeras.ops.record import In, Out, Temp, Tickets
from gpukeras.ops.sums import FusedSums

STEP, SEED, RATE = 3, 2**63 + 12345, 0.3
KEY = np.array([SEED, 0], "u8").view("i8")


def steps_for(shape):
    return (FusedStep(MaskBits(shape, round(RATE * 65536)), (0, 1)),
            FusedStep(Dropout(2.0), (3, 2)))


def expected(shape):
    """Element e is true where its 16 of Philox's bits are not below the threshold."""
    n = int(np.prod(shape))
    bits = raw_words(SEED, 4, STEP, -(-n // 16), 0).view("u2")[:n]
    return (bits >= round(RATE * 65536)).reshape(shape)


def launch(op, arrays, check="", schedule="forward"):
    types = tuple(TensorType(a.dtype.name, a.shape) for a in arrays)
    outs = op.infer(*types)
    outs = (outs,) if isinstance(outs, TensorType) else outs
    module = FusedModule()
    name = module.add(op, types, outs)
    driver = emulator(check)
    driver.schedule = schedule
    kernel = driver.load(module.text(), "fused.cu").kernel(name)
    ins = [driver.to_device(a) for a in arrays]
    results = [driver.to_device(np.full(t.shape, 7, t.dtype)) for t in outs]
    if isinstance(op, FusedSums):
        plan = op.cuda.plan(op, types, outs)
        places = {In: ins, Out: results,
                  Temp: [driver.alloc(n).view(RAW, (n,)) for n in plan.temps]}
        how, tickets = plan.steps[0], driver.to_device(np.zeros(600, "u4"))
        args = [tickets if isinstance(a, Tickets) else places[type(a)][a.index]
                if type(a) in places else a for a in how.args]
        driver.launch(kernel, how.grid, how.block, args)
    else:
        grid, block, count = launch_shape(outs[0].size)
        driver.launch(kernel, grid, block, [*ins, *results, count])
    return [driver.download(a) for a in results]


RUNS = [("", "forward"), ("", "reverse"), ("", "random"), ("races", "random")]


@pytest.mark.parametrize("shape", [(1,), (31,), (127,), (129,), (5, 7, 11), (1000, 3)])
def test_masks_of_fused_kernels_are_numpys(shape):
    x = np.random.default_rng(1).standard_normal(shape).astype("f4")
    op = Fused(3, (), steps_for(shape), (3, 4), shape)
    for how in RUNS:
        mask, y = launch(op, [np.array(STEP), KEY, x], *how)
        np.testing.assert_array_equal(mask, expected(shape))
        np.testing.assert_array_equal(y, 2 * x * expected(shape))


def test_large_tensors_are_walked_in_larger_tiles():
    shape = (LARGE_TILES // 64 + 1, 64)
    x = np.ones(shape, "f4")
    y, = launch(Fused(3, (), steps_for(shape), (4,), shape), [np.array(STEP), KEY, x])
    np.testing.assert_array_equal(y, 2 * expected(shape))


@pytest.mark.parametrize("rows, columns", [(9, 32), (700, 64), (65, 7), (300, 1), (5, 96)])
def test_masks_of_kernels_with_column_sums_are_numpys(rows, columns):
    x = np.random.default_rng(1).standard_normal((rows, columns)).astype("f4")
    op = FusedSums(3, (), steps_for(x.shape), (3,), x.shape, (4,), columns)
    for how in RUNS:
        mask, sums = launch(op, [np.array(STEP), KEY, x], *how)
        np.testing.assert_array_equal(mask, expected(x.shape))
        want = (2 * x.astype("f8") * expected(x.shape)).sum(0)
        np.testing.assert_allclose(sums, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind, columns", [(Fused, 64), (FusedSums, 64), (FusedSums, 10)])
def test_registers_are_within_budget(kind, columns):
    shape = (4096, columns)
    more = ((4,), columns) if kind is FusedSums else ()
    op = kind(3, (), steps_for(shape), (4,), shape, *more)
    types = (TensorType("int64", ()), TensorType("int64", (2,)), TensorType("float32", shape))
    module = FusedModule()
    outs = op.infer(*types)
    name = module.add(op, types, (outs,) if isinstance(outs, TensorType) else outs)
    check_nvrtc(module.text(), (), {name: 80})


def test_a_dropout_and_its_gradient_share_their_mask_and_store_none():
    first = devices.use(KernelDevice(emulator("")))
    try:
        x, g = (Placeholder("float32", (200, 40)) for _ in range(2))
        y = dropout(m.tanh(x), 0.4, seed=3)
        step = function([x, g], [y, *gradients([(y, g)], [x])])
        a = np.random.default_rng(0).standard_normal((200, 40)).astype("f4")
        y, gx = step([a, np.ones_like(a)])
        types = [v.type for s in step.specialise((a.shape, a.shape)).schedule.steps for v in s.outs]
    finally:
        devices.use(first)
        K.clear_session()
    assert not [t for t in types if t.dtype == "bool"]
    kept = y != 0
    assert 0.55 < kept.mean() < 0.65
    np.testing.assert_allclose(y, np.where(kept, np.tanh(a) / 0.6, 0), rtol=1e-5)
    np.testing.assert_allclose(gx, np.where(kept, (1 - np.tanh(a) ** 2) / 0.6, 0), rtol=1e-4,
                               atol=1e-5)
