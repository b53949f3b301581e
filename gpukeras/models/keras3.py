"""Configs of Keras 3 in the words of tf.keras 2, which `tf_config` then translates.

Keras 3 writes a call as {"args", "kwargs"} with tensors inside; Keras 2 as a list of [layer, call,
output, keyword arguments].
"""
import re

# arguments of Keras 3 that have another name, or none, before it
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
# (Bidirectional sets zero_output_for_mask; with a mask, Keras 2 repeats the last output instead)
NEUTRAL = {"quantization_config": (None,), "zero_output_for_mask": (False, True),
           "rms_scaling": (False,), "use_cudnn": ("auto", True, False),
           "flash_attention": (None, False, True),
           "lora_rank": (None,), "lora_alpha": (None,), "use_gate": (False,), "renorm": (False,),
           "score_mode": ("dot",)}
DROPPED = ("seed", "renorm_clipping", "renorm_momentum")
# layers that have no argument `seed` in Keras 2.3.1
_WITHOUT = {"GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout1D", "LSTM", "GRU",
            "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM2D", "Attention",
            "AdditiveAttention", "MultiHeadAttention", "BatchNormalization", "SpatialDropout2D",
            "SpatialDropout3D", "ConvLSTM1D", "ConvLSTM3D"}
# which mean something else in Keras 3
ACTIVATIONS = {"hard_sigmoid": "hard_sigmoid3", "hard_silu": "hard_silu", "swish": "silu"}


def is_config(config):
    """Whether a model config is of Keras 3: calls as dicts, or inputs as `batch_shape`."""
    layers = config.get("config", {})
    layers = layers.get("layers", []) if isinstance(layers, dict) else []
    for entry in layers if isinstance(layers, list) else []:
        calls = entry.get("inbound_nodes") if isinstance(entry, dict) else None
        if isinstance(calls, list) and any(isinstance(call, dict) for call in calls):
            return True
        inner = entry.get("config") if isinstance(entry, dict) else None
        if isinstance(inner, dict) and ("batch_shape" in inner or is_config(entry)):
            return True
    return False


def translate(config):
    """A model config without what only Keras 3 has; a copy.

    # Raises
        ValueError: for an argument that cannot be translated.
    """
    return _entry(config)


def _value(value):
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("class_name"), str) and "config" in value:
        return _entry(value)
    return {key: _value(item) for key, item in value.items()}


def _entry(entry):
    """A {"class_name", "config"} of anything, and what is inside."""
    entry = dict(entry)
    name, config, module = entry["class_name"], entry.get("config"), entry.get("module") or ""
    if name in ("__lambda__", "function") or not isinstance(config, dict):
        return entry
    if name == "__tuple__":
        return _value(config.get("value", []))
    if ".ops" in module:
        entry["class_name"], entry["config"] = "Operation", _operation(name, config)
    elif "layers" in config and isinstance(config["layers"], list):
        entry["config"] = _model(config)
    else:
        entry["config"] = _layer(name, {key: _value(value) for key, value in config.items()})
    return entry


def _operation(name, config):
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    settings = {key: _value(value) for key, value in config.items()
                if key not in ("name", "dtype", "trainable")}
    return {"name": config.get("name"), "table": "keras.ops", "operation": snake,
            "settings": settings}


def _layer(name, config):
    for old, new in RENAMED.get(name, {}).items():
        if old in config:
            config[new] = config.pop(old)
    for key, neutral in NEUTRAL.items():
        if key in config:
            value = config.pop(key)
            if value not in neutral:
                raise ValueError(f"layer {config.get('name')} ({name}) has {key}={value!r}, which "
                                 f"is not known here; expected {neutral[0]!r}")
    for key in DROPPED:
        if key in config and (name in _WITHOUT or key.startswith("renorm")):
            config.pop(key)
    for key in ("activation", "recurrent_activation"):
        if isinstance(config.get(key), str):
            config[key] = ACTIVATIONS.get(config[key], config[key])
    for key in ("input_axes", "output_axes"):      # of initializers
        if key in config and config[key] is None:
            del config[key]
    if name == "Bidirectional":
        config.pop("backward_layer", None)         # the layer itself, turned round
    return config


# ---------------------------------------------------------------- calls

def _model(config):
    config = dict(config)
    entries = [_entry(entry) for entry in config["layers"]]
    nested = {entry.get("name") for entry in entries
              if "layers" in (entry.get("config") or {})}
    for entry in entries:
        calls = entry.get("inbound_nodes")
        if calls and all(isinstance(call, dict) for call in calls):
            entry["inbound_nodes"] = [_call(entry, call, nested) for call in calls]
    config["layers"] = entries
    for ends in ("input_layers", "output_layers"):
        if ends in config:
            config[ends] = [_place(*place, nested) for place in _places(config[ends])]
    return config


def _places(value):
    """[layer, call, output] triples of a list, a dict or a single one of them."""
    if isinstance(value, dict):
        return [place for item in value.values() for place in _places(item)]
    if len(value) == 3 and isinstance(value[0], str):
        return [value]
    return [place for item in value for place in _places(item)]


def _place(name, call, output, nested):
    # Keras 2 counts the making of a model inside a model as its first call
    return [name, call + 1 if name in nested else call, output]


def _call(entry, call, nested):
    """One call in Keras 2's way."""
    tensors, plan = [], {"args": [], "kwargs": {}}

    def seen(value):
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            tensors.append(_place(*value["config"]["keras_history"], nested))
            return {"tensor": len(tensors) - 1}
        if isinstance(value, dict) and value.get("class_name") == "__slice__":
            return {"slice": [value["config"][key] for key in ("start", "stop", "step")]}
        if isinstance(value, dict) and value.get("class_name") == "__ellipsis__":
            return {"ellipsis": True}
        if isinstance(value, list):
            return [seen(item) for item in value]
        return _value(value)

    plan["args"] = [seen(value) for value in call.get("args", [])]
    kwargs = {key: value for key, value in call.get("kwargs", {}).items() if value is not None}
    if entry["class_name"] == "Operation":
        plan["kwargs"] = {key: seen(value) for key, value in kwargs.items()}
        entry["config"]["plan"] = plan
        return [[*place, {}] for place in tensors]
    kept = {}
    for key, value in kwargs.items():
        before = len(tensors)
        value = seen(value)
        if len(tensors) == before:
            kept[key] = value
        elif key not in ("key", "value", "query", "initial_state"):
            raise ValueError(f"layer {entry.get('name')} is called with a tensor for {key!r}, "
                             "which is not known here")
    return [[*place, kept] for place in tensors]
