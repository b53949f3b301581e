"""How values get from the device of one process to those of others: by NCCL, or through the host.

Which way it is, is decided once per device and group, by all processes alike: NCCL if it is there,
every process has a GPU of its own, and a short test brings right values everywhere; in the graph of
the step if the test passes inside a graph too.
"""
from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Sequence

import numpy as np

from ..config import number
from ..errors import DeviceError
from . import nccl
from .array import DeviceArray
from .driver import Driver
from .launcher import Call, KernelDevice

PATIENCE = 30.0                                    # seconds for NCCL's processes to find each other

Calls = list[Call]


class HostLink:
    """Through the host's memory, by the group's own messages (MPI)."""

    name = "through the host"
    beside = captured = False                      # beside kernels? in a graph?

    def __init__(self, driver: Driver, group: Any) -> None:
        self.driver, self.group = driver, group

    def bind_sum(self, arrays: Sequence[DeviceArray]) -> tuple[Calls, Calls]:
        """(start, finish) that replace each array by its sum over all processes."""
        sent: list[tuple[DeviceArray, np.ndarray, Call]] = []

        def start() -> None:
            for x in arrays:
                value = self.driver.download(x)
                sent.append((x, value, self.group.start_sum(value)))

        def finish() -> None:
            for x, value, wait in sent:
                wait()
                self.driver.upload(x, value)
            sent.clear()
        return [start], [finish]

    def bind_gather(self, whole: DeviceArray) -> tuple[Calls, Calls]:
        """(start, finish) that fill whole[r] with that of process r; `whole` is bytes."""
        mine = whole[self.group.rank:self.group.rank + 1]
        came, waits = np.empty(whole.shape, whole.dtype), []

        def start() -> None:
            waits.append(self.group.start_gather(self.driver.download(mine), came))

        def finish() -> None:
            waits.pop()()
            self.driver.upload(whole, came)
        return [start], [finish]

    def broadcast(self, arrays: Sequence[DeviceArray], root: int) -> None:
        """Replace each array by that of process `root`."""
        for x in arrays:
            value = self.driver.download(x)
            self.group.broadcast(value, root)
            self.driver.upload(x, value)

    def run(self, step: Callable[[], None]) -> None:
        """Queue a step that has messages in it."""
        step()


class NcclLink(HostLink):
    """From GPU to GPU, on a stream beside the kernels'. captured: may it be in a graph?"""

    name, beside = "by NCCL", True

    def __init__(self, driver: Driver, group: Any, comm: Any, captured: bool = False) -> None:
        super().__init__(driver, group)
        self.comm, self.captured = comm, captured
        self._fork, self._join = driver.bind_fork(), driver.bind_join()
        self._guard: Any = None

    def bind_sum(self, arrays: Sequence[DeviceArray]) -> tuple[Calls, Calls]:
        return [self._fork, nccl.bind_sums(self.comm, self.driver, arrays)], [self._join]

    def bind_gather(self, whole: DeviceArray) -> tuple[Calls, Calls]:
        run = nccl.bind_gather(self.comm, self.driver, whole, self.group.rank)
        return [self._fork, run], [self._join]

    def broadcast(self, arrays: Sequence[DeviceArray], root: int) -> None:
        def step() -> None:
            self._fork()
            for x in arrays:
                if x.nbytes:
                    nccl.bind_broadcast(self.comm, self.driver, x, root)()
            self._join()
        self.run(step)

    def watch(self) -> "NcclLink":
        """Have the group look after what is queued, which waits for other GPUs without end."""
        self.driver.fence(sending=True)            # makes the stream that `aside` uses
        self._guard = self.group.guard(self.comm.check_async_error, self.driver.aside,
                                       self.comm.abort)
        return self

    def run(self, step: Callable[[], None]) -> None:
        if self._guard is None:
            step()
            return
        self._guard.begin()
        step()
        self._guard.queued(self.driver.fence(sending=False))


_links: dict[tuple[int, int], HostLink] = {}


def link_of(device: KernelDevice, group: Any) -> HostLink:
    """The link of this device to those of the group's other processes. All of them must come here
    for the first time at the same point."""
    key = id(device.driver), id(group)
    if key not in _links:
        link = _links[key] = _chosen(device.driver, group)
        if number("GPUKERAS_DEBUG") >= 1 and group.rank == 0:
            how = " in the graph of the step" if link.captured else ""
            print(f"gpukeras: sums of {group.size} processes travel {link.name}{how}",
                  file=sys.stderr, flush=True)
    return _links[key]


def _chosen(driver: Driver, group: Any) -> HostLink:
    if not hasattr(driver, "bind_beside"):         # an emulated device
        return HostLink(driver, group)
    try:
        comm = _met(driver, group)
    except DeviceError as error:
        return _by_host(driver, group, error)
    link = NcclLink(driver, group, comm)
    try:
        _check(link, captured=False)
        try:
            _check(link, captured=True)
            link.captured = True
        except DeviceError as error:
            _check(link, captured=False)           # is it still as it was?
            if group.rank == 0:
                print(f"gpukeras: NCCL's sums stand between the graphs of a step: {error}",
                      file=sys.stderr, flush=True)
    except DeviceError as error:
        comm.abort()                               # ends what still waits on the stream
        return _by_host(driver, group, error)
    return link.watch()


def _by_host(driver: Driver, group: Any, why: Exception) -> HostLink:
    if group.rank == 0:
        print(f"gpukeras: sums of {group.size} processes travel through the host: {why}",
              file=sys.stderr, flush=True)
    return HostLink(driver, group)


def _agree(group: Any, work: Callable[[], Any]) -> Any:
    """The result of `work`; DeviceError in every process if it fails in one."""
    result, problem = None, ""
    try:
        result = work()
    except Exception as error:                     # NCCL's and CuPy's own classes
        problem = str(error) or type(error).__name__
    for rank, other in enumerate(group.gather(problem)):
        if other:
            raise DeviceError(f"rank {rank}: {other}")
    return result


def _met(driver: Driver, group: Any) -> Any:
    """NCCL's communicator of this process. DeviceError in all of them if one gets none."""
    places = group.gather(driver.place)
    twice = [places.index(p) for p in places if places.count(p) > 1]
    if twice:
        raise DeviceError(f"NCCL wants one GPU per process, and {places.count(places[twice[0]])} "
                          f"share that of rank {twice[0]}")
    mine = _agree(group, lambda: nccl.unique_id() if group.rank == 0 else None)
    id = group.gather(mine)[0]
    return _agree(group, lambda: _in_time(lambda: nccl.join(driver, group.size, id, group.rank),
                                          "NCCL's processes did not find each other"))


def _in_time(work: Callable[[], Any], what: str) -> Any:
    """The result of `work`, on a thread of its own; DeviceError if it takes longer than PATIENCE.
    """
    results: list[Any] = []
    problems: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if problems:
        raise problems[0]
    if not results:
        raise DeviceError(f"{what} within {PATIENCE:g} s")
    return results[0]


def _check(link: NcclLink, captured: bool) -> None:
    """A sum and a gathering of small arrays; DeviceError in all processes if one has wrong values.
    captured: in a graph, which all of them start only if all have one."""
    driver, size, rank = link.driver, link.group.size, link.group.rank
    pattern = np.arange(1000, dtype=np.float32)

    def prepare() -> tuple[DeviceArray, DeviceArray, Calls]:
        x = driver.to_device(pattern * (rank + 1))
        whole = driver.to_device(np.zeros((size, 256), np.uint8))
        driver.upload(whole[rank:rank + 1], np.full((1, 256), rank + 1, np.uint8))
        (start, finish), (start2, finish2) = link.bind_sum([x]), link.bind_gather(whole)
        calls = [*start, *start2, *finish, *finish2]
        return x, whole, [_graph(driver, calls).launch] if captured else calls

    x, whole, calls = _agree(link.group, prepare)

    def work() -> bool:
        driver.use()
        for call in calls:
            call()
        if not np.array_equal(driver.download(x), pattern * sum(range(1, size + 1))):
            raise DeviceError("a sum by NCCL has wrong values")
        if not np.array_equal(driver.download(whole)[:, 0], np.arange(1, size + 1)):
            raise DeviceError("values gathered by NCCL are wrong")
        return True

    _agree(link.group, lambda: _in_time(work, "a sum by NCCL did not end"))


def _graph(driver: Driver, calls: Calls) -> Any:
    with driver.capture() as graph:
        for call in calls:
            call()
    return graph
