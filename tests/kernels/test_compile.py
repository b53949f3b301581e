"""Every kernel file compiles for every architecture within its budgets, and every entry is tested.

The tables are in the test modules: see harness.py.
"""

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

import pytest
from harness import ARCHITECTURES, check_nvrtc

from gpukeras.devices.nvrtc import parse_report
from gpukeras.devices.sources import entries, kernel_files, kernel_folder

HERE = Path(__file__).parent


@lru_cache(maxsize=None)
def table(file):
    """The test module of a kernel file."""
    path = HERE / f"test_{Path(file).stem}_cu.py"
    if not path.exists():
        pytest.fail(f"{file} has no {path.name}")
    spec = importlib.util.spec_from_file_location(path.stem + "_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", kernel_files())
def test_file_compiles_without_spills_within_its_budgets(file, arch):
    module = table(file)
    for defines in getattr(module, "VARIANTS", [()]):
        check_nvrtc(file, defines, module.BUDGETS, (arch,))


@pytest.mark.parametrize("file", kernel_files())
def test_every_entry_has_a_budget_and_a_test(file):
    text = (kernel_folder() / file).read_text()
    module = table(file)
    assert set(module.BUDGETS) == set(entries(text))
    code = Path(module.__file__).read_text()
    tests = re.sub(r"BUDGETS\s*=\s*\{.*?\}", "", code, flags=re.S)
    untested = [e for e in entries(text) if not re.search(rf'["\']{e}["\']', tests)]
    assert not untested, f"no run_kernel of {untested} in {Path(module.__file__).name}"


def test_the_report_of_ptxas_is_understood():
    log = """ptxas info    : Compiling entry function 'f' for 'sm_90'
ptxas info    : Function properties for f
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 21 registers, used 1 barriers, 128 bytes smem
ptxas info    : Compiling entry function 'g' for 'sm_90'
ptxas info    : Used 8 registers, used 0 barriers
"""
    report = parse_report(log)
    assert (report["f"].registers, report["f"].stack_bytes, report["f"].spill_bytes,
            report["f"].shared_bytes) == (21, 16, 12, 128)
    assert (report["g"].registers, report["g"].spill_bytes) == (8, 0)
