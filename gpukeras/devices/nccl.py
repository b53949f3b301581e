"""Sums over GPUs by NCCL, through CuPy (extra package nvidia-nccl-cu12 or -cu13).

A communicator is one GPU's seat: all of one process (`communicators`), or one in every process of
a job (`unique_id`, `join`).

NCCL is found by CuPy. Sums are queued on a stream of their own, which waits for the kernels that
make what is added (`bind_fork`) and for which the main one waits in the end (`bind_join`): so they
go on beside the backward pass, and may be captured in a graph together with it.
"""
from __future__ import annotations

import importlib
import threading
from typing import Any, Sequence

import numpy as np

from ..errors import DeviceError
from .array import DeviceArray
from .driver import Driver
from .launcher import Call

# ncclDataType_t of nccl.h
_TYPES = {"int8": 0, "uint8": 1, "bool": 1, "int32": 2, "uint32": 3, "int64": 4, "uint64": 5,
          "float16": 6, "float32": 7, "float64": 8}
_SUM = 0                                           # ncclRedOp_t


def communicators(devices: Sequence[int]) -> list[Any]:
    """One communicator per GPU, all in this process. DeviceError without NCCL, or for a GPU that is
    named twice."""
    if len(set(devices)) < len(devices):
        raise DeviceError(f"NCCL wants one GPU per replica: got {list(devices)}")
    return list(_library("NcclCommunicator").initAll(list(devices)))


def _library(*names: str) -> Any:
    """A name, or several, of CuPy's binding. DeviceError without NCCL."""
    try:
        found = importlib.import_module("cupy.cuda.nccl")
        values = [getattr(found, name) for name in names]
    except (ImportError, AttributeError) as error:
        raise DeviceError(f"CuPy finds no NCCL: {error}. Try: pip install nvidia-nccl-cu13") \
            from error
    return values[0] if len(values) == 1 else values


def unique_id() -> Any:
    """What all processes of a job must know to `join` each other: one of them makes it."""
    return _library("get_unique_id")()


def join(driver: Driver, size: int, id: Any, rank: int) -> Any:
    """The communicator of this process's GPU; returns when all `size` processes have called."""
    driver.use()
    return _library("NcclCommunicator")(size, id, rank)


def _kind(array: DeviceArray) -> int:
    kind = _TYPES.get(array.dtype.name)
    if kind is None:
        raise DeviceError(f"NCCL cannot add {array.dtype}: expected one of {sorted(_TYPES)}")
    return kind


def bind_sums(comm: Any, driver: Driver, arrays: Sequence[DeviceArray]) -> Call:
    """As `bind_sum`, of several arrays as one message; each is replaced by its sum."""
    start, end = _library("groupStart", "groupEnd")
    items = [(x.ptr, x.size, _kind(x)) for x in arrays if x.size]

    def run(stream: int) -> None:
        start()
        for ptr, count, kind in items:
            comm.allReduce(ptr, ptr, count, kind, _SUM, stream)
        end()

    return driver.bind_beside(run, (comm, *arrays))


def bind_gather(comm: Any, driver: Driver, whole: DeviceArray, rank: int) -> Call:
    """A call that queues, as `bind_sum` does, whole[r] = whole[r] of process r, for all r."""
    nbytes = whole.nbytes // whole.shape[0]
    mine, to = whole.ptr + rank * nbytes, whole.ptr

    def run(stream: int) -> None:
        comm.allGather(mine, to, nbytes, _TYPES["uint8"], stream)

    return driver.bind_beside(run, (comm, whole))


def bind_broadcast(comm: Any, driver: Driver, array: DeviceArray, root: int) -> Call:
    """A call that queues, as `bind_sum` does, array = that of process `root`."""
    def run(stream: int) -> None:
        comm.broadcast(array.ptr, array.ptr, array.nbytes, _TYPES["uint8"], root, stream)

    return driver.bind_beside(run, (comm, array))


def bind_sum(comm: Any, driver: Driver, src: DeviceArray, dst: DeviceArray) -> Call:
    """A call that queues dst = the sum of all GPUs' src beside the driver's work, between
    driver.bind_fork() and driver.bind_join(). dst may be src."""
    count, kind = src.size, _kind(src)

    def run(stream: int) -> None:
        comm.allReduce(src.ptr, dst.ptr, count, kind, _SUM, stream)

    return driver.bind_beside(run, (comm, src, dst))


def self_test(comms: Sequence[Any], drivers: Sequence[Driver]) -> None:
    """One sum of small arrays, each GPU from a thread of its own; DeviceError for wrong values."""
    n, wrong = 1000, []
    pattern = np.arange(n, dtype=np.float32)

    def work(i: int) -> None:
        try:
            drivers[i].use()
            x = drivers[i].to_device(pattern * (i + 1))
            for call in (drivers[i].bind_fork(), bind_sum(comms[i], drivers[i], x, x),
                         drivers[i].bind_join()):
                call()
            if not np.array_equal(drivers[i].download(x), pattern * sum(range(1, len(comms) + 1))):
                wrong.append(f"GPU {i}: wrong sum")
        except Exception as error:
            wrong.append(f"GPU {i}: {error}")

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(comms))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    if wrong or any(t.is_alive() for t in threads):
        raise DeviceError("; ".join(wrong) or "a sum did not end within 30 s")
