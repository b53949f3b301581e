"""CIFAR-100: small colour pictures of a hundred kinds of things (Krizhevsky 2009)."""
from . import cifar

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"


def load_data(label_mode="fine"):
    """50,000 pictures to train on and 10,000 to test.

    # Arguments
        label_mode: "fine" for 100 classes, "coarse" for 20.

    # Returns
        (x_train, y_train), (x_test, y_test) as for `cifar10.load_data`.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError('`label_mode` must be one of `"fine"`, `"coarse"`, got '
                         f"{label_mode!r}.")
    return cifar.load("cifar-100-python", ORIGIN, ["train"], ["test"], label_mode + "_labels")
