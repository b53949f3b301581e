"""What the tests of the recurrent kernels share."""
import check
import numpy as np

from gpukeras.graph import Constant, Placeholder, gradients
from gpukeras.ops.composite import evaluate


def variant(units, gates, rows=1, act="Tanh", **more):
    """The defines of a sequence kernel, as plans_rnn makes them."""
    from gpukeras.ops.plans_rnn import in_one_launch

    threads, kept, _, _ = in_one_launch(units, gates, 1, 4, 10 * units, 1)
    return (("T", "float"), ("ACT", act), ("RACT", "Sigmoid"), ("U", str(units)),
            ("KREG", str(kept)), ("ROWS", str(rows)), ("THREADS", str(threads)), *more.items())


def both_plans(op, arrays, level="races"):
    """Outputs of the one launch, checked for races, and of the launches step by step."""
    types = tuple(check.type_of(a) for a in arrays)
    outs = check.outputs_of(op.infer(*types))
    plan = op.cuda.plan(op, types, outs)
    assert len(plan.steps) == 1 and len(plan.otherwise.steps) > 1
    return [check.run_plan(op.cuda.file, p, arrays, outs, "random", level)
            for p in (plan, plan.otherwise)]


def many_rows(op, arrays):
    """Outputs of the one launch with as many rows a block as the kernel walks."""
    from gpukeras.ops import plans_rnn

    types = tuple(check.type_of(a) for a in arrays)
    outs = check.outputs_of(op.infer(*types))
    before, plans_rnn.MULTIPROCESSORS = plans_rnn.MULTIPROCESSORS, 1
    try:
        plan = op.cuda.plan(op, types, outs)
    finally:
        plans_rnn.MULTIPROCESSORS = before
    assert dict(plan.steps[0].defines)["ROWS"] != "1"
    return check.run_plan(op.cuda.file, plan, arrays, outs, "reverse", "races")


def check_plans(op, arrays):
    """One launch, several rows a block, and step by step: all as NumPy says."""
    want = check.as_tuple(op.numpy(*arrays))
    for got in (*both_plans(op, arrays), many_rows(op, arrays)):
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def values_and_gradients(op, arrays, seed):
    """(first output, gradients of its product with `seed` by every float input), by NumPy."""
    xs = [Placeholder(a.dtype.name, a.shape) for a in arrays]
    y = check.as_tuple(op(*xs))[0]
    grads = gradients([(y, Constant(seed))], xs)
    return evaluate((y, *(g for g in grads if g is not None)), dict(zip(xs, arrays)))


def torch_gradients(run, arrays, seed):
    """The same by torch: run(*tensors) gives the output."""
    import torch

    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = run(*tensors)
    (y * torch.tensor(seed)).sum().backward()
    return [y.detach().numpy()] + [t.grad.numpy() for t in tensors]
