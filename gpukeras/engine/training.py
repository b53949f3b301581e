"""Model, by Keras's path."""
from ..models import Model
from ..models.network import Network
