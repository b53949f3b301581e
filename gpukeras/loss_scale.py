"""The factor of the loss in training with float16: its state on the device, and how it changes."""
from . import backend as K
from .graph.halves import HALF
from .graph.op import unmarked
from .ops.math import Cast, logical_and, where
from .ops.shape import pack

FIRST_SCALE, GROWTH_STEPS = 2.0 ** 15, 2000


class LossScale:
    """A scale that halves after a step that is not finite, to 1 at least, and doubles after
    `dynamic_growth_steps` finite ones in a row; or stays, if not `dynamic`.

    Attributes: value (float32 scalar), good_steps (int64 scalar): `variables`.
    """

    def __init__(self, dynamic=True, initial_scale=None, dynamic_growth_steps=None):
        if not dynamic and initial_scale is None:
            raise ValueError('"initial_scale" must be specified if "dynamic" is False')
        if not dynamic and dynamic_growth_steps is not None:
            raise ValueError('"dynamic_growth_steps" must be None if "dynamic" is False, got: '
                             f"{dynamic_growth_steps}")
        steps = (dynamic_growth_steps or GROWTH_STEPS) if dynamic else None
        self.dynamic, self.dynamic_growth_steps = bool(dynamic), steps
        self.initial_scale = float(initial_scale or FIRST_SCALE)
        with K.name_scope("LossScaleOptimizer"):
            self.value = K.variable(self.initial_scale, dtype="float32", name="loss_scale")
            self.good_steps = K.variable(0, dtype="int64", name="good_steps")
        self.variables = [self.value, self.good_steps]
        for variable in self.variables:
            variable.trainable = False

    def get_config(self):
        return {"dynamic": self.dynamic, "initial_scale": self.initial_scale,
                "dynamic_growth_steps": self.dynamic_growth_steps}

    def updates(self, finite):
        """Updates after a step; finite: truth value, whether its gradients were."""
        if not self.dynamic:
            return []
        good = where(finite, self.good_steps + 1, 0)
        grow = K.greater_equal(good, self.dynamic_growth_steps)
        scale = where(finite, where(grow, self.value * 2.0, self.value),
                      K.maximum(self.value * 0.5, 1.0))
        # not beyond what float32 holds, as in tf.keras
        scale = where(K.less(scale, float("inf")), scale, self.value)
        return [(self.value, scale), (self.good_steps, where(grow, 0, good))]

    @staticmethod
    def of_old_config(config):
        """Arguments for the config of tf.mixed_precision.experimental's loss scales."""
        if not isinstance(config, dict):
            return {"dynamic": False, "initial_scale": config}
        values = config["config"]
        if config["class_name"] == "FixedLossScale":
            return {"dynamic": False, "initial_scale": values["loss_scale_value"]}
        return {"initial_scale": values["initial_loss_scale"],
                "dynamic_growth_steps": values["increment_period"]}


def all_finite(grads):
    """Whether there is neither infinity nor NaN in any of the tensors: a scalar of type bool.

    The optimizer's update reads them packed into one vector; so does this, largest and smallest.
    """
    kinds = {}
    for g in grads:
        g = unmarked(g)
        if type(g.node.op) is Cast and g.node.inputs[0].dtype in HALF:
            g = g.node.inputs[0]                   # as it is finite, and as the update reads it
        kinds.setdefault(K.dtype(g), []).append(g)
    found = None
    for group in kinds.values():
        flat = pack(group) if len(group) > 1 else group[0]
        largest, smallest = (K.cast(f(flat), "float32") for f in (K.max, K.min))
        # a NaN is in both, and is less than nothing
        here = logical_and(K.less(largest, float("inf")),
                           K.greater(smallest, float("-inf")))
        found = here if found is None else logical_and(found, here)
    return found
