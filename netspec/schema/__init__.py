"""Caffe's messages, and the wire.

They are built from a serialized descriptor in a pool of our own. That works with every
protobuf runtime from 4.25 on, and another `caffe_pb2` in the process cannot collide.
Our messages are no instances of another `caffe_pb2`'s: cross over by bytes,
`Other.FromString(message.SerializeToString())`.
"""

from contextlib import AbstractContextManager as _AbstractContextManager
from pathlib import Path as _Path

from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import message_factory as _message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper as _EnumWrapper

_POOL = _descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_Path(__file__).with_name("netspec.desc").read_bytes())
DESCRIPTOR = _POOL.FindFileByName("netspec/schema/netspec.proto")

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    _class = _message_factory.GetMessageClass(_message)
    _class.__module__ = __name__  # pickle and repr find the class here
    globals()[_name] = _class
for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_enum.name] = _EnumWrapper(_enum)
    globals().update({_value.name: _value.number for _value in _enum.values})


def use(path: str | _Path) -> _AbstractContextManager[None]:
    """Take a schema of your own: its fields are read, written and called by name.

    path: a caffe.proto, compiled with grpcio-tools (`pip install netspec[protos]`), or
    a descriptor set of protoc. It is in force as a fork is by `netspec.forks.use`, from
    now on or, as a context manager, until the end of the block.

        netspec.schema.use("my_caffe.proto")
        n.y = L.MyLayer(n.x, my_param=3)

    Fields are known by their names, so its numbers may be any. The package may have
    any name; imports are looked for beside the file and in the folders above it.

    Raises `FileError` for a file that cannot be read, `SpecError` for a schema that is
    wrong or has no `LayerParameter`, `MachineError` where grpcio-tools is missing.
    """
    from netspec.schema.own import use as use_own

    return use_own(path)
