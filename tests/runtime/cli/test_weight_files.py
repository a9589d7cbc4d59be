"""Several weight files at once, for nets whose parts were trained apart."""

import pytest

import runtime
from runtime.__main__ import main
from tests.runtime.cli.command_line import fail

HEAD = """
layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { value: 2 } } }
"""
TAIL = 'layer { name: "l" type: "EuclideanLoss" bottom: "BOTTOM" bottom: "t" top: "l" }'


def layers(*names):
    text, bottom = HEAD, "x"
    for name in names:
        text += (
            f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" '
            f'top: "{name}" inner_product_param {{ num_output: 2 '
            'weight_filler { type: "xavier" } } }\n'
        )
        bottom = name
    return text + TAIL.replace("BOTTOM", bottom)


@pytest.fixture
def parts(tmp_path, monkeypatch, capsys):
    """A net of three layers, and files with the weights of one or two of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(layers("a", "b", "c"))
    (tmp_path / "solver.prototxt").write_text(
        "net: 'net.prototxt' base_lr: 0.1 lr_policy: 'fixed' max_iter: 1 "
        "snapshot_after_train: false"
    )
    whole = runtime.Net("net.prototxt", runtime.TEST, seed=3)
    whole.save("abc.caffemodel")
    for name in "abc":
        part = whole.layer_dict[name].blobs
        net = runtime.Net(layers(name).replace("dim: 4 dim: 3", DIMS[name]))
        for slot, blob in enumerate(part):
            net.params[name][slot].data[...] = blob.data
        net.save(f"{name}.caffemodel")
    return tmp_path


DIMS = {"a": "dim: 4 dim: 3", "b": "dim: 4 dim: 2", "c": "dim: 4 dim: 2"}


def objective(out):
    return next(line for line in out.splitlines() if line.startswith("objective"))


def test_test_takes_files_with_commas(parts, capsys):
    test = ["test", "--model", "net.prototxt", "--iterations", "1", "--weights"]
    assert main([*test, "abc.caffemodel"]) == 0
    wanted = objective(capsys.readouterr().out)
    assert main([*test, "a.caffemodel,b.caffemodel, c.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert objective(out) == wanted
    assert "weights from c.caffemodel: 1 layers copied\n" in out
    assert "no weights for" not in out


def test_what_no_file_gives_is_said_once(parts, capsys):
    weights = ("--weights", "a.caffemodel,c.caffemodel")
    for command in (
        ("test", "--model", "net.prototxt", "--iterations", "1"),
        ("train", "--solver", "solver.prototxt"),
    ):
        assert main([*command, *weights]) == 0
        said = capsys.readouterr()
        line = "no weights for: b; they keep what they start with\n"
        assert said.out.count(line) == 1
        assert "not in the file" not in said.out
        assert "Warning" not in said.err


def test_a_name_with_a_comma_is_one_file(parts, capsys):
    (parts / "abc.caffemodel").rename(parts / "a,b.caffemodel")
    test = ["test", "--model", "net.prototxt", "--iterations", "1", "--weights"]
    assert main([*test, "a,b.caffemodel"]) == 0
    assert "weights from a,b.caffemodel: 3 layers" in capsys.readouterr().out


def test_files_that_give_nothing_are_refused(parts, capsys):
    runtime.Net(layers("other"), runtime.TEST).save("other.caffemodel")
    test = ("test", "--model", "net.prototxt", "--weights")
    said = fail(capsys, *test, "a.caffemodel,other.caffemodel")
    assert "other.caffemodel: no layer of the file has the name of a layer" in said
    assert "--weights names no file: ','" in fail(capsys, *test, ",")
    assert "lost.caffemodel: cannot be read" in fail(capsys, *test, "lost.caffemodel,a")
