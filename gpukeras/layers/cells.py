"""Recurrent cells: what one time step does.

A cell splits its work in two, so that a whole sequence can do the first part at once: `project` is
what depends on the input alone, `advance` what depends on the state.
"""
import numpy as np

from .. import backend as K
from ..utils.generic_utils import has_arg
from .base import Layer


class _Cell(Layer):
    """Base of the cells whose gates share one kernel, one recurrent kernel and one bias.

    gates: number of column blocks in the kernels.  Weights: kernel (in, gates * units),
    recurrent_kernel (units, gates * units), bias (gates * units).
    """

    gates = 1
    implementation = 2

    def _keep_weights(self, arguments):
        self.keep(**arguments)
        self.dropout = min(1.0, max(0.0, self.dropout))
        self.recurrent_dropout = min(1.0, max(0.0, self.recurrent_dropout))
        self.state_size = self.output_size = self.units
        self.forget_masks()

    def build(self, input_shape):
        width = self.gates * self.units
        self.kernel = self.add_weight("kernel", (input_shape[-1], width))
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", (self.units, width), initializer=self._recurrent_initializer(),
            regularizer=self.recurrent_regularizer, constraint=self.recurrent_constraint)
        self.bias = (self.add_weight("bias", self._bias_shape(), initializer=self._first_bias())
                     if self.use_bias else None)
        super().build(input_shape)

    def _recurrent_initializer(self):
        """The user's, but `identity` becomes one unit matrix for each gate."""
        if type(self.recurrent_initializer).__name__ != "Identity" or self.gates == 1:
            return self.recurrent_initializer
        return lambda shape, dtype=None: K.concatenate([K.eye(self.units)] * self.gates, axis=1)

    def _bias_shape(self):
        return (self.gates * self.units,)

    def _first_bias(self):
        return self.bias_initializer

    # ---- one step

    def call(self, inputs, states, training=None):
        """(output, new states) of one step; inputs (batch, in), states (batch, units) each."""
        return self.advance(self.project(inputs, training), states, training)

    def project(self, inputs, training=None):
        """What the input adds to every gate: (..., in) -> (..., gates * units)."""
        masks = self._masks("input", inputs, self.dropout, training)
        if self.implementation == 1 and masks and self.gates > 1:
            parts = [K.dot(inputs * m, self._block(self.kernel, i)) for i, m in enumerate(masks)]
            y = K.concatenate(parts, axis=-1)
        else:
            y = K.dot(inputs * masks[0] if masks else inputs, self.kernel)
        bias = self._input_bias()
        return y if bias is None else K.bias_add(y, bias, "channels_last")

    def _input_bias(self):
        return self.bias

    def _block(self, weight, gate):
        """The columns of one gate."""
        return weight[..., gate * self.units:(gate + 1) * self.units]

    def _recur(self, states, training):
        """(h for each gate, after recurrent dropout; h @ recurrent kernel of all gates)."""
        h = states[0]
        masks = self._masks("state", h, self.recurrent_dropout, training)
        if not masks:
            return [h] * self.gates, lambda: K.dot(h, self.recurrent_kernel)
        if self.implementation == 1 and self.gates > 1:
            each = [h * m for m in masks]
            return each, lambda: K.concatenate(
                [K.dot(each[i], self._block(self.recurrent_kernel, i)) for i in range(self.gates)],
                axis=-1)
        masked = h * masks[0]
        return [masked] * self.gates, lambda: K.dot(masked, self.recurrent_kernel)

    # ---- dropout

    def forget_masks(self):
        """Draw new dropout masks at the next call; between two of these calls they stay."""
        self._seeds = {}

    def _masks(self, kind, x, rate, training):
        """One mask per gate, the same for all time steps of x (batch, [time,] features); or
        none."""
        if not 0.0 < rate < 1.0:
            return []
        seeds = self._seeds.setdefault(kind, list(np.random.randint(1, 10**7, self.gates)))
        ones = K.ones_like(x[:, 0] if K.ndim(x) == 3 else x)
        masks = [K.in_train_phase(lambda s=s: K.dropout(ones, rate, seed=s), ones,
                                  training=training) for s in seeds]
        return [K.expand_dims(m, 1) for m in masks] if K.ndim(x) == 3 else masks


class SimpleRNNCell(_Cell):
    """One step of SimpleRNN: h' = activation(x @ W + b + h @ U).  Arguments as for SimpleRNN."""

    def __init__(self, units, activation="tanh", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self._keep_weights(dict(
            units=units, activation=activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint, dropout=dropout,
            recurrent_dropout=recurrent_dropout))

    def advance(self, z, states, training=None):
        _, recurrent = self._recur(states, training)
        h = self.activation(z + recurrent())
        return h, [h]


class GRUCell(_Cell):
    """One step of GRU.  Arguments as for GRU.

    z, r = rec(x W + b + h U), c = act(x Wc + bc + (r * h) Uc), h' = z * h + (1 - z) * c;
    with reset_after c = act(x Wc + b0 + r * (h Uc + b1)).  Cho et al. 2014, arXiv:1406.1078.
    """

    gates = 3

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, implementation=2,
                 reset_after=False, **kwargs):
        super().__init__(**kwargs)
        self._keep_weights(dict(
            units=units, activation=activation, recurrent_activation=recurrent_activation,
            use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint,
            dropout=dropout, recurrent_dropout=recurrent_dropout, implementation=implementation,
            reset_after=reset_after))

    def _bias_shape(self):
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _input_bias(self):
        return self.bias[0] if self.reset_after and self.use_bias else self.bias

    def advance(self, z, states, training=None):
        u, (h_z, h_r, h_c) = self.units, self._recur(states, training)[0]
        zx, rx, cx = (self._block(z, i) for i in range(3))
        if self.reset_after:
            inner = self._recur(states, training)[1]()
            if self.use_bias:
                inner = K.bias_add(inner, self.bias[1], "channels_last")
            gate = self.recurrent_activation(zx + self._block(inner, 0))
            r = self.recurrent_activation(rx + self._block(inner, 1))
            c = self.activation(cx + r * self._block(inner, 2))
        else:
            if h_z is h_r:                         # one product for both gates
                both = K.dot(h_z, self.recurrent_kernel[:, :2 * u])
                hz, hr = both[:, :u], both[:, u:]
            else:
                hz, hr = (K.dot(h, self._block(self.recurrent_kernel, i))
                          for i, h in enumerate((h_z, h_r)))
            gate, r = self.recurrent_activation(zx + hz), self.recurrent_activation(rx + hr)
            c = self.activation(cx + K.dot(r * h_c, self._block(self.recurrent_kernel, 2)))
        # with implementation 2 the masked state also enters the mixture, as in Keras
        old = h_z if self.implementation == 2 else states[0]
        h = gate * old + (1.0 - gate) * c
        return h, [h]


class LSTMCell(_Cell):
    """One step of LSTM.  Arguments as for LSTM.

    i, f, o = rec(x W + h U + b), c' = f * c + i * act(x Wc + h Uc + bc), h' = o * act(c').
    Hochreiter and Schmidhuber 1997; forget gates by Gers et al. 1999.
    """

    gates = 4

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal",
                 bias_initializer="zeros", unit_forget_bias=True, kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, implementation=2, **kwargs):
        super().__init__(**kwargs)
        self._keep_weights(dict(
            units=units, activation=activation, recurrent_activation=recurrent_activation,
            use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint, dropout=dropout,
            recurrent_dropout=recurrent_dropout, implementation=implementation))
        self.state_size = (self.units, self.units)

    def _first_bias(self):
        """The user's, but ones for the forget gate if asked: remembering is where to start from."""
        if not self.unit_forget_bias:
            return self.bias_initializer
        u = self.units
        return lambda shape, dtype=None: K.concatenate([
            self.bias_initializer((u,)), K.ones((u,)), self.bias_initializer((2 * u,))])

    def advance(self, z, states, training=None):
        z = z + self._recur(states, training)[1]()
        i, f, c, o = (self._block(z, gate) for gate in range(4))
        rec, act = self.recurrent_activation, self.activation
        new_c = rec(f) * states[1] + rec(i) * act(c)
        h = rec(o) * act(new_c)
        return h, [h, new_c]


class StackedRNNCells(Layer):
    """Several cells as one: each takes the output of the one before.

    # Arguments
        cells: list of cells.
        reverse_state_order: states of the last cell first, as Keras did before 2.2.
    """

    def __init__(self, cells, **kwargs):
        reverse_state_order = kwargs.pop("reverse_state_order", False)
        for cell in cells:
            if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
                raise ValueError("All cells must have a `call` method and a `state_size`: got "
                                 f"{cell}")
        super().__init__(**kwargs)
        self.cells, self.reverse_state_order = list(cells), reverse_state_order

    def _in_state_order(self):
        return self.cells[::-1] if self.reverse_state_order else self.cells

    @property
    def state_size(self):
        return tuple(size for cell in self._in_state_order() for size in sizes(cell))

    @property
    def output_size(self):
        last = self.cells[-1]
        return getattr(last, "output_size", None) or sizes(last)[0]

    def build(self, input_shape):
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        shape, constants = shapes[0], shapes[1:]
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                wants = constants and has_constants(cell)
                cell.build([shape, *constants] if wants else shape)
                cell.built = True
            size = getattr(cell, "output_size", None) or sizes(cell)[0]
            shape = (shape[0], size)
        super().build(input_shape)

    def call(self, inputs, states, constants=None, **kwargs):
        """(output of the last cell, new states of all cells)."""
        states = list(states)
        given = {}
        for cell in self._in_state_order():
            n = len(sizes(cell))
            given[id(cell)], states = states[:n], states[n:]
        new = {}
        for cell in self.cells:
            inputs, new[id(cell)] = run_cell(cell, inputs, given[id(cell)], constants, kwargs)
        return inputs, [s for cell in self._in_state_order() for s in new[id(cell)]]

    def forget_masks(self):
        for cell in self.cells:
            if hasattr(cell, "forget_masks"):
                cell.forget_masks()

    def get_config(self):
        cells = [{"class_name": type(c).__name__, "config": c.get_config()} for c in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        from . import deserialize
        config = dict(config)
        cells = [deserialize(c, custom_objects) for c in config.pop("cells")]
        return cls(cells, **config)


def sizes(cell):
    """The state sizes of a cell as a list."""
    size = cell.state_size
    return list(size) if hasattr(size, "__len__") else [size]


def has_constants(cell):
    return has_arg(cell.call, "constants")


def run_cell(cell, inputs, states, constants, kwargs):
    """cell.call with those of the optional arguments that it takes."""
    kwargs = {k: v for k, v in kwargs.items() if has_arg(cell.call, k)}
    if constants and has_constants(cell):
        kwargs["constants"] = constants
    return cell.call(inputs, states, **kwargs)


__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"]
