"""function(): a graph as something to call."""
from __future__ import annotations

from collections import OrderedDict
from typing import Any, Iterable, Sequence

import numpy as np

from .devices import Device, DeviceArray, Executable, adopt, current, on_host
from .errors import DtypeError, GraphError, ShapeError
from .graph.halves import numpy_dtype, plain, values_dtype
from .graph import Graph, Tensor, Variable, as_tensor, learning_phase, toposort
from .passes.bind import bind
from .passes.pipeline import compile_graph

SPECIALISATIONS = 32                               # kept per function; the least used one goes


class Function:
    """Computes `outputs` from arrays for `inputs`, and then gives variables their new values.

    It is specialised for each tuple of input shapes (and the learning phase) the first time they
    come.
    """

    def __init__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor],
                 updates: Iterable[tuple[Variable, Any]] = (), name: str | None = None,
                 learning_phase: bool | None = None) -> None:
        self.name = name or "function"
        self.phase = learning_phase
        self._all_inputs = list(inputs)
        self._phase_at, plain = _split_phase(self._all_inputs)
        self.graph = _checked_graph(plain, outputs, updates)
        self._plans: OrderedDict[tuple, tuple[Any, Any]] = OrderedDict()

    def __call__(self, inputs: Sequence[Any] = ()) -> list[np.ndarray]:
        executable = self.run(inputs)
        return executable.fetch()

    def run(self, inputs: Sequence[Any]):
        """Do all steps and leave the outputs on the device; the result's `fetch()` brings them."""
        arrays, phase = self._arrays(inputs)
        executable = self.specialise(tuple(a.shape for a in arrays), phase)
        executable.run(arrays)
        return executable

    def specialise(self, shapes: tuple[tuple[int, ...], ...], phase: bool | None = None):
        """The executable for inputs of these shapes, compiled if they are new."""
        if phase is None:
            phase = default_phase() if self.phase is None else bool(self.phase)
        key = (shapes, phase)
        device = current()
        found = self._plans.get(key)
        if found is not None and found[1].generation == device.generation:
            self._plans.move_to_end(key)
            return found[1]
        plan = found[0] if found else self._compile(shapes, phase, device)
        for variable in plan.variables:            # pools move their members: first of all
            device.storage(variable)
        executable = self._load(plan, device)
        executable.generation = device.generation
        self._plans[key] = (plan, executable)
        if len(self._plans) > SPECIALISATIONS:
            self._plans.popitem(last=False)
        return executable

    def _compile(self, shapes: tuple[tuple[int, ...], ...], phase: bool, device: Device) -> Any:
        return compile_graph(bind(self.graph, shapes, phase), device.target)

    def _load(self, plan: Any, device: Device) -> Executable:
        return device.load(plan)

    def _arrays(self, inputs: Sequence[Any]) -> tuple[list[np.ndarray], bool | None]:
        if len(inputs) != len(self._all_inputs):
            raise ShapeError(f"{self.name}: got {len(inputs)} inputs, "
                             f"expected {len(self._all_inputs)}")
        phase = None
        if self._phase_at is not None:
            inputs = list(inputs)
            phase = bool(inputs.pop(self._phase_at))
        return [_array(x, t) for x, t in zip(inputs, self.graph.inputs)], phase


_default_phase = False


def default_phase() -> bool:
    """The learning phase of functions that are not told."""
    return _default_phase


def set_default_phase(value: bool) -> None:
    global _default_phase
    _default_phase = bool(value)


def function(inputs: Sequence[Tensor], outputs: Sequence[Tensor],
             updates: Iterable[tuple[Variable, Any]] = (), name: str | None = None,
             learning_phase: bool | None = None) -> Function:
    """A Function; see there."""
    return Function(inputs, outputs, updates, name, learning_phase)


def _split_phase(inputs: list[Tensor]) -> tuple[int | None, list[Tensor]]:
    at = next((i for i, t in enumerate(inputs) if t is learning_phase()), None)
    return at, [t for t in inputs if t is not learning_phase()]


def _checked_graph(inputs, outputs, updates) -> Graph:
    pairs = []
    for variable, new in updates:
        new = as_tensor(new, variable.dtype)
        same = len(new.shape) == len(variable.shape) and all(
            a is None or a == b for a, b in zip(new.shape, variable.shape))
        if new.dtype != variable.dtype or not same:
            raise GraphError(f"update of {variable.name}: got {new.type}, expected {variable.type}")
        pairs.append((variable, new))
    twice = [v for v, _ in pairs]
    if len(set(twice)) < len(twice):
        name = next(v.name for v in twice if twice.count(v) > 1)
        raise GraphError(f"{name} has two updates in one function: expected one")
    graph = Graph(tuple(inputs), tuple(as_tensor(t) for t in outputs), tuple(pairs))
    return _with_counters(graph)


def _with_counters(graph: Graph) -> Graph:
    """A function that reads a counter (the step of the random numbers) moves it on."""
    updated = {v for v, _ in graph.updates}
    counters = [n.outputs[0] for n in toposort(graph.roots)
                if getattr(n.outputs[0], "counts_calls", False) and n.outputs[0] not in updated]
    return Graph(graph.inputs, graph.outputs, graph.updates + tuple((v, v + 1) for v in counters))


def _array(x: Any, t: Tensor) -> np.ndarray:
    """An input as an array that fits its tensor; arrays of the right type are not copied."""
    if not isinstance(x, np.ndarray):
        x = adopt(x)
        if isinstance(x, DeviceArray) and x.dtype != numpy_dtype(t.dtype):
            x = on_host(x)
    try:
        array = x
        if not isinstance(x, DeviceArray):
            array = plain(x if isinstance(x, np.ndarray) else np.asarray(x, values_dtype(t.dtype)))
    except (ValueError, TypeError) as error:
        raise DtypeError(f"input {t.name}: cannot make an array of type {t.dtype}: "
                         f"{error}") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"input {t.name}: got data of type {array.dtype}, expected {t.dtype}")
    fits = array.ndim == t.ndim and all(b is None or a == b for a, b in zip(array.shape, t.shape))
    if not fits:
        raise ShapeError(f"input {t.name}: got shape {array.shape}, expected {t.shape}")
    return array
