"""TensorBoard under the other module name of Keras 2.3.1."""
from .tensorboard import TensorBoard

__all__ = ["TensorBoard"]
