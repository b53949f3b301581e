"""What setup.cfg cannot say: cuda_kernels/ is installed as the package gpukeras.cuda_kernels."""
from setuptools import find_packages, setup

SOURCES = ["*.cu", "*.cuh", "*.h", "*.hpp", "*.cpp"]

setup(
    packages=find_packages(include=["gpukeras", "gpukeras.*"]) + ["gpukeras.cuda_kernels"],
    package_dir={"gpukeras.cuda_kernels": "cuda_kernels"},
    package_data={"gpukeras.cuda_kernels": SOURCES,
                  "gpukeras.devices": ["emu/*", "*.h", "*.cpp"],
                  "gpukeras.datasets": ["*.npz", "*.txt"]},
)
