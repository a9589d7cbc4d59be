"""Nets and solvers are told apart by their text."""

import pytest

from netspec.errors import SpecError
from netspec.schema import NetParameter, SolverParameter
from netspec.text import is_solver_file, read_message, read_net
from netspec.text.holding import held


@pytest.mark.parametrize(
    "text, kind",
    [
        ("base_lr: 0.1", "solver"),
        ("net: 'a'", "solver"),
        ('# layer { }\ndebug_info: true type: "layer {"', "solver"),
        ("net_param { layer { } }", "solver"),
        ("train_state < stage: 's' > base_lr: 1", "solver"),
        ("name: 'net' layer { }", "net"),
        ("debug_info: true layer { base_lr: 1 }", "net"),
        ("layers { }", "net"),
        ("input: 'x'", "net"),
        ("", None),
        ("debug_info: true", None),
    ],
)
def test_the_fields_tell(text, kind):
    assert held(text) == kind


def test_a_file_of_the_other_kind_is_refused_with_what_it_is(tmp_path):
    solver, net = tmp_path / "solver.prototxt", tmp_path / "net.prototxt"
    solver.write_text('base_lr: 0.1 net: "net.prototxt"')
    net.write_text('name: "n" layer { name: "x" type: "Input" top: "x" }')
    assert is_solver_file(solver)
    assert not is_solver_file(net)
    assert not is_solver_file(tmp_path / "gone.prototxt")
    (tmp_path / "net.caffemodel").write_text("base_lr: 1")
    (tmp_path / "other").write_bytes(b"base_lr: 1\0")
    assert not is_solver_file(tmp_path / "net.caffemodel")
    assert not is_solver_file(tmp_path / "other")
    with pytest.raises(SpecError, match="solver.prototxt: is a solver, not a net; its"):
        read_net(solver)
    with pytest.raises(SpecError, match="net.prototxt: is a net, not a solver"):
        read_message(net, SolverParameter)
    assert read_message(net, NetParameter).name == "n"
    assert read_message(solver, SolverParameter).net == "net.prototxt"
