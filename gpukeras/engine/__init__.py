"""The names that scripts import from `keras.engine`."""
from ..layers import Input, InputLayer, InputSpec, Layer
from ..models import Model
from ..utils.layer_utils import get_source_inputs
from . import base_layer, input_layer, network, saving, sequential, topology, training
