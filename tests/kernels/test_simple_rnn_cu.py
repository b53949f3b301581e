"""simple_rnn.cu: one launch, step by step, several rows a block; the op against torch."""
import numpy as np
import pytest
from cases_rnn import mask, simple, simple_grad
from recurrent import check_plans, torch_gradients, values_and_gradients, variant
from test_lstm_cu import _steps, arrays

from gpukeras.ops.rnn import SimpleRnn, SimpleRnnGrad

BUDGETS = {"simple_rnn_fwd": 255, "simple_rnn_bwd": 255, "simple_rnn_cell_fwd": 40,
           "simple_rnn_cell_bwd": 40}
VARIANTS = [variant(u, 1, rows) for u, rows in ((32, 1), (128, 1), (200, 1), (64, 4))]


@pytest.mark.parametrize("marks, reverse", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("size", [(5, 3, 6), (4, 2, 33), (3, 4, 103)])
def test_every_plan_of_the_forward_pass(size, marks, reverse):
    more = (mask(*size[:2]),) if marks else ()
    check_plans(SimpleRnn("tanh", reverse), arrays(simple(*size, *more)))


@pytest.mark.parametrize("marks, reverse", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("size", [(5, 3, 6), (3, 2, 103)])
def test_every_plan_of_the_gradient(size, marks, reverse):
    more = (mask(*size[:2]),) if marks else ()
    check_plans(SimpleRnnGrad("sigmoid", reverse), arrays(simple_grad(*size, *more)))


def test_entries_run_under_the_names_of_the_plans():
    names = {s.entry for op, ins in ((SimpleRnn(), simple(2, 3, 4)),
                                     (SimpleRnnGrad(), simple_grad(2, 3, 4)))
             for s in _steps(op, arrays(ins)) if hasattr(s, "entry")}
    assert names == {"simple_rnn_fwd", "simple_rnn_bwd", "simple_rnn_cell_fwd",
                     "simple_rnn_cell_bwd"}


def test_values_and_gradients_are_torchs():
    torch = pytest.importorskip("torch")
    b, s, u = 3, 5, 4
    ins = [a.astype("f8") for a in arrays(simple(b, s, u))]
    seed = np.random.default_rng(3).standard_normal((b, s, u))

    def run(xw, r, h):
        outs = []
        for t in range(s):
            h = (xw[:, t] + h @ r).tanh()
            outs.append(h)
        return torch.stack(outs, 1)

    got, want = values_and_gradients(SimpleRnn(), ins, seed), torch_gradients(run, ins, seed)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
