"""MultiBoxLoss against loops over single boxes, with every option."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer
from tests.layers.ssd_reference import multibox_loss

ITEMS, PRIORS, CLASSES = 3, 11, 4
EQUAL = "leading axes are 1"


def inputs(options: str = "", *, classes: int = CLASSES, seed: int = 3) -> list:
    """Return random bottoms: locations, confidences, default boxes and true boxes."""
    rng = np.random.default_rng(seed)
    places = classes if "share_location: false" in options else 1
    corners = rng.uniform(-0.1, 0.8, size=(PRIORS, 2))
    priors = np.concatenate(
        [corners, corners + rng.uniform(0.2, 0.5, corners.shape)], 1
    )
    variances = rng.uniform(0.1, 0.4, size=(PRIORS, 4))
    both = np.stack([priors, variances]).reshape(1, 2, -1)
    rows = []
    for number, item in enumerate((0, 0, 0, 2, 2, -1)):
        low = rng.uniform(0, 0.6, size=2)
        box = (*low, *(low + rng.uniform(0.2, 0.4, size=2)))
        label = 1 + (number + 1) % (classes - 1)
        rows.append((item, label, number, *box, number == 1))
    truth = np.array(rows, float).reshape(1, 1, -1, 8)
    locations = rng.normal(size=(ITEMS, PRIORS * 4 * places)) * 0.7
    confidences = rng.normal(size=(ITEMS, PRIORS * classes)) * 2
    return [locations, confidences, both, truth]


OPTIONS = [
    "",
    "code_type: CENTER_SIZE neg_overlap: 0.3 neg_pos_ratio: 2.5 loc_weight: 1.7",
    "code_type: CORNER_SIZE loc_loss_type: L2 overlap_threshold: 0.2",
    "match_type: BIPARTITE code_type: CENTER_SIZE",
    "use_prior_for_matching: false code_type: CENTER_SIZE bp_inside: true",
    "use_difficult_gt: false code_type: CENTER_SIZE",
    "mining_type: NONE code_type: CENTER_SIZE",
    "mining_type: NONE background_label_id: 2 overlap_threshold: 0.1",
    "mining_type: NONE conf_loss_type: LOGISTIC code_type: CENTER_SIZE",
    "conf_loss_type: LOGISTIC code_type: CENTER_SIZE",
    "mining_type: HARD_EXAMPLE sample_size: 6 code_type: CENTER_SIZE",
    (
        "mining_type: HARD_EXAMPLE sample_size: 5 code_type: CENTER_SIZE "
        "use_prior_for_nms: true nms_param { nms_threshold: 0.3 top_k: 9 }"
    ),
    (
        "mining_type: HARD_EXAMPLE sample_size: 5 code_type: CENTER_SIZE "
        "loc_loss_type: L2 "
        "nms_param { nms_threshold: 0.2 }"
    ),
    "nms_param { nms_threshold: 0.25 } code_type: CENTER_SIZE",
    "ignore_cross_boundary_bbox: true code_type: CENTER_SIZE",
    "encode_variance_in_target: true code_type: CENTER_SIZE",
    "encode_variance_in_target: true bp_inside: true",
    "mining_type: NONE share_location: false code_type: CENTER_SIZE",
    "mining_type: NONE share_location: false use_prior_for_matching: false",
    "do_neg_mining: false code_type: CENTER_SIZE",
]


def text(options: str, classes: int = CLASSES, more: str = "") -> str:
    return (
        f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: {classes} '
        f"{options} }} {more}"
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_loss_and_gradient(backend: Backend, options: str) -> None:
    bottoms = inputs(options)
    if "background_label_id: 2" in options:
        labels = bottoms[3][..., 1]
        labels[labels == 2] = 0
    check_layer(
        text(options), bottoms, multibox_loss, backend=backend, equal_sizes=EQUAL
    )


@pytest.mark.parametrize(
    "more",
    [
        f"loss_param {{ {one} }}"
        for one in (
            "normalization: FULL",
            "normalization: BATCH_SIZE",
            "normalization: NONE",
            "normalize: false",
            "normalization: PRE_FIXED pre_fixed_normalizer: 7.5",
        )
    ],
)
def test_divisors(backend: Backend, more: str) -> None:
    check_layer(
        text("code_type: CENTER_SIZE", more=more),
        inputs(),
        multibox_loss,
        backend=backend,
        equal_sizes=EQUAL,
    )


def test_all_objects_as_one_class(backend: Backend) -> None:
    bottoms = inputs(classes=2)
    bottoms[3][..., 1] += 5
    check_layer(
        text("map_object_to_agnostic: true code_type: CENTER_SIZE", 2),
        bottoms,
        multibox_loss,
        backend=backend,
        equal_sizes=EQUAL,
    )


def test_what_is_not_propagated_to_is_no_part_of_the_loss(backend: Backend) -> None:
    for given in ("false true", "true false"):
        words = [f"propagate_down: {one}" for one in (*given.split(), "false", "false")]
        check_layer(
            text("code_type: CENTER_SIZE", more=" ".join(words)),
            inputs(),
            multibox_loss,
            backend=backend,
            equal_sizes=EQUAL,
        )


def test_a_batch_without_objects_has_no_loss_unless_everything_counts(
    backend: Backend,
) -> None:
    bottoms = inputs()
    bottoms[3][..., 0] = -1
    shapes = [one.shape for one in bottoms]
    mined = LoneLayer(text(""), shapes, backend=backend)
    assert mined.forward(bottoms)[0] == 0
    gradients, _ = mined.backward([np.array(1.0)])
    assert not np.any(gradients[0])
    assert not np.any(gradients[1])
    everything = LoneLayer(text("mining_type: NONE"), shapes, backend=backend)
    assert everything.forward(bottoms)[0] > 10


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        (
            0,
            3,
            r"row 2 of bottom 3 .*belongs to item 3; the batch has the items 0 to 2",
        ),
        (0, -2, "belongs to item -2; expected an item of the batch"),
        (1, 0, "has class 0, the background"),
        (1, 4, "has class 4; expected 0 to 3, as num_classes is 4"),
        (5, np.nan, "has a value that is not finite"),
    ],
)
def test_bad_truth_is_refused(
    backend: Backend, column: int, value: float, match: str
) -> None:
    bottoms = inputs()
    bottoms[3][0, 0, 2, column] = value
    layer = LoneLayer(text(""), [one.shape for one in bottoms], backend=backend)
    with pytest.raises(SpecError, match=match):
        layer.forward(bottoms)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("do_neg_mining: true mining_type: NONE", "leave do_neg_mining out"),
        ("share_location: false", "MAX_NEGATIVE needs share_location: true"),
        ("neg_pos_ratio: 0", "neg_pos_ratio is 0"),
        ("mining_type: HARD_EXAMPLE sample_size: 0", "sample_size is 0"),
        ("background_label_id: 4", "background_label_id is 4, but there are 4 classes"),
        ("map_object_to_agnostic: true", "num_classes is 4; expected 2"),
    ],
)
def test_options_that_cannot_be_are_refused(
    backend: Backend, options: str, match: str
) -> None:
    shapes = [one.shape for one in inputs(options)]
    with pytest.raises(SpecError, match=match):
        LoneLayer(text(options), shapes, backend=backend)
