"""What a layer accepts: InputSpec and the checks made before every call."""
from ..utils.generic_utils import to_list
from .node import keras_shape


class InputSpec:
    """Demands on one input of a layer; what is None is not checked.

    # Arguments
        dtype: expected data type.
        shape: expected shape, batch axis included, None where any size will do.
        ndim, max_ndim, min_ndim: expected, largest, smallest number of axes, batch axis included.
        axes: dict axis -> expected size.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None):
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = axes or {}

    def __repr__(self):
        fields = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        text = ", ".join(f"{name}={getattr(self, name)}" for name in fields if getattr(self, name))
        return f"InputSpec({text})"

    def conflict(self, x):
        """None if `x` fits, else (expected, found, fix)."""
        shape, ndim = keras_shape(x), len(keras_shape(x))
        if self.ndim is not None and ndim != self.ndim:
            return f"ndim={self.ndim}", f"ndim={ndim}", _rank_fix(self.ndim - ndim)
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"max_ndim={self.max_ndim}", f"ndim={ndim}", _rank_fix(self.max_ndim - ndim)
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"min_ndim={self.min_ndim}", f"ndim={ndim}", _rank_fix(self.min_ndim - ndim)
        if self.dtype is not None and str(x.dtype) != str(self.dtype):
            return f"dtype={self.dtype}", f"dtype={x.dtype}", f"K.cast(x, '{self.dtype}')"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return (f"axis {axis} of input shape to have value {size}", f"{shape[axis]}",
                        "the layer keeps the sizes of its first call; make a new layer for other "
                        "sizes")
        if self.shape is not None:
            for want, got in zip(self.shape, shape):
                if want is not None and got not in (want, None):
                    return f"shape={self.shape}", f"shape={shape}", None
        return None


def _rank_fix(missing):
    """Likely cure when `missing` axes are missing (negative: too many)."""
    if missing == 1:
        return "add the missing axis, such as a channel axis: Reshape((..., 1)) or x[..., None]"
    if missing > 1:
        return "Reshape, or RepeatVector before a sequence layer"
    return "Flatten, Reshape or a global pooling layer before this one"


def check_inputs(layer, inputs, place):
    """Raise ValueError if `inputs` do not fit `layer.input_spec`; `place`: text that says where."""
    if not layer.input_spec:
        return
    inputs, specs = to_list(inputs, allow_tuple=True), to_list(layer.input_spec, allow_tuple=True)
    if len(inputs) != len(specs):
        raise ValueError(f"Layer {layer.name} expects {len(specs)} inputs, but it received "
                         f"{len(inputs)} "
                         f"input tensors. Input received: {inputs}{place}")
    for i, (x, spec) in enumerate(zip(inputs, specs)):
        conflict = spec.conflict(x) if spec is not None else None
        if conflict:
            expected, found, fix = conflict
            raise ValueError(
                f"Input {i} is incompatible with layer {layer.name}: expected {expected}, found "
                f"{found}: "
                f"got shape {keras_shape(x)}{place}" + (f"\n  Try: {fix}." if fix else ""))
