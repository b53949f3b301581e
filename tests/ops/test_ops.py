"""Every row of the tables of cases through every check."""
from __future__ import annotations

import importlib
from pathlib import Path

import check
import pytest

from gpukeras.ops.record import Expr

TABLES = sorted(p.stem for p in Path(__file__).parent.glob("cases_*.py"))
CASES = [case for table in TABLES for case in importlib.import_module(table).CASES]
on_cuda = [(case, dtype) for case in CASES for dtype in case.dtypes
           if isinstance(case.op.cuda, check.Kernel)]


elementwise = [case for case in CASES if isinstance(case.op.cuda, Expr)]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_types_agree_with_values(case):
    check.check_types(case)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_memory_layout_does_not_matter(case):
    check.check_layout(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.grad], ids=repr)
def test_gradient_along_a_direction(case):
    check.check_gradient(case)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_host_fast_path(case):
    check.check_host(case)


@pytest.mark.parametrize("case, dtype", on_cuda, ids=[f"{c!r}-{d}" for c, d in on_cuda])
def test_cuda_plan_on_the_emulator(case, dtype):
    check.check_cuda(case, dtype)


@pytest.fixture(scope="module")
def fused():
    loaded, names = check.fused_module(elementwise)
    return loaded, dict(zip(map(id, elementwise), names))


@pytest.mark.parametrize("case", elementwise, ids=repr)
def test_fused_kernel_on_the_emulator(case, fused):
    loaded, names = fused
    check.check_fused(case, loaded, names[id(case)])
