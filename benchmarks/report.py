"""What a GPU program found: on the screen and in a file, each figure as it comes."""
import datetime
import importlib.metadata
import json
import pathlib
import platform

from gpukeras.devices import nvrtc

RESULTS = pathlib.Path(__file__).resolve().parent / "results"


def versions():
    """Of what the figures depend on; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in ("gpukeras", "numpy", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    if not nvrtc.missing():
        found["nvrtc"] = ".".join(map(str, nvrtc.version()))
    return found


class Report:
    """<name>-<date>.json in `folder`; without a folder the screen alone."""

    def __init__(self, name, driver, folder):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.path = folder and pathlib.Path(folder) / f"{name}-{now:%Y%m%d-%H%M}.json"
        self.record = {"date": now.isoformat(timespec="seconds"), "device": driver.device_name,
                       "arch": driver.arch, "versions": versions(), "figures": []}
        print(f"{driver.device_name}, sm_{driver.arch}, {self.record['versions']}", flush=True)

    def add(self, text, **figures):
        """One line, and its figures by name."""
        print(text, flush=True)
        self.record["figures"].append({"text": " ".join(text.split()), **figures})
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.record, indent=1) + "\n")
