"""Fused kernels that move 16 bytes at a time, against NumPy: every width, broadcast and end."""
import numpy as np
import pytest
from harness import ON_GPU, check_nvrtc, emulator

from gpukeras import devices
from gpukeras.devices.codegen import FusedModule, program_of
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.emu.kernel import traffic
from gpukeras.devices.launcher import KernelDevice
from gpukeras.devices.wide import Reach, reach_of, wide_body, wide_shape
from gpukeras.function import function
from gpukeras.graph import Placeholder, TensorType
from gpukeras.ops import math as m
from gpukeras.ops.broadcast import BroadcastTo
from gpukeras.ops.fused import Fused, FusedStep


def types(arrays):
    return tuple(TensorType(a.dtype.name, a.shape) for a in arrays)


def written(op, arrays, reach=None):
    """(module, name, output types, reach) of the wide kernel of an op."""
    ins, module = types(arrays), FusedModule()
    outs = op.infer(*ins)
    outs = (outs,) if isinstance(outs, TensorType) else tuple(outs)
    program = program_of(op, outs, len(ins))
    reach = reach or reach_of(program, ins, outs)
    return module, module.add(op, ins, outs, wide_body(program, ins, reach)), outs, reach


def run(op, *arrays, reach=None, check="", schedule="forward"):
    module, name, outs, reach = written(op, arrays, reach)
    driver = emulator(check)
    driver.schedule = schedule
    memory = [driver.to_device(a) for a in arrays]
    memory += [driver.to_device(np.full(t.shape, 7, t.dtype)) for t in outs]
    grid, block, count = wide_shape(outs[0].size, reach)
    driver.launch(driver.load(module.text(), "fused.cu").kernel(name), grid, block,
                  [*memory, count])
    return [driver.download(a) for a in memory[len(arrays):]]


def bent(shape, dtype="float32"):
    """(x, bias, scale) -> tanh(x + bias) * scale, x + bias"""
    return Fused(3, (), (FusedStep(m.Add(), (0, 1)), FusedStep(m.Tanh(), (3,)),
                         FusedStep(m.Mul(), (4, 2))), (5, 3), shape)


REACHES = [Reach(4, 1, False), Reach(4, 3, False), Reach(2, 2, False), Reach(4, 4, True)]


@pytest.mark.parametrize("reach", REACHES, ids=str)
@pytest.mark.parametrize("rows", [1, 37, 300])
@pytest.mark.parametrize("how", [("", "forward"), ("", "reverse"), ("races", "random")], ids=str)
def test_values_are_numpys(rows, reach, how):
    shape = (rows, 12 if reach.whole else 7)
    rng = np.random.default_rng(rows)
    x, bias = rng.standard_normal(shape).astype("f4"), rng.standard_normal(shape[1:]).astype("f4")
    scale = np.float32(1.5).reshape(1)
    y, total = run(bent(shape), x, bias, scale, reach=reach, check=how[0], schedule=how[1])
    np.testing.assert_array_equal(total, x + bias)
    np.testing.assert_allclose(y, np.tanh(x + bias) * 1.5, rtol=1e-6, atol=1e-6)


SHAPES = [((), (16, 8)), ((8,), (16, 8)), ((16, 1), (16, 8)), ((16, 8), (16, 8)),
          ((2, 1, 8), (2, 16, 8)), ((1, 16, 1), (2, 16, 8)), ((2, 16, 1, 1), (2, 16, 3, 5)),
          ((3, 5), (2, 16, 3, 5)), ((6,), (16, 6)), ((16, 1), (16, 6)), ((2, 1, 6), (2, 16, 6)),
          ((4, 1, 3), (4, 8, 3))]


@pytest.mark.parametrize("narrow, wide", SHAPES, ids=str)
def test_every_broadcast_reads_the_right_elements(narrow, wide):
    x = np.arange(np.prod(narrow, dtype=int), dtype="f4").reshape(narrow)
    y = np.arange(np.prod(wide), dtype="f4").reshape(wide)
    got, = run(m.Sub(), y, x, check="races")
    np.testing.assert_array_equal(got, y - x)
    got, = run(BroadcastTo(wide), x)
    np.testing.assert_array_equal(got, np.broadcast_to(x, wide))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "uint8",
                                   "int8", "bool"])
def test_every_dtype_is_moved_in_its_own_width(dtype):
    x = (np.arange(101) % 5).astype(dtype)
    for to in ("float64", "float32", "uint8"):
        got, = run(m.Cast(to), x, check="memory")
        np.testing.assert_array_equal(got, x.astype(to))


@pytest.mark.skipif(ON_GPU, reason="the emulator counts bytes")
def test_every_byte_is_moved_once():
    shape = (32, 128)
    x, bias = np.ones(shape, "f4"), np.ones(128, "f4")
    module, name, outs, reach = written(bent(shape), (x, bias, np.ones(1, "f4")))
    assert (reach.width, reach.ahead, reach.whole) == (4, 4, True)
    traffic()
    run(bent(shape), x, bias, np.ones(1, "f4"), check="memory")
    moved = traffic()
    assert moved["global_written"] == 2 * x.nbytes
    scalars = 4 * 256 * wide_shape(x.size, reach)[0][0]
    assert moved["global_read"] == 2 * x.nbytes + scalars          # x, and the bias for each group


def test_an_output_may_take_the_memory_of_an_input():
    x = np.arange(1003, dtype="f4")
    module, name, outs, reach = written(m.Square(), (x,))
    driver = emulator("races")
    memory = driver.to_device(x)
    grid, block, count = wide_shape(x.size, reach)
    driver.launch(driver.load(module.text(), "fused.cu").kernel(name), grid, block,
                  [memory, memory, count])
    np.testing.assert_array_equal(driver.download(memory), x * x)


def reach(shape, *narrow, dtype="float32", steps=1, arrays=None):
    ins = (TensorType(dtype, shape), *(TensorType(dtype, s) for s in narrow))
    op = Fused(len(ins), (), tuple(FusedStep(m.Neg(), (0,)) for _ in range(steps)),
               (len(ins),), shape)
    return reach_of(program_of(op, (), len(ins)), ins, (ins[0],), arrays)


def test_who_reaches_how_far():
    assert reach((5,)) is None                              # next to nothing
    assert reach((100, 10)) == (4, 1, False)                # one block plays it
    assert reach((64, 128)) == (4, 8 // 2, True)
    assert reach((100, 1000)) is None                       # each multiprocessor gets its share
    assert reach((4096, 4096)) == (4, 2, True)              # 32 bytes ahead
    assert reach((4096, 4096), (4096, 4096)) == (4, 1, True)
    assert reach((4096, 4096), dtype="float16") == (8, 2, True)
    assert reach((4096, 4097), dtype="float64") == (2, 2, False)
    assert reach((4096 * 4096,)) == (4, 2, False)           # a size that may be a batch's
    assert reach((64, 128), steps=100) == (4, 1, True)      # long enough


def test_memory_that_is_not_aligned_is_read_element_by_element():
    driver = EmuDriver()
    memory = driver.alloc(1 << 16).view("float32")
    shape = (32, 16)
    near = [memory.view(shape=shape, offset=at) for at in (0, 4096)]
    off = memory.view(shape=shape, offset=8192 + 4)
    assert reach(shape, arrays=near) == (4, 1, True)
    assert reach(shape, arrays=[near[0], off]) is None
    row = [memory.view(shape=(16,), offset=at) for at in (256, 260)]
    assert reach(shape, (16,), arrays=[near[0], row[0], near[1]]) is not None
    assert reach(shape, (16,), arrays=[near[0], row[1], near[1]]) is None
    column = memory.view(shape=(32, 1), offset=260)                # read one by one in any case
    assert reach(shape, (32, 1), arrays=[near[0], column, near[1]]) is not None


@pytest.mark.parametrize("n", [40, 1000, 300_000, 1_100_003])
def test_functions_of_all_sizes_give_what_the_host_gives(n):
    x, y = Placeholder("float32", (None,)), Placeholder("float32", ())
    outputs = [m.tanh(x) * y + 1.0, m.square(x) - x]
    data = [np.linspace(-3, 3, n, dtype="f4"), np.float32(0.3)]
    results = []
    for device in (devices.HostDevice(), KernelDevice(EmuDriver())):
        old = devices.use(device)
        try:
            results.append(function([x, y], outputs)(data))
        finally:
            devices.use(old)
    for got, want in zip(results[1], results[0]):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def adam(shape):
    """Steps of Adam over p, m, v, g and a learning rate."""
    k = 5                                                   # the first constant
    constants = tuple(("float32", c) for c in (0.9, 0.1, 0.999, 0.001, 1e-7))
    steps = (FusedStep(m.Mul(), (1, k)), FusedStep(m.Mul(), (3, k + 1)),
             FusedStep(m.Add(), (10, 11)), FusedStep(m.Square(), (3,)),
             FusedStep(m.Mul(), (13, k + 3)), FusedStep(m.Mul(), (2, k + 2)),
             FusedStep(m.Add(), (14, 15)), FusedStep(m.Sqrt(), (16,)),
             FusedStep(m.Add(), (17, k + 4)), FusedStep(m.Div(), (12, 18)),
             FusedStep(m.Mul(), (19, 4)), FusedStep(m.Sub(), (0, 20)))
    return Fused(5, constants, steps, (21, 12, 16), shape)


def test_adam_over_flat_weights_spills_nothing():
    arrays = [np.ones(1 << 20, "f4")] * 4 + [np.ones(1, "f4")]
    module, name, _, how = written(adam((1 << 20,)), arrays)
    assert how == (4, 1, False)                             # 64 bytes on their way
    check_nvrtc(module.text(), (), {name: 64})


@pytest.mark.parametrize("dtype, registers", [("float32", 64), ("float16", 72), ("float64", 64)])
def test_wide_kernels_spill_nothing(dtype, registers):
    arrays = [np.ones((16, 128), dtype), np.ones(128, dtype), np.ones(1, dtype)]
    module, name, _, _ = written(bent((16, 128)), arrays)
    check_nvrtc(module.text(), (), {name: registers})
