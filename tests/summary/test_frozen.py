"""Summaries tell what training changes from what it leaves."""

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.summary import summarize


def test_trained_and_frozen_parameters_and_statistics_are_told_apart():
    n = NetSpec("parts")
    n.data = L.Input(shape=[2, 3, 5, 4])
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)  # 4 * 27 + 4
    n.mod = NetSpec()
    n.mod.bn = L.BatchNorm(n.conv, in_place=True)  # 4 + 4 + 1
    n.mod.scale = L.Scale(n.mod.bn, bias_term=True, in_place=True)  # 4 + 4
    n.left = L.InnerProduct(n.mod.scale, num_output=2, bias_term=False)  # 48
    n.right = L.InnerProduct(n.mod.scale, num_output=2, share=n.left, bias_term=False)
    n.mean = L.Eltwise(n.left, n.right)
    netspec.freeze(n, "mod", "right")
    summary = summarize(n)
    told = summary.as_dict()
    assert (told["num_params"], told["trained_params"]) == (177, 112)
    assert (told["frozen_params"], told["statistics"]) == (8 + 48, 9)
    assert (summary.trained_params, summary.frozen_params) == (112, 56)
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert layers["left"]["frozen_params"] == 48  # whoever says so
    assert layers["right"]["frozen_params"] == 0  # counted once
    line = "parameters: 112 trained, 56 frozen (lr_mult 0), 9 statistics"
    assert line in summary.text()
    assert line in summary._repr_html_()
    rows = {row.split()[0]: row for row in summary.text().splitlines() if row}
    assert "112  " in rows["conv"]
    assert rows["mod/bn"].endswith("9 statistics")
    assert rows["mod/scale"].endswith("8 frozen")
    assert "48 frozen" in rows["left"]
    assert "48 shared" in rows["right"]
    closed = {row.split()[0]: row for row in summary.text(depth=0).splitlines() if row}
    assert closed["mod"].endswith("17 frozen")


def test_what_is_frozen_is_told_where_shapes_are_not_known():
    n = NetSpec()
    n.data = L.Data(source="nowhere", batch_size=2)
    n.known = L.Input(shape=[2, 3])
    n.fc = L.InnerProduct(n.known, num_output=5)
    n.fc2 = L.InnerProduct(n.fc, num_output=2)
    n.conv = L.Convolution(n.data, num_output=3, kernel_size=3)
    netspec.freeze(n, "fc")
    summary = summarize(n)
    assert (summary.trained_params, summary.frozen_params) == (12, 20)
