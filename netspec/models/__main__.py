"""List the nets that come with netspec, show the source of one, or copy it.

    python -m netspec models [NAME] [-o FILE | FOLDER] [--force]

Without NAME every net has a line. With it the source of that net goes to standard
output, or with `-o` into a file, together with the files beside it that it imports. A
NAME may be that of a solver or of a package of layers in Python, too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec import bundled
from netspec.commands.cli import Parser, run
from netspec.errors import FileError, SpecError
from netspec.files import make_folder, replacing


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.models"
) -> int:
    """Run the command; return its exit status."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if options.name is None and (options.output or options.force):
        parser.error("-o and --force are for a copy: say of which model")
    if options.force and not options.output:
        parser.error("--force goes with -o")
    return run(lambda: _command(options))


def _command(options: Any) -> None:
    if options.name is None:
        _list()
        return
    path = bundled.path_of(options.name)
    if options.output:
        _copy(path, options.output, force=options.force)
    elif path.is_dir():
        raise SpecError(
            f"{options.name} is a package of {len(list(path.glob('*.py')))} files; "
            f"copy it with -o FOLDER"
        )
    else:
        sys.stdout.write(path.read_text(encoding="utf-8"))


def _list() -> None:
    """Print names and lines: of nets, and then of what goes with them."""
    nets = bundled.nets()
    others = {k: path for k, path in bundled.files().items() if k not in nets}
    width = max(len(name) for name in (*nets, *others))
    for name, path in nets.items():
        print(f"{name:<{width}}  {bundled.first_line(path)}")
    print("\nSolvers, and layers in Python:")
    for name, path in others.items():
        print(f"{name:<{width}}  {bundled.first_line(path)}")


def _copy(path: Path, output: str, *, force: bool) -> None:
    """Copy a model with the files that it imports, and say what was written."""
    target = Path(output)
    if path.is_dir():
        target = target / path.name if target.is_dir() else target
        pairs = [(file, target / file.name) for file in sorted(path.glob("*.py"))]
        make_folder(target)
    else:
        if target.is_dir() or output.endswith("/"):
            make_folder(target)
            target /= path.name
        beside = bundled.neighbours(path)
        pairs = [(path, target), *((x, target.with_name(x.name)) for x in beside)]
    contents = {to: file.read_bytes() for file, to in pairs}
    for to, content in contents.items():
        if to.exists() and not force and to.read_bytes() != content:
            raise FileError(
                f"{to}: is there already, with other contents; --force replaces it"
            )
    for to, content in contents.items():
        with replacing(to) as file:
            file.write(content)
        print(to)
    if path.suffix == ".py" and target.stem != path.stem:
        print(f"its net: --net {path.stem}")


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="List the nets that come with netspec, show the source of one, or "
        "copy it.",
        examples=(
            "",
            "googlenet",
            "googlenet -o googlenet.py",
            "resnet50 -o mine/",
            "lenet_solver -o solver.prototxt",
        ),
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a net, a solver, or a package of layers; without it all are listed",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file or folder to write; what the net imports is written beside it",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace files that are there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
