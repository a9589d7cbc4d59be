"""Layers with fields that nobody here knows do not run as if they had none."""

import pytest

from netspec.errors import UnsupportedError
from netspec.text import parse
from runtime import TRAIN, Net, Solver

pytestmark = pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 2, 6, 5] } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" %s
  pooling_param { kernel_size: 2 %s } }
layer { name: "s" type: "Scale" bottom: "p" top: "s" include { phase: TRAIN }
  scale_param { filler { type: "gaussian" %s } } }
"""


def test_the_error_names_layer_field_and_fork():
    with pytest.raises(UnsupportedError) as caught:
        Net(NET % ("odd: 1", "norm_region: A", "diag_val: 2"), TRAIN)
    said = str(caught.value)
    assert "layer 'p' (Pooling)" in said
    assert "PoolingParameter.norm_region is no field of Caffe, nor of a fork" in said
    assert "LayerParameter.odd is no field" in said
    assert "layer 's' (Scale): FillerParameter.diag_val is a field of " in said
    assert "take it out" in said


def test_layers_of_another_phase_may_have_them():
    net = Net(NET % ("", "", "diag_val: 2"))
    assert list(net.blobs) == ["x", "p"]
    with pytest.raises(UnsupportedError, match="layer 's' .*diag_val"):
        Net(NET % ("", "", "diag_val: 2"), TRAIN)


def test_rules_may_have_none_in_any_phase():
    text = NET % ("", "", "")
    text = text.replace("phase: TRAIN", "phase: TRAIN odd: 1")
    with pytest.raises(UnsupportedError, match=r"'s' .*NetStateRule.odd is no field"):
        Net(text)


def test_what_changes_no_number_is_let_be():
    options = "device: 1 forward_type: FLOAT16"
    net = Net(NET % (options, "engine: MKL2017", "") + "version: 2\n")
    assert net.blobs["p"].data.shape == (1, 2, 5, 4)


def test_an_unknown_value_is_told_as_it_is_given():
    with pytest.raises(UnsupportedError, match="given as 'pool: STOCHASTIC2', which"):
        Net(NET % ("", "pool: STOCHASTIC2", ""))


def test_a_solver_with_such_fields_does_not_train(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET % ("", "", ""))
    text = f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" odd_rate: 3'
    param = parse(text, "SolverParameter")
    with pytest.raises(UnsupportedError, match="solver: SolverParameter.odd_rate is"):
        Solver(param)
