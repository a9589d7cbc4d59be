import pytest

from tests.ops.reading import fillers, param_shapes, read, refuses


def test_normalize_has_one_scale_or_one_a_channel():
    op = read('type: "Normalize" top: "y" norm_param {}', (2, 3, 4, 5))
    assert param_shapes(op) == [()]
    assert fillers(op) == [("constant", 1)]
    text = """type: "Normalize" top: "y"
        norm_param { channel_shared: false across_spatial: false }"""
    op = read(text, (2, 3, 4, 5))
    assert param_shapes(op) == [(3,)]
    assert not op.across_spatial


def test_permute_appends_the_axes_not_named():
    text = 'type: "Permute" top: "y" permute_param { order: 2 order: 0 }'
    op = read(text, (2, 3, 4, 5))
    assert op.order == (2, 0, 1, 3)
    assert op.tops == ((4, 2, 3, 5),)
    twice = 'type: "Permute" top: "y" permute_param { order: 2 order: 2 }'
    refuses(
        twice,
        (2, 3, 4),
        match=r"order is \(2, 2\); expected different axes from 0 to 2",
    )
    refuses(text, (2, 3), match="expected different axes from 0 to 1")


def test_prior_boxes_for_every_pixel():
    text = """type: "PriorBox" top: "y" prior_box_param { min_size: 30 max_size: 60
        aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 3 """
    op = read(text + "}", (2, 3, 4, 5), (2, 3, 300, 300))
    assert op.priors == 6
    assert op.aspect_ratio == pytest.approx((1, 2, 1 / 2, 3, 1 / 3))
    assert op.tops == ((1, 2, 4 * 5 * 6 * 4),)
    assert read(text + "flip: false }", (2, 3, 4, 5), (2, 3, 9, 9)).priors == 4


def test_bad_prior_boxes_are_refused():
    def text(options):
        return f'type: "PriorBox" top: "y" prior_box_param {{ {options} }}'

    shapes = (2, 3, 4, 5), (2, 3, 300, 300)
    refuses(text(""), *shapes, match=r"min_size is \(\); give at least one positive")
    sizes = "min_size: 3 max_size: 5 max_size: 6"
    refuses(text(sizes), *shapes, match="max_size has 2 values and min_size 1")
    ratio = "min_size: 3 aspect_ratio: -1"
    refuses(text(ratio), *shapes, match="aspect_ratio is -1; expected a positive value")


BOXES = ((2, 24), (2, 6 * 21), (1, 2, 24))


def test_detection_output_is_one_row_until_it_runs():
    text = """type: "DetectionOutput" top: "y"
        detection_output_param { num_classes: 21 }"""
    op = read(text, *BOXES)
    assert op.tops == ((1, 1, 1, 7),)
    assert op.refused_bottoms == (0, 1, 2)


def test_multi_box_loss_is_a_loss_of_locations_and_confidences():
    text = 'type: "MultiBoxLoss" multibox_loss_param { num_classes: 21 '
    op = read(text + "}", *BOXES, (1, 1, 9, 8))
    assert op.tops == ((),)
    assert op.is_loss
    assert op.gradient_bottoms == (0, 1)
    assert op.refused_bottoms == (2, 3)
    own = text + "share_location: false }"
    assert not read(own, (2, 24 * 21), *BOXES[1:], (1, 1, 9, 8)).share_location


def test_boxes_must_agree_in_number():
    text = 'type: "MultiBoxLoss" multibox_loss_param { num_classes: 20 }'
    truth = (1, 1, 9, 8)
    message = r"the confidences, must have shape \(N, 120\) for 6 default boxes and 20"
    refuses(text, *BOXES, truth, match=message)
    message = r"the locations, must have shape \(N, 24\) for 6 default boxes"
    refuses(text, (2, 20), *BOXES[1:], truth, match=message)
    message = r"the default boxes, must have shape \(1, 2, 4 \* boxes\)"
    refuses(text, *BOXES[:2], (1, 2, 23), truth, match=message)
    refuses('type: "MultiBoxLoss"', *BOXES, truth, match="num_classes is 0; give the")


def test_detection_evaluate_counts_classes_and_detections():
    text = """type: "DetectionEvaluate" top: "y"
        detection_evaluate_param { num_classes: 21 }"""
    assert read(text, (1, 1, 9, 7), (1, 1, 4, 8)).tops == ((1, 1, 29, 5),)
    message = r"'b1'\) must have shape \(1, 1, rows, 8\)"
    refuses(text, (1, 1, 9, 7), (1, 1, 4, 7), match=message)
