"""Optimizers: each a rule for one weight; everything else is in the base.

A rule is purely elementwise in weight, gradient and state, and scalars are the same nodes for every
weight, so that the compiler may join the updates of all weights into one.
"""
import numpy as np

from . import backend as K
from .configured import Configured
from .graph import layer_scope, mark
from .loss_scale import LossScale, all_finite
from .ops.math import sqrt, where
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object


class Optimizer(Configured):
    """Base of the optimizers.

    A subclass names its per-weight state in `slots` and gives `rule(p, g, *state, lr, t)`, which
    returns the new weight followed by the new state.  p, g, state: tensors of the weight's shape;
    lr: the learning rate of this step after decay; t: number of this step, from 1, as a float.

    # Arguments
        clipnorm: gradients are scaled down together when the norm over all of them exceeds this.
        clipvalue: gradients are clipped to [-clipvalue, clipvalue], elementwise.
    """

    slots = ()
    group = None                                 # the processes that train with it, see hvd.py
    in_group = False                             # its gradients are those of the whole group
    rank = 0                                     # of this process among those that train together

    def __init__(self, **kwargs):
        clips = {name: kwargs.pop(name) for name in ("clipnorm", "clipvalue") if name in kwargs}
        if kwargs:
            raise TypeError(f"Unexpected keyword argument passed to optimizer: {', '.join(kwargs)}."
                            " Beyond its own arguments it takes lr, decay, epsilon, clipnorm and "
                            "clipvalue.")
        self.keep(**clips)
        self.updates = []
        self.weights = []
        self.initial_decay = 0.0
        with K.name_scope(type(self).__name__):
            self.iterations = K.variable(0, dtype="int64", name="iterations")

    def keep_variables(self, **values):
        """Keep numbers as scalar variables, which `K.set_value` can change during training."""
        with K.name_scope(type(self).__name__):
            self.keep(**{name: K.variable(value, name=name) for name, value in values.items()})

    def get_config(self):
        config = {name: _number(value) for name, value in super().get_config().items()}
        clips = {name: config.pop(name) for name in ("clipnorm", "clipvalue") if name in config}
        return {**config, **clips}

    @property
    def lr(self):
        """The learning rate, by its old name."""
        return self.learning_rate

    @lr.setter
    def lr(self, value):
        if K.is_tensor(value) or not hasattr(self, "learning_rate"):
            self.learning_rate = value                   # the constructor of an older optimizer
        else:
            K.set_value(self.learning_rate, value)       # a new variable would miss compiled steps

    # ---- updates

    def get_gradients(self, loss, params):
        """Gradients of `loss` for each of `params`, clipped.

        # Raises
            ValueError: if the loss does not depend on some parameter.
        """
        return self.clip([mark(g, "gradient")
                          for g in self.combine(self.plain_gradients(loss, params))])

    def plain_gradients(self, loss, params):
        """Gradients of `loss` for each of `params`, neither combined nor clipped."""
        grads = K.gradients(loss, params)
        lost = [p.name for p, g in zip(params, grads, strict=True) if g is None]
        if lost:
            raise ValueError("An operation has `None` for gradient: the loss does not depend "
                             f"smoothly on {', '.join(lost)}. K.argmax, K.round and K.equal, for "
                             "example, have no gradient. Try: leave these weights out of training "
                             "(trainable=False).")
        return grads

    def clip(self, grads):
        """The gradients, clipped."""
        clipnorm, clipvalue = getattr(self, "clipnorm", 0) or 0, getattr(self, "clipvalue", 0) or 0
        if clipnorm > 0:
            squares = [K.sum(K.square(g)) for g in grads]
            norm = sqrt(sum(squares[1:], squares[0])) if squares else None
            grads = [clip_norm(g, clipnorm, norm) for g in grads]
        if clipvalue > 0:
            grads = [K.clip(g, -clipvalue, clipvalue) for g in grads]
        return grads

    def combine(self, grads):
        """The gradients before they are clipped; training on several processes averages here."""
        return grads

    def get_updates(self, loss, params):
        """One step: (variable, new value) for the parameters and the optimizer's own state."""
        params = list(params)
        return self.updates_for(params, self.get_gradients(loss, params))

    def updates_for(self, params, grads):
        """One step along gradients that are combined and clipped already."""
        own = type(self).__name__
        with layer_scope(own), K.name_scope(own):
            state = self._state(params)
            self.updates = [K.update_add(self.iterations, 1)]
            lr = self.learning_rate
            if self.initial_decay > 0:
                lr = lr * (1.0 / (1.0 + self.decay * K.cast(self.iterations, K.dtype(self.decay))))
            t = K.cast(self.iterations, K.dtype(lr)) + 1.0
            self.updates += self.common_updates(t)
            for i, (p, g) in enumerate(zip(params, grads, strict=True)):
                olds = [slot[i] for slot in state]
                new_p, *news = self.rule(p, g, *olds, lr=lr, t=t)
                self.updates += [K.update(old, new) for old, new in zip(olds, news, strict=True)]
                if getattr(p, "constraint", None) is not None:
                    new_p = p.constraint(new_p)
                self.updates.append(K.update(p, new_p))
        return self.updates

    def rule(self, p, g, *state, lr, t):
        raise NotImplementedError(f"{type(self).__name__} must define rule(p, g, *state, lr, t)")

    def common_updates(self, t):
        """Updates of state that belongs to no single weight (see `common_state`)."""
        return []

    common_state = ()                                        # variables that follow `iterations`

    def _state(self, params):
        """New zero state: one list per slot, one variable per parameter. Sets `weights`."""
        state = [[K.zeros(K.int_shape(p), dtype=K.dtype(p), name=f"{slot}_{i}")
                  for i, p in enumerate(params)] for slot in self.slots]
        self.weights = [self.iterations, *self.common_state, *sum(state, []),
                        *self._unused_state(params)]
        return state

    def _unused_state(self, params):
        return []

    # ---- state

    def set_weights(self, weights):
        """Set the state from arrays in the order of `get_weights`.

        # Raises
            ValueError: for another number of arrays or another shape.
        """
        if len(weights) == len(self.weights) - 1 and self._old_layout_lacks is not None:
            at, value = self._old_layout_lacks
            weights = [*weights[:at], np.array(value), *weights[at:]]
        if len(weights) != len(self.weights):
            raise ValueError(f"Length of the specified weight list ({len(weights)}) does not match "
                             f"the number of weights of the optimizer ({len(self.weights)}).")
        for variable, value in zip(self.weights, weights, strict=True):
            if K.int_shape(variable) != np.shape(value):
                raise ValueError(f"Optimizer weight shape {K.int_shape(variable)} not compatible "
                                 f"with provided weight shape {np.shape(value)}: {variable.name}.")
        K.batch_set_value(list(zip(self.weights, weights, strict=True)))

    # files of Keras <= 2.2.4 lack one array of some optimizers: (its place, its first value)
    _old_layout_lacks = None

    def get_weights(self):
        """The state as arrays: iterations, then slot by slot."""
        return K.batch_get_value(self.weights)


def clip_norm(g, c, n):
    """g * c / n where the norm n is at least c, else g; c <= 0 switches it off."""
    return g if c <= 0 else g * K.switch(K.greater_equal(n, c), c / n, K.ones_like(n))


def _number(value):
    return float(K.get_value(value)) if K.is_variable(value) else value


class _Decaying(Optimizer):
    """Optimizers whose learning rate may fall as 1 / (1 + decay * steps done)."""

    def __init__(self, learning_rate, kwargs, **variables):
        learning_rate = kwargs.pop("lr", learning_rate)
        decay = kwargs.pop("decay", 0.0)
        epsilon = kwargs.pop("epsilon", None) if self.has_epsilon else None
        super().__init__(**kwargs)
        self.initial_decay = decay
        self.keep_variables(learning_rate=learning_rate, **variables, decay=decay)
        if self.has_epsilon:
            self.keep(epsilon=K.epsilon() if epsilon is None else epsilon)

    has_epsilon = True


class SGD(_Decaying):
    """v = momentum * v - lr * g;  p += v;  with nesterov p += momentum * v - lr * g.

    # Arguments
        learning_rate: float >= 0.
        momentum: float >= 0.
        nesterov: apply Nesterov momentum.

    Sutskever et al. 2013.
    """

    slots = ("moment",)
    has_epsilon = False

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, **kwargs):
        super().__init__(learning_rate, kwargs, momentum=momentum)
        self.keep(nesterov=nesterov)

    def rule(self, p, g, moment, lr, t):
        v = self.momentum * moment - lr * g
        return p + (self.momentum * v - lr * g if self.nesterov else v), v


class RMSprop(_Decaying):
    """a = rho * a + (1 - rho) * g^2;  p -= lr * g / (sqrt(a) + epsilon).

    # Arguments
        learning_rate: float >= 0.
        rho: float >= 0, memory of the mean of squares.

    Tieleman and Hinton 2012, lecture 6e.
    """

    slots = ("accumulator",)
    _old_layout_lacks = (0, 0)

    def __init__(self, learning_rate=0.001, rho=0.9, **kwargs):
        super().__init__(learning_rate, kwargs, rho=rho)

    def rule(self, p, g, a, lr, t):
        a = self.rho * a + (1.0 - self.rho) * K.square(g)
        return p - lr * g / (sqrt(a) + self.epsilon), a


class Adagrad(_Decaying):
    """a += g^2;  p -= lr * g / (sqrt(a) + epsilon).  Duchi et al. 2011."""

    slots = ("accumulator",)
    _old_layout_lacks = (0, 0)

    def __init__(self, learning_rate=0.01, **kwargs):
        super().__init__(learning_rate, kwargs)

    def rule(self, p, g, a, lr, t):
        a = a + K.square(g)
        return p - lr * g / (sqrt(a) + self.epsilon), a


class Adadelta(_Decaying):
    """d = g * sqrt(D + epsilon) / sqrt(a + epsilon);  p -= lr * d;  a, D moving means of g^2, d^2.

    # Arguments
        learning_rate: float >= 0, best left at 1.
        rho: float >= 0, memory of both means.

    Zeiler 2012, arXiv:1212.5701.
    """

    slots = ("accumulator", "delta_accumulator")
    _old_layout_lacks = (0, 0)

    def __init__(self, learning_rate=1.0, rho=0.95, **kwargs):
        super().__init__(learning_rate, kwargs)
        self.keep(rho=rho)

    def rule(self, p, g, a, delta_a, lr, t):
        a = self.rho * a + (1.0 - self.rho) * K.square(g)
        d = g * sqrt(delta_a + self.epsilon) / sqrt(a + self.epsilon)
        return p - lr * d, a, self.rho * delta_a + (1.0 - self.rho) * K.square(d)


class Adam(_Decaying):
    """m, v: moving means of g and g^2;  p -= lr_t * m / (sqrt(v) + epsilon),
    lr_t = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t).

    # Arguments
        learning_rate: float >= 0.
        beta_1, beta_2: floats in (0, 1), memory of the two means.
        amsgrad: divide by the largest v so far instead of v.

    Kingma and Ba 2014, arXiv:1412.6980;  Reddi et al. 2018 for amsgrad.
    """

    slots = ("m", "v")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, amsgrad=False, **kwargs):
        super().__init__(learning_rate, kwargs, beta_1=beta_1, beta_2=beta_2)
        self.keep(amsgrad=amsgrad)
        if amsgrad:
            self.slots = ("m", "v", "vhat")

    def rule(self, p, g, m, v, vhat=None, lr=None, t=None):
        lr_t = lr * (sqrt(1.0 - K.pow(self.beta_2, t)) / (1.0 - K.pow(self.beta_1, t)))
        m = self.beta_1 * m + (1.0 - self.beta_1) * g
        v = self.beta_2 * v + (1.0 - self.beta_2) * K.square(g)
        if vhat is None:
            return p - lr_t * m / (sqrt(v) + self.epsilon), m, v
        vhat = K.maximum(vhat, v)
        return p - lr_t * m / (sqrt(vhat) + self.epsilon), m, v, vhat

    def _unused_state(self, params):
        # files hold a vhat per weight in any case; without amsgrad one of shape (1,)
        return [] if self.amsgrad else [K.zeros((1,), name=f"vhat_{i}")
                                        for i in range(len(params))]


class AdamW(_Decaying):
    """Adam with decay of the weights apart from the gradient:  p -= lr_t * m / (sqrt(v) + epsilon)
    + lr * weight_decay * p.

    # Arguments
        learning_rate, beta_1, beta_2: as in Adam.
        weight_decay: float >= 0.

    Loshchilov and Hutter 2017, arXiv:1711.05101. Not part of Keras 2.3.1.
    """

    slots = ("m", "v")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, weight_decay=0.01, **kwargs):
        super().__init__(learning_rate, kwargs, beta_1=beta_1, beta_2=beta_2,
                         weight_decay=weight_decay)

    def rule(self, p, g, m, v, lr, t):
        lr_t = lr * (sqrt(1.0 - K.pow(self.beta_2, t)) / (1.0 - K.pow(self.beta_1, t)))
        m = self.beta_1 * m + (1.0 - self.beta_1) * g
        v = self.beta_2 * v + (1.0 - self.beta_2) * K.square(g)
        return p - lr_t * m / (sqrt(v) + self.epsilon) - lr * self.weight_decay * p, m, v


class LAMB(AdamW):
    """p -= lr * |p| / |r| * r  with r = m' / (sqrt(v') + epsilon) + weight_decay * p, m' and v' the
    means of g and g^2 without their bias towards 0; the ratio of L2 norms is 1 where either is 0.

    For large batches: each weight moves by the same share of its size. Arguments as for AdamW.
    You et al. 2019, arXiv:1904.00962. Not part of Keras 2.3.1.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, weight_decay=0.01, **kwargs):
        kwargs.setdefault("epsilon", 1e-6)
        super().__init__(learning_rate, beta_1, beta_2, weight_decay, **kwargs)

    def rule(self, p, g, m, v, lr, t):
        m = self.beta_1 * m + (1.0 - self.beta_1) * g
        v = self.beta_2 * v + (1.0 - self.beta_2) * K.square(g)
        root = sqrt(v / (1.0 - K.pow(self.beta_2, t))) + self.epsilon
        r = m / (1.0 - K.pow(self.beta_1, t)) / root + self.weight_decay * p
        p_norm, r_norm = (sqrt(K.sum(K.square(x))) for x in (p, r))
        both = K.greater(p_norm * r_norm, 0.0)
        ratio = K.switch(both, p_norm / r_norm, K.ones_like(p_norm))
        return p - lr * ratio * r, m, v


class Adamax(_Decaying):
    """p -= lr / (1 - beta_1^t) * m / (u + epsilon);  m mean of g, u = max(beta_2 * u, abs(g)).

    Kingma and Ba 2014, section 7.
    """

    slots = ("m", "u")

    def __init__(self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, **kwargs):
        super().__init__(learning_rate, kwargs, beta_1=beta_1, beta_2=beta_2)

    def rule(self, p, g, m, u, lr, t):
        lr_t = lr / (1.0 - K.pow(self.beta_1, t))
        m = self.beta_1 * m + (1.0 - self.beta_1) * g
        u = K.maximum(self.beta_2 * u, K.abs(g))
        return p - lr_t * m / (u + self.epsilon), m, u


class Nadam(Optimizer):
    """Adam with Nesterov momentum mu(j) = beta_1 * (1 - 0.96^(j * schedule_decay) / 2) at step j.

    Best left at its defaults.  Dozat 2015;  Sutskever et al. 2013.
    """

    slots = ("m", "v")
    _old_layout_lacks = (1, 1.0)

    def __init__(self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, **kwargs):
        learning_rate = kwargs.pop("lr", learning_rate)
        schedule_decay = kwargs.pop("schedule_decay", 0.004)
        epsilon = kwargs.pop("epsilon", None)
        super().__init__(**kwargs)
        self.keep_variables(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2)
        self.keep(epsilon=K.epsilon() if epsilon is None else epsilon,
                  schedule_decay=schedule_decay)
        self.m_schedule = K.variable(1.0, name="m_schedule")
        self.common_state = (self.m_schedule,)

    def _mu(self, j):
        return self.beta_1 * (1.0 - 0.5 * K.pow(0.96, j * self.schedule_decay))

    def common_updates(self, t):
        return [K.update(self.m_schedule, self.m_schedule * self._mu(t))]

    def rule(self, p, g, m, v, lr, t):
        mu, mu_next = self._mu(t), self._mu(t + 1.0)
        product = self.m_schedule * mu                       # of mu(1) ... mu(t)
        g_prime = g / (1.0 - product)
        m = self.beta_1 * m + (1.0 - self.beta_1) * g
        v = self.beta_2 * v + (1.0 - self.beta_2) * K.square(g)
        m_prime = m / (1.0 - product * mu_next)
        v_prime = v / (1.0 - K.pow(self.beta_2, t))
        step = (1.0 - mu) * g_prime + mu_next * m_prime
        return p - lr * step / (sqrt(v_prime) + self.epsilon), m, v


sgd = SGD
rmsprop = RMSprop
adagrad = Adagrad
adadelta = Adadelta
adam = Adam
adamax = Adamax
nadam = Nadam
adamw = AdamW
lamb = LAMB

class LossScaleOptimizer(Optimizer):
    """Another optimizer, for float16, where small gradients would become 0.

    The loss is multiplied by `loss_scale` before gradients are taken, and they are divided by it
    afterwards, in float32. A step whose gradients are not all finite changes nothing but the scale.

    # Arguments
        inner_optimizer: the optimizer that changes the weights.
        dynamic: halve the scale after a step that was left out, double it after
            `dynamic_growth_steps` good ones in a row. False: it stays `initial_scale`.
        initial_scale: 2**15 if not given; it must be given if `dynamic` is False.
        dynamic_growth_steps: 2000 if not given.

    As `tf.keras.mixed_precision.LossScaleOptimizer`, but steps are left out with a fixed scale too.
    """

    def __init__(self, inner_optimizer, dynamic=True, initial_scale=None,
                 dynamic_growth_steps=None):
        self.inner_optimizer = get(inner_optimizer)
        if isinstance(self.inner_optimizer, LossScaleOptimizer):
            raise TypeError("inner_optimizer cannot itself be a LossScaleOptimizer, got "
                            f"{inner_optimizer!r}")
        self._scale = LossScale(dynamic, initial_scale, dynamic_growth_steps)
        self._finite = None                        # truth value of the last `get_updates`

    def __getattr__(self, name):
        """What is not here is the inner optimizer's: its rates, its weights."""
        if name.startswith("_") or name == "inner_optimizer":
            raise AttributeError(name)
        return getattr(self.inner_optimizer, name)

    def __setattr__(self, name, value):
        own = name.startswith("_") or name == "inner_optimizer"
        if own or isinstance(getattr(type(self), name, None), property) and name != "lr":
            object.__setattr__(self, name, value)
        else:
            setattr(self.inner_optimizer, name, value)

    # of whichever of the two a job of several processes has wrapped
    group = property(lambda self: self.inner_optimizer.group)
    rank = property(lambda self: self.inner_optimizer.rank)
    in_group = property(lambda self: self.inner_optimizer.in_group,
                        lambda self, value: setattr(self.inner_optimizer, "in_group", value))

    dynamic = property(lambda self: self._scale.dynamic)
    initial_scale = property(lambda self: self._scale.initial_scale)
    dynamic_growth_steps = property(lambda self: self._scale.dynamic_growth_steps)

    @property
    def loss_scale(self):
        """The present factor of the loss, a float."""
        return float(K.get_value(self._scale.value))

    @property
    def dynamic_counter(self):
        """Good steps since the scale last changed."""
        return int(K.get_value(self._scale.good_steps))

    def get_scaled_loss(self, loss):
        """loss * loss_scale"""
        return loss * K.cast(self._scale.value, K.dtype(loss))

    def get_unscaled_gradients(self, grads):
        """Gradients of the scaled loss / loss_scale; None stays None."""
        factor = 1.0 / self._scale.value
        return [None if g is None else g * K.cast(factor, K.dtype(g)) for g in grads]

    def get_gradients(self, loss, params):
        return self.inner_optimizer.clip(self.get_unscaled_gradients(self._scaled(loss, params)))

    def _scaled(self, loss, params):
        inner = self.inner_optimizer
        grads = inner.plain_gradients(self.get_scaled_loss(loss), params)
        return [mark(g, "gradient") for g in self.combine(inner.combine(grads))]

    def get_updates(self, loss, params):
        params, inner = list(params), self.inner_optimizer
        grads = self._scaled(loss, params)
        finite = self._finite = all_finite(grads)
        # zeros in place of what is not finite, which nobody uses: NumPy would warn
        grads = [where(finite, g, 0.0) for g in self.get_unscaled_gradients(grads)]
        updates = inner.updates_for(params, inner.clip(grads))
        return self.guarded(updates) + self._scale.updates(finite)

    def guarded(self, updates):
        """Updates that leave everything as it is where the gradients of `get_updates` overflow: a
        moving average would not get rid of a NaN."""
        if self._finite is None:
            return list(updates)
        return [(v, where(self._finite, new, v)) for v, new in updates]

    @property
    def weights(self):
        """Those of the inner optimizer, once it has any, then the scale and the good steps."""
        inner = self.inner_optimizer.weights
        return [*inner, *self._scale.variables] if inner else []

    @weights.setter
    def weights(self, weights):
        own = self._scale.variables
        self.inner_optimizer.weights = [w for w in weights if w not in own]

    def set_weights(self, weights):
        """Set the state from arrays; those of the inner optimizer alone leave the scale."""
        own = self._scale.variables
        if len(weights) == len(self.inner_optimizer.weights) + len(own):
            K.batch_set_value(list(zip(own, weights[-len(own):], strict=True)))
            weights = weights[:-len(own)]
        self.inner_optimizer.set_weights(weights)

    def scale_config(self):
        """The scale with its state, for files; the rest is written as the inner optimizer."""
        return {**self._scale.get_config(), "value": self.loss_scale,
                "good_steps": self.dynamic_counter}

    @classmethod
    def of_scale_config(cls, inner_optimizer, config):
        """The optimizer around one that was read from a file; config: of `scale_config`."""
        config = dict(config)
        value, good_steps = config.pop("value"), config.pop("good_steps")
        made = cls(inner_optimizer, **config)
        K.batch_set_value([(made._scale.value, value), (made._scale.good_steps, good_steps)])
        return made

    def get_config(self):
        return {"inner_optimizer": serialize(self.inner_optimizer), **self._scale.get_config()}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if "loss_scale" in config:                 # of tf.keras 2.1 to 2.3
            config = {"inner_optimizer": config["optimizer"],
                      **LossScale.of_old_config(config["loss_scale"])}
        return cls(deserialize(config.pop("inner_optimizer")), **config)


_CLASSES = {cls.__name__.lower(): cls
            for cls in (SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, LAMB, Adamax, Nadam,
                        LossScaleOptimizer)}


def serialize(optimizer):
    """{"class_name", "config"} of an optimizer."""
    return serialize_keras_object(optimizer)


def deserialize(config, custom_objects=None):
    """The optimizer of a config; case does not count in the names of ours."""
    name = config["class_name"]
    if name.lower() in _CLASSES:
        config = {**config, "class_name": name.lower()}
    return deserialize_keras_object(config, module_objects=_CLASSES, custom_objects=custom_objects,
                                    printable_module_name="optimizer")


def get(identifier):
    """The optimizer for a name (in any case), a config, or an instance.

    # Raises
        ValueError: for a name that is not known, or anything else.
    """
    if isinstance(identifier, str):
        return deserialize({"class_name": identifier, "config": {}})
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if hasattr(identifier, "get_updates") and not isinstance(identifier, type):
        return identifier
    raise ValueError(f"Could not interpret optimizer identifier: {identifier!r}; expected a name, "
                     "a config or an Optimizer.")
