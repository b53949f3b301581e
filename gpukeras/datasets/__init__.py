"""Data sets: `digits` ships with the package, the others come from Keras's cache or the network."""
from . import digits, mnist
