"""Items of databases whose values do not make an image are refused, with what to do."""

import numpy as np
import pytest

from netspec.errors import FileError, SpecWarning
from netspec.schema import Datum
from runtime.data import open_source
from runtime.data.datum import picture_of, read_datum, warn_of_scale
from tests.runtime.data.common import layer
from tests.runtime.data.test_lmdb_reader import data_layer, database

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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FLOATS.astype(np.float32), r"'d' .Data.: .*scale is 0.0039.* floats up to 1,"),
        (FLOATS.round().astype(np.uint8), "bytes of 0 and 1 only; .* multiply .* 255"),
    ],
)
def test_a_scale_for_bytes_with_values_to_one_is_warned_of(values, message):
    data = layer('type: "Data" transform_param { scale: 0.00390625 }')
    with pytest.warns(SpecWarning, match=message):
        warn_of_scale(data, values)
    warn_of_scale(data, (255 * FLOATS).astype(np.uint8))
    warn_of_scale(data, (255 * FLOATS).astype(np.float32))
    warn_of_scale(data, 0 * values)
    warn_of_scale(layer('type: "Data" transform_param { scale: 0.5 }'), values)


def test_a_data_layer_warns_of_the_scale_when_it_is_opened(tmp_path):
    pytest.importorskip("lmdb")
    database(tmp_path / "db", [Datum(**SHAPE, float_data=FLOATS.reshape(-1))])
    with pytest.warns(SpecWarning, match="floats up to 1, which this makes smaller"):
        open_source(
            data_layer(tmp_path / "db", "transform_param { scale: 0.00390625 }"), 0, 0
        ).close()


def test_what_is_no_datum_is_refused():
    with pytest.raises(FileError, match="key 'a': is no Datum"):
        read_datum(b"\xff\xff", "key 'a'")
