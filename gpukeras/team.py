"""A small team of threads for host work: halves of a batch, halves of a matrix product.

NumPy and BLAS release Python's lock while they compute, so plain threads are enough.  Each member
waits on its own lock (no spinning), which costs some 10 us per hand-over: only work of 100 us and
more is worth splitting.  The split is fixed by the number of threads, so results repeat bit by bit
on the same machine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from .config import flag

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
    """One waiting thread: `start(job)`, later `finish()`."""

    def __init__(self, name: str) -> None:
        self.go, self.done = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.done.acquire()
        self.job: Callable[[], object] | None = None
        self.error: BaseException | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            self.go.acquire()
            try:
                self.job()
            except BaseException as error:          # handed to the caller by finish()
                self.error = error
            self.done.release()

    def start(self, job: Callable[[], object]) -> None:
        self.job = job
        self.go.release()

    def finish(self) -> BaseException | None:
        self.done.acquire()
        error, self.error = self.error, None
        return error


class Team:
    """`size` threads, the caller being one of them; `bind(jobs)` makes one callable of several."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._members: list[_Member] = []
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
        return _Shared(self, jobs)

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

    def split(self, count: int, least: int = 1) -> list[slice]:
        """At most `size` slices of range(count), near equal, none shorter than `least`."""
        parts = max(1, min(self.size, count // max(1, least)))
        edges = [count * i // parts for i in range(parts + 1)]
        return [slice(a, b) for a, b in zip(edges, edges[1:])]


class _Shared:
    """Jobs done together while that is faster than one after the other.

    Beside other programs a thread may wait long for its processor or for Python's lock, and sharing
    out costs more than it gains.  So the jobs are timed both ways: after three losses in a row they
    run in turn for a while (8 times, then twice as often each time), and then try again.  The
    results are the same either way.
    """

    TRIALS, LOSSES, REST, LONGEST = 2, 3, 8, 512

    def __init__(self, team: Team, jobs: tuple[Callable[[], object], ...]) -> None:
        self.team, self.jobs = team, jobs
        self.in_turn = self.TRIALS                  # calls to come that are done in turn
        self.losses, self.rest = 0, self.REST
        self.alone = float("inf")                   # seconds, the jobs one after the other

    def __call__(self) -> None:
        start = perf_counter()
        if self.in_turn or not self.team.together(self.jobs):
            for job in self.jobs:
                job()
            self.alone = perf_counter() - start
            self.in_turn = max(0, self.in_turn - 1)
        elif perf_counter() - start <= self.alone:
            self.losses, self.rest = 0, self.REST
        else:
            self.losses += 1
            if self.losses == self.LOSSES:
                self.losses, self.in_turn = 0, self.rest
                self.rest = min(2 * self.rest, self.LONGEST)


def in_turn(jobs: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """run() that does `jobs` one after the other."""
    jobs = tuple(jobs)
    if len(jobs) == 1:
        return jobs[0]

    def run() -> None:
        for job in jobs:
            job()
    return run


def team() -> Team:
    """The process's team, made at first use (and again in a forked child: threads do not fork)."""
    global _team
    if _team is None:
        _team = Team(wanted_threads())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
    return _team


def _forget() -> None:
    if _team is not None:
        _team.__init__(_team.size)
