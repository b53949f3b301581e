"""Sums over GPUs by NCCL, through CuPy (extra package nvidia-nccl-cu12 or -cu13).

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
    try:
        make = importlib.import_module("cupy.cuda.nccl").NcclCommunicator.initAll
    except (ImportError, AttributeError) as error:
        raise DeviceError(f"CuPy finds no NCCL: {error}. Try: pip install nvidia-nccl-cu13") \
            from error
    return list(make(list(devices)))


def bind_sum(comm: Any, driver: Driver, src: DeviceArray, dst: DeviceArray) -> Call:
    """A call that queues dst = the sum of all GPUs' src beside the driver's work, between
    driver.bind_fork() and driver.bind_join(). dst may be src."""
    kind = _TYPES.get(src.dtype.name)
    if kind is None:
        raise DeviceError(f"NCCL cannot add {src.dtype}: expected one of {sorted(_TYPES)}")
    count = src.nbytes // src.dtype.itemsize

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
