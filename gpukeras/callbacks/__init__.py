"""Callbacks: what is called at fixed points of training, evaluation and prediction."""
from .base import Callback, CallbackList
from .control import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from .loggers import (BaseLogger, CSVLogger, History, LambdaCallback, ProgbarLogger, TerminateOnNaN)

__all__ = ["BaseLogger", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History",
           "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint", "ProgbarLogger",
           "ReduceLROnPlateau", "TerminateOnNaN"]
