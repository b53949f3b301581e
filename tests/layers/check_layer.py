"""The checks that every layer passes, written once. Cases are rows in cases.py.

    shape      compute_output_shape, also of a layer not built yet, is the shape of what is computed
    config     from_config(get_config()), through JSON, gives a layer with the same config
    weights    get_weights into another layer makes the other layer compute the same
    gradient   in float64, along one random direction over input and weights, against differences
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from gpukeras import backend as K
from gpukeras import layers


@dataclass(frozen=True)
class Case:
    """One layer. make: makes it; shapes: of its inputs, with batch axis."""

    make: Callable
    shapes: tuple
    options: dict = field(default_factory=dict)    # keyword arguments of `make`
    smooth: bool = True                            # False: no gradient check (jumps, no gradient)
    random: bool = False                           # training differs from test by chance
    low: float = -2.0                              # inputs are uniform between low and high
    high: float = 2.0
    dtype: str = None                              # of the inputs, None for floatx
    integers: bool = False

    def __repr__(self):
        options = ", ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in self.options.items())
        return f"{self.make.__name__}({options})-{self.shapes}".replace(" ", "")

    def inputs(self):
        """Arrays for the inputs, the same at every call."""
        rng = np.random.default_rng(11)
        arrays = [rng.uniform(self.low, self.high, shape) for shape in self.shapes]
        return [np.floor(a) if self.integers else a for a in arrays]

    def new(self):
        """The layer; an option that is a function makes an inner layer."""
        return self.make(**{name: value() if callable(value) else value
                            for name, value in self.options.items()})

    def apply(self, layer):
        """(placeholders, output) of the layer called on new inputs."""
        given = [layers.Input(batch_shape=(None, *shape[1:]), dtype=self.dtype)
                 for shape in self.shapes]
        return given, layer(given if len(given) > 1 else given[0])


def check_layer(case):
    """All checks on one row."""
    before = K.floatx()
    K.set_floatx("float64")
    try:
        layer = case.new()
        given, y = case.apply(layer)
        check_shape(case, layer, given, y)
        check_config(layer)
        check_weights(case, layer, given, y)
        if case.smooth:
            check_gradient(case, layer, given, y)
    finally:
        K.set_floatx(before)


def check_shape(case, layer, given, y):
    value, = K.function(given, [y])(case.inputs())
    shapes = list(case.shapes)
    told = [case.new().compute_output_shape(shapes if shapes[1:] else shapes[0]),
            layer.compute_output_shape(shapes if shapes[1:] else shapes[0])]
    assert [tuple(shape) for shape in told] == [value.shape] * 2
    unknown = [(None, *shape[1:]) for shape in shapes]
    assert layer.output_shape == (None, *value.shape[1:])
    assert tuple(layer.compute_output_shape(unknown if shapes[1:] else unknown[0])) \
        == (None, *value.shape[1:])


def check_config(layer):
    config = json.loads(json.dumps(layers.serialize(layer)))
    again = layers.deserialize(config)
    assert type(again) is type(layer)
    assert json.loads(json.dumps(layers.serialize(again))) == config


def check_weights(case, layer, given, y):
    rng = np.random.default_rng(3)
    layer.set_weights([w + rng.uniform(0.1, 0.6, w.shape) for w in layer.get_weights()])
    other = type(layer).from_config(layer.get_config())
    others, y_other = case.apply(other)
    other.set_weights(layer.get_weights())
    x = case.inputs()
    want, = K.function(given, [y])(x)
    got, = K.function(others, [y_other])(x)
    assert np.isfinite(want).all()
    np.testing.assert_array_equal(got, want)


def check_gradient(case, layer, given, y):
    """d/dt of sum(y * r) along one direction of all inputs and weights, at test phase."""
    rng = np.random.default_rng(5)
    arrays, weights = case.inputs(), layer.trainable_weights
    r = rng.uniform(-1, 1, K.function(given, [y])(arrays)[0].shape)
    wrt = weights if case.integers else given + weights
    if not wrt:
        return
    loss = K.sum(y * K.constant(r, dtype="float64"))
    gradients = K.gradients(loss, wrt)
    assert all(g is not None for g in gradients)
    run = K.function(given, [loss, *gradients])
    values = layer.get_weights()
    found = run(arrays)[1:]
    directions = [rng.uniform(-1, 1, g.shape) for g in found]
    slope = sum(float(np.sum(g * d)) for g, d in zip(found, directions))

    def at(t):
        moved = directions if case.integers else directions[len(arrays):]
        shifted = dict(zip(map(id, weights), moved))
        layer.set_weights([v + t * shifted.get(id(w), 0) for w, v in zip(layer.weights, values)])
        x = arrays if case.integers else [a + t * d for a, d in zip(arrays, directions)]
        return float(run(x)[0])

    h = 1e-6
    np.testing.assert_allclose(slope, (at(h) - at(-h)) / (2 * h), rtol=1e-5, atol=1e-6)
    layer.set_weights(values)
