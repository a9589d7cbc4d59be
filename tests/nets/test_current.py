"""`nets.current`, and what a state keeps: `KeptNet`."""

import pytest

from netspec.graph import build, build_kept
from netspec.nets.current import current
from netspec.nets.filter import kept_net
from netspec.nets.state import State
from netspec.schema import TEST, TRAIN
from netspec.text import write_message
from tests.example_nets import DATA, fc, net

OLD = """
input: "data" input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1
layers { name: "y" type: INNER_PRODUCT bottom: "data" top: "y"
         blobs { shape { dim: 5 dim: 3 } data: [1, 2, 3] }
         inner_product_param { num_output: 5 } }
"""
RULES = DATA + "".join(
    fc(name, "data", name, 2, f"include {{ phase: {name} }}")
    for name in ("TRAIN", "TEST")
)


@pytest.fixture(params=["text", "binary"])
def path(request, tmp_path):
    if request.param == "text":
        file = tmp_path / "net.prototxt"
        file.write_text(OLD)
    else:
        file = tmp_path / "net.caffemodel"
        write_message(file, net(OLD))
    return file


def test_a_net_of_any_kind_is_brought_to_the_current_form(path):
    for given in (path, str(path), OLD, net(OLD)):
        found = current(given)
        assert [layer.type for layer in found.layer] == ["Input", "InnerProduct"]
        assert list(found.layer[1].blobs[0].data) == [1, 2, 3]


def test_values_of_a_file_may_be_left_out(path):
    found = current(path, values=False)
    assert not found.layer[1].blobs[0].data
    assert list(found.layer[1].blobs[0].shape.dim) == [5, 3]


def test_values_of_a_message_stay():
    message = net(OLD)
    assert current(message, values=False).layer[1].blobs[0].data
    assert message == net(OLD)


def test_a_current_message_is_taken_as_it_is():
    message = net(RULES)
    assert current(message) is message


@pytest.mark.parametrize(("phase", "name"), [(TRAIN, "TRAIN"), (TEST, "TEST")])
def test_a_kept_net_has_the_layers_of_its_state(phase, name):
    kept = kept_net(net(RULES), State(phase))
    assert [layer.name for layer in kept.message.layer] == ["in", name]
    assert kept.message.state.phase == kept.state.phase == phase


def test_the_graph_of_a_kept_net_is_that_of_the_net():
    state = State(TRAIN)
    shapes = {"data": (5, 7)}
    message = net(RULES)
    kept = kept_net(message, state)
    assert build_kept(kept, shapes=shapes) == build(message, state, shapes=shapes)
    assert build_kept(kept).state is state
