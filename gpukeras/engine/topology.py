"""Keras's path of earlier times for layers, nodes and networks."""
from ..layers import Input, InputLayer, InputSpec, Layer, Node
from ..models.network import Network
from ..utils.layer_utils import get_source_inputs

Container = Network
