"""Items of databases whose values do not make an image are refused, with what to do."""

import numpy as np
import pytest

from netspec.errors import FileError
from netspec.schema import Datum
from runtime.data.datum import picture_of, read_datum

SHAPE = {"channels": 2, "height": 3, "width": 5}
FLOATS = np.linspace(0, 1, 30).reshape(2, 3, 5)


def picture(**fields):
    return picture_of(Datum(**SHAPE, **fields), "it", color=None)


def test_bytes_and_floats_make_the_same_image():
    values = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
    for fields in ({"data": values.tobytes()}, {"float_data": values.reshape(-1)}):
        np.testing.assert_array_equal(picture(**fields), values)
    assert picture(data=values.tobytes()).dtype == np.uint8
    assert picture(float_data=FLOATS.reshape(-1)).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "names"),
    [("float32", "float32"), ("float64", "float64"), ("i2", "int16")],
)
def test_floats_written_as_bytes_are_told_where_floats_go(dtype, names):
    data = FLOATS.astype(dtype).tobytes()
    message = f"it: data has {len(data)} bytes for 30 values .*{names}.*float_data"
    with pytest.raises(FileError, match=message):
        picture(data=data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"float_data": [1.0] * 29}, r"29 values do not make an image of shape \(2, 3"),
        ({}, r"0 values .*\(2, 3, 5\); data and float_data are both empty"),
        ({"data": b"\x89PNG and so on"}, "14 values .* set encoded: true"),
        ({"encoded": True, "float_data": [1.0] * 30}, "encoded is true, .* is empty"),
    ],
)
def test_other_numbers_of_values_are_named(fields, message):
    with pytest.raises(FileError, match=message):
        picture(**fields)


def test_what_is_no_datum_is_refused():
    with pytest.raises(FileError, match="key 'a': is no Datum"):
        read_datum(b"\xff\xff", "key 'a'")
