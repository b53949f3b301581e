"""Matrix products on the host: bound calls of an OpenBLAS, chosen once, at first use.

`bind_gemm(a, b, out)` returns a run() whose arguments (pointers, sizes, leading dimensions) are
already C values, so that a call costs under a microsecond and strided or transposed views are used
where they lie.  Libraries tried, in this order:

1. NumPy's OpenBLAS loaded a second time, from a copy of its file in memory (Linux): an instance of
   our own, one thread each call; gpukeras/team.py splits large products instead,
2. NumPy's OpenBLAS itself, held to one thread while a function runs,
3. none (NumPy with Accelerate or MKL): numpy.matmul.

OpenBLAS chooses its kernels while it loads.  Versions before 0.3.32 take an AVX-512 AMD processor
for a Haswell and lose up to a factor of two, so OPENBLAS_CORETYPE is set for the duration of that
load (only if the user has not set it) and taken back.  Each library must agree with NumPy in a
short self-test before it is used.
"""

from __future__ import annotations

import ctypes
import glob
import itertools
import os
import shutil
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from .team import Team, in_turn, team

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112
# Floating point operations, 0.04 ms on one core.  Where a thread takes longer than that to start,
# the trial costs little: the team times both ways and takes the faster one.
WORTH_SPLITTING = 4e6
# OpenBLAS's AVX-512 kernels do not pack where m * n * k is at most a million: 104 to 110
# GFLOP/s where those that pack reach 87 to 95, so larger products are cut to that size.
# Where all of m, n, k are larger than PACKING_PAYS they are no slower whole.
UNPACKED, UNPACKED_CORES = 1e6, ("SkylakeX", "Cooperlake", "SapphireRapids")
LEAST_CUT, PACKING_PAYS = 32, 96
# Multiplications below which a call costs more than the best kernels save
FEW = 3e4

# How builds of OpenBLAS spell their names: NumPy's wheels the first way, conda and Debian the last.
SPELLINGS = (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", ""))
# OpenBLAS's calls for many small products crash up to release 0.3.34 (its pull request 5980).
STACKS_WORK = (0, 3, 34, 481)

_ALONE = Team(1)
_library: Library | None | bool = False           # False: not looked for yet
_refused: list[str] = []                           # why the libraries tried before it did not serve


class Library:
    """A loaded OpenBLAS: gemm entries by dtype character, kernel name, integer width.

    `own`: not the instance that NumPy itself uses (whose number of threads is the user's affair).
    """

    def __init__(self, path: str, own: bool) -> None:
        self.path, self.own = path, own
        handle = ctypes.CDLL(path)
        prefix, suffix = next(((p, s) for p, s in SPELLINGS
                               if hasattr(handle, f"{p}cblas_sgemm{s}")), ("", ""))

        def entry(name: str) -> Callable:
            return getattr(handle, f"{prefix}{name}{suffix}")

        self.gemm = {"f": entry("cblas_sgemm"), "d": entry("cblas_dgemm")}
        config = entry("openblas_get_config")
        config.restype = ctypes.c_char_p
        words = config().decode().split()
        self.version = " ".join(words[:2])
        self.integer = ctypes.c_int64 if "USE64BITINT" in words else ctypes.c_int32
        self.stack: dict = {}                       # one call for many products
        if (_numbers(words[1]) >= STACKS_WORK
                and hasattr(handle, f"{prefix}cblas_sgemm_batch_strided{suffix}")):
            self.stack = {"f": entry("cblas_sgemm_batch_strided"),
                          "d": entry("cblas_dgemm_batch_strided")}
        self.axpy: dict = {}                        # Fortran's: all arguments by pointer
        if hasattr(handle, f"{prefix}saxpy_{suffix}"):
            self.axpy = {"f": entry("saxpy_"), "d": entry("daxpy_")}
        for function in (*self.gemm.values(), *self.stack.values(),
                         *self.axpy.values()):
            function.restype = None
        name = entry("openblas_get_corename")
        name.restype = ctypes.c_char_p
        self.core = name().decode()
        self.get_threads = entry("openblas_get_num_threads")
        self.set_threads = entry("openblas_set_num_threads")

    def self_test(self) -> None:
        """Raises when a product of strided, transposed views differs from NumPy's."""
        rng = np.random.default_rng(1)
        for dtype in ("float32", "float64"):
            for order in ("aa", "at", "ta", "tt"):
                a, b = rng.standard_normal((2, 37, 37)).astype(dtype)
                a, b = a[:19, 3:34], b[2:33, :23]                      # (19, 31) @ (31, 23)
                x = a if order[0] == "a" else np.ascontiguousarray(a.T).T
                y = b if order[1] == "a" else np.ascontiguousarray(b.T).T
                out = np.full((19, 30), np.nan, dtype)
                _blas_gemm(self, x, y, out[:, 4:27], False, 1.0)()
                if not np.allclose(out[:, 4:27], a @ b, rtol=1e-4, atol=1e-4):
                    raise ValueError(f"{self.path}: {dtype} product {order} differs from NumPy's")
            # several products added up in one place rely on their order: one after the other
            a, b, out = rng.standard_normal((3, 9, 8, 8)).astype(dtype)
            total = out[0] + sum(a @ b)
            run = _blas_stack(self, a, b, np.broadcast_to(out[0], a.shape), True)
            if run is not None:
                run()
                if not np.allclose(out[0], total, rtol=1e-4, atol=1e-4):
                    self.stack = {}
            x, y = rng.standard_normal((2, 37)).astype(dtype)
            total = y - x / 2
            if self.axpy:
                _blas_axpy(self, np.array(-0.5, dtype), x, y)()
                if not np.allclose(y, total, rtol=1e-4, atol=1e-4):
                    self.axpy = {}


def _numbers(version: str) -> tuple[int, ...]:
    """(0, 3, 34) of "0.3.34.dev": the numbers at its start."""
    parts = itertools.takewhile(str.isdigit, version.split("."))
    return tuple(int(part) for part in parts)


def _needs_core_type() -> bool:
    """An AMD processor with the AVX-512 that OpenBLAS's SkylakeX kernels use (Linux)."""
    try:
        with open("/proc/cpuinfo") as file:
            text = file.read(8192)
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return "AuthenticAMD" in text and {"avx512f", "avx512dq", "avx512bw", "avx512vl",
                                       "avx512cd"} <= set(flags)


def _load(path: str, own: bool) -> Library | None:
    """The library at `path`, tested, or None.  The environment is as before afterwards."""
    wanted = {"OPENBLAS_NUM_THREADS": "1"}          # no pool of its own
    if "OPENBLAS_CORETYPE" not in os.environ and _needs_core_type():
        wanted["OPENBLAS_CORETYPE"] = "SkylakeX"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        library = Library(_second(path) if own else path, own)
        library.self_test()
        if library.own:
            library.set_threads(1)
        return library
    except (OSError, AttributeError, ValueError) as error:
        _refused.append(f"{'a second instance of ' * own}{os.path.basename(path)}: {error}")
        return None
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@lru_cache(None)
def _second(path: str) -> str:
    """The name of a copy in memory of the library at `path`: the dynamic linker would not load one
    file twice.  What it needs itself NumPy has loaded, and the linker finds that by name.

    The file stays open, so that the name stays ours.  Raises OSError where there is no such file or
    it may not be run.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no files in memory")
    number = os.memfd_create("openblas", os.MFD_CLOEXEC)
    with open(path, "rb") as source, open(number, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    return f"/proc/{os.getpid()}/fd/{number}"


def _numpys_path() -> str | None:
    """The OpenBLAS of NumPy's wheel; of another NumPy (conda, Debian), the one mapped here."""
    root = os.path.dirname(np.__file__)
    for folder in (root + ".libs", os.path.join(root, ".dylibs")):
        for path in sorted(glob.glob(os.path.join(folder, "*openblas*"))):
            return path
    try:
        with open("/proc/self/maps") as file:
            mapped = {line.split(maxsplit=5)[-1].strip() for line in file if "libopenblas" in line}
    except OSError:
        return None
    return min(filter(os.path.isfile, mapped), default=None)


def _candidates() -> list[tuple[str, bool]]:
    """(path, own) of what may be loaded, best first."""
    path = _numpys_path()
    return [] if path is None else [(path, True), (path, False)]


def library() -> Library | None:
    """The OpenBLAS in use, found and tested at the first call; None: numpy.matmul does the work."""
    global _library
    if _library is False:
        _library = None
        for candidate in _candidates():
            _library = _load(*candidate)
            if _library is not None:
                break
    return _library


def workers() -> Team:
    """The team that may share out matrix products: a team of one where there is no library."""
    return team() if library() is not None else _ALONE


def around() -> tuple[Callable[[], None], Callable[[], None]]:
    """What to call before and after a list of bound calls: NumPy's OpenBLAS is held to one thread.
    It would wake all its threads (and let them spin) for every small product: ours, if it is the
    library in use, and those of ops that call numpy.matmul."""
    numpys = _numpys()
    if numpys is None:
        return _nothing, _nothing
    get, put = numpys.get_threads, numpys.set_threads
    users = [get()]                                 # threads the user has given it

    def hold() -> None:
        now = get()
        if now > 1:
            users[0] = now
        put(1)

    def free() -> None:
        put(users[0])
    return hold, free


@lru_cache(None)
def _numpys() -> Library | None:
    """The OpenBLAS that NumPy uses, if it uses one."""
    try:
        return Library(_numpys_path() or "none", own=False)
    except (OSError, AttributeError):
        return None


def _nothing() -> None:
    pass


def info() -> str:
    """Which matrix kernels the host uses, in one line, and why no better ones."""
    found = library()
    why = "".join(f"; {reason}" for reason in _refused)
    if found is None:
        return "numpy.matmul" + why
    whose = "" if found.own else f", NumPy's own instance{why}"
    count = f"{team().size} threads" if team().size > 1 else "one thread"
    return f"{found.version} with {found.core} kernels ({count}{whose})"


def _leading(x: np.ndarray) -> tuple[int, int] | None:
    """(transpose flag, leading dimension) when BLAS can read the 2-D view `x` as it lies."""
    (rows, cols), (down, right), size = x.shape, x.strides, x.itemsize
    if down % size or right % size:
        return None
    if (right == size or cols == 1) and (down >= cols * size or rows == 1):
        return NO_TRANS, max(1, cols if rows == 1 else down // size)
    if (down == size or rows == 1) and (right >= rows * size or cols == 1):
        return TRANS, max(1, rows if cols == 1 else right // size)
    return None


@lru_cache(4096)
def _param(kind: type, number: float) -> object:
    """`number` as ctypes hands it on; of a c_int64 or the like it would make this at every call."""
    return kind.from_param(number)


def _bind(function: Callable, kinds: str, found: Library, numbers: tuple, arrays: tuple
          ) -> Callable[[], None]:
    """run() that calls `function` with C values of `kinds` ('e' an enumeration, 'n' a size, 'f' or
    'd' a number, 'p' an address).  run.numbers says them in Python."""
    types = {"e": ctypes.c_int, "n": found.integer, "p": ctypes.c_void_p, "f": ctypes.c_float,
             "d": ctypes.c_double}
    run = partial(function, *(_param(types[kind], x) for kind, x in zip(kinds, numbers)))
    run.numbers, run.arrays = numbers, arrays       # the addresses live as long as the call
    return run


def _blas_gemm(found: Library, a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool,
               alpha: float) -> Callable[[], None] | None:
    """A bound cblas call, or None when a view cannot be passed as it lies."""
    kind = out.dtype.char
    if kind not in found.gemm or a.dtype != out.dtype or b.dtype != out.dtype or not out.size:
        return None
    views = _leading(a), _leading(b), _leading(out)
    if None in views or a.shape[1] == 0:
        return None
    if views[2][0] == TRANS:                        # out.T = b.T @ a.T
        return _blas_gemm(found, b.T, a.T, out.T, accumulate, alpha)
    (trans_a, lda), (trans_b, ldb), (_, ldc) = views
    m, k = a.shape
    n = b.shape[1]
    return _bind(found.gemm[kind], f"eeennn{kind}pnpn{kind}pn", found,
                 (ROW_MAJOR, trans_a, trans_b, m, n, k, alpha, a.ctypes.data, lda, b.ctypes.data,
                  ldb, 1.0 if accumulate else 0.0, out.ctypes.data, ldc), (a, b, out))


def _blas_stack(found: Library, a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool,
                ) -> Callable[[], None] | None:
    """One bound call for out[i] = a[i] @ b[i], or None when views cannot be passed as they lie."""
    kind = out.dtype.char
    if kind not in found.stack or a.dtype != out.dtype or b.dtype != out.dtype or not out.size:
        return None
    views = _leading(a[0]), _leading(b[0]), _leading(out[0])
    steps = [x.strides[0] for x in (a, b, out)]
    if None in views or not a.shape[2] or views[2][0] == TRANS or any(
            s < 0 or s % out.itemsize for s in steps):
        return None
    (trans_a, lda), (trans_b, ldb), (_, ldc) = views
    step_a, step_b, step_out = (s // out.itemsize for s in steps)
    m, k = a.shape[1:]
    return _bind(found.stack[kind], f"eeennn{kind}pnnpnn{kind}pnnn", found,
                 (ROW_MAJOR, trans_a, trans_b, m, b.shape[2], k, 1.0, a.ctypes.data, lda, step_a,
                  b.ctypes.data, ldb, step_b, 1.0 if accumulate else 0.0, out.ctypes.data, ldc,
                  step_out, len(out)), (a, b, out))


def _numpy_stack(found: Library | None, a: np.ndarray, b: np.ndarray, out: np.ndarray
                 ) -> Callable[[], None] | None:
    """One numpy.matmul for out[i] = a[i] @ b[i], or None where calls of our library are faster.

    NumPy takes 0.1 us for a product where a call takes 0.4, but its kernels may be slower ones.
    What it calls for each product is run.each, with the first of run.numbers; then come the number
    of products and the bytes from one to the next of a, b and out.
    """
    run = partial(np.matmul, a, b, out)
    if found is None:
        return run
    numpys, views = _numpys(), [_leading(x[0]) for x in (a, b, out)]
    if (numpys is None or None in views or views[2][0] == TRANS or out.dtype.char not in numpys.gemm
            or not a.dtype == b.dtype == out.dtype or min(*a.shape[1:], out.shape[2]) < 2):
        return None                                 # NumPy would take another way
    if numpys.core != found.core and out[0].size * a.shape[2] > FEW:
        return None
    one = _blas_gemm(numpys, a[0], b[0], out[0], False, 1.0)
    run.each = one.func
    run.numbers = *one.numbers, len(a), a.strides[0], b.strides[0], out.strides[0]
    return run


def needs_no_packing() -> bool:
    """Whether products of at most UNPACKED are faster for not being packed."""
    found = library()
    return found is not None and found.core in UNPACKED_CORES


def _cut(found: Library | None, m: int, n: int, k: int) -> tuple[int, int] | None:
    """(axis, size of a part) by which a product (m, k) @ (k, n) falls into parts that need no
    packing: axis 2 the rows of a, 1 the columns of b, 0 the sum.  None: best as it is."""
    if (found is None or found.core not in UNPACKED_CORES or 1.0 * m * n * k <= UNPACKED
            or min(m, n, k) > PACKING_PAYS):
        return None
    # the axis along which the parts stay largest
    most, axis = max((int(UNPACKED / max(1, k * n)), 2), (int(UNPACKED / max(1, m * k)), 1),
                     (int(UNPACKED / max(1, m * n)), 0))
    if most < LEAST_CUT:
        return None
    size = (k, n, m)[axis]
    even = -(-size // -(-size // most))                             # parts of about one size
    return axis, min(-(-even // 16) * 16, most // 16 * 16)


def _cut_stacks(a: np.ndarray, b: np.ndarray, out: np.ndarray, axis: int, step: int,
                ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, bool]]:
    """Stacks cut along `axis`: [(part of a, part of b, part of out, added to what is there)]."""
    size = (a.shape[-1], b.shape[-1], a.shape[-2])[axis]
    cuts = [slice(i, min(i + step, size)) for i in range(0, size, step)]
    if axis == 2:
        return [(a[..., c, :], b, out[..., c, :], False) for c in cuts]
    if axis == 1:
        return [(a, b[..., c], out[..., c], False) for c in cuts]
    return [(a[..., c], b[..., c, :], out, i > 0) for i, c in enumerate(cuts)]


def _cut_matrix(a: np.ndarray, b: np.ndarray, out: np.ndarray, axis: int, step: int,
                accumulate: bool) -> Callable[[], None]:
    """One product as a stack of equal parts, in one call, and what is left over."""
    count = (a.shape[1], b.shape[1], a.shape[0])[axis] // step
    rest = slice(count * step, None)

    def parts(x: np.ndarray, along: int) -> np.ndarray:
        shape = tuple(step if i == along else n for i, n in enumerate(x.shape))
        return np.lib.stride_tricks.as_strided(x, (count,) + shape,
                                               (x.strides[along] * step,) + x.strides)
    if axis == 2:
        first = bind_stack(parts(a, 0), b, parts(out, 0), accumulate)
        left = a[rest], b, out[rest], accumulate
    elif axis == 1:
        whole = np.broadcast_to(a, (count,) + a.shape)
        first = bind_stack(whole, parts(b, 1), parts(out, 1), accumulate)
        left = a, b[:, rest], out[:, rest], accumulate
    else:
        first = bind_stack(parts(a, 1), parts(b, 0), out, accumulate)
        left = a[:, rest], b[rest], out, True
    if not left[0].size or not left[1].size:
        return first
    return in_turn([first, bind_gemm(*left, split=False)])


def _numpy_gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool,
                alpha: float) -> Callable[[], None]:
    """The same with numpy.matmul: any dtype, any strides."""
    if not accumulate and alpha == 1.0:
        return partial(np.matmul, a, b, out)
    product = np.empty(out.shape, out.dtype)
    factor = out.dtype.type(alpha)

    def run() -> None:
        np.matmul(a, b, product)
        if alpha != 1.0:
            np.multiply(product, factor, product)
        if accumulate:
            np.add(out, product, out)
        else:
            np.copyto(out, product)
    return run


def bind_gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool = False,
              alpha: float = 1.0, split: bool = True) -> Callable[[], None]:
    """run() for out = alpha * a @ b, or out += alpha * a @ b when `accumulate`.

    a (m, k), b (k, n), out (m, n): arrays that stay where they are; views with strides and `.T` are
    used without a copy wherever BLAS can.  `split`: large products are cut over the team of threads
    (not inside work that is itself a part of such a cut).
    """
    if a.ndim != 2 or b.ndim != 2 or out.shape != (a.shape[0], b.shape[1]) \
            or a.shape[1] != b.shape[0]:
        raise ValueError(f"bind_gemm: got {a.shape} @ {b.shape} -> {out.shape}, "
                         "expected (m, k) @ (k, n) -> (m, n)")
    (m, k), n = a.shape, b.shape[1]
    if split and 2.0 * m * n * k >= WORTH_SPLITTING and workers().size > 1:
        if n >= m:
            parts = [(a, b[:, s], out[:, s]) for s in workers().split(n, 16)]
        else:
            parts = [(a[s], b, out[s]) for s in workers().split(m, 16)]
        return workers().bind([bind_gemm(*part, accumulate, alpha, False) for part in parts])
    found = library()
    cut = _cut(found, m, n, k) if alpha == 1 and out.dtype.char in "fd" else None
    if cut and _leading(a) and _leading(b):
        return _cut_matrix(a, b, out, *cut, accumulate)
    run = _blas_gemm(found, a, b, out, accumulate, alpha) if found else None
    return run or _numpy_gemm(a, b, out, accumulate, alpha)


def bind_stack(a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool = False,
               ) -> Callable[[], None]:
    """run() for out[i] = a[i] @ b[i], or += when `accumulate`, on this thread: in one call, where
    the library can.

    a (B, m, k), out (B, m, n); b (B, k, n), or one matrix (k, n) for all.  With an `out` of (m, n)
    all products are added up there.
    """
    count = len(a)
    if b.ndim == 2:
        b = np.broadcast_to(b, (count,) + b.shape)
    if out.ndim == 2 and not accumulate:
        first = bind_gemm(a[0], b[0], out, split=False)
        return first if count == 1 else in_turn([first, bind_stack(a[1:], b[1:], out, True)])
    if out.ndim == 2:
        out = np.lib.stride_tricks.as_strided(out, (count,) + out.shape, (0,) + out.strides)
    found = library() if count > 1 else None
    cut = _cut(found, out.shape[1], out.shape[2], a.shape[2])
    if cut:
        return in_turn([bind_stack(*part, accumulate or add)
                        for *part, add in _cut_stacks(a, b, out, *cut)])
    run = _blas_stack(found, a, b, out, accumulate) if found else None
    if run is None and not accumulate and count > 1:
        run = _numpy_stack(found, a, b, out)
    return run or in_turn([bind_gemm(*matrices, accumulate, split=False)
                           for matrices in zip(a, b, out)])


def has_axpy() -> bool:
    """Whether bind_axpy can do anything here."""
    found = library()
    return found is not None and bool(found.axpy)


def bind_axpy(scale: np.ndarray, x: np.ndarray, y: np.ndarray) -> Callable[[], None] | None:
    """run() for y += scale * x: one number and two arrays of one float type without gaps; or None.
    """
    found = library()
    same = scale.dtype == x.dtype == y.dtype and y.dtype.char in "fd" and x.shape == y.shape
    if found is None or not found.axpy or not same or scale.size != 1 or not (
            x.flags.c_contiguous and y.flags.c_contiguous and y.flags.writeable):
        return None
    return _blas_axpy(found, scale, x, y)


def _blas_axpy(found: Library, scale: np.ndarray, x: np.ndarray, y: np.ndarray
               ) -> Callable[[], None]:
    integer, pointer, by = found.integer, ctypes.c_void_p, ctypes.byref
    one = by(integer(1))
    run = partial(found.axpy[y.dtype.char], by(integer(y.size)), pointer(scale.ctypes.data),
                  pointer(x.ctypes.data), one, pointer(y.ctypes.data), one)
    run.arrays = scale, x, y
    return run


def bind_batched(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Callable[[], None]:
    """run() for out[i] = a[i] @ b[i]: a (B, m, k), b (B, k, n), out (B, m, n)."""
    if not len(out):
        return in_turn([])
    if 2.0 * out.size * a.shape[-1] < WORTH_SPLITTING:
        return bind_stack(a, b, out)
    return workers().bind([bind_stack(a[s], b[s], out[s]) for s in workers().split(len(out))])
