"""Folders of images: classes by their names, and images without labels."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import FileError, SpecError
from tests.runtime.evaluation.nets import FILLED

Image = pytest.importorskip("PIL.Image")


def folder(path, *classes, seed=0):
    """A folder of images, three a class; and its images and labels as arrays."""
    rng = np.random.default_rng(seed)
    x, y = [], []
    for label, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")
            x.append(pixels[:, :, ::-1].transpose(2, 0, 1))
            y.append(label)
    return np.stack(x), np.array(y)


def net():
    n = NetSpec("photos")
    n.data, n.label = L.Input(shape=[4, 3, 6, 5]), L.Input(shape=[4])
    n.fc = L.InnerProduct(n.data, num_output=3, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n


def test_classes_are_called_like_their_folders(tmp_path):
    x, y = folder(tmp_path / "a", "ant", "bee", "cat")
    model = runtime.Net(net())
    result = runtime.evaluate(model, tmp_path / "a")
    assert result.per_class.names == ("ant", "bee", "cat")
    wanted = runtime.evaluate(model, (x, y))
    np.testing.assert_array_equal(result.confusion, wanted.confusion)


def test_other_folders_than_in_training_are_refused(tmp_path):
    folder(tmp_path / "train", "ant", "bee", "cat")
    folder(tmp_path / "same", "ant", "bee", "cat", seed=1)
    folder(tmp_path / "less", "ant", "cat", seed=2)
    folder(tmp_path / "other", "ant", "bee", "dog", seed=3)
    how = {"solver": {"base_lr": 1e-6}, "progress": False}
    history = runtime.fit(net(), tmp_path / "train", epochs=1, **how)
    assert runtime.evaluate(history, tmp_path / "same").per_class["bee"]["items"] == 3
    with pytest.raises(SpecError, match="other classes than .* no 'bee'"):
        runtime.evaluate(history, tmp_path / "less")
    with pytest.raises(SpecError, match="'dog' not there in training"):
        runtime.evaluate(history, tmp_path / "other")
    x, y = folder(tmp_path / "again", "ant", "bee", "cat", seed=1)
    named = runtime.evaluate(history, (x, y))
    assert named.per_class.names == ("ant", "bee", "cat")


def test_images_need_no_labels_to_predict(tmp_path):
    x, _ = folder(tmp_path / "a", "ant", "bee", "cat")
    model = runtime.Net(net())
    wanted = runtime.predict(model, x)
    np.testing.assert_array_equal(runtime.predict(model, tmp_path / "a"), wanted)
    np.testing.assert_array_equal(
        runtime.predict(model, tmp_path / "a" / "bee"), wanted[3:6]
    )
    np.testing.assert_array_equal(
        runtime.predict(model, tmp_path / "a" / "cat" / "1.png"), wanted[7:8]
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="empty has no images and is no LMDB"):
        runtime.predict(model, tmp_path / "empty")
