"""What the ops of whole LSTM and GRU layers share: ops/lstm.py, ops/gru.py."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph import Tensor, TensorType
from .broadcast import reshape
from .linalg import dot
from .rnn import _Sequence, swapped
from .scan import last
from .shape import reverse


def _flops(rows: Sequence[int], *weights: TensorType) -> int:
    """Operations of products with these matrices, for as many rows as the sizes multiply to."""
    return 2 * prod(rows) * sum(w.size for w in weights)


class _Whole(_Sequence):
    """All steps of a layer: x (B, S, F), w, r, ... -> ..."""

    sequence = False
    keep = False
    has_bias = True
    has_state = False

    def flops(self, ins, outs):
        return _flops(ins[0].shape[:2], *ins[1:3])

    def in_walk(self, x: Tensor) -> Tensor:
        """(B, S, ..) as (S, B, ..) in the order of the walk."""
        return reverse(swapped(x), 0) if self.reverse else swapped(x)

    def last(self, history: Tensor) -> Tensor:
        """The step of (B, S, ..) at which the walk ends."""
        return last(swapped(history), self.reverse)


class _WholeGrad(_Whole):
    """The gradients of it: hx (S, B, K), ... -> [those of weights, if `weights`]
    [, gx (B, S, F) if `inputs`][, those of the first states if `has_state`]."""

    weights = True
    inputs = False
    at: int                                         # place of w among the inputs; r follows

    def flops(self, ins, outs):
        """As forwards by the inputs wanted, and once more by the weights."""
        w, r = ins[self.at:self.at + 2]
        products = (r,) + (w,) * self.inputs + (w, r) * self.weights
        return _flops(ins[0].shape[:2], *products)

    def results(self, steps: int, w: Tensor, gz: Tensor, of_weights: Sequence[Tensor],
                of_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs; gz (S * B, G U): the gradients of the gates."""
        outs = list(of_weights) if self.weights else []
        if self.inputs:
            gx = reshape(dot(gz, w, trans_b=True), (steps, -1, w.shape[0]))
            outs.append(swapped(reverse(gx, 0) if self.reverse else gx))
        if self.has_state:
            outs += [last(state, True) for state in of_states]
        return tuple(outs)
