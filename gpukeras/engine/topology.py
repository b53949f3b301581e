"""Keras's path of earlier times for layers, nodes and networks."""
from ..layers import Input, InputLayer, InputSpec, Layer, Node
from ..models.network import Network
from .saving import (load_weights_from_hdf5_group, load_weights_from_hdf5_group_by_name,
                     save_weights_to_hdf5_group)
from ..utils.layer_utils import get_source_inputs

Container = Network
