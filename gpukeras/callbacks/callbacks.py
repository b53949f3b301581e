"""The callbacks under the module name of Keras 2.3.1."""
from .base import Callback, CallbackList
from .control import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from .loggers import (BaseLogger, CSVLogger, History, LambdaCallback, ProgbarLogger, TerminateOnNaN)
from .report import RemoteMonitor

__all__ = ["BaseLogger", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History",
           "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint", "ProgbarLogger",
           "ReduceLROnPlateau", "RemoteMonitor", "TerminateOnNaN"]
