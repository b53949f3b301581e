"""Driver: the narrow interface between a schedule and a device. Two drivers: emu and cuda.

Everything above these methods is shared: what runs on the emulator takes the same path on a GPU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Callable, Protocol, Sequence

import numpy as np

from ..config import math_mode
from ..errors import DeviceError
from ..graph.halves import numpy_dtype
from ..ops.record import Gemm
from .array import DeviceArray

MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
LONG = 2e-3                          # seconds from which on a call need not be timed ten times


class Entry(Protocol):
    """One loaded `extern "C"` kernel."""

    name: str


class Module(Protocol):
    """A compiled source text."""

    def kernel(self, entry: str) -> Entry: ...


class Graph(Protocol):
    """A captured sequence of launches, copies, fills and GEMMs."""

    def launch(self) -> None: ...


@dataclass
class Counters:
    """What a driver was asked to do since the last reset; tests prove by it what a step does."""

    allocations: int = 0
    uploads: int = 0
    downloads: int = 0
    launches: int = 0
    gemms: int = 0
    captures: int = 0
    graph_launches: int = 0
    synchronizations: int = 0

    def reset(self) -> None:
        self.__init__()


@dataclass(frozen=True)
class GemmCall:
    """Row-major C[m,n] = alpha * op(A) @ op(B) + beta * C, `batch` times.

    lda, ldb, ldc: elements from one row to the next; None: the rows are dense.
    stride_*: elements from one matrix of the batch to the next.
    math: "tf32" lets float32 products read 10 bits of the mantissas.
    epilogue, bias, aux: what follows, see EPILOGUES of ops/record.py; then batch is 1.
    """

    a: DeviceArray
    b: DeviceArray
    c: DeviceArray
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
    math: str = "float32"
    epilogue: str = ""
    bias: DeviceArray | None = None
    aux: DeviceArray | None = None

    @property
    def leading(self) -> tuple[int, int, int]:
        """(lda, ldb, ldc) with None replaced by the dense value."""
        return (self.lda or (self.m if self.trans_a else self.k),
                self.ldb or (self.k if self.trans_b else self.n), self.ldc or self.n)

    def check(self) -> None:
        """Raises DeviceError if a matrix does not fit its array."""
        lda, ldb, ldc = self.leading
        last = self.batch - 1
        for name, x, rows, cols, ld, stride in (
                ("a", self.a, *_rows(self.trans_a, self.m, self.k), lda, self.stride_a),
                ("b", self.b, *_rows(self.trans_b, self.k, self.n), ldb, self.stride_b),
                ("c", self.c, self.m, self.n, ldc, self.stride_c)):
            need = (last * stride + (rows - 1) * ld + cols) * numpy_dtype(self.dtype).itemsize
            if ld < cols or (rows and cols and need > x.nbytes):
                raise DeviceError(
                    f"[gemm] matrix {name} does not fit: got {x.nbytes} bytes, ld {ld}, expected "
                    f"{need} bytes for {rows}x{cols}, batch {self.batch} with stride {stride}")


def gemm_call(gemm: Gemm, array: Callable[[Any], DeviceArray]) -> GemmCall:
    """The call of a plan's product; `array` gives the memory that In, Out and Temp stand for."""
    places = {name: array(ref) for name, ref in vars(gemm).items()
              if name in ("a", "b", "c", "bias", "aux") and ref is not None}
    return GemmCall(**{**vars(gemm), **places, "math": math_mode()})


def _rows(trans: bool, rows: int, cols: int) -> tuple[int, int]:
    return (cols, rows) if trans else (rows, cols)


def check_launch(name: str, grid: Sequence[int], block: Sequence[int], smem: int,
                 smem_limit: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block as triples; DeviceError for what a GPU would refuse (or silently change)."""
    grid3, block3 = (tuple(int(v) for v in x) + (1,) * (3 - len(x)) for x in (grid, block))
    for what, got, most in (("grid", grid3, MAX_GRID), ("block", block3, MAX_BLOCK)):
        if len(got) != 3 or any(not 1 <= v <= limit for v, limit in zip(got, most)):
            raise DeviceError(f"[{name}] invalid {what}: got {got}, expected 1 to {most}")
    if block3[0] * block3[1] * block3[2] > 1024:
        raise DeviceError(f"[{name}] block too large: got {block3}, expected at most 1024 threads")
    if not 0 <= smem <= smem_limit:
        raise DeviceError(f"[{name}] too much shared memory: got {smem} bytes, "
                          f"expected at most {smem_limit}")
    return grid3, block3


class Driver(ABC):
    """A device's memory, kernels and graphs. Work is queued in order on one stream.

    The `bind_*` methods check once and return a callable without arguments; calling it queues the
    work (or records it while a graph is captured). The plain methods are bind and call.
    """

    name = "?"
    shared_limit = 48 * 1024         # bytes of dynamic shared memory that a block may ask for
    arch = 90                        # compute capability times ten
    measures = False                 # does time mean anything here?

    def __init__(self) -> None:
        self.counters = Counters()

    @property
    def device_name(self) -> str:
        """What kind of device it is: times measured on one hold for the others."""
        return self.name

    # memory ---------------------------------------------------------------
    @abstractmethod
    def alloc(self, nbytes: int) -> DeviceArray:
        """Fresh memory as uint8[nbytes], 256-byte aligned, contents undefined.

        Raises DeviceError while capturing, or when the device has no room.
        """

    @abstractmethod
    def free(self, array: DeviceArray) -> None:
        """Gives the whole allocation behind `array` back; views of it must not be used any more."""

    @abstractmethod
    def upload(self, dst: DeviceArray, src: np.ndarray) -> None:
        """Copies host to device. Same dtype and size; `src` may be changed once this returns."""

    def send(self, dst: DeviceArray, src: np.ndarray) -> None:
        """As `upload`, but beside the work that is queued: only `fence` and `wait` give an
        order."""
        self.upload(dst, src)

    def fence(self, sending: bool) -> Any:
        """What `wait` takes: the work queued so far, or what was sent so far."""
        return None

    def wait(self, fence: Any, sending: bool) -> None:
        """Work that is queued from now on, or sending, begins when the fence is passed."""

    @abstractmethod
    def download(self, src: DeviceArray) -> np.ndarray:
        """A new host array with the contents; waits for the work queued so far."""

    @abstractmethod
    def bind_copy(self, dst: DeviceArray, src: DeviceArray) -> Callable[[], None]:
        """Device to device, same number of bytes."""

    @abstractmethod
    def bind_fill(self, dst: DeviceArray, byte: int) -> Callable[[], None]:
        """Sets every byte of `dst`."""

    # kernels --------------------------------------------------------------
    @abstractmethod
    def load(self, source: str, name: str, defines: tuple[tuple[str, str], ...] = ()) -> Module:
        """Compiles a self-contained text (sources.kernel_source), or takes it from the cache.

        Raises KernelError with the compiler's words.
        """

    @abstractmethod
    def bind(self, kernel: Entry, grid: Sequence[int], block: Sequence[int], args: Sequence,
             smem: int = 0) -> Callable[[], None]:
        """One launch. args: DeviceArray, None (null pointer) or NumPy scalars of the exact type."""

    def fuses(self, gemm: Gemm, math: str) -> bool:
        """Does the device know the product with its epilogue?"""
        return False

    @abstractmethod
    def bind_gemm(self, call: GemmCall) -> Callable[[], None]:
        """One matrix product, see GemmCall."""

    # graphs and time ------------------------------------------------------
    @abstractmethod
    def capture(self) -> AbstractContextManager[Graph]:
        """`with driver.capture() as graph:` records what is queued instead of running it.

        Inside, alloc, free, upload, download and synchronize raise DeviceError. The graph keeps
        what it uses alive.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until everything queued is done; errors of earlier launches appear here."""

    def adopt(self, x) -> DeviceArray | None:
        """A view of an array that another library keeps on this device, which waits for that
        library's work on it; None if it is out of reach or not contiguous."""
        return None

    def wait_for(self, stream: int) -> None:
        """Wait for the work on another stream, as __cuda_array_interface__ numbers them."""

    def time(self, call: Callable[[], None]) -> float:
        """Queues a call and waits for it; seconds it took."""
        self.synchronize()
        start = perf_counter()
        call()
        self.synchronize()
        return perf_counter() - start

    def trim(self) -> int:
        """Gives memory that no array uses back to the system; returns how many bytes."""
        return 0

    @abstractmethod
    def memory_info(self) -> tuple[int, int]:
        """(bytes in use by us, bytes the device has in all)."""

    def seconds(self, calls: Sequence[Callable[[], None]], repeats: int = 5) -> float:
        """Least seconds of one run of `calls` within a graph, the device idle before and after.
        Of what takes long fewer runs will do."""
        def once() -> None:
            for call in calls:
                call()
        once()                                   # libraries load code at the first use
        took = self.time(once)
        runs = 10 if took < LONG else 1
        repeats = repeats if took < 10 * LONG else 1
        with self.capture() as graph:
            for _ in range(runs):
                once()
        graph.launch()
        return min(self.time(graph.launch) for _ in range(repeats)) / runs

    # bind and call --------------------------------------------------------
    def copy(self, dst: DeviceArray, src: DeviceArray) -> None:
        self.bind_copy(dst, src)()

    def fill(self, dst: DeviceArray, byte: int = 0) -> None:
        self.bind_fill(dst, byte)()

    def launch(self, kernel: Entry, grid: Sequence[int], block: Sequence[int], args: Sequence,
               smem: int = 0) -> None:
        self.bind(kernel, grid, block, args, smem)()

    def gemm(self, *args, **kwargs) -> None:
        """gemm(a, b, c, m, n, k, ...): the fields of GemmCall."""
        self.bind_gemm(GemmCall(*args, **kwargs))()

    def to_device(self, x: np.ndarray) -> DeviceArray:
        """A new allocation holding `x`."""
        x = np.ascontiguousarray(x)
        out = self.alloc(max(x.nbytes, 1)).view(x.dtype, x.shape)
        self.upload(out, x)
        return out

    def empty(self, shape: tuple[int, ...], dtype) -> DeviceArray:
        """A new typed allocation, contents undefined."""
        out = self.alloc(max(int(np.prod(shape)) * numpy_dtype(dtype).itemsize, 1))
        return out.view(dtype, shape)


def same_size(what: str, dst: DeviceArray, src) -> None:
    """Raises DeviceError unless both have as many bytes."""
    if dst.nbytes != src.nbytes:
        raise DeviceError(f"[{what}] sizes differ: got {src!r} with {src.nbytes} bytes, "
                          f"expected {dst.nbytes} for {dst!r}")
