"""`python -m runtime check-gradients`: compare gradients with central differences."""

from __future__ import annotations

import argparse
from typing import Any

from netspec.commands.cli import FAILED, positive
from netspec.commands.net_argument import add_shape_option, net_to_run
from netspec.errors import SpecError
from netspec.nets.phases import PHASES
from runtime.checking.gradients import EPS, RTOL, SAMPLES, check_gradients
from runtime.cli.options import add_allow_python, add_model, add_state


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "check-gradients",
        help="check the gradients of a net",
        description=__doc__,
        examples=(
            "train_val.prototxt --shape data=2,3,227,227 --shape label=2",
            "lenet --shape data=2,1,28,28 --shape label=2",
            "net.py --wrt conv1 --samples 50",
        ),
    )
    add_model(parser)
    add_shape_option(parser)
    parser.add_argument(
        "--wrt",
        action="append",
        metavar="NAME",
        help="blob, layer, or layer[slot] to check with respect to; repeat for several "
        "(default: inputs and parameters)",
    )
    _add_number(parser, "--eps", EPS, "the step of the differences")
    _add_number(parser, "--rtol", RTOL, "the largest relative error that is not wrong")
    parser.add_argument(
        "--samples",
        type=positive,
        default=SAMPLES,
        metavar="N",
        help=f"how many elements of each array to check (default {SAMPLES})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of inputs, samples, fillers and dropout"
    )
    parser.add_argument("--weights", metavar="FILE", help="parameters to check with")
    add_state(parser, "TRAIN")
    add_allow_python(parser)
    parser.set_defaults(command=command)


def _add_number(
    parser: argparse.ArgumentParser, option: str, default: float, what: str
) -> None:
    parser.add_argument(
        option,
        type=float,
        default=default,
        metavar="X",
        help=f"{what} (default {default:g})",
    )


def command(options: argparse.Namespace) -> int:
    """Run the command; fail where a gradient is wrong, or where nothing was checked."""
    phase = PHASES[options.phase]
    given = net_to_run(options, phase=phase)
    result = check_gradients(
        given.net,
        shapes=dict(options.shape),
        wrt=options.wrt,
        eps=options.eps,
        rtol=options.rtol,
        samples=options.samples,
        seed=options.seed,
        phase=phase,
        level=given.level,
        stages=given.stages,
        weights=options.weights,
        allow_python=options.allow_python,
    )
    print(result)
    if not result.rows:
        raise SpecError(f"{options.net}: no gradient to check")
    return 0 if result.ok else FAILED
