"""What the layers behind one that is not known tell about its output.

A Dense whose kernel is (20, 3) takes 20 features, a Conv2D rank 4. Only the config and the shapes
of the stored weights are looked at.
"""
import re

from .h5_layout import read_names

# layers that give what they get, in the same shape
_SAME = {"Activation", "Dropout", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "GaussianNoise",
         "GaussianDropout", "AlphaDropout", "ThresholdedReLU", "Masking", "SpatialDropout1D",
         "SpatialDropout2D", "SpatialDropout3D", "ActivityRegularization", "Add", "Subtract",
         "Multiply", "Average", "Maximum", "Minimum"}
_CHANNELS = re.compile(r"(?:Separable|Depthwise)?Conv(?:LSTM)?(\d)D(Transpose)?$")
_RANK = re.compile(r"(?:MaxPooling|AveragePooling|GlobalMaxPooling|GlobalAveragePooling|UpSampling|"
                   r"ZeroPadding|Cropping)(\d)D$")
_SEQUENCE = {"LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "Bidirectional",
             "TimeDistributed"}


def told_shapes(config, stored):
    """dict layer name -> {"rank", "last", "size", "outputs"} for the layers of a model config.

    # Arguments
        config: of the model, as stored.
        stored: layer name -> [(shape, dtype)], with a method `get`.
    """
    layers = config.get("config", config)
    layers = layers.get("layers", []) if isinstance(layers, dict) else layers
    entries = {_name(entry): entry for entry in layers if isinstance(entry, dict)}
    behind = _behind(config.get("class_name"), layers)
    found = {}
    for name in entries:
        told = _told(name, entries, behind, stored, set())
        outputs = max((place for _, place in behind.get(name, [])), default=0) + 1
        if outputs > 1:
            told = {**told, "outputs": outputs}
        if told:
            found[name] = told
    return found


def _name(entry):
    config = entry.get("config")
    return entry.get("name") or (config.get("name") if isinstance(config, dict) else None)


def _behind(kind, layers):
    """dict layer name -> [(name of a layer that takes its output, which output)]"""
    found = {}
    if kind == "Sequential":
        for entry, following in zip(layers, layers[1:]):
            found.setdefault(_name(entry), []).append((_name(following), 0))
        return found
    for entry in layers:
        for call in entry.get("inbound_nodes") or []:
            for source in call if isinstance(call, list) else []:
                if isinstance(source, list) and len(source) > 2 and isinstance(source[2], int):
                    found.setdefault(source[0], []).append((_name(entry), min(source[2], 100)))
    return found


def _told(name, entries, behind, stored, seen):
    """What the layers behind `name` tell: {} if nothing."""
    if name in seen:
        return {}
    seen.add(name)                                 # the same layer may take several outputs
    for other in dict.fromkeys(other for other, _ in behind.get(name, [])):
        kind = entries.get(other, {}).get("class_name")
        kind = kind if isinstance(kind, str) else ""
        shapes = [shape for shape, _ in stored.get(other, [])]
        channels, rank = _CHANNELS.match(kind), _RANK.match(kind)
        if kind == "Dense" and shapes and len(shapes[0]) == 2:
            return {"last": shapes[0][0]}
        if channels and shapes and len(shapes[0]) > 2:
            last = shapes[0][-1 if channels[2] else -2]
            return {"rank": int(channels[1]) + 2 + ("LSTM" in kind), "last": last}
        if kind == "BatchNormalization" and shapes:
            return {"last": shapes[0][0], **{key: value for key, value in _told(
                other, entries, behind, stored, seen).items() if key == "rank"}}
        if kind in _SEQUENCE:
            inner = shapes and len(shapes[0]) == 2 and kind != "TimeDistributed"
            return {"rank": 3, "last": shapes[0][0]} if inner else {"rank": 3}
        if rank:
            told = _told(other, entries, behind, stored, seen)
            return {**{k: v for k, v in told.items() if k == "last"}, "rank": int(rank[1]) + 2}
        if kind == "Flatten":
            told = _told(other, entries, behind, stored, seen)
            return {"size": told["last"]} if "last" in told else {}
        if kind in _SAME:
            told = _told(other, entries, behind, stored, seen)
            if told:
                return told
    return {}


class Stored:
    """Layer name -> [(shape, dtype)] of the weights that an HDF5 group has for it."""

    def __init__(self, group):
        self.group = group

    def get(self, name, default):
        try:
            stored = self.group[name]
            found = [stored[weight] for weight in read_names(stored, "weight_names")]
            return [(data.shape, data.dtype.name) for data in found]
        except (KeyError, TypeError, ValueError, AttributeError):
            return default
