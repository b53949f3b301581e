"""Keras's `preprocessing`: sequences, text and images as arrays."""
from . import image, sequence, text

__all__ = ["image", "sequence", "text"]
