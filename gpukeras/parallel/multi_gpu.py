"""multi_gpu_model: Keras's way to train on several GPUs of one machine.

Each device runs a compiled replica of the step on its rows of the batch (gpukeras/replicated.py).
What a parallel model computes does not depend on how many devices there are, but for rounding:
losses, gradients, metrics, batch statistics and dropout masks are those of the whole batch. With
`gpukeras.config.deterministic = "across devices"` not even rounding differs.
"""
import importlib
from functools import partial

from ..config import number
from ..devices.choose import choose
from ..errors import DeviceError
from ..models import Model
from ..replicated import Replicated


def multi_gpu_model(model, gpus=None, cpu_merge=True, cpu_relocation=False):
    """A model that trains `model` on several devices at once; the template keeps the weights.

    # Arguments
        model: the template, any Model or Sequential.
        gpus: number of devices, at least 2, or a list of their numbers; None: all there are.
        cpu_merge, cpu_relocation: accepted as in Keras; there is nothing for them to decide here.

    # Returns
        A model with the template's inputs and outputs. `save`, `save_weights`, `load_weights`,
        `get_weights`, `set_weights`, `summary` and checkpoints act on the template.

    # Raises
        ValueError: for fewer than two devices, or more than there are. GPUKERAS_VIRTUAL_DEVICES=n
            stands for n devices on any machine: threads of a CPU, or replicas that share a GPU.
    """
    there = devices_there()
    gpus = len(there) if gpus is None else gpus
    several = isinstance(gpus, (list, tuple))
    if (len(gpus) if several else gpus) <= 1:
        raise ValueError("For multi-gpu usage to be effective, call `multi_gpu_model` with "
                         f"`{'len(gpus)' if several else 'gpus'} >= 2`. Received: `gpus={gpus}`")
    wanted = [f"/gpu:{i}" for i in (gpus if several else range(gpus))]
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ValueError(
            f"To call `multi_gpu_model` with `gpus={gpus}`, we expect the following devices to be "
            f"available: {['/cpu:0', *wanted]}. However this machine only has: "
            f"{['/cpu:0', *there]}. Try reducing `gpus`, or GPUKERAS_VIRTUAL_DEVICES="
            f"{max(gpus) + 1 if several else gpus} to stand for them.")
    real = [] if number("GPUKERAS_VIRTUAL_DEVICES") else list(gpus) if several else range(gpus)
    return ParallelModel.of(model, len(wanted), real)


def devices_there():
    """Names of the devices that multi_gpu_model may be given: "/gpu:0", ..."""
    virtual = number("GPUKERAS_VIRTUAL_DEVICES")
    if virtual:
        return [f"/gpu:{i}" for i in range(virtual)]
    return [f"/gpu:{i}" for i in range(_gpus())]


def _gpus():
    """Number of GPUs that CUDA_VISIBLE_DEVICES, as it is now, leaves; in its order."""
    try:
        if choose().name != "cuda":
            return 0
    except DeviceError:                            # GPUKERAS_DEVICE=gpu, and there is none
        return 0
    return importlib.import_module("cupy").cuda.runtime.getDeviceCount()


class ParallelModel(Model):
    """A model over a template, whose weights, files and summary are the template's."""

    template = None

    @classmethod
    def of(cls, template, devices, numbers=()):
        """The parallel model of a built template, on so many devices.

        # Arguments
            numbers: of the GPUs, if they are real ones.
        """
        def one(tensors):
            return tensors[0] if len(tensors) == 1 else list(tensors)

        # over the template's own tensors: its dropout masks are drawn once
        model = cls(one(template.inputs), one(template.outputs))
        model.template = template
        model._compile_step = partial(Replicated, devices=devices, numbers=numbers)
        return model

    def _of_own_calls(self, what):
        found = super()._of_own_calls(what)
        if self.template is not None:              # what its own add_loss, add_metric added
            found = list(dict.fromkeys([*self.template._of_own_calls(what), *found]))
        return found

    def _layer_metrics(self):
        found = super()._layer_metrics()
        if self.template is not None:
            found = list(dict.fromkeys([*self.template._layer_metrics(), *found]))
        return found

    def compile(self, optimizer, *args, **kwargs):
        """As Model.compile; the template is compiled alike, so that its files hold the optimizer.
        """
        super().compile(optimizer, *args, **kwargs)
        self.template.compile(self.optimizer, *args, **kwargs)


def _delegate(name):
    def method(self, *args, **kwargs):
        return getattr(self.template, name)(*args, **kwargs)

    method.__name__, method.__doc__ = name, f"The template's `{name}`."
    return method


for _name in ("save", "save_weights", "load_weights", "get_weights", "set_weights", "summary",
              "profile", "get_config", "to_json", "to_yaml"):
    setattr(ParallelModel, _name, _delegate(_name))
