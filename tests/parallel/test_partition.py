"""Every op cut over replicas: whatever its rule, the values of the uncut op."""
import importlib
from pathlib import Path

import numpy as np
import pytest
from check import as_tuple

from gpukeras import config, devices
from gpukeras.devices.choose import Choice
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.ops.broadcast import sum_
from gpukeras.ops.collective import Collective
from gpukeras.replicated import Replicated

TABLES = sorted(p.stem for p in Path(__file__).parents[1].joinpath("ops").glob("cases_*.py"))
PER_OP = 4                                         # cases of one op, of those that can be cut


def cases():
    """A few cases of each op whose first input has rows to deal out."""
    count = {}
    for table in TABLES:
        for case in importlib.import_module(table).CASES:
            arrays = case.arrays()
            rows = arrays[0].shape[0] if arrays[0].ndim else 0
            kind = type(case.op)
            if rows < 2 or issubclass(kind, Collective) or count.get(kind, 0) >= PER_OP:
                continue
            count[kind] = count.get(kind, 0) + 1
            yield case


@pytest.fixture(autouse=True)
def host(monkeypatch):
    old = devices.use(devices.make(Choice("cpu", "")))
    monkeypatch.setattr(config, "deterministic", True)
    yield
    devices.use(old)


@pytest.mark.parametrize("case", list(cases()), ids=repr)
def test_an_op_cut_over_three_replicas_keeps_its_values(case):
    arrays = case.arrays()
    inputs = [Placeholder(a.dtype.name, a.shape) for a in arrays]
    outputs = list(as_tuple(case.op(*inputs)))
    outputs += [sum_(y, 0) for y in outputs if y.ndim and y.dtype == "float64"]
    whole = function(inputs, outputs)(arrays)
    for count in (2, 3):
        cut = Replicated(inputs, outputs, devices=count)(arrays)
        for a, b in zip(whole, cut, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(np.asarray(b, "f8"), np.asarray(a, "f8"), rtol=1e-9,
                                       atol=1e-9)
