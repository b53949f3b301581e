"""Gradients of tables, compiled: `add_rows`; see lstm.py for how arguments are passed."""
from numba import cfunc

from .pieces import ENTRY, OPTIONS, ZERO, at, fill, wholes_at


@cfunc(ENTRY, **OPTIONS)
def add_rows(p):
    """Rows first to last of the table become the sums of those rows whose index they are."""
    first, last, width, count, table, rows, index = p[2], p[3], p[4], p[5], p[6], p[7], p[8]
    fill(table + 4 * first * width, (last - first) * width, ZERO)
    places = wholes_at(index)
    for i in range(count):
        r = places[i]
        if first <= r < last:
            to, source = at(table + 4 * r * width), at(rows + 4 * i * width)
            for j in range(width):
                to[j] += source[j]
