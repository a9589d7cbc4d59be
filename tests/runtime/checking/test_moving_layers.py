"""Layers in Python whose tops move, checked at the shapes where they settle."""

from __future__ import annotations

import pytest

import runtime
from netspec.errors import SpecError
from runtime import TRAIN, check_gradients
from tests.runtime.execution.own_layers import MODULE, X, own
from tests.runtime.training.test_python_nets import MODULE as TRAINED
from tests.runtime.training.test_python_nets import fcn

SUM = 'layer { name: "l" type: "Reduction" bottom: "r" top: "l" loss_weight: 1 }'
MOVING = X + own("a", "Affine") + own("r", "Positive", "a", "r n") + SUM


def test_layers_with_learned_blobs_and_tops_that_move_are_checked():
    result = check_gradients(MOVING, allow_python=[MODULE])
    assert result.ok
    assert [row.name for row in result.rows] == ["x", "a[0]", "a[1]"]
    made = runtime.Net(MOVING, TRAIN, allow_python=[MODULE])
    assert check_gradients(made).ok  # its code was allowed when it was made


def test_data_of_another_size_in_every_pass_needs_shapes():
    with pytest.raises(SpecError, match=r"'data' \(Python\): its tops have other sha"):
        check_gradients(fcn(), allow_python=[TRAINED])
    shapes = {"data": (1, 1, 6, 7), "label": (1, 1, 6, 7)}
    assert check_gradients(fcn(), shapes=shapes, samples=5).ok
