"""Work shared out piece by piece: one thread walks over time, the others follow or run ahead.

Two threads that both make short calls wait for each other at Python's lock. So where a thread's
rows of the batch would be few, one thread makes all the short calls, and what does not depend on
the step before (products with the inputs, gradients of weights and inputs) is cut into a few long
ones that any thread may take. The results do not depend on who did.
"""
from __future__ import annotations

from collections.abc import Sequence
from threading import Condition

from .host_block import Run


class Relay:
    """Pieces of work in rounds: pieces[round][lane]. Within a lane rounds go in their order.

    A run begins with `begin(rounds that may be done)`; the walker calls `allow()` for one round
    more and `reach(rounds)`, which helps until so many are done; others `follow()`.
    """

    def __init__(self, pieces: Sequence[Sequence[Run]]) -> None:
        self.pieces, self.rounds = pieces, len(pieces)
        self.lanes = range(len(pieces[0]))
        self._change = Condition()
        self.begin(0)

    def begin(self, allowed: int = 0) -> None:
        """Nothing is done; so many rounds may be."""
        self.allowed, self.failed = allowed, False
        self.done = [0 for _ in self.lanes]         # rounds, by lane
        self.free = [True for _ in self.lanes]

    def allow(self) -> None:
        """One round more may be done."""
        with self._change:
            self.allowed += 1
            self._change.notify_all()

    def reach(self, rounds: int) -> None:
        """Help until all lanes have done so many rounds."""
        while min(self.done) < rounds and not self.failed:
            self._help(rounds)

    def follow(self) -> None:
        """Do what may be done until all is done."""
        self.reach(self.rounds)

    def stop(self) -> None:
        """Nobody waits any longer: something has failed."""
        with self._change:
            self.failed = True
            self._change.notify_all()

    def _help(self, rounds: int) -> None:
        """Do one piece of work, or wait until there may be one."""
        with self._change:
            lane = self._next(min(rounds, self.allowed))
            if lane is None:
                if min(self.done) < rounds and not self.failed:
                    self._change.wait()
                return
            self.free[lane] = False
        try:
            self.pieces[self.done[lane]][lane]()
        except BaseException:
            self.stop()
            raise
        with self._change:
            self.done[lane] += 1
            self.free[lane] = True
            self._change.notify_all()

    def _next(self, rounds: int) -> int | None:
        """The free lane that is furthest behind."""
        found = [(self.done[i], i) for i in self.lanes if self.free[i] and self.done[i] < rounds]
        return min(found)[1] if found else None

    def jobs(self, walk: Run, threads: int) -> list[Run]:
        """`walk` and the rest of the work, for a team; the others stop if the walk fails."""
        def run() -> None:
            try:
                walk()
            except BaseException:
                self.stop()
                raise
            self.follow()
        return [run, *[self.follow] * (threads - 1)]
