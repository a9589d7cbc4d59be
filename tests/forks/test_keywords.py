"""Fields and types of forks, written in Python."""

import subprocess
import sys

import pytest
from google.protobuf import text_format

import netspec
from netspec import NetSpec, forks
from netspec import layers as L
from netspec.compatible import Layers
from netspec.errors import SpecError
from netspec.forks.chosen import schema_named
from netspec.forks.files import message_class
from netspec.text import to_text


def text_of(layer):
    n = NetSpec()
    n.y = layer
    return " ".join(to_text(n.to_proto()).split())


def as_of(fork, text):
    theirs = message_class(schema_named(fork), "NetParameter")()
    return text_format.Parse(text, theirs)


@pytest.mark.parametrize("functions", [L, Layers()], ids=["netspec", "caffe"])
def test_a_script_of_openpose_works(functions):
    n = NetSpec()
    n.data, n.label = functions.CPMData(
        data_param=dict(backend=1, source="train_lmdb", batch_size=10),
        cpm_transform_param=dict(stride=8, max_rotate_degree=40.0),
        ntop=2,
    )
    net = as_of("cpm-train", to_text(n.to_proto()))
    assert net.layer[0].cpm_transform_param.stride == 8
    assert net.layer[0].cpm_transform_param.max_rotate_degree == 40
    assert list(net.layer[0].top) == ["data", "label"]


def test_fields_of_a_type_s_own_parameter_stand_by_themselves():
    layer = L.Correlation(L.Input(shape=[1]), L.Input(shape=[1]), pad=20, stride_2=2)
    text = text_of(layer)
    assert 'type: "Correlation"' in text
    assert "correlation_param { pad: 20 stride_2: 2 }" in text


def test_a_field_in_a_message_of_caffe_is_kept_there():
    layer = L.Pooling(
        L.Input(shape=[1, 1, 9, 9]), kernel_size=3, avg_include_pad=True, name="p"
    )
    net = as_of("intel", text_of(layer))
    assert net.layer[1].pooling_param.avg_include_pad is True
    layer = L.Data(
        source="db", batch_size=1, transform_param=dict(fix_crop=True, mirror=True)
    )
    net = as_of("tsn", text_of(layer))
    assert net.layer[0].transform_param.fix_crop is True
    assert net.layer[0].transform_param.mirror is True


def test_a_value_that_our_enum_lacks_is_kept():
    x = L.Input(shape=[1, 1, 9, 9])
    net = as_of(
        "intel", text_of(L.Convolution(x, num_output=1, kernel_size=3, engine="MKLDNN"))
    )
    param = net.layer[1].convolution_param
    assert (
        param.DESCRIPTOR.fields_by_name["engine"]
        .enum_type.values_by_number[param.engine]
        .name
        == "MKLDNN"
    )
    with pytest.raises(SpecError, match="engine is 'MKLDNA'; expected one of 'DEFAULT"):
        L.Convolution(x, num_output=1, kernel_size=3, engine="MKLDNA")


def test_lists_and_texts_are_written_as_they_are():
    text = text_of(L.FloatWriter(L.Input(shape=[1]), file='a "b"\n'))
    assert as_of("flownet2", text).layer[1].writer_param.file == 'a "b"\n'
    text = text_of(L.Downsample(L.Input(shape=[1]), top_width=3, top_height=4))
    param = as_of("flownet2", text).layer[1].downsample_param
    assert (param.top_width, param.top_height) == (3, 4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: L.CPMData(cpm_transform_param=dict(strid=8)),
            r"test_keywords.py:\d+: cpm_transform_param.strid is no field of "  # noqa: ISC004
            r"CPMTransformationParameter; did you mean 'stride'\? \(fields of CPM\)",
        ),
        (
            lambda: L.CPMData(cpm_transform_param=dict(stride="wide")),
            r"cpm_transform_param.stride is 'wide'; expected an integer",
        ),
        (
            lambda: L.CPMData(cpm_transfrom_param=dict(stride=8)),
            "no field of a CPMData layer; did you mean 'cpm_transform_param'",
        ),
        (
            lambda: L.Correlation(L.Input(shape=[1]), max_displacment=3),
            "did you mean 'max_displacement'",
        ),
        (
            lambda: L.Resample(L.Input(shape=[1]), type="CUBICK"),
            r"resample_param.type is 'CUBICK'; expected one of .*did you mean 'CUBIC'",
        ),
        (
            lambda: L.Convolution(L.Input(shape=[1]), num_outptu=3),
            "num_outptu is no field of ConvolutionParameter; did you mean 'num_output'",
        ),
    ],
)
def test_mistakes_are_told_with_the_fork_s_own_fields(call, said):
    with pytest.raises(SpecError, match=said):
        call()


def test_types_of_nobody_are_mistakes():
    with pytest.raises(
        AttributeError, match="'Convoluton'; did you mean 'Convolution'"
    ):
        _ = L.Convoluton
    assert not hasattr(L, "NoSuchTypeAtAll")


def test_the_fork_in_force_decides_what_a_field_has():
    scores, labels = L.Input(shape=[4, 3]), L.Input(shape=[4])
    layer = L.Correlation(scores, labels, groups=2)  # which NART alone has
    assert "correlation_param { groups: 2 }" in text_of(layer)
    said = r"groups is no field of CorrelationParameter.*\(fields of FlowNet 2\)"
    with forks.use("flownet2"), pytest.raises(SpecError, match=said):
        L.Correlation(scores, labels, groups=2)


def test_several_forks_that_refuse_are_listed():
    said = r"none is no field .*FlowNet 2\); NART ha.* of this name: netspec.forks.use"
    with pytest.raises(SpecError, match=said):
        L.Correlation(L.Input(shape=[1]), correlation_param=dict(none=1))


def test_to_python_writes_keywords_that_make_the_same_net():
    n = NetSpec()
    n.x = L.Input(shape=[1, 3, 8, 8])
    n.data, n.label = L.CPMData(
        data_param=dict(source="x", batch_size=10),
        cpm_transform_param=dict(stride=8, max_rotate_degree=40.0),
        ntop=2,
    )
    n.w = L.Correlation(n.data, n.label, pad=20, max_displacement=4)
    n.p = L.Pooling(n.x, kernel_size=3, engine="MKL2017", avg_include_pad=True)
    source = n.to_python()
    assert "unknown_fields" not in source
    assert "pad=20, max_displacement=4" in source
    assert 'engine="MKL2017", avg_include_pad=True' in source
    scope = {}
    exec(source, scope)
    assert scope["net"]().to_proto() == n.to_proto()


def test_text_that_no_keyword_makes_stays_text():
    text = """layer { name: "d" type: "CPMData" top: "d"
              cpm_transform_param { max_rotate_degree: 4e1 stride: 8 } }
              layer { name: "e" type: "Silence" bottom: "d" of_nobody { x: 1 } }"""
    with pytest.warns(netspec.SpecWarning):
        spec = netspec.load(text)
    source = spec.to_python()
    assert "of_nobody" in source
    scope = {}
    exec(source, scope)
    assert scope["net"]().to_proto() == spec.to_proto()


def test_plain_nets_read_no_tables():
    code = """
import sys
from netspec import NetSpec, layers as L
n = NetSpec()
n.x = L.Input(shape=[1, 3, 8, 8])
n.y = L.Convolution(n.x, num_output=2, kernel_size=3)
str(n.to_proto())
from netspec.forks.catalogue import catalogue
print(catalogue.cache_info().currsize)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize(
    "name", ["ReLu", "intErp", "PsRoiPooling", "cpmData", "Convolutoin"]
)
def test_a_slip_of_a_type_is_no_type_of_a_fork(name):
    with pytest.raises(AttributeError, match=f"no layer type is named '{name}'"):
        getattr(L, name)
