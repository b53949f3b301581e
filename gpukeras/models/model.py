"""Model: a network that can be trained."""
from .network import Network


class Model(Network):
    """Layers between `inputs` and `outputs` that are trained together; arguments as for Network."""
