"""The field of every message that keeps what our schema lacks."""

from netspec import schema
from netspec.schema.kept import UNKNOWN_FIELDS, known_fields


def test_every_message_can_keep_fields_under_one_number():
    messages = schema.DESCRIPTOR.message_types_by_name.values()
    fields = [message.fields_by_name[UNKNOWN_FIELDS] for message in messages]
    assert {field.number for field in fields} == {536870911}
    assert len(fields) > 80


def test_the_kept_text_is_no_field_of_the_schema():
    known = known_fields(schema.PoolingParameter.DESCRIPTOR)
    assert UNKNOWN_FIELDS not in known
    assert known["kernel_size"].number == 2
