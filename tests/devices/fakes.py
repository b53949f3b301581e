"""Stand-ins for cuBLAS and CuPy over host memory: what our drivers call, behaving as documented."""

import ctypes
import functools
import sys
import threading
import time
import types

import numpy as np

from gpukeras.devices import cublas, nvrtc
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.emu.kernel import _ONE_AT_A_TIME, _Launch
from gpukeras.devices.emu.memory import Block
from gpukeras.devices.sources import module_text
from gpukeras.graph.halves import convert, numpy_dtype, plain

NAMES = {v: k for k, v in cublas.DATA_TYPES.items()}


def column_major(address, rows, cols, ld, dtype):
    """The matrix at an address as cuBLAS reads it: element (i, j) at i + j * ld."""
    count = (cols - 1) * ld + rows
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, (rows, cols),
                                           (flat.itemsize, ld * flat.itemsize))


class FakeLibrary:
    """cublasGemmEx and its batched twin as their documentation says."""

    def __init__(self, submit=None):
        self.calls = []
        self.submit = submit or (lambda run: run())      # a stream that may be capturing

    def cublasCreate_v2(self, handle):
        handle._obj.value = 77
        return 0

    def cublasSetStream_v2(self, handle, stream):
        self.stream = stream.value
        return 0

    def cublasSetWorkspace_v2(self, handle, address, nbytes):
        self.workspace = (address.value, nbytes.value)
        return 0

    def cublasDestroy_v2(self, handle):
        return 0

    def cublasGemmEx(self, *args):
        (handle, ta, tb, m, n, k, alpha, a, ka, lda, b, kb, ldb, beta, c, kc, ldc, compute,
         algorithm) = args
        return self.cublasGemmStridedBatchedEx(
            handle, ta, tb, m, n, k, alpha, a, ka, lda, ctypes.c_longlong(0), b, kb, ldb,
            ctypes.c_longlong(0), beta, c, kc, ldc, ctypes.c_longlong(0), ctypes.c_int(1), compute,
            algorithm)

    def cublasGemmStridedBatchedEx(self, handle, ta, tb, m, n, k, alpha, a, ka, lda, sa, b, kb, ldb,
                                   sb, beta, c, kc, ldc, sc, batch, compute, algorithm):
        self.calls.append(compute.value)
        self.submit(lambda: self._product(ta, tb, m, n, k, alpha, a, ka, lda, sa, b, kb, ldb, sb,
                                          beta, c, kc, ldc, sc, batch))
        assert handle.value == 77 and algorithm.value == -1
        return 0

    def _product(self, ta, tb, m, n, k, alpha, a, ka, lda, sa, b, kb, ldb, sb, beta, c, kc, ldc,
                 sc, batch):
        m, n, k = m.value, n.value, k.value
        for i in range(batch.value):
            def matrix(p, kind, rows, cols, ld, stride):
                dtype = numpy_dtype(NAMES[kind.value])
                at = p.value + i * stride.value * dtype.itemsize
                return column_major(at, rows, cols, ld.value, dtype)

            x = matrix(a, ka, k if ta.value else m, m if ta.value else k, lda, sa)
            y = matrix(b, kb, n if tb.value else k, k if tb.value else n, ldb, sb)
            z = matrix(c, kc, m, n, ldc, sc)
            x, y = plain(x), plain(y)
            product = (x.T if ta.value else x) @ (y.T if tb.value else y)
            old = plain(z) * beta._obj.value if beta._obj.value else 0
            z[...] = convert(alpha._obj.value * product + old, z.dtype)


class FakeStream:
    """Runs work at once; while capturing, keeps it for the graph. A second stream runs its work as
    late as it may: when the first one waits for it. One that waits for a capturing stream captures
    too, until that one waits for it."""

    ptr = 4242

    def __init__(self, non_blocking, late=False):
        assert non_blocking, "the null stream cannot be captured"
        self.captured, self.late = None, late
        self.pending, self.waits, self.joined = [], [], []

    def submit(self, run):
        if self.late:
            self.pending.append(run)
        elif self.captured is None:
            run()
        else:
            self.captured.append(run)

    def wait_event(self, event):
        self.waits.append(event)
        event.arrive()
        other = event.stream
        if other is None or self is other:
            return
        if other.captured is not None and self.captured is None:
            self.captured, self.late = other.captured, False
            other.joined.append(self)
        elif other in self.joined:
            self.joined.remove(other)
            other.captured, other.late = None, True

    def begin_capture(self):
        self.captured = []

    def end_capture(self):
        captured, self.captured = self.captured, None
        for stream in self.joined:
            stream.captured, stream.late = None, True
        left, self.joined = self.joined, []
        if left:
            raise RuntimeError("cudaErrorStreamCaptureUnjoined")
        return types.SimpleNamespace(launch=lambda stream: [run() for run in captured])

    def synchronize(self):
        assert self.captured is None
        self.run_pending(len(self.pending))

    def run_pending(self, count):
        work, self.pending = self.pending[:count], self.pending[count:]
        for run in work:
            run()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass


class FakeFunction:
    """A kernel that the emulator runs, from bare argument bytes as CUDA gets them."""

    ptr = 99

    def __init__(self, cupy, kernel):
        self.cupy, self.kernel = cupy, kernel

    def __call__(self, grid, block, args, shared_mem, stream):
        assert stream is self.cupy.stream and isinstance(args, tuple)
        assert all(type(a) is np.ndarray and a.size == 1 for a in args), "CuPy refuses others"
        values = [a.copy() for a in args]
        self.cupy.stream.submit(lambda: self._run(grid, block, values, shared_mem))

    def _run(self, grid, block, values, smem):
        pointers = (ctypes.c_void_p * max(len(values), 1))(*[v.ctypes.data for v in values])
        message = ctypes.create_string_buffer(700)
        launch = _Launch(self.kernel.call, ctypes.addressof(pointers), grid, block, smem,
                         self.kernel.module.image, 0, 700, 1,
                         ctypes.cast(message, ctypes.c_char_p), None)
        with _ONE_AT_A_TIME:
            assert not self.kernel.module.runtime.emu_run(ctypes.byref(launch)), message.value


class FakeModule:
    """cupy.cuda.function.Module: its "cubin" is the kernel text."""

    def __init__(self, cupy):
        self.cupy = cupy

    def load(self, cubin):
        assert type(cubin) is bytes
        self.loaded = EmuDriver().load(cubin.decode(), "fake.cu")

    def get_function(self, name):
        return FakeFunction(self.cupy, self.loaded.kernel(name))


class FakeDevice:
    """cupy.cuda.Device"""

    compute_capability, pci_bus_id = "90", "0000:19:00.0"

    def __init__(self, index):
        self.id = index

    def use(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass


class FakePool:
    """cupy.cuda.MemoryPool, which keeps what is freed until it is told not to."""

    def __init__(self):
        self.kept = 2048

    def malloc(self, nbytes):
        return Block(nbytes)

    def used_bytes(self):
        return 512

    def total_bytes(self):
        return 512 + self.kept

    def free_all_blocks(self):
        self.kept = 0


class FakeCupy(types.ModuleType):
    """The part of CuPy 14 that CudaDriver uses."""

    def __init__(self):
        super().__init__("cupy")
        self.attributes, self.stream, self.events, self.streams = [], None, 0, {}
        runtime = types.SimpleNamespace(
            memcpyAsync=self._copy, memcpyPeerAsync=self._copy_peer, memsetAsync=self._set,
            memGetInfo=lambda: (10, 1 << 30), getDeviceCount=lambda: 1,
            getDeviceProperties=lambda device: {"name": b"stand-in"},
            deviceGetAttribute=lambda which, device: {97: 232448}[which])
        self.cuda = types.SimpleNamespace(
            Device=FakeDevice, Stream=self._stream, Event=self._event,
            get_elapsed_time=self._elapsed, runtime=runtime,
            MemoryPool=FakePool,
            alloc_pinned_memory=self._pinned,
            function=types.SimpleNamespace(Module=lambda: FakeModule(self)),
            memory=types.SimpleNamespace(OutOfMemoryError=MemoryError))

    def _stream(self, non_blocking):
        made = FakeStream(non_blocking, late=self.stream is not None)
        made.ptr += len(self.streams)
        self.streams[made.ptr] = made
        if self.stream is None:
            self.stream = made
        else:
            self.sending = self.beside = made      # nobody here uses both
        return made

    def _event(self, disable_timing=False):
        self.events += 1
        event = types.SimpleNamespace(timing=not disable_timing, stream=None, left=0, done=True)

        def record(stream):
            vars(event).update(at=time.perf_counter(), stream=stream, left=len(stream.pending))

        def arrive():
            if event.stream is not None:
                event.stream.run_pending(event.left)
                event.left = 0

        event.record, event.arrive, event.synchronize = record, arrive, arrive
        return event

    @staticmethod
    def _elapsed(start, end):
        assert start.timing and end.timing
        return 1e3 * (end.at - start.at)           # milliseconds, as CUDA has it

    def _pinned(self, size):
        memory = (ctypes.c_char * size)()
        return PinnedMemory(memory)

    def _copy(self, dst, src, nbytes, kind, stream):
        assert kind in (1, 2, 3)
        self.streams[stream].submit(lambda: ctypes.memmove(dst, src, nbytes))

    def _copy_peer(self, dst, to, src, source, nbytes, stream):
        assert to != source and stream == FakeStream.ptr
        self.stream.submit(lambda: ctypes.memmove(dst, src, nbytes))

    def _set(self, ptr, value, nbytes, stream):
        self.streams[stream].submit(lambda: ctypes.memset(ptr, value, nbytes))


class PinnedMemory(bytearray):
    """Host memory with an address, as PinnedMemoryPointer; NumPy reads it as a buffer."""

    def __init__(self, memory):
        super().__init__(len(memory))
        self.ptr = ctypes.addressof((ctypes.c_char * len(self)).from_buffer(self))


def stand_in(monkeypatch, cupy):
    """Put a FakeCupy where CudaDriver looks for CuPy, and the emulator where it looks for NVRTC."""
    api = types.SimpleNamespace(
        funcSetAttribute=lambda function, which, value: cupy.attributes.append((which, value)))
    package = types.ModuleType("cupy_backends.cuda.api")
    package.driver = api
    for name in ("cupy_backends", "cupy_backends.cuda"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.api", package)
    monkeypatch.setitem(sys.modules, "cupy", cupy)

    def compile_cubin(text, name, defines, arch):
        assert str(arch) in ("90", "90a")
        return types.SimpleNamespace(code=module_text(text, defines).encode())

    monkeypatch.setattr(nvrtc, "compile_cubin", compile_cubin)


class FakeNccl:
    """cupy.cuda.nccl: sums over communicators that threads of one process call, on the streams of
    their GPUs. `cupys`: the CuPy of each GPU."""

    def __init__(self, cupys):
        self.cupys, self.meeting, self.arrived = cupys, threading.Barrier(len(cupys)), {}
        self.calls = 0
        self.NcclCommunicator = types.SimpleNamespace(initAll=lambda devices: [
            types.SimpleNamespace(allReduce=functools.partial(self._all_reduce, i))
            for i, _ in enumerate(devices)])

    def _all_reduce(self, rank, src, dst, count, kind, op, stream):
        assert op == 0 and stream == self.cupys[rank].beside.ptr
        dtype = {2: "i4", 4: "i8", 7: "f4", 8: "f8"}[kind]
        self.calls += 1

        def array(address):
            memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(address)
            return np.frombuffer(memory, dtype)

        def run():
            self.arrived[rank] = array(src).copy()
            self.meeting.wait(20)
            total = sum(self.arrived[i] for i in sorted(self.arrived))
            self.meeting.wait(20)
            array(dst)[:] = total

        self.cupys[rank].beside.submit(run)
