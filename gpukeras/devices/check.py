"""GPUKERAS_CHECK=1: every step is computed a second time by the NumPy code that defines its op."""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..config import math_mode
from ..errors import KernelError
from ..ops.composite import Composite
from ..passes.schedule import Step

# Relative to the largest element of the result: rounding differs, meaning must not.
_TOLERANCE = {"float16": 2e-2, "bfloat16": 8e-2, "float32": 1e-4, "float64": 1e-9}


def checked(step: Step, number: int, run: Callable[[], object],
            read_ins: Callable[[], tuple], read_outs: Callable[[], tuple]) -> Callable[[], None]:
    """`run`, then a comparison with the op's own meaning; the first difference raises
    KernelError."""
    def call() -> None:
        ins = tuple(np.array(a) for a in read_ins())
        run()
        expected = truth(step, ins)
        for k, (got, want) in enumerate(zip(read_outs(), expected)):
            if k in step.op.opaque:
                continue
            _compare(step, number, k, got, want)
    return call


def truth(step: Step, ins: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """What the step means, by NumPy alone; a Composite by its expansion."""
    op = step.op
    with np.errstate(all="ignore"):
        values = op.run_expansion(*ins) if isinstance(op, Composite) else op.numpy(*ins)
    return values if isinstance(values, tuple) else (values,)


def _tolerance(step: Step) -> float:
    """That of the shortest type of the step: a sum may be rounded on its way to float32."""
    kinds = {v.type.dtype for v in step.ins + step.outs} & set(_TOLERANCE)
    if math_mode() == "tf32" and "float32" in kinds:
        return max(2e-3, *(_TOLERANCE[kind] for kind in kinds))
    return max(_TOLERANCE[kind] for kind in kinds)


def _compare(step: Step, number: int, k: int, got: np.ndarray, want: np.ndarray) -> None:
    want = np.broadcast_to(want, got.shape)
    if got.dtype.kind != "f":
        same = np.array_equal(got, want.astype(got.dtype))
        worst = "values differ"
    else:
        finite = np.isfinite(want)
        scale = np.abs(want[finite]).max(initial=1e-30)
        error = np.abs(got - want)[finite].max(initial=0) / scale
        same = (error <= _tolerance(step)
                and np.array_equal(np.isnan(got), np.isnan(want)))
        worst = f"relative error {error:.1e}"
    if not same:
        raise KernelError(f"step {number} differs from NumPy in output {k}: {worst}\n  {step}\n"
                          f"  in {step.origin}")
