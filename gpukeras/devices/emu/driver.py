"""EmuDriver: the emulated CUDA device. It refuses what a GPU refuses or gets wrong."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import contextmanager
from typing import Callable, Iterator, Sequence

import numpy as np

from ...errors import DeviceError
from ...graph.halves import convert, numpy_dtype, plain
from .. import dlpack
from ..array import DeviceArray
from ..driver import Driver, GemmCall, same_size
from .epilogue import apply_epilogue
from .kernel import SHARED_LIMIT, EmuKernel, EmuModule
from .memory import Block, host_view

MEMORY_BYTES = 16 << 30


class EmuGraph:
    """What was queued during a capture; launch() runs it, with the same addresses and scalars."""

    def __init__(self, driver: EmuDriver):
        self.driver = driver
        self.operations: list[Callable[[], None]] = []

    def launch(self) -> None:
        """Queues (here: runs) the whole graph."""
        if self.driver.recording is not None:
            raise DeviceError("[graph] launched while another one is captured")
        self.driver.counters.graph_launches += 1
        for run in self.operations:
            run()


class EmuDriver(Driver):
    """CUDA on the CPU, for tests and debugging.

    schedule: "forward", "reverse" or "random": the order in which threads and blocks run.
    check: "" (fast), "memory" (every load and store) or "races" (that, and data races).
    """

    name = "emu"
    shared_limit = SHARED_LIMIT

    def __init__(self, schedule: str = "forward", check: str = "", seed: int = 1):
        super().__init__()
        self.schedule, self.check, self.seed = schedule, check, seed
        self.recording: EmuGraph | None = None
        self._sendings: deque[Callable[[], None]] = deque()
        self._arrived = 0
        self._modules: dict[tuple, EmuModule] = {}
        self._blocks: weakref.WeakSet[Block] = weakref.WeakSet()

    # memory ---------------------------------------------------------------
    def alloc(self, nbytes: int) -> DeviceArray:
        self._refuse("alloc")
        self.counters.allocations += 1
        block = Block(int(nbytes))
        self._blocks.add(block)
        return DeviceArray(self, block, 0, np.uint8, (int(nbytes),))

    def free(self, array: DeviceArray) -> None:
        self._refuse("free")
        array.buffer.free()

    def upload(self, dst: DeviceArray, src: np.ndarray) -> None:
        self._refuse("upload")
        if not isinstance(src, np.ndarray) or src.dtype != dst.dtype:
            got = getattr(src, "dtype", type(src))
            raise DeviceError(f"[upload] got {got}, expected {dst.dtype}")
        same_size("upload", dst, src)
        self.counters.uploads += 1
        np.copyto(host_view(dst), src.reshape(dst.shape))

    def send(self, dst: DeviceArray, src: np.ndarray) -> None:
        """Arrives as late as it may: when the main stream waits for it."""
        kept = np.array(src)
        self._sendings.append(lambda: self.upload(dst, kept))

    def fence(self, sending: bool) -> int:
        return self._arrived + len(self._sendings) if sending else 0

    def wait(self, fence: int, sending: bool) -> None:
        while not sending and self._arrived < fence:
            self._sendings.popleft()()
            self._arrived += 1

    def download(self, src: DeviceArray) -> np.ndarray:
        self._refuse("download")
        self.counters.downloads += 1
        return host_view(src).copy()

    def bind_copy(self, dst: DeviceArray, src: DeviceArray) -> Callable[[], None]:
        same_size("copy", dst, src)
        to, what = (x.buffer.bytes(x.offset, x.nbytes) for x in (dst, src))
        return self._queued(lambda: np.copyto(to, what))

    def bind_fill(self, dst: DeviceArray, byte: int) -> Callable[[], None]:
        if not 0 <= byte <= 255:
            raise DeviceError(f"[fill] got byte {byte}, expected 0 to 255")
        to = dst.buffer.bytes(dst.offset, dst.nbytes)
        return self._queued(lambda: to.fill(byte))

    def adopt(self, x) -> DeviceArray | None:
        return dlpack.view(self, x, (dlpack.CUDA,), 0, -1)

    # kernels --------------------------------------------------------------
    def load(self, source: str, name: str, defines: tuple[tuple[str, str], ...] = ()) -> EmuModule:
        key = (source, defines, self.check)
        if key not in self._modules:
            self._modules[key] = EmuModule(source, name, tuple(defines), self.check)
        return self._modules[key]

    def bind(self, kernel: EmuKernel, grid: Sequence[int], block: Sequence[int], args: Sequence,
             smem: int = 0) -> Callable[[], None]:
        run = kernel.bind(grid, block, args, smem, lambda: (self.schedule, self.seed))

        def launch() -> None:
            self.counters.launches += 1
            run()

        return self._queued(launch)

    def fuses(self, gemm, math: str) -> bool:
        return True

    def bind_gemm(self, call: GemmCall) -> Callable[[], None]:
        call.check()
        a, b, c = _matrices(call)
        sum_type = np.float64 if call.dtype == "float64" else np.float32
        alpha, beta = sum_type(call.alpha), sum_type(call.beta)
        read = to_tf32 if call.dtype == "float32" and call.math == "tf32" else _numbers

        def gemm() -> None:
            self.counters.gemms += 1
            with np.errstate(all="ignore"):
                product = np.matmul(read(a), read(b))
            if alpha != 1:
                product *= alpha
            if beta:                  # beta 0 must not read C, which may be NaN
                product += beta * _numbers(c)
            if call.epilogue:
                product = apply_epilogue(call, product[0], read(b)[0])
            c[...] = convert(product, c.dtype)

        return self._queued(gemm)

    # graphs and time ------------------------------------------------------
    @contextmanager
    def capture(self) -> Iterator[EmuGraph]:
        if self.recording is not None:
            raise DeviceError("[capture] a capture is running already")
        self.counters.captures += 1
        self.recording = graph = EmuGraph(self)
        try:
            yield graph
        finally:
            self.recording = None

    def synchronize(self) -> None:
        self._refuse("synchronize")
        self.counters.synchronizations += 1

    def memory_info(self) -> tuple[int, int]:
        return sum(b.used for b in self._blocks if not b.freed), MEMORY_BYTES

    def _queued(self, run: Callable[[], None]) -> Callable[[], None]:
        def queue() -> None:
            if self.recording is not None:
                self.recording.operations.append(run)
            else:
                run()

        return queue

    def _refuse(self, what: str) -> None:
        if self.recording is not None:
            raise DeviceError(f"[{what}] not possible while a graph is captured: "
                              "do it before or after")


def _numbers(x: np.ndarray) -> np.ndarray:
    """The operand in the type that sums are kept in."""
    x = plain(x)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def to_tf32(x: np.ndarray) -> np.ndarray:
    """float32 numbers as tensor cores read them, rounded to 10 bits of mantissa (cvt.rna)."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    finite = bits & np.uint32(0x7F800000) != np.uint32(0x7F800000)
    return np.where(finite, bits + np.uint32(0x1000) & np.uint32(0xFFFFE000), bits).view(np.float32)


def _matrices(call: GemmCall) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NumPy views (batch, m, k), (batch, k, n), (batch, m, n) of the three operands."""
    lda, ldb, ldc = call.leading
    dtype = numpy_dtype(call.dtype)

    def matrices(x: DeviceArray, rows: int, cols: int, ld: int, stride: int, trans: bool):
        if trans:
            rows, cols = cols, rows
        flat = host_view(x).reshape(-1).view(dtype)
        steps = tuple(s * dtype.itemsize for s in (stride, ld, 1))
        out = np.lib.stride_tricks.as_strided(flat, (call.batch, rows, cols), steps)
        return out.swapaxes(1, 2) if trans else out

    return (matrices(call.a, call.m, call.k, lda, call.stride_a, call.trans_a),
            matrices(call.b, call.k, call.n, ldb, call.stride_b, call.trans_b),
            matrices(call.c, call.m, call.n, ldc, call.stride_c, False))
