"""Random nets with odd names, layers in place and phases: equal to the runtime."""

import warnings

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import netspec
from netspec.errors import SpecError
from netspec.graph import build
from netspec.nets.filter import merge_state
from netspec.schema import TEST
from tests.onnx.writing.running import (
    check_equal,
    in_onnx,
    in_runtime,
    inputs_of,
    weights_of,
)
from tests.random_specs import specs, without_warnings


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(specs(), st.sampled_from([13, 17, 21]), st.sampled_from([None, "dynamic"]))
def test_random_nets_are_equal(n, opset, batch):
    net = without_warnings(n.to_proto)
    graph = made(lambda: build(net, merge_state(net, TEST)))
    assume(graph is not None)
    weights, x = weights_of(graph), inputs_of(graph)
    model = made(lambda: netspec.to_onnx(net, weights, opset=opset, batch=batch))
    assume(model is not None)
    # The runtime counts an input that nobody reads, or that is changed in place.
    wanted = in_runtime(net, weights, x)
    got = in_onnx(model, x)
    check_equal({n: v for n, v in got.items() if n in wanted}, wanted)


def made(make):
    """What `make` returns; None where rules leave no net, or none for use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", netspec.SpecWarning)
        try:
            return make()
        except SpecError:
            return None
