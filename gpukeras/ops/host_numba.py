"""Fused elementwise chains as one compiled loop, where numba is installed: gpukeras[numba].

NumPy walks over memory once for every step of a chain; Adam's takes 1.9 ns a weight, the loop that
numba makes of it 0.3 ns.  `later(program, ...)` gives a run() that starts with NumPy's calls; after
CALLS of them a thread in the background compiles (some 0.2 s a chain, kept on disk), and from then
on run() is the loop.  Both do the same operations in the same order and rounding, so nobody sees in
the results when that was.  Chains of other operations than TEXT's stay with NumPy, whose exp and
tanh are vectorised better.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import isfinite, prod

import numpy as np

from ..config import cache_dir
from ..team import Team, team
from .host_block import Run

LEAST = 1 << 14               # elements from which a loop is worth compiling
CALLS = 5                     # by NumPy, before compiling begins
WORTH_SHARING = 1 << 20       # elements from which a team of threads pays: 0.3 ms
_ALONE = Team(1)
# by class name; {a}, {b}, {c} are scalars of one iteration, {T} their type
TEXT = {
    "Add": "{a} + {b}", "Sub": "{a} - {b}", "Mul": "{a} * {b}", "Div": "{a} / {b}", "Neg": "-{a}",
    "Abs": "abs({a})", "Square": "{a} * {a}", "Sqrt": "np.sqrt({a})",
    "Relu": "({a} if {a} > {T}(0) or {a} != {a} else {T}(0))",
    "ReluGrad": "{a} * ({T}(1) if {b} > {T}(0) else {T}(0))",
    "Dropout": "{b} * ({T}(1) if {a} else {T}(0)) * {T}({scale!r})",
    "Maximum": "({a} if {a} >= {b} or {a} != {a} else {b})",
    "Minimum": "({a} if {a} <= {b} or {a} != {a} else {b})",
    "Greater": "{a} > {b}", "GreaterEqual": "{a} >= {b}", "Less": "{a} < {b}",
    "LessEqual": "{a} <= {b}", "Where": "({b} if {a} else {c})",
}
HEAD = '''"""Made by gpukeras/ops/host_numba.py."""
import numpy as np
from numba import njit


@njit(nogil=True, error_model="numpy", cache=True)
'''


@lru_cache(None)
def available() -> bool:
    return (importlib.util.find_spec("numba") is not None
            and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0")


def takes(program) -> bool:
    """Whether `later` may compile this program as it is: then its steps must stay as they are,
    for BLAS rounds s x + y once and not twice."""
    return prod(program.op.shape) >= LEAST and available() and all(
        type(step.op).__name__ in TEXT for i, step in enumerate(program.steps)
        if program.full[program.first + i] and program.first + i not in program.alias)


def later(program, shape: tuple[int, ...], views: dict[int, np.ndarray],
          outs: Sequence[np.ndarray], plain: Run) -> Run:
    """run() of a chain: `plain` now, one compiled loop soon, if it can be had.

    program: host_fused's; views: slot -> array of `shape`, of one row of it, or of one element;
    outs: arrays of `shape`.
    """
    if not takes(program):
        return plain
    chain = _Chain(program, shape, views, outs)
    text = chain.text()
    if text is None:
        return plain
    crew = team() if prod(shape) >= WORTH_SHARING else _ALONE
    return _Later(plain, text, [chain.arguments(part) for part in crew.split(shape[0])], crew)


class _Chain:
    """Parameters and source of one chain."""

    def __init__(self, program, shape, views, outs) -> None:
        self.program, self.shape, self.views, self.outs = program, shape, views, outs
        self.at = "[i]" if len(shape) == 1 else "[i, j]"
        # parameters: an output that lies in an input is that parameter, or else LLVM would have to
        # take any two elements for the same
        self.params: list[np.ndarray] = []
        self.param_of: dict[int, int] = {}
        self.out_params: list[int] = []
        used = {program.real(a) for i, step in enumerate(program.steps)
                if self._in_loop(program.first + i) for a in step.args}
        used |= {program.real(o) for o in program.op.outs}
        for slot in sorted(used):
            if program.is_input(slot) and not self._is_constant(slot):
                self.param_of[slot] = self._param(views[slot])
        self.out_params = [self._param(out) for out in outs]

    def _in_loop(self, slot: int) -> bool:
        return self.program.full[slot] and slot not in self.program.alias

    def _is_constant(self, slot: int) -> bool:
        op = self.program.op
        return op.n_inputs <= slot < self.program.first

    def _param(self, array: np.ndarray) -> int:
        for i, known in enumerate(self.params):
            if known.ctypes.data == array.ctypes.data and known.size == array.size:
                return i
        self.params.append(array)
        return len(self.params) - 1

    def arguments(self, part: slice) -> list[np.ndarray]:
        """The parameters for some of the rows."""
        return [p[part] if p.shape == self.shape else p.reshape(-1) for p in self.params]

    def _load(self, param: int) -> str:
        """How an iteration reads it."""
        array = self.params[param]
        if array.shape == self.shape:
            return f"p{param}{self.at}"
        if array.size == 1:
            return f"s{param}"
        return f"p{param}[j]"

    def text(self) -> str | None:
        """The source of `loop(p0, p1, ...)`; None for what it cannot say."""
        program, op = self.program, self.program.op
        kinds = {program.dtypes[s].char for s in range(len(program.dtypes))
                 if s in self.param_of or self._in_loop(s)} - {"?"}
        if len(kinds) != 1 or not kinds <= set("fd") or len(self.shape) > 2:
            return None
        number = "np.float32" if kinds == {"f"} else "np.float64"
        if any(p.shape != self.shape and p.size not in (1, self.shape[-1]) for p in self.params):
            return None
        names = {slot: f"v{slot}" for slot in self.param_of}
        body = [f"v{slot} = {self._load(param)}" for slot, param in self.param_of.items()]
        for i, value in enumerate(v for _, v in op.constants):
            if not isfinite(value):
                return None
            names[op.n_inputs + i] = f"{number}({float(value)!r})"
        for i, step in enumerate(program.steps):
            slot, kind = program.first + i, type(step.op).__name__
            if not self._in_loop(slot):
                continue
            words = {name: names[program.real(a)] for name, a in zip("abc", step.args)}
            words.update((name, getattr(step.op, name)) for name in step.op.params)
            names[slot] = f"v{slot}"
            body.append(f"v{slot} = " + TEXT[kind].format(T=number, **words))
        body += [f"p{param}{self.at} = {names[program.real(o)]}"
                 for param, o in zip(self.out_params, op.outs)]
        return self._function(body)

    def _function(self, body: list[str]) -> str:
        lines = [f"def loop({', '.join(f'p{i}' for i in range(len(self.params)))}):"]
        lines += [f"    s{i} = p{i}[0]" for i, p in enumerate(self.params)
                  if p.size == 1 and p.shape != self.shape]
        sizes = f"p{self.out_params[0]}.shape"
        lines.append(f"    for i in range({sizes}[0]):")
        inner = "        "
        if len(self.shape) == 2:
            lines.append(f"        for j in range({sizes}[1]):")
            inner += "    "
        return HEAD + "\n".join(lines + [inner + line for line in body]) + "\n"


class _Later:
    """run(): NumPy's calls, then the compiled loop."""

    def __init__(self, plain: Run, text: str, arguments: list[list[np.ndarray]], crew: Team,
                 ) -> None:
        self.plain, self.text, self.arguments, self.crew = plain, text, arguments, crew
        self.calls = 0
        self.fast: Callable[[], object] | None = None

    def __call__(self) -> None:
        if self.fast is not None:
            self.fast()
            return
        self.calls += 1
        if self.calls == CALLS:
            _compile_soon(self)
        self.plain()

    def compile(self) -> None:
        """Make the loop; where numba fails, NumPy goes on."""
        try:
            import numba
            loop = _loaded(self.text)
            for arguments in self.arguments:
                loop.compile(tuple(numba.typeof(a) for a in arguments))
            self.fast = self.crew.bind([partial(loop, *a) for a in self.arguments])
        except Exception:                           # a numba that does not fit this Python or NumPy
            self.fast = None


@lru_cache(256)
def _loaded(text: str):
    """The function of a source text, from a file of its own: numba keeps machine code beside it."""
    import llvmlite.binding as llvm
    # a chain of eight arrays needs more checks for overlap than LLVM makes by itself
    llvm.set_option("gpukeras", "-runtime-memory-check-threshold=128")
    name = "gpukeras_chain_" + hashlib.sha256(text.encode()).hexdigest()[:20]
    folder = os.path.join(cache_dir(), "numba")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".py")
    if not os.path.exists(path):
        mine = f"{path}.{os.getpid()}"
        with open(mine, "w") as file:
            file.write(text)
        os.replace(mine, path)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module                      # numba looks for it there
    spec.loader.exec_module(module)
    return module.loop


_waiting: queue.SimpleQueue | None = None


def _compile_soon(chain: _Later) -> None:
    global _waiting
    if _waiting is None:
        _waiting = queue.SimpleQueue()
        thread = threading.Thread(target=_work, args=(_waiting,), daemon=True)
        thread.start()
        atexit.register(_stop, _waiting, thread)
    _waiting.put(chain)


def _work(waiting: queue.SimpleQueue) -> None:
    while True:
        chain = waiting.get()
        if chain is None:
            return
        chain.compile()


def _stop(waiting: queue.SimpleQueue, thread: threading.Thread) -> None:
    """At exit: drop what waits, and let what is being compiled end (LLVM must not be cut off)."""
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        pass
    waiting.put(None)
    thread.join()
