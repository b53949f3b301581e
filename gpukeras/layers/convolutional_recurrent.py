"""Recurrent layers whose products are convolutions: sequences of images."""
from .. import backend as K
from ..utils.conv_utils import conv_output_length, normalize_padding, normalize_tuple
from .cells import _Cell, sizes
from .node import keras_shape
from .recurrent import _arguments, _Gated
from .rnn import RNN
from .spec import InputSpec
from .terms import types_only


class ConvLSTM2DCell(_Cell):
    """One step of ConvLSTM2D.  Arguments as for ConvLSTM2D.

    i, f, o = rec(conv(x, W) + conv(h, U) + b),
    c' = f * c + i * act(conv(x, Wc) + conv(h, Uc) + bc), h' = o * act(c').
    kernel (*kernel_size, in, 4 * filters), recurrent_kernel (*kernel_size, filters, 4 * filters),
    bias (4 * filters); gates i, f, c, o.
    """

    gates, implementation = 4, 1

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1), activation="tanh", recurrent_activation="hard_sigmoid",
                 use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = filters
        self._keep_weights(dict(
            filters=filters, kernel_size=normalize_tuple(kernel_size, 2, "kernel_size"),
            strides=normalize_tuple(strides, 2, "strides"), padding=normalize_padding(padding),
            data_format=K.normalize_data_format(data_format),
            dilation_rate=normalize_tuple(dilation_rate, 2, "dilation_rate"),
            activation=activation, recurrent_activation=recurrent_activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint,
            dropout=dropout, recurrent_dropout=recurrent_dropout))
        self.state_size = (filters, filters)

    @property
    def _first(self):
        """Is the channel axis that behind the batch?"""
        return self.data_format == "channels_first"

    def build(self, input_shape):
        channels = input_shape[1 if self._first else -1]
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found `None`"
                             f" in {tuple(input_shape)}{self._place()}")
        f, window = self.filters, self.kernel_size
        self.kernel_shape = (*window, channels, 4 * f)
        self.kernel = self.add_weight("kernel", self.kernel_shape)
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (*window, f, 4 * f))
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", (4 * f,), initializer=self._first_bias())
        self.built = True

    def _first_bias(self):
        if not self.unit_forget_bias:
            return self.bias_initializer
        f = self.filters
        return lambda shape, dtype=None: K.concatenate([
            self.bias_initializer((f,)), K.ones((f,)), self.bias_initializer((2 * f,))])

    def input_conv(self, x, w, b=None, padding="valid"):
        """Convolution of the input, with the layer's strides and dilation."""
        y = K.conv2d(x, w, strides=self.strides, padding=padding, data_format=self.data_format,
                     dilation_rate=self.dilation_rate)
        return y if b is None else K.bias_add(y, b, data_format=self.data_format)

    def recurrent_conv(self, x, w):
        """Convolution of the state, which keeps its size."""
        return K.conv2d(x, w, strides=(1, 1), padding="same", data_format=self.data_format)

    def project(self, inputs, training=None):
        """What the input adds to every gate, for one step or all steps at once."""
        shape, steps = keras_shape(inputs), K.ndim(inputs) == 5
        masks = self._masks("input", inputs, self.dropout, training)

        def conv(x, w, b):
            if not steps:
                return self.input_conv(x, w, b, self.padding)
            y = self.input_conv(_joined(x), w, b, self.padding)
            count = K.shape(inputs)[1] if shape[1] is None else shape[1]
            return K.reshape(y, (-1, count, *_known(y)))

        if not masks:
            return conv(inputs, self.kernel, self.bias)
        parts = [conv(inputs * m, self._block(self.kernel, i),
                      None if self.bias is None else self._block(self.bias, i))
                 for i, m in enumerate(masks)]
        return K.concatenate(parts, axis=self._channel_axis + steps)

    @property
    def _channel_axis(self):
        return 1 if self._first else 3

    def _gate(self, z, i):
        """The channels of one gate."""
        f = self.filters
        return z[:, i * f:(i + 1) * f] if self._first else z[..., i * f:(i + 1) * f]

    def advance(self, z, states, training=None):
        h, c = states
        masks = self._masks("state", h, self.recurrent_dropout, training)
        if masks:
            z = z + K.concatenate([self.recurrent_conv(h * m, self._block(self.recurrent_kernel, i))
                                   for i, m in enumerate(masks)], axis=self._channel_axis)
        else:
            z = z + self.recurrent_conv(h, self.recurrent_kernel)
        i, f, g, o = (self._gate(z, gate) for gate in range(4))
        rec, act = self.recurrent_activation, self.activation
        c = rec(f) * c + rec(i) * act(g)
        h = rec(o) * act(c)
        return h, [h, c]

    def _masks(self, kind, x, rate, training):
        if K.ndim(x) < 5:
            return super()._masks(kind, x, rate, training)
        return [K.expand_dims(m, 1) for m in super()._masks(kind, x[:, 0], rate, training)]


class ConvRNN2D(RNN):
    """RNN over a cell that works on images; arguments as for RNN, without `unroll`.

    # Input shape
        `(batch, steps, rows, cols, channels)`, or channels before rows for channels_first.
    """

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, **kwargs):
        if unroll:
            raise TypeError("Unrolling isn't possible with convolutional RNNs.")
        if isinstance(cell, (list, tuple)):
            raise TypeError("It is not possible at the moment to stack convolutional cells.")
        super().__init__(cell, return_sequences, return_state, go_backwards, stateful, unroll,
                         **kwargs)
        self.input_spec = [InputSpec(ndim=5)]

    def _image(self, shape, channels):
        """Shape of a state or output of one step, for an input of this shape (of all steps)."""
        cell = self.cell
        first = cell.data_format == "channels_first"
        window = [conv_output_length(size, k, cell.padding, s, d) for size, k, s, d in zip(
            shape[3:] if first else shape[2:4], cell.kernel_size, cell.strides,
            cell.dilation_rate)]
        return (channels, *window) if first else (*window, channels)

    @property
    def state_spec(self):
        shape = self.input_spec[0].shape or (None,) * 5
        return [InputSpec(shape=(None, *self._image(shape, size))) for size in sizes(self.cell)]

    def compute_output_shape(self, input_shape):
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        states = [self._image(shape, size) for size in sizes(self.cell)]
        output = (*shape[:2 if self.return_sequences else 1], *states[0])
        return [output] + [(shape[0], *s) for s in states] if self.return_state else output

    def get_initial_state(self, inputs):
        """Zeros of the size that the cell's convolution gives."""
        zeros = K.zeros_like(inputs[:, 0])
        states = []
        for size in sizes(self.cell):
            shape = self._image(keras_shape(inputs), size)
            if None in shape:                      # known at call time only: let a convolution tell
                kernel = K.constant(0.0, shape=(*self.cell.kernel_shape[:-1], size))
                states.append(self.cell.input_conv(zeros, kernel, padding=self.cell.padding))
            else:
                states.append(K.tile(zeros[:, :1, :1, :1], (1, *shape)))
        return states

    def build(self, input_shape):
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        stateful, self.stateful = self.stateful, False
        try:
            super().build(input_shape)
        finally:
            self.stateful = stateful
        self.input_spec[0] = InputSpec(shape=(shape[0] if stateful else None, None, *shape[2:]))
        if stateful and not types_only():
            self._make_states(shape[0])

    def _make_states(self, batch):
        images = [self._image(self.input_spec[0].shape or (None,) * 5, size)
                  for size in sizes(self.cell)]
        if batch is None or any(None in image for image in images):
            raise ValueError("If a RNN is stateful, a complete input_shape must be provided "
                             f"(including batch size): layer {self.name}. Try: "
                             "batch_input_shape=(batch, steps, rows, cols, channels).")
        if self._state_variables is None:
            self._state_variables = [K.zeros((batch, *image)) for image in images]
            for variable in self._state_variables:
                variable.trainable = False


class ConvLSTM2D(_Gated, ConvRNN2D):
    """LSTM whose products are convolutions.

    # Arguments
        filters: number of channels of output and states.
        kernel_size, strides, padding, data_format, dilation_rate: of the input's convolution, as
            for Conv2D; that of the state keeps the size.
        recurrent_activation: of the input, forget and output gate.
        unit_forget_bias: start the forget gate's bias at 1.
        return_state: by keyword, see RNN.
        The rest: see SimpleRNN.

    # Input shape
        `(batch, steps, rows, cols, channels)`, or channels before rows for channels_first.

    # Output shape
        `(batch, rows', cols', filters)`, with steps behind the batch for return_sequences.

    Shi et al. 2015, arXiv:1506.04214 (without peepholes).
    """

    cell_class = ConvLSTM2DCell

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1), activation="tanh", recurrent_activation="hard_sigmoid",
                 use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, return_sequences=False,
                 go_backwards=False, stateful=False, dropout=0.0, recurrent_dropout=0.0, **kwargs):
        return_state, unroll = kwargs.pop("return_state", False), kwargs.pop("unroll", False)
        arguments, options = _arguments(locals(), self.cell_class)
        super().__init__(arguments, options, activity_regularizer, kwargs)


def _joined(x):
    """(batch, steps, *image) -> (batch * steps, *image)"""
    return K.reshape(x, (-1, *[K.shape(x)[i] if size is None else size
                               for i, size in enumerate(keras_shape(x)) if i > 1]))


def _known(y):
    """Sizes of `y` behind the batch axis, as tensors where they are unknown."""
    return [K.shape(y)[i] if size is None else size
            for i, size in enumerate(keras_shape(y)) if i]


__all__ = ["ConvLSTM2D", "ConvLSTM2DCell", "ConvRNN2D"]
