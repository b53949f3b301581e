"""Training on several devices and on several machines."""

from .multi_gpu import multi_gpu_model

__all__ = ["multi_gpu_model"]
