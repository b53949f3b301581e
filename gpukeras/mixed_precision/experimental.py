"""The module under the names of tf.keras 2.1 to 2.3."""
from .. import optimizers
from ..loss_scale import LossScale
from ..policy import Policy, global_policy, set_policy


def LossScaleOptimizer(optimizer, loss_scale="dynamic"):
    """The optimizer with a loss scale: "dynamic", or a number."""
    fixed = {} if loss_scale == "dynamic" else LossScale.of_old_config(loss_scale)
    return optimizers.LossScaleOptimizer(optimizer, **fixed)


__all__ = ["LossScaleOptimizer", "Policy", "global_policy", "set_policy"]
