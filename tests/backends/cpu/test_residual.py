"""Sums in training, with BatchNorm, ReLU and Split around them, as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime

SHAPE = (3, 5, 9, 7)


def convolution(name: str, bottom: str, top: str) -> str:
    return f"""
        layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}"
                convolution_param {{ num_output: 5 kernel_size: 3 pad: 1
                                     bias_term: false
                                     weight_filler {{ type: "xavier" }} }} }}
    """


def normalized(name: str, bottom: str, top: str, layers: Sequence[str]) -> str:
    text = convolution(f"{name}/conv", bottom, top)
    for kind in layers:
        options = "scale_param { bias_term: true }" if kind == "Scale" else ""
        text += f"""
            layer {{ name: "{name}/{kind}" type: "{kind}" bottom: "{top}" top: "{top}"
                    {options} }}
        """
    return text


def block(
    number: int,
    bottom: str,
    *,
    layers: Sequence[str],
    relu: bool,
    projected: bool,
    way_first: bool = True,
) -> tuple[str, str]:
    """Return the text of a block with a way around it, and its top."""
    text, top = "", f"sum{number}"
    way, inside = bottom, f"inside{number}"
    around = normalized(f"way{number}", bottom, f"way{number}", layers)
    through = normalized(f"in{number}", bottom, inside, layers)
    if projected:
        way = f"way{number}"
        text = around + through if way_first else through + around
    else:
        text = through
    text += f"""
        layer {{ name: "sum{number}" type: "Eltwise" bottom: "{way}"
                bottom: "{inside}" top: "{top}" }}
    """
    if relu:
        text += f"""
            layer {{ name: "relu{number}" type: "ReLU" bottom: "{top}" top: "{top}" }}
        """
    return text, top


def net_of(**options: object) -> str:
    """Return a net of three blocks, the second of which has a convolution around it."""
    dims = " ".join(f"dim: {size}" for size in SHAPE)
    text = f"""
        layer {{ name: "x" type: "Input" top: "x"
                input_param {{ shape {{ {dims} }} }} }}
    """ + convolution("first", "x", "first")
    bottom = "first"
    for number, projected in enumerate((False, True, False)):
        given = dict(options) | {"projected": projected}
        more, bottom = block(number, bottom, **given)  # type: ignore[arg-type]
        text += more
    return (
        text
        + f"""
        layer {{ name: "square" type: "Power" bottom: "{bottom}" top: "square"
                loss_weight: 0.1 power_param {{ power: 2 shift: 0.3 }} }}
    """
    )


def trained(text: str, backend: str, keep: Sequence[str] | None) -> list[np.ndarray]:
    """Return what two training passes leave in parameters, gradients and blobs."""
    net = runtime.Net(text, runtime.TRAIN, seed=3, backend=backend, keep=keep)
    rng = np.random.default_rng(5)
    for name, blobs in net.params.items():
        if name.endswith("Scale"):
            for blob in blobs:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    for _ in range(2):
        net.blobs["x"].data[...] = rng.normal(size=SHAPE)
        net.forward_backward()
    arrays = [net.blobs["square"].data]
    for blobs in net.params.values():
        arrays += [array for blob in blobs for array in (blob.data, blob.diff)]
    for name in net.blobs if keep is None else keep:
        arrays += [net.blobs[name].data, net.blobs[name].diff]
    return [np.array(one) for one in arrays]


@pytest.mark.parametrize("keep", [None, (), ("sum1",), ("inside1",)])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("way_first", [True, False])
@pytest.mark.parametrize(
    "layers", [(), ("BatchNorm",), ("BatchNorm", "Scale"), ("BatchNorm", "ReLU")]
)
def test_sums_joined_with_their_neighbours_give_the_same_gradients(
    keep: Sequence[str] | None, relu: bool, way_first: bool, layers: Sequence[str]
) -> None:
    text = net_of(layers=layers, relu=relu, way_first=way_first)
    fast, slow = (trained(text, backend, keep) for backend in ("numpy", "portable"))
    for got, want in zip(fast, slow, strict=True):
        limit = 2e-5 * max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got, want, rtol=0, atol=limit)


def test_a_normalization_before_a_sum_adds_and_reads_the_gradient_of_the_way() -> None:
    text = net_of(layers=("BatchNorm", "Scale"), relu=True)
    net = runtime.Net(text, runtime.TRAIN, keep=())
    fusion = net.plan.fusion
    assert fusion is not None
    node_of = net.graph.node_of
    forward = fusion.forward()
    backward = fusion.backward({node.index: (False,) * 3 for node in net.graph.nodes})
    for number in range(3):
        total, relu = node_of[f"sum{number}"].index, node_of[f"relu{number}"].index
        (call,) = forward[total]
        assert call.kernel.function.__name__ == "normalize"
        assert call.record["added"][0] != 0
        assert forward[relu] == []
        (call,) = backward[node_of[f"in{number}/BatchNorm"].index]
        way = net.graph.edges[node_of[f"sum{number}"].bottoms[0]]
        assert call.record["dy"][0] == net.plan.diff[way.index].ctypes.data
