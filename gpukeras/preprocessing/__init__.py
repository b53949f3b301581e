"""Keras's `preprocessing`: sequences, text and images as arrays."""
from . import sequence, text

__all__ = ["sequence", "text"]
