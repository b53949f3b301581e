"""Callbacks: what is called at fixed points of training, evaluation and prediction."""
from .backup import BackupAndRestore
from .base import Callback, CallbackList
from .control import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from .loggers import (BaseLogger, CSVLogger, History, LambdaCallback, ProgbarLogger, TerminateOnNaN)
from .report import RemoteMonitor, TqdmProgress
from .tensorboard import TensorBoard

__all__ = ["BackupAndRestore", "BaseLogger", "CSVLogger", "Callback", "CallbackList",
           "EarlyStopping", "History", "LambdaCallback", "LearningRateScheduler",
           "ModelCheckpoint", "ProgbarLogger",
           "ReduceLROnPlateau", "RemoteMonitor", "TensorBoard", "TerminateOnNaN", "TqdmProgress"]
