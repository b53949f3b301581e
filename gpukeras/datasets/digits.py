"""1797 handwritten digits of 8 x 8 pixels, inside the package. Origin and licence: digits.txt."""
import pathlib

import numpy as np


def load_data():
    """The digits, always in the same order and split.

    # Returns
        (x_train, y_train), (x_test, y_test): x uint8 (n, 8, 8) with values 0 (paper) to 16 (ink),
        y uint8 (n,) with values 0 to 9; n is 1438 and 359.

    Every fifth digit is a test digit; both parts hold digits by the same 13 people.
    """
    with np.load(pathlib.Path(__file__).with_name("digits.npz")) as file:
        x, y = file["x"], file["y"]
    test = np.arange(len(x)) % 5 == 4
    return (x[~test], y[~test]), (x[test], y[test])
