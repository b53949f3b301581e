"""Plan: where every value lives. One arena per function, laid out once; a step allocates nothing.

In this order: values packed into one vector are computed inside it, new values of variables are
written over
the old ones where nobody reads those any more, and the rest share the arena by their lifetimes.
"""
from __future__ import annotations

from ..graph import Variable
from ..ops.fused import Fused
from ..ops.math import Copy, Elementwise
from ..ops.shape import Pack, pack_offsets
from .pool import Pool
from .schedule import Schedule, Step, Value

ALIGN = 256                                        # bytes: what CUDA's own allocator guarantees


def plan(schedule: Schedule, filled: int = 0) -> Schedule:
    """Give every value its memory (in place) and return the schedule.

    filled: so many of the first inputs are written where the schedule puts them, never bound to
    other memory, so that they too may lie inside a packed vector.
    """
    persistent = _elide_packs(schedule, frozenset(map(id, schedule.inputs[:filled])))
    _update_in_place(schedule)
    _lay_out(schedule, persistent)
    return schedule


def _elide_packs(schedule: Schedule, movable: frozenset[int]) -> set[int]:
    """Drop Pack steps: their inputs are computed in place in the packed vector, inputs of the
    schedule too if they are `movable`. Returns those vectors."""
    outputs = {id(v.root()[0]) for v in schedule.outputs}
    packed: set[int] = set()
    steps = []
    for step in schedule.steps:
        if not isinstance(step.op, Pack):
            steps.append(step)
            continue
        whole, = step.outs
        packed.add(id(whole))
        offsets = pack_offsets([v.type for v in step.ins])
        rest = []
        for value, start in zip(step.ins, offsets):
            root, skip = value.root()
            at = start * whole.type.itemsize
            if ((root.kind == "temp" or id(root) in movable) and not skip
                    and root.type.nbytes == value.type.nbytes
                    and id(root) not in outputs and id(root) not in packed):
                root.base, root.offset = whole, at
            else:
                rest.append((value, at))
        steps += [_copy_step(step, value, whole, at) for value, at in rest]
    schedule.steps = steps
    return packed


def _copy_step(step: Step, value: Value, whole: Value, at: int) -> Step:
    """Copy one value to its place in a packed vector."""
    part = Value(value.type, "temp", base=whole, offset=at)
    return Step(Copy(), (value,), (part,), step.origin)


def _update_in_place(schedule: Schedule) -> None:
    """Let an update's value be computed in the variable's own memory where that hurts nobody."""
    last_read = _last_reads(schedule)
    made = {id(v): i for i, s in enumerate(schedule.steps) for v in s.outs}
    outputs = {id(v.root()[0]) for v in schedule.outputs}
    claimed: set[int] = set()
    for variable, value in schedule.assigns:
        root, skip = value.root()
        target = schedule.variables[variable]
        if (root.kind != "temp" or skip or root.type.nbytes != variable.type.nbytes
                or id(root) not in made or id(root) in claimed or id(root) in outputs):
            continue
        at = made[id(root)]
        step = schedule.steps[at]
        others = max((last_read.get(v, -1) for v in _sharing(variable, schedule)), default=-1)
        same_step_ok = _reads_elementwise(step, variable)
        if others < at or (others == at and same_step_ok):
            root.base, root.offset = target, 0
            claimed.add(id(root))


def _last_reads(schedule: Schedule) -> dict[Variable, int]:
    last: dict[Variable, int] = {}
    for i, step in enumerate(schedule.steps):
        for v in step.ins:
            root, _ = v.root()
            if root.kind == "variable":
                last[root.tensor] = i
    return last


def _sharing(variable: Variable, schedule: Schedule) -> list[Variable]:
    """The variables of the schedule whose memory overlaps with this one's."""
    members = set(variable.members) if isinstance(variable, Pool) else {variable}
    found = []
    for other in schedule.variables:
        parts = set(other.members) if isinstance(other, Pool) else {other}
        if other is variable or parts & members:
            found.append(other)
    return found


def _reads_elementwise(step: Step, variable: Variable) -> bool:
    """The step reads the variable (itself, in full) only element by element."""
    if not isinstance(step.op, (Fused, Elementwise)):
        return False
    for v in step.ins:
        root, _ = v.root()
        if root.tensor is variable and v.type.size != variable.type.size:
            return False
    return all(not (root.kind == "variable" and _overlap(root.tensor, variable))
               for root in (v.root()[0] for v in step.ins) if root.tensor is not variable)


def _overlap(a: Variable, b: Variable) -> bool:
    parts_a = set(a.members) if isinstance(a, Pool) else {a}
    parts_b = set(b.members) if isinstance(b, Pool) else {b}
    return bool(parts_a & parts_b)


# ---- the arena

def _lay_out(schedule: Schedule, persistent: set[int]) -> None:
    """Offsets in the arena for all inputs and temps, by first use and last use."""
    first, last = _lifetimes(schedule)
    for v in schedule.inputs:
        root, _ = v.root()
        first[root] = -1
        last[root] = len(schedule.steps)           # the caller refills them before each run
    for v in list(first):
        if id(v) in persistent:                    # the gaps of a packed vector stay zero for good
            first[v], last[v] = -1, len(schedule.steps)
    space = _Space()
    births: dict[int, list[Value]] = {}
    deaths: dict[int, list[Value]] = {}
    for v in first:
        births.setdefault(first[v], []).append(v)
        deaths.setdefault(last[v], []).append(v)
    for i in range(-1, len(schedule.steps)):
        step = schedule.steps[i] if i >= 0 else None
        dying = deaths.get(i, [])
        for v in births.get(i, []):
            heir = _take_over(v, dying, step)
            if heir is not None:
                v.place, heir_size = heir.place, _size(heir)
                space.owner[v.place] = heir_size
                dying.remove(heir)
            else:
                v.place = space.take(_size(v))
        for v in dying:
            space.give(v.place)
    schedule.arena_bytes = space.top


def _lifetimes(schedule: Schedule) -> tuple[dict[Value, int], dict[Value, int]]:
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for i, step in enumerate(schedule.steps):
        for v in step.outs + step.ins:
            root, _ = v.root()
            if root.kind == "temp":
                first.setdefault(root, i)
                last[root] = i
    for v in schedule.outputs + [value for _, value in schedule.assigns]:
        root, _ = v.root()
        if root.kind == "temp":
            first.setdefault(root, -1)
            last[root] = len(schedule.steps)
    return first, last


def _size(v: Value) -> int:
    return max(ALIGN, -(-v.type.nbytes // ALIGN) * ALIGN)


def _take_over(v: Value, dying: list[Value], step: Step | None) -> Value | None:
    """An input of an elementwise step that dies here and whose memory the result may use."""
    if step is None or not isinstance(step.op, (Fused, Elementwise)):
        return None
    for d in dying:
        if d.kind != "temp" or _size(d) != _size(v) or d.type.itemsize != v.type.itemsize:
            continue
        reads = [u for u in step.ins if u.root()[0] is d]
        if reads and all(u.type.size == v.type.size and not u.root()[1] for u in reads):
            return d
    return None


class _Space:
    """Best-fit free list over one arena."""

    def __init__(self) -> None:
        self.free: list[tuple[int, int]] = []      # (start, size), sorted by start
        self.owner: dict[int, int] = {}            # start -> size of what is taken
        self.top = 0

    def take(self, size: int) -> int:
        fits = [(s, a) for a, s in self.free if s >= size]
        if fits:
            have, start = min(fits)
            self.free.remove((start, have))
            if have > size:
                self._insert(start + size, have - size)
        else:
            start, self.top = self.top, self.top + size
        self.owner[start] = size
        return start

    def give(self, start: int) -> None:
        self._insert(start, self.owner.pop(start))

    def _insert(self, start: int, size: int) -> None:
        merged = []
        for a, s in self.free:
            if a + s == start:
                start, size = a, s + size
            elif start + size == a:
                size += s
            else:
                merged.append((a, s))
        merged.append((start, size))
        self.free = sorted(merged)
