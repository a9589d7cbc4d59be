"""Numbers and blanks that Python's reader of text takes and all other readers refuse.

Caffe, OpenCV and `protoc` read text by the reader of protobuf in C++. Python's reads
numbers as Python's own source has them: `1_000`, `+3`, `0o17`. Text with such numbers
would be of use here alone, so that it is refused. The grammar of numbers, as in C++:

    integer: -? ( 0 | [1-9][0-9]* | 0[0-7]+ | 0x[0-9a-f]+ )     0[0-7]+ is octal
    decimal: -? ( (0 | [1-9][0-9]*) ( . [0-9]* )? | . [0-9]+ ) ( e [+-]? [0-9]+ )? f?
    other:   -? ( inf | infinity | nan )
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netspec.errors import TextError, join_lines
from netspec.text.checks import warn_at
from netspec.text.tokens import values

MAX_MISTAKES = 1000  # that are looked at
MAX_TOLD = 20  # that an error tells
MAX_SHOWN = 40  # characters of a number
_NUMBER = r"""
    -?(?:(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?[fF]?
        |0[0-7]++|0[xX][0-9a-fA-F]++
        |(?i:infinity|inf|nan))"""
_IS_NUMBER = re.compile(_NUMBER, re.VERBOSE)
_GOOD = re.compile(  # as far as all readers agree, or agree to refuse
    rf"""(?:[ \t\r\n\v\f{{}}<>:,;\[\]]++|\#[^\n]*+
    |(?!(?i:inf|infinity|nan)[fF]++(?![\w+-]))[A-Za-z_][0-9A-Za-z_+-]*+
    |"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'
    |{_NUMBER}(?![0-9A-Za-z_.+-])
    |(?:(?!\.[0-9]|[\d\s+\-"'\#])[^A-Za-z_])++)*+""",
    re.VERBOSE,
)
_BAD = re.compile(
    r"(?P<number>(?:[0-9+-]|\.[0-9])[0-9A-Za-z_.+-]*|[A-Za-z]+|\d)|(?P<blank>\s)"
)
_JOINED = re.compile(rf"({_NUMBER})[A-Za-z_]\w*", re.VERBOSE)
_PYTHON_INTEGER = re.compile(r"-?0(?:[oO][0-7]+|[bB][01]+)")
_HEXADECIMAL = re.compile(r"-?0[xX][0-9a-fA-F]+")
_WORD = re.compile(r"(-?(?:infinity|inf|nan))f*", re.IGNORECASE)
_ZEROS = re.compile(r"^(-?)0+(?=[0-9])")
# Octal integers, and zeros with a sign: whether they may stand there, the field says.
_DOUBTFUL = re.compile(r"(?<![\w.+-])(?:-0|-?0[0-7]+)(?![\w.+-])")
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_UNSIGNED = (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64)

Locate = Callable[[int, int], tuple[Any, str]]


def check_numbers(text: str, source: str) -> None:
    """Refuse numbers, and blanks between words, that other readers do not take."""
    found: dict[str, tuple[int, int]] = {}  # what is wrong, where it first is
    for start, said in islice(_mistakes(text), MAX_MISTAKES):
        if said not in found and len(found) < MAX_TOLD:
            found[said] = _place(text, start)
    if found:
        (first, (line, column)), *others = found.items()
        said = join_lines([first, *(f"{at[0]}:{at[1]}: {one}" for one, at in others)])
        raise TextError(said, file=source, line=line, column=column)


def _place(text: str, start: int) -> tuple[int, int]:
    """Return line and column, which count from 1."""
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


def _mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Yield where something starts that is wrong, and what to say of it."""
    end = 0
    while True:
        end = _GOOD.match(text, end).end()  # type: ignore[union-attr]  # or of nothing
        bad = _BAD.match(text, end)
        if bad is None:  # the end, or a string without one, of which the parser tells
            return
        yield end, _of_blank(bad["blank"]) if bad["blank"] else _of_number(bad.group())
        end = bad.end()


def _of_blank(blank: str) -> str:
    return (
        f"the blank U+{ord(blank):04X} stands between words, where Caffe and others "
        f"read spaces, tabs and line breaks alone; write a space"
    )


def _of_number(number: str) -> str:
    if number == "-":
        return "a minus stands apart from its number; write it right before the number"
    plain = _plain(number)
    if plain is not None:
        return f"{_shown(number)} {_reason(number)}; write {plain}"
    joined = _JOINED.fullmatch(number)
    missing = f"; is a space missing after {_shown(joined[1])}?" if joined else ""
    return f"{_shown(number)} is no number{missing}"


def _shown(number: str) -> str:
    return number if len(number) <= MAX_SHOWN else number[: MAX_SHOWN - 3] + "..."


def _reason(number: str) -> str:
    """Return why nobody but Python takes a number."""
    bare = number.lstrip("+-")
    if "_" in number:
        return "has an underscore, which Caffe and others refuse in a number"
    if number[0] == "+":
        return "has a plus sign, which Caffe and others refuse before a number"
    if bare[:2].lower() in ("0o", "0b"):
        return f"begins with {bare[:2]}, of which Caffe and others know nothing"
    if bare[:1] == "0" and bare[1:2].isdecimal():
        return "begins with 0, as octal integers do, but is none"
    return "is no number to Caffe and others"


def _plain(number: str) -> str | None:
    """Return how all readers take the number that Python's reader sees, if any."""
    text = number.replace("_", "").removeprefix("+")
    if not text.isascii():
        text = "".join(str(int(one)) for one in text)
    if _PYTHON_INTEGER.fullmatch(text):
        return str(int(text, 0)) if len(text) <= MAX_SHOWN else None
    if word := _WORD.fullmatch(text):
        return word[1]
    if not _HEXADECIMAL.fullmatch(text):
        text = _ZEROS.sub(r"\1", text.rstrip("fF"))
    fits = len(text) <= MAX_SHOWN and _IS_NUMBER.fullmatch(text) is not None
    return text if fits and text != number else None


def of_octal(number: str) -> str:
    """Return what to say of an octal integer for a field of floats."""
    return (
        f"{_shown(number)} is an octal integer, as it begins with 0, which Caffe and "
        f"others refuse for a float; write {float(number):g}"
    )


def check_kinds(text: str, kind: type[Message], locate: Locate) -> None:
    """Look at integers whose value depends on the field that they are given to.

    text: what is parsed already, as a message of `kind`. A warning tells an octal
    integer. One for a field of floats is refused, as in C++; old versions of Python's
    reader take it for a decimal number. So is a minus sign where there is none.
    """
    if _DOUBTFUL.search(text) is None:
        return
    warned = False
    for field, token in values(text, kind.DESCRIPTOR):
        number = token.group()
        if _DOUBTFUL.fullmatch(number) is None:
            continue
        said = ""
        if field.type in _FLOATS and len(number.lstrip("-")) > 1:
            said = of_octal(number)
        elif field.type in _UNSIGNED and number[0] == "-":
            said = (
                f"{field.name} is {_shown(number)}, but it takes no sign, not even "
                f"before 0; write 0"
            )
        if said:
            place, note = locate(*_place(text, token.start()))
            raise place.error(said + note)
        value = int(number, 8)
        if abs(value) > 7 and not warned:
            warned = True
            place, note = locate(*_place(text, token.start()))
            warn_at(
                f"{field.name} is {_shown(number)}, an octal integer as it begins with "
                f"0, which stands for {value}; write {value}, or without the 0 if that "
                f"is meant{note}",
                *place,
            )
