"""A Scan on a CUDA device: the launches of all steps, bound one after the other, ready to be
captured."""
from __future__ import annotations

from typing import Callable

from ..ops.scan import Scan
from ..passes.pipeline import compile_graph
from .array import DeviceArray

Call = Callable[[], None]


def bind_scan(parent, op: Scan, ins: list[DeviceArray], outs: list[DeviceArray]) -> list[Call]:
    """Calls that walk all steps, for the executable `parent`.

    Slices are views; a state is read where the step before left it.
    """
    body, device, driver = op.body, parent.device, parent.driver
    seqs, states, consts = body.split(ins)
    schedule = compile_graph(body.graph, device.target)
    carried = [None if keep else driver.empty(s.shape, s.dtype) for s, keep in zip(states, op.keep)]
    calls = [driver.bind_copy(c, s) for c, s in zip(carried, states) if c is not None]
    now = [s if c is None else c for s, c in zip(states, carried)]
    shared, arena = {}, None
    for t in range(seqs[0].shape[0])[::-1 if op.reverse else 1]:
        given = dict(zip(schedule.inputs, [_slice(s, t) for s in seqs] + now + consts))
        step = type(parent)(device, schedule, given={**shared, **given}, arena=arena)
        arena = step.arena
        shared = {value: step.array(value) for value in schedule.constants}
        parent.host_steps += step.host_steps
        values, aside = _set_aside(driver, step.outputs, carried)
        calls += step.calls + aside
        for i, (out, value) in enumerate(zip(outs, values)):
            if i < len(states) and carried[i] is not None:
                calls.append(driver.bind_copy(carried[i], value))
            else:
                place = _slice(out, t)
                calls.append(driver.bind_copy(place, value))
                if i < len(states):
                    now[i] = place
    calls += [driver.bind_copy(out, c) for out, c in zip(outs, carried) if c is not None]
    return calls


def _set_aside(driver, values: list[DeviceArray], carried: list) -> tuple[list, list[Call]]:
    """Copies of the values that are themselves carried states, about to be overwritten."""
    places = {c.ptr for c in carried if c is not None}
    calls: list[Call] = []
    kept = []
    for value in values:
        if value.ptr in places:
            copy = driver.empty(value.shape, value.dtype)
            calls.append(driver.bind_copy(copy, value))
            value = copy
        kept.append(value)
    return kept, calls


def _slice(array: DeviceArray, t: int) -> DeviceArray:
    """array[t]"""
    shape = array.shape[1:]
    size = 1
    for d in shape:
        size *= d
    return array.view(shape=shape, offset=t * size * array.dtype.itemsize)
