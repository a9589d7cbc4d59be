"""Binary files of forks: told apart, read by name, and written back."""

import warnings

import pytest
from google.protobuf import text_format

from netspec import forks
from netspec.errors import FileError, SpecError, SpecWarning
from netspec.forks.chosen import known_meanings, schema_named
from netspec.forks.files import as_fork, fork_of, message_class, read_as_ours
from netspec.forks.telling import tell
from netspec.schema import BlobProto, NetParameter, SolverParameter
from netspec.text import parse, read_message, read_net, to_text, write_message


def binary_of(fork, text, message="NetParameter"):
    theirs = message_class(schema_named(fork), message)()
    return text_format.Parse(text, theirs).SerializeToString()


def read(tmp_path, fork, text):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(binary_of(fork, text))
    return path, read_net(path)


SEGNET = """
layer { name: "u" type: "Upsample" bottom: "a" bottom: "m" top: "u"
        upsample_param { scale: 2 upsample_h: 45 } }
layer { name: "b" type: "BN" bottom: "u" top: "b" bn_param { bn_mode: INFERENCE } }
"""
PSPNET = """
layer { name: "i" type: "Interp" bottom: "a" top: "i" interp_param { zoom_factor: 8 } }
layer { name: "b" type: "BN" bottom: "i" top: "b"
        bn_param { frozen: true momentum: 0.9 } }
"""
CPM = """
layer { name: "d" type: "CPMData" top: "d" top: "l"
        cpm_transform_param { stride: 8 max_rotate_degree: 40 }
        data_param { source: "x" } }
"""
C3D = """
layers { name: "c" type: CONVOLUTION3D bottom: "a" top: "c"
         convolution_param { num_output: 2 kernel_size: 3 kernel_depth: 5 }
         blobs { num: 2 channels: 1 length: 1 height: 3 width: 1
                 data: 1 data: 2 data: 3 data: 4 data: 5 data: 6 } }
"""
NVCAFFE = """
layer { name: "c" type: "Convolution" bottom: "a" top: "c" forward_type: FLOAT16
        convolution_param { num_output: 2 kernel_size: 3 } }
"""
CASES = {
    "segnet": SEGNET,
    "pspnet": PSPNET,
    "cpm-train": CPM,
    "c3d-v1.0": C3D,
    "nvidia-0.17": NVCAFFE,
}


@pytest.mark.parametrize("fork", CASES)
def test_a_file_tells_its_fork(tmp_path, recwarn, fork):
    path, _ = read(tmp_path, fork, CASES[fork])
    assert fork_of(path) == fork
    assert not [w for w in recwarn if "fork" in str(w.message)]


@pytest.mark.parametrize("fork", ["segnet", "pspnet", "cpm-train", "nvidia-0.17"])
def test_a_file_is_read_and_written_without_loss(tmp_path, fork):
    path, net = read(tmp_path, fork, CASES[fork])
    out = tmp_path / "out.caffemodel"
    write_message(out, net, source=path)
    assert out.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fork", ["segnet", "pspnet", "cpm-train", "nvidia-0.17"])
def test_the_text_of_a_binary_file_is_that_of_the_fork(tmp_path, fork):
    _, net = read(tmp_path, fork, CASES[fork])
    theirs = message_class(schema_named(fork), "NetParameter")()
    text_format.Parse(to_text(net), theirs)
    assert theirs.SerializeToString() == binary_of(fork, CASES[fork])


def test_unknown_fields_become_text(tmp_path):
    _, net = read(tmp_path, "cpm-train", CPM)
    assert net.layer[0].data_param.source == "x"
    (text,) = net.layer[0].unknown_fields
    assert text == "cpm_transform_param { stride: 8 max_rotate_degree: 40.0 }"


def test_a_value_that_our_enum_lacks_becomes_text():
    text = 'layer { name: "p" norm_param { across_spatial: false } }'
    text += (
        ' layer { name: "c" type: "Convolution" convolution_param { engine: MKL2017 } }'
    )
    net = read_as_ours(binary_of("intel", text), NetParameter, "intel")
    assert list(net.layer[1].convolution_param.unknown_fields) == ["engine: MKL2017"]
    assert as_fork(net, "intel").SerializeToString() == binary_of("intel", text)


def test_arrays_of_c3d_have_five_axes(tmp_path):
    _, net = read(tmp_path, "c3d-v1.0", C3D)
    (blob,) = net.layers[0].blobs
    assert list(blob.shape.dim) == [2, 1, 1, 3, 1]
    assert list(blob.data) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("values", [True, False])
def test_a_plain_file_is_read_without_a_word(tmp_path, values):
    text = """
    layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
    layer { name: "e" type: "Embed" bottom: "x" top: "e"
            embed_param { num_output: 2 input_dim: 3 } }
    layer { name: "p" type: "Pooling" bottom: "e" top: "p"
            pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
    """
    net = parse(text, NetParameter)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_net(path, values=values) == net
    assert fork_of(path) is None


ROUNDED = """
layer { name: "p" type: "Pooling" bottom: "x" top: "p"
        pooling_param { kernel_size: 3 ceil_mode: false } }
"""


def test_a_doubtful_field_is_named(tmp_path):
    said = r"field 13 of PoolingParameter is round_mode.*or ceil_mode.*--fork"
    with pytest.warns(SpecWarning, match=said):
        _, net = read(tmp_path, "rfcn-priv", ROUNDED)
    assert net.SerializeToString() == binary_of("rfcn-priv", ROUNDED)


def test_a_fork_in_force_decides(tmp_path, recwarn):
    with forks.use("rfcn-priv"):
        path, net = read(tmp_path, "rfcn-priv", ROUNDED)
    assert "ceil_mode: false" in to_text(net)
    again = read_message(path, NetParameter, fork="py-RFCN-priv")
    assert again == net
    assert not recwarn


def test_what_is_not_of_the_fork_in_force_is_refused(tmp_path):
    path, _ = read(tmp_path, "segnet", SEGNET)
    with pytest.raises(FileError, match=r"no NetParameter of PSPNet.*may be of segnet"):
        read_message(path, NetParameter, fork="pspnet")


def test_fields_of_nobody_are_named_and_kept(tmp_path):
    data = binary_of("segnet", SEGNET)
    layer = b"\x0a\x01x\x12\x04ReLU\xc0\xbb\x78\x01"  # number 246712, a varint
    data += b"\xa2\x06" + bytes([len(layer)]) + layer
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.warns(
        SpecWarning, match="no schema.*fields: field 246712 of LayerParameter;"
    ):
        net = read_net(path)
    assert net.SerializeToString() == data


def test_forks_are_known_by_word_and_by_name():
    assert schema_named("PSPNet").word == "pspnet"
    with pytest.raises(SpecError, match="no fork 'psp-net'; did you mean 'pspnet'"):
        forks.use("psp-net")


def test_a_fork_is_in_force_until_the_end_of_the_block():
    from netspec.forks.chosen import in_force

    with forks.use("ssd"):
        assert in_force().name == "SSD"
        with forks.use(None):
            assert in_force() is None
    assert in_force() is None


def test_what_a_fork_lacks_is_refused():
    net = NetParameter()
    net.layer.add(name="i", type="Interp").unknown_fields.append(
        "cpm_transform_param { stride: 8 }"
    )
    with pytest.raises(SpecError, match=r"for SegNet: LayerParameter: cpm_transform"):
        as_fork(net, "segnet")
    with pytest.raises(SpecError, match="old form only"):
        as_fork(net, "c3d-v1.0")


def test_kept_text_tells_the_fork_for_a_binary_file(tmp_path):
    net = NetParameter()
    net.layer.add(name="d", type="CPMData").unknown_fields.append(
        "cpm_transform_param { stride: 8 }"
    )
    path = tmp_path / "net.caffemodel"
    write_message(path, net)
    text = 'layer { name: "d" type: "CPMData" cpm_transform_param { stride: 8 } }'
    assert path.read_bytes() == binary_of("cpm-train", text)


def test_kept_text_of_several_forks_is_said(tmp_path):
    net = NetParameter()
    net.layer.add(name="b", type="BN").unknown_fields.append("local_param { pad: 1 }")
    path = tmp_path / "net.caffemodel"
    with pytest.warns(SpecWarning, match="local_param.*caffe-windows.*--fork NAME"):
        write_message(path, net)
    assert NetParameter.FromString(path.read_bytes()) == net


def test_other_messages_are_read_too(tmp_path):
    path = tmp_path / "solver.pb"
    text = 'net: "x" plateau_winsize: 3'
    path.write_bytes(binary_of("ssd", text, "SolverParameter"))
    solver = read_message(path, SolverParameter, fork="ssd")
    assert "plateau_winsize: 3" in to_text(solver)
    mean = tmp_path / "mean.binaryproto"
    mean.write_bytes(
        BlobProto(num=1, channels=3, height=1, width=1).SerializeToString()
    )
    assert read_message(mean, BlobProto).channels == 3


def test_all_schemas_explain_what_they_wrote():
    known = known_meanings()
    for fork in known.tables.forks:
        text = 'layers { name: "x" type: RELU bottom: "a" top: "a" }'
        if fork.form == "layer":
            text = 'layer { name: "x" type: "ReLU" bottom: "a" top: "a" }'
        if fork.word in ("bvlc-2014-version", "bvlc-pr96", "bvlc-pr196", "bvlc-pr244"):
            continue  # theirs look otherwise, or need a version
        told = tell(binary_of(fork.word, text), "NetParameter", known)
        assert told.whole & known.bits[fork.word], fork.word
        assert not told.doubts


def test_what_no_schema_has_is_named_where_it_stands(tmp_path):
    net = NetParameter()
    net.layer.add(name="a", type="Convolution").param.add(name="w")
    net.layer[0].param[0].MergeFromString(bytes([0x98, 0x06, 1]))  # field 99
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.warns(SpecWarning, match="has all its fields: field 99 of ParamSpec;"):
        read_net(path)
