"""gpukeras.blas and gpukeras.team against numpy.matmul and plain Python."""

import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gpukeras import blas
from gpukeras.team import Team


def views(rng, rows, cols, dtype):
    """The same matrix lying in memory in every way a caller may bring it."""
    m = rng.standard_normal((rows, cols)).astype(dtype)
    wide = np.full((rows, cols + 7), np.nan, dtype)
    wide[:, 3:3 + cols] = m
    every_second = np.full((rows, 2 * cols), np.nan, dtype)
    every_second[:, ::2] = m
    return {"plain": m, "transposed": np.ascontiguousarray(m.T).T, "window": wide[:, 3:3 + cols],
            "tall window": np.concatenate([m.T] * 2)[:cols].T, "gaps": every_second[:, ::2],
            "upside down": np.ascontiguousarray(m[::-1])[::-1]}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (1, 7, 5), (5, 7, 1), (3, 1, 4), (31, 33, 32)])
def test_every_view_gives_numpys_product(dtype, m, k, n):
    rng = np.random.default_rng(0)
    scale = 10 if dtype == "int32" else 1
    lefts = views(rng, m, k, "float64")
    rights = views(rng, k, n, "float64")
    for name_a, a in lefts.items():
        for name_b, b in rights.items():
            a_t, b_t = (np.multiply(v, scale, out=None) for v in (a, b))
            a_t = lay_out_like(a, a_t.astype(dtype))
            b_t = lay_out_like(b, b_t.astype(dtype))
            expected = a_t.astype("float64") @ b_t.astype("float64")
            for out in (np.full((m, n), 9, dtype), np.full((n, m), 9, dtype).T,
                        np.full((m, n + 3), 9, dtype)[:, 1:1 + n]):
                blas.bind_gemm(a_t, b_t, out)()
                tolerance = {"float16": 2e-2, "float32": 1e-4}.get(dtype, 1e-9)
                np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance * 10,
                                           err_msg=f"{name_a} @ {name_b}")


def lay_out_like(view, values):
    """`values` in memory with the strides (in elements) of `view`."""
    steps = [s // view.itemsize for s in view.strides]
    low = sum(min(0, s * (n - 1)) for s, n in zip(steps, view.shape))
    high = sum(max(0, s * (n - 1)) for s, n in zip(steps, view.shape))
    base = np.zeros(high - low + 1, values.dtype)
    out = np.lib.stride_tricks.as_strided(base[-low:], view.shape,
                                          [s * values.itemsize for s in steps])
    out[...] = values
    return out


def test_accumulate_and_alpha():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 8, 8)).astype("float32")
    out = c.copy()
    blas.bind_gemm(a, b, out, accumulate=True, alpha=-0.5)()
    np.testing.assert_allclose(out, c - 0.5 * (a @ b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("m,k,n", [(576, 96, 32), (32, 784, 400), (96, 1200, 32), (300, 300, 300),
                                   (700, 100, 40), (100, 4001, 50), (784, 32, 400)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_cut_so_that_nothing_is_packed(m, k, n, dtype, monkeypatch):
    if blas.library():
        monkeypatch.setattr(blas.library(), "core", "SkylakeX")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    out = np.full((2, m, n), np.nan, dtype)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for accumulate in (False, True):
        want = a @ b * (1 + accumulate)
        blas.bind_stack(a, b, out, accumulate)()
        np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance * 20)
        blas.bind_gemm(a[0], b, out[0], accumulate)()
        np.testing.assert_allclose(out[0], want[0] * (1.5 if accumulate else 1), rtol=tolerance,
                                   atol=tolerance * 20)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("accumulate", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_stacks_of_products(stacked, accumulate, dtype, monkeypatch):
    if not stacked and blas.library():
        monkeypatch.setattr(blas.library(), "stack", {})
    rng = np.random.default_rng(0)

    def some(*shape):
        return rng.integers(-9, 9, shape).astype(dtype)
    a, b, one = some(6, 12, 5)[::2, 2:9], some(3, 5, 8)[:, :, 1:7], some(4, 5).T
    for left, right in ((a, b), (a, one), (a, b[:, :, :1]), (a[:1], b[:1])):
        for shape in ((len(left), 7, right.shape[-1]), (7, right.shape[-1])):
            out = some(*shape)
            products = left @ right
            want = products if len(shape) == 3 else products.sum(0)
            want = want + out if accumulate else want
            blas.bind_stack(left, right, out, accumulate)()
            np.testing.assert_allclose(out, want)


def test_empty_sum_is_zero_and_empty_output_is_left_alone():
    out = np.full((3, 4), np.nan, "float32")
    blas.bind_gemm(np.zeros((3, 0), "float32"), np.zeros((0, 4), "float32"), out)()
    assert (out == 0).all()
    blas.bind_gemm(np.zeros((0, 3), "float32"), np.zeros((3, 4), "float32"),
                   np.zeros((0, 4), "float32"))()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\) @ \(4, 5\) -> \(2, 5\)"):
        blas.bind_gemm(np.zeros((2, 3)), np.zeros((4, 5)), np.zeros((2, 5)))


def test_large_products_cut_over_a_team_agree(monkeypatch):
    crew = Team(3)
    monkeypatch.setattr(blas, "workers", lambda: crew)
    monkeypatch.setattr(blas, "WORTH_SPLITTING", 1e6)
    rng = np.random.default_rng(0)
    for m, k, n in ((300, 200, 100), (100, 200, 301)):
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        out = np.full((m, n), np.nan)
        blas.bind_gemm(a, b, out)()
        np.testing.assert_allclose(out, a @ b)
    a, b = rng.standard_normal((7, 100, 90)), rng.standard_normal((7, 90, 80))
    out = np.full((7, 100, 80), np.nan)
    blas.bind_batched(a, b, out)()
    np.testing.assert_allclose(out, a @ b)


def test_without_any_library_numpy_does_the_work(monkeypatch):
    monkeypatch.setattr(blas, "_library", False)
    monkeypatch.setattr(blas, "_refused", [])
    monkeypatch.setattr(blas, "_candidates", lambda: [("/no/such/file.so", True)])
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal((3, 9, 9)).astype("float32")
    expected = out + 2 * (a @ b.T)
    blas.bind_gemm(a, b.T, out, accumulate=True, alpha=2.0)()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    blas.bind_stack(a[None].repeat(3, 0), b, np.broadcast_to(out, (3, 9, 9)).copy())()
    assert "numpy.matmul; a second instance of file.so: [Errno 2]" in blas.info()


def test_a_library_that_computes_wrongly_is_refused(monkeypatch):
    monkeypatch.setattr(blas.Library, "self_test", lambda self: (_ for _ in ()).throw(ValueError))
    monkeypatch.setattr(blas, "_refused", [])
    assert all(blas._load(*candidate) is None for candidate in blas._candidates())


def test_environment_is_as_before_after_loading():
    code = ("import os; before = dict(os.environ)\n"
            "from gpukeras import blas; blas.library(); print(blas.info())\n"
            "assert before == dict(os.environ)")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_team_does_all_jobs_and_hands_errors_on():
    team = Team(3)
    seen = []

    def job(i):
        time.sleep(0.3)                             # the others wake up meanwhile, busy box or not
        seen.append((i, threading.get_ident()))
    assert team.together([lambda i=i: job(i) for i in range(3)])
    assert sorted(i for i, _ in seen) == [0, 1, 2]
    assert len({ident for _, ident in seen}) == 3

    def fail():
        raise KeyError("from a member")

    for _ in range(2):                              # the team works on after an error
        with pytest.raises(KeyError, match="from a member"):
            team.together([lambda: None, fail])


def test_jobs_that_no_member_has_begun_are_done_by_the_caller():
    """Short jobs are over before a member wakes: each is done once all the same, and in time."""
    team, done = Team(3), []
    for number in range(2000):
        assert team.together([lambda i=i: done.append((number, i)) for i in range(3)])
        assert len(done) == 3 * number + 3          # none is left for later
    assert sorted(done) == [(n, i) for n in range(2000) for i in range(3)]


class SlowTeam(Team):
    """A team whose members find no free processor: sharing out takes 3 ms more."""

    shared, slow = 0, True

    def together(self, jobs):
        self.shared += 1
        time.sleep(0.003 * self.slow)
        return super().together(jobs)


def test_jobs_that_lose_by_sharing_run_in_turn():
    team, done = SlowTeam(2), []
    run = team.bind([lambda: done.append(1), lambda: done.append(2)])
    for _ in range(120):
        run()
    assert team.shared == 5                         # calls 3, 8, 16, 32 and 64
    assert sorted(done) == [1] * 120 + [2] * 120


def test_jobs_that_gain_are_shared():
    team = SlowTeam(2)
    run = team.bind([lambda: time.sleep(0.02)] * 2)
    for _ in range(20):
        run()
    assert team.shared >= 15                        # 23 ms against 40


def test_team_used_from_two_threads_at_once():
    team = Team(2)
    totals = []

    def work():
        mine = []
        run = team.bind([lambda: mine.append(1), lambda: mine.append(1)])
        for _ in range(200):
            run()
        totals.append(len(mine))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert totals == [400] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_team_works_in_a_forked_child():
    code = ("import os; os.environ['GPUKERAS_THREADS'] = '2'\n"
            "from gpukeras.team import team\n"
            "hits = []; jobs = [lambda: hits.append(1)] * 2; team().together(jobs)\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    team().together(jobs); os._exit(0 if len(hits) == 4 else 3)\n"
            "assert os.waitpid(pid, 0)[1] == 0")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=30)


def test_splits_cover_everything():
    team = Team(4)
    for count in (0, 1, 3, 4, 17):
        parts = team.split(count)
        assert [i for s in parts for i in range(count)[s]] == list(range(count))
    assert len(team.split(30, least=16)) == 1


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_bad_thread_count_is_named(value, monkeypatch):
    from gpukeras.team import wanted_threads
    monkeypatch.setenv("GPUKERAS_THREADS", value)
    with pytest.raises(ValueError, match="GPUKERAS_THREADS"):
        wanted_threads()


def test_numpys_own_library_is_held_to_one_thread_only_while_a_function_runs():
    if blas._numpys() is None:
        pytest.skip("this NumPy brings no OpenBLAS of its own")
    get, put = blas._numpys().get_threads, blas._numpys().set_threads
    before = get()
    put(2)
    try:
        hold, free = blas.around()
        hold()
        assert get() == 1
        hold()                                      # a function called inside another
        free()
        free()
        assert get() == 2
        put(3)                                      # the user's choice may change
        hold()
        free()
        assert get() == 3
    finally:
        put(before)


def files_in_memory():
    try:
        os.close(os.memfd_create("a test"))
        return True
    except (AttributeError, OSError):
        return False


needs_openblas = pytest.mark.skipif(not blas._candidates(), reason="this NumPy has no OpenBLAS")


def without_memory_files(monkeypatch):
    """The library that is found where files in memory are forbidden."""
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    monkeypatch.setattr(blas, "_library", False)
    monkeypatch.setattr(blas, "_refused", [])
    blas._second.cache_clear()


@needs_openblas
def test_numpys_own_instance_serves_where_there_can_be_no_second(monkeypatch):
    without_memory_files(monkeypatch)
    a, b = np.random.default_rng(0).standard_normal((2, 40, 40))
    out = np.empty((40, 40))
    blas.bind_gemm(a, b, out)()
    blas._second.cache_clear()
    np.testing.assert_allclose(out, a @ b)
    assert "NumPy's own instance; a second instance of" in blas.info()
    assert "Operation not permitted" in blas.info() and blas.workers() is blas.team()


@needs_openblas
@pytest.mark.skipif(platform.machine() != "x86_64" or not files_in_memory(),
                    reason="the kernels named here are for x86-64, a second instance for Linux")
@pytest.mark.parametrize("first", ["import numpy", "import gpukeras"])
def test_a_second_instance_has_the_best_kernels_and_one_thread(first):
    """Whatever the kernels of NumPy's own instance, and whether it was loaded before."""
    code = (f"{first}\n"
            "import os, numpy, threading\n"
            "def threads(): return len(os.listdir('/proc/self/task'))\n"
            "del os.environ['OPENBLAS_CORETYPE']\n"
            "before = threads()\n"
            "from gpukeras import blas\n"
            "found, numpys = blas.library(), blas._numpys()\n"
            "print(found.own, found.core, numpys.core, found.get_threads(), numpys.get_threads(),"
            " threads() - before)")
    kernels = "Haswell" if blas.library().core != "Haswell" else "Sandybridge"
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=True)
    best = blas.library().core
    assert done.stdout.split() == ["True", best, kernels, "1", "2", "0"]


@needs_openblas
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_with_the_library():
    code = ("import os, numpy as np\n"
            "from gpukeras import blas\n"
            "a = np.ones((300, 300)); out = np.empty_like(a)\n"
            "run = blas.bind_gemm(a, a, out); run()\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    out[:] = 0; run(); os._exit(0 if (out == 300).all() else 3)\n"
            "assert os.waitpid(pid, 0)[1] == 0")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("version, works", [("0.3.27", False), ("0.3.34.0.0", False),
                                            ("0.3.34.481.3", True), ("0.3.35.dev", True)])
def test_calls_for_many_products_wait_for_the_version_that_does_not_crash(version, works):
    assert (blas._numbers(version) >= blas.STACKS_WORK) == works


@pytest.mark.parametrize("same_kernels", [True, False])
@pytest.mark.parametrize("rows, calls", [(4, 1), (200, 50)])
def test_many_small_products_are_one_call(rows, calls, same_kernels, monkeypatch):
    if not blas.library() or not blas.library().own or blas._numpys() is None:
        pytest.skip("no second instance here")
    monkeypatch.setattr(blas.library(), "stack", {})
    monkeypatch.setattr(blas._numpys(), "core", blas.library().core if same_kernels else "other")
    made = []
    bind_gemm = blas.bind_gemm
    monkeypatch.setattr(blas, "bind_gemm", lambda *a, **k: made.append(1) or bind_gemm(*a, **k))
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 30, rows)).swapaxes(1, 2), rng.standard_normal((30, 20))
    out = np.empty((50, rows, 20))
    blas.bind_stack(a, b, out)()
    np.testing.assert_allclose(out, a @ b)
    assert len(made) == (0 if same_kernels or calls == 1 else calls)
