"""Integers to vectors."""
from .. import backend as K
from .. import policy
from ..utils.generic_utils import to_list
from .base import Layer


class Embedding(Layer):
    """Row `i` of a weight (input_dim, output_dim) for every integer i of the input.

    # Arguments
        input_dim: number of rows: the largest integer plus 1.
        output_dim: length of a row.
        embeddings_initializer, embeddings_regularizer, activity_regularizer,
        embeddings_constraint: as for the kernel of Dense.
        mask_zero: whether 0 means "no step" for the layers that follow.
        input_length: number of steps, needed by a Flatten and Dense that follow.

    # Input shape
        `(batch, steps)`, of any rank.

    # Output shape
        `(batch, steps, output_dim)`
    """

    casts_inputs = casts_weights = False           # numbers of words; rows are cast, not the table

    def __init__(self, input_dim, output_dim, embeddings_initializer="uniform",
                 embeddings_regularizer=None, activity_regularizer=None,
                 embeddings_constraint=None, mask_zero=False, input_length=None, **kwargs):
        if "input_shape" not in kwargs and "batch_input_shape" not in kwargs:
            kwargs["input_shape"] = tuple(to_list(input_length, allow_tuple=True))
        super().__init__(**kwargs)
        self.keep(input_dim=input_dim, output_dim=output_dim,
                  embeddings_initializer=embeddings_initializer,
                  embeddings_regularizer=embeddings_regularizer,
                  activity_regularizer=activity_regularizer,
                  embeddings_constraint=embeddings_constraint, mask_zero=mask_zero,
                  input_length=input_length)
        self.supports_masking = mask_zero

    def build(self, input_shape):
        self.embeddings = self.add_weight("embeddings", (self.input_dim, self.output_dim))
        super().build(input_shape)

    def compute_mask(self, inputs, mask=None):
        return K.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        if self.input_length is None:
            return (*input_shape, self.output_dim)
        given = to_list(self.input_length, allow_tuple=True)
        found = tuple(input_shape[1:])
        fits = len(given) == len(found) and all(None in (a, b) or a == b
                                                for a, b in zip(given, found))
        if not fits:
            raise ValueError(f'"input_length" is {self.input_length}, but received input has shape '
                             f"{tuple(input_shape)}")
        return (input_shape[0], *(b if a is None else a for a, b in zip(given, found)),
                self.output_dim)

    def call(self, inputs):
        if K.dtype(inputs) != "int32":
            inputs = K.cast(inputs, "int32")
        return policy.in_compute_type(K.gather(self.embeddings, inputs), self.dtype_policy)


__all__ = ["Embedding"]
