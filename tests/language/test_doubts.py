"""What a call says that cannot be meant is refused or warned of where it stands."""

import re
import warnings

import pytest

import netspec
from netspec import NetSpec, compatible
from netspec import layers as L
from netspec import params as P
from netspec.draw import draw_dot
from netspec.errors import SpecError, SpecWarning
from netspec.graph import build
from netspec.nets.current import current
from netspec.nets.state import State


def start():
    n = NetSpec()
    n.data, n.label = L.Input(shape=[4, 3, 9, 8]), L.Input(shape=[4])
    n.score = L.InnerProduct(n.data, num_output=5)
    return n


def warned(call):
    """Return what `call` warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(each.category is SpecWarning for each in caught)
    return [str(each.message) for each in caught]


WRONG = {
    "L.Convolution(n.data, num_output=2, kernel_size=3, weight_filler='xavierr')": (
        r"weight_filler.type is 'xavierr'; did you mean 'xavier'"
    ),
    "L.Convolution(n.data, num_output=2, kernel_size=3, "
    "weight_filler=dict(type='Gausian'))": r"type is 'Gausian'; did you",
    "L.InnerProduct(n.data, num_output=2, bias_filler='zeros')": (
        r"bias_filler.type is 'zeros'; it is called 'constant' here"
    ),
    "L.DummyData(shape=[2, 3], data_filler='unifrom')": r"did you mean 'uniform'",
    "L.ReLU(n.data, param=[dict(lr_mult=0)])": (
        r"param is given, but a ReLU layer as it is written learns nothing"
    ),
    "L.InnerProduct(n.data, num_output=2, bias_term=False, param=['w', 'b'])": (
        r"param is given 2 times, but the layer .* has 1 parameter \(w\)"
    ),
    "L.Scale(n.data, bias_term=True, param=['a', 'b', 'c'])": (
        r"param is given 3 times, .* 2 parameters \(w, b\)"
    ),
    "L.SoftmaxWithLoss(n.score, n.label, loss_weight=[1, 2])": (
        r"loss_weight is given 2 times for 1 top; give it once"
    ),
    "L.Eltwise(n.data, n.data, propagate_down=[True])": (
        r"propagate_down is given 1 times for 2 bottoms"
    ),
    "L.Convolution(n.data, num_output=2, kernel_size=3, in_place=True)": (
        r"the top has shape \(4, 2, 7, 6\) and its bottom \(4, 3, 9, 8\), so it cannot"
    ),
    "L.ReLU(n.data, in_place='yes')": r"in_place is 'yes'; expected True or False",
    "L.SoftmaxWithLoss(n.label, n.score)": (
        r"scores first and label second: did you mean L.SoftmaxWithLoss\(score, label\)"
    ),
    "L.Accuracy(n.label, n.score)": r"did you mean L.Accuracy\(score, label\)\?",
    "L.SoftmaxWithLoss(n.score, n.label, ignore_label=255)": (
        r"it is one of loss_param: write loss_param=dict\(ignore_label=...\)"
    ),
    "L.Convolution(n.data, filters=4, kernel_size=3)": r"it is num_output here",
    "L.Convolution(n.data, num_output=4, kernel_size=3, activation='relu')": (
        r"activation is no field of a Convolution layer; write L.ReLU\(...\) for it"
    ),
    "L.Dense(n.data, 10)": r"no layer type is named 'Dense'; write L.InnerProduct\(",
    "L.InnerProduct(n.data, 10)": r"bottom 1 is 10; .* by name: num_output=10",
    "L.Pooling(n.data, pool=P.Pooling.AVG, kernel_size=2)": (
        r"P.Pooling has no value 'AVG'; did you mean 'AVE'"
    ),
    "L.Pooling(n.data, pool=P.Pooling.OTHER, kernel_size=2)": (
        r"P.Pooling has no value 'OTHER'; there are MAX, AVE, STOCHASTIC"
    ),
    "netspec.defaults(L.Convolution, weight_filler='xavierr').__enter__()": (
        r"defaults: weight_filler.type is 'xavierr'; did you mean"
    ),
    "netspec.defaults(weight_filler=dict(type='he')).__enter__()": (
        r"weight_filler.type is 'he'; it is called 'msra' here"
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_meant_is_refused_at_the_call(text):
    code = compile(text, "net.py", "eval")
    space = {"n": start(), "L": L, "P": P, "netspec": netspec}
    with pytest.raises(SpecError) as caught:
        eval(code, space)
    assert re.search(WRONG[text], str(caught.value)), str(caught.value)
    assert "net.py:1" in str(caught.value)


DOUBTFUL = {
    "L.LRN(n.data, in_place=True)": r"an LRN layer cannot be run in place here, as its",
    "L.ReLU(n.data, phase='TEST')": r"phase='TEST' does not keep .* include='TEST'",
    "L.ReLU(n.data, phase=0)": r"only behaves as in TRAIN in both.* include='TRAIN'",
    "L.ReLU(n.data, convolution_param=dict(num_output=1))": (
        r"convolution_param is given, but nothing of a ReLU layer reads it"
    ),
    "L.Scale(n.data, bias_filler=0.1)": (
        r"bias_filler is given, but as bias_term is False, nothing reads it"
    ),
    "L.Convolution(n.data, convolution_param=dict(num_output=2, kernel_size=1, "
    "bias_term=False, bias_filler=dict(value=1)))": r"as bias_term is False, nothing",
    "L.Eltwise(n.data, n.data, operation='MAX', coeff=[1, 2])": r"operation is not SUM",
    "L.Eltwise(n.data, n.data, stable_prod_grad=False)": r"operation is not PROD",
    "L.LRN(n.data, norm_region='WITHIN_CHANNEL', k=2)": r"k is given, but as norm_regi",
    "L.BatchNorm(n.data, use_global_stats=True, moving_average_fraction=0.9)": (
        r"moving_average_fraction is given, but as use_global_stats is True"
    ),
    "L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(normalization='FULL', "
    "normalize=True))": r"loss_param.normalize is given, but as normalization is given",
    "L.Data(source='x', batch_size=2, scale=0.5)": (
        r"nothing reads it there; write transform_param=dict\(scale=...\)"
    ),
    "L.InnerProduct(n.data, num_output=2, weight_filler=dict(type='xavier', std=3))": (
        r"weight_filler has std, but a filler of type 'xavier' reads only variance_norm"
    ),
    "L.InnerProduct(n.data, num_output=2, weight_filler='identity')": (
        r"'identity'; known are constant, .* cannot be run here"
    ),
}


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_is_doubtful_is_warned_of_once_where_it_stands(text):
    code = compile(text, f"net{len(text)}.py", "eval")
    (said,) = warned(lambda: eval(code, {"n": start(), "L": L}))
    assert re.search(DOUBTFUL[text], said), said
    assert re.search(r"\w+ layer, net\d+.py:1: ", said)


RIGHT = [
    "L.Convolution(n.data, num_output=2, kernel_size=3, bias_filler=0.2)",
    "L.Scale(n.data, bias_term=True, bias_filler=0.1, param=['w', 'b'])",
    "L.BatchNorm(n.data, param=[dict(lr_mult=0)] * 3)",
    "L.Eltwise(n.data, n.data, coeff=[1, -1], propagate_down=[True, False])",
    "L.InnerProduct(n.data, num_output=2, weight_filler=dict(type='gaussian', std=1))",
    "L.WindowData(source='w', batch_size=2, crop_size=8, crop_mode='square', ntop=2)",
    "L.ReLU(n.data, in_place=True, include='TEST')",
    "netspec.layer('Unknown', n.data, param=['a', 'b', 'c'])",
]


@pytest.mark.parametrize("text", RIGHT)
def test_nothing_is_said_of_what_is_read(text):
    space = {"n": start(), "L": L, "netspec": netspec}
    assert warned(lambda: eval(text, space)) == []


def test_defaults_that_a_layer_does_not_read_are_meant_for_others():
    n = start()
    with netspec.defaults(bias_filler=0.1):
        assert warned(lambda: L.Scale(n.data)) == []


def test_what_published_nets_say_in_every_filler_is_told_once_a_file():
    n = start()

    def calls():
        for _ in range(3):
            filler = dict(type="msra", mean=0.5)
            L.InnerProduct(n.data, num_output=2, weight_filler=filler)

    (said,) = warned(calls)
    assert "weight_filler has mean" in said


def test_scripts_for_caffe_are_warned_and_go_on():
    from netspec.compatible import layers as caffe_layers

    n = compatible.NetSpec()
    n.data = caffe_layers.Input(shape=[dict(dim=[2, 3, 9, 8])])
    said = warned(
        lambda: caffe_layers.InnerProduct(
            n.data, num_output=2, bias_term=False, param=[dict(lr_mult=1)] * 2
        )
    )
    assert len(said) == 1
    assert "param is given 2 times" in said[0]


SLIP = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 5 weight_filler { type: "xavierr" } } }
"""


def test_a_slip_in_a_file_is_refused_when_it_is_built_and_drawn_in_red():
    message = r"layer 'score' \(InnerProduct\): inner_product_param.weight_filler.type"
    with pytest.raises(
        SpecError, match=message + " is 'xavierr'; did you mean 'xavier"
    ):
        build(current(SLIP), State(netspec.TRAIN, 0, ()))
    assert "weight_filler.type is 'xavierr'" in draw_dot(SLIP)
    assert netspec.load(SLIP).to_proto().layer[1].name == "score"  # it can be mended


def test_a_mistake_in_a_module_names_its_path_and_the_call():
    @netspec.module
    def conv(x):
        return L.Convolution(x, num_output=2, kernel_size=20)

    @netspec.module
    def block(x):
        return conv(x, name="wide")

    n = start()
    code = compile("n.stage1 = block(n.data)", "net.py", "exec")
    with pytest.raises(SpecError, match="the kernel covers") as caught:
        exec(code, {"n": n, "block": block})
    said = str(caught.value)
    assert re.match(r"Convolution layer, .*test_doubts.py:\d+, in ", said), said
    assert "in 'block/wide' of net.py:1: the kernel covers" in said


def test_a_phase_is_taken_in_any_case_wherever_it_is_given():
    n = start()
    n.a = L.ReLU(n.data, include="test")
    n.b = L.ReLU(n.data, exclude=dict(phase="Test"))
    with netspec.phase("train"):
        n.c = L.TanH(n.data)
    assert [
        layer.include[0].phase for layer in n.to_proto().layer if layer.include
    ] == [
        netspec.TEST,
        netspec.TRAIN,
    ]
    kept = [layer.name for layer in n.to_proto("test").layer]
    assert kept == ["data", "label", "score", "a"]
    assert kept == [layer.name for layer in netspec.one_phase(n, "Test").layer]
    assert [row.name for row in netspec.summarize(n, "test").rows] == kept
    assert netspec.draw.draw_dot(n, phase="test") == draw_dot(n, phase="TEST")
    for wrong in ("tset", 7, True):
        with pytest.raises(SpecError, match=r"phase is .*; expected 'TRAIN'"):
            n.to_proto(wrong)
        with pytest.raises(SpecError, match=r"phase is .*; expected 'TRAIN' or 'TEST'"):
            netspec.summarize(n, wrong)


CALLS = {
    "netspec.module(3)": r"module takes a function, which .*; got 3",
    "netspec.shared(n.data)": r"shared of <Top 'data'.*; expected a module, a function",
    "netspec.to_proto([n.data])": r"is \[<Top 'data'.*go with a star: \*tops",
    "netspec.to_proto(3)": r"to_proto of something that is 3; expected a top",
    "n.update([n.data])": r"update with \[.*; expected a dictionary of tops by name",
    "netspec.deploy(n, batch_size='x')": r"batch_size is 'x'; expected a number",
    "netspec.deploy(n, shapes=3)": r"shapes is 3; expected them by name",
    "netspec.deploy(n, shapes=dict(data=3))": r"for .data. is 3; expected sizes",
    "NetSpec(3)": r"net.py:1: NetSpec: name is 3; expected text",
    "NetSpec('x', force_backwards=True)": r"net.py:1: .*did you mean 'force_backward'",
    "n.data + 'x'": r"Input\), .*: \+ with 'x'; expected a top or a n",
    "n.data + None": r"\+ with None; expected a top or a n",
    "None - n.data": r"- with None; expected a top or a n",
    "n.data / 0": r"/ with 0; expected another divisor than 0",
    "n.data ** n.data": r"expected a number; x \*\* y is exp",
    "(-2) ** n.data": r"expected a base above 0",
    "n.data @ n.data": r"products of matrices are layers: L.InnerProduct",
    "n.data > 0": r"a comparison with 0; values are known when the net runs",
    "n.data[:, 1.5:2]": r"bound 1.5 of axis 1 is no integer",
    "n.data.num_output": r"a top has no 'num_output'; it has fn, label",
    "n.data.shpae": r"a top has no 'shpae'; did you mean 'shape'",
    "n.nope": r"net.py:1: no top is named 'nope'; there are data, label, score",
    "n.dta": r"net.py:1: no top is named 'dta'; did you mean 'data'",
}


@pytest.mark.parametrize("text", CALLS)
def test_no_mistake_ends_in_an_error_of_python(text):
    space = {"n": start(), "L": L, "netspec": netspec, "NetSpec": NetSpec}
    with pytest.raises(SpecError) as caught:
        eval(compile(text, "net.py", "eval"), space)
    assert re.search(CALLS[text], str(caught.value)), str(caught.value)


def test_a_number_to_the_power_of_a_top_is_an_exponential():
    n = start()
    n.two = 2**n.data
    assert n.two.fn.type_name == "Exp"
    assert n.two.fn.params == {"base": 2}


def test_a_folder_is_its_output_in_arithmetic():
    n = start()
    n.side = NetSpec()
    n.side.output = L.ReLU(n.data)
    n.total = n.data + n.side
    n.other = n.side * n.data
    assert n.total.fn.inputs == (n.data, n.side.output)


def test_a_type_that_differs_by_a_letter_is_warned_of():
    n = start()
    (said,) = warned(lambda: netspec.layer("Convolutoin", n.data))
    assert "did you mean 'Convolution'?" in said
    assert warned(lambda: netspec.layer("Wavelet", n.data)) == []


def test_unknown_names_of_the_package_have_a_near_one():
    with pytest.raises(AttributeError, match=r"'NetSepc'; did you mean 'NetSpec'\?"):
        netspec.NetSepc  # noqa: B018 - what is asked for


MORE = {
    "L.ReLU(x=n.data)": r"x is a top, but bottoms are given by place: L.ReLU\(x, ...\)",
    "L.Data('train', batch_size=2)": r"bottom 0 is the text 'train'.*: source='train",
    "L.Input(shape={1, 3})": r"shape\[0\] is \{1, 3\}; expected a shape such as",
    "n[0]": r"net.py:1: no top is named 0; there are data",
    "n['data', 'label']": r"no top is named \('data', 'label'\)",
    "n.data.relu()": r"a top has no 'relu'; layers are functions: L.ReLU\(...\)",
    "netspec.summarize(n, shapes=3)": r"shapes is 3; expected them by name",
    "netspec.summarize(n, batch_size='x')": r"batch_size is 'x'; expected a number",
    "netspec.summarize(n, stages=3)": r"stages is 3; expected names",
    "netspec.summarize(n, level='x')": r"level is 'x'; expected an integer",
    "netspec.from_onnx(3)": r"from_onnx of 3; expected the path of a file",
    "netspec.text.to_text(3)": r"to_text of 3; expected a message or a NetSpec",
}


@pytest.mark.parametrize("text", MORE)
def test_arguments_that_cannot_be_meant_are_named(text):
    space = {"n": start(), "L": L, "netspec": netspec}
    with pytest.raises(SpecError) as caught:
        eval(compile(text, "net.py", "eval"), space)
    assert re.search(MORE[text], str(caught.value)), str(caught.value)


def test_one_stage_may_be_a_word():
    n = start()
    n.extra = L.ReLU(n.data, include=dict(stage="deep"))
    names = [row.name for row in netspec.summarize(n, stages="deep").rows]
    assert names == ["data", "label", "score", "extra"]


def test_a_spec_is_text_as_its_net_is():
    n = start()
    assert netspec.text.to_text(n) == netspec.text.to_text(n.to_proto())
