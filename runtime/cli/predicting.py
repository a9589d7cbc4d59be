"""`python -m runtime predict`: what a net makes of all items of some data."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from netspec.errors import SpecError
from netspec.files import replacing
from runtime.cli.data_files import data_of
from runtime.cli.field_options import transform_of
from runtime.cli.given_data import add_subject, subject
from runtime.distributed import world
from runtime.distributed.communicator import several
from runtime.evaluation.predict import predictions
from runtime.training.ranks.first_rank import by_first_rank

FORMATS = (".npz", ".npy", ".csv")


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "predict",
        help="write what a net makes of data",
        description=__doc__,
        examples=(
            "net.prototxt --weights net.caffemodel --data x.npy -o out.npz",
            "net.prototxt --weights net.caffemodel --data photos -o out.csv",
            "net.prototxt --weights net.caffemodel --data x.npy --blobs pool5 -o f.npy",
        ),
    )
    add_subject(parser, "is put into the net for use")
    parser.add_argument(
        "--blobs",
        metavar="NAMES",
        help="blobs that are wanted instead of the outputs, separated by commas",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write to this file: .npz (arrays by name), .npy (one array) or .csv (a "
        "line for each item); without it lines of .csv are shown",
    )
    parser.set_defaults(command=predict)


def predict(options: argparse.Namespace) -> int:
    """Run the command."""
    target = None if options.output is None else Path(options.output)
    if target is not None and target.suffix not in FORMATS:
        raise SpecError(
            f"{target}: the name says no format; expected {', '.join(FORMATS)}"
        )
    names = [name for name in (options.blobs or "").split(",") if name] or None
    ranks = several(world())
    found = predictions(
        subject(options),
        data_of(options.data),
        blobs=names,
        batch_size=options.batch_size,
        transform=transform_of(options),
        ranks=ranks,
    )
    if target is None:
        _write_lines(sys.stdout, found)
        return 0
    by_first_rank(ranks, lambda: _write(target, found))
    told = ", ".join(f"{name} {array.shape}" for name, array in found.items())
    print(f"{target}: {told}")
    return 0


def _write(target: Path, found: Mapping[str, np.ndarray]) -> None:
    if target.suffix == ".npy" and len(found) > 1:
        raise SpecError(
            f"{target}: one array goes into a .npy file, but there are "
            f"{', '.join(found)}; choose one with --blobs, or write .npz"
        )
    with replacing(target) as file:
        if target.suffix == ".csv":
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _write_lines(text, found)
            text.detach()
        elif target.suffix == ".npy":
            np.save(file, next(iter(found.values())))
        else:
            np.savez(file, **found)  # type: ignore[arg-type]


def _write_lines(file: TextIO, found: Mapping[str, np.ndarray]) -> None:
    """Write a line for each item, with all values of all blobs."""
    rows = {name: len(array) if array.ndim else 0 for name, array in found.items()}
    if len(set(rows.values())) > 1 or 0 in rows.values():
        raise SpecError(
            f"blobs have different numbers of rows ({_told(rows)}), so there are no "
            f"lines to write; choose with --blobs, or write .npz"
        )
    flat = [array.reshape(len(array), -1) for array in found.values()]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["item", *_heads(list(found), flat)])
    for place in range(len(flat[0])):
        values = (f"{value:.9g}" for array in flat for value in array[place])
        writer.writerow([place, *values])


def _heads(names: Sequence[str], arrays: Sequence[np.ndarray]) -> Iterator[str]:
    for name, array in zip(names, arrays, strict=True):
        for column in range(array.shape[1]):
            yield f"{name}_{column}" if array.shape[1] > 1 else name


def _told(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in rows.items())
