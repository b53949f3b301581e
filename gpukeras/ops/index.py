"""Picking rows by index, the gradient of that, one-hot vectors.

On a CUDA device an index outside the table is clamped to it, because a kernel cannot raise; the
host raises, and the training loop checks labels and indices before they are uploaded.
"""
from __future__ import annotations

from math import prod

import numpy as np

from .. import config
from ..errors import DtypeError, ShapeError
from ..graph import Node, Op, Tensor, TensorType, as_tensor, is_float
from ..graph.halves import values_dtype
from .broadcast import sum_
from .host_loops import scatter
from .math import cast, equal, greater, logical_and
from .plans import THREADS, arithmetic, c_type, defines, grid_for
from .record import Fill, In, Kernel, Launch, LaunchPlan, Out, Temp

Types = tuple[TensorType, ...]

_CHUNK = 2048                                      # positions that one block sorts in shared memory


def _check_index(idx: TensorType) -> None:
    if is_float(idx.dtype) or idx.dtype == "bool":
        raise DtypeError(f"index: got {idx}, expected integers")


def check_range(idx: np.ndarray, rows: int) -> None:
    """Raises ShapeError for an index outside 0 .. rows-1."""
    if idx.size and (idx.min() < 0 or idx.max() >= rows):
        bad = idx[(idx < 0) | (idx >= rows)].flat[0]
        raise ShapeError(f"index out of range: got {bad}, expected 0 to {rows - 1} "
                         f"for a table of {rows} rows")


def _index_names(dtype: str, idx: TensorType) -> tuple[tuple[str, str], ...]:
    return (*defines(T=dtype), ("I", c_type(idx.dtype)))


def _width(x: TensorType) -> int:
    return prod(x.shape[1:])


def plan_gather(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    (x, idx), (y,) = ins, outs
    if not y.size:
        return LaunchPlan(())
    width, names = _width(x), _index_names(x.dtype, idx)
    if width * x.itemsize % 16 == 0:
        width, names = width * x.itemsize // 16, (*names, ("WIDE", "1"))
    columns = min(32, 1 << (width - 1).bit_length())
    block = (columns, THREADS // columns)
    args = (In(0), In(1), Out(0), np.int64(idx.size), np.int64(x.shape[0]), np.int32(width))
    return LaunchPlan((Launch("row_gather_fwd", grid_for(idx.size, block[1]), block, args,
                              defines=names),))


class Gather(Op):
    """y[i...] = x[idx[i...]].   x (R, ...), integers idx (any shape) -> idx.shape + x.shape[1:]"""

    cuda = Kernel("embedding.cu", plan_gather)

    def infer(self, x: TensorType, idx: TensorType) -> TensorType:
        _check_index(idx)
        if not x.ndim:
            raise ShapeError(f"got {x}, expected a table with at least one axis")
        if x.shape[0] == 0 and idx.size != 0:
            raise ShapeError(f"no rows to pick: got {x}")
        return x.with_shape((*idx.shape, *x.shape[1:]))

    def grad(self, node: Node, gy: Tensor):
        x, idx = node.inputs
        return gather_grad(gy, idx, x), None

    def numpy(self, x, idx):
        check_range(idx, x.shape[0])
        return x[idx]

    def host(self, ins, outs):
        (x, idx), (y,) = ins, outs

        def run() -> None:
            check_range(idx, x.shape[0])
            np.take(x, idx, 0, out=y, mode="clip")     # "raise" would go through a second buffer
        return run


def plan_gather_grad(op: "GatherGrad", ins: Types, outs: Types) -> LaunchPlan:
    (gy, idx), (gx,) = ins[:2], outs
    n, width = idx.size, _width(gx)
    if not gx.size:
        return LaunchPlan(())
    zero = Fill(Out(0), gx.nbytes)
    if not n:
        return LaunchPlan((zero,))
    if config.deterministic is False and arithmetic(gy.dtype) == gy.dtype:
        return LaunchPlan((zero, Launch("row_scatter_add", grid_for(n, 8), (32, 8), (
            In(1), In(0), Out(0), np.int64(n), np.int64(gx.shape[0]), np.int32(width)),
            defines=_index_names(gy.dtype, idx))))
    size = max(2, min(_CHUNK, 1 << (n - 1).bit_length()))
    chunks = -(-n // size)
    names = _index_names(gy.dtype, idx)
    threads = max(32, size // 2)
    steps = [zero, Launch("index_sort", (chunks,), (threads,),
                          (In(1), Temp(0), np.int64(n), np.int64(gx.shape[0]), np.int32(size)),
                          defines=names)]
    if chunks > 1:
        steps.append(Launch("index_merge", grid_for(chunks * size), (THREADS,),
                            (Temp(0), Temp(1), np.int64(n), np.int32(size), np.int32(chunks)),
                            defines=names))
    order = Temp(1 if chunks > 1 else 0)
    steps.append(Launch("row_gather_bwd", (n, -(-width // 32)), (32, 8),
                        (order, In(0), Out(0), np.int64(n), np.int32(width)), defines=names))
    temps = (chunks * size * 8, n * 8)[:1 + (chunks > 1)]
    return LaunchPlan(tuple(steps), temps)


class GatherGrad(Op):
    """gx[r] = sum of gy[i] over idx[i] == r, for a table of `rows` rows.

    gy (idx.shape + D), idx -> (rows, *D). With rows None a third input gives the table's shape.
    """

    params = ("rows",)
    cuda = Kernel("embedding.cu", plan_gather_grad)

    def infer(self, gy: TensorType, idx: TensorType, like: TensorType | None = None) -> TensorType:
        _check_index(idx)
        rows = like.shape[0] if self.rows is None else self.rows
        return gy.with_shape((rows, *gy.shape[idx.ndim:]))

    def static(self, gy: Tensor, idx: Tensor, like: Tensor | None = None) -> Tensor | None:
        if like is None or like.shape[0] is None:
            return None
        return GatherGrad(like.shape[0])(gy, idx)

    def grad(self, node: Node, gz: Tensor):
        return (Gather()(gz, node.inputs[1]),) + (None,) * (len(node.inputs) - 1)

    def numpy(self, gy, idx, like=None):
        rows = like.shape[0] if self.rows is None else self.rows
        check_range(idx, rows)
        out = np.zeros((rows, *gy.shape[idx.ndim:]), gy.dtype)
        np.add.at(out, idx, gy)
        return out

    def host(self, ins, outs):
        gy, idx = ins[:2]
        out, = outs
        flat = idx.reshape(-1)
        rows = gy.reshape(len(flat), -1) if gy.size else None
        table = out.reshape(out.shape[0], -1) if gy.size else None

        where = np.empty(flat.shape, np.int64)
        loop = scatter(table, where, rows) if gy.size else None

        def run() -> None:
            if rows is None:
                out.fill(0)
                return
            check_range(flat, len(table))
            if loop is not None:
                np.copyto(where, flat)
                loop()
                return
            out.fill(0)
            _add_rows(table, flat, rows)
        return run


_ROUNDS = 8


def _add_rows(table: np.ndarray, idx: np.ndarray, rows: np.ndarray) -> None:
    """table[idx[i]] += rows[i] into zeros. The k-th occurrences of all indices go in one round."""
    order = idx.argsort(kind="stable")
    picked = idx[order]
    first = np.flatnonzero(np.diff(picked, prepend=-1))
    count = np.diff(first, append=len(idx))
    often = count > _ROUNDS
    if often.any():                                # padding, common words: one sum each
        places = np.flatnonzero(np.repeat(often, count))
        begins = np.cumsum(count[often]) - count[often]
        table[picked[first[often]]] = np.add.reduceat(rows[order[places]], begins, axis=0)
        first, count = first[~often], count[~often]
    for k in range(_ROUNDS):
        if k:
            more = count > k
            first, count = first[more], count[more]
            if not len(first):
                break
            table[picked[first + k]] += rows[order[first + k]]
        else:
            table[picked[first]] = rows[order[first]]


def plan_one_hot(op: "OneHot", ins: Types, outs: Types) -> LaunchPlan:
    (idx,), (y,) = ins, outs
    if not y.size:
        return LaunchPlan(())
    return LaunchPlan((Launch("one_hot_fwd", grid_for(y.size), (THREADS,),
                              (In(0), Out(0), np.int64(y.size), np.int32(op.depth)),
                              defines=_index_names(y.dtype, idx)),))


class OneHot(Op):
    """y[..., c] = 1 where idx[...] == c, else 0; an index outside 0 .. depth-1 gives zeros."""

    params = ("depth", "dtype")
    dtype = "float32"
    cuda = Kernel("embedding.cu", plan_one_hot)

    def infer(self, idx: TensorType) -> TensorType:
        _check_index(idx)
        return TensorType(self.dtype, (*idx.shape, self.depth))

    def grad(self, node: Node, gy: Tensor):
        return (None,)

    def numpy(self, idx):
        return (idx[..., None] == np.arange(self.depth)).astype(values_dtype(self.dtype))

    def host(self, ins, outs):
        (idx,), (y,) = ins, outs
        column, classes = idx[..., None], np.arange(self.depth)
        return lambda: np.equal(column, classes, out=y, casting="unsafe")


# ------------------------------------------------------------------------------ functions

def gather(x: Tensor, idx: Tensor) -> Tensor:
    """Rows of x picked by integers of any shape; floats are cut to int32, as Keras does."""
    idx = as_tensor(idx)
    return Gather()(as_tensor(x), cast(idx, "int32") if is_float(idx.dtype) else idx)


def gather_grad(gy: Tensor, idx: Tensor, x: Tensor) -> Tensor:
    """The gradient of gather by its table x."""
    rows = x.shape[0]
    return GatherGrad(None)(gy, idx, x) if rows is None else GatherGrad(rows)(gy, idx)


def one_hot(idx: Tensor, depth: int, dtype: str = "float32") -> Tensor:
    """Integers as vectors of length `depth` with a single 1."""
    return OneHot(int(depth), dtype)(as_tensor(idx))


def in_top_k(scores: Tensor, classes: Tensor, k: int) -> Tensor:
    """Whether class classes[n] is among the k best of scores[n]; ties count.  (N, C), (N,) -> (N,)

    A class outside the scores, or one whose score is not finite, is not among them (as TensorFlow).
    """
    chosen = one_hot(classes, scores.shape[-1], "bool")
    score = sum_(cast(chosen, scores.dtype) * scores, -1, keepdims=True)
    better = sum_(cast(greater(scores, score), "int32"), -1)
    known = sum_(cast(chosen, "int32"), -1) > 0
    finite = equal(score - score, 0)
    return logical_and(logical_and(better < k, known), sum_(cast(finite, "int32"), -1) > 0)
