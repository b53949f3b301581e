"""Import paths of Keras 2.3.1 and before lead to the same objects as the public ones."""
import importlib
import pathlib

import h5py
import numpy as np
import pytest

import gpukeras
from gpukeras import layers, losses, models

PATHS = [
    ("engine", "Layer", layers.Layer), ("engine", "InputSpec", layers.InputSpec),
    ("engine", "Input", layers.Input), ("engine.topology", "Layer", layers.Layer),
    ("engine.topology", "Network", models.Network), ("engine.base_layer", "Node", layers.Node),
    ("engine.topology", "get_source_inputs", gpukeras.utils.layer_utils.get_source_inputs),
    ("engine.input_layer", "InputLayer", layers.InputLayer),
    ("engine.training", "Model", models.Model),
    ("engine.sequential", "Sequential", models.Sequential),
    ("engine.network", "Network", models.Network),
    ("engine.saving", "load_model", models.load_model),
    ("engine.saving", "model_from_json", models.model_from_json),
    ("layers.core", "Dense", layers.Dense), ("layers.core", "Lambda", layers.Lambda),
    ("layers.convolutional", "Conv2D", layers.Conv2D),
    ("layers.convolutional", "MaxPooling2D", layers.MaxPooling2D),
    ("layers.convolutional", "ZeroPadding2D", layers.ZeroPadding2D),
    ("layers.convolutional", "SeparableConv2D", layers.SeparableConv2D),
    ("layers.convolutional", "Deconv2D", layers.Conv2DTranspose),
    ("layers.normalization", "BatchNormalization", layers.BatchNormalization),
    ("layers.advanced_activations", "PReLU", layers.PReLU),
    ("layers.embeddings", "Embedding", layers.Embedding),
    ("layers.noise", "GaussianNoise", layers.GaussianNoise),
    ("layers.local", "LocallyConnected1D", layers.LocallyConnected1D),
    ("layers.merge", "concatenate", layers.concatenate),
    ("layers.pooling", "GlobalMaxPooling1D", layers.GlobalMaxPooling1D),
    ("layers.wrappers", "TimeDistributed", layers.TimeDistributed),
    ("layers.recurrent", "LSTM", layers.LSTM),
    ("legacy.layers", "Highway", layers.Highway),
    ("legacy.layers", "merge", layers.merge), ("callbacks.tensorboard_v2", "TensorBoard",
                                               gpukeras.callbacks.TensorBoard),
    ("layers.convolutional", "AtrousConv1D", layers.AtrousConvolution1D),
    ("applications.mobilenet", "DepthwiseConv2D", layers.DepthwiseConv2D),
    ("applications.mobilenet", "relu6", gpukeras.activations.relu6),
    ("backend.common", "epsilon", gpukeras.backend.epsilon),
    ("backend.common", "normalize_data_format", gpukeras.backend.normalize_data_format),
    ("utils.conv_utils", "normalize_data_format", gpukeras.backend.normalize_data_format),
    ("objectives", "mean_squared_error", losses.mean_squared_error),
]


@pytest.mark.parametrize("path, name, wanted", PATHS, ids=[f"{p}.{n}" for p, n, _ in PATHS])
def test_path(path, name, wanted):
    assert getattr(importlib.import_module("gpukeras." + path), name) is wanted


def test_lazy_modules_are_attributes():
    assert gpukeras.engine.topology.Layer is layers.Layer
    assert gpukeras.objectives.mse is losses.mse
    with pytest.raises(AttributeError, match="no attribute 'laiers'"):
        gpukeras.laiers


def test_star_import_brings_the_lazy_names():
    names = {}
    exec("from gpukeras.models import *", names)
    assert names["load_model"] is models.load_model and names["Model"] is models.Model


def test_weights_are_read_from_an_open_file():
    """Of true Keras 2.3.1, as programs do that pick layers."""
    from gpukeras.engine import saving, topology
    path = str(pathlib.Path(__file__).parent / "golden" / "nested_sgd.h5")
    wanted, model = (models.load_model(path) for _ in range(2))
    for read in (saving.load_weights_from_hdf5_group,
                 topology.load_weights_from_hdf5_group_by_name):
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        with h5py.File(path, "r") as file:
            read(file["model_weights"], model.layers)
        for a, b in zip(model.get_weights(), wanted.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
