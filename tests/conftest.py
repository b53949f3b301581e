"""Lets every test module import check.py and kernels/harness.py by name; skips what needs g++."""
import os
import functools
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "kernels"), str(HERE / "ops"), str(HERE.parent)]

from gpukeras import backend as K  # noqa: E402
from gpukeras import devices, native  # noqa: E402
from gpukeras.devices.choose import Choice  # noqa: E402

# What numba compiles takes over at a moment that depends on the machine, and compiling takes longer
# than most tests: only those run it that ask for `compiled`.
os.environ["NUMBA_DISABLE_JIT"] = "1"


@pytest.fixture
def compiled(monkeypatch):
    """A test that asks for it, and the programs it starts, may run what numba compiles."""
    numba = pytest.importorskip("numba")
    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    numba.config.reload_config()
    yield native
    native.settle()


@functools.lru_cache(maxsize=1)
def _gpu():
    """One for all tests: its libraries' memory is not asked for again each time."""
    return devices.make(Choice("cuda", "in a test"))


@pytest.fixture(params=["cpu", "cuda" if os.environ.get("GPUKERAS_DEVICE") == "gpu" else "emu"])
def device(request):
    """A test that asks for it runs on the host and on the emulated CUDA device, which it gets; with
    GPUKERAS_DEVICE=gpu on the GPU instead."""
    before = devices.use(_gpu() if request.param == "cuda"
                         else devices.make(Choice(request.param, "in a test")))
    K.clear_session()
    yield devices.current()
    K.clear_session()
    devices.use(before)


@pytest.fixture
def on():
    """on(device): makes it the current one until the test ends."""
    first = devices.use(None)
    yield devices.use
    devices.use(first)


def _or_skip(item):
    """Without a C++ compiler there is no emulator: its tests are skipped, and say why."""
    try:
        return (yield)
    except RuntimeError as error:                  # gpukeras.errors.DeviceError
        if "no C++ compiler" in str(error):
            pytest.skip(str(error))
        raise


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(_or_skip)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(_or_skip)
