"""Whole trainings against Keras 2.3.1: shared layers, masks, frozen parts, a GAN."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import models, optimizers
from tests.golden import reader

CASES = reader.cases("projects")


def close(got, expected, tolerance=1e-4):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (np.abs(b).max() + 1e-12))


def fit_arguments(case, phase):
    """The arguments of `fit`, with weights and validation data of the case."""
    arguments = dict(phase["fit"])
    for output, factors in arguments.get("class_weight", {}).items():
        arguments["class_weight"][output] = {int(c): f for c, f in factors.items()}
    weights, held = case.list("sw"), case.list("vw")
    if weights:
        arguments["sample_weight"] = weights if len(weights) > 1 else weights[0]
    if case.list("vx"):
        arguments["validation_data"] = (case.list("vx"), case.list("vy"),
                                        held if len(held) > 1 else held[0])
    return arguments


@pytest.mark.parametrize("name", [name for name in CASES if name != "gan"])
def test_history_and_weights_of_a_project_are_those_of_keras(name):
    K.clear_session()
    case = CASES[name]
    model = getattr(models, case.facts["class_name"]).from_config(case.facts["model"])
    model.set_weights(case.list("before"))
    for i, phase in enumerate(case.facts["phases"]):
        for layer, value in phase["trainable"].items():
            model.get_layer(layer).trainable = value
        model.compile(optimizers.deserialize(phase["optimizer"]), **phase["compile"])
        history = model.fit(case.list("x"), case.list("y"), shuffle=False, verbose=0,
                            **fit_arguments(case, phase)).history
        assert list(history) == phase["history_keys"]
        for key, values in phase["history"].items():
            np.testing.assert_allclose(history[key], values, rtol=1e-4, atol=1e-5, err_msg=key)
        close(model.get_weights(), case.list(f"phase{i}_after"))


def test_a_gan_trains_as_in_keras():
    K.clear_session()
    case = CASES["gan"]
    generator = models.Sequential.from_config(case.facts["generator"])
    discriminator = models.Sequential.from_config(case.facts["discriminator"])
    discriminator.compile(optimizers.SGD(0.1, momentum=0.5), "binary_crossentropy",
                          metrics=["accuracy"])
    discriminator.trainable = False
    stacked = models.Sequential([generator, discriminator])
    stacked.compile(optimizers.SGD(0.1), "binary_crossentropy")
    stacked.set_weights(case.list("before"))
    logs = []
    with pytest.warns(UserWarning, match="Discrepancy between trainable weights"):
        for real, noise in zip(case["real"], case["noise"], strict=True):
            found = [*discriminator.train_on_batch(real, np.ones((8, 1)))]
            found += discriminator.train_on_batch(generator.predict(noise), np.zeros((8, 1)))
            logs.append([*found, stacked.train_on_batch(noise, np.ones((8, 1)))])
    np.testing.assert_allclose(logs, case["logs"], rtol=1e-4, atol=1e-5)
    close(stacked.get_weights(), case.list("after"))
