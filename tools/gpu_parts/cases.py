"""Check recorded cases of Caffe, or one of several parts of them.

    python -m tools.gpu_parts.cases CHECK.PY [--backend NAME] [--part K --parts N]

CHECK.PY is the program that comes with the cases. It prints a line for each of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from tools.gpu_parts.devices import backend


def load(path: Path) -> Any:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("case_checks", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: no Python program")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder: Path) -> list[str]:
    """Return the cases of a folder as group/case."""
    found = folder.rglob("*.npz")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in found)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Check recorded cases.")
    parser.add_argument("check", type=Path)
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take one in so many")
    options = parser.parse_args()
    folder = options.check.resolve().parent / "cases"
    chosen = names(folder)[:: options.every][options.part :: options.parts]
    if not chosen:
        print(f"no cases in {folder}")
        return 1
    module = load(options.check)
    backend(options.backend)
    subject = module.Subject  # its own options know two backends
    module.Subject = lambda runtime, _: subject(runtime, options.backend)
    # A name in brackets is taken as a whole, not for a part of other names.
    patterns = [f"[{name[0]}]{name[1:]}" for name in chosen]
    sys.argv[1:] = ["-v", "--cases", str(folder), *patterns]
    return int(module.main())


if __name__ == "__main__":
    sys.exit(main())
