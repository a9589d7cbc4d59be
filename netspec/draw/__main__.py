"""Draw a net: `python -m netspec.draw NET -o net.svg`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, add_depth, run
from netspec.commands.fork_options import fork_options
from netspec.commands.net_argument import (
    add_batch_size,
    add_deploy,
    add_net_argument,
    add_shape_option,
    add_state_options,
    given_net,
)
from netspec.draw.colours import THEMES
from netspec.draw.output import check_suffix, write
from netspec.draw.scene import ALL_PHASES, Scene, View
from netspec.errors import SpecError
from netspec.nets.phases import PHASES
from netspec.reading.located import located


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.draw"
) -> int:
    """Run the command."""
    return run(lambda: _command(arguments, prog))


def _command(arguments: Sequence[str] | None, prog: str) -> None:
    parser = Parser(
        prog=prog,
        description="Draw a net, as a picture or as a page in which modules open.",
        examples=(
            "train_val.prototxt -o net.html",
            "googlenet --depth 1 -o googlenet.svg",
            "net.py --open inception_3a --phase TRAIN -o net.svg",
            "lenet --deploy --rankdir LR -o lenet.png",
        ),
    )
    add_net_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="a .svg, .html, .dot, .png or .pdf file; without it SVG goes to standard "
        "output",
    )
    add_state_options(
        parser,
        default=ALL_PHASES,
        choices=(*PHASES, ALL_PHASES),
        phase_help="draw the net of this phase: TRAIN or TEST; ALL (default) draws "
        "both, marking layers",
    )
    parser.add_argument(
        "--rankdir",
        choices=["TB", "LR"],
        default="TB",
        help="from top to bottom (default) or from left to right",
    )
    add_depth(parser, "0")
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
    add_batch_size(parser)
    add_deploy(parser, "draw")
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
        phase = PHASES.get(options.phase)
        given = given_net(options, deploy=options.deploy, phase=phase, settle=True)
        scene = Scene(given.shown, view)
    if options.output is None:
        sys.stdout.write(scene.svg())
    else:
        write(options.output, scene)
        print(options.output)
    if scene.error is not None:
        told = located(scene.error, given.source)
        raise told if told is not scene.error else SpecError(f"{options.net}: {told}")


if __name__ == "__main__":
    sys.exit(main())
