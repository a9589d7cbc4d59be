"""Habits of scripts for Caffe that netspec.compatible takes as Caffe does, or tells."""

import copy
import pickle

import numpy as np
import pytest

import netspec
from netspec import compatible
from netspec.errors import SpecError
from netspec.schema import NetParameter
from tests.test_compatible import names, no_spec_warnings, same

pytestmark = pytest.mark.filterwarnings("ignore::netspec.SpecWarning")

L, P = compatible.layers, compatible.params


def test_all_tops_of_a_layer_may_have_one_name_for_a_while():
    def build(api, L, P):
        n = api.NetSpec()
        n["data"] = both = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=2)], ntop=2)
        n.data, n.label = both
        n.fc = L.InnerProduct(n.data, num_output=3)
        n.loss = L.SoftmaxWithLoss(n.fc, n.label)
        return n.to_proto()

    assert names(same(build)) == ["data", "fc", "loss"]


def test_a_tuple_of_tops_is_there_until_the_net_is_written():
    n = compatible.NetSpec()
    n.pair = both = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=[4])], ntop=2)
    assert n.pair is n["pair"] is n.vals()[0] is both
    assert repr(n) == "<NetSpec\n  pair: DummyData (2, 3), DummyData (4,)>"
    for other in (copy.copy(n), pickle.loads(pickle.dumps(n))):
        assert [top.n for top in other.pair] == [0, 1]
    said = (
        r"test_compatible_habits.py:\d+: 'pair' is a tuple of 2 tops of one DummyData; "
    )
    with pytest.raises(SpecError, match=said + "expected one top"):
        n.to_proto()
    with pytest.raises(SpecError, match="'pair' is a tuple of 2 tops; update takes"):
        n.update("pair", dict(name="x"))
    with pytest.raises(SpecError, match=r"'other' is \(1, 2\); expected a top"):
        n.other = (1, 2)
    with pytest.raises(SpecError, match=r"'none' is \(\); expected a top"):
        n.none = ()
    del n["pair"]
    assert not n.to_proto().layer


def test_a_tuple_as_a_bottom_is_refused_in_words_of_caffe():
    both = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=[4])], ntop=2)
    with pytest.raises(TypeError) as caught:
        L.Silence(L.DummyData(shape=dict(dim=1)), both)
    said = "Silence input 1 is not a Top (type is <class 'tuple'>)"
    assert str(caught.value) == said
    assert isinstance(caught.value, SpecError)
    (note,) = caught.value.__notes__
    assert "test_compatible_habits.py:" in note
    assert "bottom 1 is a tuple of 2 tops; expected one top" in note
    with pytest.raises(TypeError, match="input 0 is not a Top .type is <class 'str'>"):
        L.ReLU("data")


def test_an_empty_dictionary_in_an_item_of_a_list_sets_nothing():
    def build(api, L, P):
        n = api.NetSpec()
        n.d, n.l = L.AnnotatedData(
            ntop=2,
            annotated_data_param=dict(
                batch_sampler=[
                    dict(sampler=dict(), max_sample=1),
                    dict(sampler=dict(min_scale=0.5), max_trials=50),
                ],
            ),
        )
        n.e = L.DummyData(dummy_data_param=dict(), shape=[dict(dim=[2]), dict()])
        return n.to_proto()

    net = same(build)
    first, second = net.layer[0].annotated_data_param.batch_sampler
    assert not first.HasField("sampler")
    assert second.sampler.min_scale == 0.5
    assert len(net.layer[1].dummy_data_param.shape) == 2


def test_a_whole_float_is_taken_for_an_integer_with_a_warning():
    n = compatible.NetSpec()
    n.data = L.DummyData(shape=dict(dim=[2, 3, 9, 9]))
    with pytest.warns(netspec.SpecWarning) as seen:
        n.conv = L.Convolution(
            n.data,
            num_output=64 / 2,
            kernel_size=(3.0, 5),
            pad=np.float32(1),
            weight_filler=dict(type="gaussian", std=1.0, sparse=4 / 2),
        )
    (told,) = seen
    said = str(told.message)
    assert said.startswith("Convolution layer, ")
    assert "test_compatible_habits.py" in said
    assert "num_output is 32.0, kernel_size is 3.0, pad is " in said
    assert "weight_filler.sparse is 2.0; taken as whole, but the file has" in said
    n.update("conv", dict(stride=2.0))
    with pytest.warns(netspec.SpecWarning, match="'conv'.*: stride is 2.0; taken as"):
        n.to_proto()
    conv = n.to_proto().layer[1].convolution_param
    assert (conv.num_output, list(conv.pad), list(conv.stride)) == (32, [1], [2])
    assert (list(conv.kernel_size), conv.weight_filler.sparse) == ([3, 5], 2)
    with no_spec_warnings():
        n.to_proto()
    with pytest.raises(SpecError, match=r"num_output is 3.5; expected an integer"):
        L.InnerProduct(n.data, num_output=3.5)
    with pytest.raises(SpecError, match=r"num_output is 32.0; .*write 32, or divide"):
        netspec.layers.InnerProduct(n.data, num_output=64 / 2)
    proto = NetParameter().layer.add()
    with pytest.warns(netspec.SpecWarning, match="axis is 2.0; taken"):
        compatible.assign_proto(proto.concat_param, "axis", 2.0)
    assert proto.concat_param.axis == 2


def test_a_layer_that_is_called_later_and_comes_first_in_place_is_told():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3, 5, 4]))
        n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
        pool = L.Pooling(n.conv, pool=P.Pooling.AVE, global_pooling=True)
        n.relu = L.ReLU(n.conv, in_place=True)
        n.pool = pool
        return n.to_proto()

    assert names(same(build)) == ["data", "conv", "relu", "pool"]
    said = (
        r"layer 'pool' \(Pooling\), .*: reads blob 'conv' as layer 'relu' \(ReLU\), "
        ".*, has changed it in place: that is called later, but comes first in the "
        "net; to read the blob as it was, write that layer without in_place=True"
    )
    with pytest.warns(netspec.SpecWarning, match=said):
        build(compatible, compatible.layers, compatible.params)


def test_what_a_script_changes_after_the_call_counts_as_in_caffe():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3, 9, 9]))
        rates = [dict(lr_mult=1), dict(lr_mult=2)]
        filler = dict(type="gaussian", std=1)
        n.conv = L.Convolution(
            n.data, num_output=4, kernel_size=3, param=rates, weight_filler=filler
        )
        rates[0]["lr_mult"] = 0
        filler["std"] = 0.25
        return n.to_proto()

    conv = same(build).layer[1]
    assert [spec.lr_mult for spec in conv.param] == [0, 2]
    assert conv.convolution_param.weight_filler.std == 0.25
