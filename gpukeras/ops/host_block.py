"""Blocks of a convolution on the host, and how a team shares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..blas import WORTH_SPLITTING, workers
from ..team import in_turn
from .host_scratch import member
from .window import Geometry

Run = Callable[[], object]


class Block(NamedTuple):
    """Images first:last and output rows top:bottom."""

    first: int
    last: int
    top: int
    bottom: int


def share_out(g: Geometry, filters: int, todo: list[Block],
              job: Callable[[list[Block]], list[Run]]) -> Run:
    """run() that does job(blocks) on each member of the team, where there is enough to do."""
    if 2.0 * g.images * g.places * g.taps * g.channels * filters < WORTH_SPLITTING:
        return in_turn(job(todo))
    crew = workers()
    jobs = []
    for number, part in enumerate(crew.split(len(todo))):
        with member(number):
            jobs.append(in_turn(job(todo[part])))
    return crew.bind(jobs)
