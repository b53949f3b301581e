"""A small team of threads for host work: halves of a batch, halves of a matrix product.

NumPy and BLAS release Python's lock while they compute, so plain threads are enough.  Each member
waits on its own lock (no spinning); to hand work over costs 10 to 100 us.  Where numba is
installed, work is handed over in a microsecond (native/).  The split is fixed by the number of
threads, so results repeat bit by bit on the same machine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from . import native
from .config import flag
from .denormals import flushing

MOST = 16                     # more threads than this lose on the sizes that one training step has

_team: Team | None = None


def usable_cpus() -> int:
    """CPUs this process may use: affinity mask and container quota taken into account."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:                          # macOS, Windows
        count = os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return count


def wanted_threads() -> int:
    """GPUKERAS_THREADS, else the usable CPUs, never more than OMP_NUM_THREADS or
    OPENBLAS_NUM_THREADS allow (they are how people ask for a quiet process)."""
    own = flag("GPUKERAS_THREADS").strip()
    if own:
        if not own.isdigit() or int(own) < 1:
            raise ValueError(f"GPUKERAS_THREADS: got {own!r}, expected a whole number from 1")
        return min(int(own), MOST)
    count = usable_cpus()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if value.isdigit() and int(value) > 0:
            count = min(count, int(value))
    return min(count, MOST)


class _Member:
    """One waiting thread: `start(job)`, later `finish()`.

    A member that has not woken when the caller is done is not waited for: whoever takes the job out
    of `todo` does it.
    """

    def __init__(self, name: str) -> None:
        self.go, self.done = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.done.acquire()
        self.todo: list[Callable[[], object]] = []              # at most one
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        flushing()[0]()                             # as the caller's thread does
        np.seterr(all="ignore")
        while True:
            self.go.acquire()
            try:
                job = self.todo.pop()
            except IndexError:                      # came too late: the caller did it
                continue
            try:
                job()
            except BaseException as error:          # handed to the caller by finish()
                self.error = error
            self.done.release()

    def start(self, job: Callable[[], object]) -> None:
        self.todo.append(job)
        if self.go.locked():                        # else it is still waking up from last time
            self.go.release()

    def finish(self) -> BaseException | None:
        """Wait for the job, or do it here if it has not begun."""
        try:
            job = self.todo.pop()
        except IndexError:
            self.done.acquire()
            error, self.error = self.error, None
            return error
        try:
            job()
        except BaseException as error:
            return error
        return None


class Team:
    """`size` threads, the caller being one of them; `bind(jobs)` makes one callable of several."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._members: list[_Member] = []
        self._crew: native.Crew | None = None
        self._busy = threading.Lock()

    def bind(self, jobs: Sequence[Callable[[], object]]) -> Callable[[], None]:
        """run() that does all `jobs` (independent of each other) and returns when all are done."""
        jobs = tuple(jobs)
        if len(jobs) == 1:
            return jobs[0]
        if self.size == 1:
            return in_turn(jobs)
        if len(jobs) > self.size:
            raise ValueError(f"Team.bind: got {len(jobs)} jobs for {self.size} threads")
        return _Bound(self, jobs)

    def together(self, jobs: Sequence[Callable[[], object]]) -> bool:
        """Do the jobs at the same time; False, and nothing done, while another Python thread has
        the team."""
        if not self._busy.acquire(blocking=False):
            return False
        try:
            members = self._members
            while len(members) < len(jobs) - 1:     # threads start with the first work
                members.append(_Member(f"gpukeras-{len(members) + 1}"))
            for member, job in zip(members, jobs[1:]):
                member.start(job)
            try:
                jobs[0]()
            finally:
                errors = [member.finish() for member, _ in zip(members, jobs[1:])]
        finally:
            self._busy.release()
        for error in errors:
            if error is not None:
                raise error
        return True

    def native(self, tapes: Sequence[native.Tape]) -> Callable[[], bool]:
        """together() for tapes.  Raises OSError where the system has no semaphores."""
        with self._busy:
            if self._crew is None:
                self._crew = native.Crew(self.size)
        crew, busy = self._crew, self._busy
        run = crew.bind(tapes)

        def together() -> bool:
            if self._crew is not crew or not busy.acquire(blocking=False):
                return False                        # a forked child has not got the threads
            try:
                run()
            finally:
                busy.release()
            return True
        return together

    def split(self, count: int, least: int = 1) -> list[slice]:
        """At most `size` slices of range(count), near equal, none shorter than `least`."""
        parts = max(1, min(self.size, count // max(1, least)))
        edges = [count * i // parts for i in range(parts + 1)]
        return [slice(a, b) for a, b in zip(edges, edges[1:])]


class Faster:
    """Work that may be shared out, done in whichever way is faster.

    Beside other programs a thread may wait long for its processor or for Python's lock, and sharing
    out costs more than it gains.  So both ways are timed (running means), the faster one is taken,
    and now and then the other one is tried again, the more seldom the slower it was.  The results
    are the same either way.

    # Arguments
        shared: does the work with several threads; False, and nothing done, if it cannot.
        alone: does it on this thread.
        shared_first: whether the first calls, which touch cold memory, are shared out.
    """

    TRIALS, AGAIN, SELDOM = 2, 50, 500
    # weight of a faster call and of a slower one; nobody knows what else a much slower one met
    DOWN, UP, MOST = 0.8, 0.25, 2.0

    def __init__(self, shared: Callable[[], bool], alone: Callable[[], object],
                 shared_first: bool = False) -> None:
        self._shared_first = shared_first
        self.use(shared, alone)

    def use(self, shared: Callable[[], bool], alone: Callable[[], object]) -> None:
        """Begin anew with these two ways."""
        self._ways, self.calls = (shared, alone), 0
        self.alone, self.shared, self._next = 0.0, 0.0, 4 * self.TRIALS     # seconds, seconds, call

    def __call__(self) -> None:
        self.calls += 1
        first = self.calls <= self.TRIALS
        share = self._shared_first if first else self.shared <= self.alone
        if self.calls == self._next:
            share = not share
        shared, alone = self._ways
        start = perf_counter()
        if share and shared():
            self.shared = self._mean(self.shared, perf_counter() - start, first)
        else:
            alone()
            self.alone = self._mean(self.alone, perf_counter() - start, first)
        if self.calls >= self._next:
            self._next = self.calls + min(self.calls, self._interval())

    def _mean(self, before: float, taken: float, first: bool) -> float:
        if first or not before:
            return taken
        if taken < before:
            return before + (taken - before) * self.DOWN
        return before + (min(taken, self.MOST * before) - before) * self.UP

    def _interval(self) -> int:
        """Calls until the slower way is tried again: trials shall cost a fiftieth of the time, for
        what made it slow may have passed."""
        low, high = sorted((self.shared, self.alone))
        return int(min(self.AGAIN * (high / low - 1) + 4, self.SELDOM)) if low else self.AGAIN


class _Bound(Faster):
    """What Team.bind makes: jobs at the same time or in turn, soon as tapes if they can be."""

    CALLS = 5                                       # before they are written as tapes

    def __init__(self, crew: Team, jobs: Sequence[Callable[[], object]]) -> None:
        super().__init__(lambda: crew.together(jobs), in_turn(jobs))
        self._crew, self._jobs = crew, jobs
        self._waits = native.available()

    def __call__(self) -> None:
        super().__call__()
        if self._waits and self.calls >= self.CALLS:
            self._waits = False
            native.soon(self.rewrite)

    def rewrite(self) -> bool:
        """Let compiled code do the jobs from now on, if it can: whether it will."""
        tapes = [native.write(job) for job in self._jobs]
        if None in tapes:
            return False
        try:
            shared = self._crew.native(tapes)
        except OSError:
            return False
        self.use(shared, in_turn(list(map(native.player, tapes))))
        return True


def in_turn(jobs: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """run() that does `jobs` one after the other."""
    jobs = tuple(jobs)
    if len(jobs) == 1:
        return jobs[0]

    def run() -> None:
        for job in jobs:
            job()
    run.jobs = jobs                                 # native/tape.py looks inside
    return run


_alone = threading.local()


@contextmanager
def alone() -> Iterator[None]:
    """Work that is bound in this block, by this thread, stays on the thread that runs it."""
    before = getattr(_alone, "team", None)
    _alone.team = Team(1)
    try:
        yield
    finally:
        _alone.team = before


def team() -> Team:
    """The process's team, made at first use (and again in a forked child: threads do not fork);
    inside `alone` a team of one."""
    global _team
    single = getattr(_alone, "team", None)
    if single is not None:
        return single
    if _team is None:
        _team = Team(wanted_threads())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
    return _team


def _forget() -> None:
    if _team is not None:
        _team.__init__(_team.size)
