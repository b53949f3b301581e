"""Pieces of compiled loops on the host: memory, matrix products, tanh and sigmoid.

Importing needs numba. Arrays are addresses and strides in elements of float32, so that one compiled
function serves all shapes, and LLVM sees plain loops that it can vectorise.
"""
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

UNPACKED = 1000000            # m n k up to which OpenBLAS's AVX-512 kernels do not pack
NO, YES = 111, 112            # transposed?
OPTIONS = {"nogil": True, "error_model": "numpy", "cache": True, "fastmath": {"contract"}}
ENTRY = types.void(types.CPointer(types.int64))
f32 = np.float32
ZERO, ONE, TWO, HALF = f32(0), f32(1), f32(2), f32(0.5)


# ---- memory

def _pointer(kind):
    """The numbers that begin at an address."""
    @intrinsic
    def pointer(context, address):
        def write(target, builder, signature, values):
            return builder.inttoptr(values[0], target.get_value_type(signature.return_type))
        return types.CPointer(kind)(types.int64), write
    return pointer


at, bytes_at, wholes_at = map(_pointer, (types.float32, types.uint8, types.int64))


@njit(**OPTIONS)
def fill(to, n, value):
    p = at(to)
    for j in range(n):
        p[j] = value


@njit(**OPTIONS)
def copy(to, source, n):
    """n floats."""
    p, q = at(to), at(source)
    for j in range(n):
        p[j] = q[j]


@njit(**OPTIONS)
def copy_rows(to, to_row, source, row, rows, n):
    """`rows` rows of n floats, to_row and row floats apart."""
    for b in range(rows):
        copy(to + 4 * b * to_row, source + 4 * b * row, n)


@njit(**OPTIONS)
def together(room, source, step, count, n):
    """Where the n floats of `count` steps lie side by side: copied to `room` if they do not."""
    if count == 1:
        return source
    copy_rows(room, n, source, step, count, n)
    return room


@njit(**OPTIONS)
def clear_gates(rows, n, on, on_row, dz, dz_gate):
    """Zeros to those rows of four gates, dz_gate bytes apart, where the bytes at `on` are 0."""
    mask = bytes_at(on)
    for b in range(rows):
        if not mask[b * on_row]:
            for g in range(4):
                fill(dz + g * dz_gate + 4 * b * n, n, ZERO)


@njit(**OPTIONS)
def keep_rows(rows, n, on, on_row, to, old, old_row):
    """Rows of n floats where the bytes at `on` are 0: those of `old`, old_row floats apart."""
    mask = bytes_at(on)
    for b in range(rows):
        if not mask[b * on_row]:
            copy(to + 4 * b * n, old + 4 * b * old_row, n)


@njit(**OPTIONS)
def add_rows(to, source, row, rows, n):
    """Rows of n floats, `row` floats apart, to those at `to`, which lie close together."""
    for b in range(rows):
        p, q = at(to + 4 * b * n), at(source + 4 * b * row)
        for j in range(n):
            p[j] += q[j]


# ---- matrix products

def _sgemm(bits):
    """A call of cblas_sgemm at an address, with integers of so many bits."""
    @intrinsic
    def call(context, entry, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
        signature = types.void(*(types.int64,) * 10, types.float32, *(types.int64,) * 2)

        def write(target, builder, signature, values):
            entry, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc = values
            flag, size, real = ir.IntType(32), ir.IntType(bits), ir.FloatType()
            pointer = ir.IntType(8).as_pointer()
            kinds = [flag] * 3 + [size] * 3 + [real, pointer, size, pointer, size, real, pointer,
                                               size]
            order, alpha = ir.Constant(ir.IntType(64), 101), ir.Constant(real, 1.0)
            given = [order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc]
            passed = [builder.inttoptr(v, t) if t is pointer else
                      builder.trunc(v, t) if t is flag or (t is size and bits < 64) else v
                      for v, t in zip(given, kinds)]
            kind = ir.FunctionType(ir.VoidType(), kinds)
            builder.call(builder.inttoptr(entry, kind.as_pointer()), passed)
            return target.get_dummy_value()
        return signature, write
    return call


_sgemm32, _sgemm64 = _sgemm(32), _sgemm(64)


@njit(**OPTIONS)
def _gemm(blas, wide, trans_a, m, n, k, a, lda, b, ldb, add, c, ldc):
    beta = ONE if add else ZERO
    if wide:
        _sgemm64(blas, trans_a, NO, m, n, k, a, lda, b, ldb, beta, c, ldc)
    else:
        _sgemm32(blas, trans_a, NO, m, n, k, a, lda, b, ldb, beta, c, ldc)


@njit(**OPTIONS)
def product(blas, wide, trans_a, m, n, k, a, lda, b, ldb, add, c, ldc):
    """c (m, n) = [c +] a b, a (m, k), or (k, m) if trans_a; in parts that need no packing."""
    parts = (m * n * k + UNPACKED - 1) // UNPACKED
    if parts > 4:
        parts = 1
    down = 1 if trans_a == YES else lda
    for i in range(parts):
        first, end = m * i // parts, m * (i + 1) // parts
        _gemm(blas, wide, trans_a, end - first, n, k, a + 4 * first * down, lda, b, ldb, add,
              c + 4 * first * ldc, ldc)


@njit(**OPTIONS)
def input_gradients(blas, wide, gates, count, rows, units, features, dz, dz_gate, to_x, room, gx,
                    gx_row, gx_step):
    """gx of `count` steps, gx_step floats apart, from the gradients dz of their gates."""
    for g in range(gates):
        product(blas, wide, NO, count * rows, features, units, dz + g * dz_gate, units,
                to_x + 4 * g * units * features, features, g > 0, room, features)
    for i in range(count):
        copy_rows(gx + 4 * i * gx_step, gx_row, room + 4 * i * rows * features, features, rows,
                  features)


# ---- functions

@intrinsic
def _bits(context, x):
    """The bits of a float as an integer."""
    def write(target, builder, signature, values):
        return builder.bitcast(values[0], ir.IntType(32))
    return types.int32(types.float32), write


@intrinsic
def _float(context, x):
    """The float of these bits."""
    def write(target, builder, signature, values):
        return builder.bitcast(values[0], ir.FloatType())
    return types.float32(types.int32), write


# exp(r) = 1 + r + r^2 (E0 + E1 r + ..), |r| <= log(2) / 2, to 3e-9 of it; tanh(x) =
# x + x^3 (T0 + T1 x^2 + ..), |x| <= 0.625, to 5e-9: least largest errors, found by reweighted
# least squares
E0, E1, E2, E3, E4 = (f32(c) for c in (
    0.49999994, 0.16666521, 0.041668389, 0.0083687454, 0.0013814540))
T0, T1, T2, T3, T4 = (f32(c) for c in (
    -0.33333281, 0.13331442, -0.053739715, 0.020639086, -0.0057049864))
SMALL, SATURATED, LARGEST = f32(0.625), f32(22), f32(87)
LOG2_E = f32(1.44269504)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)         # the first has 9 bits
ROUND = f32(12582912)                               # 1.5 * 2^23: its last bit is worth 1
BIAS, SHIFT = np.int32(127 << 23), np.int32(23)


@njit(inline="always", **OPTIONS)
def exp(x):
    """e^x to 1 unit in the last place, |x| <= LARGEST; NaN stays."""
    t = x * LOG2_E + ROUND
    n = t - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = E4 * r + E3
    p = p * r + E2
    p = p * r + E1
    p = p * r + E0
    p = p * (r * r) + r
    return (p + ONE) * _float((_bits(t) << SHIFT) + BIAS)


@njit(inline="always", **OPTIONS)
def tanh(x):
    """To 2 units in the last place; NaN stays."""
    u = x * x
    p = T4 * u + T3
    p = p * u + T2
    p = p * u + T1
    p = p * u + T0
    near = x + x * u * p
    size = abs(x)
    size = SATURATED if size > SATURATED else size
    far = ONE - TWO / (exp(size + size) + ONE)
    far = -far if x < ZERO else far
    return near if abs(x) < SMALL else far


@njit(inline="always", **OPTIONS)
def sigmoid_of_double(x):
    """1 / (1 + e^(-2 x)), to 2.4 units in the last place: gates come halved, since the plain loops
    take tanh of all four."""
    y = -(x + x)
    y = LARGEST if y > LARGEST else y
    y = -LARGEST if y < -LARGEST else y
    return ONE / (ONE + exp(y))
