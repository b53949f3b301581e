"""loss.cu against torch's cross_entropy and its gradient; classes that do not exist."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.head import CrossEntropyRows, SparseCrossEntropyRows
from gpukeras.ops.nn import (SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad,
                             SparseSoftmaxCrossEntropy, SparseSoftmaxCrossEntropyGrad)

BUDGETS = {"softmax_xent_fwd": 72, "softmax_xent_bwd": 72, "sparse_xent_fwd": 64,
           "sparse_xent_bwd": 64, "softmax_xent_rows": 80, "sparse_xent_rows": 72}
VARIANTS = [(("T", "float"),), (("T", "double"),), (("T", "float16"), ("I", "unsigned char")),
            (("T", "float"), ("I", "long long"), ("BLOCK_ROW", "1"))]
SIZES = [(1, 1), (9, 10), (3, 33), (2, 1024), (2, 1025)]


def scores(rows, columns):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(columns)
    x = (rng.standard_normal((rows, columns)) * 40).astype("f4")
    return rng, x, torch.tensor(x, dtype=torch.float64, requires_grad=True)


def compare_with_torch(loss, gx, scores, targets, g):
    """The loss of each row, and the gradient by the scores where losses have gradients g."""
    torch = pytest.importorskip("torch")
    want = torch.nn.functional.cross_entropy(scores, targets, reduction="none")
    want.backward(torch.tensor(g, dtype=torch.float64))
    np.testing.assert_allclose(loss, want.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, scores.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows, columns", SIZES)
def test_dense_targets_agree_with_torch(rows, columns):
    torch = pytest.importorskip("torch")
    rng, x, t = scores(rows, columns)
    targets = rng.dirichlet(np.ones(columns), rows).astype("f4")
    g = rng.standard_normal(rows).astype("f4")
    loss, = prove(SoftmaxCrossEntropy(), x, targets, entries=["softmax_xent_fwd"])
    gx, = prove(SoftmaxCrossEntropyGrad(), x, targets, g, entries=["softmax_xent_bwd"])
    compare_with_torch(loss, gx, t, torch.tensor(targets, dtype=torch.float64), g)


@pytest.mark.parametrize("rows, columns", SIZES)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_class_numbers_agree_with_torch(rows, columns, dtype):
    torch = pytest.importorskip("torch")
    rng, x, t = scores(rows, columns)
    labels = rng.integers(0, columns, rows).astype(dtype)
    g = rng.standard_normal(rows).astype("f4")
    loss, = prove(SparseSoftmaxCrossEntropy(), x, labels, entries=["sparse_xent_fwd"])
    gx, = prove(SparseSoftmaxCrossEntropyGrad(), x, labels, g, entries=["sparse_xent_bwd"])
    compare_with_torch(loss, gx, t, torch.tensor(labels, dtype=torch.int64), g)


def test_a_class_outside_gives_nan_in_its_row_only():
    x, labels, g = np.ones((3, 4), "f4"), np.array([4, 1, -1], "i4"), np.ones(3, "f4")
    loss, = prove(SparseSoftmaxCrossEntropy(), x, labels, entries=["sparse_xent_fwd"])
    gx, = prove(SparseSoftmaxCrossEntropyGrad(), x, labels, g, entries=["sparse_xent_bwd"])
    np.testing.assert_allclose(loss, [np.nan, np.log(4), np.nan], rtol=1e-6)
    assert np.isnan(gx[[0, 2]]).all() and np.isfinite(gx[1]).all()


@pytest.mark.parametrize("rows, columns", SIZES)
@pytest.mark.parametrize("sparse", [False, True])
def test_losses_gradients_and_hits_of_one_walk_agree_with_torch(rows, columns, sparse):
    torch = pytest.importorskip("torch")
    rng, x, t = scores(rows, columns)
    x[:, columns // 2] = x[0, columns - 1] = 150   # ties, some at the place of the target
    t.data[:] = torch.tensor(x, dtype=torch.float64)
    labels = np.where(np.arange(rows) % 2, columns // 2, columns - 1)
    g = rng.standard_normal(rows).astype("f4")
    want = torch.nn.functional.cross_entropy(t, torch.tensor(labels), reduction="none")
    want.backward(torch.tensor(g, dtype=torch.float64))
    op, targets = ((SparseCrossEntropyRows, labels.astype("i4")) if sparse else
                   (CrossEntropyRows, np.eye(columns, dtype="f4")[labels]))
    loss, gx, hits = prove(op(True), x, targets, g,
                           entries=["sparse_xent_rows" if sparse else "softmax_xent_rows"])
    np.testing.assert_allclose(loss, want.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, t.grad, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(hits, x.argmax(1) == labels)


def test_nan_is_the_largest_of_its_row():
    x = np.array([[1, np.nan, 3, np.nan], [np.nan, 2, 3, 9], [1, 2, 9, 4]], "f4")
    for op, targets in ((CrossEntropyRows, np.eye(4, dtype="f4")[[1, 3, 2]]),
                        (SparseCrossEntropyRows, np.array([1, 3, 2], "i4"))):
        hits = prove(op(True), x, targets, np.ones(3, "f4"), entries=[
            "sparse_xent_rows" if targets.ndim == 1 else "softmax_xent_rows"])[2]
        np.testing.assert_array_equal(hits, [1, 0, 1])
