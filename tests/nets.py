"""Short ways to make nets in tests."""

from collections.abc import Mapping, Sequence

from google.protobuf import text_format

from netspec.graph import Graph, build, merge_state
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
