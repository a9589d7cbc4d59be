"""Random messages of any kind, drawn from the descriptors."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from netspec import schema
from netspec.language.python_to_proto import is_repeated
from netspec.schema.kept import known_fields

BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def messages(name: str) -> st.SearchStrategy[Message]:
    """Return a strategy of messages of the class `name`, required fields filled."""
    kind = getattr(schema, name)
    return fields(kind.DESCRIPTOR, depth=0).map(lambda values: kind(**values))


@st.composite
def fields(draw: st.DrawFn, descriptor: Descriptor, depth: int) -> dict[str, Any]:
    names = list(known_fields(descriptor))
    most = 5 if depth < 3 else 2
    chosen = set(draw(st.lists(st.sampled_from(names), max_size=most, unique=True)))
    if descriptor.name == "ClipParameter":
        chosen |= {"min", "max"}
    found: dict[str, Any] = {}
    for field in descriptor.fields:
        if field.name in chosen:
            one = values(field, depth)
            repeated = is_repeated(field)
            found[field.name] = draw(st.lists(one, max_size=3) if repeated else one)
    return found


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return fields(field.message_type, depth + 1)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        raw = field.type == FieldDescriptor.TYPE_BYTES
        return st.binary(max_size=6) if raw else TEXT
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32, allow_nan=False)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats(allow_nan=False)
    return st.integers(*BITS[field.cpp_type])
