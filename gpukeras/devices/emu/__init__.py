"""The CUDA path on the CPU: kernels compiled by g++, with real grid, block and warp semantics."""

from .driver import EmuDriver

__all__ = ["EmuDriver"]
