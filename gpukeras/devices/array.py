"""DeviceArray: a typed view of device memory. Computes nothing, never becomes NumPy unasked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DeviceError
from ..graph.halves import dtype_name, numpy_dtype

if TYPE_CHECKING:
    from .driver import Driver

RAW = np.dtype("V1")      # scratch memory: a kernel may read it as any type


class DeviceArray:
    """C-contiguous elements at `offset` bytes into `buffer`, which the driver allocated.

    buffer: whatever the driver keeps for one allocation; has .ptr (address) and .nbytes.
    """

    __slots__ = ("driver", "buffer", "offset", "dtype", "shape")
    __array_priority__ = 1000
    __array_ufunc__ = None

    def __init__(self, driver: Driver, buffer, offset: int, dtype, shape: tuple[int, ...]):
        self.driver, self.buffer, self.offset = driver, buffer, int(offset)
        self.dtype = numpy_dtype(dtype)
        self.shape = tuple(int(s) for s in shape)
        if self.offset < 0 or self.offset + self.nbytes > buffer.nbytes:
            raise DeviceError(
                f"[DeviceArray] outside its buffer: got offset {offset} + {self.nbytes} bytes, "
                f"expected at most {buffer.nbytes}")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Rows, one after the other, of the same memory."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"a DeviceArray has slices of rows, x[2:5], got x[{rows!r}]")
        start, end, _ = rows.indices(len(self))
        shape = (max(end - start, 0), *self.shape[1:])
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        return self.view(shape=shape, offset=start * row)

    @property
    def ptr(self) -> int:
        """Device address of the first element."""
        return self.buffer.ptr + self.offset

    def view(self, dtype=None, shape: tuple[int, ...] | None = None,
             offset: int = 0) -> DeviceArray:
        """The same memory from `offset` bytes on, as another dtype or shape. No copy.

        Without a shape: one axis over all that is left.
        """
        dtype = self.dtype if dtype is None else numpy_dtype(dtype)
        if shape is None:
            shape = ((self.nbytes - offset) // dtype.itemsize,)
        return DeviceArray(self.driver, self.buffer, self.offset + offset, dtype, shape)

    def raw(self, offset: int = 0) -> DeviceArray:
        """The same memory as untyped scratch, which any pointer parameter accepts."""
        return self.view(RAW, None, offset)

    def __array__(self, *args, **kwargs):
        raise TypeError("a DeviceArray does not convert to NumPy by itself: "
                        "call driver.download(array)")

    def __repr__(self) -> str:
        return f"DeviceArray({dtype_name(self.dtype)}{list(self.shape)} on {self.driver.name})"
