"""What a layer keeps of its calls, weights and arguments, and what it says when a call fails."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import initializers
from gpukeras import layers as L


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session()


def test_automatic_names_count_by_class():
    names = [make().name for make in (lambda: L.Dense(1), lambda: L.Dense(1),
                                      lambda: L.MaxPooling2D(), lambda: L.PReLU(), L.ReLU)]
    assert names == ["dense_1", "dense_2", "max_pooling2d_1", "p_re_lu_1", "re_lu_1"]


def test_wrong_rank_names_layer_line_and_cure():
    with pytest.raises(ValueError) as caught:
        L.Conv2D(2, 3)(L.Input((6, 6)))
    lines = str(caught.value).splitlines()
    assert lines[0] == ("Input 0 is incompatible with layer conv2d_1: expected ndim=4, "
                        "found ndim=3: got shape (None, 6, 6)")
    assert lines[1].startswith("  in conv2d_1 at test_calls.py:")
    assert lines[2].startswith("  Try: ")


def test_second_call_with_other_sizes_is_refused():
    layer = L.Dense(2)
    layer(L.Input((4,)))
    with pytest.raises(ValueError, match="axis -1 of input shape to have value 4, found 5"):
        layer(L.Input((5,)))


def test_engine_errors_name_layer_and_line():
    with pytest.raises(ValueError, match=r"(?s)conv2d_1 at test_calls.py:\d+"):
        L.Conv2D(2, 9)(L.Input((6, 6, 1)))
    with pytest.raises(ValueError, match=r"(?s)\(4, 4\).*reshape_1 at test_calls.py:\d+"):
        L.Reshape((5, 3))(L.Input((4, 4)))


@pytest.mark.parametrize("make, error, text", [
    (lambda: L.Dense(2, input_shpe=(3,)), TypeError, "input_shpe.*Did you mean 'input_shape'"),
    (lambda: L.Dense(2, activaton="relu"), TypeError, "activaton.*Did you mean 'activation'"),
    (lambda: L.Dense(2, activation="rellu"), ValueError, "rellu.*'relu'"),
    (lambda: L.Dense(2, kernel_initializer="glorot"), ValueError, "glorot"),
    (lambda: L.Dense(2, input_shape=3), TypeError, r"Try: \(3,\)"),
    (lambda: L.Conv2D(2, 3, padding="sam"), ValueError, "sam"),
    (lambda: L.Conv2D(2, 3, padding="causal"), ValueError, "Causal padding"),
    (lambda: L.Conv2D(2, 3, data_format="first"), ValueError, "first"),
    (lambda: L.Conv2D(2, (3, 3, 3)), ValueError, "kernel_size.*2 integers"),
    (lambda: L.Dense(2)(np.zeros((3, 4))), ValueError, "isn't a symbolic tensor.*\n.*Try: Input"),
    (lambda: L.Dense(2)(L.Input((None,))), ValueError, "known shape"),
    (lambda: L.BatchNormalization(axis=5)(L.Input((3,))), ValueError, "axis=5"),
    (lambda: L.Input(3), TypeError, r"Input\(shape=\(3,\)\)"),
    (lambda: L.Input(), ValueError, "either a `shape` or a `batch_shape`"),
    (lambda: L.add([L.Input((3,))]), ValueError, "at least 2 inputs"),
    (lambda: L.add([L.Input((3,)), L.Input((4,))]), ValueError, r"broadcast.*\(3,\) \(4,\)"),
    (lambda: L.concatenate([L.Input((3, 2)), L.Input((4, 2))]), ValueError, "matching shapes"),
    (lambda: L.dot([L.Input((3,)), L.Input((4,))], 1), ValueError, "3 != 4"),
    (lambda: L.Permute((0, 1)), ValueError, "Invalid permutation"),
    (lambda: L.ReLU(negative_slope=-1), ValueError, "cannot be negative"),
    (lambda: L.Dense(2).count_params(), RuntimeError, "isn't built"),
    (lambda: L.Dense(2).output, AttributeError, "not connected"),
    (lambda: L.Dense(2).get_output_at(0), RuntimeError, "never been called"),
    (lambda: L.deserialize({"class_name": "Densse", "config": {}}), ValueError, "'Dense'"),
])
def test_mistakes(make, error, text):
    with pytest.raises(error, match="(?s)" + text):
        make()


def test_weights_argument_and_set_weights():
    kernel, bias = np.arange(6.0).reshape(3, 2), np.ones(2)
    layer = L.Dense(2, weights=[kernel, bias])
    layer(L.Input((3,)))
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    with pytest.raises(ValueError, match="not compatible"):
        layer.set_weights([np.zeros((3, 2)), np.zeros(3)])
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


def test_add_weight_finds_what_keep_remembers():
    class Mine(L.Layer):
        def __init__(self, kernel_initializer="ones", kernel_regularizer=None, **kwargs):
            super().__init__(**kwargs)
            self.keep(kernel_initializer=kernel_initializer, kernel_regularizer=kernel_regularizer)

        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (input_shape[-1], 2))
            self.state = self.add_weight("state", (2,), initializer="zeros", trainable=False)

        def call(self, x):
            return K.dot(x, self.kernel)

    layer = Mine(kernel_regularizer="l1")
    y = layer(L.Input((3,)))
    assert K.int_shape(y) == (None, 2) and layer.compute_output_shape((None, 3)) == (None, 2)
    assert [w.name.split(":")[0] for w in layer.weights] == ["mine_1/kernel", "mine_1/state"]
    assert layer.trainable_weights == [layer.kernel]
    np.testing.assert_array_equal(layer.get_weights()[0], np.ones((3, 2)))
    np.testing.assert_allclose(K.eval(layer.losses[0]), 0.06, rtol=1e-6)
    assert isinstance(Mine.from_config(layer.get_config()).kernel_initializer, initializers.Ones)


def test_variables_and_layers_as_attributes_are_tracked():
    class Mine(L.Layer):
        def __init__(self, **kwargs):
            self.inner = L.Dense(2)                # before super().__init__, as many scripts do
            super().__init__(**kwargs)

        def build(self, input_shape):
            self.scale = K.variable(2.0)
            super().build(input_shape)

        def call(self, x):
            return self.inner(x) * self.scale

    layer = Mine()
    x = L.Input((3,))
    layer(x)
    assert [w.shape for w in layer.trainable_weights] == [(), (3, 2), (2,)]
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.weights) == 3
    old = L.Dense(2)
    old.trainable_weights = [layer.scale]
    assert old.trainable_weights == [layer.scale]


def test_layer_without_config_falls_back_to_the_input_shape():
    class Mine(L.Layer):
        def __init__(self, needed):
            super().__init__()

    assert Mine(1).compute_output_shape((None, 3)) == (None, 3)


def test_users_output_shape_fills_unknown_sizes():
    class Mine(L.Layer):
        def call(self, x):
            return K.reshape(x, (K.shape(x)[0], -1, 2))

        def compute_output_shape(self, input_shape):
            return input_shape[0], 3, 2

    assert K.int_shape(Mine()(L.Input((6,)))) == (None, 3, 2)


def test_lambda_with_arguments_mask_and_config():
    x = L.Input((3,))
    layer = L.Lambda(lambda x, by: x * by, arguments={"by": 3})
    value, = K.function([x], [layer(x)])([np.ones((1, 3))])
    np.testing.assert_array_equal(value, [[3, 3, 3]])
    pair = L.Lambda(lambda x: [x, x + 1])(x)
    assert len(pair) == 2 and pair[1]._keras_history[2] == 1


def test_lambda_config_round_trip_and_foreign_code():
    offset = 5

    def move(x, by=2):
        return x * by + offset

    x = L.Input((3,))
    layer = L.Lambda(move, name="mine")
    layer(x)
    again = L.deserialize(L.serialize(layer))
    value, = K.function([x], [again(x)])([np.ones((1, 3))])
    np.testing.assert_array_equal(value, [[7, 7, 7]])
    config = L.serialize(layer)
    config["config"]["function"] = ("4wEAAAA=\n", None, None)
    with pytest.raises(ValueError, match="(?s)never run.*custom_objects"):
        L.deserialize(config)
    given = L.deserialize(config, custom_objects={"mine": lambda x: x - 1})
    value, = K.function([x], [given(x)])([np.ones((1, 3))])
    np.testing.assert_array_equal(value, [[0, 0, 0]])


def test_input_from_a_tensor():
    held = K.variable(np.ones((4, 3)))
    x = L.Input(tensor=held)
    assert x is held and K.int_shape(x) == (4, 3)
    assert not x._keras_history[0].is_placeholder


def test_same_seed_in_numpy_gives_the_same_weights():
    found = []
    for _ in range(2):
        np.random.seed(5)
        layer = L.Dense(4)
        layer(L.Input((3,)))
        found.append(layer.get_weights()[0])
    np.testing.assert_array_equal(*found)


def test_wrapping_a_frozen_layer_leaves_it_frozen():
    dense = L.Dense(2, trainable=False)
    wrapped = L.TimeDistributed(dense)
    wrapped(L.Input((4, 3)))
    assert not dense.trainable and wrapped.trainable_weights == []
    wrapped.trainable = True
    assert dense.trainable and len(wrapped.trainable_weights) == 2


def test_layers_in_lists_and_dicts_are_found():
    class Towers(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.steps = [L.Dense(3, kernel_regularizer="l2"), (L.BatchNormalization(),)[0]]
            self.heads = {"a": L.Dense(2), "b": L.Dense(1)}

        def call(self, x):
            for step in self.steps:
                x = step(x)
            return [head(x) for head in self.heads.values()]

    layer, x = Towers(), L.Input((4,))
    ys = layer(x)
    assert [K.int_shape(y) for y in ys] == [(None, 2), (None, 1)]
    assert len(layer.trainable_weights) == 8 and len(layer.weights) == 10
    assert len(layer.losses) == 1 and len(layer.updates) == 2
    assert len(layer.get_updates_for(x)) == 2 and len(layer.get_losses_for(None)) == 1


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"strides": 2}, {"dilation_rate": 2},
                                     {"strides": 2, "padding": "same"}, {"strides": 3},
                                     {"strides": 2, "output_padding": 1},
                                     {"strides": 2, "data_format": "channels_first"}])
def test_a_transposed_convolution_of_unknown_size_is_that_of_the_known_one(options):
    first = "data_format" in options
    unknown = L.Input((3, None, None) if first else (None, None, 3))
    known = L.Input((3, 5, 4) if first else (5, 4, 3))
    layer = L.Conv2DTranspose(2, 3, **options)
    free, fixed = layer(unknown), layer(known)
    x = np.random.default_rng(0).normal(size=(2, *known.shape[1:])).astype("float32")
    gradients = [K.gradients(K.sum(K.square(y)), [t, layer.kernel])
                 for y, t in ((free, unknown), (fixed, known))]
    got = K.function([unknown], [free, *gradients[0]])([x])
    want = K.function([known], [fixed, *gradients[1]])([x])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
