"""embedding.cu against torch's embedding, its gradient and one_hot; sorting; indices outside."""
import numpy as np
import pytest
from check import prove
from harness import run_kernel

from gpukeras import config
from gpukeras.ops.index import Gather, GatherGrad, OneHot

BUDGETS = {"row_gather_fwd": 32, "index_sort": 32, "index_merge": 32, "row_gather_bwd": 32,
           "row_scatter_add": 32,
           "one_hot_fwd": 24}
VARIANTS = [(("T", "float"),), (("T", "double"), ("I", "long long")), (("T", "float16"),),
            (("T", "unsigned char"),), (("T", "long long"),), (("T", "bool"),),
            (("T", "float"), ("WIDE", "1"))]
SORT = ["index_sort", "row_gather_bwd"]


@pytest.mark.parametrize("n, rows, width", [(1, 1, 1), (9, 7, 3), (40, 5, 32), (33, 100, 65)])
def test_agrees_with_torch(n, rows, width):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(n)
    x, gy = (rng.standard_normal(s).astype("f4") for s in ((rows, width), (n, width)))
    idx = rng.integers(0, rows, n).astype("i4")
    table = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.embedding(torch.tensor(idx, dtype=torch.int64), table)
    want.backward(torch.tensor(gy))
    y, = prove(Gather(), x, idx, entries=["row_gather_fwd"])
    gx, = prove(GatherGrad(rows), gy, idx, entries=SORT)
    np.testing.assert_array_equal(y, want.detach())
    np.testing.assert_allclose(gx, table.grad, rtol=1e-5, atol=1e-5)


def test_many_indices_are_sorted_in_chunks():
    rng = np.random.default_rng(0)
    idx = rng.integers(0, 17, 5000).astype("i8")
    gy = rng.integers(-4, 5, (5000, 2)).astype("f4")       # sums of whole numbers are exact
    gx, = prove(GatherGrad(17), gy, idx, entries=[*SORT, "index_merge"])
    want = np.zeros((17, 2), "f4")
    np.add.at(want, idx, gy)
    np.testing.assert_array_equal(gx, want)


@pytest.mark.parametrize("n, chunk", [(1, 2), (5, 8), (64, 64), (2000, 2048), (300, 64)])
def test_chunks_are_sorted_by_index_then_position(n, chunk):
    idx = np.random.default_rng(n).integers(0, 9, n).astype("i4")
    chunks = -(-n // chunk)
    keys = run_kernel("embedding.cu", "index_sort", (chunks,), (max(32, chunk // 2),),
                      [idx, np.zeros(chunks * chunk, "u8"), np.int64(n), np.int64(9),
                       np.int32(chunk)])[1]
    for k in range(chunks):
        part = idx[k * chunk:(k + 1) * chunk]
        order = part.argsort(kind="stable")
        want = part[order].astype("u8") << np.uint64(32) | (order + k * chunk).astype("u8")
        np.testing.assert_array_equal(keys[k * chunk:k * chunk + len(part)], want)
    merged = run_kernel("embedding.cu", "index_merge", (-(-chunks * chunk // 256),), (256,),
                        [keys, np.zeros(n, "u8"), np.int64(n), np.int32(chunk),
                         np.int32(chunks)])[1]
    np.testing.assert_array_equal(merged & np.uint64(0xffffffff), idx.argsort(kind="stable"))


def test_an_index_outside_is_clamped_on_the_device():
    x, idx = np.arange(6, dtype="f4").reshape(3, 2), np.array([-5, 3, 1], "i4")
    y, = prove(Gather(), x, idx, entries=["row_gather_fwd"])
    np.testing.assert_array_equal(y, x[[0, 2, 1]])
    gx, = prove(GatherGrad(3), np.ones((3, 2), "f4"), idx, entries=SORT)
    np.testing.assert_array_equal(gx, np.ones((3, 2)))


def test_atomics_give_the_same_sums_if_order_is_of_no_matter(monkeypatch):
    monkeypatch.setattr(config, "deterministic", False)
    rng = np.random.default_rng(2)
    idx = rng.integers(0, 17, 300).astype("i8")
    gy = rng.integers(-4, 5, (300, 40)).astype("f4")       # sums of whole numbers are exact
    want = np.zeros((17, 40), "f4")
    np.add.at(want, idx, gy)
    gx, = prove(GatherGrad(17), gy, idx, entries=["row_scatter_add"])
    np.testing.assert_array_equal(gx, want)


def test_16_bit_gradients_are_sorted_all_the_same(monkeypatch):
    """float16 has no atomics on older GPUs, and its partial sums would be rounded."""
    monkeypatch.setattr(config, "deterministic", False)
    gy, idx = np.full((3000, 2), 0.25, "f2"), np.zeros(3000, "i4")
    gx, = prove(GatherGrad(2), gy, idx, entries=[*SORT, "index_merge"])
    np.testing.assert_array_equal(gx, [[750, 750], [0, 0]])


def test_one_hot_agrees_with_torch():
    torch = pytest.importorskip("torch")
    idx = np.array([0, 3, 9, 9], "i4")
    y, = prove(OneHot(10), idx, entries=["one_hot_fwd"])
    want = torch.nn.functional.one_hot(torch.tensor(idx, dtype=torch.int64), 10)
    np.testing.assert_array_equal(y, want)
