"""The 18 architectures against keras-applications 1.0.8 under Keras 2.3.1.

golden/applications.json.gz: every layer's name, class, predecessors and weight shapes, and features
of a small image under weights that both sides draw in the same way (golden/oracle/applications.py).
"""
import gzip
import json
import pathlib

import numpy as np
import pytest

from gpukeras import applications
from gpukeras import backend as K
from gpukeras.applications import (densenet, imagenet_utils, mobilenet, mobilenet_v2, resnet,
                                   resnet50, vgg16)
from gpukeras.layers import Input

FILE = pathlib.Path(__file__).parent / "golden" / "applications.json.gz"
GOLDEN = json.loads(gzip.decompress(FILE.read_bytes()))
# of each family the smallest; the others differ in the number of blocks
FAMILIES = ("MobileNet", "MobileNetV2", "VGG16", "ResNet50", "ResNet50V2", "DenseNet121",
            "InceptionV3", "NASNetMobile")


def function(name):
    return resnet.ResNet50 if name == "resnet.ResNet50" else getattr(applications, name)


def described(model):
    return [[layer.name, type(layer).__name__,
             [before.name for node in layer._inbound_nodes for before in node.inbound_layers],
             [list(w.shape) for w in layer.weights]] for layer in model.layers]


@pytest.mark.parametrize("name", GOLDEN)
def test_layers_are_those_of_keras(name):
    K.clear_session()
    golden, model = GOLDEN[name], function(name)(weights=None)
    assert model.name == golden["name"]
    assert list(model.output_shape[1:]) == golden["output_shape"]
    assert model.count_params() == golden["params"]
    for ours, theirs in zip(described(model), golden["layers"], strict=True):
        assert ours == theirs


def fill(model):
    """The weights of golden/oracle/applications.py."""
    rng = np.random.RandomState(0)
    for layer in model.layers:
        made, shapes = [], [tuple(w.shape) for w in layer.weights]
        for i, shape in enumerate(shapes):
            spatial = type(layer).__name__ in ("DepthwiseConv2D", "SeparableConv2D") and i == 0
            reach = np.sqrt(3. / np.prod(shape[:2] if spatial else shape[:-1]))
            low, high = (-reach, reach) if len(shape) > 1 else (-.2, .2)
            if type(layer).__name__ == "BatchNormalization" and i in (len(shapes) - 4,
                                                                      len(shapes) - 1):
                low, high = .5, 1.5
            made.append(rng.uniform(low, high, shape).astype("float32"))
        layer.set_weights(made)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAMILIES
                                               else pytest.mark.slow) for name in GOLDEN])
def test_features_are_those_of_keras(name):
    K.clear_session()
    golden = GOLDEN[name]["features"]
    shape = (golden["size"], golden["size"], 3)
    model = function(name)(include_top=False, weights=None, input_shape=shape, pooling="avg")
    fill(model)
    x = np.random.RandomState(1).uniform(-1, 1, (1, *shape)).astype("float32")
    y = model.predict(x)[0]
    assert len(y) == golden["length"]
    expected = np.array(golden["values"])
    found = y[::len(y) // 16][:16]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# ---------------------------------------------------------------- arguments

def test_top_pooling_and_input_are_chosen():
    build = applications.VGG16
    assert build(weights=None, include_top=False).output_shape == (None, None, None, 512)
    assert build(weights=None, include_top=False, pooling="max").output_shape == (None, 512)
    assert build(weights=None, classes=7, input_shape=(32, 48, 1)).output_shape == (None, 7)
    image = Input((64, 64, 3))
    model = build(weights=None, include_top=False, input_tensor=image)
    assert model.inputs == [image] and model.output_shape == (None, 2, 2, 512)


def test_channels_first_puts_channels_first():
    K.set_image_data_format("channels_first")
    try:
        model = applications.ResNet50(weights=None)
        assert model.input_shape == (None, 3, 224, 224)
        assert model.count_params() == GOLDEN["ResNet50"]["params"]
    finally:
        K.set_image_data_format("channels_last")


@pytest.mark.parametrize("arguments, message", [
    ({"weights": "nowhere.h5"}, "path to the weights file"),
    ({"weights": "imagenet", "classes": 5}, "`classes` should be 1000"),
    ({"weights": None, "input_shape": (31, 32, 3)}, "at least 32x32"),
    ({"weights": None, "input_shape": (None, 32, 3)}, "static `input_shape`"),
    ({"weights": "imagenet", "input_shape": (32, 32, 3)}, r"should be \(224, 224, 3\)"),
    ({"weights": None, "pooling": "mean"}, "'avg' or 'max'"),
    ({"weights": None, "input_shape": (32, 32)}, "three integers")])
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        applications.VGG16(**arguments)


def test_unusual_channels_are_told():
    with pytest.warns(UserWarning, match="input_shape with 4 input channels"):
        applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 4))


def test_weights_come_from_a_file_or_the_cache(tmp_path, monkeypatch):
    model = applications.MobileNet(weights=None, include_top=False, alpha=0.25)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "mobilenet_2_5_128_tf_no_top.h5"
    model.save_weights(path)
    shape = (128, 128, 3)
    for weights in (str(path), "imagenet"):              # MobileNet's files have no known hash
        again = applications.MobileNet(shape, alpha=0.25, include_top=False, weights=weights)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(vgg16, "MODELS", "file:///nowhere/")
    with pytest.raises(OSError, match="models/vgg16_weights_tf_dim_ordering_tf_kernels.h5"):
        applications.VGG16()


# ---------------------------------------------------------------- images and classes

@pytest.mark.parametrize("data_format, axis", [("channels_last", -1), ("channels_first", -3)])
@pytest.mark.parametrize("ndim", [3, 4])
@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocess_input_follows_its_formula(mode, ndim, data_format, axis):
    rgb = np.random.RandomState(0).randint(0, 256, (2, 4, 5, 3)[-ndim:])
    mean, std = np.array(imagenet_utils.TORCH_MEAN), np.array(imagenet_utils.TORCH_STD)
    expected = {"caffe": rgb[..., ::-1] - np.array(imagenet_utils.CAFFE_MEAN),
                "tf": rgb / 127.5 - 1, "torch": (rgb / 255 - mean) / std}[mode]
    x = np.moveaxis(rgb, -1, axis)
    expected = np.moveaxis(expected, -1, axis)
    found = imagenet_utils.preprocess_input(x, data_format, mode)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    tensor = imagenet_utils.preprocess_input(K.constant(x), data_format, mode)
    np.testing.assert_allclose(K.eval(tensor), expected, rtol=1e-5, atol=1e-4)


def test_each_network_has_its_own_mode():
    x = np.full((1, 1, 1, 3), 255., "float32")
    assert np.allclose(mobilenet.preprocess_input(x.copy()), 1)
    assert np.allclose(densenet.preprocess_input(x.copy())[0, 0, 0, 0], (1 - 0.485) / 0.229)
    assert np.allclose(resnet50.preprocess_input(x.copy())[0, 0, 0, 0], 255 - 103.939)


def test_decode_predictions_names_the_best(tmp_path, monkeypatch):
    names = {str(i): [f"n{i}", f"class {i}"] for i in range(1000)}
    monkeypatch.setattr(imagenet_utils, "_classes", lambda: names)
    predictions = np.zeros((2, 1000))
    predictions[0, [3, 900]] = .6, .4
    predictions[1, 7] = 1
    best = imagenet_utils.decode_predictions(predictions, top=2)
    assert best[0] == [("n3", "class 3", .6), ("n900", "class 900", .4)]
    assert best[1][0] == ("n7", "class 7", 1)
    with pytest.raises(ValueError, match="shape: \\(2, 10\\)"):
        imagenet_utils.decode_predictions(predictions[:, :10])


def test_filters_are_rounded_to_eights():
    # MobileNetV2's rule: nearest multiple of 8, but not less than nine tenths
    rounded = [mobilenet_v2._make_divisible(v, 8) for v in (3, 11.2, 12, 33, 44.8)]
    assert rounded == [8, 16, 16, 32, 48]
