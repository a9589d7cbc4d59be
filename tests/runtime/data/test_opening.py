"""The table of data layers: each can be checked, opened or refused, and run."""

import pytest

from netspec.catalogue import LAYER_TYPES
from netspec.errors import UnsupportedError
from netspec.ops import op_class
from netspec.ops.data import FileSource
from netspec.schema import TRAIN
from runtime.data import open_source
from runtime.data.opening import DATA_LAYERS
from runtime.layers import portable_kernels
from tests.runtime.data.common import layer


@pytest.mark.parametrize("name", DATA_LAYERS)
def test_every_data_layer_is_known_and_has_a_kernel(name):
    assert name in LAYER_TYPES
    assert issubclass(op_class(name), FileSource)
    assert name in portable_kernels()


def test_data_of_another_type_is_refused_with_what_can_be_read(monkeypatch):
    monkeypatch.delitem(DATA_LAYERS, "WindowData")
    text = 'type: "WindowData" top: "data" top: "label"'
    with pytest.raises(UnsupportedError) as error:
        open_source(layer(text), TRAIN, 0)
    message = str(error.value)
    assert message.startswith(
        "layer 'd' (WindowData): data of this type cannot be read here; use Data "
        "(LMDB), HDF5Data, ImageData"
    )
    assert "MemoryData" in message
    assert "WindowData," not in message
