"""The types of what layer functions take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, Union

from google.protobuf.message import Message

from netspec.language.calls import Top
from netspec.language.folder import Folder

Bottom: TypeAlias = Top | Folder  # a NetSpec stands for its top named `output`
Tops: TypeAlias = Any  # a top, or a tuple of as many tops as `ntop` says
Dict: TypeAlias = Mapping[str, Any] | Message  # the fields of a message
Filler: TypeAlias = Union[str, float, Dict]  # noqa: UP007 - a type, a constant, or all
Shape: TypeAlias = Sequence[int] | Dict
Param: TypeAlias = str | Dict  # what ParamSpec says of one parameter, or its name
Rule: TypeAlias = Literal["TRAIN", "TEST"] | int | Dict
