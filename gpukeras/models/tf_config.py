"""Configs of tf.keras 1.13 to 2.15 in the words of Keras 2.3.1."""
import inspect
import re
import warnings

import numpy as np

from .. import initializers, layers

# names for fixed settings of VarianceScaling: scale, mode, distribution
SCALINGS = {"GlorotUniform": (1., "fan_avg", "uniform"), "GlorotNormal": (1., "fan_avg", "normal"),
            "HeUniform": (2., "fan_in", "uniform"), "HeNormal": (2., "fan_in", "normal"),
            "LecunUniform": (1., "fan_in", "uniform"), "LecunNormal": (1., "fan_in", "normal")}
CLASSES = {"Functional": "Model", "SyncBatchNormalization": "BatchNormalization",
           "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2":
           "BatchNormalization", "OrthogonalInitializer": "Orthogonal"}
# keys that Keras does not have, with the values that mean what Keras does anyway
NEUTRAL = {"ragged": (False, None), "time_major": (False,), "groups": (1,), "keepdims": (False,),
           "zero_output_for_mask": (False,), "synchronized": (False,), "autocast": (True, False),
           "optional": (False,), "fused": (None, True, False), "renorm": (False,),
           "virtual_batch_size": (None,), "score_mode": ("dot",),
           "attention_axes": (None, [1]), "softmax_robust_masking": (False, True, None),
           "_use_input_spec_as_call_signature": (True, False)}


def translate(node):
    """A model config, or any part of it, without what only tf.keras knows; a copy.

    # Raises
        ValueError: a layer uses what Keras 2.3.1 cannot do, such as convolutions in groups.
    """
    if isinstance(node, list):
        return [translate(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") in ("Policy", "DTypePolicy", "PolicyV1"):
        return node["config"]["name"]
    node = {key: value for key, value in node.items()
            if key not in ("module", "registered_name", "build_config", "compile_config")}
    if not isinstance(node.get("class_name"), str) or "config" not in node:
        return {key: translate(value) for key, value in node.items()}
    name = node["class_name"].rpartition(">")[2]                     # "Custom>Mine"
    config = node["config"]
    if name == "function" and isinstance(config, str):
        return config
    if name in SCALINGS:
        return _scaling(name, config)
    if name in ("TFOpLambda", "SlicingOpLambda"):
        return _operation(node)
    node["class_name"] = CLASSES.get(name, name)
    node = {key: translate(value) for key, value in node.items()}
    if name == "MultiHeadAttention" and "inbound_nodes" in node:
        node["inbound_nodes"] = [_with_sources(call) for call in node.get("inbound_nodes") or []]
    if isinstance(node["config"], dict):
        _make_plain(node)
    return node


def _operation(node):
    """A function of TensorFlow between layers, as `layers.Operation` has it."""
    config, calls = node["config"], node.get("inbound_nodes") or []
    if len(calls) != 1:
        raise ValueError(f"layer {config.get('name')} ({node['class_name']}) is called "
                         f"{len(calls)} times, expected once")
    call, tensors = calls[0], []

    def seen(value):
        if isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str) and (
                isinstance(value[1], int)):
            if value[0] == "_CONSTANT_VALUE":
                return value[2]
            tensors.append([*value[:3], {}])
            return {"tensor": len(tensors) - 1}
        if isinstance(value, list):
            return [seen(item) for item in value]
        if isinstance(value, dict) and set(value) == {"start", "stop", "step"}:
            return {"slice": [value[key] for key in ("start", "stop", "step")]}
        return value

    first = call[0] if isinstance(call[0], list) else call
    keywords = dict(first[3]) if len(first) > 3 else {}
    keywords.pop("name", None)
    plan = {"args": [seen(call)], "kwargs": {}}
    if "slice_spec" in keywords:
        plan["args"].append(seen(keywords.pop("slice_spec")))
    plan["kwargs"] = {key: seen(value) for key, value in keywords.items()}
    name = config["function"]
    name = name.removeprefix("__operators__.") if name.startswith("__op") else name
    made = {"name": config.get("name"), "operation": name, "table": "tf", "plan": plan}
    return {**node, "class_name": "Operation", "config": made, "inbound_nodes": [tensors]}


def _with_sources(call):
    """A call whose keyword arguments `value` and `key` are tensors, with these among its inputs."""
    if not call or len(call[-1]) < 4 or not isinstance(call[-1][3], dict):
        return call
    arguments, found = dict(call[-1][3]), []
    for key in ("value", "key"):
        place = arguments.get(key)
        if isinstance(place, list) and len(place) >= 3 and isinstance(place[0], str):
            found.append([*arguments.pop(key)[:3], {}])
        elif place is None:
            arguments.pop(key, None)
    sources = [*[[*source[:3], {}] for source in call], *found]
    sources[-1][3] = arguments
    return sources


def is_of_tensorflow(version):
    """Whether a version of Keras is one of tf.keras: 2.2.4-tf, or from 2.4 on."""
    numbers = [int(n) for n in re.findall(r"\d+", version or "")[:2]]
    return "-tf" in (version or "") or numbers >= [2, 4]


def use_half_pixels(node):
    """Let UpSampling2D of a config enlarge as TensorFlow 2 does; in place."""
    for item in node.values() if isinstance(node, dict) else node:
        if isinstance(item, (dict, list)):
            use_half_pixels(item)
    if isinstance(node, dict) and node.get("class_name") == "UpSampling2D" and isinstance(
            node.get("config"), dict) and node["config"].get("interpolation") == "bilinear":
        node["config"]["interpolation"] = "bilinear_half_pixel"


def _make_plain(node):
    """Take from the config of a layer, initializer or regularizer what only tf.keras has."""
    name, config = node["class_name"], node["config"]
    if hasattr(layers, name):
        node["config"] = _plain_layer(name, config)
    elif hasattr(initializers, name):
        config.pop("dtype", None)
    elif name in ("L1", "L2"):
        node.update(class_name="L1L2", config={"l1": 0., "l2": 0., **config})


def _scaling(name, config):
    scale, mode, distribution = SCALINGS[name]
    return {"class_name": "VarianceScaling",
            "config": {"scale": scale, "mode": mode, "distribution": distribution,
                       "seed": (config or {}).get("seed")}}


def _plain_layer(name, config):
    for key, neutral in NEUTRAL.items():
        if key in config and not (key == "sparse" and name == "InputLayer"):
            value = config.pop(key)
            if value not in neutral:
                raise ValueError(f"layer {config.get('name')} ({name}) has {key}={value!r}, which "
                                 f"Keras 2.3.1 does not know; expected {neutral[0]!r}")
    if "batch_shape" in config:
        config["batch_input_shape"] = config.pop("batch_shape")
    if name == "BatchNormalization" and isinstance(config.get("axis"), list):
        config["axis"] = config["axis"][0]
        for key in ("renorm_clipping", "renorm_momentum", "adjustment"):
            config.pop(key, None)
    if name == "DepthwiseConv2D":
        for key in ("filters", "kernel_initializer", "kernel_regularizer", "kernel_constraint"):
            config.pop(key, None)
    if name == "SeparableConv2D" or name == "SeparableConv1D":
        for key in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
            config.pop(key, None)
    if name == "Conv3DTranspose" and set(config.get("dilation_rate", [1])) == {1}:
        config.pop("dilation_rate", None)
    if name == "MultiHeadAttention":
        for key in ("query_shape", "key_shape", "value_shape"):
            config.pop(key, None)
    if name == "Embedding":
        config.pop("sparse", None)
    parameters = inspect.signature(getattr(layers, name).__init__).parameters
    return {key: value for key, value in config.items()
            if value is not None or key in parameters}


# ---------------------------------------------------------------- training

_OPTIMIZER_KEYS = ("name", "weight_decay", "global_clipnorm", "use_ema", "ema_momentum",
                   "ema_overwrite_frequency", "jit_compile", "is_legacy_optimizer", "centered",
                   "initial_accumulator_value", "loss_scale_factor",
                   "gradient_accumulation_steps")


def optimizer_config(config):
    """{"class_name", "config"} of an optimizer; what Keras does not have is told and left out."""
    config = translate(config)
    known = dict(config["config"])
    if config["class_name"].startswith("LossScaleOptimizer"):
        for inner in ("inner_optimizer", "optimizer"):
            if inner in known:
                known[inner] = optimizer_config(known[inner])
        return {"class_name": "LossScaleOptimizer", "config": known}
    if config["class_name"] == "RMSprop" and not known.pop("momentum", 0) == 0:
        warnings.warn("the momentum of RMSprop is tf.keras's own and is left out")
    for key in _OPTIMIZER_KEYS:
        value = known.pop(key, None)
        if key in ("weight_decay", "global_clipnorm", "use_ema", "centered") and value:
            warnings.warn(f"{key}={value!r} of {config['class_name']} is tf.keras's own and is "
                          "left out")
    if config["class_name"] == "Nadam":
        known.pop("decay", None)                   # it has a schedule of its own
    for key in ("clipnorm", "clipvalue"):
        if known.get(key, 0) is None:
            del known[key]
    rate = known.get("learning_rate")
    if isinstance(rate, dict):                                       # a schedule
        known["learning_rate"] = rate.get("config", {}).get("initial_learning_rate", 1e-3)
        warnings.warn(f"the schedule of the learning rate is left out: it stays at "
                      f"{known['learning_rate']}")
    return {"class_name": config["class_name"], "config": known}


def loss_or_metric(value):
    """A loss or metrics of a training config, whatever lists and dicts they are in."""
    return _loss_or_metric(translate(value))


def _loss_or_metric(value):
    if isinstance(value, list):
        return [_loss_or_metric(item) for item in value if item is not None]
    if not isinstance(value, dict):
        return value
    if set(value) != {"class_name", "config"}:
        return {key: _loss_or_metric(item) for key, item in value.items()}
    config = dict(value["config"])
    if value["class_name"] == "MeanMetricWrapper":
        return _metric_name(config.get("name"), config.get("fn"))
    config.pop("fn", None)
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    if config.get("axis") == -1 and value["class_name"].endswith("Crossentropy"):
        del config["axis"]
    return {"class_name": value["class_name"], "config": config}


def _metric_name(name, function):
    """What `compile` was given: "accuracy" has been resolved, and bears the output's name."""
    if name == function or name is None:
        return function
    return next((end for end in ("accuracy", "acc") if name.endswith(end)), function)


def optimizer_state(optimizer, names, arrays, count):
    """Stored state variables in the order of ours; unchanged if they are ours.

    count: number of weights that are trained.

    tf.keras 2.11 and later store [iteration, learning rate, m, v of the first weight, m, v of the
    second, ...]; versions before it and Keras before 2.1 store Adam without the third slot.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if names and re.fullmatch(r"iteration(:0)?", names[0].rpartition("/")[2]):
        if len(arrays) > 1 and "learning_rate" in names[1]:
            arrays = arrays[:1] + arrays[2:]
        slots = max(1, (len(arrays) - 1) // max(1, count))
        arrays = arrays[:1] + [a for slot in range(slots) for a in arrays[1 + slot::slots]]
    if len(arrays) == 1 and arrays[0].size == 1:   # without momentum, SGD there has no more
        arrays = [arrays[0].reshape(()), *[np.zeros(w.shape) for w in optimizer.weights[1:]]]
    missing = len(optimizer.weights) - len(arrays)
    if type(optimizer).__name__ == "Adam" and arrays and len(arrays) == 1 + 2 * missing:
        arrays = [*arrays, *[np.zeros(w.shape) for w in optimizer.weights[len(arrays):]]]
    return arrays
