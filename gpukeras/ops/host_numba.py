"""Fused elementwise chains as one compiled loop, where numba is installed: gpukeras[numba].

NumPy walks over memory once for every step of a chain; Adam's takes 1.9 ns a weight, the loop that
numba makes of it 0.3 ns.  `later(program, ...)` gives a run() that starts with NumPy's calls; after
CALLS of them a thread in the background compiles (some 0.2 s a chain, kept on disk), and from then
on run() is the loop.  Both do the same operations in the same order and rounding, so nobody sees in
the results when that was.  Chains of other operations than TEXT's stay with NumPy, whose exp and
tanh are vectorised better.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite, prod

import numpy as np

from .. import native
from ..config import cache_dir
from ..team import Team, team
from .host_block import Run

LEAST = 1 << 14               # elements from which a loop is worth compiling
CALLS = 5                     # by NumPy, before compiling begins
WORTH_SHARING = 1 << 17       # elements times steps from which a team of threads may pay
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
from numba import carray, cfunc
from gpukeras.native.code import place_{kind}, place_bool, word


@cfunc("void(int64)", error_model="numpy", cache=True)
def loop(at):
'''


def takes(program) -> bool:
    """Whether `later` may compile this program as it is: then its steps must stay as they are,
    for BLAS rounds s x + y once and not twice."""
    return prod(program.op.shape) >= LEAST and native.available() and all(
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
    crew = team() if prod(shape) * len(program.steps) >= WORTH_SHARING else _ALONE
    return _Later(plain, text, chain, crew)


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

    def arguments(self, part: slice) -> np.ndarray:
        """What the loop is called with for some of the rows: their number, the length of a row, the
        addresses of the parameters."""
        rows = [p[part] if p.shape == self.shape else p for p in self.params]
        counts = [*self.outs[0][part].shape, 1][:2]
        return np.array(counts + [p.ctypes.data for p in rows], np.int64)

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
        return self._function(body, "float32" if kinds == {"f"} else "float64")

    def _function(self, body: list[str], number: str) -> str:
        lines = ["    n, m = word(at), word(at + 8)"]
        full = "(n, m)" if len(self.shape) == 2 else "n"
        for i, p in enumerate(self.params):
            kind = "bool" if p.dtype == bool else number
            shape = full if p.shape == self.shape else "1" if p.size == 1 else "m"
            lines.append(f"    p{i} = carray(place_{kind}(word(at + {8 * (i + 2)})), {shape})")
        lines += [f"    s{i} = p{i}[0]" for i, p in enumerate(self.params)
                  if p.size == 1 and p.shape != self.shape]
        lines.append("    for i in range(n):")
        inner = "        "
        if len(self.shape) == 2:
            lines.append("        for j in range(m):")
            inner += "    "
        return HEAD.format(kind=number) + "\n".join(lines + [inner + line for line in body]) + "\n"


class _Loop:
    """A compiled loop on some rows: a call that a tape can say."""

    def __init__(self, loop, arguments: np.ndarray, chain: _Chain) -> None:
        self.held = loop, arguments, chain
        self.run = native.player(native.write(self))

    def words(self) -> list[int]:
        loop, arguments, _ = self.held
        return [native.CALL, 4, loop.address, arguments.ctypes.data]

    def __call__(self) -> None:
        self.run()


class _Later:
    """run(): NumPy's calls, then the compiled loop."""

    def __init__(self, plain: Run, text: str, chain: _Chain, crew: Team) -> None:
        self.plain, self.text, self.chain, self.crew = plain, text, chain, crew
        self.calls = 0
        self.fast: Run | None = None

    def __call__(self) -> None:
        if self.fast is not None:
            self.fast()
            return
        self.calls += 1
        if self.calls == CALLS:
            native.soon(self.compile)
        self.plain()

    def compile(self) -> None:
        """Make the loop; where numba fails, NumPy goes on."""
        try:
            loop, chain = _loaded(self.text), self.chain
            parts = self.crew.split(chain.shape[0])
            fast = self.crew.bind([_Loop(loop, chain.arguments(part), chain) for part in parts])
            if len(parts) > 1 and self.crew.size > 1:
                fast.rewrite()
            self.fast = fast
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
