"""Provisional loader."""
from pathlib import Path

from google.protobuf import descriptor_pool, message_factory

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(Path(__file__).with_name("netspec.desc").read_bytes())
DESCRIPTOR = _POOL.FindFileByName("netspec/schema/netspec.proto")
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    _cls = message_factory.GetMessageClass(_message)
    _cls.__module__ = __name__
    globals()[_name] = _cls
for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals().update({v.name: v.number for v in _enum.values})
