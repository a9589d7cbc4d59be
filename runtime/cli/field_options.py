"""Fields of messages as words of a command line: `FIELD=VALUE`, or prototxt."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from netspec.errors import SpecError
from netspec.language.python_to_proto import assign
from netspec.schema import TransformationParameter
from netspec.text import parse


def add_transform(parser: argparse.ArgumentParser) -> None:
    """Add --transform: what is done to items."""
    parser.add_argument(
        "--transform",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="what is done to images, as transform_param says it: crop_size=24 or "
        "mirror=true, or prototxt as in 'scale: 0.0039 mean_value: 104'; repeat for "
        "several",
    )


def transform_of(options: argparse.Namespace) -> TransformationParameter | None:
    """Return what `--transform` says, None where it is not given.

    Raises `SpecError` for fields and values that there are not.
    """
    if not options.transform:
        return None
    found = TransformationParameter()
    for text in options.transform:
        if ":" in text.partition("=")[0]:
            found.MergeFrom(parse(text, TransformationParameter, source="--transform"))
            continue
        problems = assign(found, pairs([text], "--transform"))
        if problems:
            raise SpecError(f"--transform: {'; '.join(problems)}")
    return found


def pairs(texts: Sequence[str], option: str) -> dict[str, Any]:
    """Return the values of options FIELD=VALUE by their names."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            raise SpecError(f"{option}: expected FIELD=VALUE, got {text!r}")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """Return a number, a truth value, a list of them, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value
