"""A schema of one's own: read, written and called by its names."""

import importlib.util
import warnings

import pytest
from google.protobuf import text_format

import netspec
from netspec import NetSpec, flatten, schema
from netspec import layers as L
from netspec.errors import FileError, MachineError, SpecError
from netspec.forks.chosen import in_force
from netspec.forks.files import message_class
from netspec.schema import NetParameter
from netspec.schema import own as own_module
from netspec.text import parse, read_net, to_text, write_message

PROTO = """
syntax = "proto2";
package {package};
{imports}
message NetParameter {{
  optional string name = 1;
  repeated LayerParameter layer = 100;
}}
message BlobShape {{ repeated int64 dim = 1 [packed = true]; }}
message BlobProto {{
  optional BlobShape shape = 7;
  repeated float data = 5 [packed = true];
}}
message PoolingParameter {{
  enum PoolMethod {{ MAX = 0; AVE = 1; MEDIAN = 7; }}
  optional PoolMethod pool = 1 [default = MAX];
  optional uint32 kernel_size = 44;
  optional string side = 45;
}}
message MyLayerParameter {{
  enum Way {{ THIS = 1; THAT = 2; }}
  optional uint32 my_param = 1;
  optional Way way = 2;
  repeated float scales = 3;
  {inner}
}}
message LayerParameter {{
  optional string name = 1;
  optional string type = 2;
  repeated string bottom = 3;
  repeated string top = 4;
  repeated BlobProto blobs = 7;
  optional PoolingParameter pooling_param = 121;
  optional MyLayerParameter my_layer_param = 139;
}}
"""
NET = """
layer { name: "m" type: "MyLayer" top: "m"
        my_layer_param { my_param: 3 way: THAT scales: 0.5 scales: 2 } }
layer { name: "p" type: "Pooling" bottom: "m" top: "p"
        pooling_param { pool: MEDIAN kernel_size: 3 side: "left" } }
"""
needs_protoc = pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="needs grpcio-tools"
)
pytestmark = [
    needs_protoc,
    pytest.mark.filterwarnings("ignore:.* of my_caffe. kept as it stands"),
]


def proto(folder, name="my_caffe", package="caffe", imports="", inner="", text=PROTO):
    path = folder / f"{name}.proto"
    path.write_text(text.format(package=package, imports=imports, inner=inner))
    return path


@pytest.fixture(params=["caffe", "acme.nets.v2"])
def in_use(request, tmp_path):
    path = proto(tmp_path, package=request.param)
    with schema.use(path):
        yield path


def their_bytes(text=NET):
    theirs = message_class(in_force(), "NetParameter")()
    return text_format.Parse(text, theirs).SerializeToString()


def test_a_layer_is_written_in_python(in_use):
    n = NetSpec()
    n.m = L.MyLayer(my_param=3, way="THAT", scales=[0.5, 2])
    n.p = L.Pooling(n.m, pool="MEDIAN", kernel_size=3, side="left")
    written = message_class(in_force(), "NetParameter")()
    text_format.Parse(to_text(n.to_proto()), written)
    assert written.SerializeToString() == their_bytes()


def test_mistakes_name_the_schema_and_the_nearest_field(in_use):
    with pytest.raises(SpecError, match="my_parm.*did you mean 'my_param'"):
        L.MyLayer(my_parm=3)
    with pytest.raises(SpecError, match=r"way is 'THOSE'.*'THIS', 'THAT'.*my_caffe"):
        L.MyLayer(way="THOSE")
    with pytest.raises(AttributeError, match="no layer type"):
        _ = L.YourLayer


def test_binary_files_have_its_numbers(in_use, tmp_path):
    path, out = tmp_path / "net.caffemodel", tmp_path / "out.caffemodel"
    path.write_bytes(their_bytes())
    net = read_net(path)
    assert net.layer[1].pooling_param.kernel_size == 3
    assert "pool: MEDIAN" in to_text(net)
    write_message(out, net)
    assert out.read_bytes() == path.read_bytes()


def test_text_is_read_and_written(in_use):
    net = parse(NET, NetParameter)
    assert message_class(in_force(), "NetParameter").FromString(
        their_bytes()
    ) == text_format.Parse(to_text(net), message_class(in_force(), "NetParameter")())


def test_to_python_has_its_keywords(in_use):
    source = netspec.load(NET).to_python()
    assert "my_param=3" in source
    assert 'side="left"' in source
    scope = {}
    exec(source, scope)
    assert scope["net"]().to_proto() == netspec.load(NET).to_proto()


def test_it_is_in_force_until_the_end_of_the_block(tmp_path):
    with schema.use(proto(tmp_path)):
        assert in_force().word == "my_caffe"
    assert in_force() is None
    with pytest.raises(AttributeError, match="no layer type"):
        _ = L.MyLayer


def test_proto_is_an_option_of_commands(tmp_path):
    path = proto(tmp_path)
    net, out, back = (
        tmp_path / name for name in ("a.prototxt", "b.caffemodel", "c.prototxt")
    )
    net.write_text(NET)
    assert flatten.main([str(net), "-o", str(out), "--proto", str(path)]) == 0
    with schema.use(path):
        assert out.read_bytes() == their_bytes()
    assert flatten.main([str(out), "-o", str(back), "--proto", str(path)]) == 0
    assert "my_layer_param" in back.read_text()
    assert in_force() is None


def test_imports_are_found_beside_it_and_above(tmp_path):
    folder = tmp_path / "src" / "proto"
    folder.mkdir(parents=True)
    (folder / "extra.proto").write_text(
        'syntax = "proto2"; package other; message Extra { optional int32 depth = 1; }'
    )
    (tmp_path / "far.proto").write_text(
        'syntax = "proto2"; package far; message Far { optional int32 side = 1; }'
    )
    path = proto(
        folder,
        imports='import "extra.proto"; import "far.proto";',
        inner="optional other.Extra extra = 9; optional far.Far far = 10;",
    )
    with schema.use(path):
        layer = L.MyLayer(extra=dict(depth=2), far=dict(side=1), ntop=0)
        n = NetSpec()
        n.m = layer
        text = to_text(n.to_proto())
    assert "extra { depth: 2 }" in " ".join(text.split())
    assert "far { side: 1 }" in " ".join(text.split())


def test_proto3_is_read_too(tmp_path):
    text = """
    syntax = "proto3";
    package my;
    message NetParameter {{ string name = 1; repeated LayerParameter layer = 9; }}
    message MyLayerParameter {{ uint32 my_param = 1; }}
    message LayerParameter {{
      string name = 1; string type = 2; MyLayerParameter my_layer_param = 3;
    }}
    """
    with schema.use(proto(tmp_path, text=text)):
        data = their_bytes(
            'layer { name: "m" type: "MyLayer" my_layer_param { my_param: 3 } }'
        )
        path = tmp_path / "net.caffemodel"
        path.write_bytes(data)
        net = read_net(path)
        assert net.layer[0].name == "m"
        write_message(tmp_path / "out.caffemodel", net)
        assert (tmp_path / "out.caffemodel").read_bytes() == data


def test_compiled_descriptors_need_no_compiler(tmp_path, monkeypatch):
    path = proto(tmp_path)
    files = own_module._compiled(path)
    described = tmp_path / "my.desc"
    described.write_bytes(own_module.FileDescriptorSet(file=files).SerializeToString())
    monkeypatch.setattr(own_module.importlib.util, "find_spec", lambda name: None)
    with schema.use(described):
        assert in_force().word == "my"
        assert L.MyLayer(my_param=1) is not None
    with pytest.raises(MachineError, match=r"netspec\[protos\].*descriptor_set_out"):
        schema.use(path)


def test_what_is_no_schema_is_refused(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        schema.use(tmp_path / "none.proto")
    bad = tmp_path / "bad.proto"
    bad.write_text("message {")
    with pytest.raises(SpecError, match=r"bad.proto.*Expected"):
        schema.use(bad)
    other = tmp_path / "other.proto"
    other.write_text('syntax = "proto2"; message Point { optional int32 x = 1; }')
    with pytest.raises(SpecError, match=r"no message LayerParameter.*Point"):
        schema.use(other)
    wrong = tmp_path / "wrong.desc"
    wrong.write_bytes(b"\x0f\x0f")
    with pytest.raises(SpecError, match="no compiled schema"):
        schema.use(wrong)
    assert in_force() is None


def test_what_contradicts_our_types_is_kept_as_text(tmp_path):
    text = PROTO.replace("optional uint32 kernel_size", "optional string kernel_size")
    with schema.use(proto(tmp_path, text=text)):
        data = their_bytes('layer { name: "p" pooling_param { kernel_size: "big" } }')
        path = tmp_path / "net.caffemodel"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = read_net(path)
        assert list(net.layer[0].pooling_param.unknown_fields) == ['kernel_size: "big"']
        write_message(path, net)
        assert path.read_bytes() == data
