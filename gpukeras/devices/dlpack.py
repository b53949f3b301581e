"""Arrays of other libraries (CuPy, torch, JAX ...), read where they are: DLPack and
__cuda_array_interface__."""
from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from .array import DeviceArray

if TYPE_CHECKING:
    from .base import Device
    from .driver import Driver

_CPU, CUDA, _PINNED, MANAGED = 1, 2, 3, 13         # DLDeviceType of dlpack.h
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}          # DLDataTypeCode, as NumPy's letters


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32),
                ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8),
                ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


class Foreign:
    """Memory that another library allocated; `owner` keeps it."""

    freed = False

    def __init__(self, owner: Any, ptr: int, nbytes: int) -> None:
        self.owner, self.ptr, self.nbytes = owner, ptr, nbytes

    def bytes(self, offset: int, nbytes: int) -> np.ndarray:
        """Part of it as uint8, for the emulator, whose device memory is the computer's."""
        memory = (ctypes.c_uint8 * nbytes).from_address(self.ptr + offset)
        memory.owner = self
        return np.frombuffer(memory, np.uint8)

    def tail_intact(self) -> bool:
        return True


def adopt(x: Any, device: Device) -> Any:
    """`x` as `device` can read it, without a copy where that can be.

    # Returns
        A DeviceArray for what lies on the GPU that `device` is. A NumPy view of what lies in the
        computer's memory. A NumPy copy of what is on another GPU. `x` itself if it is nothing of
        the kind.
    """
    if isinstance(x, (np.ndarray, DeviceArray)):
        return x
    if not hasattr(x, "__dlpack_device__"):
        if not hasattr(x, "__cuda_array_interface__"):
            return x
        found = _on_device(x, device)
        return _downloaded(x) if found is None else found
    if hasattr(x, "detach"):
        x = x.detach()                             # torch hands out nothing that wants gradients
    if "bfloat16" in str(x.dtype) and hasattr(x, "float"):
        x = x.float()                              # NumPy has no such type
    if x.__dlpack_device__()[0] in (_CPU, _PINNED):
        try:
            return np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError):
            return np.asarray(x)
    found = _on_device(x, device)
    return _downloaded(x) if found is None else found


def _on_device(x: Any, device: Device) -> DeviceArray | None:
    found = device.adopt(x)
    if found is None and hasattr(x, "contiguous"):           # torch: a copy on the device
        found = device.adopt(x.contiguous())
    elif found is None and hasattr(x, "copy"):               # CuPy: the same
        found = device.adopt(x.copy(order="C"))
    return found


def _downloaded(x: Any) -> np.ndarray:
    """A copy in the computer's memory, in the words of x's library."""
    for name in ("get", "copy_to_host", "numpy"):            # CuPy, Numba, TensorFlow
        if hasattr(x, name) and not hasattr(x, "cpu"):
            return np.asarray(getattr(x, name)())
    return x.cpu().numpy() if hasattr(x, "cpu") else np.asarray(x)


def view(driver: Driver, x: Any, kinds: Sequence[int], number: int, stream: int
         ) -> DeviceArray | None:
    """The memory of `x` as an array of the driver; None if it is out of reach or not contiguous.

    # Arguments
        kinds, number: which devices of DLPack the driver reads.
        stream: of the driver; x's library makes it wait for its own work. -1: there is none.
    """
    if not hasattr(x, "__dlpack_device__"):
        return _of_interface(driver, x)
    kind, place = x.__dlpack_device__()
    if kind not in kinds or place != number:
        return None
    return _of_capsule(driver, x.__dlpack__(stream=stream))


def _of_capsule(driver: Driver, capsule: Any) -> DeviceArray | None:
    """The capsule stays as it is: what it shows is given back when it goes."""
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(address(capsule, b"dltensor"))
    if tensor.code not in _KINDS or tensor.lanes != 1 or not tensor.data:
        return None
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[:tensor.ndim])
    strides = tensor.strides[:tensor.ndim] if tensor.strides else None
    if strides is not None and not _is_contiguous(shape, [s * dtype.itemsize for s in strides],
                                                  dtype):
        return None
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = Foreign(capsule, tensor.data + tensor.byte_offset, nbytes)
    return DeviceArray(driver, memory, 0, dtype, shape)


def _of_interface(driver: Driver, x: Any) -> DeviceArray | None:
    """By __cuda_array_interface__, for those that do not know DLPack."""
    given = x.__cuda_array_interface__
    dtype, shape, strides = np.dtype(given["typestr"]), given["shape"], given.get("strides")
    ptr = given["data"][0]
    if not ptr or (strides is not None and not _is_contiguous(shape, strides, dtype)):
        return None
    if given.get("stream") is not None:
        driver.wait_for(given["stream"])
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return DeviceArray(driver, Foreign(x, ptr, nbytes), 0, dtype, shape)


def _is_contiguous(shape: Sequence[int], strides: Sequence[int], dtype: np.dtype) -> bool:
    """Strides in bytes; those of axes of one element say nothing."""
    expected = dtype.itemsize
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
