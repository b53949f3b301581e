"""Training in 16 bits: names of tf.keras 2.4 and later; Keras 2.3.1 has no such module.

    from gpukeras import mixed_precision
    mixed_precision.set_global_policy("mixed_float16")       # before the layers are made

Layers made from then on compute in float16 and keep float32 weights. Losses and metrics are
computed in float32; normalisations keep float32 statistics. `compile` wraps the optimizer of a
model with such layers in a LossScaleOptimizer. With "mixed_bfloat16", whose range is that of
float32, nothing is scaled. Give a last softmax `dtype="float32"` if its outputs shall have more
than 16 bits; the loss does not need it.
"""
from . import experimental
from ..optimizers import LossScaleOptimizer
from ..policy import Policy, global_policy, set_policy

set_global_policy = set_policy

__all__ = ["LossScaleOptimizer", "Policy", "experimental", "global_policy", "set_global_policy",
           "set_policy"]
