"""Make .venv and install this checkout into it, with the CuPy that fits the NVIDIA driver, if any.

Runs under any Python 3.10 or newer and needs nothing else:  python3 tools/make_venv.py .venv
Adds what the tests need to it:  .venv/bin/python tools/make_venv.py --add-tests .venv
"""
import ctypes
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]


def cuda_extra():
    """(extra of setup.cfg that fits this machine or None, sentence that says why)."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None, "no NVIDIA driver here: installing for the CPU"
    version, devices = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
        return None, "an NVIDIA driver but no usable GPU: installing for the CPU"
    driver.cuDriverGetVersion(ctypes.byref(version))
    return choose(version.value)


def choose(version):
    """Extra for a driver version such as 12040 (CUDA 12.4)."""
    text = f"NVIDIA driver for CUDA {version // 1000}.{version % 1000 // 10}"
    if version < 12000:
        return None, f"{text}, CuPy needs 12.0 or newer: installing for the CPU"
    extra = "cuda13" if version >= 13000 else "cuda12"
    return extra, f"{text}: installing gpukeras[{extra}]"


def install(folder, *extras):
    """True if pip could install this checkout with these extras into a virtual environment."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e",
               f"{ROOT}[{','.join(extras)}]"]
    return subprocess.run([str(part) for part in command], check=False).returncode == 0


def make(folder):
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, ImportError):
        sys.exit("cannot make a virtual environment. Try: apt install python3-venv")
    if not install(folder, "plots"):
        sys.exit("pip could not install gpukeras; its message is above")
    extra, why = cuda_extra()
    print(why)
    if extra and not install(folder, extra):
        print("CuPy could not be installed (its message is above): this runs on the CPU. "
              f"Try again: {folder}/bin/python -m pip install -e '.[{extra}]'")
    (folder / "ready").write_text(f"{why}\n")


def add_tests(folder):
    extra, _ = cuda_extra()
    # a driver for CUDA 12 cannot load what NVRTC 13 compiles; CuPy's extra has the one that fits
    if not install(folder, "dev", "mpi", *([] if extra else ["nvrtc"])):
        sys.exit("pip could not install what the tests need; its message is above")
    (folder / "dev").touch()


def main(arguments):
    if sys.version_info < (3, 10):
        sys.exit(f"gpukeras needs Python 3.10 or newer, this is {sys.version.split()[0]}. "
                 "Try: make PYTHON=python3.12 ...")
    action = add_tests if "--add-tests" in arguments else make
    action(pathlib.Path(arguments[-1]))


if __name__ == "__main__":
    main(sys.argv[1:])
