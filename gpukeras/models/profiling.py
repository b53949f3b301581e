"""Where the time of a step goes: seconds, bytes and floating-point operations, by layer."""
import json
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from .. import devices
from ..passes.pool import Pool
from ..utils.io_utils import atomic_write

_NOBODY = "(no layer)"                             # of the optimizer, counters, the loss


@dataclass(frozen=True)
class StepTime:
    """One step of the compiled schedule.

    seconds: median over the runs. nbytes: what it reads and writes, each value once. flops: about,
    with a product and a sum counted apart; only the products of matrices in recurrent steps.
    """

    op: str
    layer: str
    seconds: float
    nbytes: int
    flops: int


class Profile:
    """The steps of a compiled train or predict step, timed one after the other.

    steps: list of StepTime, in the order they run. whole_seconds: one step as `fit` runs it, where
    small launches are merged and a GPU replays them as one graph. device: its name.
    """

    def __init__(self, name, device, steps, whole_seconds):
        self.name, self.device, self.steps = name, device, steps
        self.whole_seconds = whole_seconds

    def layers(self):
        """dict layer -> StepTime of all its steps together, the slowest first."""
        names = dict.fromkeys(s.layer for s in self.steps)
        sums = [_together([s for s in self.steps if s.layer == name]) for name in names]
        return {s.layer: s for s in sorted(sums, key=lambda s: -s.seconds)}

    def __repr__(self):
        return (f"<Profile of {self.name}: {len(self.steps)} steps, "
                f"{1e3 * self.whole_seconds:.3f} ms>")

    def __str__(self):
        total = _together(self.steps)
        lines = [f"{self.name} on {self.device}: {1e3 * self.whole_seconds:.3f} ms a step; its "
                 f"{len(self.steps)} parts one by one {1e3 * total.seconds:.3f} ms", "",
                 _HEADER.format("layer")]
        lines += [_line(s.layer, s, total) for s in self.layers().values()]
        lines += [_line("all", total, total), "", _HEADER.format("slowest parts")]
        slow = sorted(self.steps, key=lambda s: -s.seconds)[:12]
        return "\n".join(lines + [_line(f"{s.op}, {s.layer}", s, total) for s in slow])

    def save_trace(self, path):
        """Write the parts as a Chrome trace (JSON, for chrome://tracing or ui.perfetto.dev)."""
        events, at = [], 0.0
        for s in self.steps:
            events.append({"name": s.op, "cat": s.layer, "ph": "X", "ts": 1e6 * at, "pid": 1,
                           "tid": 1, "dur": 1e6 * s.seconds,
                           "args": {"layer": s.layer, "bytes": s.nbytes, "flops": s.flops}})
            at += s.seconds
        text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms",
                           "otherData": {"model": self.name, "device": self.device}})
        with atomic_write(path) as part, open(part, "w", encoding="utf-8") as file:
            file.write(text)


_HEADER = "{:44}" + f"{'ms':>11}{'%':>7}{'MB':>10}{'GB/s':>9}{'MFLOP':>10}{'GFLOP/s':>10}"


def _line(name, s, total):
    seconds = s.seconds or float("inf")
    name = name if len(name) <= 44 else name[:41] + "..."
    return (f"{name:44}{1e3 * s.seconds:11.3f}{100 * s.seconds / (total.seconds or 1):7.1f}"
            f"{s.nbytes / 1e6:10.3f}{s.nbytes / seconds / 1e9:9.1f}{s.flops / 1e6:10.2f}"
            f"{s.flops / seconds / 1e9:10.1f}")


def _together(steps):
    return StepTime("all", steps[0].layer if steps else _NOBODY, sum(s.seconds for s in steps),
                    sum(s.nbytes for s in steps), sum(s.flops for s in steps))


def profile_step(name, function, arrays, runs):
    """The Profile of a compiled function on these arrays. Variables that it updates have their old
    values again afterwards.
    """
    if runs < 1:
        raise ValueError(f"runs: got {runs}, expected at least 1")
    device = devices.current()
    executable = function.specialise(tuple(x.shape for x in arrays))
    with _kept(device, executable.schedule):
        executable.profile(arrays)                 # first touch of memory, compiling
        times = [executable.profile(arrays) for _ in range(runs)]
        whole = []
        for _ in range(runs + 2):                  # the second run captures a graph
            device.synchronize()
            start = perf_counter()
            executable.run(arrays)
            device.synchronize()
            whole.append(perf_counter() - start)
    steps = [StepTime(_op_name(step), step.origin.layer or _NOBODY, median(own),
                      step.nbytes, step.flops)
             for step, own in zip(executable.schedule.steps, zip(*times))]
    return Profile(name, device.name, steps, median(whole[2:]))


def _op_name(step):
    name = repr(step.op) if type(step.op).__name__ == "Fused" else type(step.op).__name__
    return name if len(name) < 60 else name[:57] + "..."


@contextmanager
def _kept(device, schedule):
    variables = dict.fromkeys(member for v, _ in schedule.assigns
                              for member in (v.members if isinstance(v, Pool) else (v,)))
    before = {v: device.read(v) for v in variables}
    try:
        yield
    finally:
        for v, value in before.items():
            device.write(v, value)
