"""The steps of the light layers allocate no array."""

from __future__ import annotations

import pytest

from runtime.backends.base import Backend
from tests.layers.harness import allocated_bytes

TOLERATED_BYTES = 4096  # boxed scalars and views
IMAGE = (4, 30, 20, 21)
ROWS = (900, 70)
MANY = (6000, 7)
PRODUCT = "inner_product_param { num_output: 300 type: QUADRUPLE }"


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('type: "ReLU"', [IMAGE]),
        ('type: "ReLU" relu_param { negative_slope: 0.3 }', [IMAGE]),
        ('type: "Sigmoid"', [IMAGE]),
        ('type: "TanH"', [IMAGE]),
        ('type: "ELU"', [IMAGE]),
        ('type: "PReLU"', [IMAGE]),
        ('type: "PReLU" bottom: "a" top: "a"', [IMAGE]),
        ('type: "AbsVal"', [IMAGE]),
        ('type: "BNLL"', [IMAGE]),
        ('type: "Power" power_param { power: 3 shift: 2 }', [IMAGE]),
        ('type: "Power" power_param { power: 0 }', [IMAGE]),
        ('type: "Exp" exp_param { base: 2 shift: 1 }', [IMAGE]),
        ('type: "Log" log_param { base: 2 shift: 1 }', [IMAGE]),
        ('type: "Clip" clip_param { min: -1 max: 1 }', [IMAGE]),
        ('type: "Swish" swish_param { beta: 2 }', [IMAGE]),
        ('type: "Dropout"', [IMAGE]),
        ('type: "Softmax"', [IMAGE]),
        ('type: "Softmax"', [ROWS]),
        ('type: "Eltwise" eltwise_param { coeff: 2 coeff: -1 }', [IMAGE] * 2),
        ('type: "Eltwise" eltwise_param { operation: PROD }', [IMAGE] * 3),
        ('type: "Eltwise" eltwise_param { operation: MAX }', [IMAGE] * 3),
        ('type: "Concat"', [IMAGE] * 3),
        ('type: "Slice" top: "a" top: "b" top: "c"', [IMAGE]),
        ('type: "Split" top: "a" top: "b" top: "c"', [IMAGE]),
        ('type: "Silence"', [IMAGE] * 2),
        ('type: "Tile" tile_param { tiles: 3 }', [IMAGE]),
        ('type: "Crop" crop_param { offset: 5 }', [IMAGE, (1, 1, 9, 8)]),
        ('type: "BatchReindex"', [ROWS, (800,)]),
        ('type: "Reduction" reduction_param { operation: ASUM axis: 1 }', [IMAGE]),
        ('type: "ArgMax" argmax_param { top_k: 3 axis: 1 }', [IMAGE]),
        ('type: "Accuracy"', [ROWS, ROWS[:1]]),
        ('type: "Accuracy" top: "a" top: "b"', [IMAGE, (4, 20, 21)]),
        ('type: "SeLu"', [IMAGE]),
        ('type: "SeLuDropout"', [IMAGE]),
        ('type: "TripletLoss"', [ROWS] * 3),
        ('type: "SigmoidCrossEntropyBalanceLoss"', [ROWS] * 2),
        (f'type: "MarginInnerProduct" margin_{PRODUCT}', [ROWS, ROWS[:1]]),
        ('type: "SoftmaxWithLoss"', [IMAGE, (4, 20, 21)]),
        ('type: "SoftmaxWithLoss" loss_param { ignore_label: 7 }', [ROWS, ROWS[:1]]),
        ('type: "InfogainLoss"', [IMAGE, (4, 20, 21), (30, 30)]),
        ('type: "HingeLoss" hinge_loss_param { norm: L2 }', [ROWS, ROWS[:1]]),
        ('type: "MultinomialLogisticLoss"', [ROWS, ROWS[:1]]),
        ('type: "SigmoidCrossEntropyLoss"', [ROWS, ROWS]),
        ('type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 7 }', [ROWS] * 2),
        ('type: "EuclideanLoss"', [ROWS, ROWS]),
        ('type: "ContrastiveLoss"', [ROWS, ROWS, ROWS[:1]]),
        ('type: "SmoothL1Loss"', [ROWS] * 4),
        ('type: "Parameter" parameter_param { shape { dim: 90 dim: 70 } }', []),
    ],
)
def test_steps_allocate_nothing(
    backend: Backend, text: str, shapes: list[tuple[int, ...]]
) -> None:
    if backend.name != "numpy":
        pytest.skip("only allocations of the host are counted")
    assert allocated_bytes(text, shapes, backend=backend) < TOLERATED_BYTES


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('type: "SegAccuracy"', [(4, 30, 40, 41), (4, 1, 40, 41)]),
        (f'type: "LargeMarginInnerProduct" largemargin_{PRODUCT}', [MANY, MANY[:1]]),
    ],
)
def test_adding_by_number_takes_a_buffer_of_one_size(
    backend: Backend, text: str, shapes: list[tuple[int, ...]]
) -> None:
    if backend.name != "numpy":
        pytest.skip("only allocations of the host are counted")
    assert allocated_bytes(text, shapes, backend=backend) < 2 * TOLERATED_BYTES
