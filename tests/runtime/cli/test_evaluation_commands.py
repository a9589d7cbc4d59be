"""`python -m runtime predict` and `evaluate`."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec import layers as L
from runtime.__main__ import main
from tests.runtime.cli.command_line import fail
from tests.runtime.evaluation.nets import classifier, images, untrained


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A net, its weights and arrays in the current folder; and the net."""
    monkeypatch.chdir(tmp_path)
    net = untrained()
    (tmp_path / "net.prototxt").write_text(str(classifier().to_proto()))
    net.save("w.caffemodel")
    x, y = images()
    np.save("x.npy", x)
    np.save("y.npy", y)
    np.savez("both.npz", data=x, label=y)
    return net


GIVEN = ("net.prototxt", "--weights", "w.caffemodel", "--data")


def test_predict_writes_arrays_by_name(files, capsys):
    wanted = runtime.predict(files, images()[0])
    assert main(["predict", *GIVEN, "x.npy", "-o", "out.npz"]) == 0
    assert capsys.readouterr().out == "out.npz: prob (23, 5)\n"
    np.testing.assert_array_equal(np.load("out.npz")["prob"], wanted)
    assert main(["predict", *GIVEN, "x.npy", "-o", "out.npy", "--batch-size", "5"]) == 0
    np.testing.assert_allclose(np.load("out.npy"), wanted, rtol=1e-5)


def test_predict_writes_lines(files, capsys, tmp_path):
    wanted = runtime.predict(files, images()[0])
    assert main(["predict", *GIVEN, "x.npy", "-o", "out.csv"]) == 0
    capsys.readouterr()
    assert main(["predict", *GIVEN, "x.npy"]) == 0
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "out.csv").read_text()
    head, *rows = csv.reader(shown.splitlines())
    assert head == ["item", *(f"prob_{n}" for n in range(5))]
    assert [row[0] for row in rows] == [str(n) for n in range(23)]
    found = np.array([row[1:] for row in rows], np.float32)
    np.testing.assert_array_equal(found, wanted)


def test_predict_writes_blobs(files, capsys):
    assert main(["predict", *GIVEN, "x.npy", "--blobs", "conv,fc", "-o", "f.npz"]) == 0
    assert capsys.readouterr().out == "f.npz: conv (23, 4, 3, 2), fc (23, 5)\n"
    error = fail(
        capsys, "predict", *GIVEN, "x.npy", "--blobs", "conv,fc", "-o", "f.npy"
    )
    assert "one array goes into a .npy file, but there are conv, fc" in error
    error = fail(capsys, "predict", *GIVEN, "x.npy", "--blobs", "fcc")
    assert "did you mean 'fc'" in error


def test_predict_refuses_a_name_that_says_no_format(files, capsys):
    error = fail(capsys, "predict", *GIVEN, "x.npy", "-o", "out.txt")
    assert "out.txt: the name says no format; expected .npz, .npy, .csv" in error


@pytest.mark.parametrize("data", [["x.npy", "y.npy"], ["both.npz"]])
def test_evaluate_shows_measures(files, capsys, data):
    wanted = runtime.evaluate(files, images(), top_k=(1, 3))
    assert main(["evaluate", *GIVEN, *data, "--top-k", "1,3", "--worst", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(wanted.text())
    place, loss = wanted.worst(1)[0]
    assert f"largest losses:\n  item {place}: {loss:.6g}\n" in out


def test_evaluate_as_json(files, capsys, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    words = ["--json", "--class-names", "names.txt", "--worst", "1", "--top-k", "2"]
    assert main(["evaluate", *GIVEN, "both.npz", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = runtime.evaluate(files, images(), top_k=2, class_names=[*"abcde"])
    worst = told.pop("worst")
    assert worst[0][0] == wanted.worst(1)[0][0]
    assert told["top_2"] == wanted.top_k[2]
    assert told["per_class"]["c"] == wanted.per_class["c"]
    assert told["confusion"] == wanted.as_dict()["confusion"]


def test_images_are_transformed(files, capsys):
    x, y = images()
    np.savez("raw.npz", data=x * 2 + 1, label=y)
    how = ["--transform", "mean_value: 1 scale: 0.5"]
    assert main(["evaluate", *GIVEN, "raw.npz", "--json", *how]) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = runtime.evaluate(files, (x, y))
    assert told["loss"] == pytest.approx(wanted.loss, rel=1e-5)
    error = fail(capsys, "evaluate", *GIVEN, "raw.npz", "--transform", "sclae: 1")
    assert "did you mean 'scale'" in error


def test_rules_see_level_and_stage(files, capsys):
    n = classifier()
    n.big = L.Power(n.fc, scale=2, include=dict(stage="big"))
    n.prob = L.Softmax(n.big, include=dict(stage="big"))
    del n.loss, n.acc, n.label
    Path("staged.prototxt").write_text(str(n.to_proto()))
    given = ["staged.prototxt", "--weights", "w.caffemodel", "--data", "x.npy"]
    assert main(["predict", *given, "--stage", "big", "--blobs", "fc,big"]) == 0
    fc, big = (
        np.loadtxt(capsys.readouterr().out.splitlines()[1:], delimiter=",")[:, 1:]
        .reshape(23, 2, 5)
        .transpose(1, 0, 2)
    )
    np.testing.assert_allclose(big, 2 * fc, rtol=1e-5)
    assert "no blob 'big'" in fail(capsys, "predict", *given, "--blobs", "big")


def test_layers_may_be_renamed(files, capsys):
    net = classifier()
    text = str(net.to_proto()).replace('"fc"', '"head"')
    Path("other.prototxt").write_text(text)
    given = ["other.prototxt", "--weights", "w.caffemodel", "--data", "x.npy"]
    assert main(["predict", *given, "--rename", "fc=head", "-o", "o.npy"]) == 0
    np.testing.assert_array_equal(np.load("o.npy"), runtime.predict(files, images()[0]))


def test_what_cannot_be_read_is_told(files, capsys):
    error = fail(capsys, "evaluate", *GIVEN, "gone.npy")
    assert "gone.npy: there is no such file" in error
    error = fail(capsys, "evaluate", *GIVEN, "x.npy", "net.prototxt")
    assert "net.prototxt: several files are given as data" in error
    error = fail(capsys, "evaluate", *GIVEN, "both.npz", "--top-k", "9")
    assert "top_k is 9, but the net tells 5 classes apart" in error
    fail(capsys, "evaluate", *GIVEN, "both.npz", "--weights", "gone.caffemodel")
