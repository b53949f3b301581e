"""Codegen: the CUDA text of fused elementwise steps, put into the shell of elementwise.cuh."""

from __future__ import annotations

import math
from dataclasses import dataclass
from string import ascii_lowercase
from typing import NamedTuple, Sequence

import numpy as np

from ..errors import KernelError
from ..graph import Op, TensorType
from ..ops.elementwise import Cast
from ..ops.fused import Fused, FusedStep
from ..ops.random import MaskBits
from ..ops.record import Expr
from ..ops.sums import FusedSums
from .sources import expand_includes

THREADS = 256
MAX_BLOCKS = 132 * 16        # fills an H200; the grid-stride loop walks what is left
LARGE_TILES = 1 << 20        # elements from which a warp with random masks walks 512 at once
AHEAD = 64                   # bytes that a thread of column sums reads before it computes
MOST_STEPS = 512             # operations of a thread that are written out
WIDE = 2**31                 # from so many elements on, indices take 64 bits

# dtype -> storage type, arithmetic type
C_TYPES = {"float32": ("float", "float"), "float64": ("double", "double"),
           "float16": ("float16", "float"), "bfloat16": ("bfloat16", "float"),
           "bool": ("bool", "bool"), "int8": ("signed char", "int"),
           "uint8": ("unsigned char", "int"), "int16": ("short", "int"),
           "uint16": ("unsigned short", "int"), "int32": ("int", "int"),
           "uint32": ("unsigned", "unsigned"), "int64": ("long long", "long long"),
           "uint64": ("unsigned long long", "unsigned long long")}


@dataclass(frozen=True)
class Program:
    """A fused step as straight-line code: what Fused holds, and also a single elementwise op."""

    n_inputs: int
    constants: tuple
    steps: tuple[FusedStep, ...]
    outs: tuple[int, ...]
    shape: tuple[int, ...]


def program_of(op: Op, outs: tuple[TensorType, ...], n_inputs: int) -> Program:
    """The program of a Fused op, or of one op with an Expr record."""
    if isinstance(op, Fused):
        return Program(op.n_inputs, op.constants, op.steps, op.outs, op.shape)
    return Program(n_inputs, (), (FusedStep(op, tuple(range(n_inputs))),), (n_inputs,),
                   outs[0].shape)


def literal(value, dtype: str) -> str:
    """A Python number as a C literal of the dtype's arithmetic type."""
    kind = C_TYPES[dtype][1]
    if kind in ("float", "double"):
        value = float(value)
        if math.isnan(value) or math.isinf(value):
            return f"({kind})" + ("QUIET_NAN" if math.isnan(value)
                                  else "POS_INF" if value > 0 else "(-POS_INF)")
        text = repr(float(np.float32(value))) if kind == "float" else repr(value)
        return f"({text}f)" if kind == "float" else f"({text})"
    if kind == "bool":
        return "true" if value else "false"
    suffix = {"int": "", "unsigned": "u", "long long": "ll", "unsigned long long": "ull"}[kind]
    if int(value) in (-2**31, -2**63):      # no such literal in C: minus is an operator
        return f"({int(value) + 1}{suffix} - 1)"
    return f"({int(value)}{suffix})"


def index(shape: tuple[int, ...], full: tuple[int, ...]) -> str:
    """The C expression of an input's offset for element `e` of an array of shape `full`.

    Neighbouring axes that are both repeated, or both not, count as one; the outermost axis needs no
    remainder, so a batch size never becomes a constant of the text.
    """
    runs = runs_of(shape, full)
    terms, inner, stride = [], 1, 1
    for position in range(len(runs) - 1, -1, -1):
        read, size = runs[position]
        if read:
            term = "e" if inner == 1 else f"e / {inner}u"
            if position:
                term = f"({term}) % {size}u"
            terms.append(f"({term})" + (f" * {stride}u" if stride > 1 else ""))
            stride *= size
        inner *= size
    return " + ".join(terms) or "0"


def runs_of(shape: tuple[int, ...], full: tuple[int, ...]) -> list[tuple[bool, int]]:
    """Neighbouring axes as one: (are they read, or repeated?, their size), outermost first."""
    padded = (1,) * (len(full) - len(shape)) + tuple(shape)
    runs: list[tuple[bool, int]] = []
    for have, want in zip(padded, full):
        if want == 1:
            continue
        read, size = have == want, want
        if runs and runs[-1][0] == read:
            size *= runs.pop()[1]
        runs.append((read, size))
    return runs


def expression(op: Op, dtype: str) -> str:
    """The op's CUDA expression over a, b, c, d with its parameters filled in."""
    if not isinstance(op.cuda, Expr):
        raise KernelError(f"[{type(op).__name__}] has no CUDA expression")
    values = {p: getattr(op, p) for p in op.params}
    numbers = {p: literal(v, dtype) for p, v in values.items()
               if isinstance(v, (bool, int, float, np.number))}
    return op.cuda.code.format(**numbers)


def _number_type(dtypes: list[str]) -> str:
    """The dtype of an op's parameters, given that of its result and its arguments: a float's if
    any is one, else one that is no truth value."""
    floats = [d for d in dtypes if C_TYPES[d][1] in ("float", "double")]
    return (floats or [d for d in dtypes if d != "bool"] or dtypes)[0]


def slot_types(program: Program, ins: tuple[TensorType, ...]) -> list[str]:
    """The dtype of every slot."""
    slots = list(ins) + [TensorType(d, ()) for d, _ in program.constants]
    for step in program.steps:
        slots.append(step.op.infer(*(slots[a] for a in step.args)))
    return [t.dtype for t in slots]


def body(program: Program, ins: tuple[TensorType, ...]) -> tuple[str, str]:
    """(parameters, text) of the kernel."""
    dtypes, masks = slot_types(program, ins), masks_of(program)
    size = size_type(program)
    parameters = ", ".join(parameters_of(program, ins, dtypes) + [f"{size} n"])
    keys = {m.key for m in masks}
    where = ["0" if i in keys else index(t.shape, program.shape) for i, t in enumerate(ins)]
    loads = [f"({C_TYPES[t.dtype][1]})i{i}[{where[i]}]" for i, t in enumerate(ins)]
    take = [f"const {C_TYPES[t.dtype][1]} v{i} = " for i, t in enumerate(ins)]
    if not masks:
        lines = [f"{v}{loads[i]};" for i, v in enumerate(take)] + computations(program, dtypes)
        inside = "\n        ".join(lines)
        return parameters, f"    FOR_EACH_ELEMENT({size}) {{\n        {inside}\n    }}"
    return parameters, tiles_body(program, masks, size, (
        [f"{C_TYPES[t.dtype][1]} r{i}[TILE / 32];" for i, t in enumerate(ins)],
        [f"r{i}[u] = {loads[i]};" for i in range(len(ins))],
        [f"{v}r{i}[u];" for i, v in enumerate(take)] + computations(program, dtypes, masks)))


class Mask(NamedTuple):
    """A MaskBits step: its slot, and the inputs that hold the step and the key."""

    slot: int
    step: int
    key: int
    threshold: int

    def word(self, block: str) -> str:
        """The bits of 16 elements."""
        return (f"mask_word({block}, (u64)i{self.step}[0], (u64)i{self.key}[0], "
                f"{self.threshold}u)")

    def bit(self) -> str:
        """A statement for all lanes of a warp: w has the words of its 32 elements of turn u."""
        return (f"const bool b{self.slot} = __shfl_sync(FULL_WARP, w{self.slot}, 2 * u + lane / 16)"
                f" >> (lane % 16) & 1;")


def masks_of(program: Program) -> list[Mask]:
    first = program.n_inputs + len(program.constants)
    return [Mask(i, *args, op.threshold) for i, (op, args) in enumerate(program.steps, first)
            if isinstance(op, MaskBits)]


def tiles_body(program: Program, masks: list[Mask], size: str, parts: tuple) -> str:
    """The statements of a kernel with random masks. A warp walks TILE elements; lane k makes the
    random bits of the k-th 16 of them and hands them to the lanes whose elements these are."""
    declared, loads, compute = parts
    tile = 512 if math.prod(program.shape) >= LARGE_TILES else 128
    gap = "\n                "
    element = f"const {size} e = tile * {tile}u + u * 32 + lane;"
    words = " ".join(f"const unsigned w{m.slot} = {m.word(f'tile * {tile // 16}u + lane')};"
                     for m in masks)
    return f"""    const unsigned lane = threadIdx.x % 32;
    for ({size} tile = grid_start() / 32; tile * {tile}u < n; tile += grid_step() / 32) {{
        {words}
        {" ".join(declared).replace("TILE", str(tile))}
#pragma unroll
        for (unsigned u = 0; u < {tile // 32}; ++u) {{
            {element} if (e < n) {{
                {gap.join(loads)}
            }}
        }}
#pragma unroll
        for (unsigned u = 0; u < {tile // 32}; ++u) {{
            {" ".join(m.bit() for m in masks)}
            {element} if (e < n) {{
                {gap.join(compute)}
            }}
        }}
    }}"""


def size_type(program: Program) -> str:
    return "unsigned long long" if math.prod(program.shape) >= WIDE else "unsigned"


def parameters_of(program: Program, ins: tuple[TensorType, ...], dtypes: list[str]) -> list[str]:
    """The pointers to inputs and to full outputs."""
    return ([f"const {C_TYPES[t.dtype][0]}* i{i}" for i, t in enumerate(ins)]
            + [f"{C_TYPES[dtypes[slot]][0]}* o{i}" for i, slot in enumerate(program.outs)])


def computations(program: Program, dtypes: list[str], masks: Sequence[Mask] = (),
                 store: str = "o{0}[e] = {1};") -> list[str]:
    """Statements that make every slot v<k> from the inputs' slots, and store the outputs.

    masks: those whose bits b<k> are there already. store: of a number as output {0}.
    """
    lines, known = [], {m.slot for m in masks}
    for i, (dtype, value) in enumerate(program.constants, program.n_inputs):
        lines.append(f"const {C_TYPES[dtype][1]} v{i} = {literal(value, dtype)};")
    first = program.n_inputs + len(program.constants)
    for i, (op, args) in enumerate(program.steps, first):
        if i in known:
            lines.append(f"const bool v{i} = b{i};")
            continue
        number = _number_type([dtypes[i], *(dtypes[a] for a in args)])
        names = ", ".join(f"{x} = v{a}" for x, a in zip(ascii_lowercase, args))
        kinds = [C_TYPES[dtypes[a]][1] for a in args]
        declared = " ".join(f"const {k} {x} = v{a};"
                            for k, x, a in zip(kinds, ascii_lowercase, args))
        if len(set(kinds)) == 1:
            declared = f"const {kinds[0]} {names};"
        storage, result = C_TYPES[dtypes[i]]
        code = f"({result})({expression(op, number)})"
        if dtypes[i] in ("int8", "uint8", "int16", "uint16"):       # wraps around as NumPy's does
            code = f"({storage}){code}"
        if isinstance(op, Cast) and storage in ("float16", "bfloat16"):     # so that it rounds
            code = f"({result})({storage}){code}"
        lines.append(f"{result} v{i}; {{ {declared} v{i} = {code}; }}")
    for i, slot in enumerate(program.outs):
        lines.append(store.format(i, f"({C_TYPES[dtypes[slot]][0]})v{slot}"))
    return lines


def sums_body(op: FusedSums, ins: tuple[TensorType, ...]) -> tuple[str, str]:
    """(parameters, statements) of a kernel with column sums; its shell is column_sums.cuh."""
    program = program_of(op, (), len(ins))
    dtypes = slot_types(program, ins)
    work, size = C_TYPES[dtypes[op.sums[0]]][1], size_type(program)
    parameters = parameters_of(program, ins, dtypes)
    parameters += [f"{C_TYPES[dtypes[slot]][0]}* s{k}" for k, slot in enumerate(op.sums)]
    parameters += [f"{work}* partial", "unsigned* tickets", f"{size} M"]
    once, loads, n = [], [], len(op.sums)
    declared, taken = [], []
    at_once = 4 if masks_of(program) else _rows_at_once(op, ins, len(program.steps))
    masks = masks_of(program)
    keys, warps = {m.key for m in masks}, masks if op.columns % 32 == 0 else []
    for i, t in enumerate(ins):
        kind = C_TYPES[t.dtype][1]
        where = "0" if i in keys else _column_index(t.shape, op.shape, op.columns)
        if where is not None:
            once.append(f"const {kind} v{i} = ({kind})i{i}[{where}];")
            continue
        declared.append(f"{kind} r{i}[{at_once}];")
        loads.append(f"r{i}[u] = ({kind})i{i}[{index(t.shape, op.shape)}];")
        taken.append(f"const {kind} v{i} = r{i}[u];")
    gap = "\n                "
    element = f"const {size} e = (m + u * rows) * {op.columns}u + c;"
    totals = " ".join(f"t[{k}] += v{slot};" for k, slot in enumerate(op.sums))
    compute = gap.join([element, *taken, *computations(program, dtypes, warps), totals])
    # a warp is 32 columns of one row: lane k makes the bits of half k % 2 of its row of turn k / 2
    block = f"((m + lane / 2 * rows) * {op.columns}u + blockIdx.x * 32) / 16 + lane % 2"
    words = " ".join(f"const unsigned w{m.slot} = {m.word(block)};" for m in warps)
    if warps:
        words = f"const unsigned lane = threadIdx.x; {words}"
    bits = " ".join(m.bit() for m in warps)
    stores = " ".join(f"s{k}[c] = ({C_TYPES[dtypes[slot]][0]})t[{k}];"
                      for k, slot in enumerate(op.sums))
    text = f"""    __shared__ {work} part[{n}][256];
    const unsigned c = blockIdx.x * blockDim.x + threadIdx.x, rows = blockDim.y;
    const {size} end = (u64)M * (blockIdx.y + 1) / gridDim.y;
    {work} t[{n}] = {{}};
    if (c < {op.columns}u) {{
        {" ".join(once)}
        for ({size} m = (u64)M * blockIdx.y / gridDim.y + threadIdx.y; m < end;
             m += {at_once} * rows) {{
            {words} {" ".join(declared)}
#pragma unroll
            for (unsigned u = 0; u < {at_once}; ++u) if (m + u * rows < end) {{
                {gap.join([element, *loads])}
            }}
#pragma unroll
            for (unsigned u = 0; u < {at_once}; ++u) if (m + u * rows < end) {{
                {bits}
                {compute}
            }}
        }}
    }}
    if (fold_slices(t, part, partial, tickets, {op.columns}u)) {{ {stores} }}"""
    return ", ".join(parameters), text


def _rows_at_once(op: FusedSums, ins: tuple[TensorType, ...], steps: int) -> int:
    """Rows that a thread reads before it computes: about AHEAD bytes of all inputs."""
    each = sum(t.itemsize for t in ins if t.size == op.size) or 4
    rows = 16
    while rows > 4 and (rows * each > AHEAD or rows * steps > MOST_STEPS):
        rows //= 2
    return rows


def _column_index(shape: tuple[int, ...], full: tuple[int, ...], columns: int) -> str | None:
    """The offset of an input that is the same in all rows of a matrix of so many columns."""
    if math.prod(shape) == 1:
        return "0"
    padded = (1,) * (len(full) - len(shape)) + tuple(shape)
    last = len(full)
    while last and math.prod(full[last:]) < columns:
        last -= 1
    same = math.prod(padded[:last]) == 1 and padded[last:] == tuple(full[last:])
    return "c" if same and math.prod(shape) == columns else None


class FusedModule:
    """Collects the fused kernels of one schedule; equal texts are one kernel."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], str] = {}

    def add(self, op: Op, ins: tuple[TensorType, ...], outs: tuple[TensorType, ...],
            written: tuple[str, str] | None = None) -> str:
        """The name of the kernel for a step, to be launched as launch_shape() or its plan says.

        written: (parameters, statements), where somebody else has written them.
        """
        if isinstance(op, FusedSums):
            key = sums_body(op, ins)
        else:
            key = written or body(program_of(op, outs, len(ins)), ins)
        return self.names.setdefault(key, f"fused_{len(self.names)}")

    def text(self, wanted: set[str] | None = None) -> str:
        """The module of all kernels, or of those wanted; self-contained."""
        kernels, shells = [], dict.fromkeys(["elementwise.cuh"])
        for (parameters, statements), name in self.names.items():
            if wanted is not None and name not in wanted:
                continue
            if "fold_slices" in statements:
                shells["column_sums.cuh"] = None
            if "mask_" in statements:
                shells["philox.cuh"] = None
            kernels.append(f'extern "C" __global__ __launch_bounds__({THREADS}) void '
                           f"{name}({parameters}) {{\n{statements}\n}}\n")
        includes = "".join(f'#include "{name}"\n' for name in shells)
        return expand_includes(includes + "\n".join(kernels), "fused.cu")


def launch_shape(n: int) -> tuple[tuple[int], tuple[int], np.generic]:
    """(grid, block, last argument) for n elements."""
    count = np.uint64(n) if n >= WIDE else np.uint32(n)
    return (max(1, min(-(-n // THREADS), MAX_BLOCKS)),), (THREADS,), count
