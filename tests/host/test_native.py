"""Tapes: the very bits of the calls they were written from, alone and by several threads."""
import os
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

from gpukeras import blas, native
from gpukeras.native import tape
from gpukeras.ops import host_conv_pool
from gpukeras.team import Team, in_turn

pytestmark = pytest.mark.usefixtures("compiled")

RNG = np.random.default_rng(0)


def numbers(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


def views(shape, dtype):
    """Arrays of `shape`: without gaps, transposed, backwards, every second element, broadcast."""
    yield numbers(*shape, dtype=dtype)
    yield numbers(*shape[::-1], dtype=dtype).T
    yield numbers(*shape, dtype=dtype)[::-1]
    yield numbers(*shape[:-1], 2 * shape[-1], dtype=dtype)[..., ::2]
    yield np.broadcast_to(numbers(shape[-1], dtype=dtype), shape)
    yield np.array(0.75, dtype)


def both(call, outs):
    """(what the call writes to `outs`, what its tape writes); they start from the same values."""
    run = native.player(native.write(call))
    before = [o.copy() for o in outs]
    found = []
    for way in (call, run):
        for out, old in zip(outs, before):
            out[...] = old
        with np.errstate(all="ignore"):
            way()
        found.append([o.copy() for o in outs])
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (5, 33), (3, 4, 5, 6)])
@pytest.mark.parametrize("ufunc", [np.add, np.divide, np.maximum])
def test_two_operands(ufunc, shape, dtype):
    for x in views(shape, dtype):
        for y in views(shape, dtype):
            for out in list(views(shape, dtype))[:4]:
                plain, fast = both(partial(ufunc, x, y, out=out), [out])
                np.testing.assert_array_equal(plain, fast)


@pytest.mark.parametrize("ufunc", [np.tanh, np.exp, np.sqrt, np.negative])
def test_one_operand_in_place_too(ufunc):
    for x in list(views((5, 37), "float32"))[:4]:
        plain, fast = both(partial(ufunc, x, out=x), [x])
        np.testing.assert_array_equal(plain, fast)


def test_comparisons_and_numbers_of_python():
    x, mask = numbers(40, 3), np.zeros((40, 3), bool)
    plain, fast = both(in_turn([partial(np.greater, x, 0.25, mask),
                                partial(np.multiply, x, 1.5, x)]), [x, mask])
    for a, b in zip(plain, fast):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool", "float16", "V12"])
def test_copies(dtype):
    raw = RNG.integers(0, 2, (6, 5, 4, 12)).astype("uint8")
    size = np.dtype(dtype).itemsize
    x = np.ascontiguousarray(raw.repeat(size, -1)).view(dtype)
    for source in (x, x[:, ::-1, 1:3], x.swapaxes(0, 2), x[..., ::3]):
        out = np.zeros_like(source, order="C")
        plain, fast = both(partial(np.copyto, out, source), [out])
        assert plain[0].tobytes() == fast[0].tobytes() == source.tobytes()


def test_booleans_as_numbers():
    mask = RNG.random((5, 6, 7)) < 0.5
    for source in (mask, mask.swapaxes(0, 2), mask[:, ::2]):
        for out in (np.empty(source.shape, "float32"), np.empty(source.T.shape, "float32").T):
            plain, fast = both(partial(np.copyto, out, source), [out])
            np.testing.assert_array_equal(plain[0], source)
            np.testing.assert_array_equal(fast[0], source)


@pytest.mark.parametrize("hits", [11, 12])
def test_skip_leaves_out_what_follows_it(hits):
    mask = np.zeros((5, 6), bool)
    mask.flat[:11] = True
    x, y = np.ones(3), np.ones(3)

    class Call:
        def spell(self, say):
            rest = say(partial(np.negative, x, x))
            return native.skip(mask, hits, len(rest)) + rest + say(partial(np.negative, y, y))

    native.player(native.write(Call()))()
    assert (x == (1 if hits == 11 else -1)).all() and (y == -1).all()


@pytest.mark.parametrize("ties", [False, True])
def test_marks_of_pooling(ties):
    taps = numbers(2, 2, 3, 4, 5, 6)
    if ties:
        taps = taps.round()
        taps[:, :, 1, 2, 3] = np.nan
    pooled, mask = taps.max((0, 1)), np.zeros((3, 4, 4, 5, 6), bool)
    call = host_conv_pool._Mark(taps, pooled, mask, np.empty((3, 4, 5, 6), bool))
    plain, fast = both(call, [mask])
    np.testing.assert_array_equal(plain, fast)
    assert (fast[0].sum(1) == 1).all()


def test_fill():
    out = numbers(4, 6, 5)
    plain, fast = both(in_turn([partial(out[:, 1:3].fill, 0), partial(out[:, 4, ::2].fill, 2.5)]),
                       [out])
    np.testing.assert_array_equal(plain, fast)
    assert (out[:, 1:3] == 0).all() and (out[:, 4, ::2] == 2.5).all()


needs_openblas = pytest.mark.skipif(
    blas.library() is None or not blas.library().gemm["f"].__name__.startswith("scipy_"),
    reason="needs the OpenBLAS of NumPy's wheels")


@needs_openblas
@pytest.mark.parametrize("same_kernels", [True, False])
@pytest.mark.parametrize("m, k, n, count", [(4, 6, 512, 9), (6, 2, 3, 2), (48, 48, 48, 3),
                                            (1, 5, 4, 3), (4, 5, 1, 3)])
def test_many_products(m, k, n, count, same_kernels, monkeypatch):
    monkeypatch.setattr(blas._numpys(), "core", blas.library().core if same_kernels else "other")
    shared, a, b = numbers(m, k), numbers(count, 2, m, k)[:, 1], numbers(count, n, k).swapaxes(1, 2)
    out, sums = numbers(count, m, n + 3)[..., 1:n + 1], numbers(m, n)
    for first, second in ((np.broadcast_to(shared, a.shape), b), (a, b), (a, b[0].copy())):
        plain, fast = both(in_turn([blas.bind_stack(first, second, out),
                                    blas.bind_stack(first, second, sums, True)]), [out, sums])
        for p, f in zip(plain, fast):
            np.testing.assert_array_equal(p, f)
        np.testing.assert_allclose(fast[0], first @ second, rtol=1e-4, atol=1e-4)


@needs_openblas
def test_products():
    a, b, out = numbers(3, 40, 50), numbers(3, 50, 30), numbers(3, 40, 30)
    x, y, scale = numbers(90), numbers(90), np.array(-0.5, "float32")
    calls = [blas.bind_gemm(a[0], b[0], out[0], split=False),
             blas.bind_gemm(a[1, :20].T, b[1, :20], numbers(50, 30), split=False),
             blas.bind_gemm(a[1], b[1], out[1], accumulate=True, alpha=0.5, split=False),
             blas.bind_stack(a, b, out, accumulate=True), blas.bind_axpy(scale, x, y)]
    plain, fast = both(in_turn(calls), [out, y])
    for p, f in zip(plain, fast):
        np.testing.assert_array_equal(p, f)


@pytest.mark.parametrize("call", [
    lambda: None,
    partial(np.add, np.ones(3), np.ones(3, "float32"), np.ones(3)),        # a conversion
    partial(np.copyto, np.ones(3), np.ones(3, "int64")),
    partial(np.copyto, np.ones(3), np.ones(3), where=np.ones(3, bool)),
    partial(np.add.reduce, np.ones((3, 3)), axis=0, out=np.ones(3)),
    partial(np.matmul, np.ones((3, 3)), np.ones((3, 3)), np.ones((3, 3))),
    partial(np.frexp, np.ones(3), np.ones(3), np.ones(3, "int32")),
])
def test_what_a_tape_cannot_say_stays_with_numpy(call):
    assert native.write(in_turn([partial(np.negative, np.ones(3), np.ones(3)), call])) is None


def test_operands_that_overlap_stay_with_numpy():
    x = numbers(100)
    assert native.write(partial(np.add, x[1:], x[:-1], x[:-1])) is None
    assert native.write(partial(np.copyto, x[1:], x[:-1])) is None
    assert native.write(partial(np.add, x[:50], x[50:], x[:50])) is not None


def test_neighbouring_axes_become_one():
    assert tape.merged([(4, 240, 60), (1, 8, 8), (5, 48, 12), (3, 16, 4), (2, 8, 4)], 2) == [
        (60, 16, 4), (2, 8, 4)]


@pytest.mark.parametrize("size", [2, 4])
def test_a_team_plays_tapes_at_the_same_time_again_and_again(size):
    crew = Team(size)
    x, total = numbers(size, 1000), np.zeros((size, 1000), "float32")
    run = crew.bind([in_turn([partial(np.add, total[i], x[i], total[i])] * 10)
                     for i in range(size)])
    assert run.rewrite()
    shared, _ = run._ways
    for _ in range(300):
        assert shared()
    expected = np.zeros_like(total)
    for _ in range(3000):
        expected += x
    np.testing.assert_array_equal(total, expected)
    time.sleep(0.01)                               # asleep by now
    assert shared()


def test_threads_sleep_when_there_is_nothing_to_do():
    crew = Team(3)
    x = numbers(3, 100)
    run = crew.bind([partial(np.negative, r, r) for r in x])
    assert run.rewrite() and run._ways[0]()
    time.sleep(0.05)
    start = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - start < 0.02


def test_one_team_serves_one_thread_at_a_time():
    crew = Team(2)
    arrays = numbers(4, 2, 5000)
    before = arrays.copy()

    def work(pair):
        run = crew.bind([partial(np.negative, r, r) for r in pair])
        assert run.rewrite()
        for _ in range(500):
            run()

    threads = [threading.Thread(target=work, args=(pair,)) for pair in arrays]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(arrays, before)


CODE = """
import os, numpy as np
from functools import partial
from gpukeras.team import Team, team
import gpukeras.team as t
t.wanted_threads = lambda: 2
x = np.ones((2, 1000), np.float32)

def run():
    bound = team().bind([partial(np.negative, r, r) for r in x])
    assert bound.rewrite()
    for _ in range(100):
        assert bound._ways[0]()
    assert (x == 1).all()

run()
if {fork}:
    child = os.fork()
    run()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.parametrize("fork", [False, True])
def test_a_program_ends_at_once_and_may_fork(fork):
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CODE.format(fork=fork)], capture_output=True,
                          text=True, check=False, timeout=120,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr
    assert time.monotonic() - start < 60
