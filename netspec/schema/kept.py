"""Fields that our schema lacks: every message keeps their text in `unknown_fields`.

Each string is one field as prototxt, `norm_region: WITHIN_CHANNEL`. Text never shows
the field itself, and Caffe skips its number in binary files. The generator of the
schema, tools/gen_schema.py, adds it to every message.
"""

from __future__ import annotations

import functools
from typing import Any

UNKNOWN_FIELDS = "unknown_fields"


@functools.cache
def known_fields(descriptor: Any) -> dict[str, Any]:
    """Return the fields of a message that the schema has, by name."""
    known = dict(descriptor.fields_by_name)
    known.pop(UNKNOWN_FIELDS, None)
    return known
