"""How an op says which CUDA code computes it. Plain data: nothing here launches anything."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np


@dataclass(frozen=True)
class Expr:
    """An elementwise op: a CUDA expression over its inputs a, b, c, d; `{name}` is a parameter of
    the op."""

    code: str


@dataclass(frozen=True)
class Traits:
    """What plans may ask of a device.

    arch: compute capability times ten. math: of float32 products, "float32" or "tf32".
    """

    arch: int = 90
    math: str = "float32"


@dataclass(frozen=True)
class Kernel:
    """An op with kernels in `file`; plan(op, input types, output types) says what to launch.

    choices(op, input types, output types, traits): several plans by name, the one that is expected
    to be fastest first; a device that can measure decides for itself.
    """

    file: str
    plan: Callable[[Any, tuple, tuple], "LaunchPlan"]
    choices: Callable[[Any, tuple, tuple, Traits], "dict[str, LaunchPlan]"] | None = None

    def plans(self, op: Any, ins: tuple, outs: tuple,
              traits: Traits = Traits()) -> "dict[str, LaunchPlan]":
        """All plans by name, the preferred one first."""
        if self.choices is None:
            return {"": self.plan(op, ins, outs)}
        return self.choices(op, ins, outs, traits)


class View:
    """The output is the first input under another shape: nothing to launch."""


VIEW = View()


@dataclass(frozen=True)
class In:
    """The buffer of input `index`, from `offset` bytes on."""

    index: int
    offset: int = 0


@dataclass(frozen=True)
class Out:
    """The buffer of output `index`, from `offset` bytes on."""

    index: int
    offset: int = 0


@dataclass(frozen=True)
class Temp:
    """Scratch buffer `index` of the plan, from `offset` bytes on."""

    index: int
    offset: int = 0


Ref = In | Out | Temp


@dataclass(frozen=True)
class Tickets:
    """`count` counters (unsigned) that are zero before each launch; a kernel leaves them zero.

    They tell the blocks of one launch which of them comes last: comes_last() of common.cuh.
    """

    count: int


@dataclass(frozen=True)
class Launch:
    """One kernel launch. args: In, Out, Temp, Tickets, or NumPy scalars of the kernel's exact
    argument types."""

    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[Ref | Tickets | np.generic | None, ...]      # None: a null pointer
    smem: int = 0                                  # dynamic shared memory, bytes
    defines: tuple[tuple[str, str], ...] = ()      # ("T", "float") becomes -DT=float
    file: str | None = None                        # another file than the record's


@dataclass(frozen=True)
class Gemm:
    """Row-major C[m,n] = alpha * op(A) @ op(B) + beta * C, `batch` times; strides and ld* in
    elements.

    epilogue: "" or one of EPILOGUES; a device may not know it for these sizes (Driver.fuses).
    """

    a: Ref
    b: Ref
    c: Ref
    m: int
    n: int
    k: int
    trans_a: bool = False
    trans_b: bool = False
    alpha: float = 1.0
    beta: float = 0.0
    batch: int = 1
    stride_a: int = 0
    stride_b: int = 0
    stride_c: int = 0
    dtype: str = "float32"
    lda: int | None = None
    ldb: int | None = None
    ldc: int | None = None
    epilogue: str = ""
    bias: Ref | None = None
    aux: Ref | None = None


# What may follow a product, by what `bias` (n,) and `aux` are to it. aux of a relu: a mask, one bit
# an element; of a gelu (by tanh): what it was taken of, as C.
EPILOGUES = {
    "bias": "C + bias",
    "relu": "relu(C + bias)",
    "relu mask": "relu(C + bias), aux = where that is positive",
    "relu grad": "C where aux is set, else 0",
    "relu grad sums": "C where aux is set, else 0; bias = its sums over rows",
    "gelu": "gelu(C + bias)",
    "gelu aux": "gelu(C + bias), aux = C + bias",
    "gelu grad": "C * gelu'(aux)",
    "gelu grad sums": "C * gelu'(aux); bias = its sums over rows",
    "sums of b": "C; bias = the sums of op(B) over its k rows",
}
WITH_AUX = ("relu mask", "relu grad", "relu grad sums", "gelu aux", "gelu grad", "gelu grad sums")
WITHOUT_BIAS = ("relu grad", "gelu grad")


@dataclass(frozen=True)
class Fill:
    """Set `nbytes` bytes to `byte`."""

    ref: Ref
    nbytes: int
    byte: int = 0


@dataclass(frozen=True)
class LaunchPlan:
    """What one op does on a CUDA device, in order; `temps` are the sizes of its scratch buffers in
    bytes."""

    steps: tuple[Launch | Gemm | Fill, ...]
    temps: tuple[int, ...] = ()
    # for a device with too little shared memory, or without such an epilogue
    otherwise: LaunchPlan | None = None
