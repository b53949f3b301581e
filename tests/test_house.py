"""The house rules that a program can check: sizes, floors, records, flags."""
from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gpukeras"
KERNELS = ROOT / "cuda_kernels"

FILE_LINES, FUNCTION_LINES, COLUMNS, FLAGS = 600, 60, 100, 8

_LADDER = [
    "errors config team blas denormals native", "graph", "ops", "passes", "devices", "function",
    "replicated", "backend",
    "configured policy weighting loss_scale",
    "losses optimizers initializers regularizers constraints activations",
    "metrics", "layers",
    "callbacks exchange", "models utils preprocessing", "applications datasets parallel wrappers",
    "engine objectives legacy compat hvd mixed_precision", "__main__"]
FLOORS = {name: floor for floor, names in enumerate(_LADDER) for name in names.split()}
TOP = max(FLOORS.values())
# utilities that know no tensors and import nothing of ours but each other: floor 0
GENERIC = ("legacy.interfaces", *(f"utils.{name}_utils" for name in (
    "generic", "conv", "np", "io", "data", "layer")))
CODE = (".py", ".cu", ".cuh", ".h", ".cpp")


def sources(*folders: pathlib.Path, suffixes=CODE) -> list[pathlib.Path]:
    return sorted(p for folder in folders if folder.exists() for p in folder.rglob("*")
                  if p.suffix in suffixes and not {".venv", "build"} & set(p.parts))


def all_sources() -> list[pathlib.Path]:
    return sources(PACKAGE, KERNELS, ROOT / "tests", ROOT / "examples", ROOT / "benchmarks")


def short(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(read(path), short(path))


def test_files_are_under_600_lines():
    counts = {short(p): len(read(p).splitlines()) for p in all_sources()}
    assert not {name: n for name, n in counts.items() if n > FILE_LINES}


def test_lines_are_under_100_columns():
    long = [f"{short(p)}:{i}" for p in all_sources()
            for i, line in enumerate(read(p).splitlines(), 1) if len(line) > COLUMNS]
    assert not long


def test_test_modules_have_names_of_their_own():
    names = [p.name for p in sources(ROOT / "tests", suffixes=(".py",)) if p.name != "__init__.py"]
    tests = [name for name in names if name.startswith("test_")]
    assert not {name for name in tests if tests.count(name) > 1}, "pytest imports them by name"


def function_lines(node: ast.AST) -> int:
    """Lines of a function from `def` on, without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def test_functions_are_under_60_lines():
    functions = [(p, node) for p in all_sources() if p.suffix == ".py"
                 for node in ast.walk(parse(p))
                 if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    long = [f"{short(p)}:{node.lineno} {node.name} {function_lines(node)}"
            for p, node in functions if function_lines(node) > FUNCTION_LINES]
    assert not long


# ---- floors

def floor_of(module: str) -> int:
    """Floor of a dotted name below gpukeras ('' is the package itself: the roof)."""
    if module.startswith(GENERIC):
        return 0
    if module == "utils.test_utils":               # it tries layers out in whole models
        return TOP
    return FLOORS.get(module.split(".")[0], TOP + 1)


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: pathlib.Path, tree: ast.Module):
    """(line, name, ours) of every import: a dotted name below gpukeras, or a foreign package's."""
    here = path.relative_to(PACKAGE).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                ours = alias.name.split(".")[0] == "gpukeras"
                yield node.lineno, alias.name.partition(".")[2] if ours else alias.name, ours
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level:
                base = [*here[:len(here) - node.level + 1], *module]
            elif module[0] == "gpukeras":
                base = module[1:]
            else:
                yield node.lineno, node.module, False
                continue
            base = [part for part in base if part]
            for alias in node.names:
                target = PACKAGE.joinpath(*base, alias.name)
                is_module = target.with_suffix(".py").exists() or target.is_dir()
                yield node.lineno, ".".join(base + [alias.name] if is_module else base), True


def package_files() -> list[pathlib.Path]:
    return [p for p in sources(PACKAGE, suffixes=(".py",)) if p != PACKAGE / "__init__.py"]


def points_down(module: str, name: str) -> bool:
    floor, other = floor_of(module), floor_of(name)
    return bool(name) and (other < floor or other == floor == 0
                           or module.split(".")[0] == name.split(".")[0] and floor > 0)


def test_imports_point_down():
    up = [f"{short(p)}:{line}: gpukeras.{name} is not below"
          for p in package_files() for line, name, ours in imported(p, parse(p))
          if ours and not points_down(module_of(p), name)]
    assert not up


def test_every_module_has_a_floor():
    assert not [short(p) for p in package_files() if floor_of(module_of(p)) > TOP]


def test_only_devices_import_cupy():
    foreign = [f"{short(p)}:{line}" for p in package_files()
               if module_of(p).split(".")[0] != "devices"
               for line, name, ours in imported(p, parse(p))
               if not ours and name.split(".")[0] in ("cupy", "cupyx", "cuda")]
    assert not foreign


_PROBE = """
import sys, gpukeras
names = "cupy cuda torch tensorflow jax matplotlib PIL scipy pandas".split()
big = [name for name in names if name in sys.modules]
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
big += [name for name in ("libcuda", "libnvrtc", "libcublas") if name in maps]
sys.exit(f"loaded at import: {big}" if big else 0)
"""


def test_import_touches_no_device_and_no_big_package():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tests_start_without_torch():
    """`make test` installs no torch (5 GB): what compares with it asks pytest.importorskip."""
    early = [f"{short(p)}:{node.lineno}" for p in sources(ROOT / "tests", suffixes=(".py",))
             for node in parse(p).body if isinstance(node, (ast.Import, ast.ImportFrom))
             for alias in node.names if "torch" in (alias.name, getattr(node, "module", None))]
    assert not early


# ---- flags

def test_flags_are_few_and_documented():
    flag = re.compile(r"\bGPUKERAS_[A-Z_]+\b")
    used = {name for p in sources(PACKAGE) for name in flag.findall(read(p))}
    config = PACKAGE / "config.py"
    known = set(flag.findall(read(config))) if config.exists() else set()
    assert used <= known, f"not in gpukeras/config.py: {sorted(used - known)}"
    assert len(known) <= FLAGS


# ---- kernels

ENTRY = re.compile(r'extern "C" __global__\s+(?:void\s+)?(?:__launch_bounds__\([^)]*\)\s*)?'
                   r'(?:void\s+)?(\w+)\(')


def kernel_files() -> list[pathlib.Path]:
    return sources(KERNELS, suffixes=(".cu",))


def words_in(paths) -> set[str]:
    return {word for p in paths for word in re.findall(r"\w+", read(p))}


def test_kernel_entries_are_described_and_launched():
    names = words_in(sources(ROOT / "tests", PACKAGE / "ops", PACKAGE / "passes",
                             PACKAGE / "devices", suffixes=(".py",)))
    wrong, seen = [], {}
    for path in kernel_files():
        text = read(path)
        for entry in ENTRY.findall(text):
            if not re.search(rf"\b{entry}\b", text[:text.find("#include")]):
                wrong.append(f"{path.name}: the header does not describe {entry}")
            if entry not in names:
                wrong.append(f"{path.name}: nothing launches {entry}")
            if seen.setdefault(entry, path) is not path:
                wrong.append(f"{path.name}: {entry} is in {seen[entry].name} too")
    assert not wrong


def test_kernel_files_say_what_they_hold():
    assert not [p.name for p in sources(KERNELS) if not read(p).startswith(f"// {p.name} - ")]


# ---- ops

# bases, and ops whose body is a graph: tests/engine and tests/kernels have their tests
FRAMES = {"Composite", "Elementwise", "Fused", "FusedSums", "Scan", "ForwardMap", "DataGradMap",
          "WeightGradMap"}


def op_classes() -> dict[str, pathlib.Path]:
    """Name -> file of every class in gpukeras/ops that says what it computes or infers."""
    found = {}
    for path in sources(PACKAGE / "ops", suffixes=(".py",)):
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef) and node.name not in FRAMES and node.name[0] != "_":
                methods = {s.name for s in node.body if isinstance(s, ast.FunctionDef)}
                if methods & {"numpy", "expand", "infer"}:
                    found[node.name] = path
    return found


def test_every_op_has_a_case():
    cases = list((ROOT / "tests" / "ops").glob("cases_*.py"))
    if not cases:
        pytest.skip("no tables of cases yet")
    rows = words_in(cases)
    assert not [f"{short(path)}: {name}" for name, path in op_classes().items()
                if name not in rows]
