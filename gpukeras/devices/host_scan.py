"""A Scan on the host: its body is compiled once, its calls bound once, and a run loops over
them."""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..ops.scan import Scan
from ..passes.pipeline import compile_graph

Moves = list[tuple[np.ndarray, np.ndarray]]        # (to, from)


def bind_scan(device, op: Scan, ins: tuple[np.ndarray, ...], outs: tuple[np.ndarray, ...]
              ) -> Callable[[], None]:
    """run() that walks all steps. What stays the same is read in place, slices and states are
    copied."""
    body = op.body
    seqs, states, consts = body.split(ins)
    varying = [None] * (len(seqs) + len(states))
    inner = device.load(compile_graph(body.graph, device.target), given=varying + consts)
    seq_slots = inner.inputs[:len(seqs)]
    state_slots = inner.inputs[len(seqs):len(varying)]
    new_states = inner.outputs[:len(states)]
    length = seqs[0].shape[0]
    before: Moves = list(zip(state_slots, states))
    after: Moves = [(out, slot) for out, slot, keep in zip(outs, state_slots, op.keep) if not keep]
    collected = [(out, value) for i, (out, value) in enumerate(zip(outs, inner.outputs))
                 if i >= len(states) or op.keep[i]]
    steps: list[tuple[Moves, Moves]] = []
    for t in range(length)[::-1 if op.reverse else 1]:
        come = [(slot, seq[t, ...]) for slot, seq in zip(seq_slots, seqs)]
        go = [(out[t, ...], value) for out, value in collected]
        steps.append((come, go + _carry(state_slots, new_states)))
    calls = inner.calls

    def run() -> None:
        copyto = np.copyto
        for to, source in before:
            copyto(to, source)
        for come, go in steps:
            for to, source in come:
                copyto(to, source)
            for call in calls:
                call()
            for to, source in go:
                copyto(to, source)
        for to, source in after:
            copyto(to, source)
    return run


def _carry(slots: list[np.ndarray], new: list[np.ndarray]) -> Moves:
    """New states into their slots; one that is itself a slot (two states that change places) goes
    aside
    first."""
    moves: Moves = []
    late: Moves = []
    for slot, value in zip(slots, new):
        if any(np.may_share_memory(value, s) for s in slots if s is not slot):
            aside = np.empty_like(value)
            moves.append((aside, value))
            value = aside
        late.append((slot, value))
    return moves + late
