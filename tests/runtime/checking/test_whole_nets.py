"""`check_gradients` of nets: sharing, losses, what is held, randomness, states."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import TEST, check_gradients
from runtime.layers.inner_product import InnerProduct
from tests.runtime.checking.test_gradients import rows


def net(*layers: str, shape: str = "dim: 3 dim: 4") -> str:
    first = f'name: "in" type: "Input" top: "x" input_param {{ shape {{ {shape} }} }}'
    return "\n".join(f"layer {{ {layer} }}" for layer in (first, *layers))


def ip(name: str, bottom: str, top: str, size: int, more: str = "") -> str:
    return (
        f'name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {more} '
        f"inner_product_param {{ num_output: {size} }}"
    )


SUMSQ = 'type: "Reduction" reduction_param { operation: SUMSQ }'


# ---------------------------------------------------------------- sharing


SHARED = net(
    ip("a", "x", "h", 4, 'param { name: "w" } param { name: "c" }'),
    'name: "t" type: "TanH" bottom: "h" top: "h"',
    ip("b", "h", "y", 4, 'param { name: "w" }'),
)


def test_a_shared_parameter_is_checked_once_with_the_sum_of_its_gradients():
    result = check_gradients(SHARED)
    assert result.ok
    assert list(rows(result)) == ["x", "a[0]", "a[1]", "b[1]"]
    assert rows(result)["a[0]"].users == ("a", "b")
    assert "shared by a, b" in str(result)


def test_a_user_whose_gradient_is_lost_is_seen(monkeypatch):
    right = InnerProduct.backward

    def backward(self, accumulate):
        right(self, accumulate)
        if self.op.name == "b":
            self.dparams[0].fill(0)

    monkeypatch.setattr(InnerProduct, "backward", backward)
    found = rows(check_gradients(SHARED))
    assert not found["a[0]"].ok
    assert found["a[1]"].ok


# ---------------------------------------------------------------- losses


def test_the_objective_is_the_weighted_sum_of_the_losses():
    text = net(
        ip("a", "x", "h", 4),
        f'name: "one" bottom: "h" top: "l1" loss_weight: 2.5 {SUMSQ}',
        'name: "two" type: "TanH" bottom: "h" top: "l2" loss_weight: -0.5',
        'name: "three" type: "Sigmoid" bottom: "h" top: "out"',
    )
    result = check_gradients(text)
    assert result.ok
    assert set(result.objective) == {"l1", "l2"}


def test_every_output_of_a_net_without_losses_counts():
    text = net(
        'name: "a" type: "TanH" bottom: "x" top: "y1"',
        'name: "b" type: "Sigmoid" bottom: "x" top: "y2"',
    )
    result = check_gradients(text)
    assert result.ok
    assert result.objective == ("y1", "y2")


def test_a_blob_of_a_loss_beside_a_measure_is_checked():
    text = net(
        'name: "l" type: "Input" top: "label" input_param { shape { dim: 3 } }',
        ip("a", "x", "h", 5),
        'name: "loss" type: "SoftmaxWithLoss" bottom: "h" bottom: "label" top: "loss"',
        'name: "acc" type: "Accuracy" bottom: "h" bottom: "label" top: "acc"',
    )
    result = check_gradients(text)
    assert result.ok
    assert list(rows(result)) == ["x", "a[0]", "a[1]"]
    assert "layer 'loss' (SoftmaxWithLoss) has no gradient for bottom 'label'" in str(
        result
    )
    assert "layer 'acc' (Accuracy) has no gradient" in str(result)


# ---------------------------------------------------------------- what is held


def test_a_target_that_follows_from_the_input_is_held():
    text = net(
        'name: "t" type: "Sigmoid" bottom: "x" top: "target"',
        ip("a", "x", "h", 4),
        'name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "h" bottom: "target" '
        'top: "loss"',
    )
    result = check_gradients(text)
    assert result.ok
    assert not rows(result)["x"].zero


def test_a_step_in_the_middle_of_a_net_is_held():
    text = net(
        'name: "t" type: "Threshold" bottom: "x" top: "mask"',
        'name: "m" type: "Eltwise" bottom: "x" bottom: "mask" top: "y" '
        "eltwise_param { operation: PROD }",
    )
    result = check_gradients(text)
    assert result.ok
    assert "layer 't' (Threshold) has no gradient" in str(result)


@pytest.mark.parametrize(
    ("kind", "shapes"), [("Accuracy", [(4, 3), (4,)]), ("ArgMax", [(4, 3)])]
)
def test_a_layer_without_a_gradient_is_said_to_have_none(kind, shapes):
    result = check_gradients(f'type: "{kind}"', shapes=shapes)
    assert (result.ok, result.rows, result.worst) == (False, (), None)
    assert str(result) == (
        f"layer 'layer' ({kind}): no gradient to check\n"
        f"note: layer 'layer' ({kind}) has no gradient"
    )


def test_a_layer_without_a_top_is_left_out_and_told():
    result = check_gradients('type: "Silence" bottom: "x"', shapes=[(2, 3)])
    assert result.rows == ()
    assert "(Silence) has no top, so nothing of it can be checked" in str(result)


def test_what_caffe_computes_inexactly_is_told():
    result = check_gradients(
        'type: "ContrastiveLoss" contrastive_loss_param { margin: 3 }',
        inputs=[[[0.5, 1.0]], [[0.25, 1.25]], [0]],
    )
    assert 1e-5 < result.worst.error < 1e-3
    assert "divides by the distance + 0.0001" in str(result)


# ---------------------------------------------------------------- memory of passes


def test_dropout_keeps_its_mask_from_pass_to_pass():
    text = net(
        'name: "d" type: "Dropout" bottom: "x" top: "y" '
        "dropout_param { dropout_ratio: 0.4 }",
        f'name: "loss" bottom: "y" top: "loss" loss_weight: 1 {SUMSQ}',
        shape="dim: 5 dim: 7",
    )
    result = check_gradients(text)
    assert result.ok
    assert not result.rows[0].zero


def test_a_recurrent_layer_starts_every_pass_from_the_same_state():
    text = net(
        'name: "c" type: "Input" top: "cont" input_param { shape { dim: 4 dim: 3 } }',
        'name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "y" '
        "recurrent_param { num_output: 2 }",
        shape="dim: 4 dim: 3 dim: 2",
    )
    ones = np.ones((4, 3))
    assert check_gradients(text, inputs={"cont": ones}).ok


def test_statistics_do_not_drift_while_gradients_are_checked():
    text = 'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.5 }'
    assert check_gradients(text, shapes=[(4, 3, 2)]).ok
    scaled = net(
        'name: "bn" type: "BatchNorm" bottom: "x" top: "x"', ip("a", "x", "y", 2)
    )
    assert check_gradients(scaled, phase=TEST).ok


def test_data_that_is_drawn_anew_stays_the_same():
    text = """
        layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
          shape { dim: 3 dim: 4 } data_filler { type: "gaussian" std: 1 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 } }
        """
    result = check_gradients(text)
    assert result.ok
    assert list(rows(result)) == ["x", "ip[0]", "ip[1]"]


def test_a_filter_may_change_shapes():
    text = net(
        'name: "s" type: "Input" top: "keep" input_param { shape { dim: 3 } }',
        'name: "f" type: "Filter" bottom: "x" bottom: "keep" top: "y"',
        ip("a", "y", "z", 2),
    )
    result = check_gradients(text, inputs={"keep": [1, 0, 1]})
    assert result.ok
    assert rows(result)["x"].checked == 12


# ---------------------------------------------------------------- places in memory


def test_layers_in_place_and_other_names_of_a_blob_are_followed():
    text = net(
        'name: "r" type: "Reshape" bottom: "x" top: "rows" '
        "reshape_param { shape { dim: 6 dim: 2 } }",
        'name: "e" type: "ELU" bottom: "rows" top: "rows" elu_param { alpha: -0.5 }',
        'name: "n" type: "Log" bottom: "pos" top: "pos"',
        'name: "cat" type: "Flatten" bottom: "x" top: "flat"',
    ).replace(
        'bottom: "pos" top: "pos"', 'bottom: "rows" top: "logs" log_param { shift: 3 }'
    )
    result = check_gradients(text, wrt=["x", "rows"])
    assert result.ok
    assert list(rows(result)) == ["x", "rows"]


@pytest.mark.parametrize("kind", ["ELU", "AbsVal", "BNLL", "Swish", "TanH"])
def test_a_layer_in_place_on_an_input_is_checked_with_respect_to_it(kind):
    layer = f'type: "{kind}" bottom: "x" top: "x"'
    assert check_gradients(layer, shapes=[(3, 4)]).ok


def test_a_top_whose_gradient_is_not_looked_at_does_not_count():
    text = """
        type: "RNN" bottom: "x" bottom: "cont" bottom: "h" top: "y" top: "last"
        recurrent_param { num_output: 2 expose_hidden: true }
        """
    result = check_gradients(text, shapes=[(4, 3, 2), (4, 3), (1, 3, 2)])
    assert result.ok
    assert result.objective == ("y",)
    assert "has no gradient for bottom 'cont', bottom 'h'" in str(result)


def test_a_weighted_loss_that_another_layer_reads_is_checked_by_its_weight():
    text = """
    layer { name: "x" type: "Input" top: "x" top: "t"
      input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 4 } } }
    layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
      inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss"
      loss_weight: 2 }
    layer { name: "more" type: "Power" bottom: "loss" top: "more"
      power_param { scale: 3 } }
    """
    assert check_gradients(text).ok
