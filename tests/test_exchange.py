"""Files for other systems: ONNX run by onnxruntime, weights read by the safetensors library."""
import numpy as np
import pytest

from gpukeras import applications
from gpukeras import backend as K
from gpukeras.__main__ import main
from gpukeras.exchange import export_onnx
from gpukeras.layers import (
    GRU, LSTM, Activation, Add, AveragePooling2D, BatchNormalization, Bidirectional, Concatenate,
    Conv1D, Conv2D, Conv2DTranspose, Conv3D, ConvLSTM2D, Cropping2D, Dense, DepthwiseConv2D, Dot,
    Dropout, ELU, Embedding, Flatten, GaussianNoise, GlobalAveragePooling1D, GlobalMaxPooling2D,
    Input, Lambda, LeakyReLU, LocallyConnected1D, Masking, MaxPooling1D, MaxPooling2D, MaxPooling3D,
    Maximum, Multiply, Permute, PReLU, RepeatVector, Reshape, SeparableConv2D, SimpleRNN, Softmax,
    Subtract, ThresholdedReLU, TimeDistributed, UpSampling1D, UpSampling2D, ZeroPadding2D)
from gpukeras.models import Model, Sequential
from gpukeras.ops.gelu import gelu

IMAGE, STEPS, ROW = (9, 8, 3), (6, 3), (5,)

# one model per row: shape of x, layers
FAMILIES = {
    "dense": (ROW, lambda: [Dense(4, activation="relu"), Dense(3, activation="softmax")]),
    "activations": (ROW, lambda: [Dense(6, activation=a) for a in (
        "elu", "selu", "softplus", "softsign", "tanh", "sigmoid", "hard_sigmoid", "exponential",
        "linear")]),
    "gelu": (ROW, lambda: [Dense(6, activation="gelu"),
                           Dense(6, activation=lambda x: gelu(x, approximate=True))]),
    "advanced activations": (ROW, lambda: [LeakyReLU(), ELU(0.5), PReLU(), ThresholdedReLU(0.1),
                                           Softmax()]),
    "regularised": (ROW, lambda: [Dense(4), BatchNormalization(), Dropout(0.5),
                                  GaussianNoise(0.3), Activation("relu")]),
    "conv": (IMAGE, lambda: [Conv2D(4, 3, activation="relu"), Conv2D(5, (2, 3), padding="same",
                                                                     strides=2)]),
    "dilated": (IMAGE, lambda: [Conv2D(4, 3, dilation_rate=2, padding="same", use_bias=False)]),
    "channels first": ((3, 9, 8), lambda: [Conv2D(4, 3, data_format="channels_first"),
                                           MaxPooling2D(data_format="channels_first")]),
    "separable": (IMAGE, lambda: [DepthwiseConv2D(3, depth_multiplier=2),
                                  SeparableConv2D(5, 3, padding="same", strides=2)]),
    "transposed": (IMAGE, lambda: [Conv2DTranspose(4, 3, strides=2, padding="same"),
                                   Conv2DTranspose(2, 3, strides=2, output_padding=1)]),
    "pooling": (IMAGE, lambda: [MaxPooling2D(3, 2, padding="same"), AveragePooling2D(2, 1, "same"),
                                GlobalMaxPooling2D()]),
    "shapes": (IMAGE, lambda: [ZeroPadding2D(((1, 2), (0, 1))), Cropping2D(1), Permute((2, 1, 3)),
                               Flatten(), RepeatVector(2), Reshape((-1, 4))]),
    "upsampling": (IMAGE, lambda: [
        UpSampling2D((2, 3)), UpSampling2D(2, interpolation="bilinear")]),
    "one axis": (STEPS, lambda: [Conv1D(4, 3, padding="causal", dilation_rate=2), MaxPooling1D(2),
                                 UpSampling1D(2), LocallyConnected1D(3, 2),
                                 GlobalAveragePooling1D()]),
    "three axes": ((4, 5, 6, 2), lambda: [Conv3D(3, 2, padding="same"), MaxPooling3D(2)]),
    "lstm": (STEPS, lambda: [LSTM(4, return_sequences=True), LSTM(3, go_backwards=True),
                             Dense(2)]),
    "gru": (STEPS, lambda: [GRU(4, return_sequences=True, reset_after=True), GRU(3)]),
    "bidirectional": (STEPS, lambda: [Bidirectional(SimpleRNN(4, return_sequences=True)),
                                      TimeDistributed(Dense(2))]),
    "masked": (STEPS, lambda: [Masking(), LSTM(4)]),
    "conv lstm": ((3, 5, 5, 2), lambda: [ConvLSTM2D(2, 3, padding="same")]),
    "lambda": (ROW, lambda: [Lambda(lambda x: K.cumsum(K.abs(x) ** 2, 1) / K.sum(x, 1, True)),
                             Lambda(lambda x: K.reverse(x, 1)[:, 1:4] % 0.3),
                             Lambda(lambda x: K.one_hot(K.argmax(x, -1), 3))]),
}


def onnx_outputs(path, xs):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: x for i, x in zip(session.get_inputs(), xs, strict=True)})


def agree(model, xs, path, rtol=1e-4):
    pytest.importorskip("onnx")
    export_onnx(model, path)
    want = model.predict(xs if len(xs) > 1 else xs[0])
    want = want if isinstance(want, list) else [want]
    for y, expected in zip(onnx_outputs(path, xs), want, strict=True):
        assert y.shape == expected.shape and y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, rtol, rtol * np.abs(expected).max())


def numbers(*shape):
    return np.random.RandomState(3).uniform(0.1, 1, shape).astype("float32")


def scatter_weights(model):
    """Statistics and biases that are not zeros and ones."""
    rng = np.random.RandomState(5)
    model.set_weights([rng.uniform(0.1, 0.6, w.shape) * rng.choice([-1, 1], w.shape) ** (w.ndim > 1)
                       for w in model.get_weights()])


@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_computes_what_predict_does(family, tmp_path):
    shape, layers = FAMILIES[family]
    x = Input(shape, name="x")
    y = x
    for layer in layers():
        y = layer(y)
    model = Model(x, y)
    scatter_weights(model)
    for rows in (1, 4):                                       # one file for any batch size
        data = numbers(rows, *shape)
        if family == "masked":
            data[:, 3:] = 0
        agree(model, [data], tmp_path / "m.onnx")


def test_several_inputs_outputs_and_shared_layers(tmp_path):
    a, b = Input((4,), name="left"), Input((4,), name="right")
    shared = Dense(3, activation="tanh", name="shared")
    u, v = shared(a), shared(b)
    merged = Concatenate()([Add()([u, v]), Multiply()([u, v]), Subtract()([u, v]),
                            Maximum()([u, v]), Dot(1)([u, v])])
    model = Model([a, b], [Dense(2, name="first")(merged), u])
    agree(model, [numbers(3, 4), 1 - numbers(3, 4)], tmp_path / "m.onnx")
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [i.name for i in graph.input] == ["left", "right"]
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        "batch", 4]
    assert sum(i.name == "shared/kernel" for i in graph.initializer) == 1


def test_words_and_an_open_length(tmp_path):
    model = Sequential([Embedding(20, 5, mask_zero=True, input_shape=(None,)), GRU(4), Dense(1)])
    for length in (3, 7):
        words = np.random.RandomState(0).randint(0, 20, (2, length)).astype("float32")
        agree(model, [words], tmp_path / "m.onnx")


@pytest.mark.parametrize("name, size", [("MobileNetV2", 96), ("ResNet50", 64),
                                        ("DenseNet121", 64), ("Xception", 96)])
def test_applications(name, size, tmp_path):
    model = getattr(applications, name)(weights=None, input_shape=(size, size, 3), pooling="avg",
                                        include_top=False)
    agree(model, [numbers(2, size, size, 3)], tmp_path / "m.onnx", 1e-3)


def test_what_onnx_lacks_is_named(tmp_path):
    pytest.importorskip("onnx")
    model = Sequential([Lambda(lambda x: K.cumprod(x, 1), input_shape=(3,), name="running")])
    with pytest.raises(ValueError, match="no operator for CumProd.*\n.*running"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="not built"):
        export_onnx(Sequential([Dense(3)]), tmp_path / "m.onnx")


# ---------------------------------------------------------------- safetensors

def small():
    return Sequential([Dense(3, input_shape=(2,), name="first"), BatchNormalization(name="norm")])


def test_safetensors_hold_the_weights_by_name(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    model, path = small(), tmp_path / "w.safetensors"
    scatter_weights(model)
    model.save_weights(path)
    values = library.load_file(path)
    assert list(sorted(values)) == sorted(w.name.removesuffix(":0") for w in model.weights)
    np.testing.assert_array_equal(values["first/kernel"], model.get_weights()[0])
    other = small()
    other.load_weights(path)
    for a, b in zip(other.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_safetensors_that_do_not_fit_change_nothing(tmp_path):
    pytest.importorskip("safetensors")
    model, path = small(), str(tmp_path / "w.safetensors")
    model.save_weights(path)
    more = Sequential([Dense(3, input_shape=(2,), name="first"), Dense(4, name="last")])
    before = more.get_weights()
    with pytest.raises(ValueError, match="lacks last/kernel"):
        more.load_weights(path)
    wide = Sequential([Dense(5, input_shape=(2,), name="first")])
    with pytest.raises(ValueError, match=r"first/kernel.*\(2, 3\), expected \(2, 5\)"):
        wide.load_weights(path, by_name=True)
    with pytest.warns(UserWarning, match="left as it is"):
        wide.load_weights(path, by_name=True, skip_mismatch=True)
    for a, b in zip(more.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    more.load_weights(path, by_name=True)
    np.testing.assert_array_equal(more.get_weights()[0], model.get_weights()[0])
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match="damaged"):
        model.load_weights(str(tmp_path / "bad.safetensors"))


def test_convert_writes_onnx_and_safetensors(tmp_path, capsys):
    for package in ("onnx", "onnxruntime", "safetensors"):
        pytest.importorskip(package)
    model = small()
    scatter_weights(model)
    model.save(tmp_path / "a.h5")
    for kind in ("onnx", "safetensors"):
        assert main(["convert", str(tmp_path / "a.h5"), str(tmp_path / f"b.{kind}")]) == 0
        assert f"b.{kind}: " in capsys.readouterr().out
    x = numbers(4, 2)
    np.testing.assert_allclose(onnx_outputs(tmp_path / "b.onnx", [x])[0], model.predict(x), 1e-5,
                               1e-6)
    other = small()
    other.load_weights(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
