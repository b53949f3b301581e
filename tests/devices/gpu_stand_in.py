"""A rehearsal of `make test-gpu` without a GPU: `pytest -p gpu_stand_in` with GPUKERAS_DEVICE=gpu.

CudaDriver runs as on a GPU, over a stand-in for CuPy whose kernels the emulator plays; so it shows
which tests would fail for what they assume of a machine, not what a GPU computes. Tests that start
processes of their own fail here: those find no stand-in.
"""
import itertools
import types

import numpy as np
import pytest
from fake_cublaslt import FakeCublasLt
from fakes import FakeCupy, FakeFunction, FakeLibrary, FakeModule, FakeStream, stand_in

from gpukeras.devices import cublas, cublaslt, nvrtc


class Function(FakeFunction):
    """Queued on the stream that it is given."""

    def __call__(self, grid, block, args, shared_mem, stream):
        assert isinstance(args, tuple) and all(
            type(a) is np.ndarray and a.size == 1 for a in args), "CuPy refuses others"
        values = [a.copy() for a in args]
        stream.submit(lambda: self._run(grid, block, values, shared_mem))


class Module(FakeModule):
    def get_function(self, name):
        return Function(self.cupy, self.loaded.kernel(name))


class Cupy(FakeCupy):
    """For any number of drivers, whose streams all run at once."""

    __version__ = "14.0 (a stand-in)"

    def __init__(self):
        super().__init__()
        self.numbers = itertools.count(4242)
        self.cuda.function = types.SimpleNamespace(Module=lambda: Module(self))
        self.cuda.runtime.memGetInfo = lambda: (8 << 30, 16 << 30)

    def _stream(self, non_blocking):
        made = FakeStream(non_blocking)
        made.ptr = next(self.numbers)
        self.streams[made.ptr] = made
        return made

    def submit(self, run):
        """For libraries: into the capture that is going on, or at once."""
        capturing = [s for s in self.streams.values() if s.captured is not None]
        (capturing[0].submit if capturing else lambda run: run())(run)


cupy, patch = Cupy(), pytest.MonkeyPatch()
stand_in(patch, cupy)
patch.setattr(nvrtc, "missing", lambda: "the stand-in compiles for the emulator")
patch.setattr(cublas, "find_cublas", lambda: FakeLibrary(cupy.submit))
patch.setattr(cublaslt, "find_cublaslt", lambda: FakeCublasLt(submit=cupy.submit))
