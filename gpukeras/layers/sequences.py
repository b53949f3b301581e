"""The known cells over a whole sequence by one op, where what they do is what the op knows."""
from .. import activations
from .. import backend as K
from ..ops import rnn as op
from .cells import GRUCell, LSTMCell, SimpleRNNCell


def whole_sequence(cell, projected, states, mask, reverse):
    """(last output, outputs in the order walked, last states), or None if the ops cannot do it.

    projected: cell.project of all steps, (batch, steps, gates * units); mask: (batch, steps[, 1]).
    """
    run = _RUNS.get(type(cell))
    names = _names(cell)
    if run is None or names is None or 0.0 < cell.recurrent_dropout < 1.0:
        return None
    marks = [] if mask is None else [_marks(mask)]
    histories = run(cell, names, projected, states, marks, reverse)
    # a walk from the end finishes at the first step
    finals = [h[:, 0] if reverse else h[:, -1] for h in histories]
    outputs = K.reverse(histories[0], 1) if reverse else histories[0]
    return finals[0], outputs, finals


def _names(cell):
    """The names of the cell's activations, or None if one is not Keras's own."""
    names = []
    for function in (cell.activation, getattr(cell, "recurrent_activation", activations.sigmoid)):
        name = getattr(function, "__name__", "")
        if getattr(activations, name, None) is not function or not op.has_kernels(name):
            return None
        names.append(name)
    return names


def _marks(mask):
    mask = K.cast(mask, "bool")
    return K.squeeze(mask, 2) if K.ndim(mask) == 3 else mask


def _lstm(cell, names, z, states, marks, reverse):
    h, c, _ = op.Lstm(*names, reverse)(z, cell.recurrent_kernel, *states, *marks)
    return [h, c]


def _gru(cell, names, z, states, marks, reverse):
    biased = bool(cell.reset_after and cell.use_bias)
    bias = [cell.bias[1]] if biased else []
    run = op.Gru(*names, reverse, bool(cell.reset_after), biased)
    h, _, _ = run(z, cell.recurrent_kernel, *states, *bias, *marks)
    return [h]


def _simple(cell, names, z, states, marks, reverse):
    h, _ = op.SimpleRnn(names[0], reverse)(z, cell.recurrent_kernel, *states, *marks)
    return [h]


_RUNS = {LSTMCell: _lstm, GRUCell: _gru, SimpleRNNCell: _simple}
