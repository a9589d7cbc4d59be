"""Mean average precision: its three rules, and in test passes of a solver."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from runtime.training.average_precision import average_precision

SCORES = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4]
RIGHT = [1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        # Of 5 objects: recall .2 .2 .4 .4 .6 .8, precision 1, 1/2, 2/3, 2/4, 3/5, 4/6.
        ("Integral", 0.2 * (1 + 2 / 3 + 3 / 5 + 4 / 6)),
        ("MaxIntegral", 0.2 * (1 + 2 / 3 + 2 / 3 + 2 / 3)),
        ("11point", (3 * 1 + 6 * 2 / 3) / 11),
    ],
)
def test_rules(version: str, wanted: float) -> None:
    assert average_precision(SCORES, RIGHT, 5, version) == pytest.approx(wanted)
    backwards = (SCORES[::-1], RIGHT[::-1])
    swapped = average_precision(*backwards, 5, version)
    if version == "Integral":  # equal scores stay in order: 1 before 0 now
        assert swapped > wanted
    assert average_precision([], [], 5, version) == 0
    assert average_precision(SCORES, [0] * 6, 0, version) == 0


def test_perfect_detections_have_precision_1() -> None:
    for version in ("Integral", "MaxIntegral", "11point"):
        assert average_precision([3, 2, 1], [1, 1, 1], 3, version) == pytest.approx(1)


TEST_NET = """
layer { name: "f" type: "DummyData" top: "f" include { phase: TEST }
        dummy_data_param { shape { dim: 1 dim: 1 dim: 2 dim: 7 } } }
layer { name: "found" type: "Python" bottom: "f" top: "found" include { phase: TEST }
        python_param { module: "tests.runtime.training.detections" layer: "Found" } }
layer { name: "truth" type: "Python" bottom: "f" top: "truth" include { phase: TEST }
        python_param { module: "tests.runtime.training.detections" layer: "Truth" } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth"
        top: "eval" include { phase: TEST }
        detection_evaluate_param { num_classes: 3 evaluate_difficult_gt: false } }
layer { name: "x" type: "DummyData" top: "x" top: "t" include { phase: TRAIN }
        dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" include { phase: TRAIN }
        inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss"
        include { phase: TRAIN } }
"""


def solver(options: str, net: str = TEST_NET) -> runtime.Solver:
    text = f"""base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_iter: 3
        test_interval: 1 {options} net_param {{ {net} }}"""
    return runtime.get_solver(text, allow_python=True)


def test_test_passes_report_mean_average_precision() -> None:
    # 3 batches: class 1 is found each time, first behind a wrong box; class 2 never.
    (record,) = solver('eval_type: "detection" ap_version: "MaxIntegral"').test()
    assert list(record.outputs) == ["eval"]
    order = average_precision([0.9, 0.5] * 3, [0, 1] * 3, 3, "MaxIntegral")
    assert record.scalars()["eval"] == pytest.approx(order / 2)


def test_every_class_has_a_result_if_asked_for() -> None:
    (record,) = solver('eval_type: "detection" show_per_class_result: true').test()
    order = average_precision([0.9, 0.5] * 3, [0, 1] * 3, 3)
    assert record.scalars() == pytest.approx(
        {"eval": order / 2, "eval_class1": order, "eval_class2": 0}
    )


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(SpecError, match="eval_type is 'detect'; expected class"):
        solver('eval_type: "detect"')
    with pytest.raises(SpecError, match="ap_version is 'area'; expected one of"):
        solver('ap_version: "area"')


def test_a_net_without_detections_cannot_be_tested_for_them() -> None:
    net = TEST_NET.replace(
        'type: "DetectionEvaluate" bottom: "found"', 'type: "Silence"'
    )
    start, end = net.index('layer { name: "eval"'), net.index('layer { name: "x"')
    net = net[:start] + net[end:]
    made = solver('eval_type: "detection"', net)
    with pytest.raises(SpecError, match="no output is that of a DetectionEvaluate"):
        made.test()


def test_rows_are_those_of_the_layer() -> None:
    rows = np.array([[-1, 1, 1, -1, -1], [0, 1, 0.9, 0, 1], [0, 1, 0.5, 1, 0]])
    found = runtime.Net(TEST_NET, phase=runtime.TEST, allow_python=True).forward()[
        "eval"
    ][0, 0]
    np.testing.assert_allclose(found[found[:, 1] == 1], rows, rtol=1e-6)
