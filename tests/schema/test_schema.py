"""The messages: their numbers, their classes, and their company in a process."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import subprocess
import sys
from keyword import iskeyword
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import schema
from netspec.language.python_to_proto import is_repeated
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.kept import UNKNOWN_FIELDS
from netspec.text import as_net
from tests.patience import PATIENCE_S
from tests.reference import needs_reference, reference_dir
from tests.schema.random_messages import messages

FIELD = descriptor_pb2.FieldDescriptorProto
FILE = descriptor_pb2.FileDescriptorProto.FromString(
    Path(schema.__file__).with_name("netspec.desc").read_bytes()
)
MESSAGES = {message.name: message for message in FILE.message_type}
SCALARS = {
    "double": FIELD.TYPE_DOUBLE,
    "float": FIELD.TYPE_FLOAT,
    "int64": FIELD.TYPE_INT64,
    "int32": FIELD.TYPE_INT32,
    "uint32": FIELD.TYPE_UINT32,
    "bool": FIELD.TYPE_BOOL,
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
}
LABELS = {
    "optional": FIELD.LABEL_OPTIONAL,
    "required": FIELD.LABEL_REQUIRED,
    "repeated": FIELD.LABEL_REPEATED,
}
# The fork gives these the numbers of two fields of Caffe.
MOVED = {"SolverParameter.eval_type": 1041, "SolverParameter.ap_version": 1042}

# Values of enums that only forks have.
ADDED_VALUES = {"LossParameter.NormalizationMode": {"PRE_FIXED"}}


def table(name: str) -> dict[str, Any]:
    folder = reference_dir()
    assert folder is not None
    return json.loads((folder / "schema" / name).read_text())


def row(field: Any) -> tuple[Any, ...]:
    """What the format says of a field of our schema."""
    kind = field.type_name.removeprefix(".netspec.") or field.type
    default = field.default_value if field.HasField("default_value") else None
    return field.number, field.label, kind, default, field.options.packed


def stated(name: str, facts: dict[str, Any]) -> tuple[Any, ...]:
    """What the table says of a field."""
    number = MOVED.get(name, facts["number"])
    kind = SCALARS.get(facts["type"], facts["type"])
    packed = facts.get("packed", False)
    return number, LABELS[facts["label"]], kind, facts.get("default"), packed


def same_row(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    *rest, default, packed = ours
    *their_rest, their_default, their_packed = theirs
    if default != their_default and None not in (default, their_default):
        try:
            default, their_default = float(default), float(their_default)
        except ValueError:
            return False
    return (rest, default, packed) == (their_rest, their_default, their_packed)


@needs_reference
@pytest.mark.parametrize("name", ["caffe.json", "fork-ssd.json"])
def test_every_message_field_and_enum_of_the_tables_is_there(name):
    facts = table(name)
    assert facts["messages"]
    differing = []
    for message, entry in facts["messages"].items():
        ours = {field.name: field for field in MESSAGES[message].field}
        for field, expected in entry["fields"].items():
            path = f"{message}.{field}"
            if not same_row(row(ours[field]), stated(path, expected)):
                differing.append(path)
        enums = {enum.name: enum for enum in MESSAGES[message].enum_type}
        for enum, expected in entry.get("enums", {}).items():
            numbers = {value.name: value.number for value in enums[enum].value}
            of_forks = ADDED_VALUES.get(f"{message}.{enum}", set())
            if {k: n for k, n in numbers.items() if k not in of_forks} != expected:
                differing.append(f"{message}.{enum}")
    assert differing == []


# Of no table: fields of rates, of an old example among them, and what these need in a
# snapshot.
OURS = {
    "SolverParameter.div_factor",
    "SolverParameter.final_div_factor",
    "SolverParameter.pct_start",
    "SolverParameter.restart_iter",
    "SolverParameter.restart_mult",
    "SolverParameter.stepearly",
    "SolverState.best_accuracy",
    "SolverState.callback_state",
    "SolverState.last_test",
    "SolverState.learned_net_hash",
    "SolverState.recent_losses",
    "SolverState.tests_without_gain",
}


@needs_reference
def test_nothing_is_added_but_what_forks_have():
    known: dict[str, set[str]] = {"LayerParameter": {"smooth_l1_loss_param"}}
    forks = sorted(
        f"forks/{path.name}"
        for path in (reference_dir() or Path()).glob("schema/forks/*.json")
    )
    assert len(forks) > 80
    for name in ("caffe.json", "fork-ssd.json", *forks):
        for message, entry in table(name)["messages"].items():
            known.setdefault(message, set()).update(entry.get("fields", ()))
    ours = {
        name: {field.name for field in message.field} - {UNKNOWN_FIELDS}
        for name, message in MESSAGES.items()
    }
    added = {
        f"{name}.{field}"
        for name, names in ours.items()
        for field in names - known.get(name, set()) - {"unknown_fields"}
    }
    assert added == OURS


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("NetParameter.layer", 100),
        ("NetParameter.layers", 2),
        ("LayerParameter.blobs", 7),
        ("LayerParameter.convolution_param", 106),
        ("LayerParameter.inner_product_param", 117),
        ("LayerParameter.batch_norm_param", 139),
        ("LayerParameter.clip_param", 148),
        ("LayerParameter.prior_box_param", 203),
        ("LayerParameter.smooth_l1_loss_param", 8266712),
        ("ConvolutionParameter.dilation", 18),
        ("BlobProto.double_data", 8),
        ("V1LayerParameter.param", 1001),
        ("V0LayerParameter.hdf5_output_param", 1001),
        ("SolverState.current_step", 4),
        ("SolverParameter.layer_wise_reduce", 41),
        ("SolverParameter.plateau_winsize", 43),
    ],
)
def test_wire_numbers_are_those_of_caffe(path, number):
    message, field = path.split(".")
    descriptor = getattr(schema, message).DESCRIPTOR
    assert descriptor.fields_by_name[field].number == number


def test_numbers_and_names_are_unique_in_every_message():
    assert len(MESSAGES) > 80
    for message in FILE.message_type:
        numbers = [field.number for field in message.field]
        assert len(set(numbers)) == len(numbers), message.name


def test_every_message_of_a_layer_is_a_field_of_layer_parameter():
    held = {
        field.type_name.removeprefix(".netspec.")
        for field in MESSAGES["LayerParameter"].field
        if field.name.endswith("_param")
    }
    assert len(held) > 55
    assert {"ConvolutionParameter", "PriorBoxParameter", "ROIPoolingParameter"} <= held


def test_defaults_are_those_of_caffe():
    pooling = schema.PoolingParameter()
    assert (pooling.stride, pooling.round_mode) == (1, schema.PoolingParameter.CEIL)
    assert schema.LRNParameter().beta == 0.75
    assert schema.NetState().phase == schema.TEST
    assert schema.DataParameter().backend == schema.DataParameter.LEVELDB
    assert schema.SolverParameter().delta == pytest.approx(1e-8)


def test_packed_numbers_are_contiguous_on_the_wire():
    blob = schema.BlobProto(data=[1.5, -2.0])
    assert blob.SerializeToString() == b"\x2a\x08\x00\x00\xc0\x3f\x00\x00\x00\xc0"


def test_enums_know_their_names():
    assert schema.Phase.Name(schema.TEST) == "TEST"
    assert (schema.TRAIN, schema.TEST) == (0, 1)
    assert schema.PoolingParameter.PoolMethod.Value("STOCHASTIC") == 2


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MESSAGES)).flatmap(messages))
def test_messages_survive_the_wire_and_pickle(message):
    kind = type(message)
    assert kind.FromString(message.SerializeToString()) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message


def test_classes_say_where_they_are_from():
    assert repr(NetParameter) == "<class 'netspec.schema.NetParameter'>"
    layer = NetParameter(layer=[{"name": "relu1"}]).layer[0]
    assert type(layer) is LayerParameter


def other_net_parameter(file: str, package: str) -> Any:
    """Another schema's NetParameter in the pool that all modules share."""
    proto = descriptor_pb2.FileDescriptorProto(name=file, package=package)
    message = proto.message_type.add(name="NetParameter")
    message.field.add(
        name="name", number=1, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING
    )
    message.field.add(
        name="layer", number=100, label=FIELD.LABEL_REPEATED, type=FIELD.TYPE_BYTES
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(proto.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{package}.NetParameter")
    return message_factory.GetMessageClass(descriptor)


@pytest.mark.parametrize(
    ("file", "package"),
    [("caffe.proto", "caffe"), ("netspec/schema/netspec.proto", "netspec")],
)
def test_another_schema_of_the_same_names_may_be_in_the_process(file, package):
    other = other_net_parameter(file, package)
    layer = LayerParameter(name="conv1", type="Convolution")
    theirs = other(name="theirs", layer=[layer.SerializeToString()])
    ours = as_net(theirs)
    assert type(ours) is NetParameter
    assert ours == NetParameter(name="theirs", layer=[layer])
    assert other.FromString(ours.SerializeToString()) == theirs


def test_loading_imports_neither_numpy_nor_generated_code():
    code = (
        "import sys, netspec.schema\n"
        "generated = [m for m in sys.modules if m.endswith('_pb2')]\n"
        "ours = [m for m in generated if not m.startswith('google.')]\n"
        "sys.exit('numpy' in sys.modules or bool(ours))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, timeout=PATIENCE_S
        ).returncode
        == 0
    )


def test_the_stub_lists_every_class_field_and_value():
    stub = ast.parse(Path(schema.__file__).with_suffix(".pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    assert classes.keys() == MESSAGES.keys()
    for name, node in classes.items():
        descriptor = getattr(schema, name).DESCRIPTOR
        simple = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        functions = {
            item.name: item for item in node.body if isinstance(item, ast.FunctionDef)
        }
        arguments = {arg.arg for arg in functions.pop("__init__").args.kwonlyargs}
        names = {name for name in descriptor.fields_by_name if not iskeyword(name)}
        assert arguments == names
        assert functions.keys() == {
            field.name
            for field in descriptor.fields
            if is_repeated(field) or field.message_type is not None
        }
        enums = descriptor.enum_types_by_name
        enum_values = descriptor.enum_values_by_name
        assert simple | functions.keys() == {*arguments, *enums, *enum_values}
