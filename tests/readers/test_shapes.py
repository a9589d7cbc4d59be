"""Rules for shapes, one net or more a rule, run in the readers that install."""

import re

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.readers import check_for, export_for
from netspec.readers.rules import RULES
from netspec.readers.rules.table import OF_SHAPES
from netspec.weights import as_model
from tests.readers.by_layer import compute
from tests.readers.running import Case, check, difference, net_of, outputs_in
from tests.readers.shape_cases import CASES
from tests.readers.value_cases import of
from tools.interop.running import run

BY_NAME = {rule.name: rule for rule in RULES}
RUN_HERE = ("opencv", "mnn")
# They have tests of their own.
NOT_RUN = {
    "permute-order",
    "pooled-size",
    "prior-box-fractions",
    "prior-box-variance",
    "prior-box-switches",
    "detection-fields",
}


@pytest.mark.parametrize(
    ("case", "reader"),
    [(case, reader) for case in CASES for reader in sorted(BY_NAME[case.rule].readers)],
    ids=str,
)
def test_a_rule_mends_what_it_is_about(case, reader):
    check(reader, case.text, rule=case.rule, values=case.values)


def test_every_rule_that_mends_has_a_case():
    mending = {rule.name for rule in OF_SHAPES if rule.mends}
    assert mending == {case.rule for case in CASES} | NOT_RUN


def test_what_readers_did_before_is_recorded_for_those_of_the_rule():
    for case in CASES:
        assert set(case.before) <= set(BY_NAME[case.rule].readers), case.rule


# By reader: what it has no equal form for, and what must be said of it.
REFUSED = {
    "opencv": [
        (of("Pooling", "kernel_size: 1 stride: 3"), "behind the image: OpenCV 4.14.0"),
        (of("BatchReindex", bottom="x index"), "has no BatchReindex"),
        (of("TanH", bottom="six"), "'x' (Input): an input that no layer reads"),
    ],
    "mnn": [
        (of("Pooling", "kernel_size: 1 stride: 3"), "behind the image: MNN 3.6.1"),
        (of("Pooling", "kernel_size: 2", top="y m"), "the mask: MNN 3.6.1 fills it"),
        (of("Filter", bottom="x index"), "has no Filter"),
    ],
}


@pytest.mark.parametrize("reader", RUN_HERE)
def test_what_has_no_equal_form_is_refused_by_name(reader):
    shapes = {"x": (2, 3, 8, 8), "six": (1, 2, 1, 2, 1, 2), "index": (2,)}
    for layer, text in REFUSED[reader]:
        used = {
            name: shape
            for name, shape in shapes.items()
            if f'"{name}"' in layer or name == "x"
        }
        with pytest.raises(UnsupportedError, match=re.escape(text)):
            export_for(as_model(net_of(layer, **used), {}), reader)


def test_without_weights_what_would_change_them_is_told():
    text = net_of(of("Convolution", "num_output: 2 kernel_size: 3"), x=(2, 3, 7))
    report = check_for(text, "mnn")
    assert [finding.rule for finding in report.refused] == ["type"]
    (finding,) = report.warned
    assert "give the weights too" in finding.text


def test_a_form_that_would_be_too_large_is_refused():
    options = "num_output: 512 kernel_size: 3 pad: 1"
    text = net_of(of("Convolution", options), x=(1, 512, 32, 4, 4))
    with pytest.raises(UnsupportedError, match=r"takes images \(N, C, H, W\) only"):
        export_for(text, "mnn", anyway=False)


def test_a_cut_leaves_no_other_output():
    layer = of("Pooling", "kernel_size: 2 stride: 2 round_mode: FLOOR")
    done = export_for(net_of(layer, x=(1, 2, 7, 9)), "mnn")
    read = {blob for each in done.model.net.layer for blob in each.bottom}
    written = {blob for each in done.model.net.layer for blob in each.top}
    assert written - read == {"y"}


@pytest.mark.parametrize(
    "layers",
    [
        of("Power", "scale: 2", name="other"),
        of("Convolution", "num_output: 2 kernel_size: 2", top="y", name="conv")
        + of("ReLU", bottom="y", name="relu"),
        of("TanH", name="y", top="z") + of("Exp", bottom="z", name="other"),
        of("Concat"),
    ],
    ids=["power", "in-place", "name-of-layer", "copy"],
)
def test_mnn_has_outputs_by_the_names_of_blobs(layers, tmp_path):
    pytest.importorskip("MNN")
    case = Case(net_of(layers + of("Sigmoid", name="s", top="also"), x=(2, 3, 4, 5)))
    case.exported("mnn").save(tmp_path, "net")
    # With two outputs, and no layer of that name, there is no other way to find it.
    makers = {"y": ("no layer", 0)}
    (got,) = run("mnn", tmp_path, case.inputs, ["y"], makers).values()
    assert difference(got, case.outputs["y"]) < 1e-5


ROIS = np.float32([[0, 0, 0, 3, 3], [1, 1, 1, 4, 6], [0, 2, 3, 2, 3]])
DETECTION = {
    "permute": (
        of("Permute", "order: 0 order: 3"),
        {"x": (2, 3, 4, 5)},
        {},
    ),
    "prior-box": (
        of(
            "PriorBox",
            "min_size: 10 max_size: 20 aspect_ratio: 2 step: 8 offset: 0.3",
            bottom="x image",
        ),
        {"x": (1, 6, 4, 5), "image": (1, 3, 40, 60)},
        {},
    ),
    "roi-pooling": (
        of("ROIPooling", "pooled_h: 2 pooled_w: 3 spatial_scale: 0.5", bottom="x r"),
        {"x": (2, 3, 7, 5), "r": (3, 5)},
        {"r": ROIS * [1, 2, 2, 2, 2]},
    ),
}


@pytest.mark.parametrize("reader", RUN_HERE)
@pytest.mark.parametrize("name", DETECTION)
def test_detection_layers(name, reader):
    # Before: OpenCV refused the first, and the second was 0.049 off; MNN ended.
    text, shapes, values = DETECTION[name]
    model = as_model(net_of(text, **shapes), {})
    random = np.random.default_rng(0)
    inputs = {key: np.float32(random.normal(size=shapes[key])) for key in shapes}
    inputs.update({key: np.float32(value) for key, value in values.items()})
    done = export_for(model, reader)
    got = outputs_in(reader, done, inputs, ["y"])["y"]
    assert difference(got, compute(model, inputs)["y"], flat=True) < 1e-5


def test_opencv_finds_the_same_boxes_in_another_order():
    options = "num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.1"
    text = of("DetectionOutput", options, bottom="place score prior")
    shapes = {"place": (2, 48), "score": (2, 36), "prior": (1, 2, 48)}
    model = as_model(net_of(text, **shapes), {})
    random = np.random.default_rng(0)
    corner = random.uniform(0, 0.7, (12, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.1, 0.3, (12, 2))], 1)
    scores = np.exp(2 * random.normal(size=(2, 12, 3)))
    inputs = {
        "place": random.normal(size=(2, 48)) * 0.2,
        "score": (scores / scores.sum(-1, keepdims=True)).reshape(2, 36),
        "prior": np.stack([boxes.reshape(-1), np.tile([0.1, 0.1, 0.2, 0.2], 12)])[None],
    }
    inputs = {name: np.float32(value) for name, value in inputs.items()}
    done = export_for(model, "opencv")
    (finding,) = done.report.warned
    assert "zeros behind those that are found" in finding.text
    want = compute(model, inputs)["y"][0, 0]
    got = outputs_in("opencv", done, inputs, ["y"])["y"][0, 0]
    got = got[got[:, 2] > 0]
    assert len(want) > 10
    assert difference(_sorted(got), _sorted(want)) < 1e-5


def _sorted(rows):
    return rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]


def test_layers_behind_layers_that_do_the_same_do_the_same():
    # Before: MNN had one of the two outputs only.
    pair = "".join(
        of("Exp", name=f"e{top}", top=f"e{top}")
        + of("Reshape", shape, f"r{top}", f"e{top}", f"r{top}")
        + of("AbsVal", "", top, f"r{top}", top)
        for top, shape in {
            "y": "shape { dim: 3 dim: 4 }",
            "z": "shape { dim: 12 }",
        }.items()
    )
    check("mnn", net_of(pair, x=(2, 6)), rule="twin-output")
