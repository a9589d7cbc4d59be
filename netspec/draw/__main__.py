"""Draw a net: `python -m netspec.draw NET -o net.svg`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, run
from netspec.commands.fork_options import fork_options
from netspec.commands.net_argument import (
    add_net_argument,
    add_shape_option,
    read_net_argument,
)
from netspec.draw.colours import THEMES
from netspec.draw.output import check_suffix, write
from netspec.draw.scene import ALL_PHASES, Scene, View
from netspec.errors import SpecError
from netspec.nets.phases import PHASES
from netspec.reading.located import located

ALL_LEVELS = sys.maxsize


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.draw"
) -> int:
    """Run the command."""
    return run(lambda: _command(arguments, prog))


def _command(arguments: Sequence[str] | None, prog: str) -> None:
    parser = Parser(prog=prog, description="Draw a net.")
    add_net_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="a .svg, .html, .dot, .png or .pdf file; without it SVG goes to standard "
        "output",
    )
    parser.add_argument(
        "--phase",
        choices=[*PHASES, ALL_PHASES],
        default=ALL_PHASES,
        help="draw the net of this phase; ALL (default) draws both, marking layers",
    )
    parser.add_argument(
        "--rankdir",
        choices=["TB", "LR"],
        default="TB",
        help="from top to bottom (default) or from left to right",
    )
    parser.add_argument(
        "--depth",
        type=_depth,
        default=0,
        metavar="N",
        help="how many levels of modules are open: 0 (default), 1, ... or all",
    )
    parser.add_argument(
        "--open",
        action="append",
        default=[],
        metavar="PATH",
        help="open the module of this path, as in inception_3a; repeat for several",
    )
    parser.add_argument(
        "--no-fold",
        action="store_true",
        help="draw equal modules in a row one by one",
    )
    parser.add_argument(
        "--theme",
        choices=THEMES,
        default="auto",
        help="colours of .svg and .html: light, dark, or as the page around wants "
        "(auto, default)",
    )
    add_shape_option(parser, looking=True)
    parser.add_argument("--deploy", action="store_true", help="draw the net for use")
    options = parser.parse_args(arguments)
    if options.output is not None:
        check_suffix(options.output)
    shapes = dict(options.shape)
    view = View(
        phase=options.phase,
        rankdir=options.rankdir,
        depth=options.depth,
        opened=options.open,
        fold=not options.no_fold,
        shapes=shapes,
        theme=options.theme,
    )
    with fork_options(options):
        net = read_net_argument(options.net, deploy=options.deploy, shapes=shapes)
        scene = Scene(net, view)
    if options.output is None:
        sys.stdout.write(scene.svg())
    else:
        write(options.output, scene)
        print(options.output)
    if scene.error is not None:
        told = located(scene.error, options.net)
        raise told if told is not scene.error else SpecError(f"{options.net}: {told}")


def _depth(text: str) -> int:
    """Read a number of levels, or all, for `type=` of an option."""
    if text == "all":
        return ALL_LEVELS
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0, 1, ... or all; got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
