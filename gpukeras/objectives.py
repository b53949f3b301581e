"""Keras 1's name of `losses`."""
from .losses import *
