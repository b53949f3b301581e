"""TensorType: what is known of a tensor before it has a value."""
from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from ..errors import DtypeError, ShapeError
from .halves import BFLOAT16, numpy_dtype

Shape = tuple[Optional[int], ...]

_SHORT = {"float": "f", "int": "i", "uint": "u", "complex": "c", "bfloat": "bf"}


class TensorType(NamedTuple):
    """A data type (a NumPy name) and a shape whose unknown sizes are None. Prints as
    f32[None,10]."""

    dtype: str
    shape: Shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return None not in self.shape

    @property
    def size(self) -> int | None:
        """Number of elements, or None while a size is unknown."""
        n = 1
        for d in self.shape:
            if d is None:
                return None
            n *= d
        return n

    @property
    def itemsize(self) -> int:
        return numpy_dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def with_shape(self, shape) -> "TensorType":
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: str) -> "TensorType":
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        name = self.dtype.rstrip("0123456789")
        short = _SHORT.get(name, name) + ("" if name == "bool" else str(8 * self.itemsize))
        return f"{short}[{','.join(map(str, self.shape))}]"

    __repr__ = __str__


def is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def promote(*dtypes: str) -> str:
    """The data type of a mixed expression: the widest float if there is one, else NumPy's integer
    rule. Of float16 and bfloat16 neither holds the other: they meet in float32.

    Unlike NumPy, int64 with float32 stays float32: an index must not double the size of a model.
    """
    first = dtypes[0]
    if all(d == first for d in dtypes):
        return first
    floats = [d for d in dtypes if is_float(d)]
    if "bfloat16" in floats:
        if set(floats) == {"bfloat16"}:
            return "bfloat16"
        floats = ["float32" if d == "bfloat16" else d for d in floats]
    return str(np.result_type(*(np.dtype(d) for d in (floats or dtypes))))


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's broadcasting; an unknown size meets 1 as unknown and n as n."""
    ndim = max(map(len, shapes))
    out: list[int | None] = []
    for axis in range(-ndim, 0):
        size: int | None = 1
        for shape in shapes:
            if -axis > len(shape):
                continue
            d = shape[axis]
            if d == 1 or d == size:
                continue
            if size == 1 or size is None:
                size = d
            elif d is not None:
                raise ShapeError(f"shapes do not broadcast: got {' and '.join(map(str, shapes))}, "
                                 f"expected equal sizes or 1 at axis {axis}")
        out.append(size)
    return tuple(out)


def check_dtype(dtype) -> str:
    """The NumPy name of a data type given in any form; strings and objects are refused."""
    if dtype == "bfloat16" or dtype == BFLOAT16:
        return "bfloat16"
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name.startswith(("str", "object", "bytes", "void", "datetime", "timedelta")):
        raise DtypeError(f"no tensor can hold data of type {name}: expected numbers or booleans")
    return name
