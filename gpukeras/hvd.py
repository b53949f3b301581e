"""Training on many processes with the names of Horovod's Keras API: `import gpukeras.hvd as hvd`.

    hvd.init()
    x, y = hvd.shard(x, y)
    model.compile(hvd.DistributedOptimizer(Adam(1e-3 * hvd.size())), loss)
    model.fit(x, y, callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)])

`mpirun -n 4 python train.py` runs four; without mpirun the script runs alone.
"""
import numpy as np

from .models import load_model as _load_model
from .parallel import hvd_callbacks as callbacks
from .parallel.broadcasting import broadcast_variables
from .parallel.communicator import average, current, init, shutdown
from .parallel.gradients import average_gradients
from .parallel.sharding import EverySo, rows_of_file
from .utils.data_utils import is_sequence
from .utils.io_utils import HDF5Matrix


def rank():
    """Number of this process, from 0."""
    return current().rank


def size():
    """Number of processes."""
    return current().size


def local_rank():
    """Number of this process on its machine: the GPU to use."""
    return current().local_rank


def local_size():
    """Number of processes on this machine."""
    return current().local_size


class Compression:
    """How gradients travel: Compression.none, or in half the bytes .fp16 or .bf16."""

    none, fp16, bf16 = "none", "fp16", "bf16"


def DistributedOptimizer(optimizer, name=None, device_dense="", device_sparse="",
                         compression=Compression.none, sparse_as_dense=False):
    """The optimizer, for a model that all ranks train together.

    The ranks' batches in `fit` are one batch: loss, metrics, gradients and the statistics of batch
    normalisation are those of all its samples. On GPUs values travel by NCCL if it is there, else
    through the host. With compression gradients alone are averaged over the ranks, before they are
    clipped and applied, through the host.

    # Arguments
        optimizer: any optimizer of gpukeras.
        compression: Compression.none, or Compression.fp16 or .bf16 for messages of half the bytes.
        The others exist because Horovod has them.

    # Returns
        An optimizer of a class with the same name, so that a saved model loads without Horovod.
    """
    base, group = type(optimizer), current()
    as_one = group.size > 1 and compression == Compression.none

    def combine(self, grads):
        grads = base.combine(self, grads)
        return grads if self.in_group else average_gradients(grads, compression)

    made = type(base.__name__, (base,), {"combine": combine, "__module__": base.__module__,
                                         "group": group if as_one else None, "rank": group.rank})
    return made.from_config(optimizer.get_config())


def broadcast_global_variables(root_rank=0, model=None):
    """Gives all ranks the weights, and the optimizer's state, of rank `root_rank`."""
    if model is None:
        raise ValueError("broadcast_global_variables: which model? There are no global variables "
                         "here. Try: broadcast_global_variables(0, model), or the callback")
    broadcast_variables(
        [*model.weights, *getattr(getattr(model, "optimizer", None), "weights", [])], root_rank)


def allreduce(value, name=None, average=True):
    """The mean (or the sum) over all ranks of an array or a number."""
    array = np.array(value)
    total = array.astype(np.float64)
    current().allreduce(total)
    total = total / size() if average else total
    return total.astype(array.dtype) if array.dtype.kind == "f" else total


def allgather(value, name=None):
    """The arrays of all ranks, one after another along the first axis."""
    return np.concatenate([np.asarray(v) for v in current().gather(np.asarray(value))])


def broadcast(value, root_rank, name=None):
    """The array of rank `root_rank`."""
    array = np.array(value)
    current().broadcast(array, root_rank)
    return array


def shard(*arrays, block=1):
    """This rank's part of arrays (or anything with a length and slices), Sequences, HDF5 data.

    Rows are dealt out in blocks: `block` rows to rank 0, the next to rank 1, and so on. With block
    = the ranks' batch size and shuffle=False, a step sees the rows that one process would see in
    the same step. All ranks get equally many rows, so that they do equally many steps: fewer than
    size() * block rows at the end are left out. Of a Sequence a rank gets every size()-th batch,
    of data in an HDF5 file a range of rows, which are not read before they are needed.

    # Returns
        One part by itself, several as a tuple; with blocks, NumPy arrays.
    """
    parts = tuple(_part(a, block) for a in arrays)
    return parts[0] if len(parts) == 1 else parts


def _part(a, block):
    rounds = len(a) // (size() * block)
    if is_sequence(a):
        return EverySo(a, rank(), size(), len(a) // size())
    if isinstance(a, HDF5Matrix) or type(a).__module__.startswith("h5py"):
        count = len(a) // size()
        return rows_of_file(a, rank() * count, (rank() + 1) * count)
    if block == 1:
        return a[rank():rounds * size():size()]
    starts = [(i * size() + rank()) * block for i in range(rounds)]
    return np.concatenate([np.asarray(a[s:s + block]) for s in starts]) if starts else a[:0]


def load_model(filepath, custom_optimizers=None, custom_objects=None,
               compression=Compression.none):
    """`models.load_model`, with the optimizer made a DistributedOptimizer."""
    model = _load_model(filepath, custom_objects=custom_objects)
    if getattr(model, "optimizer", None) is not None:
        _distribute(model, compression)
    return model


def _distribute(model, compression):
    state = model.optimizer.get_weights() if model.optimizer.weights else []
    model.optimizer = DistributedOptimizer(model.optimizer, compression=compression)
    model.compile(model.optimizer, model.loss, metrics=getattr(model, "metrics", None) or None,
                  loss_weights=getattr(model, "loss_weights", None))
    if state:
        model._make_train_function()
        model.optimizer.set_weights(state)


__all__ = ["Compression", "DistributedOptimizer", "allgather", "allreduce", "average", "broadcast",
           "broadcast_global_variables", "callbacks", "init", "load_model", "local_rank",
           "local_size", "rank", "shard", "shutdown", "size"]
