"""Make .venv and install this checkout into it, with the CuPy that fits the NVIDIA driver, if any.

Runs under any Python 3.10 or newer and needs nothing else:  python3 tools/make_venv.py [FOLDER]
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


def run(*command):
    return subprocess.run([str(part) for part in command], check=False).returncode


def main(folder):
    if sys.version_info < (3, 10):
        sys.exit(f"gpukeras needs Python 3.10 or newer, this is {sys.version.split()[0]}. "
                 "Try: make PYTHON=python3.12 ...")
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, ImportError):
        sys.exit("cannot make a virtual environment. Try: apt install python3-venv")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if run(*pip, "-e", f"{ROOT}[dev]"):
        sys.exit("pip could not install gpukeras; its message is above")
    extra, why = cuda_extra()
    print(why)
    if extra and run(*pip, "-e", f"{ROOT}[{extra}]"):
        print(f"CuPy could not be installed (see above): this runs on the CPU. Try again with "
              f"{python} -m pip install -e '.[{extra}]'")
    (folder / "ready").write_text(f"{why}\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv"))
