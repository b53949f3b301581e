"""Layers of Keras 1, by Keras's path."""
from ..layers import merge
from ..layers.base import Layer
from ..layers.keras1 import AtrousConvolution1D, AtrousConvolution2D, Highway, MaxoutDense
from ..layers.spec import InputSpec
