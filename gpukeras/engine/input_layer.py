"""Input and its layer, by Keras's path."""
from ..layers.base import Layer
from ..layers.input_layer import Input, InputLayer
from ..layers.node import Node
