"""Lines of code per file and folder: where the project is heavy."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("cuda_kernels", "gpukeras", "tests", "examples", "benchmarks", "tools")
CODE = (".py", ".cu", ".cuh", ".h", ".cpp")


def main():
    total = 0
    for top in FOLDERS:
        for folder in sorted({p.parent for p in (ROOT / top).rglob("*") if p.suffix in CODE}):
            files = sorted(p for p in folder.iterdir() if p.suffix in CODE)
            counts = [len(p.read_text(encoding="utf-8").splitlines()) for p in files]
            print(f"{sum(counts):7d}  {folder.relative_to(ROOT)}/")
            for path, count in zip(files, counts):
                print(f"{count:14d}  {path.name}")
            total += sum(counts)
    print(f"{total:7d}  in all")


if __name__ == "__main__":
    main()
