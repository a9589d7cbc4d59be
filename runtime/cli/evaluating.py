"""`python -m runtime evaluate`: how well a net does on some data."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from runtime.cli.data_files import data_of
from runtime.cli.field_options import transform_of
from runtime.cli.given_data import add_subject, subject
from runtime.distributed import world
from runtime.distributed.communicator import several
from runtime.evaluation.evaluate import Asked, evaluation
from runtime.evaluation.results import Evaluation


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a net on data",
        description=__doc__,
        examples=(
            "train_val.prototxt --weights net.caffemodel --data x.npy y.npy",
            "train_val.prototxt --weights net.caffemodel --data test_lmdb --top-k 1,5",
            "net.prototxt --weights net.caffemodel --data photos --json",
        ),
    )
    add_subject(parser, "fills the inputs of the net, labels among them")
    parser.add_argument(
        "--top-k",
        type=_ranks,
        default=(),
        metavar="K",
        help="the share of labels among the K best scores; several with commas",
    )
    parser.add_argument(
        "--class-names", metavar="FILE", help="a file with a name on each line"
    )
    parser.add_argument(
        "--worst",
        type=int,
        default=0,
        metavar="N",
        help="show the numbers of the N items with the largest losses",
    )
    parser.add_argument("--json", action="store_true", help="show everything as JSON")
    parser.set_defaults(command=evaluate)


def _ranks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number, or several with commas, got {text!r}"
        ) from None


def evaluate(options: argparse.Namespace) -> int:
    """Run the command."""
    result = evaluation(
        subject(options),
        data_of(options.data),
        Asked(None, options.top_k, options.class_names, 0.5),
        options.batch_size,
        transform_of(options),
        several(world()),
    )
    if options.json:
        found = result.as_dict()
        if options.worst > 0:
            found["worst"] = [list(pair) for pair in result.worst(options.worst)]
        print(json.dumps(_finite(found)))
        return 0
    print(result.text())
    if options.worst > 0:
        _show_worst(result, options.worst)
    return 0


def _show_worst(result: Evaluation, count: int) -> None:
    print("\nlargest losses:")
    for place, loss in result.worst(count):
        print(f"  item {place}: {loss:.6g}")


def _finite(value: Any) -> Any:
    """Return a value without NaN, which is no JSON."""
    if isinstance(value, dict):
        return {key: _finite(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_finite(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
