"""Saving and loading, by Keras's path."""
from ..models.h5_reading import assign_by_name, assign_by_order, weights_group
from ..models.h5_writing import write_weights
from ..models.network_config import model_from_config, model_from_json, model_from_yaml
from ..models.saving import load_model, save_model


def load_weights_from_hdf5_group(f, layers, reshape=False):
    """Read weights from an open HDF5 file or group, layer by layer in their order."""
    assign_by_order(weights_group(f), layers, reshape)


def load_weights_from_hdf5_group_by_name(f, layers, skip_mismatch=False, reshape=False):
    """Read weights from an open HDF5 file or group into the layers of the same names."""
    assign_by_name(weights_group(f), layers, skip_mismatch, reshape)


def save_weights_to_hdf5_group(group, layers):
    """Write weights into an open HDF5 file or group."""
    write_weights(group, layers)
