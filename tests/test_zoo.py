"""A file of Keras 2.3.1 with a layer of every class loads, predicts, and is saved again."""
import h5py
import numpy as np

from golden import reader
from gpukeras import layers as L
from gpukeras.models import load_model


def weights(path):
    """Dataset path -> array, of all weights in a model file."""
    found = {}
    with h5py.File(path, "r") as file:
        file["model_weights"].visititems(
            lambda name, item: found.update({name: item[()]})
            if isinstance(item, h5py.Dataset) else None)
    return found


def test_zoo(tmp_path):
    case = reader.cases("zoo")["zoo"]
    model = load_model(reader.path("zoo.h5"))
    assert len(model.layers) == case.facts["layers"]
    for got, want in zip(model.predict(case.list("x")), case.list("y"), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * max(1, np.abs(want).max()))
    model.save(tmp_path / "again.h5")
    before, after = weights(reader.path("zoo.h5")), weights(tmp_path / "again.h5")
    assert list(before) == list(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    again = load_model(tmp_path / "again.h5")
    assert again.get_config() == model.get_config()


def test_the_zoo_is_complete():
    here = {cls.__name__ for cls in vars(L).values()
            if isinstance(cls, type) and issubclass(cls, L.Layer)}
    ours = {"AdditiveAttention", "Attention", "LayerNormalization", "MultiHeadAttention",
            "Operation"}
    inside = {"ConvLSTM2DCell", "SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells"}
    bases = {"Layer", "Wrapper", "ConvRNN2D"}
    without_a_file = {"Lambda", "CuDNNGRU", "CuDNNLSTM"}           # code; cards of NVIDIA only
    classes = set(reader.cases("zoo")["zoo"].facts["classes"])
    assert here - ours - inside - bases - without_a_file == classes - {"Model"}
