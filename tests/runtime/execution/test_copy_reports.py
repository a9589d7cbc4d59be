"""What was copied from weight files is reported, and layers may have other names."""

import warnings

import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning


def make(*names, outputs=3):
    n = NetSpec("small")
    n.data = L.Input(shape=[2, 4])
    n.label = L.Input(shape=[2])
    x = n.data
    for name in names:
        x = n[name] = L.InnerProduct(x, num_output=outputs, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(x, n.label)
    return n


@pytest.fixture
def old(tmp_path):
    """Weights of three layers, in one file; and in two, one of which has the rest."""
    net = runtime.Net(make("one", "two", "three"), seed=3)
    net.save(tmp_path / "old.npz")
    return net


def test_the_repr_is_short_and_the_html_has_all(old, tmp_path):
    net = runtime.Net(make("one", "two", *(f"new<{i}>" for i in range(9))))
    with pytest.warns(SpecWarning):
        report = net.copy_from(tmp_path / "old.npz")
    assert repr(report) == (
        "<CopyReport: 2 layers copied; not in the file: 'new<0>', 'new<1>', 'new<2>', "
        "'new<3>' and 5 more; not in the net: 'three'>"
    )
    page = report._repr_html_()
    assert "old.npz: 2 layers copied" in page
    assert "copied from one" in page
    assert "new&lt;8&gt;" in page
    assert "<script" not in page
    assert "new<" not in page
    told = report.as_dict()
    assert told["copied"] == ["one", "two"]
    assert told["unused"] == ["three"]
    assert told["path"].endswith("old.npz")


def test_a_solver_takes_weights_under_other_names(old, tmp_path):
    n = make("stem", "two")
    names = {"one": "stem", "three": None}
    solver = runtime.Solver(
        n, base_lr=0.1, weights=str(tmp_path / "old.npz"), rename=names
    )
    (report,) = solver.copied
    assert report.renamed == (("one", "stem"),)
    assert "copied from one" in report._repr_html_()
    mine, theirs = solver.net.params["stem"][0].data, old.params["one"][0].data
    assert (mine == theirs).all()


def test_names_may_be_of_layers_of_several_files(tmp_path):
    files = {"a.npz": make("one", outputs=4), "b.npz": make("two", "five", outputs=4)}
    saved = {}
    for seed, (name, n) in enumerate(files.items()):
        saved[name] = runtime.Net(n, seed=seed + 1)
        saved[name].save(tmp_path / name)
    n = make("left", "right", "five", outputs=4)
    given = {"base_lr": 0.1, "weights": f"{tmp_path}/a.npz,{tmp_path}/b.npz"}
    names = {"one": "left", "two": "right"}
    with pytest.raises(SpecError, match="'twoo' .* none of the files .* mean 'two'"):
        runtime.Solver(n, rename={**names, "twoo": "left"}, **given)
    solver = runtime.get_solver(n, rename=names, **given)
    assert [report.copied for report in solver.copied] == [
        ("left",),
        ("right", "five"),
    ]
    for mine, (name, theirs) in {
        "left": ("a.npz", "one"),
        "right": ("b.npz", "two"),
        "five": ("b.npz", "five"),
    }.items():
        values = solver.net.params[mine][0].data
        assert (values == saved[name].params[theirs][0].data).all()


def test_a_new_end_that_is_trained_is_no_reason_to_warn(tmp_path):
    old = make("one", "two", outputs=4)
    old.head = L.InnerProduct(old.two, num_output=9)
    old.loss = L.SoftmaxWithLoss(old.head, old.label)
    runtime.Net(old).save(tmp_path / "old.npz")
    how = {"base_lr": 0.1, "weights": str(tmp_path / "old.npz")}

    def new(name, outputs, after="two"):
        n = make("one", "two", outputs=4)
        n[name] = L.InnerProduct(n[after], num_output=outputs, weight_filler="xavier")
        n.loss = L.SoftmaxWithLoss(n[name], n.label)
        return n

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver = runtime.Solver(new("fresh", 3), **how)
        assert solver.copy_from(tmp_path / "old.npz").missing == ("fresh",)
    # What has the same shapes may just be called otherwise.
    with pytest.warns(
        SpecWarning, match=r"rename={'head': 'fresh'}, whose shapes agree"
    ):
        runtime.Solver(new("fresh", 9), **how)
    # A net that is not trained further needs all of its layers.
    with pytest.warns(SpecWarning, match="'fresh' did not"):
        runtime.Net(new("fresh", 3), weights=tmp_path / "old.npz")
    # A layer amid the net is no end.
    n = make("one", outputs=4)
    n.amid = L.InnerProduct(n.one, num_output=4, weight_filler="xavier")
    n.two = L.InnerProduct(n.amid, num_output=4, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.two, n.label)
    with pytest.warns(SpecWarning, match="'amid' did not"):
        runtime.Solver(n, **how)
    # One that is frozen would never get values.
    n = new("fresh", 3)
    netspec.freeze(n, "fresh")
    with pytest.warns(SpecWarning, match="'fresh' did not"):
        runtime.Solver(n, **how)
