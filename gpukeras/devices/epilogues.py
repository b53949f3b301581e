"""Which products keep their epilogues: the device must know them, and masks must be its own."""

from __future__ import annotations

from ..config import math_mode
from ..ops.record import Gemm, In, LaunchPlan, Out
from ..passes.schedule import Step, Value
from .driver import Driver


def settle_epilogues(plans: dict[Step, LaunchPlan], driver: Driver) -> dict[Step, LaunchPlan]:
    """The plans, in the order of the steps, with the other plan where a product's epilogue cannot
    be had. A mask has the library's own order of bits: who reads one needs a writer that kept its
    epilogue."""
    settled, masks = {}, set[Value]()
    for step, plan in plans.items():
        gemms = [g for g in plan.steps if isinstance(g, Gemm) and g.epilogue]
        if gemms and plan.otherwise is not None:
            known = all(driver.fuses(g, math_mode()) for g in gemms)
            read = [step.ins[g.aux.index] for g in gemms
                    if isinstance(g.aux, In) and g.epilogue.startswith("relu")]
            if known and all(v in masks for v in read):
                masks.update(step.outs[g.aux.index] for g in gemms if isinstance(g.aux, Out))
            else:
                plan = plan.otherwise
        settled[step] = plan
    return settled
