"""Operate on a net and its values: several operations in a row, into new files.

    python -m netspec.surgery NET [WEIGHTS] OPERATION [WORD ...] ... -o OUT

    rename OLD=NEW ...                        names of layers and blobs
    cast [LAYER ...]                          inner products become convolutions
    replace NUMBER [layer=L] [name=NEW] [weight_filler=TYPE]
                                              another classifier, without values
    fold                                      BatchNorm and Scale go into weights
    resize [SIZE | HEIGHTxWIDTH] [batch_size=N] [TOP=N,C,H,W ...]
                                              images of another size
    channels [NUMBER] [how=WAY] [blob=TOP]    images with other channels
    transform [mean=M,...] [scale=S,...] [blob=TOP]
                                              the net prepares its images itself
    extract end=NAME [start=LAYER]            a part as a net of its own

NET is a file with a net, a model file .py or its name, WEIGHTS a weight file; a net
that has its values needs none. `layer`, `end` and `start` take several names
with commas in between. Writes
OUT.prototxt and, where there are values, OUT.caffemodel. Each operation is the function
of `netspec.surgery` with that in its name.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netspec.commands.cli import Parser, keep_sources, run, show_warnings
from netspec.commands.net_argument import (
    add_deploy,
    add_net_argument,
    add_shape_option,
    file_of,
    given_net,
    is_model_file,
    refuse_settings,
)
from netspec.errors import SpecError, did_you_mean
from netspec.nets.deploy import deploy
from netspec.surgery.casting import cast_to_convolution
from netspec.surgery.channels import change_channels
from netspec.surgery.classifier import replace_classifier
from netspec.surgery.extracting import extract
from netspec.surgery.folding import fold_batchnorm
from netspec.surgery.parts import seen_in_each_phase, warn
from netspec.surgery.renaming import rename
from netspec.surgery.sizes import resize_input
from netspec.surgery.transform import fold_transform
from netspec.text import is_solver_file, write_message
from netspec.weights import Model, as_model

# What an operation gets: the model, words, and words with "=" as pairs; and what it
# returns: the model, and what there is to say.
Given = dict[str, str]
Operation = Callable[[Model, Sequence[str], Given], tuple[Model, str]]


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.surgery"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_intermixed_args(arguments)

    def command() -> None:
        weights, steps = _steps(options.words)
        out = Path(options.output)
        targets = [Path(f"{out}{end}") for end in (".prototxt", ".caffemodel")]
        keep_sources(targets, [options.net, weights])
        with warnings.catch_warnings():
            show_warnings()
            model = _read(options, weights)
            for name, words in steps:
                plain = [word for word in words if "=" not in word]
                pairs = [word.partition("=")[::2] for word in words if "=" in word]
                given = dict(pairs)
                if len(given) < len(pairs):
                    raise SpecError(f"{name}: a word before = is given twice")
                try:
                    model, said = OPERATIONS[name](model, plain, given)
                except SpecError as error:
                    raise error.replaced(text=f"{name}: {error}", layer="") from None
                print(f"{name}: {said}")
        _write(model, targets, options.net)

    return run(command, options)


def _steps(words: Sequence[str]) -> tuple[str | None, list[tuple[str, list[str]]]]:
    """Return the weight file, where the first word is no operation, and these."""
    weights = None if words[0] in OPERATIONS else words[0]
    steps: list[tuple[str, list[str]]] = []
    for word in words[weights is not None :]:
        if word in OPERATIONS:
            steps.append((word, []))
        elif steps:
            steps[-1][1].append(word)
        else:
            raise SpecError(
                f"{word!r} is no operation{did_you_mean(word, OPERATIONS)} (one of "
                f"{', '.join(OPERATIONS)})"
            )
    if not steps:
        raise SpecError(f"no operation is given: one of {', '.join(OPERATIONS)}")
    return weights, steps


def _read(options: Any, weights: str | None) -> Model:
    name = file_of(options.net)
    if is_model_file(name) or is_solver_file(name):
        net = given_net(options, deploy=options.deploy).net
        model = as_model(net, weights)
    else:
        refuse_settings(options)
        model = as_model(name, weights)
        if options.deploy:
            model.net = deploy(model.net, shapes=dict(options.shape))
    if weights is not None:
        _check_values(model, weights)
    return model


def _check_values(model: Model, weights: str) -> None:
    """Refuse a weight file that gives the net nothing; name layers it leaves out."""
    held = {name for name, arrays in (model.weights or {}).items() if arrays}
    ours = {layer.name for layer in model.net.layer}
    if not held & ours:
        raise SpecError(
            f"{weights} has no values for any layer of the net; layers are found by "
            f"their names"
        )
    try:
        found = seen_in_each_phase(model.net)
    except SpecError:
        return  # shapes that only files tell
    left: dict[str, None] = {}
    for seen in found:
        nodes = [node for node in seen.graph.nodes if node.params]
        valued = {p for node in nodes if node.name in held for p in node.params}
        for node in nodes:
            if not valued.issuperset(node.params):
                left[node.name] = None
    if left:
        warn(f"{weights} has no values for {', '.join(map(repr, left))}")


def _write(model: Model, targets: Sequence[Path], source: str) -> None:
    text, binary = targets
    write_message(text, model.net)
    print(text)
    if model.weights:
        model.save(binary, source=source)
        print(binary)
    else:
        print("there are no values, so no caffemodel is written")


# ---------------------------------------------------------------- operations


def _take(given: Given, *names: str) -> dict[str, str]:
    """Return the words with "=", all of which must have one of some names."""
    for name in given:
        if name not in names:
            expected = ", ".join(f"{each}=" for each in names) or "none"
            raise SpecError(
                f"{name}= is not known{did_you_mean(name, names)} (one of {expected})"
            )
    return given


def _number(words: Sequence[str], what: str) -> int:
    """Return the only word as a number."""
    try:
        (word,) = words
        return int(word)
    except ValueError:
        raise SpecError(
            f"expected one number, {what}; got {' '.join(words) or 'none'}"
        ) from None


def _none(words: Sequence[str]) -> None:
    if words:
        raise SpecError(f"{words[0]!r} is not expected here")


def _rename(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _none(words)
    if not given:
        raise SpecError("expected OLD=NEW, once or more; got none")
    return rename(model, given), f"{len(given)} names"


def _cast(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _take(given)
    result = cast_to_convolution(model, words or None)
    old = {layer.name: layer.type for layer in model.net.layer}
    cast = [x.name for x in result.net.layer if _became(x, old, "Convolution")]
    return result, ", ".join(dict.fromkeys(cast))


def _became(layer: Any, old: dict[str, str], kind: str) -> bool:
    return bool(layer.type == kind and old[layer.name] != kind)


def _replace(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _take(given, "layer", "name", "weight_filler")
    count = _number(words, "of outputs")
    layers = given["layer"].split(",") if "layer" in given else None
    result = replace_classifier(
        model,
        count,
        layers,
        given.get("name"),
        weight_filler=given.get("weight_filler"),
    )
    old = {layer.name for layer in model.net.layer}
    new = [layer.name for layer in result.net.layer if layer.name not in old]
    return result, f"{', '.join(dict.fromkeys(new))}, without values"


def _fold(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _none(words)
    _take(given)
    folded = fold_batchnorm(model)
    return folded.model, str(folded)


def _resize(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    size: Any = None
    if words:
        _none(words[1:])
        size = _sizes(words[0], "x", "a size, as in 320 or 240x320")
    shapes = {
        name: _sizes(text, ",", f"sizes, as in {name}=1,3,224,224")
        for name, text in given.items()
        if name != "batch_size"
    }
    batch = given.get("batch_size")
    count = None if batch is None else _number([batch], "batch_size")
    if size is not None and len(size) == 1:
        size = size[0]
    result = resize_input(model, size, batch_size=count, shapes=shapes or None)
    return result, f"{' '.join([*words, *(f'{k}={v}' for k, v in given.items())])}"


def _sizes(text: str, between: str, expected: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(between))
    except ValueError:
        raise SpecError(f"expected {expected}; got {text!r}") from None


def _channels(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _take(given, "how", "blob")
    count = _number(words, "of channels") if words else None
    how = given.get("how", "mean")
    result = change_channels(model, count, how, blob=given.get("blob"))
    return result, f"{count or 'the same'} channels, {how}"


def _transform(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _none(words)
    _take(given, "mean", "scale", "blob")
    if not given:
        raise SpecError("expected mean=, scale= or both")
    mean, scale = (
        _numbers(given.get(x, d)) for x, d in (("mean", "0"), ("scale", "1"))
    )
    folded = fold_transform(model, mean, scale, blob=given.get("blob"))
    return folded.model, str(folded)


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise SpecError(f"expected numbers, as in 104,117,123; got {text!r}") from None


def _extract(model: Model, words: Sequence[str], given: Given) -> tuple[Model, str]:
    _none(words)
    _take(given, "end", "start")
    if "end" not in given:
        raise SpecError("expected end=, the name of a layer or blob")
    start = given["start"].split(",") if "start" in given else None
    result = extract(model, given["end"].split(","), start)
    return result, f"{len(result.net.layer)} layers"


OPERATIONS: dict[str, Operation] = {
    "rename": _rename,
    "cast": _cast,
    "replace": _replace,
    "fold": _fold,
    "resize": _resize,
    "channels": _channels,
    "transform": _transform,
    "extract": _extract,
}


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Operate on a net and its values: several operations in a row, "
        "into new files.",
        examples=(
            "deploy.prototxt net.caffemodel fold cast -o out",
            "net.caffemodel replace 20 name=fc20 -o flickr",
            "caffenet caffenet.caffemodel --deploy resize 451 cast -o full",
        ),
    )
    add_net_argument(parser)
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="a weight file, if the net has no values, then operations with their "
        f"words: {', '.join(OPERATIONS)}",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="writes OUT.prototxt and OUT.caffemodel",
    )
    add_deploy(parser, "take first")
    add_shape_option(parser, only="with --deploy: ")
    return parser


if __name__ == "__main__":
    sys.exit(main())
