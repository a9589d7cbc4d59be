import pytest

from netspec.errors import ShapeError, SpecError
from netspec.ops import infer, known_types, op_class
from netspec.ops.base import SourceOp, fields_of
from tests.ops.reading import layer, read, refuses

BVLC_TYPES = (
    "AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat "
    "ContrastiveLoss Convolution Crop Data Deconvolution Dropout DummyData ELU "
    "Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss "
    "Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM LSTMUnit Log MVN "
    "MemoryData MultinomialLogisticLoss PReLU Parameter Pooling Power Python RNN "
    "ReLU Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss Silence "
    "Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData "
)
FORK_TYPES = (
    "AnnotatedData BoxAnnotatorOHEM DetectionEvaluate DetectionOutput MultiBoxLoss "
    "Normalize PSROIPooling Permute PriorBox Proposal ROIAlign ROIPooling SmoothL1Loss "
    "SmoothL1LossOHEM SoftmaxWithLossOHEM VideoData "
)
CAFFE_TYPES = {*BVLC_TYPES.split(), *FORK_TYPES.split()}


def test_every_type_of_caffe_and_of_the_forks_has_a_definition():
    assert set(known_types()) >= CAFFE_TYPES


# Other names of forks for what is there: a group for every channel.
OTHER_NAMES = {
    *("ConvolutionDepthwise", "DepthwiseConvolution", "EltwiseAffine"),
    *("LargeMarginInnerProduct", "ReLUX"),
}


def test_every_type_has_a_class_of_its_name():
    for name in set(known_types()) - OTHER_NAMES:
        assert op_class(name).type == name
        assert op_class(name).__name__ == name


def test_sources_are_the_layers_that_bring_data():
    sources = {name for name in CAFFE_TYPES if issubclass(op_class(name), SourceOp)}
    assert sources == {
        "AnnotatedData",
        "Data",
        "DummyData",
        "HDF5Data",
        "ImageData",
        "Input",
        "MemoryData",
        "VideoData",
        "WindowData",
    }


def test_an_unknown_type_is_refused_with_the_nearest_spelling():
    with pytest.raises(SpecError, match=r"'it' .*'Convolutoin'; did you mean 'Convol"):
        read('type: "Convolutoin"', (2, 3))


def test_a_top_too_large_to_count_is_refused():
    text = 'type: "Tile" top: "y" tile_param { axis: 1 tiles: 2000000000 }'
    refuses(text, (3, 2), match="top 0 would have shape .* at most 2147483647")


def test_a_parameter_too_large_to_count_is_refused():
    text = """type: "InnerProduct" top: "y"
        inner_product_param { num_output: 70000 }"""
    refuses(
        text, (1, 70000), match="parameter 0 would have shape .* at most 2147483647"
    )


def test_an_axis_out_of_range_is_refused_with_the_range():
    text = 'type: "Softmax" top: "y" softmax_param { axis: 3 }'
    refuses(
        text, (2, 3, 4), match="axis is 3, .* 3 axes; expected a value from -3 to 2"
    )


def test_shapes_are_accepted_as_lists():
    op = infer(layer('type: "ReLU" top: "y" bottom: "x"'), [[2, 3]])
    assert op.tops == ((2, 3),)
    assert op.name == "it"


def test_fields_leave_out_the_proto():
    op = read('type: "ReLU" top: "y" relu_param { negative_slope: 0.5 }', (2, 3))
    fields = fields_of(op)
    assert fields["negative_slope"] == 0.5
    assert fields["tops"] == ((2, 3),)
    assert "layer" not in fields


def test_shape_errors_are_value_errors():
    assert issubclass(ShapeError, ValueError)
