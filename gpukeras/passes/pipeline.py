"""The list of passes, in order, and what is checked around them."""
from __future__ import annotations

import time
from typing import Callable

from ..config import number
from ..errors import GraphError
from ..graph import Graph, print_graph, toposort
from .attach import attach
from .centre import centre
from .condense import condense
from .cut import cut
from .epilogues import epilogues
from .expand import expand
from .fuse import fuse
from .halve import halve
from .layout import layout
from .lower import lower
from .narrow import narrow
from .near import near
from .plan import plan
from .pool import pool
from .recurrent import recurrent
from .schedule import Schedule, make_schedule
from .simplify import simplify, write_out
from .stabilise import stabilise
from .target import Target

PASSES: list[tuple[str, Callable[[Graph, Target], Graph]]] = [
    ("simplify", lambda graph, target: simplify(graph)),
    ("layout", lambda graph, target: layout(graph)),
    ("narrow", lambda graph, target: narrow(graph)),
    ("centre", lambda graph, target: centre(graph)),
    ("stabilise", lambda graph, target: stabilise(graph)),
    ("condense", condense),
    ("expand", expand),
    ("lower", lambda graph, target: graph if target.kernels else lower(graph)),
    ("simplify again", lambda graph, target: layout(simplify(graph))),
    ("recurrent", recurrent),
    ("near", near),
    ("attach", attach),
    ("pool", lambda graph, target: pool(graph)),
    ("halve", lambda graph, target: halve(graph) if target.kernels else graph),
    ("epilogues", epilogues),
    ("cut", cut),
    ("fuse", fuse),
    ("write out", lambda graph, target: write_out(graph)),
]


def compile_graph(graph: Graph, target: Target, filled: int = 0) -> Schedule:
    """Run all passes over a bound graph, put it in order, and plan its memory; `filled`: see
    `plan`."""
    times = []
    for name, transform in PASSES:
        start = time.perf_counter()
        new = transform(graph, target)
        times.append((name, time.perf_counter() - start))
        _check_types(name, graph, new)
        if number("GPUKERAS_DEBUG") >= 3 and new.roots != graph.roots:
            print(f"--- after {name}\n{print_graph(new.roots)}")
        graph = new
    start = time.perf_counter()
    schedule = plan(make_schedule(graph, together=target.kernels), filled)
    times.append(("schedule and plan", time.perf_counter() - start))
    if number("GPUKERAS_DEBUG") >= 1:
        spent = ", ".join(f"{n} {1e3 * t:.1f} ms" for n, t in times)
        print(f"gpukeras: {len(toposort(graph.roots))} nodes -> {len(schedule.steps)} steps, "
              f"arena {schedule.arena_bytes / 2**20:.2f} MiB ({spent})")
    if number("GPUKERAS_DEBUG") >= 2:
        print(schedule)
    return schedule


def _check_types(name: str, before: Graph, after: Graph) -> None:
    for a, b in zip(before.outputs, after.outputs, strict=True):
        if a.type != b.type:
            raise GraphError(f"pass {name} changed the type of an output: {a.type} became {b.type}")
