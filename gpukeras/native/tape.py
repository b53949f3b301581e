"""Bound calls written down as a tape: partials of NumPy's functions, BLAS calls, lists of these.

`write(calls)` gives a Tape, or None where one of the calls is of another kind.  The tape does
the same with the same functions: elementwise calls run NumPy's own inner loops, found by their
addresses in the ufunc, on the same elements, and BLAS calls go to the same library, so the results
are the same bits.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

Words = list[int]
END, GEMM, STACK, AXPY, CALL, LOOP, MOVE, GEMMS, SKIP = range(9)        # as in code.py
BOOL_TO_FLOAT = -4
MOST = 4                      # operands of a loop


class Tape:
    """Words of 8 bytes, and the arrays that they point to."""

    def __init__(self, words: Words, held: list) -> None:
        self.words = np.array([w - (1 << 64) if w >= 1 << 63 else w for w in words], np.int64)
        self.address = self.words.ctypes.data
        self.held = held


class Other(Exception):
    """A call that a tape cannot say."""


def write(call: Callable) -> Tape | None:
    """The tape of a call or of a list made by in_turn()."""
    held: list = []
    try:
        return Tape(_words(call, held) + [END, 2], held)
    except Other:
        return None


def skip(mask: np.ndarray, count: int, following: int) -> Words:
    """Leave out the `following` words where `count` elements of the mask, booleans without gaps,
    are true."""
    if mask.dtype != bool or not mask.flags.c_contiguous:
        raise Other
    return [SKIP, 6, mask.ctypes.data, mask.size, count, following]


def _words(call: Callable, held: list) -> Words:
    jobs = getattr(call, "jobs", None)              # what in_turn() put together
    if jobs is not None:
        return [word for job in jobs for word in _words(job, held)]
    words, spell = getattr(call, "words", None), getattr(call, "spell", None)
    if words is not None:                           # calls that know how to say it,
        held.append(call)
        return words()
    if spell is not None:                           # of other calls
        held.append(call)
        return spell(lambda more: _words(more, held))
    if not isinstance(call, partial):
        raise Other
    function = call.func
    held.append(call)
    if hasattr(call, "each"):                       # many products by one numpy.matmul
        return _blas(call.each, call.numbers, held, GEMMS)
    if isinstance(function, np.ufunc):
        return _loop(function, call, held)
    if function is np.copyto and len(call.args) == 2 and not call.keywords:
        return _move(*call.args)
    if getattr(function, "__name__", "") == "fill" and len(call.args) == 1:
        return _fill(getattr(function, "__self__", None), call.args[0], held)
    if isinstance(function, ctypes._CFuncPtr) and not call.keywords:
        return _blas(function, getattr(call, "numbers", call.args), held)
    raise Other


# ---- BLAS

def _blas(function, args: tuple, held: list, code: int | None = None) -> Words:
    name = getattr(function, "__name__", "")
    codes = {"scipy_cblas_sgemm64_": GEMM, "scipy_cblas_sgemm_batch_strided64_": STACK,
             "scipy_saxpy_64_": AXPY}
    if name not in codes:
        raise Other
    held.append(function)
    words = [code or codes[name], 0, ctypes.cast(function, ctypes.c_void_p).value]
    words += [_value(a) for a in args]
    words[1] = len(words)
    return words


def _value(argument) -> int:
    """An argument as a word: numbers, addresses, and the bits of a float."""
    if isinstance(argument, int):
        return argument
    if isinstance(argument, float):
        return struct.unpack("<I", struct.pack("<f", argument))[0]
    if isinstance(argument, ctypes.c_void_p):
        return argument.value or 0
    if hasattr(argument, "_obj"):                   # ctypes.byref
        return ctypes.addressof(argument._obj)
    raise Other


# ---- NumPy

class _Ufunc(ctypes.Structure):
    """The public head of PyUFuncObject: numpy/ufuncobject.h."""

    _fields_ = [("head", ctypes.c_byte * object.__basicsize__), ("nin", ctypes.c_int),
                ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
                ("functions", ctypes.POINTER(ctypes.c_void_p)),
                ("data", ctypes.POINTER(ctypes.c_void_p)), ("ntypes", ctypes.c_int),
                ("reserved", ctypes.c_int), ("name", ctypes.c_char_p)]


_Inner = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


@lru_cache(None)
def reads_ufuncs() -> bool:
    """Whether ufuncs lie in memory as this NumPy's header says; checked on some."""
    heads = [(u, _Ufunc.from_address(id(u)))
             for u in (np.add, np.negative, np.tanh, np.greater, np.divmod)]
    if not all((h.nin, h.nout, h.nargs, h.ntypes) == (u.nin, u.nout, u.nargs, u.ntypes)
               for u, h in heads):
        return False
    return all(h.name == u.__name__.encode() for u, h in heads)


@lru_cache(None)
def _inner(ufunc: np.ufunc, kind: str) -> tuple[int, int] | None:
    """(address of the loop for types such as "ff->f", its data), if there is one and it gives what
    the ufunc gives."""
    if not reads_ufuncs() or kind not in ufunc.types:
        return None
    head = _Ufunc.from_address(id(ufunc))
    if (head.nin, head.nout, head.ntypes) != (ufunc.nin, ufunc.nout, ufunc.ntypes):
        return None
    number = ufunc.types.index(kind)
    address = head.functions[number]
    data = (head.data[number] if head.data else 0) or 0
    return (address, data) if address and _agrees(ufunc, kind, address, data) else None


def _agrees(ufunc: np.ufunc, kind: str, address: int, data: int) -> bool:
    """Whether the loop gives the ufunc's bits, with and without gaps between the elements."""
    rng = np.random.default_rng(3)
    ins = [(rng.standard_normal(2 * 67) * 3).astype(c) for c in kind[:ufunc.nin]]
    for step in (1, 2):
        here = [x[::step][:67] for x in ins]
        with np.errstate(all="ignore"):
            expected = ufunc(*here)
            found = np.zeros_like(expected)
            arrays = [*here, found]
            _Inner(address)((ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays)),
                            (ctypes.c_int64 * 1)(67),
                            (ctypes.c_int64 * len(arrays))(*(a.strides[0] for a in arrays)), data)
        if expected.dtype.char != kind[-1] or expected.tobytes() != found.tobytes():
            return False
    return True


def _loop(ufunc: np.ufunc, call: partial, held: list) -> Words:
    if set(call.keywords) - {"out"} or ufunc.nout != 1 or ufunc.signature:
        raise Other
    args = list(call.args)
    if "out" in call.keywords:
        args.append(call.keywords["out"])
    if len(args) != ufunc.nin + 1 or not isinstance(args[-1], np.ndarray):
        raise Other
    out = args[-1]
    like = next((a.dtype for a in args[:-1] if isinstance(a, np.ndarray)), out.dtype)
    ins = [_operand(a, out.shape, like) for a in args[:-1]]
    kind = "".join(x.dtype.char for x in ins) + "->" + out.dtype.char
    found = _inner(ufunc, kind)
    if found is None or any(_overlaps(x, out) for x in ins):
        raise Other
    held += ins
    return _runs(LOOP, found[0], found[1], [*ins, out], out)


def _operand(x, shape: tuple[int, ...], like: np.dtype) -> np.ndarray:
    """An operand as an array of `shape`; Python's numbers have the type of the arrays beside them.
    """
    if not isinstance(x, np.ndarray):
        if not isinstance(x, (np.generic, float)):
            raise Other
        x = np.asarray(x, None if isinstance(x, np.generic) else like)
    if not (x.flags.aligned and x.dtype.isnative):
        raise Other
    if x.shape == shape:
        return x
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        raise Other from None


def _overlaps(x: np.ndarray, out: np.ndarray) -> bool:
    """Whether writing an element may change another one that is yet to be read."""
    same = x.ctypes.data == out.ctypes.data and x.strides == out.strides and x.dtype == out.dtype
    return not same and np.may_share_memory(x, out) and np.shares_memory(x, out, max_work=10000)


def _move(to: np.ndarray, source) -> Words:
    if not isinstance(source, np.ndarray) or to.dtype.hasobject:
        raise Other
    size = to.itemsize
    if source.dtype == bool and to.dtype == np.float32:
        size = BOOL_TO_FLOAT
    elif source.dtype != to.dtype:
        raise Other
    source = _operand(source, to.shape, to.dtype)
    if _overlaps(source, to):
        raise Other
    return _runs(MOVE, size, 0, [to, source], to)


def _fill(to, value, held: list) -> Words:
    if not isinstance(to, np.ndarray):
        raise Other
    one = np.asarray(value, to.dtype)
    held.append(one)
    return _runs(MOVE, to.itemsize, 0, [to, np.broadcast_to(one, to.shape)], to)


def _runs(code: int, first: int, data: int, operands: list[np.ndarray], out: np.ndarray) -> Words:
    """A LOOP or MOVE over all elements: as few and long runs as the strides allow."""
    axes = merged([(size, *(x.strides[i] for x in operands))
                   for i, size in enumerate(out.shape)], 1 if code == MOVE else len(operands))
    if not out.size or len(operands) > MOST:
        raise Other
    count, *steps = axes.pop() if axes else (1, *(0 for _ in operands))
    empty = [0] * (MOST - len(operands))
    home = [x.ctypes.data for x in operands] + empty
    words = [code, 0, first, data, len(operands), count, len(axes), *home, *home, *steps, *empty]
    for size, *strides in axes:
        words += [size, 0, *strides, *empty]
    words[1] = len(words)
    return words


def merged(axes: list[tuple[int, ...]], out: int) -> list[tuple[int, ...]]:
    """Axes (size, stride of each operand), those of size 1 left out, largest strides of axis[out]
    outside, and neighbours made one where every operand goes on in equal steps."""
    axes = sorted((a for a in axes if a[0] != 1), key=lambda a: -abs(a[out]))
    found: list[tuple[int, ...]] = []
    for axis in axes:
        size, *steps = axis
        if found and all(outer == step * size for outer, step in zip(found[-1][1:], steps)):
            found[-1] = (found[-1][0] * size, *steps)
        else:
            found.append(axis)
    return found
