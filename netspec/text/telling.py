"""What is told of fields that are kept as text: where they are, and whose."""

from __future__ import annotations

from google.protobuf.message import Message

from netspec.errors import SpecError, TextError, join_lines
from netspec.schema.kept import known_fields
from netspec.text.checks import warn_at
from netspec.text.judging import is_repeated, kind_of, value_owners
from netspec.text.keeping import Kept, KeptField, Lines, Malformed, kept_fields
from netspec.text.modules.flatten import Locate
from netspec.text.modules.tree import parse_tree
from netspec.text.whose import names, said_of

MAX_TOLD = 50  # places, where unknown fields are refused
MAX_SHOWN = 60  # characters of a field


def kept_of(text: str, kind: type[Message], locate: Locate) -> Kept | None:
    """Return what of `text` is kept, or None; raises `TextError` for no text at all."""
    place, note = locate(1, 1)
    try:
        return kept_fields(text, kind)
    except Malformed:
        parse_tree(text, place.file)
    except SpecError as error:
        raise place.error(str(error) + note) from None
    return None


def tell(kept: Kept, locate: Locate, *, strict: bool) -> None:
    """Warn of what is kept, once for every field; refuse it all where that is wished.

    Raises `TextError` that names all places.
    """
    first: dict[tuple[str, str], tuple[KeptField, int]] = {}
    for each in kept.fields:
        key = (each.message.name, _key(each))
        one, count = first.get(key, (each, 0))
        first[key] = (one, count + 1)
    lines = Lines(kept.rest)
    if strict:
        raise _refusal(kept, lines, locate)
    for one, count in first.values():
        place, note = locate(*lines.of(one.start))
        more = f" ({count:,} times)" if count > 1 else ""
        warn_at(f"{_sentence(one)}{more}; kept as it stands{note}", *place)


def _refusal(kept: Kept, lines: Lines, locate: Locate) -> TextError:
    said: list[str] = []
    for each in kept.fields[:MAX_TOLD]:
        place, note = locate(*lines.of(each.start))
        where = f"{place}: " if said else ""
        said.append(f"{where}{_sentence(each)}{note}")
    if len(kept.fields) > MAX_TOLD:
        said.append(f"{len(kept.fields) - MAX_TOLD:,} more")
    place, _ = locate(*lines.of(kept.fields[0].start))
    return place.error(join_lines(said))


def _key(each: KeptField) -> str:
    """Return what one warning is about: a field, or a value that an enum lacks."""
    known = known_fields(each.message).get(each.name)
    is_value = known is not None and kind_of(known) == "enum"
    return each.text if is_value else each.name


def _sentence(each: KeptField) -> str:
    known = known_fields(each.message).get(each.name)
    name = f"{each.message.name}.{each.name}"
    if known is None:
        return said_of(name)
    whose = value_owners(known, each.values, several=each.several)
    if each.several and not is_repeated(known):
        return f"{name} has several values, as in {names(whose)}"
    if kind_of(known) == "enum":
        text = each.text.removeprefix(each.name)
        text = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
        return said_of(name + text, whose, "value")
    return f"{name} has a value of another type, as in {names(whose)}"
