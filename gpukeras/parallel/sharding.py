"""A rank's part of data that are not in memory."""
from ..utils.data_utils import Sequence
from ..utils.io_utils import HDF5Matrix


class EverySo(Sequence):
    """`count` batches of another Sequence: number `first`, and every `step`-th after it."""

    def __init__(self, whole, first, step, count):
        self.whole, self.first, self.step, self.count = whole, first, step, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(f"batch {index}: got a part of {self.count} batches")
        return self.whole[self.first + index * self.step]

    def on_epoch_end(self):
        self.whole.on_epoch_end()


def rows_of_file(data, start, end):
    """Rows start to end of an HDF5Matrix or an h5py data set, as an HDF5Matrix."""
    if isinstance(data, HDF5Matrix):
        name, first, normalizer = data.data.name, data.start, data.normalizer
        path = data.data.file.filename
    else:
        name, first, normalizer, path = data.name, 0, None, data.file.filename
    return HDF5Matrix(path, name, first + start, first + end, normalizer)
