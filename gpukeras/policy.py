"""Policies: in which type a layer computes, and in which it keeps its weights."""
import numpy as np

from . import backend as K
from .graph.halves import HALF

_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_global = None


class Policy:
    """The types of a layer.

    # Arguments
        name: "mixed_float16" or "mixed_bfloat16": the layer computes in that type, its weights are
            float32, and so are the optimizer's updates of them. Or a data type, for both.

    As `tf.keras.mixed_precision.Policy`; Keras 2.3.1 has none.
    """

    def __init__(self, name, loss_scale=None):
        if isinstance(name, Policy):
            name = name.name
        if not isinstance(name, str):
            raise TypeError(f"'name' must be a string, such as 'mixed_float16'; got {name!r}")
        self.name, self.loss_scale = name, loss_scale
        self.compute_dtype = _MIXED.get(name, name)
        self.variable_dtype = "float32" if self.is_mixed else name
        if name.startswith("mixed") and not self.is_mixed:
            raise ValueError(f"Cannot convert value {name!r} to a mixed precision Policy; expected "
                             f"one of {', '.join(_MIXED)} or a data type.")

    @property
    def is_mixed(self):
        """Whether weights are kept in another type than that of the computation."""
        return self.name in _MIXED

    def __eq__(self, other):
        return isinstance(other, Policy) and self.name == other.name

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f'<Policy "{self.name}">'

    def get_config(self):
        return {"name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(config["name"])


def set_policy(policy):
    """Set the policy of layers that are made from now on and are given no `dtype`.

    policy: a Policy, its name, or None for floatx again.
    """
    global _global
    _global = policy if policy is None or isinstance(policy, Policy) else Policy(policy)


def global_policy():
    """The policy that was set, else one of floatx."""
    return _global or Policy(K.floatx())


def policy_of(dtype):
    """The Policy for the `dtype` of a layer: a Policy, its config, its name, a type, or None."""
    if dtype is None:
        return global_policy()
    if isinstance(dtype, Policy):
        return dtype
    if isinstance(dtype, dict):
        return Policy(dtype["config"]["name"])
    return Policy(dtype if isinstance(dtype, str) else np.dtype(dtype).name)


def serialize(policy):
    """A policy as tf.keras writes it."""
    return {"class_name": "Policy", "config": policy.get_config()}


def plain_config(node):
    """The config of a model, or a part of it, in words that Keras 2.3.1 knows: `dtype` is that of
    the weights; a policy of mixed precision stands beside the config, where Keras does not look."""
    if isinstance(node, (list, tuple)):
        return [plain_config(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: plain_config(value) for key, value in node.items()}
    config = node.get("config")
    dtype = config.get("dtype") if isinstance(config, dict) else None
    if isinstance(dtype, dict) and dtype.get("class_name") == "Policy":
        own = policy_of(dtype)
        node.update(policy=own.name, config={**config, "dtype": own.variable_dtype})
    return node


def with_policies(node):
    """What `plain_config` was given."""
    if isinstance(node, (list, tuple)):
        return [with_policies(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: with_policies(value) for key, value in node.items()}
    name, config = node.get("policy"), node.get("config")
    if isinstance(name, str) and isinstance(config, dict) and "dtype" in config:
        node["config"] = {**config, "dtype": node.pop("policy")}
    return node


def in_compute_type(x, policy):
    """`x` in the type of the computation, if one of the two types has 16 bits."""
    have, want = K.dtype(x), policy.compute_dtype
    if have == want or not (have in HALF or want in HALF and have.startswith("float")):
        return x
    return K.cast(x, want)


def in_float32(x):
    """`x`, in float32 if it has 16 bits: losses, metrics and penalties are computed there."""
    return K.cast(x, "float32") if K.dtype(x) in HALF else x


class reading_weights:
    """Inside, the trainable weights of mixed layers read as tensors in the type of computation.

    Attributes that hold them are exchanged, in the layer and in those in it.
    """

    def __init__(self, layer):
        self.layer, self._old = layer, []

    def __enter__(self):
        if self.layer.casts_inputs or self.layer.casts_weights:
            self._exchange(self.layer)

    def __exit__(self, *error):
        for attributes, name, value in self._old:
            attributes[name] = value

    def _exchange(self, layer):
        policy = layer.dtype_policy
        if policy.is_mixed and layer.casts_weights:
            weights = {w for w in layer._trainable_weights if w.dtype == policy.variable_dtype}
            for name, value in list(vars(layer).items()):
                new = _exchanged(value, weights, policy.compute_dtype)
                if new is not value and not name.startswith("_"):
                    self._old.append((vars(layer), name, value))
                    vars(layer)[name] = new
        for inner in layer._sublayers():
            if inner.casts_inputs or inner.casts_weights:         # not a model
                self._exchange(inner)


def _exchanged(value, weights, dtype):
    """`value`, or what stands for it if it is a weight or a list, tuple or dict with weights."""
    if type(value) in (list, tuple):
        new = [_exchanged(v, weights, dtype) for v in value]
        return type(value)(new) if any(a is not b for a, b in zip(new, value)) else value
    if type(value) is dict:
        new = {key: _exchanged(v, weights, dtype) for key, v in value.items()}
        return new if any(new[key] is not value[key] for key in new) else value
    return K.cast(value, dtype) if K.is_variable(value) and value in weights else value
