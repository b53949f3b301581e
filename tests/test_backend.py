"""K against NumPy, torch and true Keras 2.3.1."""
import pathlib

import numpy as np
import pytest

from gpukeras import backend as K
from tests.golden import reader

RNG = np.random.RandomState(5)
A = RNG.uniform(-2, 2, (3, 4, 5)).astype("float32")
B = RNG.uniform(-2, 2, (3, 4, 5)).astype("float32")
POSITIVE = abs(A) + 0.1


def value(f, *arrays, shape=None):
    """f on placeholders (batch size unknown) fed with the arrays."""
    xs = [K.placeholder(shape=(None,) + a.shape[1:], dtype=a.dtype.name) for a in arrays]
    return K.function(xs, [f(*xs)])(list(arrays))[0]


def close(got, wanted, rtol=2e-6, atol=2e-6):
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


ELEMENTWISE = {
    "abs": np.abs, "square": np.square, "exp": np.exp, "sin": np.sin, "cos": np.cos,
    "round": np.rint, "sign": np.sign, "tanh": np.tanh, "softplus": lambda x: np.log1p(np.exp(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softsign": lambda x: x / (1 + abs(x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)), "relu": lambda x: np.maximum(x, 0)}


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_elementwise(name):
    close(value(getattr(K, name), A), ELEMENTWISE[name](A))


@pytest.mark.parametrize("name, function", [
    ("maximum", np.maximum), ("minimum", np.minimum), ("equal", np.equal),
    ("not_equal", np.not_equal), ("greater", np.greater), ("greater_equal", np.greater_equal),
    ("less", np.less), ("less_equal", np.less_equal)])
def test_pairs(name, function):
    b = np.where(RNG.uniform(size=A.shape) < 0.5, A, B)
    close(value(getattr(K, name), A, b), function(A, b))


@pytest.mark.parametrize("axis", [None, 0, -1, 1, [0, 2], (1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "any", "all"])
def test_reductions(name, axis, keepdims):
    x = (A > -1).astype("float32") if name in ("any", "all") else A
    axes = tuple(axis) if isinstance(axis, list) else axis
    close(value(lambda t: getattr(K, name)(t, axis, keepdims), x),
          getattr(np, name)(x, axis=axes, keepdims=keepdims), rtol=2e-5)


def test_reductions_of_truth_values_and_integers():
    truth = A > 0
    close(value(lambda t: K.mean(t, axis=1), truth), truth.mean(1))
    assert value(lambda t: K.mean(t), truth).dtype == np.float32
    numbers = RNG.randint(0, 9, (4, 3)).astype("int32")
    assert value(lambda t: K.sum(t, axis=0), numbers).tolist() == numbers.sum(0).tolist()


def test_places_of_extremes_and_running_sums():
    for axis in (0, 1, -1):
        assert np.array_equal(value(lambda t: K.argmax(t, axis), A), A.argmax(axis))
        assert np.array_equal(value(lambda t: K.argmin(t, axis), A), A.argmin(axis))
        close(value(lambda t: K.cumsum(t, axis), A), A.cumsum(axis))
        close(value(lambda t: K.cumprod(t, axis), A), A.cumprod(axis))
    assert value(K.argmax, A).dtype == np.int64


def test_logsumexp_does_not_overflow():
    x = A * 100
    wanted = np.log(np.exp(x.astype("f8")).sum(-1))
    close(value(lambda t: K.logsumexp(t, -1), x), wanted, rtol=1e-6)
    close(value(lambda t: K.logsumexp(t, (1, 2), True), A),
          np.log(np.exp(A).sum((1, 2), keepdims=True)), rtol=1e-5)


def test_clip_pow_and_norms():
    close(value(lambda t: K.clip(t, -1, 0.5), A), A.clip(-1, 0.5))
    close(value(lambda t: K.clip(t, None, 0.5), A), A.clip(None, 0.5))
    close(value(lambda t: K.clip(t, 1, -1), A), np.ones_like(A))     # never below the lower end
    close(value(lambda t: K.pow(t, 3), A), A ** 3, rtol=1e-5)
    close(value(lambda t: K.l2_normalize(t, axis=1), A),
          A / np.sqrt((A ** 2).sum(1, keepdims=True)))
    assert not value(lambda t: K.l2_normalize(t, axis=1), A * 0).any()


# ---------------------------------------------------------------- shapes

def test_rearranging():
    close(value(K.flatten, A), A.ravel())
    close(value(K.batch_flatten, A), A.reshape(3, 20))
    close(value(lambda t: K.permute_dimensions(t, (0, 2, 1)), A), A.transpose(0, 2, 1))
    close(value(K.transpose, A[0]), A[0].T)
    close(value(lambda t: K.expand_dims(t, 1), A), A[:, None])
    close(value(lambda t: K.squeeze(t, 1), A[:, :1]), A[:, 0])
    close(value(lambda a, b: K.concatenate([a, b], axis=1), A, B), np.concatenate([A, B], 1))
    close(value(lambda a, b: K.stack([a, b], axis=-1), A, B), np.stack([A, B], -1))
    close(value(lambda t: K.tile(t, (1, 2, 3)), A), np.tile(A, (1, 2, 3)))
    close(value(lambda t: K.repeat(t, 6), A[0]), np.repeat(A[0][:, None], 6, 1))
    close(value(lambda t: K.repeat_elements(t, 3, 1), A), np.repeat(A, 3, 1))
    close(value(lambda t: K.reverse(t, (1, 2)), A), A[:, ::-1, ::-1])
    close(value(lambda t: K.slice(t, (0, 1, 2), (-1, 2, 3)), A), A[:, 1:3, 2:5])
    close(value(lambda t: t[:, -1, ::2], A), A[:, -1, ::2])


def test_reshape_with_sizes_known_only_when_called():
    close(value(lambda t: K.reshape(t, (-1, 5)), A), A.reshape(-1, 5))
    close(value(lambda t: K.reshape(t, (K.shape(t)[0], 20)), A), A.reshape(3, 20))
    close(value(lambda t: K.reshape(t, K.concatenate([K.shape(t)[:1], K.shape(t)[2:] * 4], 0)), A),
          A.reshape(3, 20))
    x = K.placeholder(ndim=3)
    f = K.function([x], [K.reshape(x, (K.shape(x)[1], K.shape(x)[0], 5)), K.size(x), K.shape(x),
                         K.batch_flatten(x)])
    for a in (A, A[:2]):
        y, size, shape, flat = f([a])
        close(y, a.reshape(4, -1, 5))
        assert size == a.size and shape.tolist() == list(a.shape)
        close(flat, a.reshape(len(a), -1))


def test_padding():
    x = RNG.normal(size=(2, 3, 4, 2)).astype("float32")
    close(value(lambda t: K.temporal_padding(t, (1, 2)), A), np.pad(A, ((0, 0), (1, 2), (0, 0))))
    close(value(lambda t: K.spatial_2d_padding(t, ((1, 0), (2, 3)), "channels_last"), x),
          np.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0))))
    close(value(lambda t: K.spatial_2d_padding(t, ((1, 0), (2, 3)), "channels_first"), x),
          np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 3))))
    v = RNG.normal(size=(1, 2, 3, 2, 1)).astype("float32")
    close(value(lambda t: K.spatial_3d_padding(t, ((1, 0), (0, 2), (1, 1)), "channels_last"), v),
          np.pad(v, ((0, 0), (1, 0), (0, 2), (1, 1), (0, 0))))
    close(value(lambda t: K.resize_volumes(t, 2, 1, 3, "channels_last"), v),
          v.repeat(2, 1).repeat(3, 3))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_resizing(data_format):
    x = RNG.normal(size=(2, 3, 4, 2)).astype("float32")
    last = data_format == "channels_last"
    given = x if last else np.ascontiguousarray(np.moveaxis(x, -1, 1))
    wanted = x.repeat(2, 1).repeat(3, 2)
    got = value(lambda t: K.resize_images(t, 2, 3, data_format), given)
    close(got, wanted if last else np.moveaxis(wanted, -1, 1))
    # place i lies at i / factor, between two pixels; the last pixel goes on
    at_rows, at_columns = np.arange(6) / 2, np.arange(12) / 3
    columns = np.stack([[np.interp(at_columns, np.arange(4), row) for row in image]
                        for image in np.moveaxis(x, -1, 1).reshape(4, 3, 4)])
    wanted = np.stack([np.stack([np.interp(at_rows, np.arange(3), c) for c in image.T], -1)
                       for image in columns]).reshape(2, 2, 6, 12)
    got = value(lambda t: K.resize_images(t, 2, 3, data_format, "bilinear"), given)
    close(got, np.moveaxis(wanted, 1, -1) if last else wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="cubic"):
        K.resize_images(K.constant(x), 2, 2, data_format, "cubic")


def test_picking():
    table = RNG.normal(size=(7, 3)).astype("float32")
    rows = RNG.randint(0, 7, (4, 2)).astype("int32")
    close(value(lambda i: K.gather(K.constant(table), i), rows), table[rows])
    close(value(lambda i: K.one_hot(i, 7), rows), np.eye(7)[rows])
    close(K.eval(K.arange(2, 9, 3)), np.arange(2, 9, 3))
    scores = np.array([[.1, .5, .2, .5], [.1, .2, .3, .4], [np.nan, 1, 0, 0]], "float32")
    classes = np.array([3, 1, 0], "int32")
    got = [value(lambda p, c: K.in_top_k(p, c, k), scores, classes).tolist() for k in (1, 2, 3)]
    assert got == [[True, False, False], [True, False, False], [True, True, False]]


# ---------------------------------------------------------------- products

@pytest.mark.parametrize("x, y", [
    ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (6, 4, 5)), ((3, 4), (2, 6, 4, 5)),
    ((2, 3, 2, 4), (2, 4, 3))])
def test_dot(x, y):
    x, y = RNG.normal(size=x).astype("float32"), RNG.normal(size=y).astype("float32")
    close(value(lambda a: K.dot(a, K.constant(y)), x), np.dot(x, y), rtol=1e-5, atol=1e-5)


def test_dot_with_two_unknown_axes():
    x, w = K.placeholder(ndim=3), K.variable(RNG.normal(size=(4, 2)))
    y = K.dot(x, w)
    assert K.int_shape(y) == (None, None, 2)
    a = RNG.normal(size=(3, 5, 4)).astype("float32")
    close(K.function([x], [y])([a])[0], a @ K.get_value(w), rtol=1e-5)


@pytest.mark.parametrize("x, y, axes, rule", [
    ((3, 4), (3, 4), None, "bi,bi->b"), ((3, 4), (3, 4, 5), None, "bi,bij->bj"),
    ((3, 2, 4), (3, 4), None, "bki,bi->bk"), ((3, 2, 4), (3, 4, 5), None, "bki,bij->bkj"),
    ((3, 2, 4), (3, 5, 4), (2, 2), "bki,bji->bkj"), ((3, 4, 2), (3, 4, 5), 1, "bik,bij->bkj"),
    ((3, 4, 2), (3, 5, 4), (1, 2), "bik,bji->bkj"), ((3, 4), (3, 5, 4), (1, 2), "bi,bji->bj"),
    ((3, 2, 4, 5), (3, 5, 6), None, "bkli,bij->bklj"),
    ((3, 2, 4, 5), (3, 4, 6, 7), (2, 1), "bkil,bijm->bkljm"),
    ((3, 2, 5), (3, 6, 5, 4), (2, 2), "bki,bmij->bkmj")])
def test_batch_dot(x, y, axes, rule):
    x, y = RNG.normal(size=x).astype("float32"), RNG.normal(size=y).astype("float32")
    wanted = np.einsum(rule, x, y)
    wanted = wanted[:, None] if wanted.ndim == 1 else wanted
    close(value(lambda a, b: K.batch_dot(a, b, axes), x, y), wanted, rtol=1e-5, atol=1e-5)


def test_batch_dot_refuses_the_batch_axis_and_other_sizes():
    x, y = K.placeholder(shape=(None, 3)), K.placeholder(shape=(None, 4))
    with pytest.raises(ValueError, match="axis 0"):
        K.batch_dot(x, x, axes=0)
    with pytest.raises(ValueError, match="equal sizes"):
        K.batch_dot(x, y)
    with pytest.raises(ValueError, match="ranks"):
        K.dot(x, K.variable([1.0]))


# ---------------------------------------------------------------- layers as functions

CONV = {
    "conv1d": ((2, 9, 3), (3, 3, 4), "ncw"), "conv2d": ((2, 7, 8, 3), (3, 2, 3, 4), "nchw"),
    "conv3d": ((1, 5, 4, 6, 2), (2, 3, 2, 2, 3), "ncdhw")}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", sorted(CONV))
def test_convolutions(name, data_format):
    torch = pytest.importorskip("torch")
    x_shape, w_shape, _ = CONV[name]
    rank = len(x_shape) - 2
    x, w = RNG.normal(size=x_shape).astype("float32"), RNG.normal(size=w_shape).astype("float32")
    first = np.moveaxis(x, -1, 1)
    kernel = torch.tensor(w).permute(-1, -2, *range(rank))
    wanted = getattr(torch.nn.functional, name)(torch.tensor(first.copy()), kernel, stride=2)
    wanted = wanted.numpy()
    given = x if data_format == "channels_last" else np.ascontiguousarray(first)
    got = value(lambda t: getattr(K, name)(t, K.constant(w), strides=(2,) * rank if rank > 1 else 2,
                                           data_format=data_format), given)
    wanted = np.moveaxis(wanted, 1, -1) if data_format == "channels_last" else wanted
    close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank, arguments", [(2, {}), (2, {"dilation_rate": (2, 2)}), (3, {})])
def test_transposed_convolutions(rank, arguments):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 3, 4, 2, 3)[:rank + 1] + (3,)).astype("float32")
    w = RNG.normal(size=(3, 2, 2)[:rank] + (4, 3)).astype("float32")
    stride = 1 if arguments else 2
    wanted = getattr(torch.nn.functional, f"conv_transpose{rank}d")(
        torch.tensor(np.moveaxis(x, -1, 1).copy()), torch.tensor(w).permute(-1, -2, *range(rank)),
        stride=stride, dilation=2 if arguments else 1).numpy()
    f = getattr(K, f"conv{rank}d_transpose")
    for data_format in ("channels_last", "channels_first"):
        last = data_format == "channels_last"
        given = x if last else np.ascontiguousarray(np.moveaxis(x, -1, 1))
        right = np.moveaxis(wanted, 1, -1) if last else wanted
        got = value(lambda t: f(t, K.constant(w), (None, *right.shape[1:]), (stride,) * rank,
                                data_format=data_format, **arguments), given)
        close(got, right, rtol=1e-4, atol=1e-5)


def test_transposed_convolution_with_same_padding_is_the_adjoint():
    x, y = RNG.normal(size=(1, 7, 8, 2)), RNG.normal(size=(1, 4, 4, 3))
    w = RNG.normal(size=(3, 3, 2, 3))
    forward = K.eval(K.conv2d(K.constant(x), K.constant(w), (2, 2), "same"))
    back = K.eval(K.conv2d_transpose(K.constant(y), K.constant(w), x.shape, (2, 2), "same"))
    np.testing.assert_allclose((forward * y).sum(), (back * x).sum(), rtol=1e-4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_separable_convolutions(data_format):
    torch = pytest.importorskip("torch")
    last = data_format == "channels_last"
    for rank in (1, 2):
        x = RNG.normal(size=(2, 7, 6)[:rank + 1] + (3,)).astype("float32")
        depth = RNG.normal(size=(3, 2)[:rank] + (3, 2)).astype("float32")
        point = RNG.normal(size=(1,) * rank + (6, 4)).astype("float32")
        given = x if last else np.ascontiguousarray(np.moveaxis(x, -1, 1))
        # torch: (in * m, 1, *k), channel c * m + j of input channel c
        kernel = torch.tensor(depth).permute(rank, rank + 1, *range(rank)).reshape(
            6, 1, *depth.shape[:rank])
        conv = getattr(torch.nn.functional, f"conv{rank}d")
        mid = conv(torch.tensor(np.moveaxis(x, -1, 1).copy()), kernel, stride=2, groups=3)
        out = conv(mid, torch.tensor(point).permute(-1, -2, *range(rank)))
        step = 2 if rank == 1 else (2, 2)
        got = value(lambda t: getattr(K, f"separable_conv{rank}d")(
            t, K.constant(depth), K.constant(point), step, data_format=data_format), given)
        close(got, np.moveaxis(out.numpy(), 1, -1) if last else out.numpy(), 1e-4, 1e-5)
        if rank == 2:
            got = value(lambda t: K.depthwise_conv2d(t, K.constant(depth), (2, 2),
                                                     data_format=data_format), given)
            close(got, np.moveaxis(mid.numpy(), 1, -1) if last else mid.numpy(), 1e-4, 1e-5)


def test_local_convolutions():
    x, w = RNG.normal(size=(2, 7, 3)), RNG.normal(size=(3, 6, 4))
    wanted = np.stack([x[:, 2 * i:2 * i + 2].reshape(2, 6) @ w[i] for i in range(3)], 1)
    got = value(lambda t: K.local_conv1d(t, K.constant(w), (2,), (2,)), x.astype("float32"))
    close(got, wanted, 1e-4, 1e-5)

    x, w = RNG.normal(size=(2, 5, 4, 3)), RNG.normal(size=(6, 12, 4))
    wanted = np.zeros((2, 2, 3, 4))
    for i, j in np.ndindex(2, 3):
        patch = x[:, 2 * i:2 * i + 2, j:j + 2]
        wanted[:, i, j] = patch.reshape(2, 12) @ w[3 * i + j]
    args = (2, 2), (2, 1), (2, 3)
    got = value(lambda t: K.local_conv2d(t, K.constant(w), *args), x.astype("float32"))
    close(got, wanted, 1e-4, 1e-5)
    other = w.reshape(6, 4, 3, 4).transpose(0, 2, 1, 3).reshape(6, 12, 4)      # (in, kh * kw)
    got = value(lambda t: K.local_conv2d(t, K.constant(other), *args, "channels_first"),
                np.moveaxis(x, -1, 1).astype("float32"))
    close(got, np.moveaxis(wanted, -1, 1), 1e-4, 1e-5)
    with pytest.raises(ValueError, match="local convolution"):
        K.local_conv1d(K.placeholder(shape=(None, 7, 2)), K.constant(w), (2,), (2,))


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize("name, shape", [("pool2d", (2, 6, 7, 3)), ("pool3d", (1, 4, 5, 6, 2))])
def test_pools(name, shape, mode):
    torch = pytest.importorskip("torch")
    rank = len(shape) - 2
    x = RNG.normal(size=shape).astype("float32")
    pool = getattr(torch.nn.functional, f"{mode}_pool{rank}d")
    wanted = pool(torch.tensor(np.moveaxis(x, -1, 1).copy()), 2, 1).numpy()
    for data_format in ("channels_last", "channels_first"):
        last = data_format == "channels_last"
        given = x if last else np.ascontiguousarray(np.moveaxis(x, -1, 1))
        got = value(lambda t: getattr(K, name)(t, (2,) * rank, data_format=data_format,
                                               pool_mode=mode), given)
        close(got, np.moveaxis(wanted, 1, -1) if last else wanted)
    with pytest.raises(ValueError, match="median"):
        getattr(K, name)(K.placeholder(shape=shape), (2,) * rank, pool_mode="median")


def test_bias_add():
    x, full = RNG.normal(size=(2, 3, 4, 5)).astype("float32"), RNG.normal(size=(3, 4, 5))
    b5, b3 = np.arange(5.0), np.arange(3.0)
    close(value(lambda t: K.bias_add(t, K.constant(b5), "channels_last"), x), x + b5, 1e-5)
    close(value(lambda t: K.bias_add(t, K.constant(b3), "channels_first"), x),
          x + b3[:, None, None], 1e-5)
    close(value(lambda t: K.bias_add(t, K.constant(full), "channels_last"), x), x + full, 1e-5)
    last = K.constant(full.reshape(4, 5, 3))       # reshaped, not transposed, as Keras does
    close(value(lambda t: K.bias_add(t, last, "channels_first"), x), x + full, 1e-5)
    with pytest.raises(ValueError, match="Unexpected bias dimensions 2"):
        K.bias_add(K.constant(x), K.constant(full[0]))


@pytest.mark.parametrize("name, axis", [
    ("batch_norm", 1), ("batch_norm_rank3", 2), ("batch_norm_rank4", 3), ("batch_norm_rank5", 4),
    ("batch_norm_axis1", 1), ("batch_norm_axis2", 2), ("batch_norm_axis1_rank3", 1)])
def test_batch_normalization_of_keras(name, axis):
    case = reader.cases("layers")[name]
    gamma, beta, moving_mean, moving_var = case.list("w")
    epsilon = case.facts["config"]["epsilon"]
    momentum = case.facts["config"]["momentum"]
    x = case["x"]
    reduced = [i for i in range(x.ndim) if i != axis]
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    n = x.size // x.shape[axis]
    got = K.function([], list(K.normalize_batch_in_training(
        K.constant(x), K.constant(gamma.reshape(shape)), K.constant(beta.reshape(shape)), reduced,
        epsilon)))([])
    close(got[0], case["y_train"], rtol=1e-4, atol=1e-5)
    close(moving_mean - (moving_mean - got[1]) * (1 - momentum), case["after2"], rtol=1e-5)
    var = got[2] * n / (n - (1 + epsilon))
    close(moving_var - (moving_var - var) * (1 - momentum), case["after3"], rtol=1e-5)
    y = K.batch_normalization(*map(K.constant, (x, moving_mean, moving_var, beta, gamma)),
                              axis=axis, epsilon=epsilon)
    close(K.eval(y), case["y"], rtol=1e-4, atol=1e-5)


def test_batch_normalization_over_other_axes():
    y, mean, var = (K.eval(t) for t in K.normalize_batch_in_training(
        K.constant(A), None, None, [1], 1e-3))
    close(mean, A.mean(1))
    close(var, A.var(1), rtol=1e-5)
    close(y, (A - A.mean(1, keepdims=True)) / np.sqrt(A.var(1, keepdims=True) + 1e-3), rtol=1e-4)


def test_batch_normalization_in_half_precision_sums_in_single():
    x = (A * 100).astype("float16")
    y, mean, var = K.function([], list(K.normalize_batch_in_training(
        K.constant(x, "float16"), K.constant(np.ones(5), "float16"), None, [0, 1])))([])
    assert y.dtype == np.float16 and mean.dtype == np.float32
    close(var, x.astype("f8").var((0, 1)), rtol=1e-3)        # above the largest float16


# ---------------------------------------------------------------- functions, updates, phases

def test_updates_all_see_the_old_values():
    a, b = K.variable(1.0), K.variable(10.0)
    step = K.function([], [a + b], [K.update(a, b), K.update_add(b, a), ])
    assert step([])[0] == 11.0
    assert [K.get_value(a), K.get_value(b)] == [10.0, 11.0]
    K.function([], [], [K.update_sub(a, 4.0), K.moving_average_update(b, 1.0, 0.9)])([])
    close(K.get_value(a), 6.0)
    close(K.get_value(b), 10.0)


def test_gradients_of_gradients():
    x = K.variable([1.0, 2.0, 3.0])
    first, = K.gradients(K.sum(x * x * x), [x])
    second, = K.gradients(first, [x])
    close(K.eval(first), [3.0, 12.0, 27.0])
    close(K.eval(second), [6.0, 12.0, 18.0])
    assert K.gradients(K.sum(K.stop_gradient(x)), [x]) == [None]


def test_switch():
    x = K.placeholder(shape=(None, 2))
    y = K.switch(K.greater(x[:, 0], 0.0), x, lambda: -x)
    close(K.function([x], [y])([np.array([[1.0, -2], [-3, 4]])])[0], [[1, -2], [3, -4]])
    close(K.eval(K.switch(K.constant(True, "bool"), K.constant([1.0]), K.constant([2.0]))), [1.0])
    with pytest.raises(ValueError, match="Rank"):
        K.switch(x > 0, x[:, 0], x[:, 1])


def test_learning_phase():
    x = K.placeholder(shape=(None,))
    y = K.in_train_phase(lambda: x * 2.0, x)
    a = np.array([1.0, 2.0])
    f = K.function([x, K.learning_phase()], [y, K.in_test_phase(x, x * 5.0)])
    assert [v.tolist() for v in f([a, 1])] == [[2.0, 4.0], [5.0, 10.0]]
    assert [v.tolist() for v in f([a, 0])] == [[1.0, 2.0], [1.0, 2.0]]
    assert K.function([x], [y])([a])[0].tolist() == [1.0, 2.0]
    assert K.in_train_phase(1, 2, training=1) == 1
    try:
        K.set_learning_phase(1)
        assert K.function([x], [y])([a])[0].tolist() == [2.0, 4.0]
        assert K.learning_phase() == 1 and K.in_train_phase("train", "test") == "train"
    finally:
        K.clear_session()
    assert K.is_tensor(K.learning_phase())
    with pytest.raises(ValueError, match="0 or 1"):
        K.set_learning_phase(2)


def test_dropout():
    x = np.ones((200, 50), "float32")
    t = K.placeholder(shape=(None, 50))
    f = K.function([t], [K.dropout(t, 0.3, seed=7), K.dropout(t, 0.5, noise_shape=(None, 1))])
    first, shared = f([x])
    assert set(np.unique(first)) == {0, np.float32(1 / 0.7)}
    assert abs((first == 0).mean() - 0.3) < 0.02
    assert ((shared == 0).all(1) | (shared == 2).all(1)).all()
    assert not np.array_equal(first, f([x])[0])


def test_random_tensors():
    np.random.seed(1)
    shape = (300, 40)
    uniform, normal, cut, bits = (K.eval(t) for t in (
        K.random_uniform(shape, -1, 3), K.random_normal(shape, 2, 0.5),
        K.truncated_normal(shape, 1, 2), K.random_binomial(shape, 0.25)))
    assert uniform.min() >= -1 and uniform.max() < 3 and abs(uniform.mean() - 1) < 0.05
    assert abs(normal.mean() - 2) < 0.02 and abs(normal.std() - 0.5) < 0.02
    assert abs(cut - 1).max() <= 4 and abs(cut.std() - 2 * 0.8796) < 0.05
    assert set(np.unique(bits)) == {0, 1} and abs(bits.mean() - 0.25) < 0.02
    v = K.random_uniform_variable((3,), 0, 1, seed=3)
    again = K.random_uniform_variable((3,), 0, 1, seed=3)
    assert np.array_equal(K.get_value(v), K.get_value(again))


# ---------------------------------------------------------------- settings, names, kinds

def test_settings_change_new_tensors():
    try:
        K.set_floatx("float64")
        assert K.variable(1).dtype == K.placeholder(ndim=1).dtype == "float64"
        K.set_epsilon(1e-4)
        assert K.epsilon() == 1e-4
        K.set_image_data_format("channels_first")
        assert K.normalize_data_format(None) == "channels_first"
    finally:
        K.set_floatx("float32")
        K.set_epsilon(1e-7)
        K.set_image_data_format("channels_last")
    for wrong in (lambda: K.set_floatx("int8"), lambda: K.set_image_data_format("last"),
                  lambda: K.normalize_data_format("first")):
        with pytest.raises(ValueError):
            wrong()


def test_names():
    K.clear_session()
    with K.name_scope("dense_1"):
        assert K.variable(0, name="kernel").name == "dense_1/kernel:0"
        assert K.variable(0, name="kernel").name == "dense_1/kernel_1:0"
    with K.name_scope("dense_1"), K.name_scope("cell"):      # of another model, perhaps
        assert K.variable(0, name="kernel").name == "dense_1/cell/kernel:0"
    assert [K.zeros(()).name, K.ones(()).name] == ["Variable:0", "Variable_1:0"]
    assert [K.get_uid("dense"), K.get_uid("dense"), K.get_uid("other")] == [1, 2, 1]
    K.reset_uids()
    assert K.get_uid("dense") == 1


def test_kinds_of_tensors():
    x, v = K.placeholder(shape=(None, 3)), K.zeros((2, 3))
    assert K.is_placeholder(x) and not K.is_placeholder(v) and K.is_variable(v)
    assert K.int_shape(x) == (None, 3) and K.ndim(x) == 2 and K.dtype(x) == "float32"
    assert K.count_params(v) == 6 and not K.is_keras_tensor(x) and not K.is_sparse(x)
    with pytest.raises(ValueError, match="ndarray"):
        K.is_keras_tensor(np.zeros(3))
    with pytest.raises(ValueError, match="neither shape nor ndim"):
        K.placeholder()


def test_values_of_variables():
    v = K.variable(np.arange(3), dtype="int32")
    K.set_value(v, [4, 5, 6])
    K.batch_set_value([(v, K.get_value(v) + 1)])
    assert K.batch_get_value([v, K.ones((2,))])[0].tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match=r"\(2,\)"):
        K.set_value(v, [1, 2])
    close(K.eval(K.eye(3)), np.eye(3))
    close(K.eval(K.ones_like(v) + K.zeros_like(v)), np.ones(3))
    close(K.eval(K.constant(3, shape=(2, 2))), np.full((2, 2), 3))


def test_functions_on_arrays():
    from gpukeras.backend import numpy_backend as KNP
    x, y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    np.testing.assert_allclose(KNP.softmax(x), np.exp(x) / np.exp(x).sum(-1, keepdims=True))
    np.testing.assert_allclose(KNP.concatenate([x, y], axis=0), np.concatenate([x, y]))
    np.testing.assert_allclose(KNP.sum(x, axis=1, keepdims=True), x.sum(1, keepdims=True))
    assert KNP.int_shape(x) == (3, 4) and KNP.floatx() == "float32"

    def step(a, states):
        out = KNP.tanh(a + states[0])
        return out, [out]

    last, outputs, states = KNP.rnn(step, x[:, :, None], [np.zeros((3, 1))])
    h = np.zeros((3, 1))
    for t in range(4):
        h = np.tanh(x[:, t, None] + h)
    np.testing.assert_allclose(last, h)
    np.testing.assert_allclose(outputs[:, -1], h)
    np.testing.assert_allclose(states[0], h)
    with pytest.raises(AttributeError, match="no_such"):
        KNP.no_such


def test_the_example_of_the_page_on_the_backend():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "backend.md").read_text(encoding="utf-8")
    code = page.split("```python")[1].split("```")[0]
    names = {"np": np, "K": K}
    exec(code.replace("step([", "result = step(["), names)
    assert names["result"][0] == 72.0 and "array(72." in code
    close(K.get_value(names["w"]), np.full((3, 2), -1.4))
