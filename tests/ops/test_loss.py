import pytest

import netspec
from netspec.errors import SpecWarning
from tests.ops.reading import read, refuses

LABELLED = ["SoftmaxWithLoss", "HingeLoss", "MultinomialLogisticLoss"]


@pytest.mark.parametrize("kind", LABELLED)
def test_losses_give_a_scalar_and_no_gradient_to_labels(kind):
    op = read(f'type: "{kind}"', (2, 3), (2,))
    assert op.tops == ((),)
    assert op.is_loss
    assert op.gradient_bottoms == (0,)
    assert op.refused_bottoms == (1,)


@pytest.mark.parametrize("kind", LABELLED)
def test_losses_refuse_another_batch(kind):
    message = r"\(2, 3\) and bottom 1 \('b1'\) \(4,\) must have the same first axis"
    refuses(f'type: "{kind}"', (2, 3), (4,), match=message)


def loss(kind: str, options: str, *bottoms):
    return read(f'type: "{kind}" loss_param {{ {options} }}', *bottoms)


@pytest.mark.parametrize(
    ("kind", "default"),
    [("SoftmaxWithLoss", "VALID"), ("SigmoidCrossEntropyLoss", "BATCH_SIZE")],
)
def test_normalization_is_resolved(kind, default):
    shapes = ((2, 3), (2, 1)) if kind == "SoftmaxWithLoss" else ((2, 3), (2, 3))

    def resolved(options):
        return loss(kind, options, *shapes).normalization

    assert resolved("") == default
    assert resolved("normalize: false") == "BATCH_SIZE"
    assert resolved("normalize: true") == "VALID"
    assert resolved("normalize: true normalization: FULL") == "FULL"
    assert resolved("normalization: NONE") == "NONE"


def test_ignore_label_may_be_zero():
    shapes = (2, 3), (2,)
    assert loss("SoftmaxWithLoss", "", *shapes).ignore_label is None
    assert loss("SoftmaxWithLoss", "ignore_label: 0", *shapes).ignore_label == 0


def test_softmax_with_loss_wants_a_label_for_every_place():
    text = 'type: "SoftmaxWithLoss" softmax_param { axis: 2 }'
    op = read(text, (2, 3, 4, 5), (2, 3, 5))
    assert op.axis == 2
    assert op.backward_bottoms == (1,)
    message = r"has shape \(2, 3\), that is 6 values; expected 30, one label for every"
    refuses(text, (2, 3, 4, 5), (2, 3), match=message)


def test_a_second_top_of_softmax_with_loss_holds_probabilities():
    op = read('type: "SoftmaxWithLoss" top: "l" top: "p"', (2, 3), (2,))
    assert op.tops == ((), (2, 3))


def test_sigmoid_cross_entropy_compares_value_by_value():
    op = read('type: "SigmoidCrossEntropyLoss"', (2, 3, 4), (2, 12))
    assert op.backward_bottoms == (0, 1)
    message = "has shape .*6 values; expected 24, one target for every score"
    refuses('type: "SigmoidCrossEntropyLoss"', (2, 3, 4), (2, 3), match=message)


def test_both_inputs_of_euclidean_loss_have_gradients():
    op = read('type: "EuclideanLoss"', (2, 3, 4), (2, 12))
    assert op.gradient_bottoms == (0, 1)
    assert op.refused_bottoms == ()
    message = "expected 24, as many values as those of bottom 0"
    refuses('type: "EuclideanLoss"', (2, 3, 4), (2, 3), match=message)


def test_contrastive_loss_compares_pairs():
    text = """type: "ContrastiveLoss"
        contrastive_loss_param { margin: 3 legacy_version: true }"""
    op = read(text, (2, 3), (2, 3), (2,))
    assert (op.margin, op.legacy_version) == (3, True)
    assert op.gradient_bottoms == (0, 1)
    assert op.refused_bottoms == ()
    refuses(
        text, (2, 3), (2, 4), (2,), match=r"same shape \(N, C\).*'b1'\) has \(2, 4\)"
    )
    refuses(text, (2, 3, 2), (2, 3, 2), (2,), match=r"same shape \(N, C\)")
    refuses(text, (2, 3), (2, 3), (2, 2), match=r"similarity, must have shape \(2,\)")


def test_hinge_loss_norm():
    op = read('type: "HingeLoss" hinge_loss_param { norm: L2 }', (2, 3), (2, 1))
    assert op.norm == "L2"
    refuses(
        'type: "HingeLoss"', (2, 3), (2, 2), match="expected 2, one label for every"
    )


def test_infogain_matrix_is_a_blob_or_a_file():
    op = read('type: "InfogainLoss" top: "l" top: "p"', (2, 3), (2,), (1, 1, 3, 3))
    assert op.tops == ((), (2, 3))
    assert op.backward_bottoms == (1, 2)
    assert op.refused_bottoms == (1, 2)
    text = 'type: "InfogainLoss" infogain_loss_param { source: "h" axis: -1 }'
    op = read(text, (2, 3), (2,))
    assert (op.source, op.axis, op.normalization) == ("h", 1, "VALID")
    refuses('type: "InfogainLoss"', (2, 3), (2,), match="the matrix H is missing; give")
    shapes = (2, 3), (2,), (3, 2)
    refuses(
        'type: "InfogainLoss"', *shapes, match="the matrix H, .*expected 3 x 3 values"
    )


def test_smooth_l1_loss_may_have_weights():
    text = 'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 3 }'
    op = read(text, (2, 3), (2, 3), (2, 3))
    assert op.sigma == 3
    assert op.gradient_bottoms == (0, 1)
    refuses(
        text, (2, 3), (2, 3), (2, 4), match=r"'b2'\) has shape \(2, 4\); expected as"
    )


def test_accuracy_may_have_a_top_a_class():
    text = """type: "Accuracy" top: "a" top: "c"
        accuracy_param { top_k: 3 axis: -2 ignore_label: 0 }"""
    op = read(text, (2, 5, 4), (2, 4))
    assert op.tops == ((), (5,))
    assert (op.top_k, op.axis, op.ignore_label) == (3, 1, 0)
    assert op.gradient_bottoms == ()
    assert op.refused_bottoms == (0, 1)
    assert not op.is_loss


def test_bad_accuracy_is_refused():
    text = 'type: "Accuracy" accuracy_param { top_k: 6 }'
    refuses(text, (2, 5), (2,), match="top_k is 6; expected from 1 to 5, the number of")
    refuses('type: "Accuracy"', (2, 5), (3,), match="3 values; expected 2, one label")


def test_softmax_axis_is_counted_from_the_end():
    op = read('type: "Softmax" top: "y" softmax_param { axis: -3 }', (2, 3, 4))
    assert op.axis == 0


def test_smooth_l1_loss_refuses_a_sigma_of_zero():
    text = 'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 0 }'
    refuses(text, (2, 3), (2, 3), match=r"sigma is 0, which has no inverse; expected a")


SMOOTH = 'type: "SmoothL1Loss" '
PRE_FIXED = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }"
VALID = "loss_param { normalization: VALID }"


@pytest.mark.parametrize(
    ("text", "bottoms", "fork", "divisor"),
    [
        ("", 2, None, 2),
        (PRE_FIXED, 3, None, 128),
        (VALID, 3, None, 2 * 4 * 5),
        ("loss_param { normalization: NONE }", 3, None, 1),
        ("loss_param { normalize: false }", 3, None, 2),
        ('top: "l" top: "each"', 3, None, 2 * 4 * 5),
        ("", 3, "rfcn", 2 * 4 * 5),
        ("", 3, "ssd", 2),
        ("smooth_l1_loss_param { sigma: 3 }", 3, None, 2),
        ("", 4, None, 2),
    ],
)
def test_smooth_l1_loss_divides_as_its_fork_does(text, bottoms, fork, divisor):
    with netspec.forks.use(fork):
        op = read(SMOOTH + text, *[(2, 3, 4, 5)] * bottoms)
    assert op.divisor == divisor
    assert op.tops[1:] == (((2, 1, 4, 5),) if "each" in text else ())


def test_smooth_l1_loss_says_what_it_takes_no_notice_of():
    text = SMOOTH + PRE_FIXED + " smooth_l1_loss_param { sigma: 3 }"
    with pytest.warns(SpecWarning, match="loss_param has no effect.*number of items"):
        assert read(text, *[(2, 3)] * 4).divisor == 2
    fork = netspec.forks.use("ssd")
    with fork, pytest.warns(SpecWarning, match="SmoothL1Loss of ssd divides"):
        assert read(SMOOTH + PRE_FIXED, *[(2, 3)] * 3).divisor == 2


def test_smooth_l1_loss_that_may_be_of_two_forks_says_whose_it_is_taken_for():
    with pytest.warns(SpecWarning, match="by the 2 items.*by the 40 positions.*rfcn"):
        assert read(SMOOTH, *[(2, 3, 4, 5)] * 3).divisor == 2


def test_smooth_l1_loss_of_no_fork_is_refused():
    two = 'top: "l" top: "t"'
    sigma = "smooth_l1_loss_param { sigma: 3 }"
    refuses(SMOOTH + two + sigma, (2, 3), (2, 3), match="has a second top, .*R-FCN")
    with netspec.forks.use("fast-rcnn"):
        refuses(SMOOTH + two, (2, 3), (2, 3), match="fast-rcnn has no second top")
    with netspec.forks.use("rfcn"):
        refuses(SMOOTH + sigma, (2, 3), (2, 3), match="neither a fourth bottom nor sig")
