"""Where data enters a model."""
from .. import backend as K
from ..utils.generic_utils import unpack_singleton
from .base import Layer
from .node import Node, keras_shape


class InputLayer(Layer):
    """The layer behind `Input`: one placeholder, or a tensor that is given.

    # Arguments
        input_shape: tuple without batch axis.
        batch_size: int or None.
        batch_input_shape: tuple with batch axis, instead of the two.
        dtype: data type, floatx if not given.
        input_tensor: tensor to use in place of a placeholder.
        sparse: kept in the config; the placeholder is dense.
        name: string.
    """

    def __init__(self, input_shape=None, batch_size=None, batch_input_shape=None, dtype=None,
                 input_tensor=None, sparse=False, name=None):
        if batch_input_shape is None:
            if input_shape is not None:
                batch_input_shape = (batch_size, *input_shape)
            elif input_tensor is not None:
                batch_input_shape = keras_shape(input_tensor)
            else:
                raise ValueError("An Input layer should be passed either a `batch_input_shape` or "
                                 "an "
                                 "`input_shape`.")
        elif input_shape is not None:
            raise ValueError("Only provide the input_shape OR batch_input_shape argument to "
                             "InputLayer, not "
                             "both at the same time.")
        if dtype is None:
            dtype = K.floatx() if input_tensor is None else K.dtype(input_tensor)
        super().__init__(name=name, dtype=dtype, batch_input_shape=batch_input_shape)
        self.trainable = False
        self.built = True
        self.supports_masking = True
        self.sparse = sparse
        self.is_placeholder = input_tensor is None or K.is_placeholder(input_tensor)
        if input_tensor is None:
            input_tensor = K.placeholder(shape=self.batch_input_shape, dtype=dtype, name=self.name)
        input_tensor._keras_shape = self.batch_input_shape
        input_tensor._keras_history = (self, 0, 0)
        Node(self, [], [], [], [input_tensor], [input_tensor], [None], [None],
             [self.batch_input_shape], [self.batch_input_shape])

    def _automatic_name(self):
        return f"input_{K.get_uid('input')}"

    def get_config(self):
        return {"batch_input_shape": self.batch_input_shape, "dtype": self.dtype,
                "sparse": self.sparse, "name": self.name}


def Input(shape=None, batch_shape=None, name=None, dtype=None, sparse=False, tensor=None):
    """A tensor that stands for the data of a model.

    # Arguments
        shape: tuple without batch axis, None for sizes that vary: (28, 28, 1), (None, 64).
        batch_shape: tuple with batch axis, instead of `shape`.
        name: name of its layer.
        dtype: data type, floatx if not given.
        sparse: accepted for Keras's sake; the tensor is dense.
        tensor: existing tensor to use instead of a placeholder.

    # Returns
        A symbolic tensor (list if the layer had several).
    """
    if shape is None and batch_shape is None and tensor is None:
        raise ValueError("Please provide to Input either a `shape` or a `batch_shape` argument. "
                         "Note that "
                         "`shape` does not include the batch dimension.")
    if shape is not None and not hasattr(shape, "__len__"):
        raise TypeError(f"`shape` must be a tuple of ints or None, got {shape!r}. Try: "
                        f"Input(shape=({shape},))")
    if batch_shape is None and shape is not None:
        batch_shape = (None, *shape)
    layer = InputLayer(batch_input_shape=batch_shape, name=name, dtype=dtype, sparse=sparse,
                       input_tensor=tensor)
    return unpack_singleton(layer._inbound_nodes[0].output_tensors)
