"""Network, by Keras's path."""
from ..layers import InputLayer, Layer, Node
from ..models.network import Network
from ..utils.layer_utils import get_source_inputs, print_summary as print_layer_summary
