"""Exit with a plain sentence unless a GPU, CuPy and the other modules named are there:
need_gpu.py "make test-gpu" pytest
"""
import importlib
import sys

from make_venv import cuda_extra


def main(what, *modules):
    extra, why = cuda_extra()
    if extra is None:
        sys.exit(f"{what} needs an NVIDIA GPU with a driver for CUDA 12 or newer "
                 f"({why.split(':')[0]})")
    for module, needed in (("cupy", extra), ("h5py", ""), *((m, "dev") for m in modules)):
        try:
            importlib.import_module(module)
        except ImportError as error:
            target = f"-e '.[{needed}]'" if needed else "-e ."
            sys.exit(f"{what} needs {module} ({error}). "
                     f"Try: {sys.executable} -m pip install {target}")
    import cupy
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"GPU: {name}, CuPy {cupy.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
