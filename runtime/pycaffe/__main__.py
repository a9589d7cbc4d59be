"""Run a script that was written for Caffe: `python -m runtime.pycaffe SCRIPT ARGS`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.version import version
from runtime.pycaffe.aliases import install

USAGE = """usage: python -m runtime.pycaffe SCRIPT [ARGUMENT ...]

Run a script in which `import caffe` means runtime.pycaffe.

options:
  -h, --help  show this help message and exit
  --version   show the version and exit

examples:
  python -m runtime.pycaffe train.py --gpu 0"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    if words[0] == "--version":
        print(f"netspec {version()}")
        return 0
    script = Path(words[0])
    if not script.is_file():
        print(f"{script}: no such file", file=sys.stderr)
        return 2
    try:
        compile(script.read_bytes(), str(script), "exec")
    except SyntaxError as error:
        print(
            f"{script}:{error.lineno}: {error.msg}\nIf the script is for Python 2, "
            f"convert it first, as with 2to3 or python-modernize.",
            file=sys.stderr,
        )
        return 1
    install()
    sys.argv = words
    sys.path[0] = str(script.parent.resolve())
    runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
