"""Convolution and pooling beyond their rows: torch, unknown sizes, second derivatives, errors."""
import itertools

import check
import numpy as np
import pytest
from check import Case

from gpukeras.errors import DtypeError, ShapeError
from gpukeras.graph import Placeholder, gradients, rebuild
from gpukeras.ops import plans_conv
from gpukeras.ops.composite import evaluate
from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad, conv
from gpukeras.ops.depthwise import (DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad,
                                    depthwise_conv)
from gpukeras.ops.pool import (AveragePool, AveragePoolGrad, MaxPool, MaxPoolGrad, average_pool,
                               max_pool)
from gpukeras.ops.record import Gemm

RNG = np.random.default_rng(5)


def channels_first(a):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.moveaxis(a, -1, 1).copy(), requires_grad=True)


def channels_last(t):
    return np.moveaxis(t.detach().numpy(), 1, -1)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride, dilation, pad",
                         [*itertools.product((1, 2), (1, 2), (0, 1)), (3, 1, 2)])
def test_convolution_is_torchs(rank, stride, dilation, pad):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    size, window, pads = (9, 8, 7)[:rank], (3, 2, 3)[:rank], ((pad, pad),) * rank
    x, w = RNG.standard_normal((2, *size, 3)), RNG.standard_normal((*window, 3, 4))
    tx, tw = channels_first(x), torch.tensor(np.moveaxis(w, (-1, -2), (0, 1)).copy(),
                                             requires_grad=True)
    ty = (f.conv1d, f.conv2d, f.conv3d)[rank - 1](tx, tw, None, stride, pad, dilation)
    how = ((stride,) * rank, pads, (dilation,) * rank)
    y = Conv(*how).numpy(x, w)
    np.testing.assert_allclose(y, channels_last(ty), rtol=1e-10, atol=1e-10)
    gy = RNG.standard_normal(y.shape)
    ty.backward(channels_first(gy).detach())
    np.testing.assert_allclose(ConvDataGrad(*how, size).numpy(gy, w), channels_last(tx.grad),
                               rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ConvWeightGrad(window, *how).numpy(x, gy),
                               np.moveaxis(tw.grad.numpy(), (0, 1), (-1, -2)), rtol=1e-10,
                               atol=1e-10)


@pytest.mark.parametrize("rank, filters, stride, dilation",
                         list(itertools.product((1, 2, 3), (1, 3), (1, 2), (1, 2))))
def test_depthwise_convolution_is_torchs_with_groups(rank, filters, stride, dilation):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    size, window = (9, 8, 7)[:rank], (3, 2, 3)[:rank]
    x, w = RNG.standard_normal((2, *size, 3)), RNG.standard_normal((*window, 3, filters))
    tx = channels_first(x)
    tw = torch.tensor(np.moveaxis(w, (-2, -1), (0, 1)).reshape(3 * filters, 1, *window).copy(),
                      requires_grad=True)
    ty = (f.conv1d, f.conv2d, f.conv3d)[rank - 1](tx, tw, None, stride, 1, dilation, groups=3)
    how = ((stride,) * rank, ((1, 1),) * rank, (dilation,) * rank)
    y = DepthwiseConv(*how).numpy(x, w)
    np.testing.assert_allclose(y, channels_last(ty), rtol=1e-10, atol=1e-10)
    gy = RNG.standard_normal(y.shape)
    ty.backward(channels_first(gy).detach())
    np.testing.assert_allclose(DepthwiseDataGrad(*how, size).numpy(gy, w), channels_last(tx.grad),
                               rtol=1e-10, atol=1e-10)
    gw = np.moveaxis(DepthwiseWeightGrad(window, *how).numpy(x, gy), (-2, -1), (0, 1))
    np.testing.assert_allclose(gw.reshape(tw.shape), tw.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rank, window, stride, pad",
                         list(itertools.product((1, 2, 3), (2, 3), (1, 2), (0, 1))))
@pytest.mark.parametrize("ties", [False, True])
def test_pooling_is_torchs(rank, window, stride, pad, ties):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    size, how = (9, 8, 7)[:rank], ((window,) * rank, (stride,) * rank, ((pad, pad),) * rank)
    shape = (2, *size, 3)
    x = RNG.integers(0, 2, shape).astype("float64") if ties else RNG.standard_normal(shape)
    tx = channels_first(x)
    ty = (f.max_pool1d, f.max_pool2d, f.max_pool3d)[rank - 1](tx, window, stride, pad)
    y = MaxPool(*how).numpy(x)
    np.testing.assert_array_equal(y, channels_last(ty))
    gy = RNG.standard_normal(y.shape)
    ty.backward(channels_first(gy).detach())
    np.testing.assert_allclose(MaxPoolGrad(*how).numpy(x, y, gy), channels_last(tx.grad),
                               atol=1e-12)
    tx = channels_first(x)
    pool = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)[rank - 1]
    ty = pool(tx, window, stride, pad, count_include_pad=False)
    np.testing.assert_allclose(AveragePool(*how).numpy(x), channels_last(ty), atol=1e-12)
    ty.backward(channels_first(gy).detach())
    np.testing.assert_allclose(AveragePoolGrad(*how, size).numpy(gy), channels_last(tx.grad),
                               atol=1e-12)


# ---- Keras's words for padding, against its own formulas (lengths measured on Keras 2.3.1)

@pytest.mark.parametrize("word, stride, dilation, length", [
    ("valid", 1, 1, 8), ("valid", 2, 1, 4), ("same", 1, 1, 10), ("same", 2, 1, 5),
    ("same", 3, 1, 4), ("causal", 1, 2, 10), ("causal", 2, 1, 5), ("full", 1, 1, 12),
    ("valid", 1, 3, 4)])
def test_output_lengths_are_those_of_keras(word, stride, dilation, length):
    x, w = Placeholder("float32", (None, 10, 2)), Placeholder("float32", (3, 2, 7))
    assert conv(x, w, stride, word, dilation).shape == (None, length, 7)


def test_same_padding_puts_the_smaller_half_before():
    x, w = Placeholder("float32", (1, 6, 5, 1)), Placeholder("float32", (3, 4, 1, 1))
    assert conv(x, w, 2, "same").node.op.pads == ((0, 1), (1, 2))


def test_causal_output_sees_no_later_input():
    x, w = RNG.standard_normal((1, 12, 2)), RNG.standard_normal((3, 2, 4))
    xs, ws = Placeholder("float64", x.shape), Placeholder("float64", w.shape)
    op = conv(xs, ws, 1, "causal", 2).node.op
    later = x.copy()
    later[:, 7:] += 1
    changed = (op.numpy(x, w) != op.numpy(later, w)).any(axis=(0, 2))
    assert not changed[:7].any() and changed[7:].all()


# ---- sizes that only a call brings

def test_unknown_sizes_are_inferred_and_bound():
    x, w = Placeholder("float64", (None, None, 7, 2)), Placeholder("float64", (3, 3, 2, 4))
    y = average_pool(max_pool(conv(x, w, 2, "same"), 2, 1, "same"), 2, pads="same")
    assert y.shape == (None, None, 2, 4)
    seed = Placeholder("float64", y.shape)
    gx, gw = gradients([(y, seed)], [x, w])
    assert gx.shape == (None, None, 7, 2) and gw.shape == w.shape
    open_ = dict(zip((x, w, seed), (RNG.standard_normal(s) for s in
                                    ((3, 9, 7, 2), w.shape, (3, 3, 2, 4)))))
    known = {t: Placeholder("float64", a.shape) for t, a in open_.items()}
    fixed = rebuild((y, gx, gw), dict(known))
    got, want = evaluate((y, gx, gw), open_), evaluate(tuple(fixed), {
        known[t]: a for t, a in open_.items()})
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)
    assert got[1].shape == (3, 9, 7, 2)


# ---- second derivatives

@pytest.mark.parametrize("map_", [conv, depthwise_conv])
@pytest.mark.parametrize("pads", ["valid", "same"])
def test_second_derivatives_of_convolution(map_, pads):
    x, w = RNG.standard_normal((2, 6, 5, 2)), RNG.standard_normal((3, 2, 2, 3))
    xs, ws = Placeholder("float64", x.shape), Placeholder("float64", w.shape)
    y = map_(xs, ws, (1, 2), pads)
    check_second_derivative(y * y * y, (xs, ws), (x, w))


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_second_derivatives_of_pooling(pool):
    x = RNG.standard_normal((2, 6, 7, 2))
    xs = Placeholder("float64", x.shape)
    y = pool(xs, 3, 2, "same")
    check_second_derivative(y * y * y, (xs,), (x,))


def check_second_derivative(loss, xs, arrays, step=1e-6):
    """d/dx of (gradient . direction) against a central difference of the gradient."""
    ones = Placeholder("float64", loss.shape)
    firsts = gradients([(loss, ones)], xs)
    directions = [RNG.standard_normal(a.shape) for a in arrays]
    at = [Placeholder("float64", a.shape) for a in arrays]
    seconds = gradients(list(zip(firsts, at)), xs)
    given = {ones: np.ones(loss.shape), **dict(zip(xs, arrays)), **dict(zip(at, directions))}
    got = evaluate(tuple(seconds), given)
    # Hessians are symmetric: H d is the change of the gradient along d
    ahead, behind = ({**given, **{x: a + s * step * d for x, a, d in zip(xs, arrays, directions)}}
                     for s in (1, -1))
    for g, a, b in zip(got, evaluate(tuple(firsts), ahead), evaluate(tuple(firsts), behind)):
        want = (a - b) / (2 * step)
        np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


# ---- blocks of images on a device

def test_columns_are_cut_into_blocks_of_bounded_memory(monkeypatch):
    how = ((1, 2), ((1, 1), (0, 1)), (1, 1))
    x, w, gy = (7, 6, 5, 3), (3, 3, 3, 2), (7, 6, 2, 2)
    monkeypatch.setattr(plans_conv, "COLUMN_BYTES", 3 * 6 * 2 * 27 * 4)
    for case in (Case(Conv(*how), (x, w)), Case(ConvDataGrad(*how, x[1:3]), (gy, w)),
                 Case(ConvWeightGrad((3, 3), *how), (x, gy))):
        ins = tuple(map(check.type_of, case.arrays("float32")))
        plan = case.op.cuda.plan(case.op, ins, (case.op.infer(*ins),))
        assert plan.temps == (plans_conv.COLUMN_BYTES,)
        assert sum(isinstance(step, Gemm) for step in plan.steps) == 3      # 3 + 3 + 1 images
        check.check_cuda(case)


@pytest.mark.parametrize("op, shapes", [
    (Conv((1, 1), ((0, 0), (0, 0)), (1, 1)), ((4, 5, 6, 7), (1, 1, 7, 3))),
    (Conv((1, 1), ((0, 0), (0, 0)), (1, 1)), ((4, 5, 6, 7), (5, 6, 7, 3)))])
def test_windows_that_do_not_overlap_are_one_product(op, shapes):
    ins = tuple(check.TensorType("float32", s) for s in shapes)
    plan = op.cuda.plan(op, ins, (op.infer(*ins),))
    assert [type(step) for step in plan.steps] == [Gemm] and not plan.temps


# ---- errors say what, got, expected

@pytest.mark.parametrize("call, error, words", [
    (lambda x, w: conv(x, Placeholder("float32", (3, 3, 5, 2))), ShapeError, "channels differ"),
    (lambda x, w: conv(x, w, 0), ShapeError, "strides: got 0"),
    (lambda x, w: conv(x, w, (1, 1, 1)), ShapeError, "expected 2"),
    (lambda x, w: conv(x, w, pads="some"), ShapeError, "expected one of valid, same"),
    (lambda x, w: conv(x, w, pads=((1, 1),)), ShapeError, "expected 2 pairs"),
    (lambda x, w: conv(x, w, dilation=9), ShapeError, "padding='same'"),
    (lambda x, w: conv(x, Placeholder("float64", w.shape)), DtypeError, "one floating-point dtype"),
    (lambda x, w: conv(Placeholder("float32", (None, 8, 4)), w), ShapeError, "ranks differ"),
    (lambda x, w: max_pool(x, 20), ShapeError, "does not fit"),
    (lambda x, w: max_pool(x, 2, pads=((2, 0), (0, 0))), ShapeError, "without a real element"),
    (lambda x, w: max_pool(Placeholder("float32", (4, 5)), 2), ShapeError, "spatial axes"),
    (lambda x, w: average_pool(Placeholder("int32", (4, 5, 6)), 2), DtypeError, "K.cast")])
def test_errors_name_what_is_wrong(call, error, words):
    x, w = Placeholder("float32", (None, 8, 9, 4)), Placeholder("float32", (3, 3, 4, 2))
    with pytest.raises(error) as caught:
        call(x, w)
    assert words in str(caught.value)
