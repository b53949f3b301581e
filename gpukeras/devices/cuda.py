"""CudaDriver: a GPU by CuPy's memory, streams and graphs, NVRTC's cubins and our cuBLAS calls.

CuPy is imported when the driver is made. Everything runs on one non-blocking stream; CuPy's own
array functions are not used, so nothing depends on its current stream or its kernels' options.
"""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from ..errors import DeviceError, KernelError
from ..ops.record import Gemm
from . import cublas, cublaslt, dlpack, nvrtc
from .array import DeviceArray
from .driver import Driver, GemmCall, check_launch, same_size

_HOST_TO_DEVICE, _DEVICE_TO_HOST, _DEVICE_TO_DEVICE = 1, 2, 3
_STAGE_BYTES = 16 << 20              # larger uploads go in parts, so that little memory is pinned
_STAGES = 4                          # pinned buffers of one size in flight before an upload waits
_MAX_DYNAMIC_SHARED = 8              # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_SHARED_OPTIN = 97                   # cudaDevAttrMaxSharedMemoryPerBlockOptin
_FREE_SHARED = 48 * 1024             # dynamic shared memory that needs no attribute


class CudaBuffer:
    """One allocation from CuPy's pool; `memory` keeps it."""

    def __init__(self, memory: Any, nbytes: int):
        self.memory, self.ptr, self.nbytes, self.freed = memory, memory.ptr, nbytes, False


class CudaEntry:
    """One kernel of a loaded module."""

    def __init__(self, function: Any, name: str):
        self.function, self.name, self.smem = function, name, _FREE_SHARED


class CudaModule:
    """One cubin on the device."""

    def __init__(self, module: Any, name: str):
        self.module, self.name = module, name
        self.entries: dict[str, CudaEntry] = {}

    def kernel(self, entry: str) -> CudaEntry:
        """The kernel of that name; KernelError if the file has none."""
        if entry not in self.entries:
            try:
                self.entries[entry] = CudaEntry(self.module.get_function(entry), entry)
            except RuntimeError as error:
                raise KernelError(f"[{self.name}] no entry {entry!r}: {error}") from None
        return self.entries[entry]


class CudaGraph:
    """A captured graph. CuPy's Graph keeps nothing alive, so `kept` holds what it uses."""

    def __init__(self, driver: CudaDriver):
        self.driver = driver
        self.kept: list[Any] = []
        self.graph: Any = None

    def launch(self) -> None:
        """Queues the whole graph on the driver's stream."""
        self.driver.counters.graph_launches += 1
        self.graph.launch(self.driver.stream)


class CudaDriver(Driver):
    """One NVIDIA GPU. Not thread-safe: one thread queues work."""

    name = "cuda"
    measures = True

    def __init__(self, device: int = 0):
        super().__init__()
        import cupy
        from cupy_backends.cuda.api import driver as api

        self.cupy, self.api = cupy, api
        self.device = cupy.cuda.Device(device)
        self.device.use()
        self.arch = int(self.device.compute_capability)
        self.shared_limit = cupy.cuda.runtime.deviceGetAttribute(_SHARED_OPTIN, device)
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pool = cupy.cuda.MemoryPool()
        self.recording: CudaGraph | None = None
        self._modules: dict[tuple, CudaModule] = {}
        self._sending: Any = None
        self._other: Any = None              # stream of other libraries' work
        self._stages: dict[int, list] = {}
        self._blas: cublas.Cublas | None = None
        self._lt: cublaslt.CublasLt | None = None

    @property
    def device_name(self) -> str:
        name = self.cupy.cuda.runtime.getDeviceProperties(self.device.id)["name"]
        return name.decode() if isinstance(name, bytes) else name

    @property
    def place(self) -> str:
        """Which GPU of which machine."""
        return f"{platform.node()} {self.device.pci_bus_id}"

    # memory ---------------------------------------------------------------
    def alloc(self, nbytes: int) -> DeviceArray:
        self._refuse("alloc")
        self.counters.allocations += 1
        try:
            with self.device, self.stream:      # CuPy's pool keeps free lists per stream
                memory = self.pool.malloc(max(int(nbytes), 1))
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            raise DeviceError(f"[alloc] no room on the GPU for {nbytes} bytes: {error}") from None
        return DeviceArray(self, CudaBuffer(memory, int(nbytes)), 0, np.uint8, (int(nbytes),))

    def free(self, array: DeviceArray) -> None:
        self._refuse("free")
        array.buffer.freed = True
        array.buffer.memory = None

    def upload(self, dst: DeviceArray, src: np.ndarray) -> None:
        self._upload(dst, src, self.stream)

    def send(self, dst: DeviceArray, src: np.ndarray) -> None:
        self._upload(dst, src, self._side())

    def fence(self, sending: bool) -> Any:
        event = self.cupy.cuda.Event(disable_timing=True)
        event.record(self._side() if sending else self.stream)
        return event

    def wait(self, fence: Any, sending: bool) -> None:
        (self._side() if sending else self.stream).wait_event(fence)

    def aside(self) -> None:
        """Read values beside the work that is queued, which waits without end: to save what there
        is before the process ends."""
        self.stream = self._side()

    def _side(self) -> Any:
        """The stream that carries data while the main one computes."""
        if self._sending is None:
            with self.device:
                self._sending = self.cupy.cuda.Stream(non_blocking=True)
        return self._sending

    def _upload(self, dst: DeviceArray, src: np.ndarray, stream: Any) -> None:
        self._refuse("upload")
        if not isinstance(src, np.ndarray) or src.dtype != dst.dtype:
            got = getattr(src, "dtype", type(src))
            raise DeviceError(f"[upload] got {got}, expected {dst.dtype}")
        same_size("upload", dst, src)
        self.counters.uploads += 1
        flat = np.ascontiguousarray(src).reshape(-1).view(np.uint8)
        for start in range(0, dst.nbytes, _STAGE_BYTES):
            part = flat[start:start + _STAGE_BYTES]
            staged, event = self._stage(part.nbytes)
            np.copyto(np.frombuffer(staged, np.uint8, part.nbytes), part)
            self.cupy.cuda.runtime.memcpyAsync(dst.ptr + start, staged.ptr, part.nbytes,
                                               _HOST_TO_DEVICE, stream.ptr)
            event.record(stream)

    def _stage(self, nbytes: int) -> tuple[Any, Any]:
        """(pinned memory, event) free to be written: the least recently used of its size class."""
        size = 1 << max(9, (nbytes - 1).bit_length())
        ring = self._stages.setdefault(size, [])
        if len(ring) < _STAGES:
            event = self.cupy.cuda.Event(disable_timing=True)
            ring.append((self.cupy.cuda.alloc_pinned_memory(size), event))
        else:
            ring.append(ring.pop(0))
            ring[-1][1].synchronize()
        return ring[-1]

    def download(self, src: DeviceArray) -> np.ndarray:
        self._refuse("download")
        self.counters.downloads += 1
        out = np.empty(src.shape, src.dtype)
        if src.nbytes:
            self.cupy.cuda.runtime.memcpyAsync(out.ctypes.data, src.ptr, src.nbytes,
                                               _DEVICE_TO_HOST, self.stream.ptr)
        self.stream.synchronize()
        return out

    def bind_copy(self, dst: DeviceArray, src: DeviceArray) -> Callable[[], None]:
        same_size("copy", dst, src)
        copy, stream = self.cupy.cuda.runtime.memcpyAsync, self.stream.ptr
        to, what, nbytes = dst.ptr, src.ptr, dst.nbytes
        return self._queued(lambda: copy(to, what, nbytes, _DEVICE_TO_DEVICE, stream), (dst, src))

    def bind_fill(self, dst: DeviceArray, byte: int) -> Callable[[], None]:
        if not 0 <= byte <= 255:
            raise DeviceError(f"[fill] got byte {byte}, expected 0 to 255")
        fill, stream, to, nbytes = (self.cupy.cuda.runtime.memsetAsync, self.stream.ptr, dst.ptr,
                                    dst.nbytes)
        return self._queued(lambda: fill(to, byte, nbytes, stream), (dst,))

    def use(self) -> None:
        """Makes this GPU the calling thread's."""
        self.device.use()

    # work of other libraries, beside our own --------------------------------
    def bind_fork(self) -> Callable[[], None]:
        """From here on, what `bind_beside` queues follows what has been queued so far."""
        return self._between(lambda: self.stream, self._beside)

    def bind_join(self) -> Callable[[], None]:
        """What is queued from here on follows what `bind_beside` has queued."""
        return self._between(self._beside, lambda: self.stream)

    def bind_beside(self, run: Callable[[int], None], uses: tuple) -> Callable[[], None]:
        """run(pointer of a stream) beside the driver's own work; `uses` is kept alive."""
        return self._queued(lambda: run(self._beside().ptr), uses)

    def _beside(self) -> Any:
        if self._other is None:
            with self.device:
                self._other = self.cupy.cuda.Stream(non_blocking=True)
        return self._other

    def _between(self, first: Callable[[], Any], then: Callable[[], Any]) -> Callable[[], None]:
        with self.device:
            event = self.cupy.cuda.Event(disable_timing=True)

        def run() -> None:
            event.record(first())
            then().wait_event(event)

        return self._queued(run, (event,))

    def bind_peer_copy(self, dst: DeviceArray, src: DeviceArray) -> Callable[[], None]:
        """A copy from another GPU to this one, after what that one has queued; that one's later
        work waits for it. Not for captures."""
        same_size("copy", dst, src)
        runtime, other = self.cupy.cuda.runtime, src.driver
        with other.device:
            made = self.cupy.cuda.Event(disable_timing=True)
        with self.device:
            taken = self.cupy.cuda.Event(disable_timing=True)
        args = dst.ptr, self.device.id, src.ptr, other.device.id, dst.nbytes, self.stream.ptr

        def run() -> None:
            with other.device:
                made.record(other.stream)
            with self.device:
                self.stream.wait_event(made)
                runtime.memcpyPeerAsync(*args)
                taken.record(self.stream)
            with other.device:
                other.stream.wait_event(taken)

        return run

    def adopt(self, x) -> DeviceArray | None:
        kinds = dlpack.CUDA, dlpack.MANAGED
        with self.device:
            return dlpack.view(self, x, kinds, self.device.id, self.stream.ptr)

    def wait_for(self, stream: int) -> None:
        self.cupy.cuda.runtime.streamSynchronize(stream)

    # kernels --------------------------------------------------------------
    def load(self, source: str, name: str, defines: tuple[tuple[str, str], ...] = ()) -> CudaModule:
        key = (source, tuple(defines))
        if key not in self._modules:
            self._refuse("load")
            cubin = nvrtc.compile_cubin(source, name, tuple(defines),
                                        nvrtc.target(source, self.arch) or self.arch)
            module = self.cupy.cuda.function.Module()
            with self.device:
                module.load(cubin.code)
            self._modules[key] = CudaModule(module, name)
        return self._modules[key]

    def bind(self, kernel: CudaEntry, grid: Sequence[int], block: Sequence[int], args: Sequence,
             smem: int = 0) -> Callable[[], None]:
        grid, block = check_launch(kernel.name, grid, block, smem, self.shared_limit)
        if smem > kernel.smem:
            self.api.funcSetAttribute(kernel.function.ptr, _MAX_DYNAMIC_SHARED, smem)
            kernel.smem = smem
        values = tuple(_argument(kernel.name, i, a) for i, a in enumerate(args))
        function, stream, counters = kernel.function, self.stream, self.counters

        def launch() -> None:
            counters.launches += 1
            function(grid, block, values, smem, stream)

        return self._queued(launch, (kernel, *args))

    def fuses(self, gemm: Gemm, math: str) -> bool:
        lt = self._cublaslt()
        return lt is not None and lt.knows(gemm, math)

    def bind_gemm(self, call: GemmCall) -> Callable[[], None]:
        run = (self._cublaslt() if call.epilogue else self._cublas()).bind(call)

        def gemm() -> None:
            self.counters.gemms += 1
            run()

        return self._queued(gemm, (call.a, call.b, call.c, call.bias, call.aux))

    def _cublaslt(self) -> cublaslt.CublasLt | None:
        if self._lt is None:
            self._cublas()                         # whose workspace both use, one after the other
            library = cublaslt.find_cublaslt()
            if library is None:
                return None
            with self.device:
                self._lt = cublaslt.CublasLt(library, self.stream.ptr, self._workspace.ptr)
        return self._lt

    def _cublas(self) -> cublas.Cublas:
        if self._blas is None:
            library = cublas.find_cublas()
            if library is None:
                raise DeviceError("[gemm] no cuBLAS found. Try: pip install gpukeras[cuda13]")
            self._workspace = self.alloc(cublas.WORKSPACE_BYTES)
            with self.device:
                self._blas = cublas.Cublas(library, self.stream.ptr, self._workspace.ptr)
        return self._blas

    # graphs and time ------------------------------------------------------
    @contextmanager
    def capture(self) -> Iterator[CudaGraph]:
        if self.recording is not None:
            raise DeviceError("[capture] a capture is running already")
        self.counters.captures += 1
        graph = CudaGraph(self)
        self.stream.begin_capture()
        self.recording = graph
        try:
            yield graph
        except BaseException:
            self.recording = None
            try:
                self.stream.end_capture()
            except RuntimeError:                # the capture may already be invalid
                pass
            raise
        self.recording = None
        graph.graph = self.stream.end_capture()
        graph.kept += [self._blas, self._lt]

    def synchronize(self) -> None:
        self._refuse("synchronize")
        self.counters.synchronizations += 1
        self.stream.synchronize()

    def time(self, call: Callable[[], None]) -> float:
        """By events on the stream: without Python's own time for a call that runs longer."""
        self.synchronize()
        events = [self.cupy.cuda.Event() for _ in range(2)]
        events[0].record(self.stream)
        call()
        events[1].record(self.stream)
        self.synchronize()
        return self.cupy.cuda.get_elapsed_time(*events) / 1e3

    def trim(self) -> int:
        self._refuse("trim")
        before = self.pool.total_bytes()
        self.pool.free_all_blocks()
        return before - self.pool.total_bytes()

    def memory_info(self) -> tuple[int, int]:
        with self.device:
            return self.pool.used_bytes(), self.cupy.cuda.runtime.memGetInfo()[1]

    def _queued(self, run: Callable[[], None], uses: tuple) -> Callable[[], None]:
        """The callable, which also hands a running capture what it must keep alive."""
        def queue() -> None:
            if self.recording is not None:
                self.recording.kept.append(uses)
            run()

        return queue

    def _refuse(self, what: str) -> None:
        if self.recording is not None:
            raise DeviceError(f"[{what}] not possible while a graph is captured: "
                              "do it before or after")


def _argument(kernel: str, i: int, arg: Any) -> Any:
    """A one-element array: CuPy passes those by value, whatever their dtype, a struct's too."""
    if arg is None:
        return np.zeros(1, np.uint64)
    if isinstance(arg, DeviceArray):
        if arg.buffer.freed:
            raise DeviceError(f"[{kernel}] argument {i}: its memory was freed")
        return np.array([arg.ptr], np.uint64)
    if not isinstance(arg, np.generic):
        raise KernelError(f"[{kernel}] argument {i}: got {type(arg).__name__}, "
                          "expected a DeviceArray or a NumPy scalar")
    return np.array([arg])
