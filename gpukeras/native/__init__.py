"""Lists of bound calls as one call that leaves Python's lock alone, where numba is installed.

NumPy and BLAS release the lock while they compute, but each call takes it again, and threads that
make many short calls wait for each other; to wake a thread and to get the lock takes up to 0.1 ms.
Here a list of calls becomes a tape (tape.py) that compiled code plays (code.py), and the members of
the team wait in that code for the next tape: for SPIN seconds they look for it without pause, and
take it within a microsecond; then they sleep until they are woken.

Everything is compiled, once for all programs, and written down in the background: until then, and
where anything is missing, the calls are made one by one.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import perf_counter

import numpy as np

from ..denormals import flushing
from .tape import CALL, Tape, reads_ufuncs, skip, write

SPIN = 150e-6                 # seconds
_waiting: queue.SimpleQueue | None = None


def available() -> bool:
    """Whether numba may compile here."""
    return _is_installed() and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


@lru_cache(None)
def _is_installed() -> bool:
    return (sys.implementation.name == "cpython"
            and importlib.util.find_spec("numba") is not None)


def info() -> str:
    """What is compiled, in a few words."""
    if not _is_installed():
        return "no (pip install 'gpukeras[numba]')"
    if not available():
        return "no (NUMBA_DISABLE_JIT)"
    if not reads_ufuncs():
        return "chains of elementwise operations only (unknown layout of NumPy's functions)"
    return "calls and chains" if threads() else "calls and chains, each on one thread"


@lru_cache(None)
def compiled():
    """The compiled functions; some seconds at the very first call of all, 0.5 s later on."""
    from . import code
    return code


def player(tape: Tape) -> Callable[[], None]:
    """run() that plays a tape on this thread."""
    play, address = compiled().play, tape.address

    def run() -> None:
        play(address)
    run.tape = tape
    return run


@lru_cache(None)
def threads() -> tuple[int, int, int] | None:
    """Addresses of sem_post, sem_wait, sched_yield; None where they cannot be had."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                     for name in ("sem_post", "sem_wait", "sched_yield"))
    except (OSError, AttributeError):
        return None


@lru_cache(None)
def spins() -> int:
    """Looks in SPIN seconds."""
    rest, count = compiled().rest, 2000
    taken = []
    for _ in range(3):
        start = perf_counter()
        rest(count)
        taken.append(perf_counter() - start)
    return int(count * SPIN / min(taken))


class Crew:
    """Threads that play tapes beside the caller's."""

    def __init__(self, size: int) -> None:
        """`size` with the caller.  Raises OSError where there are no semaphores."""
        found = threads()
        if found is None:
            raise OSError("no semaphores")
        self._post, self._wait, self._relax = found
        made = compiled()
        # never freed: a thread may look there until the process has ended
        room = np.zeros(made.DESK * (size + 1), np.uint8)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(room))
        self._desks = room.ctypes.data + -room.ctypes.data % 64
        self._count = size - 1
        library = ctypes.CDLL(None)
        self._threads = []
        for i in range(self._count):
            desk = self._desks + made.DESK * i
            library.sem_init(ctypes.c_void_p(desk + made.BED), 0, 0)
            thread = threading.Thread(target=self._serve, args=(desk,), daemon=True,
                                      name=f"gpukeras-native-{i + 1}")
            thread.start()
            self._threads.append(thread)
        atexit.register(self.leave)

    def _serve(self, desk: int) -> None:
        flushing()[0]()                            # as the caller's thread does
        compiled().serve(desk, spins(), self._wait)

    def leave(self) -> None:
        """At exit: compiled code must not run when its memory goes."""
        made, library = compiled(), ctypes.CDLL(None)
        for i, thread in enumerate(self._threads):
            desk = self._desks + made.DESK * i
            ctypes.c_int64.from_address(desk + made.WORK).value = made.LEAVE
            library.sem_post(ctypes.c_void_p(desk + made.BED))
            thread.join(1)
        self._threads = []

    def bind(self, tapes: Sequence[Tape]) -> Callable[[], None]:
        """run() that plays all tapes at the same time, the first one on this thread.  One such run
        at a time."""
        if len(tapes) > self._count + 1:
            raise ValueError(f"Crew.bind: got {len(tapes)} tapes for {self._count + 1} threads")
        addresses = np.array([t.address for t in tapes], np.int64)
        together, first, desks = compiled().together, addresses.ctypes.data, self._desks
        count, post, relax = len(tapes), self._post, self._relax

        def run() -> None:
            together(first, desks, count, post, relax)
        run.held = addresses, tapes
        return run


def soon(work: Callable[[], object]) -> None:
    """Do `work` on the thread in the background that compiles."""
    global _waiting
    if _waiting is None:
        _waiting = queue.SimpleQueue()
        thread = threading.Thread(target=_work, args=(_waiting,), daemon=True)
        thread.start()
        atexit.register(_stop, _waiting, thread)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
    _waiting.put(work)


def _forget() -> None:
    """A forked child has not got the thread."""
    global _waiting
    _waiting = None


def _work(waiting: queue.SimpleQueue) -> None:
    while True:
        work = waiting.get()
        if work is None:
            return
        work()


def settle() -> None:
    """Wait until all that was to be compiled so far is."""
    if _waiting is not None:
        done = threading.Event()
        _waiting.put(done.set)
        done.wait()


def _stop(waiting: queue.SimpleQueue, thread: threading.Thread) -> None:
    """At exit: drop what waits, and let what is being compiled end (LLVM must not be cut off)."""
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        pass
    waiting.put(None)
    thread.join(60)                                 # for ever, where a fork has caught numba's lock


__all__ = ["CALL", "Crew", "Tape", "available", "compiled", "info", "player", "settle", "skip",
           "soon", "write"]
