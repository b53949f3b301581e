"""head.cu against torch and NumPy: summed losses with gradients, hits, ties, classes outside."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.head import CrossEntropySum, LabelCount, MatchCount, SparseCrossEntropySum

BUDGETS = {"xent_sum_fwd": 72, "sparse_xent_sum_fwd": 72, "match_count_fwd": 48,
           "label_count_fwd": 48}
VARIANTS = [(("T", "float"),), (("T", "double"),), (("T", "float16"), ("I", "unsigned char")),
            (("T", "float"), ("I", "long long"))]
SIZES = [(1, 1), (9, 10), (33, 100), (1500, 3)]


def loss_and_gradient(x, targets, g):
    """torch's sum of the cross-entropies; their gradient where g arrives at each row."""
    torch = pytest.importorskip("torch")
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(t, torch.tensor(targets), reduction="none")
    loss.backward(torch.tensor(g, dtype=torch.float64))
    return loss.sum().item(), t.grad.numpy()


@pytest.mark.parametrize("rows, columns", SIZES)
def test_losses_agree_with_torch(rows, columns):
    rng = np.random.default_rng(columns)
    x = (rng.standard_normal((rows, columns)) * 40).astype("f4")
    g = rng.standard_normal(rows).astype("f4")
    dense = rng.dirichlet(np.ones(columns), rows).astype("f4")
    loss, gx = prove(CrossEntropySum(), x, dense, g, entries=["xent_sum_fwd"])
    wanted, wanted_gx = loss_and_gradient(x, dense.astype("f8"), g)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, wanted_gx, rtol=1e-4, atol=1e-5)

    labels = rng.integers(0, columns, rows)
    loss, gx = prove(SparseCrossEntropySum(), x, labels, g, entries=["sparse_xent_sum_fwd"])
    wanted, wanted_gx = loss_and_gradient(x, labels, g)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gx, wanted_gx, rtol=1e-4, atol=1e-5)


def test_a_class_outside_gives_nan():
    x, labels, g = np.ones((3, 4), "f4"), np.array([4, 1, -1], "i4"), np.ones(3, "f4")
    loss, gx = prove(SparseCrossEntropySum(), x, labels, g, entries=["sparse_xent_sum_fwd"])
    assert np.isnan(loss) and np.isnan(gx[[0, 2]]).all() and np.isfinite(gx[1]).all()


@pytest.mark.parametrize("rows, columns", SIZES)
def test_hits_agree_with_numpy(rows, columns):
    rng = np.random.default_rng(columns)
    t, p = rng.integers(0, 3, (2, rows, columns)).astype("f4")             # many ties
    p[rng.random(p.shape) < 0.05] = np.nan
    hits, = prove(MatchCount(), t, p, entries=["match_count_fwd"])
    assert hits == (t.argmax(-1) == p.argmax(-1)).sum()
    for dtype in ("i4", "i8", "f4"):
        labels = rng.integers(0, columns, rows).astype(dtype)
        hits, = prove(LabelCount(), labels, p, entries=["label_count_fwd"])
        assert hits == (labels == p.argmax(-1)).sum()
