"""Weights of LSTM and GRU into the layout of CuDNNLSTM and CuDNNGRU, and back.

Where they come from is told by the shape of the bias, u being the number of units:

    LSTM (4u,)   CuDNNLSTM (8u,)   GRU (3u,)   GRU with reset_after (2, 3u)   CuDNNGRU (6u,)
"""
import numpy as np

FAMILY = {"LSTM": ("LSTM", 4), "CuDNNLSTM": ("LSTM", 4), "GRU": ("GRU", 3), "CuDNNGRU": ("GRU", 3)}


def convert(layer, arrays):
    """[kernel, recurrent kernel, bias] as `layer` lays them out.

    # Raises
        ValueError: for a bias of none of the shapes above, and between GRU with and without
            reset_after.
    """
    name = layer.__class__.__name__
    kernel, recurrent, bias = arrays
    family, gates = FAMILY[name]
    units = recurrent.shape[0]
    source = _kind(family, bias.shape, units)
    target = name if name.startswith("CuDNN") else _plain_kind(layer)
    if source == target:
        return arrays
    if "GRU" in (source, target):                  # without reset_after
        raise ValueError(f"{source} is not compatible with {target}: layer {layer.name}. Only "
                         "GRU(reset_after=True) and CuDNNGRU can take each other's weights.")
    to_cudnn = target.startswith("CuDNN")
    blocks = np.split(kernel, gates, axis=1)
    if to_cudnn:
        blocks = [b.T.reshape(b.shape) for b in blocks]
    else:
        blocks = [b.reshape(b.shape[::-1]).T for b in blocks]
    recurrents = [b.T for b in np.split(recurrent, gates, axis=1)]
    return [np.hstack(blocks), np.hstack(recurrents), _bias(family, bias, to_cudnn)]


def _kind(family, shape, units):
    kinds = {("LSTM", (4 * units,)): "LSTM", ("LSTM", (8 * units,)): "CuDNNLSTM",
             ("GRU", (3 * units,)): "GRU", ("GRU", (2, 3 * units)): "GRU(reset_after=True)",
             ("GRU", (6 * units,)): "CuDNNGRU"}
    try:
        return kinds[family, tuple(shape)]
    except KeyError:
        raise ValueError(f"Invalid {family} bias shape: {tuple(shape)}, for {units} units."
                         ) from None


def _plain_kind(layer):
    if layer.__class__.__name__ == "LSTM":
        return "LSTM"
    return "GRU(reset_after=True)" if layer.reset_after else "GRU"


def _bias(family, bias, to_cudnn):
    if family == "GRU":
        return bias.reshape(-1) if to_cudnn else bias.reshape(2, -1)
    return np.tile(0.5 * bias, 2) if to_cudnn else np.sum(np.split(bias, 2), axis=0)
