"""Data sets: `digits` ships with the package, the others come from Keras's cache or the network.

Every `load_data` returns (x_train, y_train), (x_test, y_test). A file that is in the cache folder
(~/.keras/datasets, or KERAS_HOME) already is used; if there is none and the download fails, the
OSError says where to put it by hand.
"""
from . import boston_housing, cifar10, cifar100, digits, fashion_mnist, imdb, mnist, reuters
