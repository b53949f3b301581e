"""L2 losses and clipping by the norm of all gradients against torch, on both devices; and that they
cost no launch, or one, however many weights there are."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, regularizers
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.layers import Dense
from gpukeras.models import Sequential
from gpukeras.models.steps import Resident, TrainStep
from gpukeras.optimizers import SGD, Adam

SIZES = (7, 16, 16, 12, 3)
RATE, L2 = 0.05, 0.02


def network(optimizer, regularizer=None):
    np.random.seed(3)
    model = Sequential()
    for n_in, n_out in zip(SIZES, SIZES[1:]):
        model.add(Dense(n_out, activation="tanh", kernel_regularizer=regularizer,
                        input_shape=(n_in,)))
    model.compile(optimizer, "mse")
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, SIZES[0])).astype("f4"), rng.random((20, 3)).astype("f4") * 9


def in_torch(weights, steps, l2=0.0, clip=0.0):
    """(losses, weights) of plain gradient descent, by torch in float64."""
    torch = pytest.importorskip("torch")
    ws = [torch.tensor(w.astype("f8"), requires_grad=True) for w in weights]
    x, t = (torch.tensor(a.astype("f8")) for a in data())
    optimizer, losses = torch.optim.SGD(ws, lr=RATE), []
    for _ in range(steps):
        y = x
        for kernel, bias in zip(ws[::2], ws[1::2]):
            y = torch.tanh(y @ kernel + bias)
        loss = ((y - t) ** 2).mean() + l2 * sum((kernel ** 2).sum() for kernel in ws[::2])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(ws, clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, [w.detach().numpy() for w in ws]


def compare(model, **how):
    losses, weights = in_torch(model.get_weights(), 4, **how)
    got = [model.train_on_batch(*data()) for _ in range(4)]
    np.testing.assert_allclose(got, losses, rtol=2e-5)
    for w, right in zip(model.get_weights(), weights):
        np.testing.assert_allclose(w, right, rtol=1e-4, atol=1e-5)


def test_l2_losses_and_their_gradients_are_torchs(device):
    compare(network(SGD(RATE), regularizers.l2(L2)), l2=L2)


def test_clipping_by_the_norm_of_all_gradients_is_torchs(device):
    compare(network(SGD(RATE, clipnorm=0.5)), clip=0.5)


def test_both_together_are_torchs(device):
    compare(network(SGD(RATE, clipnorm=0.5), regularizers.l2(L2)), l2=L2, clip=0.5)


@pytest.mark.parametrize("make", [lambda **k: SGD(RATE, **k), lambda **k: Adam(RATE, **k)])
def test_l2_costs_no_launch_and_clipping_one(make):
    first = devices.use(KernelDevice(EmuDriver()))
    try:
        plain, decayed, clipped = (steps_of(network(make(**clip), reg)) for clip, reg in (
            ({}, None), ({}, regularizers.l2(L2)), ({"clipnorm": 1.0}, None)))
        assert len(decayed) <= len(plain) + 1       # kernels and biases are updated apart
        assert len(clipped) <= len(plain) + 2       # the norm's squares, its scalars
    finally:
        devices.use(first)
        K.clear_session()


def steps_of(model):
    """What the model's training step launches, in words."""
    model._make_train_function()
    step = Resident(TrainStep(model, [False]), list(data()))._make(20)
    return [str(s) for s in step.specialise(()).schedule.steps]
