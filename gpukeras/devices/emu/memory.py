"""Memory of the emulated device: guard pages around every allocation, NaN bytes inside."""

from __future__ import annotations

import ctypes
import mmap
import weakref

import numpy as np

from ...errors import DeviceError

PAGE = mmap.PAGESIZE
ALIGNMENT = 256               # as cudaMalloc
_NONE, _READ_WRITE, _PRIVATE_ANONYMOUS = 0, 3, 0x22

_libc = None


def _system():
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.mmap.restype = ctypes.c_void_p
        _libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                               ctypes.c_int, ctypes.c_long]
        _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        _libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return _libc


class Block:
    """One allocation. Ends (rounded up to 256 bytes) at an unmapped page; starts filled with 0xFF.

    0xFF bytes read as NaN in every float type: a kernel that reads what nobody wrote shows.
    """

    def __init__(self, nbytes: int):
        libc = _system()
        self.nbytes = nbytes
        self.used = max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)
        body = -(-self.used // PAGE) * PAGE
        size = body + 2 * PAGE
        base = libc.mmap(None, size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            raise DeviceError(f"[emu] out of memory: got a request for {nbytes} bytes")
        libc.mprotect(base, PAGE, _NONE)
        libc.mprotect(base + PAGE + body, PAGE, _NONE)
        self.ptr = base + PAGE + body - self.used
        ctypes.memset(self.ptr, 0xFF, self.used)
        self.freed = False
        self._release = weakref.finalize(self, libc.munmap, base, size)

    def bytes(self, offset: int, nbytes: int) -> np.ndarray:
        """Part of the block as uint8; keeps the block alive."""
        if self.freed:
            raise DeviceError("[emu] use of memory after it was freed")
        if not nbytes:
            return np.empty(0, np.uint8)
        memory = (ctypes.c_uint8 * nbytes).from_address(self.ptr + offset)
        memory.owner = self
        return np.frombuffer(memory, np.uint8)

    def tail_intact(self) -> bool:
        """Are the bytes between the end and the rounded end still 0xFF?"""
        tail = ctypes.string_at(self.ptr + self.nbytes, self.used - self.nbytes)
        return self.freed or tail == b"\xff" * len(tail)

    def free(self) -> None:
        """Fills with NaN bytes; the pages go when the last view does."""
        ctypes.memset(self.ptr, 0xFF, self.used)
        self.freed = True


def host_view(array) -> np.ndarray:
    """The NumPy view of a DeviceArray on the emulator (the driver's own use)."""
    raw = array.buffer.bytes(array.offset, array.nbytes)
    return raw.view(array.dtype).reshape(array.shape)
