"""Lambda layers from files: bytecode of every Python is read, not run, and computes what it did."""
import base64
import json
import marshal
import pathlib
import random
import sys
import time

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.layers import Input, Lambda
from gpukeras.models import Model, load_model

pytest.importorskip("xdis", reason="the package xdis reads bytecode: pip install '.[lambda]'")
from gpukeras.layers.bytecode import DecodedFunction  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import reader  # noqa: E402
import stored_functions  # noqa: E402

CODES = json.loads(pathlib.Path(reader.path("bytecode.json")).read_text())
CASE = reader.cases("lambdas")["lambdas"]
NAMES, HOSTILE = sorted(stored_functions.FUNCTIONS), sorted(stored_functions.HOSTILE)


def lambda_layer(dumped, name="f", known=None, **config):
    return Lambda.from_config({"name": name, "function": dumped, "function_type": "lambda",
                               **config}, custom_objects=known)


def computed(layer, arrays):
    inputs = [Input(x.shape[1:]) for x in arrays]
    return Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0])).predict(arrays)


# ---------------------------------------------------------------- what the functions give

def test_lambdas_of_a_file_of_keras_give_what_they_gave_there():
    model = load_model(reader.path("lambdas.h5"), compile=False)
    for name, found in zip(CASE.facts["names"], model.predict(CASE.list("x")), strict=True):
        np.testing.assert_allclose(found, CASE[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_bytecode_of_every_python_gives_what_keras_gave(name):
    arrays = CASE.list("x")[:stored_functions.FUNCTIONS[name][1]]
    for version, codes in CODES.items():
        found = computed(lambda_layer(codes[name]), arrays)
        np.testing.assert_allclose(found, CASE[name], rtol=1e-5, atol=1e-6,
                                   err_msg=f"Python {version}")


def test_expressions_are_shown():
    for version, codes in CODES.items():
        text = str(DecodedFunction(codes["mean"]))
        assert text == "lambda x: K.mean(x, axis=-1, keepdims=True)", version


def test_a_decoded_function_is_saved_as_it_came(tmp_path):
    model = load_model(reader.path("lambdas.h5"), compile=False)
    model.save(tmp_path / "again.h5")
    again = load_model(tmp_path / "again.h5", compile=False)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    before = [layer.get_config()["function"] for layer in model.layers[2:]]
    with_h5 = [layer.get_config()["function"] for layer in again.layers[2:]]
    assert with_h5 == before
    for a, b in zip(again.predict(CASE.list("x")), model.predict(CASE.list("x"))):
        np.testing.assert_array_equal(a, b)


def test_older_files_hold_code_as_text_and_newer_ones_in_a_dict():
    x = CASE.list("x")[:1]
    for version in ("2.7", "3.6"):
        code = base64.b64decode(CODES[version]["square"][0]).decode("raw_unicode_escape")
        np.testing.assert_allclose(computed(lambda_layer([code, None, None]), x), x[0] ** 2)
    code, defaults, closure = CODES["3.11"]["closed"]
    stored = {"class_name": "__lambda__",
              "config": {"code": code, "defaults": defaults, "closure": closure}}
    np.testing.assert_allclose(computed(lambda_layer(stored), x), x[0] * 2 + 3, rtol=1e-6)


def test_arguments_and_defaults_count():
    x = CASE.list("x")[:1]
    code = CODES["3.8"]["choice"]
    np.testing.assert_array_equal(computed(lambda_layer(code), x), x[0])
    np.testing.assert_array_equal(computed(lambda_layer(code, arguments={"k": 0}), x), -x[0])


def test_names_of_the_script_are_asked_for_and_taken():
    code, x = CODES["3.7"]["unknown"], CASE.list("x")[:1]
    with pytest.raises(ValueError, match=r"(?s)it uses half.*lambda x: x \* half.*"
                                         r"custom_objects=\{'f': function\}, or "
                                         r"custom_objects=\{'half': what it is\}"):
        lambda_layer(code)
    np.testing.assert_allclose(computed(lambda_layer(code, known={"half": 0.5}), x), x[0] / 2)
    np.testing.assert_allclose(computed(lambda_layer(code, known={"f": K.square}), x), x[0] ** 2,
                               rtol=1e-6)


def test_a_condition_on_a_tensor_is_refused_where_it_is_computed():
    def positive(x):
        return x if K.sum(x) > 0 else -x

    with pytest.raises(ValueError, match="decides by the value of a tensor"):
        computed(lambda_layer(stored_functions.dumped(positive)), CASE.list("x")[:1])


def test_shape_functions_are_decoded_or_left_out():
    layer = lambda_layer(CODES["3.9"]["square"], output_shape=CODES["3.9"]["rest"],
                         output_shape_type="lambda")
    assert callable(layer.get_config() and layer._output_shape)
    layer = lambda_layer(CODES["3.9"]["square"], output_shape=CODES["3.9"]["system"],
                         output_shape_type="lambda")
    assert layer.compute_output_shape((None, 3)) == (None, 3)


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_expression_is_refused_and_shown(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for version, codes in CODES.items():
        with pytest.raises(ValueError, match="(?s)bytecode of Python .*It was decoded as"):
            lambda_layer(codes[name])
    assert not list(tmp_path.iterdir())


def test_generators_and_loops_without_end_are_refused():
    def generating(x):
        yield x

    def endless(x):
        while True:
            x = x + 1

    def searching(x):
        for i in x:
            x = x + i
        return x

    for function, why in ((generating, "yield"), (endless, "longer than|nested more than"),
                          (searching, "unknown length"), (lambda *xs: xs[0], r"\*args")):
        with pytest.raises(ValueError, match=f"(?s){why}.*Its instructions are"):
            lambda_layer(stored_functions.dumped(function))


def test_large_numbers_and_tensors_are_refused():
    for function in (lambda x: x * 10 ** 10 ** 10, lambda x: x + len([0] * 10 ** 12),
                     lambda x: x + K.zeros((10 ** 6, 10 ** 6)), lambda x: x * (1 << 10 ** 9),
                     lambda x: K.repeat_elements(x, 10 ** 9, 1),
                     lambda x: x + sum(range(10 ** 9)), lambda x: x + len(x.shape * 10 ** 6),
                     lambda x: tf.unstack(K.tile(x, [1, 10 ** 5]), axis=1)[0]):
        with pytest.raises(ValueError, match="too large|more than 1|split of 1200000 into"):
            computed(lambda_layer(stored_functions.dumped(function)), CASE.list("x")[:1])


def doubling(n):
    """def f(x): x = x + x, n times: an expression that unfolds to 2 ** n terms."""
    names = {}
    exec("def f(x):\n" + "    x = x + x\n" * n + "    return x\n", names)
    return names["f"]


def test_expressions_that_unfold_are_computed_once_and_cut_when_shown():
    function = DecodedFunction(stored_functions.dumped(doubling(60)))
    assert len(str(function)) < 2000
    x = np.ones((1, 1), "float32")
    assert computed(lambda_layer(stored_functions.dumped(doubling(60))), [x]) == 2. ** 60
    with pytest.raises(ValueError, match="nested more than"):
        lambda_layer(stored_functions.dumped(doubling(1000)))


def tower(depth):
    """Marshalled tuples, each of the one before twice by reference: 2 ** depth values."""
    data = b"\xa9\x01N"
    for i in range(depth):
        data = b"\xa9\x02" + data + b"r" + (depth - i).to_bytes(4, "little")
    return data


@pytest.mark.parametrize("data", [
    b"", b"c", b"\xe3" + b"\xff" * 40, b"(" + b"\xff\xff\xff\x7f", b"\x00" * 100, b"(\x01\x00\x00"
    b"\x00" * 50, b"\xa9\x01" * 10_000, marshal.dumps((1, 2)), tower(30), tower(10) * 100,
    marshal.dumps("x" * 200_000), b"l\xff\xff\xff\x7f" + b"\xff" * 100])
def test_bytes_that_are_no_code_are_refused(data):
    begin = time.process_time()
    with pytest.raises(ValueError, match="no bytecode of a known Python"):
        lambda_layer([base64.b64encode(data).decode(), None, None])
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("dumped", [None, 3, [], ["\u20ac", None, None], ["AAAA", 3, None], {}, [
    "AAAA", None, {"a": 1}], [None, None, None], {"config": {"code": 3}}])
def test_what_is_no_dumped_function_is_refused(dumped):
    with pytest.raises(ValueError, match="cannot be used without"):
        lambda_layer(dumped)


def test_changed_bytecode_is_refused_or_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, begin = random.Random(4), time.process_time()
    codes = [base64.b64decode(code[0]) for version in CODES.values() for code in version.values()]
    for _ in range(3000):
        data = bytearray(rng.choice(codes))
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            lambda_layer([base64.b64encode(bytes(data)).decode(), None, None])
        except ValueError as error:
            assert len(str(error)) > 50
    assert not list(tmp_path.iterdir()) and time.process_time() - begin < 60
