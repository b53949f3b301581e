"""Values of variables from one rank to all."""
import numpy as np

from .. import backend as K
from .. import devices
from .communicator import current


def broadcast_variables(variables, root_rank=0):
    """Gives variables on all ranks the values they have on rank `root_rank`; on GPUs from one to
    the others, without the host, if NCCL is there."""
    group, device = current(), devices.current()
    group.check_root(root_rank)
    if group.size > 1 and device.target.kernels:
        from ..devices.rank_links import link_of
        places = [device.storage(v) for v in variables]
        link_of(device, group).broadcast(places, root_rank)
        device.changes += 1
        return
    values = [np.array(v, order="C") for v in K.batch_get_value(variables)]
    for value in values:
        group.broadcast(value, root_rank)
    K.batch_set_value(list(zip(variables, values, strict=True)))
