"""The time loops of host_lstm.py for some rows of the batch, compiled: `forward`, `backward`.

Each takes the address of an array of int64: sizes, flags, addresses (0: there is none) and strides
in floats, in the order in which they are read below. Gates lie in the order i f o g.
"""
from numba import cfunc, njit

from .pieces import (ENTRY, NO, ONE, OPTIONS, YES, ZERO, add_rows, at, bytes_at, clear_gates, copy,
                     copy_rows, fill, input_gradients, keep_rows, product, sigmoid_of_double, tanh,
                     together)


@njit(**OPTIONS)
def _gates(n, z, gate, c, c_new, a, h):
    """All n units of a step from the products z, four blocks `gate` bytes apart."""
    i_, f_, o_, g_ = at(z), at(z + gate), at(z + 2 * gate), at(z + 3 * gate)
    old, new, act, out = at(c), at(c_new), at(a), at(h)
    for j in range(n):
        i, f = sigmoid_of_double(i_[j]), sigmoid_of_double(f_[j])
        o, g = sigmoid_of_double(o_[j]), tanh(g_[j])
        cell = f * old[j] + i * g
        y = tanh(cell)
        i_[j], f_[j], o_[j], g_[j] = i, f, o, g
        new[j], act[j] = cell, y
        out[j] = o * y


@njit(**OPTIONS)
def _keep(rows, units, on, on_row, hx, hx_row, h, c, c_new, a):
    """Where the mask is off, the old state stays."""
    keep_rows(rows, units, on, on_row, h, hx, hx_row)
    keep_rows(rows, units, on, on_row, c_new, c, units)
    mask = bytes_at(on)
    for b in range(rows):
        if not mask[b * on_row]:
            p, q = at(a + 4 * b * units), at(c_new + 4 * b * units)
            for j in range(units):
                p[j] = tanh(q[j])


@cfunc(ENTRY, **OPTIONS)
def forward(p):
    blas, wide, rows, steps, units, features, bias, reverse, kept = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8])
    x, x_row, x_step, weights, hx, hx_step, z, z_step, z_gate = (
        p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17])
    c, c_step, a, a_step, h, h_row, h_step = p[18], p[19], p[20], p[21], p[22], p[23], p[24]
    h_first, c_first, h_last, c_last, on, on_row, on_step, out = (
        p[25], p[26], p[27], p[28], p[29], p[30], p[31], p[32])
    size, wide_row = rows * units, units + features + bias
    if h_first:
        copy_rows(hx, wide_row, h_first, units, rows, units)
        copy(c, c_first, size)
    else:
        for b in range(rows):
            fill(hx + 4 * b * wide_row, units, ZERO)
        fill(c, size, ZERO)
    for k in range(steps):
        t = steps - 1 - k if reverse else k
        now = k if kept else k % 2
        new = k + 1 if kept else 1 - now
        row, z_now, a_now = hx + 4 * now * hx_step, z, a
        c_now, c_new = c + 4 * now * c_step, c + 4 * new * c_step
        if kept:
            z_now, a_now = z + 4 * k * z_step, a + 4 * k * a_step
        if k == steps - 1:
            c_new = c_last
        copy_rows(row + 4 * units, wide_row, x + 4 * t * x_step, x_row, rows, features)
        if bias:
            for b in range(rows):
                at(row)[b * wide_row + wide_row - 1] = ONE
        for g in range(4):
            product(blas, wide, NO, rows, units, wide_row, row, wide_row,
                    weights + 4 * g * wide_row * units, units, False,
                    z_now + 4 * g * z_gate, units)
        _gates(size, z_now, 4 * z_gate, c_now, c_new, a_now, out)
        if on:
            _keep(rows, units, on + t * on_step, on_row, row, wide_row, out, c_now, c_new, a_now)
        if k == steps - 1:
            copy(h_last, out, size)
        else:
            copy_rows(hx + 4 * new * hx_step, wide_row, out, units, rows, units)
        if h:
            copy_rows(h + 4 * t * h_step, h_row, out, units, rows, units)


@njit(**OPTIONS)
def _gates_back(n, gh, e, z, gate, c, a, dz, dz_gate):
    """dz of all n units of a step; gh: what reaches the state; e: what reaches the cell, before
    and after. The formulas are host_lstm's."""
    i_, f_, o_, g_ = at(z), at(z + gate), at(z + 2 * gate), at(z + 3 * gate)
    di, df, do, dg = at(dz), at(dz + dz_gate), at(dz + 2 * dz_gate), at(dz + 3 * dz_gate)
    up, cell, old, act = at(gh), at(e), at(c), at(a)
    for j in range(n):
        i, f, o, g, y = i_[j], f_[j], o_[j], g_[j], act[j]
        past = up[j] * o
        through = past * y
        d = past - through * y + cell[j]
        u, v = d * i, d * f
        ug, vc = u * g, v * old[j]
        di[j] = ug - ug * i
        df[j] = vc - vc * f
        do[j] = through - through * o
        dg[j] = u - ug * g
        cell[j] = v


@njit(**OPTIONS)
def _weight_gradients(blas, wide, n, wide_row, units, inputs, dz, dz_gate, add, sums):
    """Those of n rows of inputs, to sums or added to them."""
    for g in range(4):
        product(blas, wide, YES, wide_row, units, n, inputs, wide_row, dz + g * dz_gate, units,
                add, sums + 4 * g * wide_row * units, units)


@cfunc(ENTRY, **OPTIONS)
def backward(p):
    blas, wide, rows, steps, units, features, bias, reverse = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7])
    group, sequence, hx, hx_step, z, z_step, z_gate, c, c_step, a, a_step = (
        p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18])
    up, up_row, up_step, gc, to_h, to_x, sums, gx, gx_row, gx_step = (
        p[19], p[20], p[21], p[22], p[23], p[24], p[25], p[26], p[27], p[28])
    gh_first, gc_first, on, on_row, on_step = p[29], p[30], p[31], p[32], p[33]
    # scratch: (4, group, B, U), (group, B, K), (group, B, F), (4, B, U)
    dz, some_hx, some_gx, gh = p[34], p[35], p[36], p[37]
    size, wide_row = rows * units, units + features + bias
    e, gh_old, e_old = gh + 4 * size, gh + 8 * size, gh + 12 * size
    dz_gate = 4 * group * size
    if sequence:
        fill(gh, size, ZERO)
    else:
        copy_rows(gh, units, up, up_row, rows, units)
    if gc:
        copy(e, gc, size)
    else:
        fill(e, size, ZERO)
    last = steps
    for k in range(steps - 1, -1, -1):
        t = steps - 1 - k if reverse else k
        slot = k % group
        here = dz + 4 * slot * size
        if sequence:
            add_rows(gh, up + 4 * t * up_step, up_row, rows, units)
        if on:
            copy(gh_old, gh, 2 * size)
        _gates_back(size, gh, e, z + 4 * k * z_step, 4 * z_gate, c + 4 * k * c_step,
                    a + 4 * k * a_step, here, dz_gate)
        if on:
            clear_gates(rows, units, on + t * on_step, on_row, here, dz_gate)
            keep_rows(rows, units, on + t * on_step, on_row, e, e_old, units)
        if k or gh_first:
            for g in range(4):
                product(blas, wide, NO, rows, units, units, here + g * dz_gate, units,
                        to_h + 4 * g * units * units, units, g > 0, gh, units)
        if on:
            keep_rows(rows, units, on + t * on_step, on_row, gh, gh_old, units)
        if slot == 0:
            count = last - k
            if sums:
                inputs = together(some_hx, hx + 4 * k * hx_step, hx_step, count, rows * wide_row)
                _weight_gradients(blas, wide, count * rows, wide_row, units, inputs, dz, dz_gate,
                                  last < steps, sums)
            if gx:
                input_gradients(blas, wide, 4, count, rows, units, features, dz, dz_gate, to_x,
                                some_gx, gx + 4 * t * gx_step, gx_row,
                                -gx_step if reverse else gx_step)
            last = k
    if gh_first:
        copy(gh_first, gh, size)
        copy(gc_first, e, size)
