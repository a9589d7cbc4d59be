"""What is told of gradients amid backward stands there at its end."""

from __future__ import annotations

import numpy as np
import pytest

import netspec as ns
import runtime
from netspec import L
from runtime.arena import Flat
from runtime.execution.buckets import Bucket, buckets_of
from tests.backends.cpu.test_residual import block

DATA = """
    force_backward: true
    layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 3 dim: 5 dim: 9 dim: 7 } shape { dim: 3 }
            data_filler { type: "gaussian" std: 1 }
            data_filler { type: "constant" value: 2 } } }
"""
LOSS = """
    layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label"
        top: "loss" }
"""


def residual(layers: tuple[str, ...], *, projected: bool) -> str:
    text, top = DATA, "data"
    for number in range(3):
        more, top = block(number, top, layers=layers, relu=True, projected=projected)
        text += more
    return text + LOSS % top


def shared() -> str:
    n = ns.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[3, 6]), dict(dim=[3])],
        data_filler=[dict(type="gaussian", std=1), dict(type="constant", value=2)],
        ntop=2,
    )
    x = n.data
    for number in range(5):
        name = ("one", "two", "one", "three", "two")[number]
        x = L.InnerProduct(
            x,
            num_output=6,
            weight_filler=dict(type="xavier"),
            param=[dict(name=f"{name}_w"), dict(name=f"{name}_b")],
        )
        n[f"ip{number}"] = x
        x = L.TanH(x)
        n[f"tanh{number}"] = x
    n.last = L.InnerProduct(x, num_output=4, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.last, n.label)
    return str(n.to_proto())


def frozen() -> str:
    return residual(("BatchNorm", "ReLU"), projected=True).replace(
        'name: "in1/conv"', 'name: "in1/conv" param { lr_mult: 0 }'
    )


NETS = {
    "normalized": residual(("BatchNorm", "Scale", "ReLU"), projected=False),
    "projected": residual(("BatchNorm", "Scale"), projected=True),
    "plain": residual(("ReLU",), projected=False),
    "frozen": frozen(),
    "shared": shared(),
}


class Told:
    """Compares what is told amid passes with what they leave."""

    def __init__(self, net: runtime.Net, nbytes: int) -> None:
        self.net = net
        self.buckets = buckets_of(net.graph, net.flat, nbytes)
        self.counts: list[int] = []
        self.then: list[np.ndarray] = []
        net.tell_of(self.buckets, self.tell)

    def tell(self, count: int) -> None:
        self.counts.append(count)
        for one in self.buckets[len(self.then) : count]:
            self.then.append(self.net.flat.diff[one.start : one.stop].copy())

    def check(self) -> None:
        """Train passes, and compare."""
        flat = self.net.flat
        for accumulate in (False, True):
            self.counts.clear()
            self.then.clear()
            self.net.forward_backward(accumulate)
            counts = self.counts
            assert counts == sorted(set(counts))
            assert counts[-1] == len(self.buckets) == len(self.then)
            for one, values in zip(self.buckets, self.then, strict=True):
                np.testing.assert_array_equal(values, flat.diff[one.start : one.stop])
                assert values.any(), "a gradient of zeros would show nothing"


@pytest.mark.parametrize("kernels", ["own", "portable"])
@pytest.mark.parametrize("name", NETS)
def test_what_is_told_is_complete(name, kernels):
    backend = "numpy" if kernels == "own" else "portable"
    told = Told(runtime.Net(NETS[name], runtime.TRAIN, backend=backend), 256)
    places = sorted((one.start, one.stop) for one in told.buckets)
    ends = [stop for _, stop in places]
    assert [0, *ends] == [*(start for start, _ in places), told.net.flat.unlearned]
    told.check()
    assert len(told.counts) >= 3


def test_what_is_computed_again_is_no_gradient():
    net = runtime.Net(NETS["normalized"], runtime.TRAIN, keep=[], memory_limit="1MB")
    needs = net.memory_bytes + 4 * 2 * net.flat.data.size
    net = runtime.Net(NETS["normalized"], runtime.TRAIN, memory_limit=needs - 2000)
    assert net.recomputation is not None
    assert net.recomputation.again
    told = Told(net, 256)
    told.check()
    assert len(told.counts) >= 3


def test_plans_of_other_shapes_tell_too():
    text = NETS["normalized"].replace("DummyData", "Input")
    text = (
        text[: text.index("dummy_data_param")]
        + ("input_param { shape { dim: 3 dim: 5 dim: 9 dim: 7 } shape { dim: 3 } } }")
        + text[text.index("    layer {", text.index("dummy_data_param")) :]
    )
    net = runtime.Net(text, runtime.TRAIN)
    told = Told(net, 256)
    for size in (3, 2, 4, 2):
        for blob in (net.blobs["data"], net.blobs["label"]):
            blob.reshape(size, *blob.shape[1:])
        net.reshape()
        net.blobs["data"].data[...] = np.random.default_rng(size).random(
            net.blobs["data"].shape
        )
        told.check()
        assert len(told.counts) >= 3


def test_layers_that_replan_as_they_run_tell_too():
    text = (
        DATA
        + """
        layer { name: "select" type: "DummyData" top: "select"
            dummy_data_param { shape { dim: 3 }
                data_filler { type: "uniform" min: 0 max: 1.4 } } }
        layer { name: "round" type: "Threshold" bottom: "select" top: "chosen"
            threshold_param { threshold: 0.5 } }
        layer { name: "filter" type: "Filter" bottom: "data" bottom: "label"
            bottom: "chosen" top: "some" top: "labels" }
    """
    )
    more, top = block(
        0, "some", layers=("BatchNorm", "Scale", "ReLU"), relu=True, projected=True
    )
    net = runtime.Net(
        text + more + (LOSS % top).replace('bottom: "label"', 'bottom: "labels"'),
        runtime.TRAIN,
        seed=3,
    )
    told = Told(net, 256)
    sizes = set()
    for _ in range(6):
        told.check()
        sizes.add(net.blobs["some"].shape[0])
        assert len(told.counts) >= 3
    assert len(sizes) > 1


def test_a_large_gradient_is_in_pieces_and_small_ones_share():
    graph = runtime.Net(shared(), runtime.TRAIN).graph
    flat = runtime.Net(shared(), runtime.TRAIN).flat
    one = buckets_of(graph, flat, 4 * flat.diff.size)
    assert one == [Bucket(0, flat.unlearned, one[0].parameters)]
    assert sorted(one[0].parameters) == sorted(flat.slices)
    small = buckets_of(graph, flat, 40)
    assert all(bucket.stop - bucket.start <= 16 for bucket in small)


def test_a_net_that_learns_nothing_has_no_buckets():
    net = runtime.Net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
    )
    assert buckets_of(net.graph, net.flat) == []
    assert isinstance(net.flat, Flat)
