"""random.cu: NumPy's Philox bits, published numbers, the quantile function of Python."""
import statistics

import numpy as np
import pytest
from check import prove
from harness import run_kernel

from gpukeras.ops.random import (RandomMask, RandomNormal, RandomUniform, TruncatedNormal,
                                 normal_quantile, raw_words)

BUDGETS = {"random_uniform_fwd": 40, "random_normal_fwd": 64, "truncated_normal_fwd": 56,
           "random_mask_fwd": 40}
VARIANTS = [(("T", t),) for t in ("float", "double", "float16")]
STEP = np.array(5, "i8")

# Known answers of the Random123 distribution (kat_vectors, philox4x64 10): counter, key, result
KNOWN = [([0] * 4, [0] * 2, [0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b,
                             0x7e68b68aec7ba23b]),
         ([2 ** 64 - 1] * 4, [2 ** 64 - 1] * 2, [0x87b092c3013fe90b, 0x438c3c67be8d0224,
                                                 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0])]
PHILOX = """
#include "random.cu"
extern "C" __global__ void words(u64 index, u64 step, u64 seed, u64 salt, u64* out) {
    Block r = philox(index, step, seed, salt);
    for (int i = 0; i < 4; ++i) out[i] = r.word[i];
}
"""


def words(index, step, seed, salt):
    args = [np.uint64(v % 2 ** 64) for v in (index, step, seed, salt)]
    return run_kernel(PHILOX, "words", (1,), (1,), [*args, np.zeros(4, "u8")])[0]


def test_the_generator_gives_the_published_numbers():
    counter, key, result = KNOWN[0]
    # our counter is (index + 1, 0, step, 0), so index -1 reaches the counter of zeros
    np.testing.assert_array_equal(words(-1, 0, *key), np.array(result, np.uint64))
    for counter, key, result in KNOWN:
        before = np.array(counter, np.uint64)
        generator = np.random.Philox(key=np.array(key, np.uint64))
        state = generator.state
        borrow = counter[0] == 0
        state["state"]["counter"] = np.array(
            [(counter[0] - 1) % 2 ** 64, *[(c - borrow) % 2 ** 64 for c in counter[1:]]], np.uint64)
        generator.state = state
        assert before.size == 4 and generator.random_raw(4).tolist() == result


@pytest.mark.parametrize("step, seed, salt", [(0, 0, 0), (7, 1 << 40, 3), (-1, 2 ** 64 - 1, 4)])
def test_host_and_device_make_the_same_words(step, seed, salt):
    host = raw_words(seed, salt, step, 3).reshape(3, 4)
    for index in range(3):
        np.testing.assert_array_equal(words(index, step, seed, salt), host[index])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("n", [1, 9, 1000])
def test_uniform_numbers_have_the_bits_of_numpy(dtype, n):
    op = RandomUniform((n,), -0.3, 1.7, 99, dtype)
    y, = prove(op, STEP, entries=["random_uniform_fwd"])
    assert y.tobytes() == op.numpy(STEP).tobytes()
    assert (y >= np.dtype(dtype).type(-0.3)).all() and (y <= 1.7).all()


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_masks_have_the_bits_of_numpy(rate):
    op = RandomMask((1003,), rate, 99)
    y, = prove(op, STEP, entries=["random_mask_fwd"])
    assert y.tobytes() == op.numpy(STEP).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind, entry", [(RandomNormal, "random_normal_fwd"),
                                         (TruncatedNormal, "truncated_normal_fwd")])
def test_normal_numbers_agree_with_numpy(kind, entry, dtype):
    op = kind((3001,), 0.5, 2.0, 99, dtype)
    y, = prove(op, STEP, entries=[entry])
    want = op.numpy(STEP)
    np.testing.assert_allclose(y, want, rtol=1e-6 if dtype == "float32" else 1e-9, atol=1e-14)
    if dtype == "float32":
        assert (y == want).mean() > 0.999


def test_quantiles_are_those_of_the_standard_library():
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 997), [0.0227501, 0.075, 0.5, 0.925, 0.9772]])
    right = [statistics.NormalDist().inv_cdf(v) for v in p]
    np.testing.assert_allclose(normal_quantile(p), right, rtol=1e-13, atol=1e-15)
