"""Saving and loading, by Keras's path."""
from ..models.saving import load_model, save_model
from ..models.network_config import model_from_config, model_from_json, model_from_yaml
