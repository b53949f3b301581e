"""CIFAR-10: small colour pictures of ten kinds of things (Krizhevsky 2009)."""
from . import cifar

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


def load_data():
    """50,000 pictures to train on and 10,000 to test.

    # Returns
        (x_train, y_train), (x_test, y_test): x uint8 (n, 32, 32, 3), or (n, 3, 32, 32) if the image
        data format is channels_first; y uint8 (n, 1) with values 0 to 9.
    """
    return cifar.load("cifar-10-batches-py", ORIGIN,
                      [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"])
