import pytest

from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from tests.backends.cuda.oracle import check_own

OPTIONS = {
    "plain": "num_output: 6 kernel_size: 3",
    "strides": "num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad: 1",
    "groups": "num_output: 4 kernel_size: 3 group: 2 pad: 1",
    "depthwise": "num_output: 4 kernel_size: 3 group: 4",
    "one by one": "num_output: 5 kernel_size: 1",
    "dilated": "num_output: 3 kernel_size: 2 dilation: 2 bias_term: false",
    "leftover": "num_output: 3 kernel_size: 2 stride: 3",
}
X = (2, 4, 7, 9)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_convolution(cuda, options, precision):
    text = f'type: "Convolution" convolution_param {{ {options} }}'
    check_own(cuda, text, [X], precision=precision, own=Convolution)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_deconvolution(cuda, options, precision):
    text = f'type: "Deconvolution" convolution_param {{ {options} }}'
    check_own(cuda, text, [X], precision=precision, own=Deconvolution)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 4, 5, 6)], ids=str)
def test_one_and_three_spatial_axes(cuda, kind, shape):
    text = f'type: "{kind}" convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }}'
    check_own(cuda, text, [shape])


def test_several_bottoms_add_up(cuda):
    options = "convolution_param { num_output: 4 kernel_size: 3 }"
    text = f'type: "Convolution" top: "one" top: "other" {options}'
    check_own(cuda, text, [X, X])


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_few_channels_without_a_gradient_are_padded(cuda, channels, precision):
    text = """type: "Convolution" convolution_param {
        num_output: 6 kernel_size: 3 stride: 2 }"""
    layer = check_own(
        cuda, text, [(2, channels, 9, 7)], precision=precision, wanted_bottoms=[False]
    )
    limit = {"float32": 0, "tf32": 4}.get(precision, 8)
    assert ("padded" in layer.kernel.inner.work) == (channels < limit)
