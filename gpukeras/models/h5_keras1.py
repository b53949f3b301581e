"""Weights as Keras 1 laid them out."""
import numpy as np

# per gate Keras 1 has W, U, b; the gates in its order, and theirs in ours
GATES = {"GRU": ("zrh", "zrh"), "LSTM": ("icfo", "ifco"), "ConvLSTM2D": ("icfo", "ifco")}


def convert(layer, arrays):
    """Arrays of a layer as Keras 2 lays them out."""
    name = layer.__class__.__name__
    if name in GATES and len(arrays) == 3 * len(GATES[name][0]):
        arrays = _join_gates(arrays, *GATES[name])
        if name == "ConvLSTM2D" and layer.data_format == "channels_first":
            arrays = [np.transpose(a, (2, 3, 1, 0)) for a in arrays[:2]] + arrays[2:]
        return arrays
    if not arrays:
        return arrays
    kernel = _kernel(layer, name, arrays[0])
    return [kernel, *arrays[1:]]


def _join_gates(arrays, stored, wanted):
    """[W, U, b] of every gate -> [W, U, b] with the gates beside each other."""
    return [np.concatenate([arrays[3 * stored.index(gate) + part] for gate in wanted], axis=-1)
            for part in range(3)]


def _kernel(layer, name, kernel):
    first = getattr(layer, "data_format", None) == "channels_first"
    if name == "Conv1D" and kernel.ndim == 4:
        if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
            kernel = np.transpose(kernel, (2, 3, 1, 0))              # (filters, in, k, 1)
        return kernel[:, 0]
    if name == "Conv2D" and first:
        return np.transpose(kernel, (2, 3, 1, 0))
    if name == "Conv2DTranspose":
        return np.transpose(kernel, (2, 3, 0, 1) if first else (0, 1, 3, 2))
    if name == "Conv3D" and first:
        return np.transpose(kernel, (2, 3, 4, 1, 0))
    return kernel
