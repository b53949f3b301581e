"""What tests of one's own layers need."""
import numpy as np

from .. import backend as K


def get_test_data(num_train=1000, num_test=500, input_shape=(10,), output_shape=(2,),
                  classification=True, num_classes=2):
    """Random data in which the target can be learned: inputs are normal numbers around the target.

    # Returns
        ((x_train, y_train), (x_test, y_test)); y: classes (samples,), or for classification=False
        numbers of `output_shape`.
    """
    samples = num_train + num_test
    if classification:
        y = np.random.randint(0, num_classes, size=(samples,))
        x = np.random.normal(loc=y.reshape(-1, *[1] * len(input_shape)), scale=0.7,
                             size=(samples, *input_shape))
    else:
        level = np.random.random((samples,))
        x = np.random.normal(loc=level.reshape(-1, *[1] * len(input_shape)), scale=0.7,
                             size=(samples, *input_shape))
        y = np.random.normal(loc=level.reshape(-1, *[1] * len(output_shape)), scale=0.7,
                             size=(samples, *output_shape))
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])


def layer_test(layer_cls, kwargs={}, input_shape=None, input_dtype=None, input_data=None,
               expected_output=None, expected_output_dtype=None, fixed_batch_size=False):
    """Check a layer class: weights, shapes, config, in a functional model and in a Sequential.

    # Arguments
        layer_cls: the class; kwargs: arguments of its constructor.
        input_shape, input_dtype: of random data, with batch axis; or input_data: an array.
        expected_output: what `predict` must give.
        expected_output_dtype: type of the output tensor, the input's if None.
        fixed_batch_size: the model's inputs have the batch size of the data.

    # Returns
        The output of the functional model.

    # Raises
        AssertionError: for the first thing that is not right.
    """
    from ..layers import Input
    from ..models import Model, Sequential
    data = _test_input(input_data, input_shape, input_dtype)
    shape = input_shape or data.shape
    dtype = input_dtype or K.floatx()
    layer = layer_cls(**kwargs)
    batch = shape[:1] if fixed_batch_size else (None,)
    x = Input(batch_shape=(*batch, *shape[1:]), dtype=dtype)
    y = layer(x)
    weights = layer.get_weights()
    layer.set_weights(weights)
    assert K.dtype(y) == (expected_output_dtype or dtype), K.dtype(y)

    model = Model(x, y)
    promised = layer.compute_output_shape(tuple(shape))
    output = model.predict(data)
    _require_shape(output.shape, promised)
    if expected_output is not None:
        np.testing.assert_allclose(output, expected_output, rtol=1e-3)

    again = Model.from_config(model.get_config())
    if weights:
        again.set_weights(model.get_weights())
    _require_equal(model, again.predict(data), output)
    model.compile("rmsprop", "mse")
    model.train_on_batch(data, output)

    stack = Sequential([layer_cls(**{**layer.get_config(), "batch_input_shape": (*batch,
                                                                              *shape[1:])})])
    if weights:
        stack.set_weights(weights)
    _require_shape(stack.predict(data).shape, promised)
    stack.compile("rmsprop", "mse")
    stack.train_on_batch(data, output)
    assert layer_cls.from_config(layer.get_config()).get_config() == layer.get_config()
    return output


def _test_input(data, shape, dtype):
    if data is not None:
        return data
    if not shape:
        raise ValueError("layer_test needs input_shape or input_data.")
    sizes = [size or np.random.randint(1, 4) for size in shape]
    data = 10 * np.random.random(sizes)
    return data.astype(dtype or K.floatx())


def _require_shape(got, promised):
    assert len(got) == len(promised) and all(
        want is None or size == want for size, want in zip(got, promised)), (got, promised)


def _require_equal(model, got, want):
    """Equal outputs of two models with the same weights; random ones differ in training only."""
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5, err_msg=model.name)
