"""Forecasts of real series end where they end with Keras 2.3.1, from given and from any weights."""
import pathlib

import numpy as np
import pytest

import gpukeras
from golden import forecasts, reader

GOLDEN = reader.cases("forecasts")
DATA = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
AIRLINE, TEXT = DATA / "airline-passengers.csv", DATA / "nietzsche.txt"
needs_airline = pytest.mark.skipif(not AIRLINE.exists(), reason=f"needs {AIRLINE}")
needs_text = pytest.mark.skipif(not TEXT.exists(), reason=f"needs {TEXT}")


@needs_airline
@pytest.mark.parametrize("name", forecasts.MODELS)
def test_the_same_weights_take_the_same_way(name):
    found = forecasts.history(gpukeras, name, AIRLINE)
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(found[key], GOLDEN[name][key], rtol=2e-4, err_msg=key)


@needs_airline
@pytest.mark.long
@pytest.mark.parametrize("name", forecasts.MODELS)
def test_errors_of_many_seeds_are_no_larger(name):
    """Two runs differ by their random numbers, so the means may differ by two standard errors."""
    keras = np.array(GOLDEN[name].facts["errors_in_order"])
    found = np.array([forecasts.airline_error(gpukeras, name, AIRLINE, seed)
                      for seed in range(len(keras))])
    doubt = np.sqrt(found.var(ddof=1) / len(found) + keras.var(ddof=1) / len(keras))
    print(f"{name}: mean {found.mean():.2f}, of Keras {keras.mean():.2f} +- {doubt:.2f}")
    assert found.mean() <= keras.mean() + 2 * doubt


@needs_text
@pytest.mark.long
def test_characters_are_learned_as_fast():
    losses = GOLDEN["characters"].facts["losses"]
    found = [forecasts.characters(gpukeras, TEXT, seed) for seed in range(len(losses))]
    print(f"loss after one epoch: {found}, of Keras {losses}")
    assert np.mean(found) <= max(losses)
