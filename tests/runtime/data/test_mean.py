"""The mean image of a database or a list, as `mean_file` reads it."""

import re
from pathlib import Path

import numpy as np
import pytest

from netspec.errors import FileError
from netspec.schema import TEST, BlobProto, Datum
from netspec.text import read_message
from runtime.data import open_source
from runtime.data.__main__ import main
from tests.runtime.data.common import COUNT, SHAPE, batches, layer, pixels
from tests.runtime.data.test_lmdb_reader import data_layer, database, datum

pytest.importorskip("lmdb")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database("db", [datum(picture) for picture in pixels()])
    return tmp_path


def listed(pictures):
    """Write images (C, H, W), blue first, and a list of them."""
    lines = []
    for number, picture in enumerate(pictures):
        values = np.squeeze(picture[::-1].transpose(1, 2, 0))
        Image.fromarray(values).save(f"{number}.png")
        lines.append(f"{number}.png {number}\n")
    Path("list.txt").write_text("".join(lines))


def slow_mean(pictures):
    total = np.zeros(pictures[0].shape)
    for place in np.ndindex(total.shape):
        total[place] = sum(float(picture[place]) for picture in pictures)
    return total / len(pictures)


def written(name="mean.binaryproto"):
    blob = read_message(name, BlobProto)
    return np.array(blob.data).reshape(blob.num, blob.channels, blob.height, blob.width)


def said(capsys, arguments):
    """Run a command that fails, and return the one line that it says."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1
    return captured.err


def test_mean_of_a_database_is_what_its_data_layer_subtracts(folder, capsys):
    assert main(["mean", "db", "-o", "m.binaryproto"]) == 0
    told = capsys.readouterr().out
    mean = slow_mean(pixels())
    assert f"m.binaryproto: mean of {COUNT} images, 3 x 6 x 5" in told
    assert f"{mean[1].mean():.6g}" in told
    np.testing.assert_allclose(written("m.binaryproto"), mean[None], rtol=1e-6)
    text = 'transform_param { mean_file: "m.binaryproto" }'
    source = open_source(data_layer("db", text), TEST, 0)
    np.testing.assert_allclose(batches(source, 1)[0][0], pixels()[:4] - mean, atol=1e-4)
    source.close()


def test_mean_of_a_list_has_blue_first_and_may_be_resized_or_gray(folder):
    listed(pixels())
    assert main(["mean", "list.txt"]) == 0
    np.testing.assert_allclose(written(), slow_mean(pixels())[None], rtol=1e-6)
    options = ["--size", "4", "9", "--gray", "--force"]
    assert main(["mean", "list.txt", *options]) == 0
    assert written().shape == (1, 1, 4, 9)
    (folder / "sub").mkdir()
    (folder / "3.png").rename(folder / "sub/3.png")
    (folder / "one.txt").write_text("3.png 7\n")
    options = ["--root", "sub/", "-o", "one.binaryproto"]
    assert main(["mean", "one.txt", *options]) == 0
    np.testing.assert_array_equal(written("one.binaryproto")[0], pixels()[3])


def test_floats_are_added_up_in_double_precision(folder):
    rng = np.random.default_rng(1)
    floats = (rng.random((50, *SHAPE)) + 3e4).astype(np.float32)
    c, h, w = SHAPE
    each = [
        Datum(channels=c, height=h, width=w, float_data=x.reshape(-1)) for x in floats
    ]
    database("floats", each)
    assert main(["mean", "floats"]) == 0
    exact = floats.astype(np.float64).mean(axis=0)
    np.testing.assert_array_equal(written()[0], exact.astype(np.float32))


def test_image_of_another_size_is_named_with_what_to_do(folder, capsys):
    first, other = pixels()[0], pixels(1, (3, 4, 7))[0]
    listed([first, other])
    line = said(capsys, ["mean", "list.txt"])
    assert re.search(
        r"1.png: has shape \(3, 4, 7\), .*\(3, 6, 5\).*--size HEIGHT", line
    )
    database("mixed", [datum(first), datum(other)])
    line = said(capsys, ["mean", "mixed"])
    assert re.search(r"mixed, key '00000001': has shape \(3, 4, 7\), the first", line)
    assert not (folder / "mean.binaryproto").exists()


def test_what_stands_there_is_replaced_with_force_only(folder, capsys):
    (folder / "mean.binaryproto").write_text("old")
    line = said(capsys, ["mean", "db"])
    assert "mean.binaryproto: exists already; remove it, or write with --force" in line
    assert (folder / "mean.binaryproto").read_text() == "old"
    assert main(["mean", "db", "--force"]) == 0
    assert written().shape == (1, *SHAPE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: no such database or list"),
        (["db", "-o", "mean.npy"], "mean.npy: .*ends in .binaryproto"),
        (["db", "--size", "3", "4"], "db: is a database.*--size are for lists"),
        (["db", "--gray"], "key '00000000': holds raw values of 3 channels.*--gray"),
        (["empty"], "database empty is empty"),
        (["nan"], "nan, key '00000000': has values that are not finite"),
        (["bad.txt"], r"bad.txt:1: the label of 'a.png' is 2.5"),
        (["0.png"], "database 0.png"),
    ],
)
def test_what_gives_no_mean_is_refused(folder, capsys, arguments, message):
    listed(pixels(1))
    database("empty", [])
    nan = Datum(channels=1, height=1, width=2, float_data=[1, np.nan])
    database("nan", [nan])
    (folder / "bad.txt").write_text("a.png 2.5\n")
    line = said(capsys, ["mean", *arguments])
    assert re.search(message, line), line


def test_labels_that_are_no_single_whole_number_are_sent_to_hdf5(folder):
    listed(pixels(1))
    text = layer(
        'type: "ImageData" top: "x" top: "t" image_data_param { batch_size: 1 '
        f'source: "list.txt" root_folder: "{folder}/" }}'
    )
    for line, message in {
        "0.png 2.5": "list.txt:2: the label of '0.png' is 2.5; .*whole.*HDF5Data",
        "0.png 0 1 -1": "list.txt:2: '0.png 0 1 -1' has several labels; .*HDF5Data",
        "0.png 0.5 1": "list.txt:2: '0.png 0.5 1' has several labels; .*HDF5Data",
        "0.png cat": "list.txt:2: expected a path and a label, got '0.png cat'",
    }.items():
        (folder / "list.txt").write_text(f"0.png 0\n{line}\n")
        with pytest.raises(FileError, match=message):
            open_source(text, TEST, 0)
    (folder / "0.png").rename(folder / "no 7")
    (folder / "list.txt").write_text("no 7 3\n")
    np.testing.assert_array_equal(open_source(text, TEST, 0).next()[1], [3])
