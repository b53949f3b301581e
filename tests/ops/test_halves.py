"""16-bit floats: rounding against torch's, and ops of those types on the host and the emulator."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.devices.emu.driver import to_tf32
from gpukeras.graph import Placeholder, promote
from gpukeras.graph.halves import BFLOAT16, convert, plain, rounded
from gpukeras.ops.halves import LoadBfloat16, RoundBfloat16, RoundFloat16, StoreBfloat16

HALF = ["float16", "bfloat16"]
SPACING = {"float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}         # half a unit in the last place


def numbers():
    """Random bit patterns, and those at the edges."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2 ** 32, 20000, dtype=np.uint32)
    edges = [0, 0x80000000, 0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001,
             0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 1, 0x00008000, 0x00018000, 0x477FF000, 0x477FEFFF]
    return np.concatenate([bits, np.array(edges, np.uint32)]).view(np.float32)


@pytest.mark.parametrize("dtype", HALF)
def test_rounding_is_torchs(dtype):
    torch = pytest.importorskip("torch")
    x = numbers()
    expected = torch.from_numpy(x).to(getattr(torch, dtype)).to(torch.float32).numpy()
    np.testing.assert_array_equal(rounded(x, dtype), expected)
    if dtype == "bfloat16":
        np.testing.assert_array_equal(plain(convert(x, BFLOAT16)), expected)


def test_rounding_of_known_bits():
    one = np.float32(1)
    ties = one + np.float32(2.0 ** -8) * np.arange(8, dtype="f4")      # every other one is a tie
    assert rounded(ties, "bfloat16").tolist() == [1, 1, 1.0078125, 1.015625, 1.015625, 1.015625,
                                                  1.0234375, 1.03125]
    assert rounded(np.float32([65519, 65520, -65520]), "float16").tolist() == [
        65504, np.inf, -np.inf]


@pytest.mark.parametrize("op, dtype", [(RoundFloat16(), "float16"), (RoundBfloat16(), "bfloat16")])
def test_rounding_ops(op, dtype):
    x = numbers()
    y = np.empty_like(x)
    op.host((x,), (y,))()
    np.testing.assert_array_equal(y, rounded(x, dtype))
    np.testing.assert_array_equal(op.numpy(x), y)


def test_load_and_store_are_inverse():
    x = rounded(numbers()[:100], "bfloat16")
    memory, back = np.empty(100, BFLOAT16), np.empty_like(x)
    StoreBfloat16().host((x,), (memory,))()
    LoadBfloat16().host((memory,), (back,))()
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(LoadBfloat16().numpy(memory), StoreBfloat16().numpy(x))


def test_types_meet():
    assert promote("float16", "bfloat16") == "float32" and promote("bfloat16") == "bfloat16"
    assert promote("bfloat16", "int64") == "bfloat16"
    assert promote("bfloat16", "float64") == "float64"
    assert str(Placeholder("bfloat16", (3, None)).type) == "bf16[3,None]"


def test_numpy_refuses_to_compute_with_the_memory_of_bfloat16():
    x = convert(np.ones(3, "f4"), BFLOAT16)
    with pytest.raises(TypeError):
        x + x


@pytest.mark.parametrize("dtype", HALF)
def test_variables_hold_rounded_numbers(device, dtype):
    values = np.random.default_rng(2).normal(size=(3, 4))
    v = K.variable(values, dtype=dtype)
    K.function([], [], updates=[(v, v * 3 + 1)])([])
    expected = rounded(rounded(values, dtype) * np.float32(3) + np.float32(1), dtype)
    np.testing.assert_array_equal(K.get_value(v), expected)
    K.set_value(v, values)
    np.testing.assert_array_equal(K.get_value(v), rounded(values, dtype))


@pytest.mark.parametrize("dtype", HALF)
def test_products_are_summed_in_float32(device, dtype):
    rng = np.random.default_rng(3)
    a, b = (rounded(rng.normal(size=s), dtype) for s in ((7, 900), (900, 5)))
    x, y = (K.placeholder(s, dtype=dtype) for s in (a.shape, b.shape))
    f = K.function([x, y], [K.dot(x, y)])
    got = f([a, b])[0].astype("f8")
    f([a, b])                                      # the captured graph
    np.testing.assert_array_equal(f([a, b])[0], got)
    exact = a.astype("f8") @ b
    assert np.abs(got - exact).max() <= SPACING[dtype] * np.abs(exact).max() * 1.01


@pytest.mark.parametrize("dtype", HALF)
def test_a_cast_rounds_also_inside_a_fused_kernel(device, dtype):
    x = K.placeholder((64,))
    values = np.random.default_rng(4).normal(size=64).astype("f4")
    y = K.cast(K.cast(x * 1.5, dtype), "float32") * 2.0
    got, = K.function([x], [y])([values])
    np.testing.assert_array_equal(got, rounded(values * np.float32(1.5), dtype) * 2)


@pytest.mark.parametrize("dtype", HALF)
def test_a_loop_over_time(device, dtype):
    x = K.placeholder((2, 6, 3), dtype=dtype)
    start = K.zeros_like(x[:, 0, :])
    last, _, _ = K.rnn(lambda x, s: (x + s[0] * 0.5, [x + s[0] * 0.5]), x, [start])
    values = np.random.default_rng(5).normal(size=(2, 6, 3)).astype("f4")
    got, = K.function([x], [last])([values])
    state = np.zeros((2, 3))
    for t in range(6):
        state = values[:, t].astype("f8") + state * 0.5
    np.testing.assert_allclose(got.astype("f8"), state, atol=8 * SPACING[dtype])


def test_tf32_reads_ten_bits():
    x = np.float32([1, 1 + 2 ** -10, 1 + 2 ** -11, 1 + 2 ** -12, -1 - 2 ** -11, np.inf, 3e38])
    got = to_tf32(x)
    assert got[:6].tolist() == [1, 1 + 2 ** -10, 1 + 2 ** -10, 1, -1 - 2 ** -10, np.inf]
    assert np.isnan(to_tf32(np.float32([np.nan]))).all()
