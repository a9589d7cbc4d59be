"""Mean files that do not suit the images are refused, with what to do."""

import numpy as np
import pytest

from netspec.errors import FileError, SpecError
from netspec.schema import BlobProto
from runtime.data.mean_file import read_mean_file
from tests.runtime.data.common import SHAPE, layer


def data_layer(path, crop=0):
    return layer(
        f'type: "Data" top: "x" transform_param {{ mean_file: "{path}" '
        f"crop_size: {crop} }}"
    )


def stored(path, values, **fields):
    blob = BlobProto(data=np.reshape(values, -1), **fields)
    path.write_bytes(blob.SerializeToString())
    return data_layer(path, crop=4)


def old(*sizes):
    return dict(zip(("num", "channels", "height", "width"), sizes, strict=True))


@pytest.mark.parametrize("fields", [old(1, *SHAPE), {"shape": {"dim": SHAPE}}])
def test_a_mean_of_the_shape_of_the_images_is_read(tmp_path, fields):
    values = np.random.default_rng(0).random(SHAPE, np.float32)
    mean = read_mean_file(stored(tmp_path / "m", values, **fields), SHAPE)
    np.testing.assert_array_equal(mean, values)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"channels": 3, "height": 6, "width": 5},
            "'d' .Data.: mean_file .*m: has 90 .* height 6, width 5, but no num; for",
        ),
        ({}, "has 90 values and no shape, but no num, channels, height, width"),
        ({"num": 1}, "90 values and num 1, but no channels, height, width"),
        (old(2, 3, 3, 5), r"shape \(2, 3, 3, 5\), which is no single .* num must be 1"),
        (old(1, 3, 6, 6), r"90 values do not make an array of shape \(1, 3, 6, 6\)"),
    ],
)
def test_what_is_no_single_image_is_refused(tmp_path, fields, message):
    with pytest.raises(FileError, match=message):
        read_mean_file(stored(tmp_path / "m", np.ones(SHAPE), **fields), SHAPE)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4, 4), r"\(3, 4, 4\), the images \(3, 6, 5\) .* cropped to crop_size 4"),
        ((6, 5, 3), r"channels come last; write transpose\(2, 0, 1\)"),
        ((3, 1, 1), "write mean_value: 0 mean_value: 1 mean_value: 2$"),
        ((3,), "write mean_value: 0 mean_value: 1 mean_value: 2$"),
        ((3, 7, 5), "must be equal: resize .* python -m runtime.data mean SOURCE -o"),
        ((6, 5), r"shape \(6, 5\), .* \(channels, height, width\); they must be equal"),
    ],
)
def test_the_mean_of_images_of_another_shape_is_told_what_to_do(
    tmp_path, shape, message
):
    values = np.arange(np.prod(shape))
    made = stored(tmp_path / "m", values, shape={"dim": shape})
    with pytest.raises(SpecError, match=message):
        read_mean_file(made, SHAPE)


def test_a_numpy_file_is_told_how_it_becomes_a_mean_file(tmp_path):
    np.save(tmp_path / "mean.npy", np.ones(SHAPE))
    with pytest.raises(
        FileError, match=r"mean.npy: is a NumPy array; a .*array_to_blobproto"
    ):
        read_mean_file(data_layer(tmp_path / "mean.npy"), SHAPE)
