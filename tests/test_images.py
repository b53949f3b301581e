"""Pictures against Keras 2.3.1: the same random numbers give the same batches."""
import os
import pickle

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.layers import Dense, Flatten
from gpukeras.models import Sequential
from gpukeras.preprocessing import image
from tests.golden import reader

CASES = reader.cases("images")
X = np.round(np.random.RandomState(0).uniform(0, 255, (6, 5, 4, 3))).astype("float32")


def named(prefix):
    return [name for name in CASES if name.startswith(prefix)]


@pytest.mark.parametrize("name", named("transform/"))
def test_affine_transforms(name):
    case = CASES[name]
    got = image.apply_affine_transform(case["x"], fill_mode=case.facts["mode"], cval=3.0,
                                       order=case.facts["order"], **case.facts["arguments"])
    np.testing.assert_allclose(got, case["y"], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("mode, pad", [("reflect", "symmetric"), ("wrap", "wrap"),
                                       ("nearest", "edge")])
@pytest.mark.parametrize("tx, ty", [(2, 0), (-3, 1), (0.5, -1.25)])
def test_what_comes_in_from_outside(mode, pad, tx, ty):
    """A shift, against interpolation in a padded picture."""
    got = image.apply_affine_transform(X[0], tx=tx, ty=ty, fill_mode=mode)
    wide = np.pad(X[0], ((4, 4), (4, 4), (0, 0)), mode=pad)
    rows, columns = np.arange(5) + tx + 4, np.arange(4) + ty + 4
    i, j = np.floor(rows).astype(int), np.floor(columns).astype(int)
    a, b = (rows - i)[:, None, None], (columns - j)[None, :, None]
    expected = sum(wide[np.ix_(i + di, j + dj)] * wi * wj for di, wi in ((0, 1 - a), (1, a))
                   for dj, wj in ((0, 1 - b), (1, b)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("name", named("flow/"))
def test_batches_from_arrays(name):
    case = CASES[name]
    generator = image.ImageDataGenerator(**case.facts["arguments"])
    if name.endswith("featurewise"):
        generator.fit(case["x"])
    batches = generator.flow(case["x"], case["y"], **{"batch_size": 3, **case.facts["flow"]})
    for x, y in zip(case.list("bx"), case.list("by"), strict=True):
        got_x, got_y = next(batches)
        np.testing.assert_array_equal(got_y, y)
        np.testing.assert_allclose(got_x, x, rtol=1e-4, atol=2e-3)


def test_whitening():
    generator = image.ImageDataGenerator(zca_whitening=True, featurewise_center=True)
    generator.fit(CASES["whitened"]["x"])
    got = generator.standardize(CASES["whitened"]["x"][0].copy())
    white = np.stack([generator.standardize(x) for x in CASES["whitened"]["x"]]).reshape(7, -1)
    scatter = white.T @ white / 7
    np.testing.assert_allclose(scatter @ scatter, scatter, atol=2e-2)   # a projection
    assert got.shape == (3, 3, 3)


@pytest.fixture
def folder(tmp_path):
    def make(pictures):
        for i, picture in enumerate(pictures):
            os.makedirs(tmp_path / f"class_{i % 2}", exist_ok=True)
            image.save_img(tmp_path / f"class_{i % 2}" / f"p{i}.png", picture, scale=False)
        return tmp_path
    pytest.importorskip("PIL")
    return make


@pytest.mark.parametrize("name", named("directory/"))
def test_batches_from_a_folder(name, folder, capsys):
    case = CASES[name]
    generator = image.ImageDataGenerator(rescale=1 / 255, validation_split=0.4)
    batches = generator.flow_from_directory(folder(case["pictures"]), **{
        "target_size": (8, 9), "batch_size": 4, "shuffle": False, **case.facts["arguments"]})
    assert batches.filenames == case.facts["filenames"]
    assert batches.classes.tolist() == case.facts["classes"]
    assert batches.class_indices == case.facts["class_indices"]
    text = capsys.readouterr().out
    assert text == f"Found {len(batches.classes)} images belonging to 2 classes.\n"
    assert len(batches) == len(case.list("bx"))
    for i, (x, y) in enumerate(zip(case.list("bx"), case.list("by"), strict=True)):
        np.testing.assert_allclose(batches[i][0], x, atol=1e-6)
        np.testing.assert_array_equal(batches[i][1], y)


def table(**columns):
    """What the iterator needs of a pandas DataFrame."""
    return columns


@pytest.mark.parametrize("class_mode, y_col, expected", [
    ("categorical", "tags", [[1, 1], [0, 1], [1, 0], [0, 1]]), ("raw", "number", [0, 1, 2, 3]),
    ("sparse", "kind", [0, 1, 0, 1]), ("multi_output", ["number", "other"], None),
    ("input", "kind", None), (None, "kind", None)])
def test_batches_from_a_table(class_mode, y_col, expected, folder):
    data = table(filename=[f"class_{i % 2}/p{i}.png" for i in range(4)] + ["missing.png"],
                 kind=["a", "b", "a", "b", "b"], tags=[["a", "b"], "b", "a", ["b"], "a"],
                 number=[0, 1, 2, 3, 4], other=[5, 6, 7, 8, 9], weight=[1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.warns(UserWarning, match="1 invalid image"):
        batches = image.ImageDataGenerator().flow_from_dataframe(
            data, folder(X), y_col=y_col, class_mode=class_mode, target_size=(5, 4), shuffle=False,
            weight_col=None if class_mode is None else "weight")
    batch = batches[0]
    x = batch if class_mode is None else batch[0]
    np.testing.assert_array_equal(x, X[:4])
    if expected is not None:
        np.testing.assert_array_equal(batch[1], expected)
    if class_mode == "input":
        np.testing.assert_array_equal(batch[1], x)
    if class_mode == "multi_output":
        assert [list(y) for y in batch[1]] == [[0, 1, 2, 3], [5, 6, 7, 8]]
    if class_mode is not None:
        np.testing.assert_array_equal(batch[2], [1, 2, 3, 4])


def test_mistakes_in_tables(folder):
    flow = image.ImageDataGenerator().flow_from_dataframe
    one = table(filename=["a.png"], kind=[3])
    for arguments, error in (({"class_mode": "sparse"}, TypeError),
                             ({"class_mode": "multi_output"}, TypeError),
                             ({"class_mode": "odd"}, ValueError), ({"x_col": "kind"}, TypeError),
                             ({"sorted": 1}, TypeError)):
        with pytest.raises(error):
            flow(one, **{"y_col": "kind", "validate_filenames": False, **arguments})


def test_a_model_trains_on_changed_pictures():
    model = Sequential([Flatten(input_shape=(5, 4, 3)), Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    generator = image.ImageDataGenerator(rescale=1 / 255, horizontal_flip=True)
    y = np.linspace(0, 1, 6)
    history = model.fit(generator.flow(X, y, batch_size=2, seed=1), epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.predict(generator.flow(X, batch_size=4, shuffle=False), steps=2).shape == (6, 1)


def test_batches_with_further_inputs_and_weights():
    generator = image.ImageDataGenerator()
    further, weight = np.arange(6), np.arange(6) / 6
    (x, more), y, w = next(generator.flow((X, further), further, 4, shuffle=False,
                                          sample_weight=weight))
    np.testing.assert_array_equal(x, X[:4])
    assert list(more) == list(y) == [0, 1, 2, 3] and list(w) == list(weight[:4])


def test_an_iterator_can_be_pickled_and_saves_pictures(tmp_path):
    pytest.importorskip("PIL")
    batches = image.ImageDataGenerator().flow(X, batch_size=4, shuffle=False,
                                              save_to_dir=str(tmp_path), save_prefix="p")
    copy = pickle.loads(pickle.dumps(batches))
    np.testing.assert_array_equal(next(copy), X[:4])
    assert sorted(name.split("_")[1] for name in os.listdir(tmp_path)) == ["0", "1", "2", "3"]


def test_random_functions_stay_in_range():
    pytest.importorskip("PIL")
    np.random.seed(0)
    x = X[0].transpose(2, 0, 1)
    assert image.random_rotation(x, 20).shape == x.shape
    assert image.random_shift(x, 0.2, 0.2).shape == x.shape
    assert image.random_shear(x, 20).shape == x.shape
    assert image.random_zoom(x, (0.8, 1.2)).shape == x.shape
    shifted = image.random_channel_shift(x, 50.0)
    assert shifted.min() >= x.min() and shifted.max() <= x.max()
    dark = image.apply_brightness_shift(X[0], 0.5)
    np.testing.assert_allclose(dark.max(), 127, atol=1)
    np.testing.assert_array_equal(image.flip_axis(X[0], 1), X[0][:, ::-1])


def test_pictures_to_arrays_and_back(tmp_path):
    pytest.importorskip("PIL")
    for channels in (1, 3, 4):
        x = np.round(np.random.RandomState(1).uniform(0, 255, (4, 5, channels)))
        path = tmp_path / f"{channels}.png"
        image.save_img(path, x, scale=False)
        mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
        np.testing.assert_array_equal(image.img_to_array(image.load_img(path, color_mode=mode)), x)
        first = image.img_to_array(image.load_img(path, color_mode=mode), "channels_first")
        np.testing.assert_array_equal(first, x.transpose(2, 0, 1))
    assert image.load_img(path, target_size=(2, 3), interpolation="bilinear").size == (3, 2)
    assert len(image.list_pictures(tmp_path)) == 3


@pytest.mark.parametrize("given, expected", [("channels_first", (2, 5, 3, 4)),
                                             ("channels_last", (2, 4, 5, 3))])
def test_no_data_format_means_that_of_the_backend(given, expected):
    before = K.image_data_format()
    K.set_image_data_format(given)
    try:
        generator = image.ImageDataGenerator(data_format=None, featurewise_center=True)
        x = np.arange(2.0 * 60).reshape(expected if given == "channels_last" else (2, 3, 4, 5))
        generator.fit(x)
        axes = (0, 1, 2) if given == "channels_last" else (0, 2, 3)
        np.testing.assert_allclose(generator.mean.ravel(), x.mean(axes))
    finally:
        K.set_image_data_format(before)


@pytest.mark.parametrize("arguments, words", [
    ({"data_format": "first"}, "data_format"), ({"zoom_range": (1, 2, 3)}, "zoom_range"),
    ({"validation_split": 2}, "validation_split"), ({"brightness_range": 3}, "brightness_range")])
def test_mistakes_in_the_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        image.ImageDataGenerator(**arguments)


def test_arguments_that_bring_others():
    with pytest.warns(UserWarning, match="samplewise_center"):
        assert image.ImageDataGenerator(samplewise_std_normalization=True).samplewise_center
    with pytest.warns(UserWarning, match="hasn't been fit"):
        image.ImageDataGenerator(featurewise_center=True).standardize(X[0])
    with pytest.warns(UserWarning, match=r"\(7 channels\)"):
        image.ImageDataGenerator().flow(np.zeros((2, 8, 8, 7)))
    with pytest.raises(ValueError, match="rank 4"):
        image.ImageDataGenerator().flow(X[0])
    with pytest.raises(ValueError, match="different number of classes"):
        generator = image.ImageDataGenerator(validation_split=0.5)
        generator.flow(X, [0, 0, 0, 1, 1, 1], subset="training")


def test_pictures_of_bytes_are_not_converted_whole(tmp_path):
    h5py = pytest.importorskip("h5py")
    bytes_ = X.astype("uint8")
    expected = next(image.ImageDataGenerator(rescale=1 / 255).flow(bytes_.astype("float32"),
                                                                   shuffle=False))
    batches = image.ImageDataGenerator(rescale=1 / 255).flow(bytes_, shuffle=False)
    assert batches.x is bytes_
    found = next(batches)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, expected)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = bytes_
        batches = image.ImageDataGenerator(rescale=1 / 255).flow(file["x"], shuffle=False)
        np.testing.assert_array_equal(next(batches), expected)
