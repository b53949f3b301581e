"""The time loops of host_gru.py for some rows of the batch, compiled: `forward`, `backward`.

Each takes the address of an array of int64: sizes, flags, addresses (0: there is none) and strides
in floats, in the order in which they are read below. Gates lie in the order z r y.
"""
from numba import cfunc, njit

from .pieces import (ENTRY, NO, ONE, OPTIONS, YES, ZERO, add_rows, at, clear_gates, copy, copy_rows,
                     fill, input_gradients, keep_rows, product, sigmoid_of_double, tanh, together)


@njit(**OPTIONS)
def _gates(n, z, gate):
    """The functions of both gates of a step, and of the mix."""
    z_, r_ = at(z), at(z + gate)
    for j in range(n):
        z_[j], r_[j] = sigmoid_of_double(z_[j]), sigmoid_of_double(r_[j])


@njit(**OPTIONS)
def _times(n, a, b, to):
    a_, b_, to_ = at(a), at(b), at(to)
    for j in range(n):
        to_[j] = a_[j] * b_[j]


@njit(**OPTIONS)
def _mixed(n, z, y, h):
    """y's function, and h mixed with it."""
    z_, y_, h_ = at(z), at(y), at(h)
    for j in range(n):
        v = tanh(y_[j])
        y_[j] = v
        h_[j] = (h_[j] - v) * z_[j] + v


@njit(**OPTIONS)
def _reset_mixed(n, z, gate, inner, h):
    """The same with reset * inner added to y first."""
    z_, r_, y_, inner_, h_ = at(z), at(z + gate), at(z + 2 * gate), at(inner), at(h)
    for j in range(n):
        v = tanh(y_[j] + r_[j] * inner_[j])
        y_[j] = v
        h_[j] = (h_[j] - v) * z_[j] + v


@cfunc(ENTRY, **OPTIONS)
def forward(p):
    blas, wide, rows, steps, units, features, reverse, reset_after, kept = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8])
    x, x_row, x_step, weights, inner_weights, hx, hx_step, z, z_step, z_gate = (
        p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18])
    inner, inner_step, all_h, h_row, h_step, h_first, h_last, on, on_row, on_step, h = (
        p[19], p[20], p[21], p[22], p[23], p[24], p[25], p[26], p[27], p[28], p[29])
    size, first = rows * units, features + 1
    wide_row, gate = first + units, 4 * z_gate
    if h_first:
        copy(h, h_first, size)
    else:
        fill(h, size, ZERO)
    for k in range(steps):
        t = steps - 1 - k if reverse else k
        row, gates, inside = hx, z, inner
        if kept:
            row, gates = hx + 4 * k * hx_step, z + 4 * k * z_step
            inside = inner + 4 * k * inner_step
        y = gates + 2 * gate
        copy_rows(row, wide_row, x + 4 * t * x_step, x_row, rows, features)
        for b in range(rows):
            at(row)[b * wide_row + features] = ONE
        copy_rows(row + 4 * first, wide_row, h, units, rows, units)
        for g in range(2):
            product(blas, wide, NO, rows, units, wide_row, row, wide_row,
                    weights + 4 * g * wide_row * units, units, False, gates + g * gate, units)
        product(blas, wide, NO, rows, units, first, row, wide_row,
                weights + 8 * wide_row * units, units, False, y, units)
        _gates(size, gates, gate)
        if reset_after:
            product(blas, wide, NO, rows, units, 1 + units, row + 4 * features, wide_row,
                    inner_weights, units, False, inside, units)
            _reset_mixed(size, gates, gate, inside, h)
        else:
            _times(size, gates + gate, h, inside)
            product(blas, wide, NO, rows, units, units, inside, units,
                    inner_weights + 4 * units, units, True, y, units)
            _mixed(size, gates, y, h)
        if on:
            keep_rows(rows, units, on + t * on_step, on_row, h, row + 4 * first, wide_row)
        if all_h:
            copy_rows(all_h + 4 * t * h_step, h_row, h, units, rows, units)
    copy(h_last, h, size)


@njit(**OPTIONS)
def _gates_back(n, gh, z, gate, h, dz, dz_gate, through):
    """dz of z and y of a step; gh: what reaches the state, `through`: what goes past the gates.
    The formulas are host_gru's."""
    z_, y_, h_, gh_ = at(z), at(z + 2 * gate), at(h), at(gh)
    to_z, to_y, q_ = at(dz), at(dz + 2 * dz_gate), at(through)
    for j in range(n):
        v = y_[j]
        q = gh_[j] * z_[j]
        s = gh_[j] - q
        d = (h_[j] - v) * q
        to_y[j] = s - s * v * v
        to_z[j] = d - d * z_[j]
        q_[j] = q


@njit(**OPTIONS)
def _reset_after_back(n, r, inner, dz, dz_gate):
    """dz of the reset gate and of the inner product."""
    r_, inner_, to_r, gy, to_inner = (at(r), at(inner), at(dz + dz_gate), at(dz + 2 * dz_gate),
                                      at(dz + 3 * dz_gate))
    for j in range(n):
        d = gy[j] * r_[j]
        s = d * inner_[j]
        to_inner[j] = d
        to_r[j] = s - s * r_[j]


@njit(**OPTIONS)
def _reset_back(n, r, h, v, to_r, gh):
    """dz of the reset gate, from v, what reaches reset * h; and gh, of which h gets its part."""
    r_, h_, v_, to_r_, gh_ = at(r), at(h), at(v), at(to_r), at(gh)
    for j in range(n):
        d = v_[j] * r_[j]
        s = d * h_[j]
        gh_[j] += d
        to_r_[j] = s - s * r_[j]


@njit(**OPTIONS)
def _weight_gradients(blas, wide, reset_after, n, features, units, inputs, insides, dz, dz_gate,
                      add, sums, sums_in):
    """Those of n rows of inputs and of `inner`, to sums and sums_in or added to them."""
    first = features + 1
    wide_row = first + units
    for g in range(2):
        product(blas, wide, YES, wide_row, units, n, inputs, wide_row, dz + g * dz_gate, units,
                add, sums + 4 * g * wide_row * units, units)
    product(blas, wide, YES, first, units, n, inputs, wide_row, dz + 2 * dz_gate, units, add,
            sums + 8 * wide_row * units, units)
    if reset_after:
        product(blas, wide, YES, 1 + units, units, n, inputs + 4 * features, wide_row,
                dz + 3 * dz_gate, units, add, sums_in, units)
    else:
        product(blas, wide, YES, units, units, n, insides, units, dz + 2 * dz_gate, units, add,
                sums_in + 4 * units, units)


@cfunc(ENTRY, **OPTIONS)
def backward(p):
    blas, wide, rows, steps, units, features, reverse, reset_after = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7])
    group, sequence, hx, hx_step, z, z_step, z_gate, inner, inner_step = (
        p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16])
    up, up_row, up_step, to_h, to_x, sums, sums_in, gx, gx_row, gx_step = (
        p[17], p[18], p[19], p[20], p[21], p[22], p[23], p[24], p[25], p[26])
    gh_first, on, on_row, on_step = p[27], p[28], p[29], p[30]
    # scratch: (4, group, B, U), (group, B, K), (group, B, F), (4, B, U), (group, B, U)
    dz, some_hx, some_gx, gh, some_inner = p[31], p[32], p[33], p[34], p[35]
    size, first = rows * units, features + 1
    wide_row, gate, dz_gate = first + units, 4 * z_gate, 4 * group * size
    through, h, v = gh + 4 * size, gh + 8 * size, gh + 12 * size
    if sequence:
        fill(gh, size, ZERO)
    else:
        copy_rows(gh, units, up, up_row, rows, units)
    last = steps
    for k in range(steps - 1, -1, -1):
        t = steps - 1 - k if reverse else k
        slot = k % group
        here, gates, inside = dz + 4 * slot * size, z + 4 * k * z_step, inner + 4 * k * inner_step
        if sequence:
            add_rows(gh, up + 4 * t * up_step, up_row, rows, units)
        copy_rows(h, units, hx + 4 * (k * hx_step + first), wide_row, rows, units)
        _gates_back(size, gh, gates, gate, h, here, dz_gate, through)
        if reset_after:
            _reset_after_back(size, gates + gate, inside, here, dz_gate)
        else:
            product(blas, wide, NO, rows, units, units, here + 2 * dz_gate, units,
                    to_h + 8 * units * units, units, False, v, units)
            _reset_back(size, gates + gate, h, v, here + dz_gate, through)
        if on:
            clear_gates(rows, units, on + t * on_step, on_row, here, dz_gate)
        if k or gh_first:
            for g in range(2):
                product(blas, wide, NO, rows, units, units, here + g * dz_gate, units,
                        to_h + 4 * g * units * units, units, True, through, units)
            if reset_after:
                product(blas, wide, NO, rows, units, units, here + 3 * dz_gate, units,
                        to_h + 8 * units * units, units, True, through, units)
        if on:
            keep_rows(rows, units, on + t * on_step, on_row, through, gh, units)
        copy(gh, through, size)
        if slot == 0:
            count = last - k
            if sums:
                inputs = together(some_hx, hx + 4 * k * hx_step, hx_step, count, rows * wide_row)
                insides = inside if reset_after else together(some_inner, inside, inner_step,
                                                              count, size)
                _weight_gradients(blas, wide, reset_after, count * rows, features, units, inputs,
                                  insides, dz, dz_gate, last < steps, sums, sums_in)
            if gx:
                input_gradients(blas, wide, 3, count, rows, units, features, dz, dz_gate, to_x,
                                some_gx, gx + 4 * t * gx_step, gx_row,
                                -gx_step if reverse else gx_step)
            last = k
    if gh_first:
        copy(gh_first, gh, size)
