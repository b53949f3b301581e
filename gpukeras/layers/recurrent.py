"""SimpleRNN, GRU and LSTM, and with them the names that Keras keeps in this module."""
from inspect import signature

from .cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from .rnn import RNN


class _Gated(RNN):
    """An RNN over one of the known cells, with the cell's arguments as its own."""

    cell_class = None

    def __init__(self, cell_arguments, options, activity_regularizer, kwargs):
        # Keras 2.3 takes the cell's dtype and trainable from the layer
        shared = {k: kwargs[k] for k in ("dtype", "trainable") if k in kwargs}
        super().__init__(self.cell_class(**cell_arguments, **shared), **options, **kwargs)
        self.keep(activity_regularizer=activity_regularizer)

    def __getattr__(self, name):
        """The cell's arguments and weights, read through the layer."""
        cell = self.__dict__.get("cell")
        if cell is None or name.startswith("_") or name not in vars(cell):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(cell, name)

    def get_config(self):
        config = super().get_config()
        inner, penalty = config.pop("cell")["config"], config.pop("activity_regularizer")
        for name in self.cell._kept:
            config[name] = inner[name]
            if name == "bias_regularizer":         # where Keras has it
                config["activity_regularizer"] = penalty
        return config

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class SimpleRNN(_Gated):
    """h' = activation(x @ kernel + bias + h @ recurrent_kernel).

    # Arguments
        units: size of the output.
        activation: name or function.
        use_bias: whether there is a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: first values of the weights;
            kernel (in, units), recurrent_kernel (units, units), bias (units).
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer:
        penalties.
        kernel_constraint, recurrent_constraint, bias_constraint: applied after each update.
        dropout, recurrent_dropout: shares of the inputs and of the states to drop, the same ones
            in all time steps (Gal and Ghahramani 2016, arXiv:1512.05287).
        The rest: see RNN.
    """

    cell_class = SimpleRNNCell

    def __init__(self, units, activation="tanh", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, **kwargs):
        kwargs.pop("implementation", None)         # one way only; Keras 2.3 accepts and ignores it
        arguments, options = _arguments(locals(), self.cell_class)
        super().__init__(arguments, options, activity_regularizer, kwargs)


class GRU(_Gated):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), see GRUCell for the formulas.

    # Arguments
        recurrent_activation: of the update and the reset gate.
        implementation: 1 draws a dropout mask for each gate, 2 one for all.
        reset_after: the reset gate acts after the recurrent product, as in cuDNN.
        The rest: see SimpleRNN; the kernels have 3 * units columns, for the gates z, r, h.
    """

    cell_class = GRUCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, implementation=2, return_sequences=False,
                 return_state=False, go_backwards=False, stateful=False, unroll=False,
                 reset_after=False, **kwargs):
        implementation = implementation or 1       # 0 was a name for 1 once
        arguments, options = _arguments(locals(), self.cell_class)
        super().__init__(arguments, options, activity_regularizer, kwargs)


class LSTM(_Gated):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), see LSTMCell for the formulas.

    # Arguments
        recurrent_activation: of the input, forget and output gate.
        unit_forget_bias: start the forget gate's bias at 1.
        implementation: 1 draws a dropout mask for each gate, 2 one for all.
        The rest: see SimpleRNN; the kernels have 4 * units columns, for the gates i, f, c, o.
    """

    cell_class = LSTMCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", unit_forget_bias=True, kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, implementation=2, return_sequences=False,
                 return_state=False, go_backwards=False, stateful=False, unroll=False, **kwargs):
        implementation = implementation or 1       # 0 was a name for 1 once
        arguments, options = _arguments(locals(), self.cell_class)
        super().__init__(arguments, options, activity_regularizer, kwargs)


_OPTIONS = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")


def _arguments(given, cell_class):
    """The constructor's arguments, parted into those of the cell and those of the loop."""

    of_cell = [p for p in signature(cell_class.__init__).parameters if p not in ("self", "kwargs")]
    return {k: given[k] for k in of_cell}, {k: given[k] for k in _OPTIONS}


__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "SimpleRNN", "SimpleRNNCell",
           "StackedRNNCells"]
