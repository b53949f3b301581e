"""Collectives with one participant, and the parts of replicas: ops/collective.py."""
import numpy as np
from check import Case

from gpukeras.ops.collective import (AllGather, AllReduce, Exchange, Part, RandomRows, TakeRows)
from gpukeras.ops.random import RandomMask, RandomNormal, RandomUniform

STEP, FIRST = np.array(5), np.array(3)
DRAWS = (RandomMask((9, 7), 0.3, 5), RandomUniform((9, 2, 5), -0.5, 2.0, 11, "float32"),
         RandomNormal((9, 3), 0.0, 1.0, 7, "float32"))

CASES = [
    Case(AllReduce(), ((3, 4),), grad=False),
    Case(AllGather(1, 4), ((3, 4),), grad=False),
    Case(Exchange((Part("sum"), Part("gather", 0, 3))), ((2, 2), (3, 4)), grad=False),
    Case(TakeRows(0, 4), ((9, 5), FIRST)),
    Case(TakeRows(1, 2), ((2, 6, 3), FIRST)),
    *(Case(RandomRows(draw, 4), (STEP, FIRST), grad=False) for draw in DRAWS),
]
