"""CuDNNLSTM and CuDNNGRU: LSTM and GRU with their weights laid out as cuDNN had them.

On every device they run as the plain layers do, on weights rearranged in the graph; files of the
one load into the other (models/h5_convert.py). Neither takes masks or other activations.
"""
from .. import backend as K
from .cells import GRUCell, LSTMCell
from .rnn import RNN
from .spec import InputSpec


class _CuDNNRNN(RNN):
    """Base: kernel (in, gates * units), recurrent_kernel (units, gates * units), bias (both parts).

    A cuDNN block of `kernel` holds the plain block's transpose in row-major order; each block of
    `recurrent_kernel` is transposed.
    """

    supports_masking = False

    def __init__(self, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, **kwargs):
        cell = kwargs.pop("cell")
        super().__init__(cell, return_sequences, return_state, go_backwards, stateful, **kwargs)
        self._options = ("return_sequences", "return_state", "go_backwards", "stateful")

    def build(self, input_shape):
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        size, units = shape[-1], self.units
        width = self.cell.gates * units
        self.kernel = self.add_weight("kernel", (size, width))
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (units, width))
        self.bias = self.add_weight("bias", (2 * width,), initializer=self._first_bias())
        self.cell.built = True
        super().build(input_shape)
        self.input_spec[0] = InputSpec(ndim=3, axes={-1: size})

    def _lend_weights(self):
        """The weights, as they are at present, in the order and shapes of the plain cell."""
        cell, (size, width) = self.cell, K.int_shape(self.kernel)
        cell.kernel = self._by_gate(self.kernel, lambda block: K.transpose(
            K.reshape(block, (self.units, size))))
        cell.recurrent_kernel = self._by_gate(self.recurrent_kernel, K.transpose)
        cell.bias = self._plain_bias(width)

    def _by_gate(self, weight, plain):
        """The weight with `plain` done to every gate's block of columns."""
        u = self.units
        return K.concatenate([plain(weight[:, i * u:(i + 1) * u]) for i in range(self.cell.gates)],
                             axis=1)

    def _first_bias(self):
        return self.bias_initializer

    def _plain_bias(self, width):
        """The plain cell's bias made of the input's and the state's."""
        raise NotImplementedError(f"{type(self).__name__}._plain_bias")

    def _own_weights(self, trainable):
        return list(self._trainable_weights) if trainable else []

    def _sublayers(self):
        return []                                  # the cell has no weights of its own

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        if mask[0] if isinstance(mask, list) else mask is not None:
            raise ValueError(f"Masking is not supported for CuDNN RNNs{self._place()}")
        self._lend_weights()
        return super().call(inputs, training=training, initial_state=initial_state)

    def get_config(self):
        config = super().get_config()
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _keep_weights(self, units, cell_class, kwargs, **arguments):
        """Constructor: the loop's options are in `kwargs`, the rest are weights' arguments."""
        _CuDNNRNN.__init__(self, cell=cell_class(units, **self.cell_options), **kwargs)
        self.keep(units=units, **arguments)

    cell_options = {}


class CuDNNGRU(_CuDNNRNN):
    """GRU(reset_after=True) with cuDNN's weights: bias (6 * units), input part then state part.

    Arguments as for GRU; there are no masks, no dropout and no choice of activations.
    """

    cell_options = {"reset_after": True}

    def __init__(self, units, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, return_sequences=False, return_state=False, stateful=False,
                 **kwargs):
        kwargs.update(return_sequences=return_sequences, return_state=return_state,
                      stateful=stateful)
        self._keep_weights(
            units, GRUCell, kwargs, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint)

    def _plain_bias(self, width):
        return K.reshape(self.bias, (2, width))


class CuDNNLSTM(_CuDNNRNN):
    """LSTM with cuDNN's weights: bias (8 * units), input part then state part, which are added.

    Arguments as for LSTM; there are no masks, no dropout and no choice of activations.
    """

    def __init__(self, units, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, return_sequences=False,
                 return_state=False, stateful=False, **kwargs):
        kwargs.update(return_sequences=return_sequences, return_state=return_state,
                      stateful=stateful)
        self._keep_weights(
            units, LSTMCell, kwargs, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint)

    def _first_bias(self):
        if not self.unit_forget_bias:
            return self.bias_initializer
        u = self.units
        return lambda shape, dtype=None: K.concatenate([
            self.bias_initializer((5 * u,)), K.ones((u,)), self.bias_initializer((2 * u,))])

    def _plain_bias(self, width):
        return self.bias[:width] + self.bias[width:]


__all__ = ["CuDNNGRU", "CuDNNLSTM"]
