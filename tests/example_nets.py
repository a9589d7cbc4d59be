"""Short ways to make nets in tests."""

from collections.abc import Mapping, Sequence

from google.protobuf import text_format

from netspec.graph import Graph, build
from netspec.nets.filter import merge_state
from netspec.schema import TEST, NetParameter

DATA = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
"""
LABEL = """
layer { name: "lb" type: "Input" top: "label" input_param { shape { dim: 2 } } }
"""


def net(text: str) -> NetParameter:
    """Return the message of prototxt text."""
    return text_format.Parse(text, NetParameter())


def graph(
    text: str,
    phase: int = TEST,
    level: int = 0,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Return the graph of prototxt text."""
    message = net(text)
    return build(message, merge_state(message, phase, level, stages), shapes=shapes)


def layer(name: str, kind: str, bottoms: str, tops: str, more: str = "") -> str:
    """Return the text of a layer; blobs are separated by blanks."""
    blobs = [f'bottom: "{blob}"' for blob in bottoms.split()]
    blobs += [f'top: "{blob}"' for blob in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {more} }}\n'


def fc(name: str, bottom: str, top: str, outputs: int, more: str = "") -> str:
    """Return the text of an InnerProduct layer."""
    option = f"inner_product_param {{ num_output: {outputs} }}"
    return layer(name, "InnerProduct", bottom, top, f"{option} {more}")


def names(net: NetParameter) -> list[str]:
    """Return the names of the layers of a net."""
    return [layer.name for layer in net.layer]


# A net with everything usual; one for both phases; one with everything odd.
TOWER = """\
name: "tower"
input: "data"
input_shape { dim: 2 dim: 3 dim: 9 dim: 8 }
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param { name: "w" lr_mult: 0.5 }
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "pool1"
  type: "Pooling"
  bottom: "conv1"
  top: "pool1"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 }
}
layer {
  name: "fc8"
  type: "InnerProduct"
  bottom: "pool1"
  top: "fc8"
  inner_product_param { num_output: 7 }
}
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
"""

TRAIN_TEST = """\
name: "both"
force_backward: true
state { level: 2 stage: "deep" }
layer {
  name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "train_lmdb" batch_size: 64 backend: LMDB }
}
layer { name: "noise" type: "DummyData" top: "noise"
  dummy_data_param { shape { dim: 4 dim: 3 }
    data_filler { type: "gaussian" std: 0.1 } } }
layer {
  name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "test_lmdb" batch_size: 100 backend: LMDB }
  transform_param { scale: 0.00390625 mean_value: 104 mean_value: 117 }
}
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "scores"
  inner_product_param { num_output: 10 } }
layer { name: "ip" type: "ReLU" bottom: "scores" top: "scores" }
layer { name: "drop" type: "Dropout" bottom: "scores" top: "scores"
  include { phase: TRAIN } dropout_param { dropout_ratio: 0.3 } }
layer { name: "drop" type: "Dropout" bottom: "scores" top: "scores"
  include { phase: TEST } dropout_param { dropout_ratio: 0.2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label"
  loss_weight: 0.5 include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label"
  top: "loss" include { phase: TEST stage: "deep" } }
layer { name: "quiet" type: "Silence" bottom: "noise" }
"""

ODD = """\
layer { type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "mix" type: "Python" bottom: "a" bottom: "b" top: "c" top: "b"
  python_param { module: "m" layer: "l" param_str: "{'a': \\"b\\"}" } }
layer { name: "same" type: "Sigmoid" bottom: "c" top: "c" lrn_param { } }
layer { name: "same" type: "Sigmoid" bottom: "c" top: "d" }
layer { name: "s" type: "Own" bottom: "d" bottom: "b" }
layer { name: "two" type: "Python" bottom: "c" bottom: "d" top: "c" top: "d" }
layer { name: "last" type: "Concat" bottom: "c" bottom: "d" bottom: "b" top: "e" }
layer { name: "e" type: "Power" bottom: "e" top: "e"
  power_param { shift: -0 scale: 0.1 power: inf } }
layer { name: "e" type: "Power" bottom: "e" top: "e" }
"""
