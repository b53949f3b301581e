"""The graph: types, tensors, nodes, variables, walking, gradients, printing. Pure: no device, no
arithmetic."""
from .gradient import gradients
from .leaves import Constant, Placeholder, Variable, as_tensor, constant_value, learning_phase
from .op import Mark, Op, apply, mark
from .origin import Origin, layer_scope, origin_scope
from .printing import print_graph
from .tensor import Node, Tensor
from .types import TensorType, broadcast_shapes, is_float, promote
from .walk import Graph, rebuild, toposort

__all__ = ["Constant", "Graph", "Mark", "Node", "Op", "Origin", "Placeholder", "Tensor",
           "TensorType", "Variable", "apply", "as_tensor", "broadcast_shapes",
           "constant_value", "gradients", "is_float", "layer_scope", "learning_phase",
           "mark", "origin_scope", "print_graph", "promote", "rebuild", "toposort"]
