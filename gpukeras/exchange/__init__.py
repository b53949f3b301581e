"""Models and weights for other systems: ONNX graphs, safetensors files."""
from .onnx_file import export_onnx
from .safetensors_file import load_safetensors, save_safetensors

__all__ = ["export_onnx", "load_safetensors", "save_safetensors"]
