"""A summary notes weights that cannot learn."""

import netspec
from netspec import NetSpec
from netspec import layers as L


def test_weights_that_cannot_learn_are_noted_in_both_phases():
    n = NetSpec()
    n.data, n.label = L.Input(shape=[2, 3, 8, 7]), L.Input(shape=[2])
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.score = L.InnerProduct(n.relu, num_output=5)
    assert netspec.summarize(n).notes == ()  # nothing is learned without a loss
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    for phase in (netspec.TRAIN, netspec.TEST):
        (note,) = netspec.summarize(n, phase).notes
        assert (
            "layer 'conv' (Convolution) and layer 'score' (InnerProduct) start" in note
        )
        assert note in str(netspec.summarize(n, phase))
    n.score.fn.params["weight_filler"] = "xavier"
    assert netspec.summarize(n).notes == ()
