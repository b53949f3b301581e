"""What a wheel holds, what the tools choose, and the whole install in a fresh environment."""
import configparser
import os
import pathlib
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SUFFIXES = (".py", ".cu", ".cuh", ".h", ".cpp", ".npz", ".txt")
sys.path.insert(0, str(ROOT / "tools"))
import make_venv  # noqa: E402


def run(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("version, extra", [(11080, None), (12000, "cuda12"), (12090, "cuda12"),
                                            (13000, "cuda13"), (13020, "cuda13")])
def test_cupy_follows_the_driver(version, extra):
    found, why = make_venv.choose(version)
    assert found == extra and f"CUDA {version // 1000}.{version % 1000 // 10}" in why


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    run(*pip, "-w", folder, ROOT, cwd=folder)
    found, = folder.glob("*.whl")
    return found


def requirements():
    """Names that `pip install .` brings, without extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    return [re.match(r"[\w-]+", line)[0] for line in lines if line and not line.startswith("#")]


def test_an_install_takes_at_most_120_mb():
    """Packages as they are installed here, with their compiled Python files."""
    sizes = {name: sum(os.path.getsize(path) for path in map(distribution(name).locate_file,
                                                             distribution(name).files)
                       if os.path.exists(path)) for name in requirements()}
    sizes["gpukeras"] = 2 * sum(path.stat().st_size for top in ("gpukeras", "cuda_kernels")
                                for path in (ROOT / top).rglob("*")
                                if path.suffix in SUFFIXES)
    assert {"numpy", "h5py"} <= set(sizes) and sizes["numpy"] > 2e7
    assert sum(sizes.values()) < 120e6, sizes


@pytest.mark.slow
def test_wheel_holds_every_source_and_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {"gpukeras": ROOT / "gpukeras", "gpukeras/cuda_kernels": ROOT / "cuda_kernels"}
    expected = {f"{top}/{path.relative_to(folder).as_posix()}" for top, folder in tops.items()
                for path in folder.rglob("*")
                if path.suffix in SUFFIXES}
    assert any(name.endswith(".cu") for name in expected)
    assert sorted(expected - names) == []


@pytest.mark.slow
def test_installed_package_finds_kernels_and_data(wheel, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    run(*pip, "--target", tmp_path / "site", wheel, cwd=tmp_path)
    code = ("import gpukeras, gpukeras.devices.sources as s; from gpukeras.datasets import digits; "
            "assert 'site' in gpukeras.__file__; print(len(s.kernel_files()), "
            "all(s.kernel_source(f) for f in s.kernel_files()), len(digits.load_data()[0][0]))")
    out = run(sys.executable, "-c", f"import sys; sys.path.insert(0, 'site'); {code}", cwd=tmp_path)
    kernels = len(list((ROOT / "cuda_kernels").glob("*.cu")))
    assert out.split() == [str(kernels), "True", "1438"]
