"""Sequential, by Keras's path."""
from ..layers import Input, InputLayer, Layer
from ..models import Model, Sequential
