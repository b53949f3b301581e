"""Stored weights into the layout of the layer that receives them."""
import numpy as np

from ..utils.conv_utils import convert_kernel
from . import h5_cudnn, h5_keras1

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")
CORRELATING = {"tensorflow": True, "cntk": True, "theano": False}


def convert_weights(layer, arrays, keras_version, backend, reshape=False):
    """Arrays of a layer as this version lays them out.

    # Arguments
        layer: the layer that receives them.
        arrays: list of arrays, as stored.
        keras_version, backend: of the file; "1" and None when it does not say.
        reshape: a convolution's kernel may have another shape with as many elements.
    """
    name, how = layer.__class__.__name__, (keras_version, backend, reshape)
    if name in ("Model", "Sequential"):
        return _convert_model(layer, arrays, *how)
    if name == "TimeDistributed":
        return convert_weights(layer.layer, arrays, *how)
    if name == "Bidirectional":
        half = len(arrays) // 2
        return (convert_weights(layer.forward_layer, arrays[:half], *how)
                + convert_weights(layer.backward_layer, arrays[half:], *how))
    if keras_version.startswith("1"):
        arrays = h5_keras1.convert(layer, arrays)
    if name in h5_cudnn.FAMILY and len(arrays) == 3:
        return h5_cudnn.convert(layer, arrays)
    if name not in CONVOLUTIONS or not arrays:
        return arrays
    kernels = 2 if name == "ConvLSTM2D" else 1
    if not CORRELATING.get(backend, True):
        arrays = [convert_kernel(a) for a in arrays[:kernels]] + arrays[kernels:]
    shape = tuple(layer.weights[0].shape)
    if reshape and arrays[0].shape != shape:
        if arrays[0].size != np.prod(shape):
            raise ValueError(f"Weights must be of equal size to be reshaped: {layer.name} has a "
                             f"kernel of shape {shape}, the saved one has {arrays[0].shape}.")
        arrays = [arrays[0].reshape(shape)] + arrays[1:]
    elif arrays[0].shape != shape and arrays[0].ndim == 4:          # a kernel in Theano's order
        arrays = [np.transpose(a, (3, 2, 0, 1)) for a in arrays[:kernels]] + arrays[kernels:]
    return arrays


def _convert_model(model, arrays, *how):
    """A nested model's arrays: the trainable ones of all its layers, then the others."""
    own = [(layer, len(layer.trainable_weights), len(layer.weights)) for layer in model.layers]
    if sum(count for _, _, count in own) != len(arrays):
        return arrays                                                # the caller says what differs
    trainable, cut = [], 0
    for _, count, _ in own:
        trainable.append(arrays[cut:cut + count])
        cut += count
    others = []
    for _, count, total in own:
        others.append(arrays[cut:cut + total - count])
        cut += total - count
    parts = [(convert_weights(layer, first + second, *how), len(first))
             for (layer, _, _), first, second in zip(own, trainable, others)]
    return ([a for part, count in parts for a in part[:count]]
            + [a for part, count in parts for a in part[count:]])
