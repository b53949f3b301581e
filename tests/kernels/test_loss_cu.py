"""loss.cu against torch's cross_entropy and its gradient; classes that do not exist."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.nn import (SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad,
                             SparseSoftmaxCrossEntropy, SparseSoftmaxCrossEntropyGrad)

BUDGETS = {"softmax_xent_fwd": 72, "softmax_xent_bwd": 72, "sparse_xent_fwd": 64,
           "sparse_xent_bwd": 64}
VARIANTS = [(("T", "float"),), (("T", "double"),), (("T", "float16"), ("I", "unsigned char")),
            (("T", "float"), ("I", "long long"), ("BLOCK_ROW", "1"))]
SIZES = [(1, 1), (9, 10), (3, 33), (2, 1024), (2, 1025)]


def scores(rows, columns):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(columns)
    x = (rng.standard_normal((rows, columns)) * 40).astype("f4")
    return rng, x, torch.tensor(x, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("rows, columns", SIZES)
def test_dense_targets_agree_with_torch(rows, columns):
    torch = pytest.importorskip("torch")
    rng, x, t = scores(rows, columns)
    targets = rng.dirichlet(np.ones(columns), rows).astype("f4")
    g = rng.standard_normal(rows).astype("f4")
    want = torch.nn.functional.cross_entropy(t, torch.tensor(targets, dtype=torch.float64),
                                             reduction="none")
    want.backward(torch.tensor(g, dtype=torch.float64))
    loss, = prove(SoftmaxCrossEntropy(), x, targets, entries=["softmax_xent_fwd"])
    gx, = prove(SoftmaxCrossEntropyGrad(), x, targets, g, entries=["softmax_xent_bwd"])
    np.testing.assert_allclose(loss, want.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, t.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows, columns", SIZES)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_class_numbers_agree_with_torch(rows, columns, dtype):
    torch = pytest.importorskip("torch")
    rng, x, t = scores(rows, columns)
    labels = rng.integers(0, columns, rows).astype(dtype)
    g = rng.standard_normal(rows).astype("f4")
    want = torch.nn.functional.cross_entropy(t, torch.tensor(labels, dtype=torch.int64),
                                             reduction="none")
    want.backward(torch.tensor(g, dtype=torch.float64))
    loss, = prove(SparseSoftmaxCrossEntropy(), x, labels, entries=["sparse_xent_fwd"])
    gx, = prove(SparseSoftmaxCrossEntropyGrad(), x, labels, g, entries=["sparse_xent_bwd"])
    np.testing.assert_allclose(loss, want.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, t.grad, rtol=1e-4, atol=1e-5)


def test_a_class_outside_gives_nan_in_its_row_only():
    x, labels, g = np.ones((3, 4), "f4"), np.array([4, 1, -1], "i4"), np.ones(3, "f4")
    loss, = prove(SparseSoftmaxCrossEntropy(), x, labels, entries=["sparse_xent_fwd"])
    gx, = prove(SparseSoftmaxCrossEntropyGrad(), x, labels, g, entries=["sparse_xent_bwd"])
    np.testing.assert_allclose(loss, [np.nan, np.log(4), np.nan], rtol=1e-6)
    assert np.isnan(gx[[0, 2]]).all() and np.isfinite(gx[1]).all()
