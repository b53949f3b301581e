"""Schedule: a graph as a flat list of steps over values that have a place in memory."""
from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import GraphError
from ..graph import Constant, Graph, Op, Origin, Placeholder, Tensor, TensorType, Variable, toposort
from ..graph.leaves import Leaf
from ..graph.origin import NOWHERE
from ..ops.linalg import CutDot, Dot
from ..ops.math import Copy
from ..ops.shape import Part


@dataclass(eq=False)
class Value:
    """A tensor in memory.

    kind: "input", "constant", "variable" (state, its memory is not ours), or "temp". A value with
    a `base`
    shares the memory of that value, `offset` bytes in. `place` is the byte offset in the arena,
    set by `plan`.
    """

    type: TensorType
    kind: str
    tensor: Tensor | None = None
    base: "Value | None" = None
    offset: int = 0
    place: int = -1

    def root(self) -> tuple["Value", int]:
        """The value that owns the memory, and how many bytes into it this one starts."""
        value, offset = self, 0
        while value.base is not None:
            offset += value.offset
            value = value.base
        return value, offset


@dataclass(eq=False)
class Step:
    """One op on values."""

    op: Op
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    origin: Origin

    @property
    def nbytes(self) -> int:
        """Bytes that the step reads and writes, each value once."""
        return sum(v.type.nbytes for v in {*self.ins, *self.outs})

    @property
    def flops(self) -> int:
        """Floating-point operations, about."""
        return self.op.flops(tuple(v.type for v in self.ins), tuple(v.type for v in self.outs))

    def __str__(self) -> str:
        left = ", ".join(str(v.type) for v in self.outs)
        return f"{left} = {self.op!r:.70}({', '.join(str(v.type) for v in self.ins)})"


@dataclass(eq=False)
class Schedule:
    """Steps in order. After the last one, every (variable, value) of `assigns` is copied into its
    variable
    unless the value already is the variable's memory."""

    steps: list[Step]
    inputs: list[Value]
    outputs: list[Value]
    assigns: list[tuple[Variable, Value]]
    variables: dict[Variable, Value] = field(default_factory=dict)
    constants: list[Value] = field(default_factory=list)
    arena_bytes: int = 0

    def __str__(self) -> str:
        return "\n".join(f"{i:3} {s}  # {s.nbytes:,} bytes, {s.flops:,} flops"
                         + (f", {s.origin}" if str(s.origin) else "")
                         for i, s in enumerate(self.steps))


def make_schedule(graph: Graph, together: bool = False) -> Schedule:
    """Steps of a graph in dependency order; views become values that share memory.

    together: small steps stand next to each other, for a device that merges their launches.
    """
    values: dict[Tensor, Value] = {}
    schedule = Schedule([], [], [], [])
    for t in graph.inputs:
        values[t] = Value(t.type, "input", t)
        schedule.inputs.append(values[t])
    for variable, _ in graph.updates:
        _leaf(variable, values, schedule)
    for node in toposort(graph.roots):
        if isinstance(node.op, Leaf):
            for t in node.outputs:
                _leaf(t, values, schedule)
            continue
        ins = tuple(values[t] for t in node.inputs)
        if node.op.view:
            t = node.outputs[0]
            start = node.op.start * t.type.itemsize if isinstance(node.op, Part) else 0
            values[t] = Value(t.type, "temp", t, base=ins[0], offset=start)
            continue
        outs = tuple(Value(t.type, "temp", t) for t in node.outputs)
        values.update(zip(node.outputs, outs))
        schedule.steps.append(Step(node.op, ins, outs, node.origin))
    schedule.outputs = [values[t] for t in graph.outputs]
    schedule.assigns = [(v, values[t]) for v, t in graph.updates]
    early, late = _late_updates(schedule)
    schedule.steps = (_small_together(early) if together else early) + late
    _keep_old_state(schedule)
    return schedule


def _leaf(t: Tensor, values: dict[Tensor, Value], schedule: Schedule) -> None:
    if t in values:
        return
    if isinstance(t, Variable):
        values[t] = schedule.variables[t] = Value(t.type, "variable", t)
    elif isinstance(t, Constant):
        values[t] = Value(t.type, "constant", t)
        schedule.constants.append(values[t])
    elif isinstance(t, Placeholder):
        raise GraphError(f"the result depends on {t.name} {t.type}, which is not among the inputs. "
                         "Try: pass it to the function as an input")


def _keep_old_state(schedule: Schedule) -> None:
    """Outputs and new values that are the present state of some variable are copied before any
    update."""
    copies: dict[Value, Value] = {}

    def kept(value: Value) -> Value:
        if not schedule.assigns or value.root()[0].kind != "variable":
            return value
        if value not in copies:
            copies[value] = Value(value.type, "temp", value.tensor)
        return copies[value]

    schedule.outputs = [kept(v) for v in schedule.outputs]
    schedule.assigns = [(variable, kept(v)) for variable, v in schedule.assigns]
    schedule.steps[:0] = [Step(Copy(), (old,), (new,), NOWHERE) for old, new in copies.items()]


SMALL = 80 * 1024                                  # bytes that a small step reads and writes


def _is_small(step: Step) -> bool:
    """May its launch become part of another? A library's product never does."""
    if isinstance(step.op, (Dot, CutDot)):
        return False
    return sum(v.type.nbytes for v in step.ins + step.outs) <= SMALL


def _small_together(steps: list[Step]) -> list[Step]:
    """Small steps wait, all of them, until a large one needs one of them."""
    order: list[Step] = []
    waiting: list[Step] = []
    made: set[int] = set()                         # roots of what the waiting steps make
    for step in steps:
        if _is_small(step):
            waiting.append(step)
            made.update(id(v.root()[0]) for v in step.outs)
            continue
        if any(id(v.root()[0]) in made for v in step.ins):
            order += waiting
            waiting, made = [], set()
        order.append(step)
    return order + waiting


def _late_updates(schedule: Schedule) -> tuple[list[Step], list[Step]]:
    """(the other steps, those that update variables and whose results no step reads).

    The latter run last, so that every reader of an old value has run before and the update can be
    done in place; among them readers of what another one updates come first, then small ones.
    """
    targets = {id(value.root()[0]): variable for variable, value in schedule.assigns}
    read = {id(v.root()[0]) for s in schedule.steps for v in s.ins}
    late = [s for s in schedule.steps if any(id(v) in targets for v in s.outs)
            and not any(id(v) in read for v in s.outs)]
    chosen = set(map(id, late))
    early = [s for s in schedule.steps if id(s) not in chosen]
    updates = {id(s): {targets[id(v)] for v in s.outs if id(v) in targets} for s in late}
    reads = {id(s): {v.root()[0].tensor for v in s.ins if v.root()[0].kind == "variable"}
             for s in late}
    waiting, order = sorted(late, key=lambda s: not _is_small(s)), []
    while waiting:
        free = (s for s in waiting if not any(
            updates[id(s)] & reads[id(t)] for t in waiting if t is not s))
        step = next(free, waiting[0])              # two that read each other's: as it comes
        waiting.remove(step)
        order.append(step)
    return early, order
