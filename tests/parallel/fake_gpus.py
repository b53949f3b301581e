"""A rank whose GPU and NCCL are stand-ins: CuPy's over host memory, NCCL's over MPI.

FAKE_NCCL, words of: on; missing (no library); shared (all ranks on one GPU); wrong (sums are off by
one); uncaptured (refuses to be in a graph).
"""
import ctypes
import os
import pathlib
import signal
import sys
import time
import types

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "devices"))

from fakes import FakeCupy, FakeDevice, FakeLibrary, stand_in  # noqa: E402

from gpukeras import devices  # noqa: E402
from gpukeras.devices import cublas  # noqa: E402
from gpukeras.devices.cuda import CudaDriver  # noqa: E402
from gpukeras.devices.launcher import KernelDevice  # noqa: E402

WORDS = os.environ.get("FAKE_NCCL", "").split()
DTYPES = {1: "u1", 2: "i4", 4: "i8", 7: "f4", 8: "f8"}


class Nccl:
    """cupy.cuda.nccl. trouble: what the next message does: kill or break. messages: how many there
    have been. places: how much of a graph stood before each of the messages that it captured."""

    trouble, broken, messages = "", False, 0

    def __init__(self, cupy):
        self.cupy, self.depth, self.places = cupy, 0, []

    def get_unique_id(self):
        return os.urandom(128)

    def groupStart(self):
        self.depth += 1

    def groupEnd(self):
        self.depth -= 1

    def NcclCommunicator(self, size, id, rank):
        return Communicator(self, size, id, rank)


class Communicator:
    """One rank's seat; its messages wait on their stream, not on the host, until `abort`."""

    def __init__(self, nccl, size, id, rank):
        from mpi4py import MPI
        self.mpi, self.nccl, self.rank = MPI, nccl, rank
        self.world, self.gone = MPI.COMM_WORLD.Dup(), False
        ids = self.world.allgather(id)
        assert len(ids) == size and ids == [ids[0]] * size and len(id) == 128

    def _queue(self, stream, send):
        stream = self.nccl.cupy.streams[stream]
        assert stream is not self.nccl.cupy.stream, "beside the kernels"
        if stream.captured is not None:
            if "uncaptured" in WORDS:
                raise RuntimeError("cudaErrorStreamCaptureUnsupported")
            self.nccl.places.append(len(stream.captured))

        def run():
            self.nccl.messages += 1
            trouble, self.nccl.trouble = self.nccl.trouble, ""
            if trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble == "break":
                self.nccl.broken = True
            if trouble:
                self._stand_still()
            request = send()
            while not request.Test():
                if self.gone:
                    self._stand_still()
                time.sleep(1e-4)
            if "wrong" in WORDS and self.rank == 1:
                raise_by_one(send)
        stream.submit(run)

    def _stand_still(self):
        while True:
            time.sleep(1)

    def allReduce(self, src, dst, count, kind, op, stream):
        assert op == 0 and src == dst
        array = at(src, count, DTYPES[kind])

        def send():
            return self.world.Iallreduce(self.mpi.IN_PLACE, array)
        send.array = array
        self._queue(stream, send)

    def allGather(self, src, dst, count, kind, stream):
        size = self.world.Get_size()
        whole = at(dst, count * size, DTYPES[kind])
        assert src == dst + self.rank * whole.nbytes // size

        def send():
            return self.world.Iallgather(self.mpi.IN_PLACE, whole)
        send.array = whole
        self._queue(stream, send)

    def broadcast(self, src, dst, count, kind, root, stream):
        array = at(dst, count, DTYPES[kind])

        def send():
            return self.world.Ibcast(array, root)
        send.array = array
        self._queue(stream, send)

    def check_async_error(self):
        if self.nccl.broken:
            raise RuntimeError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")

    def abort(self):
        self.gone = True


def at(address, count, dtype):
    memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.frombuffer(memory, dtype)


def raise_by_one(send):
    send.array[-1:] += 1


def use():
    """Makes a stand-in for a GPU the device of this process; returns the stand-in for NCCL."""
    patch, cupy = pytest.MonkeyPatch(), FakeCupy()
    stand_in(patch, cupy)
    library = FakeLibrary(lambda run: cupy.stream.submit(run))
    patch.setattr(cublas, "find_cublas", lambda: library)
    nccl = Nccl(cupy)
    patch.setitem(sys.modules, "cupy.cuda", types.ModuleType("cupy.cuda"))
    if "missing" not in WORDS:
        patch.setitem(sys.modules, "cupy.cuda.nccl", nccl)
    if "shared" not in WORDS:
        patch.setattr(FakeDevice, "pci_bus_id", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
    device = KernelDevice(CudaDriver())
    device.driver._cublas()
    devices.use(device)
    return nccl
