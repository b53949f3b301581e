"""Exit with a plain sentence unless CuPy and a GPU are there:  need_gpu.py "make test-gpu"."""
import sys

from make_venv import cuda_extra


def main(what):
    extra, why = cuda_extra()
    if extra is None:
        sys.exit(f"{what} needs an NVIDIA GPU with a driver for CUDA 12 or newer "
                 f"({why.split(':')[0]})")
    try:
        import cupy
    except ImportError as error:
        sys.exit(f"{what} needs CuPy ({error}). "
                 f"Try: .venv/bin/python -m pip install -e '.[{extra}]'")
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"GPU: {name}, CuPy {cupy.__version__}")


if __name__ == "__main__":
    main(sys.argv[1])
