"""Random ops in functions: repeatable, moving on, the same on every device, rightly distributed."""
import numpy as np
import pytest
from check import as_tuple

from gpukeras.errors import ShapeError
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.ops import random

N = 40_000


@pytest.fixture(autouse=True)
def fresh_counter():
    random.reset_step()
    yield
    random.reset_step()


def draw(tensor):
    return as_tuple(tuple(function([], [tensor])([])))[0]


def test_the_counter_moves_on_once_per_call():
    y = random.random_uniform((4,), seed=1)
    f = function([], [y, random.random_normal((4,), seed=1)])
    first, second = f([]), f([])
    assert not np.array_equal(first[0], second[0])
    random.reset_step()
    again = function([], [random.random_uniform((4,), seed=1)])
    np.testing.assert_array_equal(again([])[0], first[0])
    np.testing.assert_array_equal(again([])[0], second[0])


def test_a_given_step_does_not_move_on():
    f = function([], [random.random_uniform((4,), seed=1, step=0)])
    np.testing.assert_array_equal(f([])[0], f([])[0])


def test_seeds_and_kinds_are_apart_and_equal_ops_are_one():
    a, b = (random.random_uniform((8,), seed=s) for s in (1, 2))
    assert random.random_uniform((8,), seed=1) is a and a is not b
    values = function([], [a, b, random.random_normal((8,), seed=1)])([])
    assert len({v.tobytes() for v in values}) == 3


def test_numpy_seed_makes_a_program_repeatable():
    def build():
        random.reset_step()
        np.random.seed(5)
        return draw(random.truncated_normal((6,)))
    np.testing.assert_array_equal(build(), build())


@pytest.mark.parametrize("make, mean, std, low, high", [
    (lambda: random.random_uniform((N,), -1.0, 3.0, seed=3), 1.0, 4 / 12 ** 0.5, -1.0, 3.0),
    (lambda: random.random_normal((N,), 1.0, 2.0, seed=3), 1.0, 2.0, -np.inf, np.inf),
    # a normal cut at two standard deviations keeps 0.87962566 of its own
    (lambda: random.truncated_normal((N,), 1.0, 2.0, seed=3), 1.0, 2 * 0.87962566103423978, -3, 5),
    (lambda: random.random_binomial((N,), 0.3, seed=3), 0.3, 0.21 ** 0.5, 0, 1)])
def test_moments_and_range(make, mean, std, low, high):
    y = draw(make()).astype("f8")
    error = std / N ** 0.5                         # of the mean; five of them: one run in 2e6 fails
    assert abs(y.mean() - mean) < 5 * error and abs(y.std() - std) < 5 * error
    assert y.min() >= low and y.max() <= high


def test_normal_numbers_follow_the_normal_distribution():
    from math import erf
    y = np.sort(draw(random.random_normal((N,), seed=8)).astype("f8"))
    cdf = np.array([0.5 * (1 + erf(v / 2 ** 0.5)) for v in y])
    distance = np.abs(cdf - (np.arange(N) + 0.5) / N).max()
    assert distance * N ** 0.5 < 1.95              # Kolmogorov: passed by 99.9 % of true samples


def test_dropout_keeps_the_mean_and_shares_its_mask_with_the_gradient():
    x = Placeholder("float32", (None, 50))
    y = random.dropout(x, 0.25, seed=4)
    seed = Placeholder("float32", (None, 50))
    gx, = gradients([(y, seed)], [x])
    f = function([x, seed], [y, gx])
    ones = np.ones((800, 50), "f4")
    first, gradient = f([ones, ones])
    np.testing.assert_array_equal(first, gradient)
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert abs((first == 0).mean() - 0.25) < 5 * (0.25 * 0.75 / first.size) ** 0.5
    assert not np.array_equal(f([ones, ones])[0], first)


def test_noise_shape_shares_the_fate_along_an_axis():
    x = Placeholder("float32", (None, 6, 5))
    y = random.dropout(x, 0.5, seed=4, noise_shape=(None, 1, 5))
    out = function([x], [y])([np.ones((30, 6, 5), "f4")])[0]
    assert (out == out[:, :1]).all() and 0.3 < (out[:, 0] == 0).mean() < 0.7


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_outside_is_refused(rate):
    with pytest.raises(ShapeError, match="rate"):
        random.dropout(Placeholder("float32", (2, 2)), rate)


def test_unknown_sizes_need_a_tensor_to_take_them_from():
    with pytest.raises(ShapeError, match="unknown"):
        random.random_uniform((None, 3), seed=1)
    like = Placeholder("float32", (None, 3))
    y = random.random_uniform((None, 3), seed=1, like=like)
    assert function([like], [y])([np.zeros((5, 3), "f4")])[0].shape == (5, 3)
