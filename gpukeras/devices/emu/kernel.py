"""Loads a compiled kernel text and launches its entries, with every argument checked."""

from __future__ import annotations

import ctypes
import threading
from typing import Callable, Sequence

import numpy as np

from ...errors import DeviceError, KernelError
from ...graph.halves import BFLOAT16, dtype_name
from ..array import RAW, DeviceArray
from ..driver import check_launch
from .build import CHECKS, line_of, runtime, shared_object, translate

SCHEDULES = {"forward": 0, "reverse": 1, "random": 2}
SHARED_LIMIT = 227 * 1024          # dynamic shared memory of a block on sm_90, opted in
_ONE_AT_A_TIME = threading.RLock()     # the runtime's state is one per process


class _Launch(ctypes.Structure):
    """EmuLaunch of context.h."""

    _fields_ = [("call", ctypes.c_void_p), ("args", ctypes.c_void_p), ("grid", ctypes.c_uint * 3),
                ("block", ctypes.c_uint * 3), ("smem", ctypes.c_uint64),
                ("image", ctypes.c_void_p * 4), ("schedule", ctypes.c_int),
                ("message_size", ctypes.c_int), ("seed", ctypes.c_uint64),
                ("message", ctypes.c_char_p), ("fault_pc", ctypes.c_void_p)]


class Parameter:
    """One parameter of a kernel: is it a pointer, to const, and the code of its type ("f4")."""

    def __init__(self, text: str):
        self.const = text.startswith("const ")
        self.pointer = text.endswith("*")
        self.code, _, size = text.removeprefix("const ").rstrip("*").partition(":")
        self.size = int(size or 0)              # of a struct passed by value

    def takes(self, dtype: np.dtype) -> bool:
        """May an array or scalar of this dtype be passed?"""
        code = "bf" if dtype == BFLOAT16 else dtype.str[1:]
        if self.code == "?" or self.pointer and dtype == RAW:
            return self.pointer or dtype.itemsize == self.size
        return code == self.code or (self.pointer and {code, self.code} == {"b1", "u1"})

    def __str__(self) -> str:
        return ("const " if self.const else "") + self.code + (
            "*" if self.pointer else f" of {self.size} bytes" if self.size else "")


class EmuModule:
    """One compiled text. check: "" (fast), "memory" (every access), "races" (memory and races)."""

    def __init__(self, text: str, name: str, defines: tuple[tuple[str, str], ...], check: str):
        self.name, self.check = name, check
        self.runtime = runtime()
        self.path = shared_object(translate(text, defines), name, CHECKS[check])
        self.library = ctypes.CDLL(self.path)
        self.image = (ctypes.c_void_p * 4)()
        self.library.emu_image(self.image)

    def kernel(self, entry: str) -> EmuKernel:
        """The kernel of that name; KernelError if the file has none."""
        if not hasattr(self.library, f"emu_call_{entry}"):
            raise KernelError(f"[{self.name}] no entry {entry!r}: expected an "
                              f'`extern "C" __global__` function of that name')
        return EmuKernel(self, entry)


class EmuKernel:
    """One entry of a module."""

    def __init__(self, module: EmuModule, name: str):
        self.module, self.name = module, name
        self.call = ctypes.cast(getattr(module.library, f"emu_call_{name}"), ctypes.c_void_p)
        text = ctypes.create_string_buffer(4096)
        getattr(module.library, f"emu_signature_{name}")(text, 4096)
        words = text.value.decode().rstrip(",")
        self.parameters = [Parameter(w) for w in words.split(",")] if words else []

    def pack(self, args: Sequence) -> tuple:
        """(argument pointers, what they point to, ranges for the checker), or an error."""
        if len(args) != len(self.parameters):
            wanted = ", ".join(map(str, self.parameters))
            raise KernelError(f"[{self.name}] wrong number of arguments: got {len(args)}, "
                              f"expected {len(self.parameters)} ({wanted})")
        values, ranges = [], []
        for i, (arg, want) in enumerate(zip(args, self.parameters)):
            values.append(self._value(i, arg, want))
            if isinstance(arg, DeviceArray) and arg.nbytes:
                ranges.append((arg.ptr, arg.ptr + arg.nbytes, not want.const))
        pointers = (ctypes.c_void_p * max(len(values), 1))(*[v.ctypes.data for v in values])
        return pointers, values, np.array(ranges, np.uint64).reshape(-1, 3)

    def _value(self, i: int, arg, want: Parameter) -> np.ndarray:
        where = f"[{self.name}] argument {i}"
        if want.pointer:
            if arg is None:
                return np.zeros(1, np.uintp)
            if not isinstance(arg, DeviceArray):
                raise KernelError(f"{where}: got {type(arg).__name__}, "
                                  f"expected a DeviceArray for {want}")
            if not want.takes(arg.dtype):
                raise KernelError(f"{where}: got {dtype_name(arg.dtype)}, expected {want}")
            if arg.buffer.freed:
                raise DeviceError(f"{where}: its memory was freed")
            if arg.ptr % arg.dtype.itemsize:
                raise KernelError(f"{where}: address not aligned to {arg.dtype.itemsize} bytes")
            return np.array([arg.ptr], np.uintp)
        if not isinstance(arg, np.generic) and getattr(arg, "ndim", 1):
            # CuPy would send a Python int or float as 8 bytes, whatever the kernel reads
            raise KernelError(f"{where}: got {type(arg).__name__}, "
                              f"expected a NumPy scalar for {want}")
        value = np.array(arg).reshape(1)          # a copy: scalars are fixed by now
        if not want.takes(value.dtype):
            raise KernelError(f"{where}: got {value.dtype}, expected {want}")
        return value

    def bind(self, grid: Sequence[int], block: Sequence[int], args: Sequence, smem: int,
             order: Callable[[], tuple[str, int]]) -> Callable[[], None]:
        """A callable that launches; order() gives (schedule, seed) at that time."""
        grid, block = check_launch(self.name, grid, block, smem, SHARED_LIMIT)
        pointers, values, ranges = self.pack(args)
        message = ctypes.create_string_buffer(700)
        launch = _Launch(self.call, ctypes.addressof(pointers), grid, block, smem,
                         self.module.image, 0, 700, 1,
                         ctypes.cast(message, ctypes.c_char_p), None)
        library, check = self.module.runtime, self.module.check
        arrays = tuple(a for a in args if isinstance(a, DeviceArray))

        def run(_keep=(pointers, values, message)) -> None:
            for a in arrays:
                if a.buffer.freed:
                    raise DeviceError(f"[{self.name}] launch with memory that was freed")
            schedule, launch.seed = order()
            launch.schedule = SCHEDULES[schedule]
            with _ONE_AT_A_TIME:
                if check:
                    library.emu_set_ranges(ranges.ctypes.data, len(ranges), check == "races")
                failed = library.emu_run(ctypes.byref(launch))
            if failed:
                raise KernelError(self._words(launch, message.value.decode(errors="replace")))
            for a in arrays:
                if not a.buffer.tail_intact():
                    raise KernelError(f"[{self.name}] wrote past the end of {a!r}")

        return run

    def _words(self, launch: _Launch, message: str) -> str:
        place = ""
        begin, end = self.module.image[2], self.module.image[3]
        if launch.fault_pc and begin <= launch.fault_pc < end:
            place = line_of(self.module.path, begin, launch.fault_pc)
        what, _, rest = message.partition("; ")
        return f"[{self.name}] {what}{f' ({place})' if place else ''}; {rest}"


def traffic(reset: bool = True) -> dict[str, int]:
    """Bytes moved by checked launches since the last reset, by memory and direction."""
    counts = (ctypes.c_uint64 * 4)()
    runtime().emu_counters(counts, int(reset))
    names = ("global_read", "global_written", "shared_read", "shared_written")
    return dict(zip(names, counts))
