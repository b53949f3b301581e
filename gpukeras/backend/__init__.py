"""K: the functions that Keras code is written in, as names for the ops of the graph."""
from .core import *
from .math import *
from .nn import *
from .random import *
from .settings import *
from .shape import *
