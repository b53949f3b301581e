"""Optimizers: 50 steps of true Keras 2.3.1, closed formulas, state, arguments."""
import numpy as np
import pytest

from gpukeras import backend as K, constraints, losses, optimizers
from tests.golden import reader

RUNS = {name[4:]: case for name, case in reader.cases("training").items()
        if name.startswith("mlp_")}
NAMES = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"]


@pytest.mark.parametrize("name", sorted(RUNS))
def test_fifty_steps_of_a_perceptron(name):
    case = RUNS[name]
    weights = [K.variable(w) for w in case.list("before")]
    x, t = K.placeholder(shape=(None, 6)), K.placeholder(shape=(None, 4))
    hidden = K.tanh(K.bias_add(K.dot(x, weights[0]), weights[1]))
    y = K.softmax(K.bias_add(K.dot(hidden, weights[2]), weights[3]))
    loss = K.mean(losses.categorical_crossentropy(t, y))
    optimizer = optimizers.get(case.facts["optimizer"])
    assert optimizer.get_config() == case.facts["optimizer"]["config"]
    step = K.function([x, t], [loss], optimizer.get_updates(loss, weights))

    xs, ys, batch = case["x"], case["y0"], case.facts["batch"]
    for i, logs in enumerate(case["logs"]):
        rows = np.arange(i * batch, (i + 1) * batch) % len(xs)
        np.testing.assert_allclose(step([xs[rows], ys[rows]])[0], logs[0], rtol=1e-4)
    for got, wanted in zip(K.batch_get_value(weights), case.list("after"), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())
    state, wanted = optimizer.get_weights(), case.list("state")
    assert [s.shape for s in state] == [w.shape for w in wanted]
    assert state[0] == 50 and state[0].dtype == np.int64
    for got, right in zip(state, wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4 * abs(right).max() + 1e-12)


def nadam(gradients, w, lr=0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-7, schedule_decay=0.004):
    """The formulas of Dozat 2015 with the warming schedule, in float64."""
    m, v, product = 0.0, 0.0, 1.0
    for t, g in enumerate(gradients, 1):
        mu, mu_next = (beta_1 * (1 - 0.5 * 0.96 ** (j * schedule_decay)) for j in (t, t + 1))
        product *= mu
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g
        mean = (1 - mu) * g / (1 - product) + mu_next * m / (1 - product * mu_next)
        w = w - lr * mean / (np.sqrt(v / (1 - beta_2 ** t)) + epsilon)
    return w


def test_nadam_follows_its_formulas():
    gradients = np.random.RandomState(4).normal(size=(6, 5))
    w, g = K.variable(np.arange(5)), K.placeholder(shape=(5,))
    optimizer = optimizers.Nadam(0.01, beta_2=0.99)
    step = K.function([g], [], optimizer.get_updates(K.sum(w * g), [w]))
    for row in gradients:
        step([row.astype("float32")])
    wanted = nadam(gradients, np.arange(5.0))
    np.testing.assert_allclose(K.get_value(w), wanted, rtol=2e-5, atol=1e-5)
    assert len(optimizer.weights) == 4                       # iterations, m_schedule, m, v


def test_adamw_agrees_with_torch():
    torch = pytest.importorskip("torch")
    gradients = np.random.RandomState(6).normal(size=(8, 5)).astype("float32")
    start = np.linspace(-2, 2, 5).astype("float32")
    theirs = torch.nn.Parameter(torch.tensor(start))
    other = torch.optim.AdamW([theirs], lr=0.05, betas=(0.8, 0.95), eps=1e-12, weight_decay=0.2)
    w, g = K.variable(start), K.placeholder(shape=(5,))
    ours = optimizers.AdamW(0.05, 0.8, 0.95, weight_decay=0.2, epsilon=1e-12)
    step = K.function([g], [], ours.get_updates(K.sum(w * g), [w]))
    for row in gradients:
        theirs.grad = torch.tensor(row)
        other.step()
        step([row])
    np.testing.assert_allclose(K.get_value(w), theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_lamb_follows_its_formulas():
    gradients = np.random.RandomState(6).normal(size=(4, 2, 5))
    ws = [np.linspace(-2, 2, 5), np.zeros(5)]
    variables = [K.variable(w) for w in ws]
    g = K.placeholder(shape=(2, 5))
    loss = K.sum(variables[0] * g[0]) + K.sum(variables[1] * g[1])
    step = K.function([g], [], optimizers.LAMB(0.1).get_updates(loss, variables))
    ms, vs = np.zeros((2, 5)), np.zeros((2, 5))
    for t, rows in enumerate(gradients, 1):
        step([rows.astype("float32")])
        for i, row in enumerate(rows):
            ms[i], vs[i] = 0.9 * ms[i] + 0.1 * row, 0.999 * vs[i] + 0.001 * row ** 2
            r = ms[i] / (1 - 0.9 ** t) / (np.sqrt(vs[i] / (1 - 0.999 ** t)) + 1e-6) + 0.01 * ws[i]
            norm = np.linalg.norm(ws[i])
            ws[i] = ws[i] - 0.1 * (norm / np.linalg.norm(r) if norm else 1.0) * r
    for variable, w in zip(variables, ws, strict=True):
        np.testing.assert_allclose(K.get_value(variable), w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES + ["adamw", "lamb"])
def test_state_goes_over_to_a_fresh_optimizer(name):
    def start(values):
        w = K.variable(values)
        optimizer = optimizers.get(name)
        updates = optimizer.get_updates(K.sum(K.square(w - 3.0)), [w])
        return w, optimizer, K.function([], [], updates)

    w, first, step = start([1.0, 5.0])
    for _ in range(3):
        step([])
    other, second, other_step = start(K.get_value(w))
    second.set_weights(first.get_weights())
    step([])
    other_step([])
    assert np.array_equal(K.get_value(w), K.get_value(other))
    again = type(first).from_config(first.get_config())
    assert again.get_config() == first.get_config()


@pytest.mark.parametrize("floatx, rtol", [("float64", 1e-6), ("float16", 2e-2)])
@pytest.mark.parametrize("name", NAMES)
def test_other_float_types(name, floatx, rtol):
    def train():
        w = K.variable([1.0, -5.0])
        optimizer = optimizers.get(name)
        step = K.function([], [], optimizer.get_updates(K.mean(K.square(w - 3.0)), [w]))
        for _ in range(4):
            step([])
        return K.get_value(w), optimizer.get_weights()

    wanted, _ = train()
    try:
        K.set_floatx(floatx)
        got, state = train()
    finally:
        K.set_floatx("float32")
    assert got.dtype == floatx and {s.dtype.name for s in state} == {"int64", floatx}
    np.testing.assert_allclose(got, wanted, rtol=rtol)


def test_state_of_another_number_or_shape_is_refused():
    w = K.variable([1.0, 2.0])
    optimizer = optimizers.SGD()
    optimizer.get_updates(K.sum(w), [w])
    with pytest.raises(ValueError, match=r"Length of the specified weight list \(3\)"):
        optimizer.set_weights([np.int64(0), np.zeros(2), np.zeros(2)])
    with pytest.raises(ValueError, match="not compatible with provided weight shape"):
        optimizer.set_weights([np.int64(0), np.zeros(3)])


def test_old_files_without_iterations_can_be_read():
    w = K.variable([1.0, 2.0])
    optimizer = optimizers.RMSprop()
    optimizer.get_updates(K.sum(w), [w])
    optimizer.set_weights([np.array([3.0, 4.0])])
    assert [s.tolist() for s in optimizer.get_weights()] == [0, [3.0, 4.0]]


def test_learning_rate_by_both_names_and_while_training():
    assert optimizers.Adam(lr=0.5).get_config()["learning_rate"] == 0.5
    w = K.variable([0.0])
    optimizer = optimizers.SGD(learning_rate=1.0)
    step = K.function([], [], optimizer.get_updates(K.sum(w), [w]))
    step([])
    K.set_value(optimizer.lr, 0.25)
    step([])
    optimizer.lr = 0.5
    step([])
    assert K.get_value(w).tolist() == [-1.75]


def test_constraint_holds_after_each_step():
    w = K.variable([[3.0], [4.0]], constraint=constraints.unit_norm())
    step = K.function([], [], optimizers.SGD(0.1).get_updates(K.sum(w), [w]))
    step([])
    wanted = np.array([2.9, 3.9]) / np.hypot(2.9, 3.9)
    np.testing.assert_allclose(K.get_value(w)[:, 0], wanted, 1e-6)


def test_unknown_argument_is_named():
    with pytest.raises(TypeError, match="momentun"):
        optimizers.SGD(momentun=0.9)


def test_parameter_without_gradient_is_named():
    w, lost = K.variable([1.0], name="used"), K.variable([1.0], name="lost")
    with pytest.raises(ValueError, match="lost"):
        optimizers.SGD().get_updates(K.sum(w), [w, lost])


class Accumulating(optimizers.Optimizer):
    """As scripts of the Keras 2.2 days write one: steps on the sum of every `every` gradients."""

    def __init__(self, lr=0.1, every=2, decay=0.0, **kwargs):
        super().__init__(**kwargs)
        with K.name_scope(self.__class__.__name__):
            self.iterations = K.variable(0, dtype="int64", name="iterations")
            self.lr = K.variable(lr, name="lr")
            self.decay = K.variable(decay, name="decay")
        self.initial_decay = decay
        self.every = every

    def get_updates(self, loss, params):
        grads = self.get_gradients(loss, params)
        self.updates = [K.update_add(self.iterations, 1)]
        lr = self.lr
        if self.initial_decay > 0:
            lr = lr * (1. / (1. + self.decay * K.cast(self.iterations, K.dtype(self.decay))))
        step = K.equal((self.iterations + 1) % self.every, 0)
        step = K.cast(step, K.floatx())
        sums = [K.zeros(K.int_shape(p), dtype=K.dtype(p)) for p in params]
        self.weights = [self.iterations] + sums
        for p, g, s in zip(params, grads, sums):
            new_p = p - step * lr * (s + g)
            self.updates.append(K.update(s, (1. - step) * (s + g)))
            if getattr(p, "constraint", None) is not None:
                new_p = p.constraint(new_p)
            self.updates.append(K.update(p, new_p))
        return self.updates

    def get_config(self):
        config = {"lr": float(K.get_value(self.lr)), "every": self.every}
        base_config = super().get_config()
        return dict(list(base_config.items()) + list(config.items()))


def test_own_optimizer_in_the_old_style():
    w, g = K.variable([1.0, 2.0]), K.placeholder(shape=(2,))
    optimizer = Accumulating(lr=0.5, every=3, clipvalue=1.0)
    step = K.function([g], [], optimizer.get_updates(K.sum(w * g), [w]))
    seen = []
    for row in ([1.0, 0.25], [0.5, -3.0], [0.25, 0.5], [1.0, 1.0]):
        step([np.array(row)])
        seen.append(K.get_value(w).tolist())
    assert seen == [[1.0, 2.0], [1.0, 2.0], [0.125, 2.125], [0.125, 2.125]]
    assert [s.tolist() for s in optimizer.get_weights()] == [4, [1.0, 1.0]]
    optimizer.lr = 0.25
    again = optimizers.deserialize(optimizers.serialize(optimizer),
                                   custom_objects={"Accumulating": Accumulating})
    assert again.get_config() == {"lr": 0.25, "every": 3, "clipvalue": 1.0}
