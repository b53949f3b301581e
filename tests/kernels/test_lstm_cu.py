"""lstm.cu: one launch, step by step, several rows a block; the op against torch."""
import numpy as np
import pytest
from cases_rnn import lstm, lstm_grad, mask
from recurrent import check_plans, torch_gradients, values_and_gradients, variant

from gpukeras.ops.rnn import Lstm, LstmGrad

BUDGETS = {"lstm_fwd": 160, "lstm_bwd": 160, "lstm_cell_fwd": 48, "lstm_cell_bwd": 48}
VARIANTS = [variant(u, 4, rows) for u, rows in ((32, 1), (100, 1), (128, 1), (128, 2), (64, 4))]


def arrays(shapes):
    rng = np.random.default_rng(2)
    drawn = [rng.standard_normal(s) if isinstance(s, tuple) else s for s in shapes]
    return [a if a.dtype == bool else a.astype("f4") for a in drawn]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [(5, 3, 6), (4, 2, 33)])
@pytest.mark.parametrize("marks", [False, True])
def test_every_plan_of_the_forward_pass(size, reverse, marks):
    more = (mask(*size[:2]),) if marks else ()
    check_plans(Lstm(reverse=reverse), arrays(lstm(*size, *more)))       # lstm_fwd, lstm_cell_fwd


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("gc", [False, True])
def test_every_plan_of_the_gradient(reverse, marks, gc):
    size = (5, 3, 6)
    more = ((size,) if gc else ()) + ((mask(*size[:2]),) if marks else ())
    op = LstmGrad("relu", "hard_sigmoid", reverse, gc)                   # lstm_bwd, lstm_cell_bwd
    check_plans(op, arrays(lstm_grad(*size, *more)))


def test_entries_run_under_the_names_of_the_plans():
    names = {s.entry for op, ins in ((Lstm(), lstm(2, 3, 4)), (LstmGrad(), lstm_grad(2, 3, 4)))
             for s in _steps(op, arrays(ins)) if hasattr(s, "entry")}
    assert names == {"lstm_fwd", "lstm_bwd", "lstm_cell_fwd", "lstm_cell_bwd"}


def _steps(op, ins):
    from check import outputs_of, type_of

    types = tuple(map(type_of, ins))
    plan = op.cuda.plan(op, types, outputs_of(op.infer(*types)))
    return plan.steps + plan.otherwise.steps


@pytest.mark.parametrize("units, one", [(100, True), (128, True), (144, True), (200, False),
                                        (1000, False)])
def test_weights_that_fit_no_multiprocessor_go_step_by_step(units, one):
    from check import outputs_of, type_of

    types = tuple(type_of(a) for a in arrays(lstm(3, 2, units)))
    op = Lstm()
    plan = op.cuda.plan(op, types, outputs_of(op.infer(*types)))
    assert (len(plan.steps) == 1) == one


def test_values_and_gradients_are_torchs():
    torch = pytest.importorskip("torch")
    b, s, u = 3, 5, 4
    ins = [a.astype("f8") for a in arrays(lstm(b, s, u))]
    seed = np.random.default_rng(3).standard_normal((b, s, u))

    def run(xw, r, h0, c0):
        cell_h, cell_c, outs = h0, c0, []
        for t in range(s):
            i, f, g, o = (xw[:, t] + cell_h @ r).chunk(4, 1)
            cell_c = f.sigmoid() * cell_c + i.sigmoid() * g.tanh()
            cell_h = o.sigmoid() * cell_c.tanh()
            outs.append(cell_h)
        return torch.stack(outs, 1)

    got, want = values_and_gradients(Lstm(), ins, seed), torch_gradients(run, ins, seed)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_values_are_those_of_torchs_own_layer():
    torch = pytest.importorskip("torch")
    b, s, u, f = 3, 6, 5, 4
    layer = torch.nn.LSTM(f, u, batch_first=True).double()
    x = np.random.default_rng(4).standard_normal((b, s, f))
    with torch.no_grad():
        want, (h, c) = layer(torch.tensor(x))
    w, r, b1, b2 = (p.detach().numpy() for p in layer.parameters())
    xw, zeros = x @ w.T + b1 + b2, np.zeros((b, u))
    got, cells, _ = Lstm().numpy(xw, np.ascontiguousarray(r.T), zeros, zeros)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(cells[:, -1], c[0], rtol=1e-10, atol=1e-12)
