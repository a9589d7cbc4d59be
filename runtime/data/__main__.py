"""`python -m runtime.data`: make databases that data layers read, and mean images."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.commands.cli import Parser, positive, run
from netspec.errors import SpecError
from runtime.data.annotate import Form, read_annotated, write_annotated
from runtime.data.array_files import read_arrays, write_arrays
from runtime.data.convert import (
    Advance,
    Images,
    ListedImages,
    digits,
    pairs,
    read_idx,
    split,
    write,
)
from runtime.data.label_map import Labels
from runtime.data.lists import read_labelled
from runtime.data.mean import Pictures, check_mean_place, mean_of, write_mean

PROGRAM = "python -m runtime.data"


def main(arguments: Sequence[str] | None = None, *, prog: str = PROGRAM) -> int:
    """Run the command line and return the exit status."""
    return run(lambda: _command(_parser(prog).parse_args(arguments)))


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=__doc__,
        examples=(
            "digits --output digits",
            "images list.txt --size 256 256",
            "mean images_lmdb -o mean.binaryproto",
            "images --help",
        ),
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    bundled = commands.add_parser(
        "digits",
        help="the handwritten digits that scikit-learn bundles",
        examples=("", "--output digits --format hdf5"),
    )
    _add_common(bundled, "digits")

    mnist = commands.add_parser(
        "mnist",
        help="idx files, plain or gzipped",
        examples=(
            "--images train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz",
        ),
    )
    mnist.add_argument(
        "--images", required=True, type=Path, metavar="FILE", help="idx file of images"
    )
    mnist.add_argument(
        "--labels", required=True, type=Path, metavar="FILE", help="idx file of labels"
    )
    mnist.add_argument(
        "--split",
        type=positive,
        metavar="N",
        help="write the first N as OUTPUT_train and the rest as OUTPUT_test",
    )
    _add_common(mnist, "mnist")

    images = commands.add_parser(
        "images",
        help="image files named in a list",
        examples=(
            "list.txt --size 256 256 --shuffle",
            "list.txt --root photos/ --format hdf5 -o photos",
        ),
    )
    images.add_argument(
        "list", type=Path, metavar="LIST", help="a path and a label on every line"
    )
    images.add_argument("--root", default="", help="put in front of every path")
    _add_size(images)
    images.add_argument(
        "--shuffle", action="store_true", help="in a fixed random order"
    )
    images.add_argument("--gray", action="store_true", help="one channel, not three")
    _add_common(images, "images")

    arrays = commands.add_parser(
        "arrays",
        help="NumPy's arrays, .npy or .npz, with labels or targets",
        examples=(
            "x.npy y.npy --split 50000 -o mine",
            "set.npz --format hdf5 --names data,target",
        ),
    )
    arrays.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help=".npy files, of data and then of labels, or one .npz file; the first axis "
        "is that of items",
    )
    arrays.add_argument(
        "--names",
        type=_names,
        metavar="NAMES",
        help="what the arrays are called, with commas (default: data,label, or the "
        "names in the .npz file)",
    )
    arrays.add_argument(
        "--channels-last", action="store_true", help="move channels to the front"
    )
    arrays.add_argument(
        "--shuffle", action="store_true", help="in a fixed random order"
    )
    arrays.add_argument(
        "--split",
        type=positive,
        metavar="N",
        help="write the first N as OUTPUT_train and the rest as OUTPUT_test",
    )
    arrays.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("arrays"),
        metavar="PREFIX",
        help="what the names of the results begin with (default: arrays)",
    )
    _add_format(arrays)
    arrays.add_argument("--force", action="store_true", help="replace what is there")

    boxes = commands.add_parser(
        "annotated",
        help="image files with boxes (VOC, COCO, text), for AnnotatedData",
        examples=(
            "list.txt --label-map labels.prototxt -o boxes",
            "instances_val2017.json --root val2017/ --size 300 300",
        ),
    )
    boxes.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a list with an image and an annotation file (.xml of VOC, .json of SSD, "
        "or text: label xmin ymin xmax ymax) on every line, or COCO's .json of "
        "instances",
    )
    boxes.add_argument(
        "--label-map", type=Path, metavar="FILE", help="the number of every class"
    )
    boxes.add_argument("--root", default="", help="put in front of every path")
    boxes.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="write pixels of this size, not the image files as they are",
    )
    boxes.add_argument("--gray", action="store_true", help="one channel, not three")
    boxes.add_argument(
        "--clip", action="store_true", help="cut boxes at the sides of the image"
    )
    boxes.add_argument("--shuffle", action="store_true", help="in a fixed random order")
    boxes.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("annotated"),
        metavar="PREFIX",
        help="what the name of the result begins with (default: annotated)",
    )
    boxes.add_argument("--force", action="store_true", help="replace what is there")

    mean = commands.add_parser(
        "mean",
        help="the mean image of a database or of a list, as mean_file reads it",
        examples=("images_lmdb", "list.txt --root photos/ --size 256 256 --color"),
    )
    mean.add_argument(
        "source",
        metavar="SOURCE",
        help="the folder of an LMDB database, or a list with a path and a label on "
        "every line",
    )
    mean.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("mean.binaryproto"),
        metavar="FILE",
        help="file to write (default: mean.binaryproto)",
    )
    mean.add_argument("--root", default="", help="put in front of every path of a list")
    _add_size(mean)
    channels = mean.add_mutually_exclusive_group()
    channels.add_argument("--gray", action="store_true", help="one channel")
    channels.add_argument("--color", action="store_true", help="three channels")
    mean.add_argument("--force", action="store_true", help="replace what is there")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different names, got {text!r}")
    return names


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="resize every image to this",
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("lmdb", "hdf5"),
        default="lmdb",
        help="what to write: an LMDB database (default), or HDF5 files with their list",
    )


def _add_common(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(name),
        metavar="PREFIX",
        help=f"what the names of the results begin with (default: {name})",
    )
    _add_format(parser)
    parser.add_argument(
        "--pairs",
        type=positive,
        metavar="K",
        help="write K pairs of every image, labelled 1 where the classes are equal",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")


def _command(options: argparse.Namespace) -> int:
    if options.what == "mean":
        return _mean(options)
    if options.what == "arrays":
        return _arrays(options)
    if options.what == "annotated":
        return _annotated(options)
    for name, images in _parts(options):
        chosen = images
        if options.pairs:
            whole = images if isinstance(images, Images) else images.in_memory()
            chosen = pairs(whole, options.pairs)
        path = options.output.with_name(options.output.name + name)
        with _bar(len(chosen), path.name) as advance:
            source = write(
                chosen, path, options.format, force=options.force, advance=advance
            )
        channels, height, width = chosen.shape
        print(f"{source}: {len(chosen)} items, {channels} x {height} x {width}")
    return 0


def _arrays(options: argparse.Namespace) -> int:
    arrays = read_arrays(options.files, options.names)
    count = len(next(iter(arrays.values())))
    order = np.arange(count)
    if options.shuffle:
        order = np.random.default_rng(0).permutation(count)
    parts = [("", order)]
    if options.split is not None:
        if options.split >= count:
            raise SpecError(
                f"cannot split {count} items after {options.split}; expected 1 to "
                f"{count - 1}"
            )
        parts = [("_train", order[: options.split]), ("_test", order[options.split :])]
    for name, chosen in parts:
        path = options.output.with_name(options.output.name + name)
        with _bar(len(chosen), path.name) as advance:
            source = write_arrays(
                arrays,
                path,
                options.format,
                order=chosen if options.shuffle or options.split else None,
                channels_last=options.channels_last,
                force=options.force,
                advance=advance,
            )
        told = ", ".join(f"{key} {held.shape[1:]}" for key, held in arrays.items())
        print(f"{source}: {len(chosen)} items, {told}")
    return 0


def _annotated(options: argparse.Namespace) -> int:
    labels = Labels(options.label_map) if options.label_map else None
    images = read_annotated(options.source, options.root, labels)
    if options.shuffle:
        order = np.random.default_rng(0).permutation(len(images))
        images = [images[index] for index in order]
    folder = options.output.with_name(f"{options.output.name}_lmdb")
    size = tuple(options.size) if options.size else None
    form = Form(size, options.gray, options.clip)
    with _bar(len(images), folder.name) as advance:
        boxes = write_annotated(
            images, options.root, folder, form, force=options.force, advance=advance
        )
    print(f"{folder}: {len(images)} images, {boxes} boxes")
    return 0


def _mean(options: argparse.Namespace) -> int:
    check_mean_place(options.output, force=options.force)
    pictures = Pictures(
        options.source,
        root=options.root,
        color=True if options.color else (False if options.gray else None),
        size=tuple(options.size) if options.size else None,
    )
    try:
        with _bar(len(pictures), options.output.name) as advance:
            mean = mean_of(pictures, advance)
    finally:
        pictures.close()
    write_mean(options.output, mean)
    channels, height, width = mean.values.shape
    values = ", ".join(f"{value:.6g}" for value in mean.channels)
    print(f"{options.output}: mean of {mean.count} images, ", end="")
    print(f"{channels} x {height} x {width}; of channels: {values}")
    return 0


@contextlib.contextmanager
def _bar(total: int, name: str) -> Iterator[Advance]:
    """Show on a terminal how far the writing is."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda count: None
        return
    hidden = not sys.stderr.isatty()
    with tqdm(total=total, desc=name, leave=False, disable=hidden) as bar:
        yield bar.update


def _parts(options: Any) -> list[tuple[str, Images | ListedImages]]:
    """Return the parts to write, each with the end of its name."""
    if options.what == "digits":
        train, held_out = digits()
        return [("_train", train), ("_test", held_out)]
    if options.what == "images":
        return [("", _listed(options))]
    images = read_idx(options.images, options.labels)
    if options.split is None:
        return [("", images)]
    first, rest = split(images, options.split)
    return [("_train", first), ("_test", rest)]


def _listed(options: Any) -> ListedImages:
    lines = read_labelled(options.list, "images", options.root)
    if options.shuffle:
        order = np.random.default_rng(0).permutation(len(lines))
        lines = [lines[index] for index in order]
    size = tuple(options.size) if options.size else None
    return ListedImages(lines, options.root, color=not options.gray, size=size)


if __name__ == "__main__":
    sys.exit(main())
