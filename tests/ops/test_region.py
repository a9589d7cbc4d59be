import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from tests.ops.reading import read, refuses

IMAGE, REGIONS = (2, 18, 20, 30), (11, 5)


def pooling(options: str) -> str:
    return f'type: "ROIPooling" top: "y" roi_pooling_param {{ {options} }}'


def test_roi_pooling_has_an_item_a_region():
    text = pooling("pooled_h: 6 pooled_w: 7 spatial_scale: 0.5")
    op = read(text, (2, 3, 20, 30), (11, 5))
    assert op.tops == ((11, 3, 6, 7),)
    assert op.spatial_scale == 0.5
    assert op.gradient_bottoms == (0,)
    assert op.backward_bottoms == (1,)
    refuses(text, (2, 3, 20, 30), (11, 4), match=r"regions, must have shape \(R, 5")
    short = 'type: "ROIPooling" top: "y"'
    refuses(
        short, (2, 3, 20, 30), (11, 5), match="pooled_h is 0 and pooled_w 0; give at"
    )


def test_pooled_size_is_both_sizes_or_one_for_both():
    assert read(pooling("pooled_size: 3"), IMAGE, REGIONS).tops == ((11, 18, 3, 3),)
    text = pooling("pooled_size: 3 pooled_size: 4")
    assert read(text, IMAGE, REGIONS).tops == ((11, 18, 3, 4),)
    text = pooling("pooled_size: 3 pooled_h: 4")
    refuses(text, IMAGE, REGIONS, match=r"both pooled_size \(3,\) and pooled_h, pooled")
    text = pooling("pooled_size: 3 pooled_size: 4 pooled_size: 5")
    refuses(text, IMAGE, REGIONS, match=r"pooled_size has 3 values \(3, 4, 5\)")


def test_sizes_without_sense_are_refused():
    size = "pooled_h: 2 pooled_w: 3"
    refuses(
        pooling(f"{size} pad_ratio: -0.5"),
        IMAGE,
        REGIONS,
        match="pad_ratio is -0.5; ex",
    )
    for scale in ("0", "-1", "nan", "inf"):
        text = pooling(f"{size} spatial_scale: {scale}")
        refuses(text, IMAGE, REGIONS, match=f"spatial_scale is {scale}; expected a num")
    refuses(pooling(size), (2, 3, 4), REGIONS, match="the image must have 4 axes")


def test_psroi_pooling_has_channels_for_every_part():
    text = """type: "PSROIPooling" top: "y"
        psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }"""
    op = read(text, IMAGE, (11, 5, 1, 1))
    assert op.tops == ((11, 2, 3, 3),)
    refuses(
        text, (2, 17, 20, 30), REGIONS, match="has 17 channels; expected 18, output"
    )
    none = text.replace("group_size: 3", "group_size: 0")
    refuses(none, IMAGE, REGIONS, match="output_dim is 2 and group_size 0; give at")


def test_roi_align_takes_the_mean_where_a_ratio_is_given():
    text = 'type: "ROIAlign" top: "y" roi_align_param { pooled_h: 2 pooled_w: 3 '
    with netspec.forks.use("rfcn-priv"):
        assert read(text + "}", IMAGE, REGIONS).sampling_ratio is None
    assert read(text + "sampling_ratio: -1 }", IMAGE, REGIONS).sampling_ratio == 0
    op = read(text + "sampling_ratio: 2 }", IMAGE, REGIONS)
    assert (op.sampling_ratio, op.tops) == (2, ((11, 18, 2, 3),))


def proposal(options: str, top: str = 'top: "y"') -> str:
    return f'type: "Proposal" {top} proposal_param {{ {options} }}'


BOXES = ((2, 12, 4, 5), (2, 24, 4, 5), (2, 3))
ANCHORS = "ratio: 0.5 ratio: 2 scale: 4 scale: 8 scale: 16"


def test_proposal_has_room_for_all_that_is_kept():
    text = proposal(f"{ANCHORS} post_nms_topn: 7", 'top: "y" top: "s"')
    op = read(text, *BOXES)
    assert op.tops == ((14, 5), (14, 1))
    assert op.gradient_bottoms == ()
    assert read(proposal(ANCHORS), *BOXES[:2], (1, 4)).tops == ((600, 5),)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            "scale: 8",
            r"proposal_param.ratio is \(\); give numbers above 0, such as 0.5",
        ),
        ("ratio: 1 scale: -2", r"proposal_param.scale is \(-2\); give numbers above 0"),
        (f"{ANCHORS} nms_thresh: 1.5", "nms_thresh is 1.5; expected a share from 0 to"),
        (
            f"{ANCHORS} post_nms_topn: 0",
            "post_nms_topn is 0; give at least 1, or leave",
        ),
        (
            f"{ANCHORS} ratio: 1",
            r"has 12 channels; expected 2 for each of the 9 anchors",
        ),
    ],
)
def test_proposals_without_sense_are_refused(options, match):
    refuses(proposal(options), *BOXES, match=match)


def test_shapes_of_proposals_must_agree():
    text = proposal(ANCHORS)
    refuses(
        text,
        BOXES[0],
        (2, 24, 4, 6),
        BOXES[2],
        match="must agree in all but their chan",
    )
    for info in ((2, 2), (3, 3), ()):
        refuses(
            text, *BOXES[:2], info, match=r"must have shape \(2, 3\) of height, wid"
        )


def annotator(options: str) -> str:
    return f"""type: "BoxAnnotatorOHEM" top: "l" top: "w"
        box_annotator_ohem_param {{ {options} }}"""


def test_box_annotator_keeps_the_shapes():
    shapes = ((9, 5, 1, 1), (9, 1), (9,), (9, 8, 1, 1))
    assert read(annotator("roi_per_img: 2"), *shapes).tops == ((9,), (9, 8, 1, 1))
    refuses(
        annotator("roi_per_img: 0"), *shapes, match="roi_per_img is 0; give at leas"
    )
    bad = {
        0: ((9, 4), r"the regions, must have shape \(R, 5\); got \(9, 4\)"),
        1: ((8, 1), r"the losses, must have a value for each of the regions"),
        2: ((9, 2), r"the labels, must have a value for each of the regions"),
        3: ((8, 8), r"the weights, must have a row for each of the regions"),
    }
    for index, (shape, match) in bad.items():
        given = (*shapes[:index], shape, *shapes[index + 1 :])
        refuses(annotator("roi_per_img: 2"), *given, match=match)


def test_losses_of_items_are_more_tops():
    text = 'type: "SmoothL1LossOHEM" top: "a" top: "b"'
    op = read(text, (4, 3, 2, 5), (4, 30), (4, 3, 2, 5))
    assert op.tops == ((), (4, 1, 2, 5))
    assert op.is_loss
    assert op.gradient_bottoms == (0, 1)
    refuses(
        text, (4, 3), (4, 2), match=r"\(4, 2\); expected as many values as bottom 0"
    )
    op = read('type: "SoftmaxWithLossOHEM" top: "a" top: "b" top: "c"', (4, 3), (4, 1))
    assert op.tops == ((), (4, 3), (4, 1))
    assert op.refused_bottoms == (1,)


def test_the_layers_are_written_in_python():
    n = NetSpec()
    n.x, n.rois = L.Input(shape=[dict(dim=IMAGE), dict(dim=REGIONS)], ntop=2)
    n.a = L.ROIPooling(n.x, n.rois, pooled_size=[3, 4])
    n.b = L.PSROIPooling(n.x, n.rois, spatial_scale=0.5, output_dim=2, group_size=3)
    n.c = L.ROIAlign(n.x, n.rois, pooled_h=2, pooled_w=3, sampling_ratio=2)
    assert [n[name].shape for name in "abc"] == [
        (11, 18, 3, 4),
        (11, 2, 3, 3),
        (11, 18, 2, 3),
    ]
