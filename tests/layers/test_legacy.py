"""Keras 1 calls give the same layers as Keras 2 calls, with one warning that shows the new form."""
import warnings

import numpy as np
import pytest

from gpukeras import layers as L
from gpukeras.models import Sequential

PAIRS = [
    (lambda: L.Dense(output_dim=3, init="he_normal", W_regularizer="l2", b_constraint="non_neg",
                     bias=True, input_dim=4),
     lambda: L.Dense(3, kernel_initializer="he_normal", kernel_regularizer="l2",
                     bias_constraint="non_neg", input_shape=(4,))),
    (lambda: L.Dropout(p=0.3), lambda: L.Dropout(0.3)),
    (lambda: L.Convolution2D(4, 3, 2, border_mode="same", subsample=(2, 2), dim_ordering="th",
                             activation="relu"),
     lambda: L.Conv2D(4, (3, 2), padding="same", strides=2, data_format="channels_first",
                      activation="relu")),
    (lambda: L.Convolution2D(4, nb_row=3, nb_col=2), lambda: L.Conv2D(4, (3, 2))),
    (lambda: L.Convolution2D(4, 3, nb_col=2), lambda: L.Conv2D(4, (3, 2))),
    (lambda: L.Convolution2D(nb_filter=4, nb_row=3, nb_col=2, dim_ordering="default"),
     lambda: L.Conv2D(4, (3, 2))),
    (lambda: L.Convolution1D(nb_filter=4, filter_length=3, subsample_length=2, input_dim=5,
                             input_length=9),
     lambda: L.Conv1D(4, 3, strides=2, input_shape=(9, 5))),
    (lambda: L.Convolution3D(4, 2, 3, 1), lambda: L.Conv3D(4, (2, 3, 1))),
    (lambda: L.Convolution3D(4, kernel_dim1=2, kernel_dim2=3, kernel_dim3=1),
     lambda: L.Conv3D(4, (2, 3, 1))),
    (lambda: L.Deconvolution2D(4, 3, 2, (None, 8, 8, 4), subsample=(2, 2)),
     lambda: L.Conv2DTranspose(4, (3, 2), strides=(2, 2))),
    (lambda: L.Deconvolution2D(4, 3, 2, output_shape=(None, 8, 8, 4)),
     lambda: L.Conv2DTranspose(4, (3, 2))),
    (lambda: L.SeparableConv2D(4, 3, 3, init="uniform"),
     lambda: L.SeparableConv2D(4, 3, depthwise_initializer="uniform",
                               pointwise_initializer="uniform")),
    (lambda: L.LocallyConnected2D(4, 3, 3, border_mode="valid"),
     lambda: L.LocallyConnected2D(4, 3)),
    (lambda: L.MaxPooling1D(pool_length=3, stride=2, border_mode="same"),
     lambda: L.MaxPooling1D(3, strides=2, padding="same")),
    (lambda: L.AveragePooling2D((2, 2), border_mode="same", dim_ordering="tf"),
     lambda: L.AveragePooling2D(2, padding="same", data_format="channels_last")),
    (lambda: L.GlobalMaxPooling2D(dim_ordering="th"),
     lambda: L.GlobalMaxPooling2D(data_format="channels_first")),
    (lambda: L.BatchNormalization(mode=0, gamma_init="zero"),
     lambda: L.BatchNormalization(gamma_initializer="zeros")),
    (lambda: L.Embedding(5, 3, init="normal", W_constraint="unit_norm"),
     lambda: L.Embedding(5, 3, embeddings_initializer="normal",
                         embeddings_constraint="unit_norm")),
    (lambda: L.PReLU(init="one"), lambda: L.PReLU("ones")),
    (lambda: L.GaussianNoise(sigma=0.2), lambda: L.GaussianNoise(0.2)),
    (lambda: L.GaussianDropout(p=0.2), lambda: L.GaussianDropout(0.2)),
    (lambda: L.SpatialDropout2D(p=0.2, dim_ordering="th"),
     lambda: L.SpatialDropout2D(0.2, data_format="channels_first")),
    (lambda: L.UpSampling1D(length=3), lambda: L.UpSampling1D(3)),
    (lambda: L.ZeroPadding2D(padding={"top_pad": 1, "right_pad": 2}),
     lambda: L.ZeroPadding2D(((1, 0), (0, 2)))),
    (lambda: L.Cropping2D(2, dim_ordering="th"),
     lambda: L.Cropping2D(2, data_format="channels_first")),
    (lambda: L.InputLayer((3,), input_dtype="int32"), lambda: L.InputLayer((3,), dtype="int32")),
]


def config(layer):
    return {**layer.get_config(), "name": None}


@pytest.mark.parametrize("old, new", PAIRS)
def test_old_call_gives_the_same_layer(old, new):
    with pytest.warns(UserWarning, match="call to the Keras 2 API: `") as caught:
        layer = old()
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config(layer) == config(new())


def test_warning_shows_the_call():
    with pytest.warns(UserWarning) as caught:
        L.Dense(output_dim=3, init="uniform")
    assert str(caught[0].message) == (
        "Update your `Dense` call to the Keras 2 API: "
        "`Dense(units=3, kernel_initializer='uniform')`")


def test_a_users_subclass_understands_old_names_too():
    class Mine(L.Conv2DTranspose):
        def __init__(self, **kwargs):
            super().__init__(4, 3, subsample=2, **kwargs)

    with pytest.warns(UserWarning):
        assert Mine().strides == (2, 2)


@pytest.mark.parametrize("make, text", [
    (lambda: L.Dense(3, "relu"), "only 1 positional"),
    (lambda: L.Conv2D(3, (3, 3), (2, 2)), "only 2 positional"),
    (lambda: L.Dense(units=3, output_dim=3), "received both the legacy"),
    (lambda: L.BatchNormalization(mode=1), "no longer exists"),
    (lambda: L.BatchNormalization(-1), "only 0 positional"),
])
def test_refused_calls(make, text):
    with pytest.raises(TypeError, match=text):
        make()


def test_integers_by_position_with_new_keywords_are_refused():
    with pytest.raises(ValueError, match="as a keyword argument instead"):
        L.Conv2D(4, 3, 2, padding="same")


def test_generator_methods_count_batches_now():
    model = Sequential([L.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")

    def batches():
        while True:
            yield np.ones((4, 2)), np.ones((4, 1))

    with pytest.warns(UserWarning, match="fit_generator.*steps_per_epoch=3, epochs=2"):
        history = model.fit_generator(batches(), samples_per_epoch=3, nb_epoch=2, verbose=0)
    assert len(history.history["loss"]) == 2
    with pytest.warns(UserWarning, match="semantics.*number of batches to draw") as found:
        model.evaluate_generator(batches(), val_samples=2)
    assert any("steps=2" in str(warning.message) for warning in found)


def test_dropped_arguments_warn():
    with pytest.warns(UserWarning, match="SpatialDropout1D"):
        L.Embedding(5, 3, dropout=0.2)
