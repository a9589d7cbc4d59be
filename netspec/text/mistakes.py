"""What a parser of prototxt says, with places, known names and all mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Mapping

from google.protobuf import text_format
from google.protobuf.message import Message

from netspec import schema
from netspec.errors import TextError, did_you_mean, join_lines
from netspec.schema import NetParameter, SolverParameter
from netspec.text.modules.flatten import Locate
from netspec.text.numbers import of_octal
from netspec.text.tokens import without_field

MAX_RETRY_CHARACTERS = 4 << 20  # parsed again to find more than the first mistake
MAX_MISTAKES = 20
MAX_SENTENCE = 400  # characters
# What a file may be that is given in the place of another one.
_OTHER_FILE: Mapping[str, type[Message]] = {
    "NetParameter": SolverParameter,
    "SolverParameter": NetParameter,
}
# How protobuf's parser words what is better said with the known names.
_POSITION = re.compile(r"^\d+:\d+ : ")
_UNKNOWN_FIELD = re.compile(
    r'Message type "netspec\.(?P<type>\w+)" has no field named "(?P<field>\w+)"'
)
_UNKNOWN_ENUM = re.compile(
    r'Enum type "netspec\.(?P<type>[\w.]+)" has no value (named|with number) '
    r"(?P<value>\w+)"
)
_QUOTED_TYPE = re.compile(
    r'Enum type "netspec\.V1LayerParameter\.LayerType" has no value named '
    r"""(?P<value>["'].*["'])"""
)
_OCTAL_FLOAT = re.compile(r"Invalid octal float: (?P<value>.+)")
_NO_STRING = re.compile(r"Expected string but found: '(?P<value>[A-Z0-9_]+)'")
# Fields of old layers alone, and what stands for them in current ones.
_OLD_FIELDS = {
    "blobs_lr": "param { lr_mult: ... }",
    "weight_decay": "param { decay_mult: ... }",
    "blob_share_mode": "param { share_mode: ... }",
}
_NOT_UTF8_BYTES = re.compile(r"can't encode characters in position .* surrogates")
_NOT_UTF8 = re.compile(r"can't encode character '\\udc(?P<byte>..)'")


def text_error(
    text: str, error: text_format.ParseError, kind: type[Message], locate: Locate
) -> TextError:
    """Return the error for `error` and for what else does not exist in `text`."""
    first, _ = locate(error.GetLine() or 1, error.GetColumn() or 1)
    found: dict[str, str] = {}  # what is wrong, where it first is
    problem: text_format.ParseError | None = error
    parsed = 0  # characters
    for _ in range(MAX_MISTAKES):
        if problem is None:
            break
        place, note = locate(problem.GetLine() or 1, problem.GetColumn() or 1)
        where = str(place) if place.file != first.file else f"{place[1]}:{place[2]}"
        found.setdefault(_sentence(problem, text) + note, where)
        parsed += len(text)
        again = parsed <= MAX_RETRY_CHARACTERS
        repaired = _without(text, problem) if again else None
        if repaired is None:
            break
        text = repaired
        try:
            text_format.Parse(text, kind())
        except text_format.ParseError as next_problem:
            problem = next_problem
        else:
            problem = None
    sentence, *others = found
    said = [sentence, *(f"{found[other]}: {other}" for other in others)]
    return first.error(join_lines(said))


def _sentence(error: text_format.ParseError, text: str) -> str:
    said, echo = _POSITION.sub("", str(error)).rstrip("."), ""
    if line := error.GetLine():
        echo = text.split("\n", line)[line - 1]
        said = said.removeprefix(f"'{echo}': ").removeprefix("'': ")
    before = echo[: (error.GetColumn() or 1) - 1].replace(" ", "")
    pool = schema.DESCRIPTOR.pool
    if found := _UNKNOWN_FIELD.search(said):
        message = pool.FindMessageTypeByName(f"netspec.{found['type']}")
        field = _shortened(found["field"], 60)
        hint = did_you_mean(field, message.fields_by_name)
        other = _OTHER_FILE.get(found["type"])
        if other is not None and field in other.DESCRIPTOR.fields_by_name:
            hint = f"; {other.DESCRIPTOR.name} has"
        hint = _of_other_form(found["type"], field) or hint
        said = f"{found['type']} has no field {field!r}{hint}"
    elif found := _UNKNOWN_ENUM.search(said):
        values = pool.FindEnumTypeByName(f"netspec.{found['type']}").values_by_name
        value = _shortened(found["value"], 60)
        hint = did_you_mean(value, values)
        said = f"{value!r} is no {found['type']}{hint} (one of {', '.join(values)})"
    elif found := _QUOTED_TYPE.search(said):
        said = (
            f"type is {found['value']} in `layers`, the old form, whose types are "
            f"words as RELU; write `layer` for `layers`"
        )
    elif (found := _NO_STRING.search(said)) and before.endswith("type:"):
        said = (
            f'expected type in quotes, as in type: "ReLU", but found '
            f"{found['value']}, a word as in `layers`, the old form"
        )
    elif said == 'Expected ":"' and before.endswith("param"):
        said = (
            "param is the name of a parameter in `layers`, the old form; write "
            "blobs_lr and weight_decay, or `layer` for `layers`"
        )
    elif found := _OCTAL_FLOAT.search(said):
        said = of_octal(found["value"])
    elif _NOT_UTF8_BYTES.search(said):
        said = "bytes in a string are not UTF-8; save the file as such"
    elif found := _NOT_UTF8.search(said):
        said = f"byte 0x{found['byte']} in a string is not UTF-8; save the file as such"
    return _shortened(said, MAX_SENTENCE)


def _of_other_form(kind: str, field: str) -> str:
    """Return what to say of a field that layers of the other form have."""
    if kind == "LayerParameter" and field in _OLD_FIELDS:
        return f"; it is of `layers`, the old form: write {_OLD_FIELDS[field]}"
    new = schema.LayerParameter.DESCRIPTOR.fields_by_name
    if kind == "V1LayerParameter" and field in new:
        return "; `layer`, the current form, has: write `layer` for `layers`"
    return ""


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _without(text: str, error: text_format.ParseError) -> str | None:
    """Return `text` with blanks for what does not exist, or None for other mistakes.

    All else keeps its place.
    """
    start = 0
    for _ in range((error.GetLine() or 1) - 1):
        start = text.index("\n", start) + 1
    start += (error.GetColumn() or 1) - 1
    if found := _UNKNOWN_FIELD.search(str(error)):
        return without_field(text, found["field"], start)
    if found := _UNKNOWN_ENUM.search(str(error)):
        enum = schema.DESCRIPTOR.pool.FindEnumTypeByName(f"netspec.{found['type']}")
        number = str(enum.values[0].number)
        length = len(found["value"])
        if len(number) <= length and text.startswith(found["value"], start):
            return text[:start] + number.ljust(length) + text[start + length :]
    return None
