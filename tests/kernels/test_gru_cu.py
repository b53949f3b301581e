"""gru.cu: one launch, step by step, several rows a block; the op against torch."""
import numpy as np
import pytest
from cases_rnn import gru, gru_grad, mask
from recurrent import check_plans, torch_gradients, values_and_gradients, variant
from test_lstm_cu import _steps, arrays

from gpukeras.ops.rnn import Gru, GruGrad

BUDGETS = {"gru_fwd": 176, "gru_bwd": 176, "gru_cell_gates": 40, "gru_cell_state": 40,
           "gru_cell_bwd": 40, "gru_cell_reset_bwd": 40}
VARIANTS = [variant(u, 3, rows, RESET_AFTER=after)
            for u, rows in ((32, 1), (128, 1), (64, 3)) for after in ("0", "1")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("marks, reverse", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("size", [(5, 3, 6), (4, 2, 33)])
def test_every_plan_of_the_forward_pass(size, marks, reverse, after):
    more = ((3 * size[2],),) + ((mask(*size[:2]),) if marks else ())
    check_plans(Gru(reverse=reverse, reset_after=after, has_bias=True), arrays(gru(*size, *more)))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("marks, reverse", [(False, False), (True, False), (True, True)])
def test_every_plan_of_the_gradient(marks, reverse, after):
    size = (5, 3, 6)
    more = (mask(*size[:2]),) if marks else ()
    op = GruGrad("tanh", "hard_sigmoid", reverse, after)
    check_plans(op, arrays(gru_grad(*size, *more)))


def test_entries_run_under_the_names_of_the_plans():
    names = {s.entry for after in (False, True)
             for op, ins in ((Gru(reset_after=after), gru(2, 3, 4)),
                             (GruGrad(reset_after=after), gru_grad(2, 3, 4)))
             for s in _steps(op, arrays(ins)) if hasattr(s, "entry")}
    assert names == {"gru_fwd", "gru_bwd", "gru_cell_gates", "gru_cell_state", "gru_cell_bwd",
                     "gru_cell_reset_bwd"}


@pytest.mark.parametrize("after", [False, True])
def test_values_and_gradients_are_torchs(after):
    torch = pytest.importorskip("torch")
    b, s, u = 3, 5, 4
    ins = [a.astype("f8") for a in arrays(gru(b, s, u, (3 * u,)))]
    seed = np.random.default_rng(3).standard_normal((b, s, u))

    def run(xw, r, h, bias):
        outs = []
        for t in range(s):
            z, reset = (xw[:, t, :2 * u] + h @ r[:, :2 * u] + bias[:2 * u]).sigmoid().chunk(2, 1)
            if after:
                inner = reset * (h @ r[:, 2 * u:] + bias[2 * u:])
            else:
                inner = (reset * h) @ r[:, 2 * u:] + bias[2 * u:]
            h = z * h + (1 - z) * (xw[:, t, 2 * u:] + inner).tanh()
            outs.append(h)
        return torch.stack(outs, 1)

    op = Gru(reset_after=after, has_bias=True)
    got, want = values_and_gradients(op, ins, seed), torch_gradients(run, ins, seed)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
