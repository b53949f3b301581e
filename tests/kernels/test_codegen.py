"""Fused kernels against NumPy: every elementwise op, every kind of broadcast, every dtype."""

import numpy as np
import pytest
from harness import emulator

from gpukeras.devices import nvrtc
from gpukeras.devices.codegen import FusedModule, index, launch_shape, literal
from gpukeras.graph import TensorType
from gpukeras.ops import broadcast, math
from gpukeras.ops.fused import Fused, FusedStep
from gpukeras.ops.random import Dropout
from gpukeras.ops.record import Expr


def types(arrays):
    return tuple(TensorType(a.dtype.name, a.shape) for a in arrays)


def outputs_of(op, arrays):
    outs = op.infer(*types(arrays))
    return (outs,) if isinstance(outs, TensorType) else tuple(outs)


def run(op, *arrays, check=""):
    """The op's outputs by its generated kernel, on the emulator."""
    module, outs = FusedModule(), outputs_of(op, arrays)
    name = module.add(op, types(arrays), outs)
    driver = emulator(check)
    device = [driver.to_device(a) for a in arrays] + [driver.empty(t.shape, t.dtype) for t in outs]
    grid, block, count = launch_shape(outs[0].size)
    kernel = driver.load(module.text(), "fused.cu").kernel(name)
    driver.launch(kernel, grid, block, [*device, count])
    return [driver.download(d) for d in device[len(arrays):]]


def all_subclasses(cls):
    return {c for s in cls.__subclasses__() for c in {s, *all_subclasses(s)}}


PARAMS = {"Clip": (-0.5, 0.75), "Cast": ("int32",)}
ELEMENTWISE = sorted((c for c in all_subclasses(math.Elementwise)
                      if isinstance(c.cuda, Expr) and c.__module__ == math.__name__),
                     key=lambda c: c.__name__)


@pytest.mark.parametrize("cls", ELEMENTWISE, ids=lambda c: c.__name__)
def test_every_elementwise_op_gives_numpys_values(cls):
    op = cls(*PARAMS.get(cls.__name__, ()))
    rng = np.random.default_rng(3)
    inputs = [rng.normal(size=70).astype("f4") for _ in range(3)]
    inputs[0][:4] = [0, 1, -1, 2.5]
    inputs[1][:4] = [1, 1, 2, -2]
    count = op.cuda.code.count
    arity = 3 if cls is math.Where else 2 if "b" in _names(op.cuda.code) else 1
    if cls in (math.Log, math.Log1p, math.Sqrt, math.Rsqrt, math.Pow):
        inputs[0] = np.abs(inputs[0]) + np.float32(0.1)
    if cls in (math.LogicalNot, math.LogicalAnd, math.LogicalOr):
        inputs = [a > 0 for a in inputs]
    if cls is math.Where:
        inputs[0] = inputs[0] > 0
    assert count("{") == count("}")
    want = op.numpy(*inputs[:arity])
    got, = run(op, *inputs[:arity])
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=3e-6)


def _names(code):
    import re
    return set(re.findall(r"\b[abcd]\b", code))


def test_parameters_are_numbers_of_the_floats_type():
    x, mask = np.arange(8, dtype="f4"), np.arange(8) % 3 > 0
    op = Dropout(1.25)
    got, = run(op, mask, x)
    np.testing.assert_array_equal(got, op.numpy(mask, x))
    assert got[1] == 1.25


SHAPES = [
    ((), (3, 4)), ((1,), (3, 4)), ((4,), (3, 4)), ((3, 1), (3, 4)), ((3, 4), (3, 4)),
    ((2, 1, 4), (2, 3, 4)), ((1, 3, 1), (2, 3, 4)), ((2, 1, 4, 1), (2, 3, 4, 5)),
    ((2, 3, 1, 1), (2, 3, 4, 5)), ((4, 5), (2, 3, 4, 5)), ((1, 3, 4, 1), (2, 3, 4, 5)),
    ((2, 1, 1, 5), (2, 3, 4, 5)), ((1, 1), (1, 1)), ((7,), (7,)), ((1, 5), (3, 5)),
]


@pytest.mark.parametrize("narrow, wide", SHAPES, ids=str)
def test_every_broadcast_reads_the_right_element(narrow, wide):
    x = np.arange(np.prod(narrow, dtype=int), dtype=np.float32).reshape(narrow)
    got, = run(broadcast.BroadcastTo(wide), x, check="races")
    np.testing.assert_array_equal(got, np.broadcast_to(x, wide))
    y = np.arange(np.prod(wide), dtype=np.float32).reshape(wide)
    got, = run(math.Sub(), y, x)
    np.testing.assert_array_equal(got, y - x)


def test_the_batch_size_is_no_constant_of_the_text():
    assert index((4,), (32, 4)) == index((4,), (7, 4)) == "(e % 4u)".replace("(e", "((e)")
    assert index((32, 1), (32, 4)) == "(e / 4u)"
    module = FusedModule()
    names = {module.add(math.Add(), (TensorType("float32", (n, 4)), TensorType("float32", (4,))),
                        (TensorType("float32", (n, 4)),)) for n in (5, 32)}
    assert len(names) == 1


def test_a_program_with_several_outputs_and_constants():
    x = np.linspace(-2, 2, 33, dtype=np.float32).reshape(3, 11)
    bias = np.linspace(0, 1, 11, dtype=np.float32)
    # slots: 0 x, 1 bias, 2 constant, 3 x + bias, 4 tanh, 5 tanh * constant, 6 sum > constant
    op = Fused(2, (("float32", 0.1),), (
        FusedStep(math.Add(), (0, 1)), FusedStep(math.Tanh(), (3,)), FusedStep(math.Mul(), (4, 2)),
        FusedStep(math.Greater(), (3, 2))), (5, 3, 6), (3, 11))
    scaled, total, above = run(op, x, bias, check="races")
    np.testing.assert_allclose(total, x + bias, rtol=1e-6)
    np.testing.assert_allclose(scaled, np.tanh(x + bias) * np.float32(0.1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(above, x + bias > np.float32(0.1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "uint8",
                                   "int8", "bool"])
def test_every_dtype_is_loaded_and_stored(dtype):
    x = np.array([0, 1, 2, 3, 100, 127], dtype)
    got, = run(math.Cast("float64"), x)
    np.testing.assert_array_equal(got, x.astype("f8"))
    if dtype != "bool":
        got, = run(math.Mul(), x, x)          # wraps around in the small integers
        np.testing.assert_array_equal(got, x * x)


def test_an_output_may_take_the_memory_of_an_input():
    driver = emulator("races")
    x = np.arange(600, dtype=np.float32)
    module = FusedModule()
    name = module.add(math.Square(), types([x]), types([x]))
    device = driver.to_device(x)
    grid, block, count = launch_shape(x.size)
    driver.launch(driver.load(module.text(), "fused.cu").kernel(name), grid, block,
                  [device, device, count])
    np.testing.assert_array_equal(driver.download(device), x * x)


@pytest.mark.parametrize("value, dtype, text", [
    (0.1, "float32", "(0.10000000149011612f)"), (0.1, "float64", "(0.1)"), (1e-7, "float16", None),
    (float("inf"), "float32", "(float)POS_INF"), (float("-inf"), "float32", "(float)(-POS_INF)"),
    (float("nan"), "float64", "(double)QUIET_NAN"), (3, "int64", "(3ll)"), (True, "bool", "true"),
    (-2**31, "int32", "(-2147483647 - 1)"), (2, "float32", "(2.0f)")])
def test_literals(value, dtype, text):
    if text:
        assert literal(value, dtype) == text
    op = Fused(1, ((dtype, value),), (FusedStep(math.StopGradient(), (1,)),), (2,), (2,))
    got, = run(op, np.zeros(2, "f4"))
    np.testing.assert_array_equal(got, np.full(2, value, dtype))


def test_more_elements_than_threads_are_walked():
    x = np.arange(3 * 132 * 16 * 256 // 2, dtype=np.float32)
    got, = run(math.Neg(), x)
    np.testing.assert_array_equal(got, -x)


def test_the_whole_table_compiles_for_every_architecture():
    if nvrtc.missing():
        pytest.skip(f"kernels are not compiled here: {nvrtc.missing()}")
    module = FusedModule()
    for cls in ELEMENTWISE:
        arity = 3 if cls is math.Where else 2 if "b" in _names(cls.cuda.code) else 1
        for dtype in ("float32", "float16", "float64"):
            ins = [TensorType(dtype, (8, 3))] * arity
            if cls is math.Where:
                ins[0] = TensorType("bool", (8, 3))
            op = cls(*PARAMS.get(cls.__name__, ()))
            module.add(op, tuple(ins), (op.infer(*ins),))
    for arch in (75, 90, 120):
        report = nvrtc.compile_cubin(module.text(), "fused.cu", (), arch).report
        assert len(report) == len(module.names)
        assert all(use.spill_bytes == 0 for use in report.values())
