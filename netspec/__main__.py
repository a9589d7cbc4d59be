"""The command `netspec`: one table of its commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.dispatch import chosen

# Name, module (and its function, if that is not main), and what it does. Only the
# module that is called is imported.
COMMANDS = {
    "export": ("netspec.export", "write a net as prototxt, binary or ONNX"),
    "deploy": ("netspec.export:deploy_command", "write the net for use"),
    "summary": ("netspec.summary.__main__", "print what a net costs, layer by layer"),
    "draw": ("netspec.draw.__main__", "draw a net, as a picture or a page"),
    "flatten": ("netspec.flatten", "write a net with modules as a plain one"),
    "to-python": ("netspec.to_python.__main__", "write a net as Python source"),
    "models": ("netspec.models.__main__", "list the nets that come along, copy one"),
    "weights": ("netspec.weights.__main__", "turn a weight file into another format"),
    "surgery": ("netspec.surgery.__main__", "operate on a net and its values"),
    "forks": ("netspec.forks.__main__", "list forks of Caffe, or tell a file's own"),
}
DESCRIPTION = "Write, look at and change Caffe nets."
EXAMPLES = (
    "models",
    "summary googlenet",
    "export googlenet -o train_val.prototxt",
    "draw train_val.prototxt -o net.html",
    "export --help",
)


def main(arguments: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Run one command; return its exit status."""
    prog = prog or program()
    lines = {name: line for name, (_, line) in COMMANDS.items()}
    name, words = chosen(prog, DESCRIPTION, lines, arguments, EXAMPLES)
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), function or "main")
    status: int = command(words, prog=f"{prog} {name}")
    return status


def program() -> str:
    """Return how this was called: as a console command or as a module."""
    name = Path(sys.argv[0]).stem
    return "netspec" if name == "netspec" else "python -m netspec"


if __name__ == "__main__":
    sys.exit(main())
